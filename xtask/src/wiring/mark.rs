//! How what this project made is told from what people made: by a mark that is there from the call that creates it, so that
//! an interruption leaves nothing behind that nobody owns.

/// At the end of a description or purpose.
pub const MARK: &str = "managed by command-center";
/// The contact address of a team: `team create` takes no description. Nothing is ever sent to it.
pub const TEAM_EMAIL: &str = "managed@command-center.local";

/// A description with the mark.
pub fn marked(text: &str) -> String {
    if text.is_empty() { MARK.to_owned() } else { format!("{text} ({MARK})") }
}

pub fn is_marked(text: &str) -> bool {
    text == MARK || text.ends_with(&format!("({MARK})"))
}

/// The address of an account that is about to become a bot: what an interrupted run leaves is recognised by it.
pub fn bot_email(name: &str) -> String {
    format!("{name}@bots.command-center.local")
}
