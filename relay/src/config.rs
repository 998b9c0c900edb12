//! relay.toml: read once, checked whole. An error names the file, the key and the fix, and never shows a value, because
//! most of them are secret.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Uri;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use toml::{Table, Value};

use crate::delivery::Outcome;
use crate::signature::Key;

/// Everything that can be set; there are no defaults.
#[derive(Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// A folder of the relay's own.
    pub spool: PathBuf,
    pub mattermost: Mattermost,
    pub key: Key,
    pub hooks: Hooks,
    /// The most deliveries that wait on disk.
    pub queue: usize,
}

/// Where to post, and whom to believe.
#[derive(Debug)]
pub struct Mattermost {
    pub host: String,
    pub port: u16,
    pub name: ServerName<'static>,
    /// The only roots.
    pub roots: Arc<RootCertStore>,
}

/// The id of a hook is all that posting needs, so it is a secret. Debug does not show it.
pub struct Hook(String);

impl Hook {
    /// The path to post to.
    pub fn path(&self) -> String {
        format!("/hooks/{}", self.0)
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(***)")
    }
}

#[derive(Debug)]
pub struct Hooks {
    /// `None`: that the gate passed is no news.
    passed: Option<Hook>,
    failed: Hook,
}

impl Hooks {
    pub fn of(&self, outcome: Outcome) -> Option<&Hook> {
        match outcome {
            Outcome::Passed => self.passed.as_ref(),
            Outcome::Failed => Some(&self.failed),
        }
    }
}

pub fn load(file: &Path) -> Result<Config, String> {
    read(file).map_err(|it| format!("{}: {it}", file.display()))
}

fn read(file: &Path) -> Result<Config, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|it| format!("cannot be read: {it}; mount it, owned by the user that the relay runs as"))?;
    let mode = std::fs::metadata(file).map_err(|it| it.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("mode {:04o} lets others read its secrets; chmod 600", mode & 0o7777));
    }
    // toml's own Display quotes the line, which may hold a secret; its message does not.
    let table: Table = toml::from_str(&text).map_err(|it| {
        let line = it.span().map_or(1, |it| text[..it.start].matches('\n').count() + 1);
        format!("line {line}: {}", it.message())
    })?;
    check(Keys(table))
}

fn check(mut keys: Keys) -> Result<Config, String> {
    let config = Config {
        listen: parse(keys.string("listen")?, "listen", "an address and a port, such as \"0.0.0.0:8090\"")?,
        spool: keys.string("spool")?.into(),
        mattermost: mattermost(&keys.string("mattermost")?, &keys.string("ca")?)?,
        key: key(&keys.string("secret")?)?,
        hooks: Hooks {
            passed: hook(keys.string("passed_hook")?, "passed_hook")?,
            failed: hook(keys.string("failed_hook")?, "failed_hook")?
                .ok_or("failed_hook: is empty; write the id of an incoming webhook: a failed gate must be seen")?,
        },
        queue: keys.queue()?,
    };
    keys.nothing_left()?;
    Ok(config)
}

fn parse<T: std::str::FromStr>(value: String, key: &str, fix: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{key}: must be {fix}"))
}

fn mattermost(url: &str, ca: &str) -> Result<Mattermost, String> {
    let fix = "mattermost: must be an https URL without a path, such as \"https://mattermost.cicd.local:8065\"";
    let uri: Uri = url.parse().map_err(|_| fix)?;
    let host = uri.host().ok_or(fix)?.trim_matches(['[', ']']).to_owned();
    let bare = uri.path() == "/" && uri.query().is_none() && !url.contains('@');
    if uri.scheme_str() != Some("https") || !bare {
        return Err(fix.into());
    }
    let name = ServerName::try_from(host.clone()).map_err(|_| fix)?;
    Ok(Mattermost { host, port: uri.port_u16().unwrap_or(443), name, roots: Arc::new(roots(ca)?) })
}

fn roots(file: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|it| format!("ca: {file}: {it}"))?;
    for certificate in certificates {
        let added = certificate.map_err(|it| it.to_string()).map(|it| roots.add(it).map_err(|it| it.to_string()));
        added.flatten().map_err(|it| format!("ca: {file}: {it}"))?;
    }
    if roots.is_empty() {
        return Err(format!("ca: {file}: holds no certificate; it must be the PEM file of the CA"));
    }
    Ok(roots)
}

/// SonarQube 10.6 and later take no shorter secret.
fn key(secret: &str) -> Result<Key, String> {
    if secret.chars().count() < 16 {
        return Err("secret: has fewer than 16 characters; it must be the secret of SonarQube's webhook".into());
    }
    Ok(Key::new(secret))
}

/// Mattermost's ids are 26 lower-case letters and digits. With anything else every post would be refused, or reach
/// another path than a hook's.
fn hook(id: String, key: &str) -> Result<Option<Hook>, String> {
    let plausible = id.len() == 26 && id.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    match id.is_empty() {
        true => Ok(None),
        false if plausible => Ok(Some(Hook(id))),
        false => Err(format!("{key}: must be the id of an incoming webhook: 26 lower-case letters and digits")),
    }
}

/// What was not asked for yet.
struct Keys(Table);

impl Keys {
    fn string(&mut self, key: &str) -> Result<String, String> {
        match self.0.remove(key) {
            Some(Value::String(it)) => Ok(it),
            Some(_) => Err(format!("{key}: must be a string, in quotes")),
            None => Err(format!("{key}: is missing; there are no defaults")),
        }
    }

    fn queue(&mut self) -> Result<usize, String> {
        let fix = "queue: must be a whole number between 1 and 100000";
        let value = self.0.remove("queue").ok_or("queue: is missing; there are no defaults")?;
        let number = value.as_integer().and_then(|it| usize::try_from(it).ok()).ok_or(fix)?;
        if (1..=100_000).contains(&number) { Ok(number) } else { Err(fix.into()) }
    }

    fn nothing_left(&self) -> Result<(), String> {
        match self.0.keys().next() {
            Some(key) => Err(format!("{key}: is no setting of the relay; remove it")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
