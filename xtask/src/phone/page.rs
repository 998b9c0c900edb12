//! The page, for the system that a visitor has.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use base64::Engine as _;
use minijinja::context;
use sha2::{Digest as _, Sha256};

use super::{Body, Ca, System};
use crate::render::render_template;
use crate::settings::Settings;

pub fn render(settings: &Settings, ca: &Ca, address: Ipv4Addr, system: System) -> anyhow::Result<Body> {
    let server = format!("https://{address}:{}", settings.ports.mattermost);
    let page = render_template(
        "certs/phone/page.html",
        SOURCE,
        context! {
            site_name => &settings.site_name,
            server => &server,
            system => system.key(),
            ca_name => &ca.name,
            fingerprint => ca.fingerprint_lines(),
        },
    )?;
    Ok(Body {
        content_type: "text/html; charset=utf-8",
        content_security_policy: policy(&server)?,
        bytes: page.into_bytes(),
    })
}

const SOURCE: &str = include_str!("../../../certs/phone/page.html.j2");

/// What the page may do: its own style and script, by their hashes, and the one request of the check. The hashes are of the
/// template, not of the page: what came in by a setting is never allowed.
fn policy(server: &str) -> anyhow::Result<String> {
    let hash = |element: &str| -> anyhow::Result<String> {
        let text = SOURCE.split_once(&format!("<{element}>")).and_then(|(_, rest)| {
            let (text, _) = rest.split_once(&format!("</{element}>"))?;
            Some(text)
        });
        let digest = Sha256::digest(text.with_context(|| format!("page.html.j2 has no <{element}>"))?);
        Ok(format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest)))
    };
    Ok(format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; connect-src {server}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("style")?,
        hash("script")?
    ))
}
