//! The far side of the integrations: Jenkins, GitLab and SonarQube are told where Mattermost is.
//!
//! Each tool goes one way: settings and secrets say what is wanted, HTTP or the file system what is there, a pure planner
//! gives the steps, and a step is applied by itself, so that a second run finishes what an interrupted one began.

pub mod gitlab;
pub mod jenkins;
pub mod sonarqube;
pub mod state;

use std::fmt::Display;
use std::path::Path;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::certs;
use crate::drivers::rest;
use crate::error::{Hint as _, hinted};
use crate::secrets::{self, Secrets};
use crate::settings::Settings;
use crate::stack::{self, Stack};
use state::State;

/// What a command knows and keeps: the stack, its secrets, what was sent before, and today's date for secrets.env.
#[derive(Debug)]
pub struct Site<'a> {
    pub stack: &'a Stack,
    pub secrets: Secrets,
    pub state: State,
    pub today: String,
}

/// What is to be done, and what is said besides.
#[derive(Debug)]
pub struct Plan<S> {
    pub steps: Vec<S>,
    pub notices: Vec<Notice>,
    /// What could not be looked at. The rest goes on, and the command fails in the end.
    pub failures: Vec<anyhow::Error>,
}

impl<S> Default for Plan<S> {
    fn default() -> Plan<S> {
        Plan { steps: Vec::new(), notices: Vec::new(), failures: Vec::new() }
    }
}

/// Something that no step can mend, and what the user can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub finding: String,
    pub fix: String,
}

impl Notice {
    pub fn new(finding: impl Into<String>, fix: impl Into<String>) -> Notice {
        Notice { finding: finding.into(), fix: fix.into() }
    }
}

impl<S: Display> Plan<S> {
    pub fn json(&self, tool: &str) -> Value {
        json!({
            "tool": tool,
            "steps": self.steps.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "notices": self.notices.iter().map(|n| json!({ "finding": n.finding, "fix": n.fix })).collect::<Vec<_>>(),
            "failures": self.failures.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

impl<'a> Site<'a> {
    pub fn load(stack: &'a Stack, today: String) -> anyhow::Result<Site<'a>> {
        let secrets = Secrets::load(&secrets::path(&stack.root))?;
        Ok(Site { stack, secrets, state: State::load(&stack.root)?, today })
    }

    pub fn settings(&self) -> &Settings {
        &self.stack.settings
    }

    /// Writes secrets into secrets.env at once, all of them or none: an id without its secret would look complete.
    pub fn keep(&mut self, values: &[(&str, &str)]) -> anyhow::Result<()> {
        for (name, value) in values {
            let fits = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if !fits {
                return Err(hinted(
                    anyhow::anyhow!("the value for {name} has a character that secrets.env cannot hold"),
                    "its values are letters, digits, `-`, `_` and `.`; make another one at the tool",
                ));
            }
        }
        for (name, value) in values {
            self.secrets.set(name, value, &self.today);
        }
        self.secrets.save(&secrets::path(&self.stack.root))
    }

    /// A secret that the user puts into secrets.env.
    pub fn token(&self, name: &str, how: &str) -> anyhow::Result<&str> {
        let path = secrets::path(&self.stack.root);
        self.secrets.get(name).with_context(|| format!("{} has no {name}", path.display())).hint(how)
    }

    /// A secret that `up` makes.
    pub fn generated(&self, name: &str) -> anyhow::Result<&str> {
        self.secrets.require(name).hint(self.stack.hint("run `cargo xtask up` first: it makes the missing secrets"))
    }

    /// URL of the incoming webhook whose id is kept under this name.
    pub fn hook_url(&self, secret: &str) -> anyhow::Result<String> {
        let id = self.secrets.get(secret);
        let id = id.with_context(|| format!("secrets.env has no {secret}: the incoming webhook was not made yet"));
        let id = id.hint(self.stack.hint("run `cargo xtask wire` (or `cargo xtask up`) first"))?;
        Ok(format!("{}/hooks/{id}", self.settings().site_url()))
    }

    /// The CAs that a tool's certificate may come from: those of certificates.extra_trust and our own.
    pub fn roots(&self) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let mut roots = Vec::new();
        let own = certs::ca_path(&self.stack.root);
        if own.exists() {
            roots.extend(read_certificates(&own)?);
        }
        let checkout = stack::checkout()?;
        for path in &self.settings().certificates.extra_trust {
            let found = read_certificates(&checkout.join(path));
            roots.extend(found.hint("correct certificates.extra_trust of stack.toml: PEM files of CAs")?);
        }
        Ok(roots)
    }
}

fn read_certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = path.display().to_string();
    let pem = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    rest::certificates(&pem, &shown)
}
