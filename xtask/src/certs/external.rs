//! Leaves that somebody else issues, whose key never comes here: nothing is made, everything is checked.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::KeyPair;
use time::{Duration, OffsetDateTime};

use super::chain::{self, Certificate};
use super::constraints::Constraints;
use super::{Leaf, authority, ca_path, leaf, leaf_paths, read};
use crate::drivers::files;
use crate::error::hinted;

/// What is there and fits.
pub struct Found {
    pub ca: String,
    /// As the servers present them.
    pub leaves: Vec<String>,
    pub warnings: Vec<String>,
}

/// Checks every leaf. An error names all that do not fit, and what each must cover.
pub fn check(root: &Path, wanted: &[Leaf], renew: bool, now: OffsetDateTime) -> anyhow::Result<Found> {
    let servers: Vec<&str> = wanted.iter().map(|leaf| leaf.server).collect();
    if renew {
        return Err(hinted(
            anyhow::anyhow!("nothing can be renewed here: certificates.issuer in stack.toml is \"external\""),
            format!(
                "`cargo xtask certs request {}` writes a request for your CA; `cargo xtask certs import leaf` brings in the answer",
                servers.join("` or `")
            ),
        ));
    }
    let (mut leaves, mut warnings, mut faults, mut fixes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let ca = read::optional(&ca_path(root))?;
    for leaf in wanted {
        match present(root, ca.as_deref(), leaf, now) {
            Ok((pem, found)) => {
                leaves.push(pem);
                warnings.extend(found);
            }
            Err(error) => {
                faults.push(format!("\n  {}: {error:#}", leaf.server));
                fixes.push(format!(
                    "that of {server} must cover {names} (`cargo xtask certs request {server}` writes a request for your CA, `cargo xtask certs import leaf {server}` brings in its answer)",
                    server = leaf.server,
                    names = read::list(&leaf.sans)
                ));
            }
        }
    }
    match ca {
        Some(ca) if faults.is_empty() => Ok(Found { ca, leaves, warnings }),
        _ => Err(hinted(
            anyhow::anyhow!("certificates that your CA has to issue are missing or do not fit:{}", faults.concat()),
            fixes.join("; "),
        )),
    }
}

/// The leaf of a server as it lies in certs/.
fn present(root: &Path, ca: Option<&str>, leaf: &Leaf, now: OffsetDateTime) -> anyhow::Result<(String, Vec<String>)> {
    let ca_path = ca_path(root);
    let ca = ca.with_context(|| format!("{} is not there", ca_path.display()))?;
    let (path, key_path) = leaf_paths(root, leaf.server);
    let text = |path: &Path| read::optional(path)?.with_context(|| format!("{} is not there", path.display()));
    let (pem, key) = (text(&path)?, text(&key_path)?);
    let roots = chain::parse(ca.as_bytes(), &ca_path.display().to_string())?;
    let links = chain::up_to(chain::parse(pem.as_bytes(), &path.display().to_string())?, roots, now)?;
    let key = KeyPair::from_pem(&key)
        .with_context(|| format!("{} is no private key that can be used", key_path.display()))?;
    if links[0].public_key()? != key.public_key_raw() {
        anyhow::bail!("{} does not belong to {}", key_path.display(), path.display());
    }
    Ok((pem, check_leaf(&links, leaf, now)?))
}

/// Apple's limit (support.apple.com/103769).
const LONGEST: Duration = Duration::days(825);

/// Whether clients take a chain, the leaf first and the root last, for a server. Returns what they may still dislike.
pub fn check_leaf(links: &[Certificate], wanted: &Leaf, now: OffsetDateTime) -> anyhow::Result<Vec<String>> {
    let (link, authorities) = links.split_first().context("a chain has a leaf")?;
    let certificate = link.parsed()?;
    let refuse = |what: String, fix: String| Err(hinted(anyhow::anyhow!("{} {what}", link.named()), fix));
    if certificate.basic_constraints().with_context(|| link.named())?.is_some_and(|it| it.value.ca) {
        return refuse("is a CA, not a server's certificate".to_owned(), "name the server's certificate".to_owned());
    }
    if authorities.is_empty() {
        let fix = "phones take no certificate that is its own issuer: have a CA sign it";
        return refuse("signs itself".to_owned(), fix.to_owned());
    }
    let missing = read::uncovered(&wanted.sans, &read::sans_of(&certificate)?);
    if !missing.is_empty() {
        let covered = read::sans_of(&certificate)?;
        let covered = if covered.is_empty() { "no name at all".to_owned() } else { read::list(&covered) };
        return refuse(
            format!("does not cover {}; it covers {covered}", read::list(&missing)),
            format!("ask your CA for one with the SANs {}", read::list(&wanted.sans)),
        );
    }
    chain::check_common(link, &certificate, false, now)?;
    let usage = certificate.extended_key_usage().with_context(|| link.named())?;
    if !usage.is_some_and(|it| it.value.server_auth) {
        let fix = "ask your CA for a certificate of a TLS server, with serverAuth in its extended key usage";
        return refuse("is not for servers: its extended key usage has no serverAuth".to_owned(), fix.to_owned());
    }
    if certificate.key_usage().with_context(|| link.named())?.is_some_and(|it| !it.value.digital_signature()) {
        let fix = "ask your CA for a certificate of a TLS server, with digitalSignature in its key usage";
        return refuse("cannot be used for TLS: its key usage has no digitalSignature".to_owned(), fix.to_owned());
    }
    chain::check_authorities(authorities, now)?;
    let mut constraints = Vec::new();
    for link in authorities {
        constraints.push(Constraints::of(&link.parsed()?));
    }
    // Also a name that nobody asked for: clients refuse the whole certificate for it.
    if let Some(refusal) =
        read::sans_of(&certificate)?.iter().find_map(|it| authority::refusal(authorities, &constraints, it))
    {
        return Err(hinted(anyhow::anyhow!("{}: {refusal}", link.file), "ask for one from a CA that may sign for it"));
    }
    let mut warnings = Vec::new();
    let validity = certificate.validity();
    let (begins, ends) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    if ends - begins > LONGEST {
        let days = (ends - begins).whole_days();
        warnings.push(format!(
            "{} is good for {days} days; iPhones refuse more than {}",
            link.named(),
            LONGEST.whole_days()
        ));
    }
    let left = authorities
        .iter()
        .filter_map(|it| Some(it.parsed().ok()?.validity().not_after.to_datetime()))
        .fold(ends, OffsetDateTime::min)
        - now;
    if left < leaf::RENEW_BEFORE {
        let days = left.whole_days();
        warnings.push(format!(
            "{}, or a CA above it, runs out in {days} days: `cargo xtask certs request {}`",
            link.named(),
            wanted.server
        ));
    }
    Ok(warnings)
}

/// What to hand to a CA.
#[derive(Debug)]
pub struct Request {
    pub path: PathBuf,
    pub pem: String,
    leaf: Leaf,
}

impl Request {
    pub fn names(&self) -> String {
        read::list(&self.leaf.sans)
    }
}

/// The key that a request is made for, until its certificate is imported.
pub fn request_key_path(root: &Path, server: &str) -> PathBuf {
    root.join("certs").join(server).join("request.key")
}

pub fn request_path(root: &Path, server: &str) -> PathBuf {
    root.join("certs").join(server).join("tls.csr")
}

/// Writes a request with exactly the names that a server needs. Its key stays here, and stays the same until the certificate is
/// imported: an earlier request may be with the CA.
pub fn request(root: &Path, leaf: Leaf) -> anyhow::Result<Request> {
    let (path, key_path) = (request_path(root, leaf.server), request_key_path(root, leaf.server));
    let key = match read::optional(&key_path)? {
        Some(pem) => KeyPair::from_pem(&pem).map_err(|_| {
            hinted(
                anyhow::anyhow!("{} is no private key that can be used", key_path.display()),
                "move it away for a new one",
            )
        })?,
        None => {
            let key = KeyPair::generate()?;
            files::write(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
            key
        }
    };
    let pem = leaf::params(&leaf)?.serialize_request(&key)?.pem()?;
    files::write(&path, pem.as_bytes(), 0o644)?;
    Ok(Request { path, pem, leaf })
}
