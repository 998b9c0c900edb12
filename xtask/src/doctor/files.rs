//! What lies on this host: secrets, generated files, the CAs of others.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::problem::{Row, ok, problems};
use crate::certs;
use crate::drivers::files;
use crate::relay_image;
use crate::render;
use crate::secrets::{Secrets, needed};
use crate::stack::{self, SITE, Stack};

problems! {
    SECRETS_MALFORMED: Fail "secrets.malformed",
        "Every command that needs a secret refuses to run.",
        "env/secrets.env has a line that is no `NAME=value`.",
        "mend the line, or bring the file back from a backup";
    SECRETS_MISSING: Fail "secrets.missing",
        "`up` refuses to run, or makes what is missing.",
        "env/secrets.env lacks a secret that this stack needs.",
        "bring env/secrets.env back from a backup; without one, `cargo xtask up` says what can be made anew";
    SECRETS_WEAK: Warn "secrets.weak",
        "None, until somebody guesses it.",
        "A secret in env/secrets.env is shorter or simpler than those that this project makes.",
        "remove the line from env/secrets.env and run `cargo xtask up`: it makes a new one, or says what depends on the old one";
    MODES_OPEN: Fail "modes.open",
        "Other accounts of this host can read the secrets.",
        "A file with secrets has a mode that lets others read it.",
        "chmod 600 {files}", Modes;
    TRUST_BROKEN: Fail "trust.broken",
        "Mattermost cannot call the connected tools, or `up` refuses to start.",
        "A file with the CA of somebody else, named in stack.toml, is missing, malformed or has run out.",
        "{fix}";
    FILES_UNRENDERED: Warn "files.unrendered",
        "Nothing runs yet.",
        "The stack was never brought up.",
        "`cargo xtask up`", Up;
    FILES_DIFFER: Warn "files.differ",
        "A change of stack.toml has no effect, or a change by hand is lost at the next `up`.",
        "A generated file is not what stack.toml, the secrets and the host say.",
        "see what differs with `cargo xtask render --diff`, then `cargo xtask up`", Up;
    FILES_BROKEN: Fail "files.broken",
        "`up` refuses to run.",
        "The generated files cannot be made from what is there.",
        "see the message";
}

pub fn secrets(context: &Context) -> Vec<Row> {
    let is_set_up = context.stack.compose_folder().join(".env").exists();
    vec![match context.secrets() {
        Ok(secrets) => {
            let needed: Vec<&str> = needed(&context.stack.settings).map(|secret| secret.name).collect();
            judge_secrets(secrets, is_set_up, &needed)
        }
        Err(error) => SECRETS_MALFORMED.found(error),
    }]
}

/// `needed` are the names of what this project makes for such a stack.
pub fn judge_secrets(secrets: &Secrets, is_set_up: bool, needed: &[&str]) -> Row {
    let missing: Vec<&str> = needed.iter().filter(|name| secrets.get(name).is_none()).copied().collect();
    if is_set_up && !missing.is_empty() {
        return SECRETS_MISSING.found(format!("secrets.env lacks {}", missing.join(", ")));
    }
    let is_weak = |name: &&str| secrets.get(name).is_some_and(is_weak);
    let weak: Vec<&str> = needed.iter().filter(|name| is_weak(name)).copied().collect();
    if !weak.is_empty() {
        return SECRETS_WEAK.found(format!("easy to guess: {}", weak.join(", ")));
    }
    match secrets.names().count() {
        0 => ok("secrets", "none yet; `up` makes them"),
        count => ok("secrets", format!("{count} in secrets.env")),
    }
}

/// What this project makes has 24 characters or more of an alphabet of 62.
fn is_weak(value: &str) -> bool {
    let different: std::collections::BTreeSet<char> = value.chars().collect();
    value.len() < 16 || different.len() < 8
}

pub fn modes(context: &Context) -> Vec<Row> {
    let root = &context.stack.root;
    let open = open_to_others(root);
    if open.is_empty() {
        return vec![ok("modes", "files with secrets are for their owner only")];
    }
    let list = open.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    vec![MODES_OPEN.found(format!("others can read {list}")).with("files", list)]
}

const SECRET: &[&str] = &[
    "env/secrets.env",
    "env/mattermost.env",
    "env/turnserver.conf",
    "env/relay.toml",
    "env/postgres/password",
    "env/postgres/superuser_password",
];

/// The files with secrets, private keys among them, that somebody else than their owner can read.
pub fn open_to_others(root: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = SECRET.iter().map(|file| root.join(file)).collect();
    keys(&root.join("certs"), &mut paths);
    paths.retain(|path| files::mode(path).is_some_and(|mode| mode & 0o077 != 0));
    paths
}

/// The private keys in a folder and below it: what an import replaced is kept there.
fn keys(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            keys(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "key") {
            found.push(path);
        }
    }
}

pub fn trust(context: &Context) -> Vec<Row> {
    judge_trust(&context.stack).into_iter().collect()
}

/// The CAs of others that stack.toml names, if it names any.
pub fn judge_trust(stack: &Stack) -> Option<Row> {
    let settings = &stack.settings;
    let count = settings.certificates.extra_trust.len() + usize::from(settings.external_postgres().is_some());
    let read = stack::checkout().map(|checkout| crate::trust::read(settings, &checkout));
    match read {
        Ok(Ok(_)) if count == 0 => None,
        Ok(Ok(_)) => Some(ok("trust", format!("{count} files with CAs of others, each good today"))),
        Ok(Err(invalid)) => Some(TRUST_BROKEN.found(invalid.to_string()).with("fix", invalid.hint)),
        Err(error) => Some(TRUST_BROKEN.found(error.to_string()).with("fix", "see the message")),
    }
}

pub fn rendered(context: &Context) -> Vec<Row> {
    vec![differing(context).map_or_else(
        |error| FILES_BROKEN.found(format!("{error:#}")),
        |differing| judge_files(&differing, context.stack.compose_folder().exists() || context.stack.name == SITE),
    )]
}

/// `differing` are the paths of generated files that are not on disk as they should be.
pub fn judge_files(differing: &[&str], is_rendered: bool) -> Row {
    if differing.is_empty() {
        return ok("files", "every generated file is what stack.toml says");
    }
    if !is_rendered {
        return FILES_UNRENDERED.found("not rendered yet");
    }
    FILES_DIFFER.found(format!("{} not what stack.toml says", list(differing)))
}

fn list(paths: &[&str]) -> String {
    format!("{} {}", paths.join(", "), if paths.len() == 1 { "is" } else { "are" })
}

/// Without secrets or certificates only the tracked files can be compared: the others are not there yet.
fn differing(context: &Context) -> anyhow::Result<Vec<&'static str>> {
    let Context { stack, .. } = context;
    let (Ok(secrets), Ok(host)) = (context.secrets(), context.host()) else {
        return tracked(stack);
    };
    let complete = needed(&stack.settings).all(|secret| secrets.get(secret.name).is_some());
    let Some(certificates) = certs::load(&stack.root, &stack.settings)?.filter(|_| complete) else {
        return tracked(stack);
    };
    let tag = relay_image::tag(&stack.settings)?;
    let files = render::render(&stack.settings, host, secrets, &certificates, &tag)?;
    // A mode that is too wide has a row of its own.
    let differs = |file: &&render::File| {
        std::fs::read_to_string(stack.root.join(file.path)).ok().as_deref() != Some(file.contents.as_str())
    };
    Ok(files.iter().filter(differs).map(|file| file.path).collect())
}

fn tracked(stack: &Stack) -> anyhow::Result<Vec<&'static str>> {
    let files = render::tracked(&stack.settings)?;
    Ok(render::check(&files, &stack.root).into_iter().map(|file| file.path).collect())
}
