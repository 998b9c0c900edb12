//! The CA and the leaf certificates: ECDSA P-256, made once, renewed when they run out or no longer cover the host.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use crate::drivers::files;
use crate::error::{Hint as _, hinted};
use crate::host::LanAddress;
use crate::settings::{Settings, Subnet};
use crate::{stack, trust};

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

/// Makes what is missing and reissues what no longer fits. Returns the certificates and what was done, which is nothing
/// when all is well.
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
    let mut changes = Vec::new();
    let trust = trust::read(settings, &stack::checkout()?)?;
    let ca = match load_ca(root, now)? {
        Some(ca) => ca,
        None => {
            changes.push(format!("made the CA {}", ca_path(root).display()));
            make_ca(root, settings, lan, now)?
        }
    };
    let mut issued = Vec::new();
    for leaf in leaves(settings, lan) {
        let (certificate, key) = leaf_paths(root, leaf.server);
        let existing = read_optional(&certificate)?;
        let reason = match &existing {
            None => Some("there was none".to_owned()),
            Some(_) if renew => Some("asked to".to_owned()),
            Some(pem) => reason_to_reissue(pem, read_optional(&key)?.as_deref(), &leaf, &ca, now)?,
        };
        match (existing, reason) {
            (Some(pem), None) => issued.push(pem),
            (existing, Some(reason)) => {
                let mut leaf = leaf;
                // What the old certificate covered beyond the settings (`certs --lan`) stays covered while the host has it.
                if let Some(pem) = existing {
                    leaf.sans.extend(still_ours(&pem)?);
                }
                issued.push(issue(root, &ca, &leaf, now)?);
                changes.push(format!("issued the certificate of {} ({reason}): {}", leaf.server, list(&leaf.sans)));
            }
            (None, None) => bail!("a leaf that is absent always has a reason to be issued"),
        }
    }
    let mut issued = issued.into_iter();
    let mattermost = issued.next().context("Mattermost has a leaf")?;
    let postgres = trust.postgres.or_else(|| issued.next()).context("a PostgreSQL of our own has a leaf")?;
    Ok((Certificates { ca: ca.pem, mattermost, postgres, extra_trust: trust.extra }, changes))
}

/// The certificates as they are, when all of them are there.
pub fn load(root: &Path, settings: &Settings) -> anyhow::Result<Option<Certificates>> {
    let trust = trust::read(settings, &stack::checkout()?)?;
    let leaf = |server| read_optional(&leaf_paths(root, server).0);
    let postgres = if trust.postgres.is_some() { trust.postgres } else { leaf("postgres")? };
    Ok(match (read_optional(&ca_path(root))?, leaf("mattermost")?, postgres) {
        (Some(ca), Some(mattermost), Some(postgres)) => {
            Some(Certificates { ca, mattermost, postgres, extra_trust: trust.extra })
        }
        _ => None,
    })
}

/// The leaf certificates of a stack, Mattermost's first. Every SAN must lie inside the CA's name constraints, so no bare
/// names.
pub fn leaves(settings: &Settings, lan: &[LanAddress]) -> Vec<Leaf> {
    let mut sans = BTreeSet::from([
        San::Dns(settings.mattermost_host()),
        San::Dns("localhost".to_owned()),
        San::Ip(Ipv4Addr::LOCALHOST.into()),
    ]);
    sans.extend(lan.iter().map(|lan| San::Ip(lan.address.into())));
    let mut leaves = vec![Leaf { server: "mattermost", sans }];
    if settings.external_postgres().is_none() {
        let sans = BTreeSet::from([San::Dns(settings.postgres_host())]);
        leaves.push(Leaf { server: "postgres", sans });
    }
    leaves
}

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

/// SHA-256 of the certificate's DER, in the notation that phones and browsers show.
pub fn fingerprint(pem: &str) -> anyhow::Result<String> {
    let digest = Sha256::digest(der(pem)?);
    Ok(digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
}

/// When the certificate begins to be good.
pub fn not_before(pem: &str) -> anyhow::Result<OffsetDateTime> {
    let der = der(pem)?;
    let (_, certificate) = X509Certificate::from_der(&der)?;
    Ok(certificate.validity().not_before.to_datetime())
}

/// When the certificate runs out.
pub fn not_after(pem: &str) -> anyhow::Result<OffsetDateTime> {
    let der = der(pem)?;
    let (_, certificate) = X509Certificate::from_der(&der)?;
    Ok(certificate.validity().not_after.to_datetime())
}

pub fn sans(pem: &str) -> anyhow::Result<BTreeSet<San>> {
    let der = der(pem)?;
    let (_, certificate) = X509Certificate::from_der(&der)?;
    let Some(extension) = certificate.subject_alternative_name()? else { return Ok(BTreeSet::new()) };
    let mut sans = BTreeSet::new();
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => drop(sans.insert(San::Dns((*name).to_owned()))),
            GeneralName::IPAddress(bytes) => drop(sans.insert(San::Ip(address(bytes)?))),
            _ => {}
        }
    }
    Ok(sans)
}

const CA_LIFETIME: Duration = Duration::days(3650);
/// Apple's limit for leaves is 825 days (support.apple.com/103769) and its advice 397, which satisfies everybody.
const LEAF_LIFETIME: Duration = Duration::days(397);
const RENEW_BEFORE: Duration = Duration::days(30);
/// Clocks of phones and of a host that was just set up differ.
const CLOCK_SKEW: Duration = Duration::hours(1);

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    permitted: Permitted,
    not_after: OffsetDateTime,
}

fn load_ca(root: &Path, now: OffsetDateTime) -> anyhow::Result<Option<Ca>> {
    let path = ca_path(root);
    let key_path = path.with_extension("key");
    let (pem, key) = match (read_optional(&path)?, read_optional(&key_path)?) {
        (Some(pem), Some(key)) => (pem, key),
        (None, None) => return Ok(None),
        (certificate, _) => {
            let (there, missing) = if certificate.is_some() { (path, key_path) } else { (key_path, path) };
            return Err(hinted(
                anyhow::anyhow!("{} is there, but {} is missing", there.display(), missing.display()),
                "bring it back from a backup; with a new CA every phone has to enrol again",
            ));
        }
    };
    let key = KeyPair::from_pem(&key)
        .with_context(|| format!("{} is no private key that can be used", key_path.display()))
        .hint("use a PKCS#8 PEM, ECDSA P-256 if you can")?;
    let unusable = |what: &str| {
        hinted(
            anyhow::anyhow!("{}: {what}", path.display()),
            "nothing was replaced; put the right CA there, or move both files away",
        )
    };
    let der = der(&pem).map_err(|_| unusable("is no PEM certificate"))?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| unusable("is no X.509 certificate"))?;
    if !certificate.basic_constraints()?.is_some_and(|extension| extension.value.ca) {
        return Err(unusable("is not a CA: it has no CA:TRUE"));
    }
    if certificate.validity().not_after.to_datetime() <= now {
        return Err(unusable("has run out"));
    }
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(unusable("does not belong to the key beside it"));
    }
    let permitted = permitted(&certificate);
    let not_after = certificate.validity().not_after.to_datetime();
    let issuer = Issuer::from_ca_cert_pem(&pem, key).with_context(|| format!("cannot use {}", path.display()))?;
    Ok(Some(Ca { issuer, permitted, not_after, pem }))
}

fn make_ca(root: &Path, settings: &Settings, lan: &[LanAddress], now: OffsetDateTime) -> anyhow::Result<Ca> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // iOS lists a root for full trust only when it has a common name.
    params.distinguished_name = common_name(&format!("{} CA {}", settings.site_name, settings.domain));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + CA_LIFETIME;
    params.serial_number = Some(serial_number());
    if settings.certificates.name_constraints {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: permitted_subtrees(&settings.domain, lan),
            excluded_subtrees: Vec::new(),
        });
    }
    let certificate = params.self_signed(&key)?;
    let path = ca_path(root);
    // The key first: a certificate without its key is an error, a key without its certificate was never used.
    files::write_unsynced(&path.with_extension("key"), key.serialize_pem().as_bytes(), 0o600)?;
    files::write(&path, certificate.pem().as_bytes(), 0o644)?;
    load_ca(root, now)?.context("the CA that was just written is not there")
}

/// The domain, localhost, private and loopback ranges, and the LANs that this host is on: what the CA may sign for.
fn permitted_subtrees(domain: &str, lan: &[LanAddress]) -> Vec<GeneralSubtree> {
    let mut permitted =
        vec![GeneralSubtree::DnsName(domain.to_owned()), GeneralSubtree::DnsName("localhost".to_owned())];
    let private = [([127, 0, 0, 0], 8), ([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];
    let mut subnets: Vec<Subnet> =
        private.iter().map(|(first, prefix)| Subnet { first: Ipv4Addr::from(*first), prefix: *prefix }).collect();
    for lan in lan {
        if !subnets.iter().any(|subnet| subnet.contains(lan.address)) {
            subnets.push(lan.subnet);
        }
    }
    for subnet in subnets {
        permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(subnet.first.octets(), subnet.prefix)));
    }
    permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)));
    let unique_local = Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0);
    permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(unique_local.octets(), 7)));
    permitted
}

fn issue(root: &Path, ca: &Ca, leaf: &Leaf, now: OffsetDateTime) -> anyhow::Result<String> {
    if let Some(san) = leaf.sans.iter().find(|san| !ca.permitted.covers(san)) {
        return Err(hinted(
            anyhow::anyhow!("{san} lies outside of what {} may sign for", ca_path(root).display()),
            "the CA was made for another domain or network; move certs/ca.crt and certs/ca.key away for a new one, and enrol phones again",
        ));
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    let name = leaf.sans.iter().find_map(|san| match san {
        San::Dns(name) if name != "localhost" => Some(name.clone()),
        _ => None,
    });
    params.distinguished_name = common_name(&name.context("a leaf has a DNS name")?);
    for san in &leaf.sans {
        params.subject_alt_names.push(match san {
            San::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            San::Ip(address) => SanType::IpAddress(*address),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - CLOCK_SKEW;
    params.not_after = ca.not_after.min(now - CLOCK_SKEW + LEAF_LIFETIME);
    params.serial_number = Some(serial_number());
    let pem = params.signed_by(&key, &ca.issuer)?.pem();
    let (certificate_path, key_path) = leaf_paths(root, leaf.server);
    // The key first: a crash in between leaves a certificate that does not match it, which the next run reissues.
    files::write_unsynced(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
    files::write(&certificate_path, pem.as_bytes(), 0o644)?;
    Ok(pem)
}

fn reason_to_reissue(
    pem: &str,
    key: Option<&str>,
    leaf: &Leaf,
    ca: &Ca,
    now: OffsetDateTime,
) -> anyhow::Result<Option<String>> {
    let Some(key) = key else { return Ok(Some("its key was missing".to_owned())) };
    let Ok(der) = der(pem) else { return Ok(Some("it was unreadable".to_owned())) };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        return Ok(Some("it was unreadable".to_owned()));
    };
    let public_key = certificate.public_key().subject_public_key.data.as_ref();
    if !KeyPair::from_pem(key).is_ok_and(|key| key.public_key_raw() == public_key) {
        return Ok(Some("its key did not match".to_owned()));
    }
    let (_, issuer) = x509_parser::pem::parse_x509_pem(ca.pem.as_bytes())?;
    let issuer = issuer.parse_x509()?;
    if certificate.verify_signature(Some(issuer.public_key())).is_err() {
        return Ok(Some("another CA had signed it".to_owned()));
    }
    let not_after = certificate.validity().not_after.to_datetime();
    let left = not_after - now;
    // One that ends with its CA gains nothing by being issued again.
    if left < RENEW_BEFORE && not_after < ca.not_after {
        return Ok(Some(format!("{} days were left", left.whole_days().max(0))));
    }
    let covered = sans(pem)?;
    let missing: BTreeSet<San> = leaf.sans.difference(&covered).cloned().collect();
    if !missing.is_empty() {
        return Ok(Some(format!("it did not cover {}", list(&missing))));
    }
    Ok(None)
}

/// Addresses in a certificate that this host still has.
fn still_ours(pem: &str) -> anyhow::Result<Vec<San>> {
    let current = crate::host::every_lan_address()?;
    let ours = |san: &San| current.iter().any(|lan| *san == San::Ip(lan.address.into()));
    Ok(sans(pem).unwrap_or_default().into_iter().filter(ours).collect())
}

/// What the CA may sign for. A kind of name without any entry is unconstrained (RFC 5280, section 4.2.1.10).
#[derive(Default)]
struct Permitted {
    domains: Option<Vec<String>>,
    networks: Option<Vec<Subnet>>,
}

impl Permitted {
    fn covers(&self, san: &San) -> bool {
        match san {
            San::Dns(name) => self.domains.as_ref().is_none_or(|domains| {
                let below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
                domains.iter().any(|domain| domain.is_empty() || name == domain || below(domain))
            }),
            San::Ip(IpAddr::V4(address)) => {
                self.networks.as_ref().is_none_or(|networks| networks.iter().any(|subnet| subnet.contains(*address)))
            }
            San::Ip(IpAddr::V6(_)) => true,
        }
    }
}

fn permitted(certificate: &X509Certificate<'_>) -> Permitted {
    let mut permitted = Permitted::default();
    for extension in certificate.extensions() {
        let ParsedExtension::NameConstraints(constraints) = extension.parsed_extension() else { continue };
        for subtree in constraints.permitted_subtrees.iter().flatten() {
            match subtree.base {
                GeneralName::DNSName(domain) => permitted.domains.get_or_insert_default().push(domain.to_owned()),
                GeneralName::IPAddress(bytes) => {
                    let networks = permitted.networks.get_or_insert_default();
                    if let Ok([a, b, c, d, mask @ ..]) = <[u8; 8]>::try_from(bytes) {
                        let prefix = u32::from_be_bytes(mask).count_ones() as u8;
                        networks.push(Subnet { first: Ipv4Addr::new(a, b, c, d), prefix });
                    }
                }
                _ => {}
            }
        }
    }
    permitted
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    // RFC 5280, appendix A.1: at most 64 characters. Clients look at the SANs; people read this.
    distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    distinguished_name
}

/// 127 random bits: positive and within the 20 octets of RFC 5280, section 4.1.2.2.
fn serial_number() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

fn read_optional(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The first certificate of a PEM.
pub fn der(pem: &str) -> anyhow::Result<Vec<u8>> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).context("no PEM")?;
    Ok(pem.contents)
}

fn address(bytes: &[u8]) -> anyhow::Result<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(octets));
    }
    let octets = <[u8; 16]>::try_from(bytes).context("an address SAN has 4 or 16 octets")?;
    Ok(IpAddr::from(octets))
}

fn list(sans: &BTreeSet<San>) -> String {
    sans.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
