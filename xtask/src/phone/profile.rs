//! The configuration profile by which iOS and iPadOS take a CA.

use base64::Engine as _;
use minijinja::context;
use sha2::{Digest as _, Sha256};

use super::Ca;
use crate::hash;
use crate::render::render_template;
use crate::settings::Settings;

/// Installing it twice replaces it, and so does a profile with a new CA: iOS goes by the identifier.
pub fn render(settings: &Settings, ca: &Ca) -> anyhow::Result<String> {
    let domain: Vec<&str> = settings.domain.split('.').rev().collect();
    render_template(
        "certs/phone/profile.mobileconfig",
        include_str!("../../../certs/phone/profile.mobileconfig.j2"),
        context! {
            site_name => &settings.site_name,
            ca_name => &ca.name,
            identifier => format!("{}.{}", domain.join("."), settings.name),
            profile_uuid => uuid("profile", ca),
            payload_uuid => uuid("certificate", ca),
            // Not to be escaped: what reads base64 on the other side need not know of references.
            certificate => base64::engine::general_purpose::STANDARD.encode(&ca.der),
        },
    )
}

/// A UUID of version 8 (RFC 9562, section 5.8): the same for the same certificate, so a second visit makes no second profile.
fn uuid(what: &str, ca: &Ca) -> String {
    let digest = Sha256::new().chain_update(what).chain_update(&ca.der).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hash::hex(&bytes).to_uppercase();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
