//! Proof of a TURN server by use: what a client of a call needs, and what nobody must get. To prove that a peer is refused, no
//! data is sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;
use time::OffsetDateTime;

use crate::drivers::turn::{self, Challenge, Credentials, Refused, Session, Transport};

/// A server, the secret that its credentials are made of, and the peers that it has to refuse.
pub struct Target {
    pub server: SocketAddr,
    pub secret: String,
    /// In words, and addresses.
    pub forbidden: Vec<(&'static str, Vec<Ipv4Addr>)>,
    /// Allocations of one user at a time, where it is known.
    pub user_quota: Option<u32>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("server", &self.server).finish_non_exhaustive()
    }
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub name: String,
    pub ok: bool,
    pub finding: String,
}

const LIMIT: Duration = Duration::from_secs(4);

/// Every check, in the order of the table. When nothing answers, that is all that is said.
pub fn check(target: &Target) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut answers = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp] {
        let challenge = patiently(|| turn::challenge(target.server, transport, LIMIT));
        if let Ok(challenge) = &challenge {
            answers.push((transport, challenge.clone()));
        }
        rows.push(row(format!("reachable over {transport}"), challenge.and_then(reachable)));
    }
    // Where UDP is blocked on the way, the rest is asked over TCP.
    let Some((first, _)) = answers.first() else { return rows };
    rows.push(row("no credentials".to_owned(), challenged(&answers)));
    for (transport, _) in &answers {
        let allocated = row(format!("allocation over {transport}"), allocation(target, *transport));
        let is_refused = !allocated.ok;
        rows.push(allocated);
        // Whoever gets no allocation has nothing to try the rest with.
        if is_refused {
            return rows;
        }
        rows.push(row(format!("round trip over {transport}"), round_trip(target, *transport, *first)));
    }
    rows.push(row("refresh".to_owned(), refresh(target, *first)));
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let strangers = [
        ("wrong secret", turn::credentials("not-the-secret", "xtask", now + 60)),
        // An hour: the clocks of two machines may differ.
        ("expired credentials", turn::credentials(&target.secret, "xtask", now - 3600)),
    ];
    for (what, credentials) in strangers {
        rows.push(row(what.to_owned(), is_refused(target, *first, credentials)));
    }
    for (what, peers) in &target.forbidden {
        rows.push(row(format!("peer: {what}"), peers_are_refused(target, *first, peers)));
    }
    rows.push(row("quota of a user".to_owned(), quota(target, *first)));
    rows
}

fn row(name: String, result: anyhow::Result<String>) -> Row {
    match result {
        Ok(finding) => Row { name, ok: true, finding },
        Err(error) => Row { name, ok: false, finding: format!("{error:#}") },
    }
}

/// An answer, and the realm that clients need for theirs.
fn reachable(challenge: Challenge) -> anyhow::Result<String> {
    match (challenge.code, challenge.realm) {
        (_, Some(realm)) => Ok(format!("it answers, realm {realm}")),
        (Some(401), None) => bail!("it asks for credentials but names no realm, so no client can answer"),
        _ => Ok("it answers".to_owned()),
    }
}

/// Whoever has no credentials is asked for them.
fn challenged(answers: &[(Transport, Challenge)]) -> anyhow::Result<String> {
    for (transport, challenge) in answers {
        match challenge.code {
            Some(401) => {}
            None => bail!("it relays for everybody: an allocation over {transport} was given without credentials"),
            Some(code) => bail!("an allocation over {transport} without credentials is refused with {code}, not 401"),
        }
    }
    Ok("refused with 401".to_owned())
}

fn allocation(target: &Target, transport: Transport) -> anyhow::Result<String> {
    let session = allocate(target, transport, "xtask").map_err(|error| match error.downcast_ref::<Refused>() {
        Some(refused) if refused.code == 401 => {
            error.context("the server has another secret, or the clocks of the two machines differ by minutes")
        }
        _ => error,
    })?;
    Ok(format!("relayed address {}", session.relayed()))
}

/// From one allocation to another and back, so that every packet is relayed twice on its way. It can be measured from any
/// machine, because both ends are here.
fn round_trip(target: &Target, transport: Transport, back: Transport) -> anyhow::Result<String> {
    const PACKETS: u32 = 50;
    // What voice sends, 50 times a second.
    const SIZE: usize = 160;
    let (mut near, mut far) = (allocate(target, transport, "xtask")?, allocate(target, back, "xtask")?);
    near.bind(far.relayed(), LIMIT)?;
    far.bind(near.relayed(), LIMIT)?;
    let mut times = Vec::new();
    for number in 0..PACKETS {
        let mut packet = vec![0; SIZE];
        packet[..4].copy_from_slice(&number.to_be_bytes());
        let start = Instant::now();
        near.send(far.relayed(), &packet)?;
        if !arrives(&mut far, near.relayed(), &packet)? {
            continue;
        }
        far.send(near.relayed(), &packet)?;
        if arrives(&mut near, far.relayed(), &packet)? {
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    let lost = PACKETS - u32::try_from(times.len()).unwrap_or(PACKETS);
    match times.get(times.len() / 2) {
        Some(median) if lost * 20 <= PACKETS => {
            Ok(format!("{:.1} ms, {lost} of {PACKETS} packets lost", median.as_secs_f64() * 1000.0))
        }
        _ => bail!("{lost} of {PACKETS} packets were lost"),
    }
}

/// Whether this packet comes in time. Those before it that are late or come twice are not taken for it.
fn arrives(session: &mut Session, from: SocketAddr, packet: &[u8]) -> anyhow::Result<bool> {
    let end = Instant::now() + Duration::from_millis(500);
    while let Some(data) = session.receive(from, end.saturating_duration_since(Instant::now()))? {
        if data == packet {
            return Ok(true);
        }
    }
    Ok(false)
}

fn refresh(target: &Target, transport: Transport) -> anyhow::Result<String> {
    let mut session = allocate(target, transport, "xtask")?;
    session.refresh(LIMIT)?;
    Ok("an allocation is prolonged".to_owned())
}

fn is_refused(
    target: &Target,
    transport: Transport,
    credentials: anyhow::Result<Credentials>,
) -> anyhow::Result<String> {
    let credentials = credentials?;
    match patiently(|| turn::allocate(target.server, transport, &credentials, LIMIT)) {
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if refused.code == 401 => Ok("refused with 401".to_owned()),
            _ => Err(error),
        },
        Ok(_) => bail!("it relays for them"),
    }
}

/// Each is asked for in an allocation of its own: what one refusal leaves behind must not pass for the next.
fn peers_are_refused(target: &Target, transport: Transport, peers: &[Ipv4Addr]) -> anyhow::Result<String> {
    // The port of discard, should a refusal fail: no data is sent in any case.
    const PORT: u16 = 9;
    for peer in peers {
        let mut session = allocate(target, transport, "xtask")?;
        match session.bind(SocketAddr::from((*peer, PORT)), LIMIT) {
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == 403) => {}
            Err(error) => return Err(error.context(format!("asked for the peer {peer}"))),
            Ok(()) => bail!("{peer} is taken for a peer: users with credentials reach it through the relay"),
        }
    }
    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
    Ok(format!("refused with 403: {}", peers.join(", ")))
}

/// One user allocates until the server says 486 (Allocation Quota Reached).
fn quota(target: &Target, transport: Transport) -> anyhow::Result<String> {
    // Without a quota nobody would say stop.
    const ENOUGH: u32 = 200;
    let most = target.user_quota.map_or(ENOUGH, |quota| quota + 1);
    let user = format!("quota-{}", rand::random::<u32>());
    let mut sessions = Vec::new();
    for count in 0..most {
        match allocate(target, transport, &user) {
            Ok(session) => sessions.push(session),
            Err(error) => {
                return match error.downcast_ref::<Refused>() {
                    Some(refused) if refused.code == 486 => {
                        Ok(format!("{count} allocations, the next is refused with 486"))
                    }
                    _ => Err(error.context(format!("after {count} allocations"))),
                };
            }
        }
    }
    bail!("{most} allocations were given to one user")
}

fn allocate(target: &Target, transport: Transport, user: &str) -> anyhow::Result<Session> {
    let expiry = OffsetDateTime::now_utc().unix_timestamp() + 300;
    let credentials = turn::credentials(&target.secret, user, expiry)?;
    patiently(|| turn::allocate(target.server, transport, &credentials, LIMIT))
}

/// Asks up to three times, each from another port: one request of a hundred over UDP is never answered by a busy coturn.
pub fn patiently<T>(ask: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut attempt = 1;
    loop {
        match ask() {
            Err(error) if attempt < 3 && !error.is::<Refused>() => attempt += 1,
            result => return result,
        }
    }
}
