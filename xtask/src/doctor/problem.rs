//! What can be wrong: what people notice, why it is so, and what to do.

use serde::Serialize;

use super::repair::Repair;

/// One thing that can be wrong, whatever the machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable: `<row>.<what>`. It is in `doctor --json` and in docs/troubleshooting.md.
    pub id: &'static str,
    /// Name of the row.
    pub row: &'static str,
    pub state: State,
    /// What somebody notices who does not know the cause.
    pub symptom: &'static str,
    pub cause: &'static str,
    /// What to do, as a command where one does it. `{name}` stands for what the finding knows.
    pub fix: &'static str,
    /// What `doctor --fix` offers to do.
    pub repair: Option<Repair>,
}

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub name: &'static str,
    pub state: State,
    pub finding: String,
    /// Empty when all is well.
    pub fix: String,
    #[serde(flatten)]
    pub problem: Explanation,
}

/// The problem behind a row: `problem`, `symptom` and `cause`, all of them null when all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation(pub Option<&'static Problem>);

impl Serialize for Explanation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("problem", &self.0.map(|problem| problem.id))?;
        map.serialize_entry("symptom", &self.0.map(|problem| problem.symptom))?;
        map.serialize_entry("cause", &self.0.map(|problem| problem.cause))?;
        map.end()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warn,
    Fail,
}

/// A row without a problem.
pub fn ok(name: &'static str, finding: impl Into<String>) -> Row {
    Row { name, state: State::Ok, finding: finding.into(), fix: String::new(), problem: Explanation(None) }
}

impl Problem {
    /// The row of this problem, with what was found here.
    pub fn found(&'static self, finding: impl Into<String>) -> Row {
        Row {
            name: self.row,
            state: self.state,
            finding: finding.into(),
            fix: self.fix.to_owned(),
            problem: Explanation(Some(self)),
        }
    }
}

impl Row {
    /// Puts a value in place of `{name}` in the fix.
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Row {
        self.fix = self.fix.replace(&format!("{{{name}}}"), &value.to_string());
        self
    }
}

/// The problems of one module, and the list of them, which so cannot miss one.
macro_rules! problems {
    ($($name:ident: $state:ident $id:literal, $symptom:literal, $cause:literal, $fix:literal $(, $repair:ident)?;)+) => {
        $(
            pub static $name: $crate::doctor::Problem = $crate::doctor::Problem {
                id: $id,
                row: $crate::doctor::problem::row_of($id),
                state: $crate::doctor::State::$state,
                symptom: $symptom,
                cause: $cause,
                fix: $fix,
                repair: problems!(@repair $($repair)?),
            };
        )+
        /// In the order of the page.
        pub static PROBLEMS: &[&$crate::doctor::Problem] = &[$(&$name),+];
    };
    (@repair) => { None };
    (@repair $repair:ident) => { Some($crate::doctor::repair::Repair::$repair) };
}
pub(super) use problems;

/// The name of the row: what stands before the dot.
pub(super) const fn row_of(id: &'static str) -> &'static str {
    let bytes = id.as_bytes();
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b'.' {
        end += 1;
    }
    id.split_at(end).0
}

problems! {
    UNFINISHED: Warn "doctor.unfinished",
        "Rows of the table are missing.",
        "A program or server that was asked did not answer in time.",
        "look at the rows that failed; where none did, run `cargo xtask doctor` again";
}

/// Every problem, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Problem> {
    use super::{
        calls, certificates, files, firewall, hooks, host, mattermost, network, postgres, services, tools, turn,
    };
    let modules: [&'static [&'static Problem]; 13] = [
        host::PROBLEMS,
        network::PROBLEMS,
        firewall::PROBLEMS,
        files::PROBLEMS,
        certificates::PROBLEMS,
        services::PROBLEMS,
        postgres::PROBLEMS,
        mattermost::PROBLEMS,
        calls::PROBLEMS,
        turn::PROBLEMS,
        hooks::PROBLEMS,
        tools::PROBLEMS,
        PROBLEMS,
    ];
    modules.into_iter().flatten().copied()
}
