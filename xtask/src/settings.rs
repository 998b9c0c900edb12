//! stack.toml: the site's settings, typed, with unknown keys refused.

mod check;
mod check_integrations;
mod integrations;
mod locate;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use check::{Subnet, parse_subnet};
pub use integrations::*;

/// Everything that a user can set. There is no hidden default: a missing key is an error, and the shipped file shows all.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the Compose project.
    pub name: String,
    /// DNS domain; Mattermost is `mattermost.<domain>`.
    pub domain: String,
    pub site_name: String,
    /// Locale of the server and of new accounts, one that Mattermost ships.
    pub language: String,
    pub lan: Lan,
    pub administrator: Administrator,
    pub ports: Ports,
    pub network: Network,
    pub turn: Turn,
    pub certificates: Certificates,
    pub mattermost: Mattermost,
    pub postgres: Postgres,
    pub jenkins: Jenkins,
    pub gitlab: Gitlab,
    pub sonarqube: Sonarqube,
    pub relay: Relay,
    pub limits: Limits,
    #[serde(default)]
    pub teams: Vec<Team>,
    #[serde(default)]
    pub bots: Vec<Bot>,
    #[serde(default)]
    pub incoming_webhooks: Vec<IncomingWebhook>,
    #[serde(default)]
    pub outgoing_webhooks: Vec<OutgoingWebhook>,
    #[serde(default)]
    pub slash_commands: Vec<SlashCommand>,
    #[serde(default)]
    pub plugins: Vec<Plugin>,
    /// Mattermost's own configuration, `Section.Key` to value.
    #[serde(default)]
    pub configuration: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lan {
    pub addresses: Addresses,
    /// Where the file says so, for an error that only the host can find.
    #[serde(skip)]
    pub line: usize,
}

/// `"auto"`, or a list of which the first address is advertised.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged, expecting = "is neither \"auto\" nor a list of IPv4 addresses; IPv6 is not supported")]
pub enum Addresses {
    Auto(Auto),
    List(Vec<Ipv4Addr>),
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    Auto,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Administrator {
    pub name: String,
    pub email: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    pub mattermost: u16,
    pub calls: u16,
    pub metrics: u16,
    pub phone: u16,
    pub turn: u16,
    pub turn_relay_first: u16,
    pub turn_relay_last: u16,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub name: String,
    #[serde(deserialize_with = "check::subnet")]
    pub subnet: Subnet,
    pub mattermost_address: Ipv4Addr,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    pub user_quota: u32,
    pub total_quota: u32,
    pub credentials_minutes: u32,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    pub name_constraints: bool,
    pub issuer: CertificateIssuer,
    /// PEM files of other CAs that Mattermost trusts, relative to the checkout or absolute.
    pub extra_trust: Vec<PathBuf>,
}

/// Who signs the servers' certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateIssuer {
    /// A CA whose key is in certs/: leaves are issued when they are needed.
    Own,
    /// A CA whose key never comes here: leaves are imported.
    External,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mattermost {
    pub local_mode: bool,
    pub latex: bool,
    pub inline_latex: bool,
    pub custom_groups: bool,
    pub custom_emoji: bool,
    pub post_priority: bool,
    pub collapsed_threads: CollapsedThreads,
    pub bot_accounts: bool,
    pub user_access_tokens: bool,
    pub multifactor_authentication: bool,
    pub guest_accounts: bool,
    pub override_usernames: bool,
    pub override_icons: bool,
    pub plugin_uploads: bool,
    pub public_links: bool,
    pub metrics: bool,
    pub max_users_per_team: u32,
    pub allowed_internal_hosts: Vec<String>,
    pub banner: Banner,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CollapsedThreads {
    Disabled,
    DefaultOff,
    DefaultOn,
    AlwaysOn,
}

impl fmt::Display for CollapsedThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CollapsedThreads::Disabled => "disabled",
            CollapsedThreads::DefaultOff => "default_off",
            CollapsedThreads::DefaultOn => "default_on",
            CollapsedThreads::AlwaysOn => "always_on",
        })
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Banner {
    pub enabled: bool,
    pub text: String,
    pub color: String,
    pub text_color: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub mattermost: Limit,
    pub postgres: Limit,
    pub coturn: Limit,
    pub relay: Limit,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// In Docker's notation: a number and `m` or `g`.
    pub memory: String,
    pub pids: u32,
}

impl Settings {
    pub fn mattermost_host(&self) -> String {
        format!("mattermost.{}", self.domain)
    }

    pub fn postgres_host(&self) -> String {
        format!("postgres.{}", self.domain)
    }

    /// Names in secrets.env of what Mattermost gave out: identifiers and tokens that go with its database.
    pub fn wired_secrets(&self) -> impl Iterator<Item = &str> {
        let tokens = self.bots.iter().map(|bot| &bot.token).filter(|name| !name.is_empty());
        let incoming = self.incoming_webhooks.iter().map(|hook| &hook.secret);
        let outgoing = self.outgoing_webhooks.iter().map(|hook| &hook.secret);
        let commands = self.slash_commands.iter().map(|command| &command.secret);
        tokens.chain(incoming).chain(outgoing).chain(commands).map(String::as_str)
    }

    /// The relay's name on the network of the tools.
    pub fn relay_host(&self) -> String {
        format!("relay.{}", self.domain)
    }

    /// Host and port of a PostgreSQL that exists already; nothing when the stack has one of its own.
    pub fn external_postgres(&self) -> Option<(&str, &str)> {
        self.postgres.external.rsplit_once(':')
    }

    /// Without a hook for failed gates there is nothing that the relay could tell.
    pub fn has_relay(&self) -> bool {
        !self.sonarqube.failed_hook.is_empty()
    }

    /// The address that clients with name resolution use, without a trailing slash.
    pub fn site_url(&self) -> String {
        format!("https://{}:{}", self.mattermost_host(), self.ports.mattermost)
    }

    /// The same site under a name and on a network of its own, so that a lab never touches the site's data. Its ports are
    /// the site's: a rehearsal shows what the site will be. Certificates it issues itself: nobody's CA has to sign for it.
    pub fn for_lab(mut self) -> Settings {
        self.certificates.issuer = CertificateIssuer::Own;
        self.name.push_str("-lab");
        self.network.name.push_str("-lab");
        let offset = u32::from(self.network.mattermost_address) - u32::from(self.network.subnet.first);
        self.network.subnet = self.network.subnet.private_neighbour();
        self.network.mattermost_address = Ipv4Addr::from(u32::from(self.network.subnet.first) + offset);
        self
    }
}

/// Settings that cannot be used, with file, line and key. The exit status for this is 2.
#[derive(Debug)]
pub struct Invalid {
    message: String,
    pub hint: String,
}

impl Invalid {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Invalid {
        Invalid { message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

/// Reads and checks a settings file.
///
/// # Errors
/// [`Invalid`] when the text is not what this module describes; an I/O error when the file cannot be read.
pub fn load(path: &Path) -> anyhow::Result<Settings> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            return Err(anyhow::Error::new(Invalid {
                message: format!("{}: {error}", path.display()),
                hint: "`git checkout stack.toml` brings the shipped one back".to_owned(),
            }));
        }
    };
    let shown = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    Ok(parse(&text, &shown)?)
}

/// Parses and checks the text of a settings file; `shown` names the file in errors.
pub fn parse(text: &str, shown: &str) -> Result<Settings, Invalid> {
    let mut settings: Settings = toml::from_str(text).map_err(|error| locate::parse_error(text, shown, &error))?;
    settings.lan.line = locate::line_of(text, "lan.addresses");
    match check::problem(&settings) {
        Some(problem) => Err(Invalid {
            message: format!("{shown}:{}: {}: {}", locate::line_of(text, &problem.key), problem.key, problem.what),
            hint: problem.fix,
        }),
        None => Ok(settings),
    }
}
