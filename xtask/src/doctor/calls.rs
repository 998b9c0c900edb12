//! Why a call does not work: the Calls plugin's configuration, its media port, and the relay with the credentials that the plugin
//! hands out. Symptoms and causes are those that its users report (the plugin's issues and Mattermost's Calls troubleshooting page,
//! https://docs.mattermost.com/administration-guide/configure/calls-troubleshooting.html).

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::context::Context;
use super::problem::{Row, State, ok, problems};
use super::turn::{Outcome, attempt};
use crate::drivers::docker;
use crate::drivers::https;
use crate::drivers::turn::{Credentials, Transport};
use crate::secrets::ADMIN_TOKEN;

problems! {
    CALLS_INACTIVE: Fail "calls.inactive",
        "There is no call button.",
        "The Calls plugin is not active: it is disabled, or it could not start (a port in use, a setting that it cannot read).",
        "see why with `cargo xtask logs mattermost`, then: docker exec {container} mmctl --local plugin enable com.mattermost.calls";
    CALLS_UNREADABLE: Fail "calls.unreadable-setting",
        "Calls listens on another port or address than stack.toml says.",
        "The plugin could not read a variable of its environment and went on with another value; it only logs that.",
        "remove that variable from the compose override (or wherever it is set), then `cargo xtask up`";
    CALLS_UNPUBLISHED: Fail "calls.unpublished",
        "A call ends after 5 seconds on a phone and after 10 to 15 on a desktop; the browser's console never says \"rtc connected\".",
        "The media port is not published for UDP and TCP with the same number inside and outside, and that is the number clients are told.",
        "`cargo xtask up`, and remove what changes `ports` of mattermost in a compose override", Up;
    CALLS_PORT: Fail "calls.port",
        "Endless \"Connecting\", then the call ends.",
        "The plugin tells clients another media port than the one that is published; a changed port counts after a restart of the plugin.",
        "`cargo xtask up`", Up;
    CALLS_CLOSED: Fail "calls.closed",
        "A call ends after some seconds on clients that cannot use UDP.",
        "Nothing answers on the media port over TCP at the LAN address.",
        "`cargo xtask up`; then look at the row of the firewall", Up;
    CALLS_ADVERTISED: Fail "calls.advertised",
        "Calls work for nobody, or only on this host; a client's log shows an address of Docker (172.…) or an old one with \"typ host\".",
        "The plugin tells clients another address than this host's LAN address.",
        "`cargo xtask up`", Up;
    CALLS_SOCKET: Fail "calls.socket",
        "Endless \"Connecting\" for everybody, direct and relayed, while everything looks healthy.",
        "On several Docker networks the plugin must listen on one fixed address; it answers from the wrong socket otherwise. 0.0.0.0 matches no interface at all.",
        "`cargo xtask up`, and remove what sets UDPServerAddress and TCPServerAddress beside env/mattermost.env", Up;
    CALLS_DIRECT_ONLY: Warn "calls.direct-only",
        "\"Start call\" is missing or refused in channels, and works in direct messages.",
        "The Calls plugin finds no license that allows calls outside of direct messages.",
        "call in direct messages, or install a license in the System Console";
    CALLS_TEST_MODE: Warn "calls.test-mode",
        "Only administrators can start calls.",
        "The plugin is in test mode (DefaultEnabled is off).",
        "`cargo xtask up`, which sets MM_CALLS_DEFAULT_ENABLED; then restart the plugin", Up;
    CALLS_STUN: Warn "calls.public-stun",
        "Calls start seconds late, or time out on phones, in a network without a way out.",
        "Clients are told to ask a STUN server on the internet.",
        "`cargo xtask up`, which leaves only this host's TURN in the list", Up;
    CALLS_STATIC: Fail "calls.static-credentials",
        "Every user can read a password of the TURN server, and coturn refuses it.",
        "The list of ICE servers holds a user name and credential: they are sent to every client, and a server with time-limited credentials takes no other.",
        "remove `username` and `credential` from the plugin's ICE servers in the System Console, then `cargo xtask up`; change the secret when it was in there: remove TURN_SECRET from env/secrets.env first";
    CALLS_NO_TURN: Fail "calls.no-turn",
        "Calls fail on phones and behind firewalls, and work on desktops nearby.",
        "Clients get no TURN server: the plugin has no secret, or no TURN server without credentials in its list.",
        "`cargo xtask up`", Up;
    CALLS_TURN_REFUSED: Fail "calls.turn-refused",
        "Calls fail where the direct path is blocked; the browser's console shows an ICE error 401.",
        "The TURN server refuses the credentials that Calls hands out: the two have different secrets, or different clocks.",
        "`cargo xtask up`, which gives both the same secret", Up;
    CALLS_TURN_PEER: Fail "calls.turn-peer",
        "Calls fail where the direct path is blocked; coturn's log says \"403 Forbidden IP\".",
        "The TURN server refuses to relay to the address of the media port.",
        "`cargo xtask up`", Up;
    CALLS_TURN_SILENT: Fail "calls.turn-silent",
        "Calls fail where the direct path is blocked.",
        "The TURN server that Calls names does not answer.",
        "look at the rows turn and firewall";
    CALLS_UNASKED: Warn "calls.unasked",
        "None known.",
        "Mattermost does not show the administrator how Calls is configured.",
        "`cargo xtask wire --plan` makes the administrator's token anew; then run `cargo xtask doctor` again";
}

/// What is known of calls, in the words of the servers.
#[derive(Default)]
pub struct Facts {
    pub container: String,
    pub lan: Option<Ipv4Addr>,
    /// ports.calls of stack.toml.
    pub port: u16,
    /// Mattermost's fixed address on the network of the tools.
    pub address: Option<Ipv4Addr>,
    /// Host port and container port with its protocol, as Docker publishes them.
    pub published: Vec<(u16, String)>,
    /// Status of /plugins/com.mattermost.calls/version.
    pub version: u16,
    /// The plugin's /config, as the administrator sees it. It holds the TURN secret.
    pub config: Option<Value>,
    /// What Mattermost wrote since its start.
    pub log: String,
    /// Whether the media port answers over TCP at the LAN address.
    pub answers: bool,
    /// What came of each TURN URL with the credentials that the plugin hands out; nothing when it hands out none.
    pub relays: Option<Vec<(&'static str, Outcome)>>,
}

impl std::fmt::Debug for Facts {
    /// Neither the configuration, which holds the TURN secret, nor the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").field("version", &self.version).field("relays", &self.relays).finish_non_exhaustive()
    }
}

pub fn check(context: &Context) -> Vec<Row> {
    let Some(container) = context.running("mattermost").filter(|container| container.health != "starting") else {
        return Vec::new();
    };
    let (Some(site), Ok(host), Ok(secrets)) = (context.site(), context.host(), context.secrets()) else {
        return Vec::new();
    };
    let settings = &context.stack.settings;
    let lan = (!host.is_loopback_only()).then(|| host.lan_ip());
    let token = secrets.get(ADMIN_TOKEN);
    let plugin = |path: &str| https::get(&site, &format!("/plugins/com.mattermost.calls/{path}"), token);
    let json = |path: &str| {
        let answer = plugin(path).ok().filter(|answer| answer.status() == 200)?;
        https::json(&answer).ok()
    };
    let media = SocketAddr::from((host.lan_ip(), settings.ports.calls));
    let facts = std::thread::scope(|scope| {
        // The plugin says at its start where it listens, and which of its variables it could not read.
        let log = scope.spawn(|| secrets.redact(&docker::logs(&container.name, Some(&container.started_at), 20_000)));
        let relays = json("turn-credentials").map(|servers| relays(&servers, lan.map(|_| media)));
        Facts {
            container: container.name.clone(),
            lan,
            port: settings.ports.calls,
            address: Some(settings.network.mattermost_address),
            published: container.published.iter().map(|(_, port, inside)| (*port, inside.clone())).collect(),
            version: plugin("version").map_or(0, |answer| answer.status().as_u16()),
            config: json("config"),
            log: log.join().unwrap_or_default(),
            answers: TcpStream::connect_timeout(&media, Duration::from_secs(2)).is_ok(),
            relays,
        }
    });
    judge(&facts)
}

/// Tries every TURN URL with its credentials, as a client does.
fn relays(servers: &Value, media: Option<SocketAddr>) -> Vec<(&'static str, Outcome)> {
    let mut tried = Vec::new();
    for server in servers.as_array().into_iter().flatten() {
        let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
        let credentials = Credentials { username: text("username"), password: text("credential") };
        for url in server["urls"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let Some((address, query)) = url.strip_prefix("turn:").map(|url| url.split_once('?').unwrap_or((url, "")))
            else {
                continue;
            };
            let (what, transport) =
                if query == "transport=tcp" { ("TCP", Transport::Tcp) } else { ("UDP", Transport::Udp) };
            let outcome = match address.parse() {
                Ok(address) => attempt(address, transport, &credentials, media),
                Err(_) => Outcome::Silent(format!("{address} is no address with a port")),
            };
            tried.push((what, outcome));
        }
    }
    tried
}

/// Every cause that the facts show, in the order in which a call meets them.
pub fn judge(facts: &Facts) -> Vec<Row> {
    if facts.version != 200 {
        let why = facts.log.lines().rfind(|line| line.contains("Unable to activate plugin")).map(reason);
        let finding = match why {
            Some(why) => format!("the plugin answers {}; Mattermost says: {why}", facts.version),
            None => format!("the plugin answers {}", facts.version),
        };
        return vec![CALLS_INACTIVE.found(finding).with("container", &facts.container)];
    }
    let mut rows = Vec::new();
    // The line goes on with the value, which may be a secret; the name of the variable is what helps.
    if let Some(line) = facts.log.lines().find(|line| is_unreadable(line)) {
        let name = line.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
        let name = name.into_iter().find(|word| word.starts_with("MM_CALLS_")).unwrap_or("a variable");
        rows.push(CALLS_UNREADABLE.found(format!("it could not read {name}")));
    }
    let unpublished = ["udp", "tcp"].into_iter().find(|protocol| {
        let inside = format!("{}/{protocol}", facts.port);
        !facts.published.iter().any(|(outside, published)| *outside == facts.port && *published == inside)
    });
    if let Some(protocol) = unpublished {
        rows.push(CALLS_UNPUBLISHED.found(format!("{}/{protocol} is not published as itself", facts.port)));
    } else if !facts.answers {
        rows.push(CALLS_CLOSED.found(format!("{}/tcp does not answer", facts.port)));
    }
    rows.extend(judge_sockets(facts));
    match &facts.config {
        Some(config) => rows.extend(judge_config(facts, config)),
        None => rows.push(CALLS_UNASKED.found("its configuration is not shown")),
    }
    rows.extend(judge_relays(facts));
    let works = rows.iter().all(|row| row.state != State::Fail);
    if works && facts.config.is_some() && facts.relays.is_none() {
        rows.push(CALLS_UNASKED.found("it hands out no credentials to the administrator"));
    }
    // What only warns keeps no media from flowing.
    if works && facts.relays.is_some() {
        let lan = facts.lan.map_or_else(|| "127.0.0.1".to_owned(), |lan| lan.to_string());
        let finding =
            format!("media at {lan}:{} over UDP and TCP; its own credentials relay over UDP and TCP", facts.port);
        rows.insert(0, ok("calls", finding));
    }
    rows
}

/// What a line of Mattermost's log, an object of JSON, gives as the error.
fn reason(line: &str) -> String {
    let entry: Value = serde_json::from_str(line).unwrap_or_default();
    let text = entry["error"].as_str().or_else(|| entry["msg"].as_str()).unwrap_or(line);
    text.chars().take(200).collect()
}

fn is_unreadable(line: &str) -> bool {
    line.contains("Failed to parse") && line.contains("environment variable")
}

/// There must be exactly one UDP socket that is not loopback, at the fixed address. The log may have been rotated away: no line is
/// no finding.
fn judge_sockets(facts: &Facts) -> Option<Row> {
    const LISTENING: &str = "rtc: server is listening on udp ";
    let address = |line: &str| {
        let rest = &line[line.find(LISTENING)? + LISTENING.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
        rest[..end].parse::<std::net::SocketAddrV4>().ok()
    };
    let sockets: std::collections::BTreeSet<_> = facts.log.lines().filter_map(address).collect();
    let outside: Vec<_> = sockets.iter().filter(|socket| !socket.ip().is_loopback()).collect();
    if sockets.is_empty() {
        return None;
    }
    match outside[..] {
        [socket] if Some(*socket.ip()) == facts.address => None,
        [] => Some(CALLS_SOCKET.found("it listens on loopback only")),
        _ => {
            let list = outside.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Some(CALLS_SOCKET.found(format!("it listens on {list}")))
        }
    }
}

/// `config` is the plugin's own: its names are those of the plugin.
fn judge_config(facts: &Facts, config: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    let text = |key: &str| config[key].as_str().unwrap_or_default();
    let told = config["ICEHostPortOverride"].as_u64();
    for key in ["UDPServerPort", "TCPServerPort"] {
        let port = told.or_else(|| config[key].as_u64()).unwrap_or_default();
        if port != u64::from(facts.port) && config[key].is_u64() {
            rows.push(CALLS_PORT.found(format!("{key}: clients are told {port}, and {} is published", facts.port)));
            break;
        }
    }
    if let Some(lan) = facts.lan
        && text("ICEHostOverride") != lan.to_string()
    {
        let told = if text("ICEHostOverride").is_empty() { "what it guesses" } else { text("ICEHostOverride") };
        rows.push(CALLS_ADVERTISED.found(format!("clients are told {told}, and this host is {lan}")));
    }
    let address = facts.address.map(|address| address.to_string()).unwrap_or_default();
    if let Some(key) = ["UDPServerAddress", "TCPServerAddress"].into_iter().find(|key| text(key) != address)
        && config["UDPServerAddress"].is_string()
    {
        rows.push(CALLS_SOCKET.found(format!("{key} is {:?} and should be {address}", text(key))));
    }
    // What the plugin makes of the license counts: it does not know every kind.
    if config["GroupCallsAllowed"] == false {
        rows.push(CALLS_DIRECT_ONLY.found("calls in direct messages only"));
    }
    if config["DefaultEnabled"] == false {
        rows.push(CALLS_TEST_MODE.found("test mode is on"));
    }
    let servers: Vec<&Value> = config["ICEServersConfigs"].as_array().into_iter().flatten().collect();
    let is_stun = |server: &&&Value| server["urls"].to_string().contains("stun");
    if let Some(server) = servers.iter().find(is_stun) {
        rows.push(CALLS_STUN.found(format!("{}", server["urls"])));
    }
    let has_password = |server: &&Value| server["credential"].as_str().is_some_and(|it| !it.is_empty());
    if servers.iter().any(has_password) {
        rows.push(CALLS_STATIC.found("the list of ICE servers holds a credential"));
    } else if config["NeedsTURNCredentials"] == false {
        rows.push(CALLS_NO_TURN.found("it hands out no TURN credentials"));
    }
    rows
}

fn judge_relays(facts: &Facts) -> Option<Row> {
    let (what, outcome) = facts.relays.iter().flatten().find(|(_, outcome)| *outcome != Outcome::Relays)?;
    Some(match outcome {
        Outcome::Refused(401) => CALLS_TURN_REFUSED.found(format!("over {what}: 401 for what Calls hands out")),
        Outcome::PeerRefused(code) => {
            CALLS_TURN_PEER.found(format!("over {what}: the media port is refused with {code}"))
        }
        Outcome::Refused(code) => CALLS_TURN_SILENT.found(format!("over {what}: refused with {code}")),
        Outcome::Silent(error) => CALLS_TURN_SILENT.found(format!("over {what}: {error}")),
        Outcome::Relays => return None,
    })
}
