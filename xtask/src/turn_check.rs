//! Proof of a TURN server by use: what a client of a call needs, and what nobody must get. To prove that a peer is refused, no
//! data is sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;
use time::OffsetDateTime;

use crate::drivers::turn::{self, Credentials, Refused, Session, Transport};

/// A server, the secret that its credentials are made of, and the peers that it has to refuse.
pub struct Target {
    pub server: SocketAddr,
    pub secret: String,
    /// In words, and an address.
    pub forbidden: Vec<(String, SocketAddr)>,
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
    for transport in [Transport::Udp, Transport::Tcp] {
        rows.push(row(format!("reachable over {transport}"), reachable(target, transport)));
    }
    if rows.iter().all(|row| !row.ok) {
        return rows;
    }
    let reached = [(Transport::Udp, rows[0].ok), (Transport::Tcp, rows[1].ok)];
    for (transport, _) in reached.into_iter().filter(|(_, ok)| *ok) {
        let allocated = row(format!("allocation over {transport}"), allocation(target, transport));
        let is_refused = !allocated.ok;
        rows.push(allocated);
        // Whoever gets no allocation has nothing to try the rest with.
        if is_refused {
            return rows;
        }
        rows.push(row(format!("round trip over {transport}"), round_trip(target, transport)));
    }
    rows.push(row("refresh".to_owned(), refresh(target)));
    let now = OffsetDateTime::now_utc().unix_timestamp();
    rows.push(row(
        "wrong secret".to_owned(),
        is_refused(target, turn::credentials("not-the-secret", "xtask", now + 60)),
    ));
    rows.push(row(
        "expired credentials".to_owned(),
        is_refused(target, turn::credentials(&target.secret, "xtask", now - 60)),
    ));
    for (what, peer) in &target.forbidden {
        rows.push(row(format!("peer: {what}"), peer_is_refused(target, *peer)));
    }
    rows.push(row("quota of a user".to_owned(), quota(target)));
    rows
}

fn row(name: String, result: anyhow::Result<String>) -> Row {
    match result {
        Ok(finding) => Row { name, ok: true, finding },
        Err(error) => Row { name, ok: false, finding: format!("{error:#}") },
    }
}

/// An answer, and that it asks for credentials.
fn reachable(target: &Target, transport: Transport) -> anyhow::Result<String> {
    let challenge = patiently(|| turn::challenge(target.server, transport, LIMIT))?;
    match (challenge.code, challenge.realm) {
        (Some(401), Some(realm)) => Ok(format!("asks for credentials (401), realm {realm}")),
        (None, _) => bail!("it relays for everybody: an allocation was given without credentials"),
        (code, realm) => bail!("it answers {code:?} with the realm {realm:?} to who has no credentials"),
    }
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
fn round_trip(target: &Target, transport: Transport) -> anyhow::Result<String> {
    const PACKETS: u32 = 50;
    // What voice sends, 50 times a second.
    const SIZE: usize = 160;
    let (mut near, mut far) = (allocate(target, transport, "xtask")?, allocate(target, Transport::Udp, "xtask")?);
    near.bind(far.relayed(), LIMIT)?;
    far.bind(near.relayed(), LIMIT)?;
    let mut times = Vec::new();
    for number in 0..PACKETS {
        let mut packet = vec![0; SIZE];
        packet[..4].copy_from_slice(&number.to_be_bytes());
        let start = Instant::now();
        near.send(far.relayed(), &packet)?;
        let Some(arrived) = far.receive(near.relayed(), Duration::from_millis(500))? else { continue };
        far.send(near.relayed(), &arrived)?;
        if near.receive(far.relayed(), Duration::from_millis(500))?.as_deref() == Some(&packet[..]) {
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

fn refresh(target: &Target) -> anyhow::Result<String> {
    let mut session = allocate(target, Transport::Udp, "xtask")?;
    session.refresh(LIMIT)?;
    Ok("an allocation is prolonged".to_owned())
}

fn is_refused(target: &Target, credentials: anyhow::Result<Credentials>) -> anyhow::Result<String> {
    let credentials = credentials?;
    match patiently(|| turn::allocate(target.server, Transport::Udp, &credentials, LIMIT)) {
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if refused.code == 401 => Ok("refused with 401".to_owned()),
            _ => Err(error),
        },
        Ok(_) => bail!("it relays for them"),
    }
}

fn peer_is_refused(target: &Target, peer: SocketAddr) -> anyhow::Result<String> {
    let mut session = allocate(target, Transport::Udp, "xtask")?;
    match session.bind(peer, LIMIT) {
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if refused.code == 403 => Ok(format!("{} is refused with 403", peer.ip())),
            _ => Err(error),
        },
        Ok(()) => bail!("{} is taken for a peer: users with credentials reach it through the relay", peer.ip()),
    }
}

/// One user allocates until the server says 486 (Allocation Quota Reached).
fn quota(target: &Target) -> anyhow::Result<String> {
    // Without a quota nobody would say stop.
    const ENOUGH: u32 = 200;
    let most = target.user_quota.map_or(ENOUGH, |quota| quota + 1);
    let user = format!("quota-{}", rand::random::<u32>());
    let mut sessions = Vec::new();
    for count in 0..most {
        match allocate(target, Transport::Udp, &user) {
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
