//! What `doctor --fix` does: only what loses nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::files;
use super::problem::Row;
use crate::stack::Stack;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// chmod 600 for the files with secrets.
    Modes,
    /// `cargo xtask up`, which changes nothing that is right.
    Up,
}

/// The repairs that these rows ask for, each once, in the order in which they are done.
pub fn wanted(rows: &[Row]) -> Vec<Repair> {
    let wanted = |repair| rows.iter().any(|row| row.problem.0.is_some_and(|problem| problem.repair == Some(repair)));
    [Repair::Modes, Repair::Up].into_iter().filter(|repair| wanted(*repair)).collect()
}

/// What will be done, as the question that is asked.
pub fn question(repair: Repair, stack: &Stack) -> String {
    match repair {
        Repair::Modes => {
            let open = files::open_to_others(&stack.root);
            let list = open.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
            format!("chmod 600 {list}?")
        }
        Repair::Up => format!("{}? It changes nothing that is right.", stack.hint("cargo xtask up")),
    }
}

/// Makes every file with secrets readable by its owner only.
pub fn tighten(stack: &Stack) -> anyhow::Result<Vec<PathBuf>> {
    let open = files::open_to_others(&stack.root);
    for path in &open {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot change the mode of {}", path.display()))?;
    }
    Ok(open)
}
