//! Proof by use: what a client does, done once, against the running stack. The proofs run side by side.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use time::OffsetDateTime;

use crate::drivers::docker;
use crate::drivers::https::{self, Site};
use crate::drivers::turn::{self, Credentials, Refused, Session, Transport};
use crate::error::hinted;
use crate::external_postgres;
use crate::host::Host;
use crate::stack::Stack;
use crate::turn_check::patiently;

/// What was proven, and what Mattermost says of itself.
#[derive(Debug)]
pub struct Verified {
    /// One line each.
    pub proofs: Vec<String>,
    /// Without a license, calls work in direct messages only.
    pub licensed: bool,
}

/// Runs every proof, or fails with the first that did not hold.
pub fn verify(stack: &Stack, host: &Host, turn_secret: &str, ca_pem: &str) -> anyhow::Result<Verified> {
    std::thread::scope(|scope| {
        let licensed = scope.spawn(|| is_licensed(stack, host, ca_pem));
        let proofs = [
            scope.spawn(|| site_answers(stack, host, ca_pem)),
            scope.spawn(|| origins_are_checked(stack, host, ca_pem)),
            scope.spawn(|| role_owns_the_schema(stack)),
            scope.spawn(|| turn_relays_for_us_only(stack, host, turn_secret)),
        ];
        let results: Vec<anyhow::Result<String>> =
            proofs.into_iter().map(|proof| proof.join().unwrap_or_else(|_| bail!("a proof panicked"))).collect();
        let licensed = licensed.join().unwrap_or_else(|_| bail!("asking for the license panicked"))?;
        Ok(Verified { proofs: results.into_iter().collect::<anyhow::Result<_>>()?, licensed })
    })
}

/// HTTPS by name and by every address, trusting our CA alone.
fn site_answers(stack: &Stack, host: &Host, ca_pem: &str) -> anyhow::Result<String> {
    let port = stack.settings.ports.mattermost;
    let mut names = vec![(stack.settings.mattermost_host(), host.lan_ip())];
    names.extend(host.lan.iter().map(|lan| (lan.address.to_string(), lan.address)));
    for (name, address) in names {
        answering(ca_pem, &name, SocketAddr::from((address, port)))?;
    }
    Ok("Mattermost answers over TLS by name and by address, verified with our CA alone".to_owned())
}

/// The site by a name or address, after it has answered there.
pub fn answering(ca_pem: &str, name: &str, address: SocketAddr) -> anyhow::Result<Site> {
    const PING: &str = "/api/v4/system/ping";
    let site = https::site(ca_pem, name, address)?;
    let answer = https::get(&site, PING, None)?;
    if answer.status() != 200 || https::json(&answer)?["status"] != "OK" {
        bail!("https://{name}:{}{PING} answered {}", address.port(), answer.status());
    }
    Ok(site)
}

fn is_licensed(stack: &Stack, host: &Host, ca_pem: &str) -> anyhow::Result<bool> {
    let address = SocketAddr::from((host.lan_ip(), stack.settings.ports.mattermost));
    let site = https::site(ca_pem, &host.lan_ip().to_string(), address)?;
    Ok(license(&site)?["IsLicensed"] == "true")
}

/// The license as clients see it.
pub fn license(site: &Site) -> anyhow::Result<Value> {
    https::json(&https::get(site, "/api/v4/license/client?format=old", None)?)
}

/// The WebSocket opens for our origins and for no other.
fn origins_are_checked(stack: &Stack, host: &Host, ca_pem: &str) -> anyhow::Result<String> {
    let (address, port) = (host.lan_ip(), stack.settings.ports.mattermost);
    let site = https::site(ca_pem, &address.to_string(), SocketAddr::from((address, port)))?;
    for origin in [format!("https://{address}:{port}"), stack.settings.site_url()] {
        let status = https::websocket_status(&site, &origin)?;
        if status != 101 {
            bail!("the WebSocket refused our own origin {origin} with {status}");
        }
    }
    let stranger = "https://stranger.invalid";
    let status = https::websocket_status(&site, stranger)?;
    if status == 101 {
        bail!("the WebSocket opened for the origin {stranger}");
    }
    Ok(format!("the WebSocket opens for our origins, and refuses another with {status}"))
}

/// PostgreSQL 15 and later let only the owner of schema public create tables in it.
fn role_owns_the_schema(stack: &Stack) -> anyhow::Result<String> {
    if stack.settings.external_postgres().is_some() {
        return external_postgres::prove(stack);
    }
    const QUERY: &str = "SELECT (SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'mattermost' AND NOT s.ssl), \
                         (SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'), \
                         (SELECT datdba::regrole::text FROM pg_database WHERE datname = 'mattermost')";
    let container = stack.container("postgres");
    let answer =
        docker::try_docker(&["exec", &container, "psql", "-U", "postgres", "-d", "mattermost", "-Atqc", QUERY])?;
    if !answer.success {
        bail!("cannot ask PostgreSQL: {}", answer.complaint());
    }
    match answer.stdout.trim() {
        "0|mattermost|mattermost" => {
            Ok("PostgreSQL: the role mattermost owns its database and schema, and all its connections use TLS"
                .to_owned())
        }
        other => Err(hinted(
            anyhow::anyhow!("PostgreSQL: plain connections, owner of schema public, owner of the database: {other}"),
            crate::causes::SCHEMA_FIX,
        )),
    }
}

fn allocate(server: SocketAddr, transport: Transport, credentials: &Credentials) -> anyhow::Result<Session> {
    patiently(|| turn::allocate(server, transport, credentials, Duration::from_secs(3)))
}

/// An allocation over UDP and over TCP with credentials as Mattermost mints them, a channel to the call media port, and
/// a refusal for somebody who does not know the secret.
fn turn_relays_for_us_only(stack: &Stack, host: &Host, turn_secret: &str) -> anyhow::Result<String> {
    const LIMIT: Duration = Duration::from_secs(5);
    let server = SocketAddr::from((host.lan_ip(), stack.settings.ports.turn));
    let media = SocketAddr::from((host.lan_ip(), stack.settings.ports.calls));
    let expiry = OffsetDateTime::now_utc().unix_timestamp() + 60;
    let good = turn::credentials(turn_secret, "xtask", expiry)?;
    let bad = turn::credentials("not-the-secret", "xtask", expiry)?;
    let relays = |transport: Transport| -> anyhow::Result<()> {
        let mut session = allocate(server, transport, &good)?;
        if session.relayed().ip() != IpAddr::V4(host.lan_ip()) {
            bail!("it relays at {}, which is not the LAN address {}", session.relayed(), host.lan_ip());
        }
        // coturn does not relay to loopback, whatever it is told; on a host without a network there is no peer to ask for.
        if !host.is_loopback_only() {
            session.bind(media, LIMIT)?;
        }
        Ok(())
    };
    let refuses = || match allocate(server, Transport::Udp, &bad) {
        Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == 401) => Ok(()),
        Err(error) => Err(error.context("with a wrong secret")),
        Ok(_) => bail!("it relays for somebody who does not know the secret"),
    };
    std::thread::scope(|scope| {
        let udp = scope.spawn(|| relays(Transport::Udp));
        let tcp = scope.spawn(|| relays(Transport::Tcp));
        let refused = scope.spawn(refuses);
        for (what, proof) in [("TURN over udp", udp), ("TURN over tcp", tcp), ("TURN", refused)] {
            proof.join().unwrap_or_else(|_| bail!("a proof panicked")).context(what)?;
        }
        anyhow::Ok(())
    })?;
    Ok("TURN allocates over UDP and TCP, reaches the call media port, and refuses a wrong secret".to_owned())
}
