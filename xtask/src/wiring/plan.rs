//! What would change: a list of steps, each a change that people read and the actions that make it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::settings::{Bot, Channel, IncomingWebhook, OutgoingWebhook, Plugin, SlashCommand, Team};

/// The difference between stack.toml and Mattermost.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What is ours and no longer in stack.toml; `wire --prune` does these.
    pub orphans: Vec<Step>,
    /// What keeps the plan from being carried out.
    pub problems: Vec<Problem>,
    /// What somebody should know, one sentence each.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub change: Change,
    /// In this order; after any of them, a new plan holds what is left.
    pub actions: Vec<Action>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Change {
    pub operation: Operation,
    /// `team`, `channel`, `bot` and so on.
    pub kind: &'static str,
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Create,
    Change,
    /// Deleted and made again, because it cannot be changed: its identifier or token is a new one.
    Replace,
    Archive,
}

/// One property; `old` is absent when it is created. The value of a secret is its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    pub old: Option<String>,
    pub new: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    pub what: String,
    pub fix: String,
}

/// One call that changes Mattermost, or one line that is noted in secrets.env.
#[derive(Debug, Clone)]
pub enum Action {
    CreateTeam(Team),
    RenameTeam {
        team: String,
        display_name: String,
    },
    AddToTeam {
        team: String,
        users: Vec<String>,
    },
    CreateChannel {
        team: String,
        channel: Channel,
    },
    RenameChannel {
        team: String,
        channel: String,
        display_name: String,
    },
    SetPrivacy {
        team: String,
        channel: String,
        private: bool,
    },
    DescribeChannel {
        id: String,
        purpose: String,
        header: String,
    },
    AddToChannel {
        team: String,
        channel: String,
        users: Vec<String>,
    },
    CreateBotUser {
        name: String,
    },
    ConvertToBot {
        name: String,
    },
    /// At once after the conversion: a bot that owns itself hangs the server when it is deactivated.
    AssignBot {
        name: String,
        owner: String,
    },
    DescribeBot(Bot),
    MakeToken {
        bot: String,
        secret: String,
    },
    CreateIncoming(IncomingWebhook),
    ModifyIncoming {
        id: String,
        hook: IncomingWebhook,
    },
    DeleteHook {
        id: String,
    },
    CreateOutgoing(OutgoingWebhook),
    CreateCommand {
        command: SlashCommand,
        creator: String,
    },
    ModifyCommand {
        id: String,
        command: SlashCommand,
    },
    /// The value that Mattermost has is noted in secrets.env.
    Adopt {
        secret: String,
        value: Hidden,
    },
    InstallPlugin(Plugin),
    ConfigurePlugin(Plugin),
    EnablePlugin {
        id: String,
    },
    DisablePlugin {
        id: String,
    },
    Configure(std::collections::BTreeMap<String, Value>),
    ArchiveTeam {
        team: String,
    },
    ArchiveChannel {
        team: String,
        channel: String,
    },
    DisableBot {
        name: String,
    },
    ArchiveCommand {
        id: String,
    },
}

/// A value that Debug does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// In the manner of a Terraform plan.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            text.push_str(&step.change.text());
        }
        for problem in &self.problems {
            text.push_str(&format!("! {}\n    fix: {}\n", problem.what, problem.fix));
        }
        for orphan in &self.orphans {
            text.push_str(&format!(
                "? {} {} is ours and no longer in stack.toml: `cargo xtask wire --prune` archives it\n",
                orphan.change.kind, orphan.change.name
            ));
        }
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        let count = |operation| self.steps.iter().filter(|step| step.change.operation == operation).count();
        if !self.problems.is_empty() {
            text.push_str("Nothing is changed while something is marked with `!`.\n");
        } else if self.is_empty() {
            text.push_str("Nothing to change.\n");
        } else {
            text.push_str(&format!(
                "Plan: {} to create, {} to change, {} to replace.\n",
                count(Operation::Create),
                count(Operation::Change),
                count(Operation::Replace)
            ));
        }
        text
    }

    /// For scripts: `changes` and `orphans` (`operation`, `kind`, `name`, `fields`), `problems` (`what`, `fix`), `notes`.
    pub fn json(&self) -> Value {
        let changes = |steps: &[Step]| steps.iter().map(|step| json!(step.change)).collect::<Vec<_>>();
        json!({
            "changes": changes(&self.steps),
            "orphans": changes(&self.orphans),
            "problems": self.problems,
            "notes": self.notes,
        })
    }
}

impl Change {
    /// A sign and a name, and a line for each field.
    pub fn text(&self) -> String {
        let sign = match self.operation {
            Operation::Create => "+",
            Operation::Change => "~",
            Operation::Replace => "-/+",
            Operation::Archive => "-",
        };
        let mut text = format!("{sign} {} {}\n", self.kind, self.name);
        for field in &self.fields {
            match &field.old {
                Some(old) => text.push_str(&format!("    {}: {old:?} -> {:?}\n", field.name, field.new)),
                None => text.push_str(&format!("    {}: {:?}\n", field.name, field.new)),
            }
        }
        text
    }
}

/// Collects the fields of one change: those that differ, or all of a new thing.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<Field>);

impl Fields {
    pub fn added(mut self, name: &str, value: impl Into<String>) -> Fields {
        let new = value.into();
        if !new.is_empty() {
            self.0.push(Field { name: name.to_owned(), old: None, new });
        }
        self
    }

    pub fn changed(mut self, name: &str, old: impl Into<String>, new: impl Into<String>) -> Fields {
        let (old, new) = (old.into(), new.into());
        if old != new {
            self.0.push(Field { name: name.to_owned(), old: Some(old), new });
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.name == name)
    }

    pub fn names(&self) -> String {
        self.0.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub fn step(self, operation: Operation, kind: &'static str, name: impl Into<String>, actions: Vec<Action>) -> Step {
        Step { change: Change { operation, kind, name: name.into(), fields: self.0 }, actions }
    }
}
