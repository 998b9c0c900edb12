//! Chains: from a certificate up to a root, and whether clients take every step of it.

use std::path::Path;

use anyhow::Context as _;
use time::OffsetDateTime;
use x509_parser::error::X509Error;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::error::{Hint as _, hinted};
use crate::trust;

/// A certificate, and the file that it came from, for messages.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub der: Vec<u8>,
    pub file: String,
}

impl Certificate {
    pub fn parsed(&self) -> anyhow::Result<X509Certificate<'_>> {
        let (_, certificate) = X509Certificate::from_der(&self.der)
            .map_err(|_| anyhow::anyhow!("{} is no X.509 certificate", self.file))?;
        Ok(certificate)
    }

    pub fn pem(&self) -> String {
        trust::encoded(&self.der)
    }

    pub fn public_key(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.parsed()?.public_key().subject_public_key.data.to_vec())
    }

    /// The certificate in messages: its file and its subject.
    pub fn named(&self) -> String {
        format!("{}: {}", self.file, self.subject())
    }

    pub fn subject(&self) -> String {
        let subject = self.parsed().map(|it| it.subject().to_string()).unwrap_or_default();
        if subject.is_empty() { "the certificate without a subject".to_owned() } else { subject }
    }
}

/// Every certificate of a PEM file, or the one of a DER file.
pub fn read(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {file}")).hint("name a file that is there")?;
    parse(&bytes, &file)
}

pub fn parse(bytes: &[u8], file: &str) -> anyhow::Result<Vec<Certificate>> {
    let certificate = |der: Vec<u8>| Certificate { der, file: file.to_owned() };
    let is_whole = |der: &[u8]| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    if is_whole(bytes) {
        return Ok(vec![certificate(bytes.to_vec())]);
    }
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for pem in Pem::iter_from_buffer(bytes) {
        match pem {
            Ok(pem) if pem.label != "CERTIFICATE" => others.push(pem.label),
            Ok(pem) if is_whole(&pem.contents) => found.push(certificate(pem.contents)),
            _ => {
                let error = anyhow::anyhow!("{file} has a certificate that is broken");
                return Err(hinted(error, "copy the file again, as a whole"));
            }
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let (what, fix) = match others.first().map(String::as_str) {
        Some("PKCS7") => (
            "is a PKCS#7 bundle".to_owned(),
            format!("`openssl pkcs7 -print_certs -in {file} -out {file}.pem` makes one that can be read"),
        ),
        Some("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => {
            ("is a request, not a certificate".to_owned(), "name the file that your CA made of it".to_owned())
        }
        Some(label) => (format!("has no certificate, but {label}"), "name the file of the certificate".to_owned()),
        None => (
            "has no certificate: it is neither PEM nor DER".to_owned(),
            format!(
                "of a PKCS#7 bundle, `openssl pkcs7 -inform der -print_certs -in {file} -out {file}.pem` makes PEM"
            ),
        ),
    };
    Err(hinted(anyhow::anyhow!("{file} {what}"), fix))
}

/// From `first` up to a root, in order, whatever the order of the pool. Every signature on the way is verified.
pub fn build(first: Certificate, pool: &[Certificate], now: OffsetDateTime) -> anyhow::Result<Vec<Certificate>> {
    /// Longer than any chain that clients follow.
    const LIMIT: usize = 10;
    let mut path = vec![first];
    while let Some(last) = path.last().filter(|_| path.len() < LIMIT) {
        let below = last.parsed()?;
        if below.subject().as_raw() == below.issuer().as_raw() {
            // Nobody verifies the signature of a root that is trusted already; one that is wrong is a damaged file.
            if matches!(below.verify_signature(None), Err(X509Error::SignatureVerificationError)) {
                let error = anyhow::anyhow!("{}: its own signature does not verify", last.named());
                return Err(hinted(error, "it is no root, or its file is damaged: copy it again"));
            }
            return Ok(path);
        }
        let (mut unfit, mut issuer) = (None, None);
        for candidate in pool {
            let above = candidate.parsed()?;
            if above.subject().as_raw() != below.issuer().as_raw() {
                continue;
            }
            match below.verify_signature(Some(above.public_key())) {
                // Of two for the same key, one may have run out.
                Ok(()) if issuer.is_none() || above.validity().is_valid_at(at(now)) => issuer = Some(candidate.clone()),
                Ok(()) => {}
                Err(error) => unfit = Some((candidate, error)),
            }
        }
        let Some(issuer) = issuer else {
            return Err(match unfit {
                Some((_, X509Error::SignatureUnsupportedAlgorithm)) => hinted(
                    anyhow::anyhow!("{} is signed in a way that clients do not know", last.named()),
                    "use RSA with SHA-256, or ECDSA P-256 or P-384",
                ),
                Some((candidate, _)) => hinted(
                    anyhow::anyhow!(
                        "{}: its signature is not of {} in {}",
                        last.named(),
                        candidate.subject(),
                        candidate.file
                    ),
                    "there is another CA of this name: name the file of the one that signed it",
                ),
                None => hinted(
                    anyhow::anyhow!("{}: the certificate of its issuer is missing: {}", last.named(), below.issuer()),
                    "give that certificate too, and every one above it up to the root: in the same file, or for a CA with --chain",
                ),
            });
        };
        path.push(issuer);
    }
    Err(hinted(
        anyhow::anyhow!("{}: the chain does not end", path[0].named()),
        "leave out the certificates that sign each other",
    ))
}

/// [`build`] from the first of what a server presents, up to the first of `roots` and no other.
pub fn up_to(
    presented: Vec<Certificate>,
    mut roots: Vec<Certificate>,
    now: OffsetDateTime,
) -> anyhow::Result<Vec<Certificate>> {
    roots.truncate(1);
    let mut presented = presented.into_iter();
    let first = presented.next().context("a server presents a certificate")?;
    let pool: Vec<Certificate> = presented.chain(roots.iter().cloned()).collect();
    let links = build(first, &pool, now)?;
    if links.last().map(|it| &it.der) != roots.first().map(|it| &it.der) {
        let root = roots.first().map(|root| root.file.as_str()).unwrap_or_default();
        anyhow::bail!("{} does not lead to {root}", links[0].file);
    }
    Ok(links)
}

/// Whether clients take these CAs, the issuer of leaves first and the root last.
pub fn check_authorities(path: &[Certificate], now: OffsetDateTime) -> anyhow::Result<()> {
    for (below, link) in path.iter().enumerate() {
        let certificate = link.parsed()?;
        let refuse = |what: String, fix: &str| Err(hinted(anyhow::anyhow!("{} {what}", link.named()), fix));
        let constraints = certificate.basic_constraints().with_context(|| link.named())?;
        let Some(constraints) = constraints.map(|it| it.value).filter(|it| it.ca) else {
            return refuse("is not a CA: it has no CA:TRUE".to_owned(), "name the certificate of a CA");
        };
        if certificate.key_usage().with_context(|| link.named())?.is_some_and(|it| !it.value.key_cert_sign()) {
            let fix = "it needs keyCertSign in its key usage: ask for a CA certificate";
            return refuse("may not sign certificates: its key usage has no keyCertSign".to_owned(), fix);
        }
        let usage = certificate.extended_key_usage().with_context(|| link.named())?;
        if usage.is_some_and(|it| !it.value.server_auth && !it.value.any) {
            let fix = "ask for a CA certificate without an extended key usage, or with serverAuth in it";
            return refuse("may not sign for servers: its extended key usage has no serverAuth".to_owned(), fix);
        }
        if constraints.path_len_constraint.is_some_and(|limit| (limit as usize) < below) {
            let limit = constraints.path_len_constraint.unwrap_or_default();
            let fix = "ask for a CA whose issuers allow it: pathlen counts the CAs below";
            return refuse(format!("allows {limit} CAs below it (pathlen), and here it has {below}"), fix);
        }
        check_common(link, &certificate, below + 1 == path.len(), now)?;
    }
    Ok(())
}

/// What holds for CAs and leaves: dates, and keys and signatures that clients take.
pub fn check_common(
    link: &Certificate,
    certificate: &X509Certificate<'_>,
    is_root: bool,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let refuse = |what: String, fix: &str| Err(hinted(anyhow::anyhow!("{} {what}", link.named()), fix));
    let validity = certificate.validity();
    let (begins, ends) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    if ends <= now {
        return refuse(format!("has run out, on {}", ends.date()), "name the one that followed it");
    }
    if begins > now {
        let fix = "look at this host's clock, or name the one that is in use today";
        return refuse(format!("is not valid before {}", begins.date()), fix);
    }
    // Nobody verifies the signature of a root.
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    if !is_root && WEAK_SIGNATURES.contains(&algorithm.as_str()) {
        return refuse("is signed with SHA-1 or MD5, which clients refuse".to_owned(), "ask for one with SHA-256");
    }
    if let Some(what) = unusable_key(certificate) {
        return refuse(format!("has {what}"), "use RSA of 2048 bits or more, ECDSA P-256 or P-384");
    }
    Ok(())
}

/// MD5, SHA-1 by two names, and ECDSA with SHA-1.
const WEAK_SIGNATURES: &[&str] =
    &["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.3.14.3.2.29", "1.2.840.10045.4.1"];
const ED25519: &str = "1.3.101.112";
const CURVES: &[&str] = &["1.2.840.10045.3.1.7", "1.3.132.0.34"];

fn unusable_key(certificate: &X509Certificate<'_>) -> Option<String> {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < 2048 => Some(format!("an RSA key of {} bits", rsa.key_size())),
        Ok(PublicKey::RSA(_)) => None,
        Ok(PublicKey::EC(_)) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok()).map(|it| it.to_id_string());
            let is_known = curve.is_some_and(|curve| CURVES.contains(&curve.as_str()));
            (!is_known).then(|| "an ECDSA key on another curve than P-256 and P-384".to_owned())
        }
        _ if key.algorithm.algorithm.to_id_string() == ED25519 => {
            Some("an Ed25519 key, which iPhones do not take".to_owned())
        }
        _ => Some("a key of a kind that clients do not take".to_owned()),
    }
}

fn at(now: OffsetDateTime) -> x509_parser::time::ASN1Time {
    now.into()
}
