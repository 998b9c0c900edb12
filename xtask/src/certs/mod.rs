//! The CA and the leaf certificates: made or imported once, renewed when they run out or no longer cover the host.
//!
//! There are three ways. A root of our own, or the site's, signs here; so does an intermediate below the site's root; or somebody
//! whose key never comes here signs, and each leaf is imported. What clients trust is certs/ca.crt in all of them.

mod authority;
mod chain;
mod constraints;
mod external;
pub mod import;
mod keys;
mod leaf;
mod read;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use time::OffsetDateTime;

use chain::Certificate;

use crate::drivers::files;
use crate::drivers::terminal::say;
use crate::host::LanAddress;
use crate::settings::{CertificateIssuer, Settings};
use crate::{stack, trust};

pub use authority::issuer_path;
pub use external::{Request, request};
pub use read::{der, fingerprint, not_after, not_before, sans, uncovered};

/// A leaf certificate: which server presents it and under which names.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Folder below certs/, and the server's name.
    pub server: &'static str,
    pub sans: BTreeSet<San>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum San {
    Dns(String),
    Ip(IpAddr),
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            San::Dns(name) => f.write_str(name),
            San::Ip(address) => address.fmt(f),
        }
    }
}

/// What the renderer needs to know of certs/: the public certificates, for content hashes.
#[derive(Debug, Clone)]
pub struct Certificates {
    pub ca: String,
    pub mattermost: String,
    /// That of the stack's own PostgreSQL, or the CA of an existing one.
    pub postgres: String,
    /// CAs of the connected tools, in one text.
    pub extra_trust: String,
}

/// A change to certs/, in words.
pub type Change = String;

/// Makes what is missing and reissues what no longer fits; what somebody else issues is only checked. Returns the certificates
/// and what was done, which is nothing when all is well.
///
/// # Errors
/// When an existing file cannot be used; nothing is replaced then.
pub fn ensure(
    root: &Path,
    settings: &Settings,
    lan: &[LanAddress],
    renew: bool,
) -> anyhow::Result<(Certificates, Vec<Change>)> {
    let now = OffsetDateTime::now_utc();
    let trust = trust::read(settings, &stack::checkout()?)?;
    let wanted = leaves(settings, lan);
    let (ca, leaves, changes) = match settings.certificates.issuer {
        CertificateIssuer::Own => issued(root, settings, lan, wanted, renew, now)?,
        CertificateIssuer::External => {
            let found = external::check(root, &wanted, renew, now)?;
            for warning in found.warnings {
                say(&format!("warning: {warning}"));
            }
            (found.ca, found.leaves, Vec::new())
        }
    };
    let mut leaves = leaves.into_iter();
    let mattermost = leaves.next().context("Mattermost has a leaf")?;
    let postgres = trust.postgres.or_else(|| leaves.next()).context("a PostgreSQL of our own has a leaf")?;
    Ok((Certificates { ca, mattermost, postgres, extra_trust: trust.extra }, changes))
}

/// The CA and the leaves that it issued, made or renewed where necessary.
fn issued(
    root: &Path,
    settings: &Settings,
    lan: &[LanAddress],
    wanted: Vec<Leaf>,
    renew: bool,
    now: OffsetDateTime,
) -> anyhow::Result<(String, Vec<String>, Vec<Change>)> {
    let mut changes = Vec::new();
    let authority = match authority::load(root, now)? {
        Some(authority) => authority,
        None => {
            changes.push(format!("made the CA {}", ca_path(root).display()));
            authority::make(root, settings, lan, now)?
        }
    };
    let mut leaves = Vec::new();
    for mut leaf in wanted {
        let (certificate, key) = leaf_paths(root, leaf.server);
        let existing = read::optional(&certificate)?;
        let reason = match &existing {
            None => Some("there was none".to_owned()),
            Some(_) if renew => Some("asked to".to_owned()),
            Some(pem) => leaf::reason_to_reissue(pem, read::optional(&key)?.as_deref(), &leaf, &authority, now)?,
        };
        match (existing, reason) {
            (Some(pem), None) => leaves.push(pem),
            (existing, Some(reason)) => {
                // What the old certificate covered beyond the settings (`certs --lan`) stays covered while the host has it.
                if let Some(pem) = existing {
                    leaf.sans.extend(leaf::still_ours(&pem)?);
                }
                let issued = leaf::issue(&authority, &leaf, now)?;
                // The key first: a crash in between leaves a certificate that does not match it, which the next run reissues.
                files::write_unsynced(&key, issued.key.as_bytes(), 0o600)?;
                files::write(&certificate, issued.certificate.as_bytes(), 0o644)?;
                leaves.push(issued.certificate);
                changes.push(format!(
                    "issued the certificate of {} ({reason}): {}",
                    leaf.server,
                    read::list(&leaf.sans)
                ));
            }
            (None, None) => bail!("a leaf that is absent always has a reason to be issued"),
        }
    }
    let ca = read::optional(&ca_path(root))?.context("the CA is there: it was loaded")?;
    Ok((ca, leaves, changes))
}

/// The certificates as they are, when all of them are there.
pub fn load(root: &Path, settings: &Settings) -> anyhow::Result<Option<Certificates>> {
    let trust = trust::read(settings, &stack::checkout()?)?;
    let leaf = |server| read::optional(&leaf_paths(root, server).0);
    let postgres = if trust.postgres.is_some() { trust.postgres } else { leaf("postgres")? };
    Ok(match (read::optional(&ca_path(root))?, leaf("mattermost")?, postgres) {
        (Some(ca), Some(mattermost), Some(postgres)) => {
            Some(Certificates { ca, mattermost, postgres, extra_trust: trust.extra })
        }
        _ => None,
    })
}

/// Whether every step from what a server presents, in DER and the leaf first, up to this root was signed by the next.
pub fn leads_to(presented: &[impl AsRef<[u8]>], root: &str) -> anyhow::Result<()> {
    let certificate = |der: &[u8]| Certificate { der: der.to_vec(), file: "what is presented".to_owned() };
    let presented = presented.iter().map(|it| certificate(it.as_ref())).collect();
    chain::up_to(presented, chain::parse(root.as_bytes(), "certs/ca.crt")?, OffsetDateTime::now_utc())?;
    Ok(())
}

/// What keeps the certificates of somebody else from being used; nothing when they are all right.
pub fn check_external(root: &Path, settings: &Settings, lan: &[LanAddress]) -> anyhow::Result<Vec<String>> {
    external::check(root, &leaves(settings, lan), false, OffsetDateTime::now_utc()).map(|found| found.warnings)
}

/// The leaf certificates of a stack, Mattermost's first. Every SAN must lie inside the CA's name constraints, so no bare
/// names.
pub fn leaves(settings: &Settings, lan: &[LanAddress]) -> Vec<Leaf> {
    let mut sans = BTreeSet::from([San::Dns(settings.mattermost_host())]);
    // For people on this host. Nothing of the stack asks by these, and hardly a CA of somebody else signs for them.
    if settings.certificates.issuer == CertificateIssuer::Own {
        sans.extend([San::Dns("localhost".to_owned()), San::Ip(Ipv4Addr::LOCALHOST.into())]);
    }
    sans.extend(lan.iter().map(|lan| San::Ip(lan.address.into())));
    let mut leaves = vec![Leaf { server: "mattermost", sans }];
    if settings.external_postgres().is_none() {
        let sans = BTreeSet::from([San::Dns(settings.postgres_host())]);
        leaves.push(Leaf { server: "postgres", sans });
    }
    leaves
}

/// What clients trust.
pub fn ca_path(root: &Path) -> PathBuf {
    root.join("certs/ca.crt")
}

/// Where a stack keeps the CA of an existing PostgreSQL, relative to its folder.
pub const POSTGRES_CA: &str = "certs/postgres-ca.crt";

/// Certificate and key of a server's leaf.
pub fn leaf_paths(root: &Path, server: &str) -> (PathBuf, PathBuf) {
    let folder = root.join("certs").join(server);
    (folder.join("tls.crt"), folder.join("tls.key"))
}
