//! The connected tools.

use xtask::doctor::tools::{Outcome, judge};
use xtask::doctor::{Row, State};

pub fn rows() -> Vec<Row> {
    let failed = Outcome::Failed(
        "gitlab.url: nothing answers at https://gitlab.cicd.local".to_owned(),
        "start it, or mend gitlab.url in stack.toml".to_owned(),
    );
    let differs = Outcome::Differs(2, "set the webhook of all projects".to_owned());
    judge(&[("jenkins", Outcome::Right), ("gitlab", failed), ("sonarqube", differs)])
}

#[test]
fn only_connected_tools_are_spoken_of() {
    let rows = judge(&[("jenkins", Outcome::Unconnected), ("gitlab", Outcome::Right)]);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].state, rows[0].finding.as_str()), (State::Ok, "as they should be: gitlab"));
    assert!(judge(&[("jenkins", Outcome::Unconnected)])[0].finding.contains("no tool is connected"));
}
