//! env/connect.json: SHA-256 of what was last sent to a tool that does not give it back.
//!
//! GitLab never shows the URL of its webhook again, and SonarQube never its secret. What was sent is remembered as a hash,
//! so that a second run sends nothing, and a changed hook or secret is sent again. No URL and no secret is in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::drivers::files;

/// What was sent, by a name such as `gitlab project group/app`.
#[derive(Debug, Clone, Default)]
pub struct State {
    path: PathBuf,
    sent: BTreeMap<String, String>,
}

impl State {
    /// An absent file is an empty one, and so is one that cannot be understood: everything is sent once more.
    pub fn load(root: &Path) -> anyhow::Result<State> {
        let path = root.join("env/connect.json");
        let sent = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(State { path, sent })
    }

    pub fn knows(&self, name: &str, hash: &str) -> bool {
        self.sent.get(name).is_some_and(|known| known == hash)
    }

    /// Remembers at once, so that an interrupted run does not send again what has arrived.
    pub fn remember(&mut self, name: &str, hash: &str) -> anyhow::Result<()> {
        self.sent.insert(name.to_owned(), hash.to_owned());
        files::write(&self.path, format!("{:#}\n", serde_json::json!(self.sent)).as_bytes(), 0o600)
    }
}
