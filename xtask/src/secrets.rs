//! env/secrets.env: what must stay secret, generated once and never replaced silently.
//!
//! One line a secret, `NAME=value  # date`. Values are letters, digits, `-`, `_` and `.`, so they need no quoting in any
//! file that they go into. Lines of the user (tokens of the connected tools) and comments stay as they are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rand::RngExt as _;

use crate::drivers::files;
use crate::error::hinted;
use crate::settings::Settings;

/// What this project generates. The length is in characters of an alphabet of 62: 32 are 190 bits.
pub const GENERATED: &[Generated] = &[
    Generated { name: POSTGRES_SUPERUSER_PASSWORD, length: 32, kept_in_volume: true },
    Generated { name: POSTGRES_PASSWORD, length: 32, kept_in_volume: true },
    Generated { name: ADMIN_PASSWORD, length: 24, kept_in_volume: true },
    Generated { name: TURN_SECRET, length: 48, kept_in_volume: false },
    Generated { name: SONARQUBE_WEBHOOK_SECRET, length: 40, kept_in_volume: false },
    Generated { name: JENKINS_RELOAD_TOKEN, length: 40, kept_in_volume: false },
];

pub const POSTGRES_SUPERUSER_PASSWORD: &str = "POSTGRES_SUPERUSER_PASSWORD";
pub const POSTGRES_PASSWORD: &str = "POSTGRES_PASSWORD";
pub const ADMIN_PASSWORD: &str = "ADMIN_PASSWORD";
pub const TURN_SECRET: &str = "TURN_SECRET";
/// SonarQube signs its deliveries with it, and the relay checks them.
pub const SONARQUBE_WEBHOOK_SECRET: &str = "SONARQUBE_WEBHOOK_SECRET";
/// Lets `connect jenkins --apply` have JCasC read its files again.
pub const JENKINS_RELOAD_TOKEN: &str = "JENKINS_RELOAD_TOKEN";

/// Not secrets, but known only together with the volumes: they are forgotten with them.
pub const ADMIN_ID: &str = "MATTERMOST_ADMIN_ID";
/// The first password of an administrator who is being made; gone as soon as the account has its own.
pub const ADMIN_FIRST_PASSWORD: &str = "MATTERMOST_ADMIN_FIRST_PASSWORD";

/// The administrator's access token, with which the wiring reads and sets what mmctl cannot.
pub const ADMIN_TOKEN: &str = "MATTERMOST_ADMIN_TOKEN";

/// Put there by the user.
pub const EXTERNAL_POSTGRES_PASSWORD: &str = "EXTERNAL_POSTGRES_PASSWORD";
pub const GITLAB_API_TOKEN: &str = "GITLAB_API_TOKEN";
pub const SONAR_ADMIN_TOKEN: &str = "SONAR_ADMIN_TOKEN";
/// Made at GitLab by `connect gitlab`.
pub const GITLAB_OAUTH_ID: &str = "GITLAB_OAUTH_ID";
pub const GITLAB_OAUTH_SECRET: &str = "GITLAB_OAUTH_SECRET";
/// Keys of Mattermost's GitLab plugin: with another encryption key it cannot read the tokens of its users.
pub const GITLAB_PLUGIN_ENCRYPTION_KEY: &str = "GITLAB_PLUGIN_ENCRYPTION_KEY";
pub const GITLAB_PLUGIN_WEBHOOK_SECRET: &str = "GITLAB_PLUGIN_WEBHOOK_SECRET";
/// Put there by the user, if at all: with them `connect jenkins --apply` can ask Jenkins what it made of the files.
pub const JENKINS_USER: &str = "JENKINS_USER";
pub const JENKINS_API_TOKEN: &str = "JENKINS_API_TOKEN";

const RESERVED: &[&str] = &[
    ADMIN_ID,
    ADMIN_FIRST_PASSWORD,
    ADMIN_TOKEN,
    EXTERNAL_POSTGRES_PASSWORD,
    GITLAB_API_TOKEN,
    SONAR_ADMIN_TOKEN,
    GITLAB_OAUTH_ID,
    GITLAB_OAUTH_SECRET,
    GITLAB_PLUGIN_ENCRYPTION_KEY,
    GITLAB_PLUGIN_WEBHOOK_SECRET,
    JENKINS_USER,
    JENKINS_API_TOKEN,
];

#[derive(Debug)]
pub struct Generated {
    pub name: &'static str,
    pub length: usize,
    /// Whether the database already depends on it once its volume exists.
    pub kept_in_volume: bool,
}

/// What such a stack needs of it. A PostgreSQL that exists already has passwords of its own.
pub fn needed(settings: &Settings) -> impl Iterator<Item = &'static Generated> {
    let own_postgres = settings.external_postgres().is_none();
    let of_postgres = [POSTGRES_SUPERUSER_PASSWORD, POSTGRES_PASSWORD];
    GENERATED.iter().filter(move |secret| own_postgres || !of_postgres.contains(&secret.name))
}

/// The parsed file. Debug shows names only.
#[derive(Clone, Default)]
pub struct Secrets {
    lines: Vec<Line>,
    values: BTreeMap<String, usize>,
}

#[derive(Clone)]
enum Line {
    Text(String),
    /// `text` is the line as it stands in the file.
    Secret {
        name: String,
        value: String,
        date: Option<String>,
        text: String,
    },
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// Reads a secrets.env. An absent file is an empty one.
    ///
    /// # Errors
    /// When the file is unreadable or malformed; the message names the line and never a value.
    pub fn load(path: &Path) -> anyhow::Result<Secrets> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Secrets::default()),
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("cannot read {}", path.display()));
                return Err(hinted(error, "nothing was changed; make it readable for you, mode 0600"));
            }
        };
        Secrets::parse(&text).map_err(|(line, what)| {
            hinted(
                anyhow::anyhow!("{}:{line}: {what}", path.display()),
                "nothing was changed; a line is NAME=value, the value of letters, digits, `-`, `_` and `.`",
            )
        })
    }

    fn parse(text: &str) -> Result<Secrets, (usize, String)> {
        let mut secrets = Secrets::default();
        for (index, line) in text.lines().enumerate() {
            let fail = |what: &str| Err((index + 1, what.to_owned()));
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                secrets.lines.push(Line::Text(line.to_owned()));
                continue;
            }
            let Some((name, rest)) = line.split_once('=') else { return fail("has no `=`") };
            if !is_name(name) {
                return fail("the name must be upper-case letters, digits and underscores");
            }
            let (value, comment) = match rest.split_once(|c: char| c.is_whitespace()) {
                Some((value, comment)) => (value, Some(comment.trim())),
                None => (rest, None),
            };
            let date = match comment {
                None | Some("") => None,
                Some(comment) => match comment.strip_prefix('#') {
                    Some(date) => Some(date.trim().to_owned()),
                    None => return fail(&format!("the value of {name} has a space in it")),
                },
            };
            if value.is_empty() {
                return fail(&format!("{name} has no value"));
            }
            if !value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                return fail(&format!("the value of {name} has a character that is not allowed"));
            }
            if secrets.values.contains_key(name) {
                return fail(&format!("{name} is there twice"));
            }
            secrets.values.insert(name.to_owned(), secrets.lines.len());
            let (name, value, text) = (name.to_owned(), value.to_owned(), line.to_owned());
            secrets.lines.push(Line::Secret { name, value, date, text });
        }
        Ok(secrets)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        match &self.lines[*self.values.get(name)?] {
            Line::Secret { value, .. } => Some(value),
            Line::Text(_) => None,
        }
    }

    /// A generated secret: present in every set that [`ensure`] has returned.
    pub fn require(&self, name: &str) -> anyhow::Result<&str> {
        self.get(name).with_context(|| format!("secrets.env has no {name}"))
    }

    pub fn set(&mut self, name: &str, value: &str, date: &str) {
        let text = format!("{name}={value}  # {date}");
        let line = Line::Secret { name: name.to_owned(), value: value.to_owned(), date: Some(date.to_owned()), text };
        match self.values.get(name) {
            Some(index) => self.lines[*index] = line,
            None => {
                self.values.insert(name.to_owned(), self.lines.len());
                self.lines.push(line);
            }
        }
    }

    pub fn remove(&mut self, name: &str) {
        if let Some(index) = self.values.remove(name) {
            self.lines.remove(index);
            for other in self.values.values_mut().filter(|other| **other > index) {
                *other -= 1;
            }
        }
    }

    /// Names and the dates on which they were made, in the file's order.
    pub fn names(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Secret { name, date, .. } => Some((name.as_str(), date.as_deref())),
            Line::Text(_) => None,
        })
    }

    /// The text with every secret replaced by its name.
    pub fn redact(&self, text: &str) -> String {
        let mut secrets: Vec<(&str, &str)> = Vec::new();
        for line in &self.lines {
            if let Line::Secret { name, value, .. } = line
                && name != ADMIN_ID
                && value.len() >= 8
            {
                secrets.push((name, value));
            }
        }
        // The longest first: of one that begins with another, nothing must be left.
        secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        secrets.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("[{name}]")))
    }

    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Text(line) | Line::Secret { text: line, .. } => text.push_str(line),
            }
            text.push('\n');
        }
        files::write(path, text.as_bytes(), 0o600)
    }
}

/// A volume that depends on secrets: in words, and the command that removes it.
#[derive(Debug)]
pub struct Volume {
    pub what: String,
    pub removal: String,
}

/// Loads the secrets and adds the generated ones that are missing. Returns the names that were added.
///
/// `volume` is asked only when a secret is missing that a database volume may already depend on, and names that volume
/// when it exists or may exist.
///
/// # Errors
/// When such a secret is missing and the volume exists, or may exist: a new one would lock everybody out of the data.
pub fn ensure(
    path: &Path,
    today: &str,
    settings: &Settings,
    volume: impl FnOnce() -> Option<Volume>,
) -> anyhow::Result<(Secrets, Vec<&'static str>)> {
    let mut secrets = Secrets::load(path)?;
    let missing: Vec<&Generated> = needed(settings).filter(|secret| secrets.get(secret.name).is_none()).collect();
    if let Some(secret) = missing.iter().find(|secret| secret.kept_in_volume)
        && let Some(volume) = volume()
    {
        return Err(hinted(
            anyhow::anyhow!("{}: {} is missing, and {} depends on it", path.display(), secret.name, volume.what),
            format!("bring the line back from a backup; or, if the data may go, run `{}`", volume.removal),
        ));
    }
    if missing.is_empty() {
        return Ok((secrets, Vec::new()));
    }
    if secrets.lines.is_empty() {
        let header =
            "# Secrets of this command center. Back this file up with the data: one is of no use without the other.";
        secrets.lines.push(Line::Text(header.to_owned()));
    }
    for secret in &missing {
        secrets.set(secret.name, &generate(secret.length), today);
    }
    secrets.save(path)?;
    Ok((secrets, missing.iter().map(|secret| secret.name).collect()))
}

/// Letters and digits from the operating system's generator, at least one each of lower case, upper case and digit, as
/// strict password rules ask.
pub fn generate(length: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    loop {
        let text: String = (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect();
        let has = |class: fn(&char) -> bool| text.chars().any(|c| class(&c));
        if has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit) {
            return text;
        }
    }
}

pub fn path(root: &Path) -> PathBuf {
    root.join("env/secrets.env")
}

/// Whether this project gives the name a meaning of its own.
pub fn is_reserved(name: &str) -> bool {
    GENERATED.iter().any(|secret| secret.name == name) || RESERVED.contains(&name)
}

pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_lines_and_comments_survive() {
        let text = "# mine\nGITLAB_API_TOKEN=glpat-x_1.2\nTURN_SECRET=abc  # 2026-01-02\n";
        let mut secrets = Secrets::parse(text).expect("valid");
        assert_eq!(secrets.get("GITLAB_API_TOKEN"), Some("glpat-x_1.2"));
        secrets.set("NEW", "v", "2026-02-03");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secrets.env");
        secrets.save(&file).expect("saved");
        let saved = std::fs::read_to_string(&file).expect("read");
        assert_eq!(saved, format!("{text}NEW=v  # 2026-02-03\n"));
        assert_eq!(files::mode(&file), Some(0o600));
    }

    #[test]
    fn an_error_names_the_line_and_never_the_value() {
        for bad in ["TOKEN", "token=x", "A=sesame open", "A=sesame'", "A=", "A=sesame\nA=sesame"] {
            let (_, what) = Secrets::parse(bad).expect_err(bad);
            assert!(!what.contains("sesame"), "{what}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let secrets = Secrets::parse("TOKEN=sesame").expect("valid");
        assert!(!format!("{secrets:?}").contains("sesame"));
        assert_eq!(secrets.redact("it is sesame"), "it is sesame", "too short to be told from a word");
        let secrets = Secrets::parse("TOKEN=opensesame").expect("valid");
        assert_eq!(secrets.redact("it is opensesame"), "it is [TOKEN]");
    }

    #[test]
    fn removal_keeps_the_others_in_reach() {
        let mut secrets = Secrets::parse("A=1\nB=2\nC=3").expect("valid");
        secrets.remove("A");
        assert_eq!((secrets.get("A"), secrets.get("B"), secrets.get("C")), (None, Some("2"), Some("3")));
    }
}
