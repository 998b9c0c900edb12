//! Settings, host, secrets and certificates in, files out. Pure: no I/O, no clock, no dice.
//!
//! Templates lie where their output goes: `compose/compose.yaml.j2` renders `compose/compose.yaml`. [`write`], [`check`] and
//! [`diff`] are three small functions over the same value.

pub mod envfile;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value, context};

use crate::certs::{Certificates, POSTGRES_CA};
use crate::drivers::files;
use crate::host::Host;
use crate::secrets::{POSTGRES_PASSWORD, POSTGRES_SUPERUSER_PASSWORD, SONARQUBE_WEBHOOK_SECRET, Secrets, TURN_SECRET};
use crate::settings::{Postgres, Settings};
use crate::{external_postgres, hash, images};

/// A generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the stack's folder.
    pub path: &'static str,
    pub contents: String,
    pub mode: u32,
    /// Whether git tracks it: it is then the same on every machine.
    pub tracked: bool,
}

/// Everything that the servers read, and what Compose reads to start them. `relay_tag` is that of the relay's image, for
/// settings that have a relay.
pub fn render(
    settings: &Settings,
    host: &Host,
    secrets: &Secrets,
    certificates: &Certificates,
    relay_tag: &str,
) -> anyhow::Result<Vec<File>> {
    let mut files = tracked(settings)?;
    let lan_ip = host.lan_ip().to_string();
    let turn_secret = secrets.require(TURN_SECRET)?;
    let own_postgres = settings.external_postgres().is_none();

    let pg_hba = template("env/postgres/pg_hba.conf", context! {})?;
    let start = template("env/postgres/start.sh", context! {})?;
    let turnserver =
        template("env/turnserver.conf", context! { settings => Serde(settings), lan_ip => &lan_ip, turn_secret })?;
    let mattermost = template(
        "env/mattermost.env",
        context! {
            settings => Serde(settings),
            datasource => datasource(settings, secrets)?,
            site_url => settings.site_url(),
            origins => origins(settings, host),
            allowed_internal_hosts => settings.mattermost.allowed_internal_hosts.join(" "),
            ice_servers => ice_servers(host.lan_ip(), settings.ports.turn),
            lan_ip => &lan_ip,
            turn_secret,
        },
    )?;
    let relay = relay(settings, secrets)?;
    let dotenv = template(
        "compose/.env",
        context! {
            settings => Serde(settings),
            has_relay => settings.has_relay(),
            relay_tag,
            // Without the id of the hook the relay refuses to start, so there is none until the wiring has made the hook.
            relay_scale => u8::from(hook_id(&settings.sonarqube.failed_hook, secrets).is_some()),
            relay_content => content(&[&certificates.ca, &relay]),
            lan_ip => &lan_ip,
            own_postgres,
            postgres_content => content(&[&certificates.ca, &certificates.postgres, &pg_hba, &start]),
            mattermost_content => content(&trusted_by_mattermost(settings, certificates)),
            coturn_content => content(&[&turnserver]),
        },
    )?;
    let ignored = |path, contents, mode| File { path, contents, mode, tracked: false };
    files.extend([
        ignored("compose/.env", dotenv, 0o644),
        ignored("env/mattermost.env", mattermost, 0o600),
        ignored("env/turnserver.conf", turnserver, 0o600),
    ]);
    if own_postgres {
        let superuser_password = secrets.require(POSTGRES_SUPERUSER_PASSWORD)?;
        files.extend([
            ignored("env/postgres/pg_hba.conf", pg_hba, 0o644),
            ignored("env/postgres/start.sh", start, 0o644),
            ignored("env/postgres/init.sql", template("env/postgres/init.sql", context! {})?, 0o644),
            // The image reads its first password from a file, and so does init.sql the second: neither is ever in argv.
            ignored("env/postgres/superuser_password", superuser_password.to_owned(), 0o600),
            ignored("env/postgres/password", secrets.require(POSTGRES_PASSWORD)?.to_owned(), 0o600),
        ]);
    } else {
        files.push(ignored(POSTGRES_CA, certificates.postgres.clone(), 0o644));
    }
    if settings.has_relay() {
        files.push(ignored("env/relay.toml", relay, 0o600));
    }
    if !settings.certificates.extra_trust.is_empty() {
        files.push(ignored("certs/extra-trust.crt", certificates.extra_trust.clone(), 0o644));
    }
    Ok(files)
}

/// The ids of the hooks that the relay posts to, as far as they are known: when they change, so does what it reads.
pub fn relay_hooks<'a>(settings: &Settings, secrets: &'a Secrets) -> [Option<&'a str>; 2] {
    [&settings.sonarqube.passed_hook, &settings.sonarqube.failed_hook].map(|name| hook_id(name, secrets))
}

fn hook_id<'a>(name: &str, secrets: &'a Secrets) -> Option<&'a str> {
    if name.is_empty() { None } else { secrets.get(name) }
}

/// relay.toml. The ids of hooks that are not made yet are empty.
fn relay(settings: &Settings, secrets: &Secrets) -> anyhow::Result<String> {
    if !settings.has_relay() {
        return Ok(String::new());
    }
    let [passed_hook, failed_hook] = relay_hooks(settings, secrets).map(Option::unwrap_or_default);
    template(
        "env/relay.toml",
        context! {
            settings => Serde(settings),
            mattermost_host => settings.mattermost_host(),
            secret => secrets.require(SONARQUBE_WEBHOOK_SECRET)?,
            passed_hook,
            failed_hook,
        },
    )
}

/// The files that git tracks. They depend on stack.toml alone, so `render --check` needs neither secrets nor Docker.
pub fn tracked(settings: &Settings) -> anyhow::Result<Vec<File>> {
    let contents = template(
        "compose/compose.yaml",
        context! {
            settings => Serde(settings),
            images => Serde(images::pinned()?),
            mattermost_host => settings.mattermost_host(),
            postgres_host => settings.postgres_host(),
            relay_host => settings.relay_host(),
            has_relay => settings.has_relay(),
            own_postgres => settings.external_postgres().is_none(),
        },
    )?;
    Ok(vec![File { path: "compose/compose.yaml", contents, mode: 0o644, tracked: true }])
}

/// Writes what differs, in contents or mode, and returns those paths. Each file is replaced whole; one fsync a folder.
pub fn write(files: &[File], root: &Path) -> anyhow::Result<Vec<&'static str>> {
    let mut written = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for file in files {
        let path = root.join(file.path);
        let current = std::fs::read(&path).ok();
        if current.as_deref() == Some(file.contents.as_bytes()) && files::mode(&path) == Some(file.mode) {
            continue;
        }
        files::write_unsynced(&path, file.contents.as_bytes(), file.mode)?;
        written.push(file.path);
        if !folders.iter().any(|folder| folder.parent() == path.parent()) {
            folders.push(path);
        }
    }
    for path in folders {
        files::sync_folder(&path)?;
    }
    Ok(written)
}

/// The tracked files that differ from what is on disk.
pub fn check<'a>(files: &'a [File], root: &Path) -> Vec<&'a File> {
    files.iter().filter(|file| file.tracked && on_disk(root, file.path) != file.contents).collect()
}

/// A unified diff from disk to what would be written, of all files, without the secrets.
pub fn diff(files: &[File], root: &Path, secrets: &Secrets) -> String {
    let mut text = String::new();
    for file in files {
        let current = on_disk(root, file.path);
        if current == file.contents {
            continue;
        }
        let current = without_older_secrets(&current, &file.contents, secrets);
        let difference = similar::TextDiff::from_lines(&current, &file.contents)
            .unified_diff()
            .header(&format!("a/{}", file.path), &format!("b/{}", file.path))
            .to_string();
        // A password file on disk may hold an older secret, which no name of today's redacts.
        let is_password = file.path.ends_with("password");
        text.push_str(&if is_password { format!("{}: differs (not shown)\n", file.path) } else { difference });
    }
    secrets.redact(&text)
}

/// The text on disk without the values of lines that hold another secret than today's, which no name of today's redacts.
fn without_older_secrets(current: &str, new: &str, secrets: &Secrets) -> String {
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.to_owned());
    let secret: Vec<&str> = new.lines().filter(|line| secrets.redact(line) != **line).collect();
    let keys: Vec<String> = secret.iter().filter_map(|line| key(line)).collect();
    let mut text = String::new();
    for line in current.lines() {
        match key(line).filter(|key| keys.contains(key) && !secret.contains(&line)) {
            Some(key) => text.push_str(&format!("{key}=[an older secret]\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// The templates, with the folder of their output.
const TEMPLATES: &[(&str, &str)] = &[
    ("compose/compose.yaml", include_str!("../../../compose/compose.yaml.j2")),
    ("compose/.env", include_str!("../../../compose/.env.j2")),
    ("env/mattermost.env", include_str!("../../../env/mattermost.env.j2")),
    ("env/turnserver.conf", include_str!("../../../env/turnserver.conf.j2")),
    ("env/relay.toml", include_str!("../../../env/relay.toml.j2")),
    ("env/postgres/pg_hba.conf", include_str!("../../../env/postgres/pg_hba.conf.j2")),
    ("env/postgres/start.sh", include_str!("../../../env/postgres/start.sh.j2")),
    ("env/postgres/init.sql", include_str!("../../../env/postgres/init.sql.j2")),
];

fn template(path: &str, context: Value) -> anyhow::Result<String> {
    let (_, source) =
        TEMPLATES.iter().find(|(name, _)| *name == path).with_context(|| format!("no template {path}.j2"))?;
    render_template(path, source, context)
}

/// The MM_ variables that mattermost.env sets: they win over everything that Mattermost is told later.
pub fn mattermost_variables() -> impl Iterator<Item = &'static str> {
    let template = TEMPLATES.iter().find(|(name, _)| *name == "env/mattermost.env").map_or("", |(_, source)| source);
    template
        .lines()
        .filter(|line| line.starts_with("MM_"))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
}

/// Renders one template: strict about undefined names. In files that end in `.env` every value is quoted, and in HTML and XML
/// it is escaped.
pub fn render_template(path: &str, source: &str, context: Value) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
    environment.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "env")) => AutoEscape::Custom("env".into()),
        Some((_, "html" | "mobileconfig")) => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    environment.set_formatter(format_value);
    environment.add_template(path, source).with_context(|| format!("{path}.j2 is no template"))?;
    environment.get_template(path)?.render(context).with_context(|| format!("cannot render {path}.j2"))
}

fn format_value(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    if !matches!(state.auto_escape(), AutoEscape::Custom(name) if name == "env") {
        return minijinja::escape_formatter(out, state, value);
    }
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    // Booleans print as `True` by default, which Go's ParseBool takes, but nobody expects to read. A text stays as it is.
    let text = if value.kind() == ValueKind::Bool { value.is_true().to_string() } else { value.to_string() };
    let quoted =
        envfile::quote(&text).map_err(|error| minijinja::Error::new(ErrorKind::BadEscape, error.to_string()))?;
    out.write_str(&quoted).map_err(Into::into)
}

fn on_disk(root: &Path, path: &str) -> String {
    std::fs::read_to_string(root.join(path)).unwrap_or_default()
}

/// Secrets have only characters that need no escaping in a URL.
fn datasource(settings: &Settings, secrets: &Secrets) -> anyhow::Result<String> {
    let Postgres { external, database, role, .. } = &settings.postgres;
    let (location, ca, password) = if settings.external_postgres().is_some() {
        (external.clone(), "command-center-postgres-ca.crt", external_postgres::password(settings, secrets)?)
    } else {
        (format!("{}:5432", settings.postgres_host()), "command-center-ca.crt", secrets.require(POSTGRES_PASSWORD)?)
    };
    Ok(format!(
        "postgres://{role}:{password}@{location}/{database}?sslmode=verify-full&sslrootcert=/etc/ssl/certs/{ca}&connect_timeout=10"
    ))
}

/// The origins by address. SiteURL, the one by name, is always allowed besides.
fn origins(settings: &Settings, host: &Host) -> String {
    let port = settings.ports.mattermost;
    host.lan.iter().map(|lan| format!("https://{}:{port}", lan.address)).collect::<Vec<_>>().join(" ")
}

/// TURN over UDP and TCP, without credentials: such entries get time-limited ones from the plugin.
fn ice_servers(lan_ip: Ipv4Addr, port: u16) -> String {
    format!(r#"[{{"urls":["turn:{lan_ip}:{port}?transport=udp","turn:{lan_ip}:{port}?transport=tcp"]}}]"#)
}

/// What Mattermost reads when it starts, besides its environment.
fn trusted_by_mattermost<'a>(settings: &Settings, certificates: &'a Certificates) -> Vec<&'a str> {
    let mut read = vec![certificates.ca.as_str(), &certificates.mattermost];
    if !settings.certificates.extra_trust.is_empty() {
        read.push(&certificates.extra_trust);
    }
    if settings.external_postgres().is_some() {
        read.push(&certificates.postgres);
    }
    read
}

/// What a container is recreated for: the beginning of a SHA-256 of what it reads.
fn content(parts: &[&str]) -> String {
    let mut hash = hash::of_parts(parts);
    hash.truncate(16);
    hash
}
