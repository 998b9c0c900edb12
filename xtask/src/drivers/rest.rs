//! HTTP to a connected tool: its own CAs, the system's name resolution, a time limit, no redirects, and errors that name the
//! call but neither a token nor a query.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use anyhow::Context as _;
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use ureq::http;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::https::{self, Answer};
use crate::error::hinted;
use crate::secrets::Secrets;

/// A tool's server and the credentials that every call carries.
pub struct Tool {
    /// As people call it.
    pub name: &'static str,
    /// The key in stack.toml that has its address.
    setting: &'static str,
    base: String,
    /// Name and value of the header with the credentials, or nothing.
    header: Option<(&'static str, String)>,
    agent: ureq::Agent,
    /// What a server's words must not repeat on our side.
    secrets: Secrets,
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).field("base", &self.base).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    None,
    Json(&'a Value),
    Form(&'a [(&'a str, &'a str)]),
    Yaml(&'a str),
}

pub const LIMIT: Duration = Duration::from_secs(10);

/// A client of the server at `base`. Only the given certificates are trusted; plain HTTP needs none.
pub fn tool(
    name: &'static str,
    setting: &'static str,
    base: &str,
    roots: &[CertificateDer<'_>],
    header: Option<(&'static str, String)>,
    secrets: &Secrets,
) -> Tool {
    let roots: Vec<Certificate<'static>> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(https::provider())
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        // A redirect would carry a token or a secret to where nobody meant it to go; it is an answer like any other.
        .max_redirects(0)
        .proxy(None)
        .build();
    Tool { name, setting, base: base.to_owned(), header, agent: config.into(), secrets: secrets.clone() }
}

/// One request. What follows a `?` in `path` is in no error.
///
/// # Errors
/// When there is no answer within [`LIMIT`], with the likely cause as its hint. Every status is an answer.
pub fn call(tool: &Tool, method: &str, path: &str, body: Body<'_>) -> anyhow::Result<Answer> {
    let mut request = http::Request::builder().method(method).uri(format!("{}{path}", tool.base));
    if let Some((name, value)) = &tool.header {
        request = request.header(*name, value);
    }
    let answer = match body {
        Body::None if method == "GET" || method == "DELETE" => tool.agent.run(request.body(())?),
        Body::None => tool.agent.run(request.body(String::new())?),
        Body::Json(value) => {
            tool.agent.run(request.header("Content-Type", "application/json").body(value.to_string())?)
        }
        Body::Form(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
            let request = request.header("Content-Type", "application/x-www-form-urlencoded");
            tool.agent.run(request.body(fields.join("&"))?)
        }
        Body::Yaml(text) => tool.agent.run(request.header("Content-Type", "application/yaml").body(text.to_owned())?),
    };
    let read = answer.and_then(|answer| {
        let (parts, mut body) = answer.into_parts();
        Ok(http::Response::from_parts(parts, body.read_to_string()?))
    });
    read.map_err(|error| no_answer(tool, &named(tool, method, path), &error))
}

/// An answer that was not the wanted one, as an error: the call, the status, and the server's own words.
pub fn refusal(tool: &Tool, method: &str, path: &str, answer: &Answer) -> anyhow::Error {
    let status = answer.status().as_u16();
    let call = named(tool, method, path);
    if (300..400).contains(&status) {
        let to = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or("elsewhere");
        // A server may repeat the query in it, and a query may hold a token.
        let to = to.split('?').next().unwrap_or_default();
        return hinted(
            anyhow::anyhow!("{call} was redirected ({status}) to {to}"),
            format!("put the address that {} really has into {} of stack.toml", tool.name, tool.setting),
        );
    }
    match message(answer.body()) {
        // A server may quote what it refuses, and that may be the URL of a hook.
        Some(message) => anyhow::anyhow!("{call} was answered by {status}: {}", tool.secrets.redact(&message)),
        None => anyhow::anyhow!("{call} was answered by {status}"),
    }
}

pub fn json(tool: &Tool, method: &str, path: &str, answer: &Answer) -> anyhow::Result<Value> {
    serde_json::from_str(answer.body()).map_err(|_| {
        hinted(
            anyhow::anyhow!("{} was answered by {} and no JSON", named(tool, method, path), answer.status().as_u16()),
            format!("is {} of stack.toml the address of {}, or of a proxy before it?", tool.setting, tool.name),
        )
    })
}

/// The words of an error body: GitLab's `message` or `error`, SonarQube's `errors[].msg`, Jenkins's `message`.
pub fn message(body: &str) -> Option<String> {
    let value: Value = serde_json::from_str(body).ok()?;
    if let Some(errors) = value["errors"].as_array() {
        let messages: Vec<&str> = errors.iter().filter_map(|error| error["msg"].as_str()).collect();
        return Some(messages.join("; "));
    }
    [&value["message"], &value["error_description"], &value["error"]].into_iter().find(|value| !value.is_null()).map(
        |value| match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        },
    )
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, section 2.3: also what is a separator.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Every certificate of a PEM file.
pub fn certificates(pem: &[u8], shown: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.with_context(|| format!("{shown} is no PEM file"))?;
    anyhow::ensure!(!found.is_empty(), "{shown} has no certificate");
    Ok(found)
}

/// The call as errors name it, without its query.
fn named(tool: &Tool, method: &str, path: &str) -> String {
    format!("{}: {method} {}{}", tool.name, tool.base, path.split('?').next().unwrap_or(path))
}

fn no_answer(tool: &Tool, call: &str, error: &ureq::Error) -> anyhow::Error {
    let (what, hint) = match (tls_error(error), error) {
        (Some(rustls::Error::InvalidCertificate(reason)), _) => certificate(tool, reason),
        (Some(error), _) => (
            format!("no TLS connection: {error}"),
            format!("does {} speak HTTPS at the port in {} of stack.toml?", tool.name, tool.setting),
        ),
        (None, ureq::Error::Timeout(_)) => (
            format!("no answer within {} s", LIMIT.as_secs()),
            format!("see whether {} is overloaded or a firewall drops packets, then run this again", tool.name),
        ),
        // The system's resolver has no kind of error of its own for this.
        (None, error)
            if matches!(error, ureq::Error::HostNotFound) || error.to_string().contains("failed to lookup") =>
        {
            (
                "its name is not known".to_owned(),
                format!("correct {} of stack.toml, or give the name an address in DNS or /etc/hosts", tool.setting),
            )
        }
        (None, error) => (
            // ureq's own words may repeat the address with its query.
            match error {
                ureq::Error::Io(error) => format!("it is away: {error}"),
                ureq::Error::ConnectionFailed => "it is away".to_owned(),
                _ => "the connection broke, or the answer is no HTTP".to_owned(),
            },
            format!("start {}, or correct {} of stack.toml, then run this again", tool.name, tool.setting),
        ),
    };
    hinted(anyhow::anyhow!("{call}: {what}"), hint)
}

fn certificate(tool: &Tool, reason: &CertificateError) -> (String, String) {
    let setting = tool.setting;
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("its certificate has expired".to_owned(), format!("renew the certificate of {}", tool.name))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "its certificate is for another name".to_owned(),
            format!("use a name of its certificate in {setting} of stack.toml, or issue one that has this name"),
        ),
        _ => (
            format!("its certificate is not trusted ({reason})"),
            "add its CA to certificates.extra_trust of stack.toml: the path of a PEM file".to_owned(),
        ),
    }
}

/// rustls's error, which comes wrapped in an I/O error when the handshake fails.
fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => in_io(error),
        error => error.source().and_then(|source| source.downcast_ref::<io::Error>()).and_then(in_io),
    }
}

fn in_io(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<rustls::Error>().or_else(|| inner.downcast_ref::<io::Error>().and_then(in_io))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_encoded() {
        assert_eq!(encode("group/sub group&x=ü"), "group%2Fsub%20group%26x%3D%C3%BC");
    }

    #[test]
    fn every_tools_words_are_found() {
        assert_eq!(message(r#"{"errors":[{"msg":"a"},{"msg":"b"}]}"#).as_deref(), Some("a; b"));
        assert_eq!(message(r#"{"message":"401 Unauthorized"}"#).as_deref(), Some("401 Unauthorized"));
        assert_eq!(message(r#"{"message":{"webhook":["bad"]}}"#).as_deref(), Some(r#"{"webhook":["bad"]}"#));
        assert_eq!(message("<html>"), None);
    }
}
