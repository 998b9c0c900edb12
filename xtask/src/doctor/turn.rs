//! The TURN server by use, with the secret of env/secrets.env, and what its log says.

use std::net::SocketAddr;
use std::time::Duration;

use time::OffsetDateTime;

use super::context::Context;
use super::problem::{Problem, Row, ok, problems};
use crate::drivers::docker;
use crate::drivers::turn::{self, Credentials, Refused, Transport};
use crate::secrets::TURN_SECRET;
use crate::turn_check::patiently;

problems! {
    TURN_SILENT: Fail "turn.silent",
        "Calls fail for everybody whose network does not let them reach the media port.",
        "The TURN server does not answer on the LAN address.",
        "see what it says: `cargo xtask logs coturn`; then `cargo xtask up`";
    TURN_OPEN: Fail "turn.open",
        "None; strangers use this host to reach others.",
        "The TURN server relays without credentials: it runs without its configuration.",
        "`cargo xtask down` now; then `cargo xtask up`, and `cargo xtask turn check`";
    TURN_SECRET_DIFFERS: Fail "turn.secret",
        "Calls that need the relay end after some seconds; the browser's console shows an ICE error 401.",
        "The TURN server has another secret than env/secrets.env, or its clock differs by minutes.",
        "`cargo xtask up`", Up;
    TURN_PEER: Fail "turn.peer",
        "Calls that need the relay end after some seconds; the log of coturn says \"403 Forbidden IP\".",
        "The TURN server refuses the address at which Mattermost's Calls listens for media.",
        "`cargo xtask up`, which writes allowed-peer-ip anew", Up;
    TURN_FULL: Fail "turn.full",
        "New calls fail while others go on.",
        "All relayed ports or all allocations of the quota are taken.",
        "raise turn.total_quota and widen ports.turn_relay_first to _last in stack.toml, then `cargo xtask up`";
    TURN_FAILED: Fail "turn.failed",
        "Calls that need the relay fail.",
        "The TURN server refuses an allocation for a reason of its own.",
        "see what it says: `cargo xtask logs coturn`";
    TURN_CONFIGURATION: Fail "turn.configuration",
        "A limit or a refusal that stack.toml wants is not in force.",
        "coturn did not understand a line of its configuration, or could not read the file; it only warns of that.",
        "`cargo xtask render`, `cargo xtask up`; if it stays, raise the version of coturn in compose/images.Dockerfile";
}

/// One allocation by its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It relays, and takes the media port for a peer.
    Relays,
    Silent(String),
    Refused(u16),
    /// The allocation was given, and the peer was refused.
    PeerRefused(u16),
}

/// What was tried, in words, and what came of it.
pub type Attempt = (&'static str, Outcome);

pub fn check(context: &Context) -> Vec<Row> {
    let Some(container) = context.running("coturn") else { return Vec::new() };
    let (Ok(host), Ok(secrets)) = (context.host(), context.secrets()) else { return Vec::new() };
    let Some(secret) = secrets.get(TURN_SECRET) else { return Vec::new() };
    let settings = &context.stack.settings;
    let server = SocketAddr::from((host.lan_ip(), settings.ports.turn));
    // coturn does not relay to loopback; on a host without a network there is no peer to ask for.
    let media = (!host.is_loopback_only()).then(|| SocketAddr::from((host.lan_ip(), settings.ports.calls)));
    let expiry = OffsetDateTime::now_utc().unix_timestamp() + 60;
    let Ok(credentials) = turn::credentials(secret, "doctor", expiry) else { return Vec::new() };
    let (udp, tcp, stranger, log) = std::thread::scope(|scope| {
        let udp = scope.spawn(|| attempt(server, Transport::Udp, &credentials, media));
        let tcp = scope.spawn(|| attempt(server, Transport::Tcp, &credentials, media));
        let stranger = scope.spawn(|| relays_for_strangers(server));
        let log = docker::logs(&container.name, Some(&container.started_at), 2000);
        let silent = || Outcome::Silent("asking it panicked".to_owned());
        let (udp, tcp) = (udp.join().unwrap_or_else(|_| silent()), tcp.join().unwrap_or_else(|_| silent()));
        (udp, tcp, stranger.join().unwrap_or_default(), log)
    });
    judge(&[("UDP", udp), ("TCP", tcp)], stranger, &log)
}

/// One allocation, and a channel to the media port. No data is sent.
pub fn attempt(
    server: SocketAddr,
    transport: Transport,
    credentials: &Credentials,
    media: Option<SocketAddr>,
) -> Outcome {
    const LIMIT: Duration = Duration::from_secs(2);
    let code = |error: &anyhow::Error| error.downcast_ref::<Refused>().map(|refused| refused.code);
    let mut session = match patiently(|| turn::allocate(server, transport, credentials, LIMIT)) {
        Ok(session) => session,
        Err(error) => return code(&error).map_or_else(|| Outcome::Silent(error.to_string()), Outcome::Refused),
    };
    match media.map_or(Ok(()), |media| session.bind(media, LIMIT)) {
        Ok(()) => Outcome::Relays,
        Err(error) => code(&error).map_or_else(|| Outcome::Silent(error.to_string()), Outcome::PeerRefused),
    }
}

/// Whether an allocation is given to who has no credentials.
fn relays_for_strangers(server: SocketAddr) -> bool {
    let challenge = patiently(|| turn::challenge(server, Transport::Udp, Duration::from_secs(2)));
    challenge.is_ok_and(|challenge| challenge.code.is_none())
}

/// `stranger` says whether it relays without credentials, `log` is what coturn wrote since its start.
pub fn judge(attempts: &[Attempt], stranger: bool, log: &str) -> Vec<Row> {
    if stranger {
        return vec![TURN_OPEN.found("it gives allocations without credentials")];
    }
    if let Some((what, outcome)) = attempts.iter().find(|(_, outcome)| *outcome != Outcome::Relays) {
        return vec![explain(&format!("over {what}"), outcome)];
    }
    // coturn only warns of these, and starts without the line or the file.
    let complaint = ["Bad configuration format", "Cannot find config file"]
        .into_iter()
        .find_map(|pattern| log.lines().find(|line| line.contains(pattern)));
    if let Some(line) = complaint {
        return vec![TURN_CONFIGURATION.found(format!("it says: {}", line.trim()))];
    }
    vec![ok("turn", "relays over UDP and TCP to the media port, and asks strangers for credentials")]
}

fn explain(what: &str, outcome: &Outcome) -> Row {
    let row = |problem: &'static Problem, finding: &str| problem.found(format!("{what}: {finding}"));
    match outcome {
        Outcome::Relays => ok("turn", format!("relays {what}")),
        Outcome::Silent(error) => row(&TURN_SILENT, error),
        Outcome::Refused(401) => row(&TURN_SECRET_DIFFERS, "refused with 401"),
        Outcome::Refused(code @ (486 | 508)) => row(&TURN_FULL, &format!("refused with {code}")),
        Outcome::PeerRefused(403) => row(&TURN_PEER, "the media port is refused with 403"),
        Outcome::Refused(code) | Outcome::PeerRefused(code) => row(&TURN_FAILED, &format!("refused with {code}")),
    }
}
