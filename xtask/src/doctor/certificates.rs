//! The CA, the leaves on disk, and the chains that the running servers present.

use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::context::Context;
use super::problem::{Row, State, ok, problems};
use crate::certs::{self, Leaf, San};
use crate::drivers::presented::{self, Before};
use crate::error::hint_of;
use crate::host::Host;
use crate::settings::CertificateIssuer;

problems! {
    CA_MISSING: Warn "certificates.no-ca",
        "Nothing runs yet.",
        "The stack has no CA and no certificates.",
        "`cargo xtask up` makes them", Up;
    CA_ENDING: Warn "certificates.ca-ending",
        "None yet. When it has run out, every client refuses to connect.",
        "The CA's certificate has less than a year left, and phones have to enrol again with a new one.",
        "plan the day: move certs/ca.crt and certs/ca.key away, `cargo xtask up`, then `cargo xtask phone` for every phone";
    CA_ENDED: Fail "certificates.ca-ended",
        "Every client refuses to connect.",
        "The CA's certificate has run out.",
        "move certs/ca.crt and certs/ca.key away, `cargo xtask up`, then `cargo xtask phone` for every phone";
    LEAF_MISSING: Warn "certificates.missing",
        "Nothing runs yet, or a server does not start.",
        "A server has no certificate yet.",
        "`cargo xtask up`", Up;
    LEAF_BROKEN: Fail "certificates.broken",
        "A server does not start.",
        "A certificate file is not what it should be.",
        "`cargo xtask certs`, which issues it again";
    LEAF_UNCOVERED: Fail "certificates.uncovered",
        "Browsers say \"not private\", the app says that the certificate is invalid.",
        "The certificate does not name an address or name by which clients come.",
        "`cargo xtask certs`", Up;
    LEAF_ENDING: Warn "certificates.ending",
        "None yet. When it has run out, every client refuses to connect.",
        "A certificate has less than 30 days left.",
        "`cargo xtask certs`", Up;
    LEAF_ENDED: Fail "certificates.ended",
        "Every client refuses to connect.",
        "A certificate has run out.",
        "`cargo xtask certs`", Up;
    EXTERNAL_UNFIT: Fail "certificates.external",
        "`up` refuses to run, or clients refuse to connect.",
        "A certificate that the site's own CA has to issue is missing, or is not what clients take.",
        "{fix}";
    EXTERNAL_DISLIKED: Warn "certificates.external-disliked",
        "None yet, or only some clients refuse to connect.",
        "A certificate of the site's own CA runs out soon, or is good for longer than some clients take.",
        "ask for another one: `cargo xtask certs request mattermost`, then `cargo xtask certs import leaf`";
    PRESENTED_NONE: Fail "certificates.no-tls",
        "Clients cannot connect, or the database is read in the clear.",
        "A running server answers without TLS, or does not answer.",
        "see what it says: `cargo xtask logs {server}`; then `cargo xtask up`";
    PRESENTED_OLD: Fail "certificates.old",
        "Clients still see the old certificate, with its old addresses and its old end.",
        "A server presents another certificate than the one in certs/: it was not restarted since that was issued.",
        "`cargo xtask up`", Up;
    PRESENTED_UNTRUSTED: Fail "certificates.untrusted",
        "Phones and browsers that trust our CA refuse the connection.",
        "The chain that a server presents does not lead to the CA in certs/ca.crt.",
        "`cargo xtask certs --renew`";
}

pub fn check(context: &Context) -> Vec<Row> {
    let Ok(host) = context.host() else { return Vec::new() };
    let stack = &context.stack;
    let now = OffsetDateTime::now_utc();
    let Some(ca) = context.ca() else {
        return vec![CA_MISSING.found("there is no CA yet")];
    };
    let mut rows = vec![judge_ca(&ca, now)];
    // An intermediate ends before its root does.
    let issuer = std::fs::read_to_string(certs::issuer_path(&stack.root));
    rows.extend(issuer.ok().map(|issuer| judge_ca(&issuer, now)).filter(|row| row.state != State::Ok));
    if stack.settings.certificates.issuer == CertificateIssuer::External {
        let checked = certs::check_external(&stack.root, &stack.settings, &host.lan);
        let is_fit = checked.is_ok();
        rows.extend(judge_external(checked));
        if !is_fit {
            return rows;
        }
    }
    for leaf in certs::leaves(&stack.settings, &host.lan) {
        let (path, _) = certs::leaf_paths(&stack.root, leaf.server);
        let Ok(pem) = std::fs::read_to_string(&path) else {
            rows.push(LEAF_MISSING.found(format!("there is no {}", path.display())));
            continue;
        };
        let on_disk = judge_leaf(&leaf, &pem, now);
        // A leaf that has to be issued again anyway is not worth a handshake.
        let presented = if on_disk.problem.0.is_none() { presented(context, host, &leaf) } else { None };
        rows.push(match presented {
            Some(chain) => judge_presented(leaf.server, &pem, &ca, chain, on_disk),
            None => on_disk,
        });
    }
    rows
}

/// What was found out about leaves that somebody else issues: what clients may dislike, or why they cannot be used.
pub fn judge_external(checked: anyhow::Result<Vec<String>>) -> Option<Row> {
    match checked {
        Ok(warnings) if warnings.is_empty() => None,
        Ok(warnings) => Some(EXTERNAL_DISLIKED.found(warnings.join("; "))),
        Err(error) => {
            let fix = hint_of(&error).unwrap_or("see the message").to_owned();
            let finding = error.to_string().replace("\n ", "");
            Some(EXTERNAL_UNFIT.found(finding).with("fix", fix))
        }
    }
}

/// `ca` is a PEM.
pub fn judge_ca(ca: &str, now: OffsetDateTime) -> Row {
    let Ok(not_after) = certs::not_after(ca) else { return LEAF_BROKEN.found("certs/ca.crt is no certificate") };
    match (not_after - now).whole_days() {
        ..0 => CA_ENDED.found("the CA has run out"),
        days @ 0..365 => CA_ENDING.found(format!("the CA runs out in {days} days")),
        days => ok("certificates", format!("the CA is good for {} years", days / 365)),
    }
}

/// `pem` is what lies in certs/.
pub fn judge_leaf(leaf: &Leaf, pem: &str, now: OffsetDateTime) -> Row {
    let server = leaf.server;
    let (Ok(covered), Ok(not_after)) = (certs::sans(pem), certs::not_after(pem)) else {
        return LEAF_BROKEN.found(format!("that of {server} is no certificate"));
    };
    let missing: Vec<String> = certs::uncovered(&leaf.sans, &covered).iter().map(San::to_string).collect();
    if !missing.is_empty() {
        return LEAF_UNCOVERED.found(format!("that of {server} does not cover {}", missing.join(", ")));
    }
    match (not_after - now).whole_days() {
        ..0 => LEAF_ENDED.found(format!("that of {server} has run out")),
        days @ 0..30 => LEAF_ENDING.found(format!("that of {server} runs out in {days} days")),
        days => ok("certificates", format!("that of {server} is good for {days} days and for every name and address")),
    }
}

/// What the server of a leaf presents; nothing when it does not run.
fn presented(context: &Context, host: &Host, leaf: &Leaf) -> Option<anyhow::Result<Vec<CertificateDer<'static>>>> {
    let container = context.running(leaf.server)?;
    if container.health == "starting" {
        return None;
    }
    let settings = &context.stack.settings;
    if leaf.server == "mattermost" {
        let address = SocketAddr::from((host.lan_ip(), settings.ports.mattermost));
        return Some(presented::chain(address, &host.lan_ip().to_string(), Before::Nothing));
    }
    // An internal network: this host is on it, and nobody else.
    let address: IpAddr = container.addresses.values().find_map(|address| address.parse().ok())?;
    Some(presented::chain(SocketAddr::from((address, 5432)), &settings.postgres_host(), Before::Postgres))
}

/// Compares what a server presents with what lies in certs/. `on_disk` is the row of the latter.
pub fn judge_presented(
    server: &str,
    pem: &str,
    ca: &str,
    chain: anyhow::Result<Vec<CertificateDer<'static>>>,
    on_disk: Row,
) -> Row {
    let chain = match chain {
        Ok(chain) => chain,
        Err(error) => return PRESENTED_NONE.found(format!("{server}: {error:#}")).with("server", server),
    };
    let leaf = chain.first().map(|leaf| leaf.as_ref()).unwrap_or_default();
    if certs::der(pem).is_ok_and(|der| der != leaf) {
        return PRESENTED_OLD.found(format!("{server} presents another certificate than certs/{server}/tls.crt"));
    }
    if certs::leads_to(&chain, ca).is_err() {
        return PRESENTED_UNTRUSTED.found(format!("what {server} presents was not signed by certs/ca.crt"));
    }
    Row { finding: format!("{}, and {server} presents it", on_disk.finding), ..on_disk }
}
