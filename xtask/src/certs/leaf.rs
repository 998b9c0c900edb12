//! Leaf certificates that we issue: when, and with what in them.

use std::collections::BTreeSet;

use anyhow::Context as _;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use time::{Duration, OffsetDateTime};

use super::authority::{Authority, CLOCK_SKEW, common_name, serial_number};
use super::{Leaf, San, chain, read};
use crate::error::hinted;

/// Apple's limit for leaves is 825 days (support.apple.com/103769) and its advice 397, which satisfies everybody.
const LIFETIME: Duration = Duration::days(397);
pub const RENEW_BEFORE: Duration = Duration::days(30);

/// A certificate and its key, in PEM. The certificate is followed by the CAs between it and the root.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

pub fn issue(authority: &Authority, leaf: &Leaf, now: OffsetDateTime) -> anyhow::Result<Issued> {
    if let Some(refusal) = leaf.sans.iter().find_map(|san| authority.refusal(san)) {
        return Err(hinted(
            anyhow::anyhow!(refusal),
            "that CA was made for another domain or network; import one that may (`cargo xtask certs import ca`), or move the CA's files in certs/ away for a new one, and enrol phones again",
        ));
    }
    let key = KeyPair::generate()?;
    let mut params = params(leaf)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - CLOCK_SKEW;
    params.not_after = authority.not_after.min(now - CLOCK_SKEW + LIFETIME);
    params.serial_number = Some(serial_number());
    let mut certificate = params.signed_by(&key, &authority.issuer)?.pem();
    certificate.push_str(&authority.presented());
    Ok(Issued { certificate, key: key.serialize_pem() })
}

/// What a certificate of ours and a request to somebody else have in common.
pub fn params(leaf: &Leaf) -> anyhow::Result<CertificateParams> {
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
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

pub fn reason_to_reissue(
    pem: &str,
    key: Option<&str>,
    leaf: &Leaf,
    authority: &Authority,
    now: OffsetDateTime,
) -> anyhow::Result<Option<String>> {
    let Some(key) = key else { return Ok(Some("its key was missing".to_owned())) };
    let Ok(presented) = chain::parse(pem.as_bytes(), leaf.server) else {
        return Ok(Some("it was unreadable".to_owned()));
    };
    let [first, above @ ..] = presented.as_slice() else { return Ok(Some("it was unreadable".to_owned())) };
    let certificate = first.parsed()?;
    let public_key = certificate.public_key().subject_public_key.data.as_ref();
    if !KeyPair::from_pem(key).is_ok_and(|key| key.public_key_raw() == public_key) {
        return Ok(Some("its key did not match".to_owned()));
    }
    let issuer = authority.certificate().parsed()?;
    let is_issuer = certificate.issuer().as_raw() == issuer.subject().as_raw();
    if !is_issuer || certificate.verify_signature(Some(issuer.public_key())).is_err() {
        return Ok(Some("another CA had signed it".to_owned()));
    }
    if above.iter().map(|it| &it.der).ne(authority.intermediates().iter().map(|it| &it.der)) {
        return Ok(Some("its chain to the root had changed".to_owned()));
    }
    let not_after = certificate.validity().not_after.to_datetime();
    let left = not_after - now;
    // One that ends with its CA gains nothing by being issued again.
    if left < RENEW_BEFORE && not_after < authority.not_after {
        return Ok(Some(format!("{} days were left", left.whole_days().max(0))));
    }
    let missing = read::uncovered(&leaf.sans, &read::sans_of(&certificate)?);
    if !missing.is_empty() {
        return Ok(Some(format!("it did not cover {}", read::list(&missing))));
    }
    Ok(None)
}

/// Addresses in a certificate that this host still has.
pub fn still_ours(pem: &str) -> anyhow::Result<BTreeSet<San>> {
    let current = crate::host::every_lan_address()?;
    let ours = |san: &San| current.iter().any(|lan| *san == San::Ip(lan.address.into()));
    Ok(read::sans(pem).unwrap_or_default().into_iter().filter(ours).collect())
}
