//! What certificates say: names, dates, fingerprints. Of a file with several, the first is meant: a server's own.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::San;

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
    sans_of(&certificate)
}

pub fn sans_of(certificate: &X509Certificate<'_>) -> anyhow::Result<BTreeSet<San>> {
    let Some(extension) = certificate.subject_alternative_name()? else { return Ok(BTreeSet::new()) };
    let mut sans = BTreeSet::new();
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => drop(sans.insert(San::Dns(name.to_ascii_lowercase()))),
            GeneralName::IPAddress(bytes) => drop(sans.insert(San::Ip(address(bytes)?))),
            _ => {}
        }
    }
    Ok(sans)
}

/// The names that a certificate with these SANs does not cover. A wildcard stands for one whole label, the first.
pub fn uncovered(wanted: &BTreeSet<San>, covered: &BTreeSet<San>) -> BTreeSet<San> {
    let by_wildcard = |san: &San| match san {
        San::Dns(name) => {
            name.split_once('.').is_some_and(|(_, rest)| covered.contains(&San::Dns(format!("*.{rest}"))))
        }
        San::Ip(_) => false,
    };
    wanted.iter().filter(|san| !covered.contains(san) && !by_wildcard(san)).cloned().collect()
}

pub fn list<'a>(sans: impl IntoIterator<Item = &'a San>) -> String {
    sans.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The first certificate of a PEM.
pub fn der(pem: &str) -> anyhow::Result<Vec<u8>> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).context("no PEM")?;
    Ok(pem.contents)
}

/// The text of a file, or nothing when there is none.
pub fn optional(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn address(bytes: &[u8]) -> anyhow::Result<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(octets));
    }
    let octets = <[u8; 16]>::try_from(bytes).context("an address SAN has 4 or 16 octets")?;
    Ok(IpAddr::from(octets))
}
