//! Which stack a command is about, and where it lives.
//!
//! The site's own stack lives in the checkout's compose/, env/ and certs/. Every other one (the lab, one of a test) lives
//! below target/stacks/<name>/ with secrets, certificates, networks and volumes of its own.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::error::{hint_of, hinted};
use crate::settings::{self, Invalid, Settings};

#[derive(Debug, Clone)]
pub struct Stack {
    pub name: String,
    /// Where compose/, env/ and certs/ are.
    pub root: PathBuf,
    pub settings: Settings,
}

pub const SITE: &str = "site";
pub const LAB: &str = "lab";

impl Stack {
    /// Where Compose runs.
    pub fn compose_folder(&self) -> PathBuf {
        self.root.join("compose")
    }

    /// The override that puts the lab's images in place of the pinned ones.
    pub fn lab_override(&self) -> PathBuf {
        self.root.join(LAB_OVERRIDE)
    }

    /// Whether a stand-in runs in place of Mattermost.
    pub fn is_lab(&self) -> bool {
        self.lab_override().exists()
    }

    pub fn volume(&self, name: &str) -> String {
        format!("{}_{name}", self.settings.name)
    }

    /// Name of a service's container, as Compose gives it to the first of a service.
    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}-1", self.settings.name)
    }

    /// A text in which every `cargo xtask` is about this stack.
    pub fn hint(&self, text: &str) -> String {
        if self.name == SITE {
            return text.to_owned();
        }
        text.replace("cargo xtask ", &format!("cargo xtask --stack {} ", self.name))
    }

    /// An error whose hint is about this stack, where what failed did not know the stack's name.
    pub fn hinted(&self, error: anyhow::Error) -> anyhow::Error {
        match hint_of(&error).filter(|hint| !hint.contains("--stack")).map(|hint| self.hint(hint)) {
            Some(hint) => hinted(error, hint),
            None => error,
        }
    }
}

/// Compose reads a file of this name by itself, so `docker compose ps` works in the folder without options.
pub const LAB_OVERRIDE: &str = "compose/compose.override.yaml";

/// Opens a stack by name: `site`, `lab`, or one that has a stack.toml of its own below target/stacks/.
///
/// # Errors
/// When its settings cannot be used, or when there is no such stack.
pub fn open(name: &str) -> anyhow::Result<Stack> {
    let checkout = checkout()?;
    let site = checkout.join("stack.toml");
    if name == SITE {
        return Ok(Stack { name: name.to_owned(), settings: settings::load(&site)?, root: checkout });
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err(Invalid::new(
            format!("{name:?} is no name of a stack"),
            "use lower-case letters, digits and dashes",
        )
        .into());
    }
    let root = folder(&checkout, name);
    let own = root.join("stack.toml");
    let settings = if own.exists() {
        settings::load(&own)?
    } else if name == LAB {
        settings::load(&site)?.for_lab()
    } else {
        return Err(Invalid::new(
            format!("there is no stack {name:?}: {} does not exist", own.display()),
            "leave --stack out, or use `--stack site` or `--stack lab`",
        )
        .into());
    };
    Ok(Stack { name: name.to_owned(), settings, root })
}

/// The root of the checkout, whatever folder the command was started in.
pub fn checkout() -> anyhow::Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Ok(Path::new(&manifest).parent().context("xtask lies in a checkout")?.to_owned())
}

fn folder(checkout: &Path, name: &str) -> PathBuf {
    checkout.join("target/stacks").join(name)
}
