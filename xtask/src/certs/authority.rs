//! The CA that issues here: made once, or imported; a root, or an intermediate below somebody else's root.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::chain::{self, Certificate};
use super::constraints::Constraints;
use super::{San, ca_path, read};
use crate::drivers::files;
use crate::error::{Hint as _, hinted};
use crate::host::LanAddress;
use crate::settings::{Settings, Subnet};

const LIFETIME: Duration = Duration::days(3650);
/// Clocks of phones and of a host that was just set up differ.
pub const CLOCK_SKEW: Duration = Duration::hours(1);

/// A CA with its key, and every CA above it.
pub struct Authority {
    /// The issuer of leaves first, the root last. A root that issues is both.
    path: Vec<Certificate>,
    pub issuer: Issuer<'static, KeyPair>,
    constraints: Vec<Constraints>,
    /// When the first of the path runs out.
    pub not_after: OffsetDateTime,
}

impl Authority {
    /// From a path that [`chain::build`] made and the key of its first certificate.
    pub fn new(path: Vec<Certificate>, key: KeyPair, now: OffsetDateTime) -> anyhow::Result<Authority> {
        chain::check_authorities(&path, now)?;
        let first = path.first().context("a path has a certificate")?;
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(first.der.as_slice()), key)
            .with_context(|| format!("cannot use {}", first.named()))?;
        let (mut constraints, mut ends) = (Vec::new(), Vec::new());
        for link in &path {
            let certificate = link.parsed()?;
            constraints.push(Constraints::of(&certificate));
            ends.push(certificate.validity().not_after.to_datetime());
        }
        let not_after = ends.into_iter().min().context("a path has a certificate")?;
        Ok(Authority { path, issuer, constraints, not_after })
    }

    /// The certificate of the issuer.
    pub fn certificate(&self) -> &Certificate {
        &self.path[0]
    }

    /// What clients trust.
    pub fn root(&self) -> &Certificate {
        &self.path[self.path.len() - 1]
    }

    /// What a server has to present after its own certificate: clients know the root alone.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.path[..self.path.len() - 1]
    }

    pub fn presented(&self) -> String {
        self.intermediates().iter().map(Certificate::pem).collect()
    }

    /// Why clients would refuse a leaf with this name; nothing when they would not.
    pub fn refusal(&self, san: &San) -> Option<String> {
        refusal(&self.path, &self.constraints, san)
    }

    /// The CA that constrains the subjects of what is below it.
    pub fn constrains_subjects(&self) -> Option<&Certificate> {
        self.path.iter().zip(&self.constraints).find(|(_, constraints)| constraints.of_subjects).map(|(link, _)| link)
    }
}

/// Which CA of a path does not let this name be signed for.
pub fn refusal(path: &[Certificate], constraints: &[Constraints], san: &San) -> Option<String> {
    path.iter().zip(constraints).find_map(|(link, constraints)| {
        let why = constraints.against(san)?;
        Some(format!("{san} lies outside of what {} may sign for ({}): {why}", link.subject(), link.file))
    })
}

/// Files of an intermediate that issues; the root is then in ca.crt, and its key is not here.
pub fn issuer_path(root: &Path) -> PathBuf {
    root.join("certs/issuer.crt")
}

pub fn load(root: &Path, now: OffsetDateTime) -> anyhow::Result<Option<Authority>> {
    let (root_path, issuer_path) = (ca_path(root), issuer_path(root));
    let (path, (certificate, key)) = match pair(&issuer_path)? {
        Some(found) => (issuer_path, found),
        None => match pair(&root_path)? {
            Some(found) => (root_path.clone(), found),
            None => return Ok(None),
        },
    };
    let Some(trusted) = read::optional(&root_path)? else { return Err(half(&path, &root_path)) };
    let trusted = certificates(&trusted, &root_path)?;
    let key_path = path.with_extension("key");
    let key = KeyPair::from_pem(&key)
        .with_context(|| format!("{} is no private key that can be used", key_path.display()))
        .hint("use a PKCS#8 PEM, or `cargo xtask certs import ca`, which takes other notations too")?;
    let found = certificates(&certificate, &path)?;
    let (first, above) = found.split_first().context("a file that was read has a certificate")?;
    if first.public_key()? != key.public_key_raw() {
        return Err(unusable(anyhow::anyhow!("{} does not belong to the key beside it", path.display())));
    }
    // A CA that was put into ca.crt by hand is what clients trust, also when it is no root.
    let links = if path == root_path {
        vec![first.clone()]
    } else {
        chain::build(first.clone(), &[above, &trusted[..1]].concat(), now).map_err(unusable)?
    };
    if links.last().map(|it| &it.der) != trusted.first().map(|it| &it.der) {
        return Err(unusable(anyhow::anyhow!("{} does not lead to {}", path.display(), root_path.display())));
    }
    Authority::new(links, key, now).map_err(unusable).map(Some)
}

/// A new CA, in certs/.
pub fn make(root: &Path, settings: &Settings, lan: &[LanAddress], now: OffsetDateTime) -> anyhow::Result<Authority> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // iOS lists a root for full trust only when it has a common name.
    params.distinguished_name = common_name(&format!("{} CA {}", settings.site_name, settings.domain));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + LIFETIME;
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
    load(root, now)?.context("the CA that was just written is not there")
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

pub fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    // RFC 5280, appendix A.1: at most 64 characters. Clients look at the SANs; people read this.
    distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    distinguished_name
}

/// 127 random bits: positive and within the 20 octets of RFC 5280, section 4.1.2.2.
pub fn serial_number() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

/// A certificate and the key beside it, or neither.
fn pair(path: &Path) -> anyhow::Result<Option<(String, String)>> {
    let key_path = path.with_extension("key");
    match (read::optional(path)?, read::optional(&key_path)?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(half(path, &key_path)),
        (None, Some(_)) => Err(half(&key_path, path)),
    }
}

fn half(there: &Path, missing: &Path) -> anyhow::Error {
    hinted(
        anyhow::anyhow!("{} is there, but {} is missing", there.display(), missing.display()),
        "bring it back from a backup, or import the CA again with `cargo xtask certs import ca`; with a new CA every phone has to enrol again",
    )
}

fn certificates(pem: &str, path: &Path) -> anyhow::Result<Vec<Certificate>> {
    chain::parse(pem.as_bytes(), &path.display().to_string()).map_err(unusable)
}

fn unusable(error: anyhow::Error) -> anyhow::Error {
    hinted(error, "nothing was replaced; put the right CA there, or move its files in certs/ away")
}
