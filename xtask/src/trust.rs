//! CAs of others that stack.toml names as PEM files: those of the connected tools, and that of an existing PostgreSQL.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use x509_parser::pem::Pem;

use crate::settings::{Invalid, Settings};

/// What Mattermost trusts besides our CA, in PEM.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Of the connected tools, in one text; empty without any.
    pub extra: String,
    /// Of an existing PostgreSQL.
    pub postgres: Option<String>,
}

/// Reads the files that the settings name; relative ones lie in the checkout.
///
/// # Errors
/// When one cannot be read, holds no certificate, or one that is no CA or not good today.
pub fn read(settings: &Settings, checkout: &Path) -> Result<Trust, Invalid> {
    let mut extra = String::new();
    for file in &settings.certificates.extra_trust {
        extra.push_str(&authorities("certificates.extra_trust", file, checkout)?);
    }
    let postgres = match settings.external_postgres() {
        Some(_) => Some(authorities("postgres.ca", &settings.postgres.ca, checkout)?),
        None => None,
    };
    Ok(Trust { extra, postgres })
}

/// The certificates of a file and nothing else that is in it.
fn authorities(key: &str, file: &Path, checkout: &Path) -> Result<String, Invalid> {
    let path = checkout.join(file);
    let fail =
        |what: String, fix: &str| Err(Invalid::new(format!("stack.toml: {key}: {}: {what}", path.display()), fix));
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            return fail(error.to_string(), "name a PEM file; one without a leading / lies in the checkout");
        }
    };
    let mut text = String::new();
    for pem in Pem::iter_from_buffer(&bytes) {
        let Ok(pem) = pem else { return fail("is broken PEM".to_owned(), "copy the file again, as a whole") };
        if pem.label.contains("PRIVATE KEY") {
            return fail("has a private key in it".to_owned(), "name a file with the CA's certificate alone");
        }
        if pem.label != "CERTIFICATE" {
            continue;
        }
        let Ok(certificate) = pem.parse_x509() else {
            return fail("has a certificate that is none".to_owned(), "copy the file again, as a whole");
        };
        let subject = certificate.subject().to_string();
        let is_ca = certificate.basic_constraints().is_ok_and(|it| it.is_some_and(|it| it.value.ca));
        if !is_ca {
            let fix = "name the file of the CA that signed it: a server's own certificate is replaced every year";
            return fail(format!("{subject} is not a CA"), fix);
        }
        let (now, validity) = (OffsetDateTime::now_utc(), certificate.validity());
        if validity.not_after.to_datetime() <= now {
            return fail(format!("{subject} has run out: {}", validity.not_after), "ask for the CA that followed it");
        }
        if validity.not_before.to_datetime() > now {
            let fix = "look at this host's clock, or name the CA that is in use today";
            return fail(format!("{subject} begins later: {}", validity.not_before), fix);
        }
        text.push_str(&encoded(&pem.contents));
    }
    if text.is_empty() {
        let fix = "name a PEM file; `openssl x509 -inform der -in FILE -out FILE.pem` makes one of a DER file";
        return fail("holds no certificate".to_owned(), fix);
    }
    Ok(text)
}

/// A certificate in PEM: lines of 64 characters (RFC 7468, section 2).
pub fn encoded(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
