//! Bringing in what a site's PKI made: a CA with its key, or a leaf. Everything is checked before anything is written, and what
//! is replaced is kept in certs/old.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::KeyPair;
use time::OffsetDateTime;
use time::macros::format_description;

use super::authority::{self, Authority};
use super::chain::{self, Certificate};
use super::{Change, Leaf, ca_path, external, keys, leaf, leaf_paths, leaves, read};
use crate::drivers::files;
use crate::error::{Hint as _, hinted};
use crate::host::LanAddress;
use crate::settings::{CertificateIssuer, Settings};

/// Where a stack's certificates go, and what they must be good for.
#[derive(Debug)]
pub struct Target<'a> {
    pub root: &'a Path,
    pub settings: &'a Settings,
    pub lan: &'a [LanAddress],
    /// Whether another CA may take the place of one that clients may trust already.
    pub replace: bool,
}

#[derive(Debug)]
pub struct AuthorityFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The CAs above it, in any order.
    pub chain: Vec<PathBuf>,
}

#[derive(Debug)]
pub struct LeafFiles {
    /// The leaf and the CAs between it and the root, in any order.
    pub certificate: PathBuf,
    /// Without it: the key of the request, or the one that is in use.
    pub key: Option<PathBuf>,
    /// The root. Without it: the one that is there.
    pub ca: Option<PathBuf>,
}

/// What was done, and what clients may dislike.
#[derive(Debug)]
pub struct Imported {
    pub changes: Vec<Change>,
    pub warnings: Vec<String>,
    /// Whether clients have to trust another CA than before.
    pub is_other_ca: bool,
}

/// A CA that issues here from now on. `passphrase` is asked with the key's file when that is encrypted.
pub fn authority(
    target: &Target<'_>,
    files: &AuthorityFiles,
    passphrase: impl FnOnce(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Imported> {
    let now = OffsetDateTime::now_utc();
    issuer_must_be(target, CertificateIssuer::Own)?;
    let mut found = chain::read(&files.certificate)?;
    let public_keys = public_keys(&found)?;
    let key = keys::read(&files.key, passphrase, &public_keys)?;
    let position = public_keys.iter().position(|it| it == key.public_key_raw());
    let first = found.remove(position.ok_or_else(|| mismatch(&files.key, &files.certificate))?);
    for path in &files.chain {
        found.extend(chain::read(path)?);
    }
    let links = chain::build(first, &found, now)?;
    let pem = key.serialize_pem();
    let authority = Authority::new(links, key, now)?;
    if let Some(link) = authority.constrains_subjects() {
        return Err(hinted(
            anyhow::anyhow!(
                "{} may sign for certain subjects only (a directoryName in its name constraints)",
                link.named()
            ),
            "certificates that are issued here have a common name for a subject: ask for a CA without that, or for ready-made leaves",
        ));
    }
    for leaf in leaves(target.settings, target.lan) {
        proven(&authority, &leaf, now)?;
    }

    let root = target.root;
    let (ca, issuer) = (ca_path(root), authority::issuer_path(root));
    let (ca_key, issuer_key) = (ca.with_extension("key"), issuer.with_extension("key"));
    let is_other_ca = replaces(target, authority.root())?;
    let mut changes = kept(root, &[&ca, &ca_key, &issuer, &issuer_key])?;
    // The key first, and what no longer belongs goes last: whatever a crash leaves is an error of the next run, never a CA
    // that is used.
    let gone = if authority.intermediates().is_empty() {
        files::write_unsynced(&ca_key, pem.as_bytes(), 0o600)?;
        vec![issuer, issuer_key]
    } else {
        files::write_unsynced(&issuer_key, pem.as_bytes(), 0o600)?;
        files::write_unsynced(&issuer, authority.presented().as_bytes(), 0o644)?;
        vec![ca_key]
    };
    files::write(&ca, authority.root().pem().as_bytes(), 0o644)?;
    remove(&gone)?;
    changes.push(format!("imported the CA {}, which issues from now on", authority.certificate().subject()));
    if !authority.intermediates().is_empty() {
        changes.push(format!("clients have to trust {}", authority.root().subject()));
    }
    Ok(Imported { changes, warnings: dislikes(authority.root())?, is_other_ca })
}

/// A leaf that somebody else issued.
pub fn leaf(
    target: &Target<'_>,
    server: &str,
    files: &LeafFiles,
    passphrase: impl FnOnce(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Imported> {
    let now = OffsetDateTime::now_utc();
    let wanted = wanted(target, server)?;
    let root = target.root;
    let ca = ca_path(root);
    let mut found = chain::read(&files.certificate)?;
    let is_leaf = |it: &Certificate| !it.parsed().is_ok_and(|it| it.is_ca());
    let position = found
        .iter()
        .position(is_leaf)
        .with_context(|| format!("{} has no server's certificate, only those of CAs", files.certificate.display()));
    let first = found.remove(position.hint("name the file with the leaf in it")?);
    let roots = match (&files.ca, read::optional(&ca)?) {
        (Some(path), _) => chain::read(path)?,
        (None, Some(pem)) => chain::parse(pem.as_bytes(), &ca.display().to_string())?,
        (None, None) => {
            let error = anyhow::anyhow!("there is no {} yet", ca.display());
            return Err(hinted(error, "name the root that your clients trust with --ca ROOT.pem"));
        }
    };
    // The root that is meant comes first: the file of the leaf may hold another one of the same name.
    let links = chain::build(first, &[roots.clone(), found].concat(), now)?;
    let last = links.last().context("a chain has a root")?;
    if !roots.iter().any(|it| it.der == last.der) {
        return Err(hinted(
            anyhow::anyhow!(
                "{} leads to {}, which is not the CA in {}",
                links[0].named(),
                last.subject(),
                roots[0].file
            ),
            "name the root that it leads to with --ca ROOT.pem, or ask for a certificate of the right CA",
        ));
    }
    let key = leaf_key(target, server, files, &links[0], passphrase)?;
    let warnings = external::check_leaf(&links, &wanted, now)?;

    let is_other_ca = replaces(target, last)?;
    let (certificate_path, key_path) = leaf_paths(root, server);
    let mut old = vec![&certificate_path, &key_path];
    let issuer = authority::issuer_path(root);
    let (ca_key, issuer_key) = (ca.with_extension("key"), issuer.with_extension("key"));
    let is_new_ca = !is_current(&ca, last)?;
    if is_new_ca {
        old.extend([&ca, &ca_key, &issuer, &issuer_key]);
    }
    let mut changes = kept(root, &old)?;
    files::write_unsynced(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
    let presented: String = links[..links.len() - 1].iter().map(Certificate::pem).collect();
    files::write(&certificate_path, presented.as_bytes(), 0o644)?;
    if is_new_ca {
        files::write(&ca, last.pem().as_bytes(), 0o644)?;
        remove(&[ca_key, issuer, issuer_key])?;
    }
    // A request for another key may still be with the CA.
    let request_key = external::request_key_path(root, server);
    if belongs(&request_key, &links[0].public_key()?)?.is_some() {
        remove(&[external::request_path(root, server), request_key])?;
    }
    changes.push(format!("imported the certificate of {server}, issued by {}", links[1].subject()));
    let warnings = warnings.into_iter().chain(dislikes(last)?).collect();
    Ok(Imported { changes, warnings, is_other_ca })
}

/// What a server's certificate has to be, for a stack whose leaves somebody else issues.
pub fn wanted(target: &Target<'_>, server: &str) -> anyhow::Result<Leaf> {
    issuer_must_be(target, CertificateIssuer::External)?;
    let found = leaves(target.settings, target.lan).into_iter().find(|leaf| leaf.server == server);
    found
        .with_context(|| format!("this stack has no {server} of its own"))
        .hint("stack.toml names an existing PostgreSQL, whose certificate is its owner's affair")
}

fn issuer_must_be(target: &Target<'_>, wanted: CertificateIssuer) -> anyhow::Result<()> {
    if target.settings.certificates.issuer == wanted {
        return Ok(());
    }
    let (is, hint) = match wanted {
        CertificateIssuer::Own => (
            "external",
            "set it to \"own\" to have certificates issued here, or import leaves: `cargo xtask certs import leaf`",
        ),
        CertificateIssuer::External => {
            ("own", "set it to \"external\" first: what is imported would be issued again here")
        }
    };
    Err(hinted(anyhow::anyhow!("certificates.issuer in stack.toml is \"{is}\""), hint))
}

/// A trial: what the CA would issue must verify up to the root. Names in an unusual notation, for one, cannot be repeated.
fn proven(authority: &Authority, wanted: &Leaf, now: OffsetDateTime) -> anyhow::Result<()> {
    let issued = leaf::issue(authority, wanted, now)?;
    let mut found = chain::parse(issued.certificate.as_bytes(), &format!("a certificate for {}", wanted.server))?;
    let first = found.remove(0);
    found.push(authority.root().clone());
    let links = chain::build(first, &found, now)
        .hint("the CA's name is written in a way that cannot be repeated here; ask for ready-made leaves")?;
    external::check_leaf(&links, wanted, now).map(drop)
}

/// The key of a leaf: the given one, else that of the request, else the one in use.
fn leaf_key(
    target: &Target<'_>,
    server: &str,
    files: &LeafFiles,
    leaf: &Certificate,
    passphrase: impl FnOnce(&str) -> anyhow::Result<String>,
) -> anyhow::Result<KeyPair> {
    let public_key = leaf.public_key()?;
    if let Some(path) = &files.key {
        let key = keys::read(path, passphrase, std::slice::from_ref(&public_key))?;
        return if key.public_key_raw() == public_key { Ok(key) } else { Err(mismatch(path, &files.certificate)) };
    }
    let candidates = [external::request_key_path(target.root, server), leaf_paths(target.root, server).1];
    for path in &candidates {
        if let Some(key) = belongs(path, &public_key)? {
            return Ok(key);
        }
    }
    Err(hinted(
        anyhow::anyhow!("{} is for another key than those that are kept here", leaf.named()),
        format!("name its key with --key, or let your CA sign what `cargo xtask certs request {server}` writes"),
    ))
}

/// The key in a file of ours, where it is that of a certificate.
fn belongs(path: &Path, public_key: &[u8]) -> anyhow::Result<Option<KeyPair>> {
    let key = read::optional(path)?.and_then(|pem| KeyPair::from_pem(&pem).ok());
    Ok(key.filter(|key| key.public_key_raw() == public_key))
}

fn mismatch(key: &Path, certificate: &Path) -> anyhow::Error {
    hinted(
        anyhow::anyhow!("{} does not belong to {}", key.display(), certificate.display()),
        "name the key that the certificate was made for",
    )
}

fn public_keys(found: &[Certificate]) -> anyhow::Result<Vec<Vec<u8>>> {
    found.iter().map(Certificate::public_key).collect()
}

fn is_current(ca: &Path, new: &Certificate) -> anyhow::Result<bool> {
    Ok(read::optional(ca)?.is_some_and(|pem| read::der(&pem).is_ok_and(|der| der == new.der)))
}

/// Whether the CA that clients trust becomes another one, where that is allowed: always before the stack was rendered for the
/// first time, because nobody can have met the old one then.
fn replaces(target: &Target<'_>, new: &Certificate) -> anyhow::Result<bool> {
    let ca = ca_path(target.root);
    if !ca.exists() || is_current(&ca, new)? || !target.root.join("compose/.env").exists() {
        return Ok(false);
    }
    if target.replace {
        return Ok(true);
    }
    Err(hinted(
        anyhow::anyhow!("{} is another CA, and clients may trust it already", ca.display()),
        "with --replace the new one takes its place; every phone has to enrol again, and every tool has to trust the new one",
    ))
}

/// Copies what is about to be replaced to a folder of its own below certs/old.
fn kept(root: &Path, paths: &[&PathBuf]) -> anyhow::Result<Vec<Change>> {
    let certs = root.join("certs");
    let present: Vec<_> = paths.iter().filter(|path| path.exists()).collect();
    if present.is_empty() {
        return Ok(Vec::new());
    }
    let stamp = OffsetDateTime::now_utc()
        .format(format_description!("[year]-[month]-[day]T[hour][minute][second].[subsecond digits:3]"))?;
    let folder = certs.join("old").join(stamp);
    for path in present {
        let contents = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_key = path.extension().is_some_and(|it| it == "key");
        files::write(&folder.join(path.strip_prefix(&certs)?), &contents, if is_key { 0o600 } else { 0o644 })?;
    }
    Ok(vec![format!("kept what was there before in {}", folder.display())])
}

fn remove(paths: &[PathBuf]) -> anyhow::Result<()> {
    for path in paths {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What clients may dislike about a root.
fn dislikes(root: &Certificate) -> anyhow::Result<Vec<String>> {
    let certificate = root.parsed()?;
    Ok(match certificate.subject().iter_common_name().next() {
        Some(_) => Vec::new(),
        None => {
            vec![format!("{} has no common name: iPhones do not list it, so nobody can trust it there", root.named())]
        }
    })
}
