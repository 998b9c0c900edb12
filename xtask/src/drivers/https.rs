//! HTTPS to the stack's own server: our CA is the only one trusted, and a name resolves to the address that is given,
//! because this machine need not know the name.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use ureq::http;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// A server, the name or address that it is asked by, and the CA that must have signed its certificate.
#[derive(Debug)]
pub struct Site {
    /// As in the URL: it is checked against the certificate.
    host: String,
    address: SocketAddr,
    agent: ureq::Agent,
    roots: RootCertStore,
}

/// Status, headers and body of an answer.
pub type Answer = http::Response<String>;

const LIMIT: Duration = Duration::from_secs(10);

pub fn site(ca_pem: &str, host: &str, address: SocketAddr) -> anyhow::Result<Site> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).context("the CA is no PEM")?)?;
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(ca_pem.as_bytes())?]))
        .unversioned_rustls_crypto_provider(provider())
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        .proxy(None)
        .build();
    let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Fixed(address));
    Ok(Site { host: host.to_owned(), address, agent, roots })
}

pub fn get(site: &Site, path: &str, token: Option<&str>) -> anyhow::Result<Answer> {
    let mut request = site.agent.get(url(site, path));
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    read(site, path, request.call())
}

pub fn post(site: &Site, path: &str, body: &Value) -> anyhow::Result<Answer> {
    let request = site.agent.post(url(site, path)).content_type("application/json");
    read(site, path, request.send(body.to_string()))
}

pub fn put(site: &Site, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<Answer> {
    let mut request = site.agent.put(url(site, path)).content_type("application/json");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    read(site, path, request.send(body.to_string()))
}

pub fn json(answer: &Answer) -> anyhow::Result<Value> {
    serde_json::from_str(answer.body()).context("the answer is no JSON")
}

/// The status of a WebSocket handshake from an origin: 101, or the refusal's. Only the status line is read, which no
/// library for whole requests does.
pub fn websocket_status(site: &Site, origin: &str) -> anyhow::Result<u16> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(site.roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(site.host.clone())?;
    let socket = TcpStream::connect_timeout(&site.address, LIMIT)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.set_write_timeout(Some(LIMIT))?;
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, socket);
    let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
    let request = format!(
        "GET /api/v4/websocket HTTP/1.1\r\nHost: {}:{}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
        site.host,
        site.address.port(),
    );
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.with_context(|| format!("the WebSocket handshake was answered by {line:?}"))
}

/// Every name is at this address.
#[derive(Debug)]
struct Fixed(SocketAddr);

impl Resolver for Fixed {
    fn resolve(
        &self,
        _uri: &http::Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

fn url(site: &Site, path: &str) -> String {
    format!("https://{}:{}{path}", site.host, site.address.port())
}

fn read(site: &Site, path: &str, answer: Result<http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Answer> {
    let (parts, mut body) = answer.with_context(|| url(site, path))?.into_parts();
    Ok(http::Response::from_parts(parts, body.read_to_string()?))
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
