//! TLS on both sides: the server's own certificate, and PostgreSQL's, verified by chain and name.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub type ServerTls = TlsAcceptor;

pub fn server(cert_file: &str, key_file: &str, min_version: &str) -> Result<ServerTls, String> {
    let certs = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|it| format!("TLSKeyFile {key_file:?}: {it}"))?;
    let versions: &[&rustls::SupportedProtocolVersion] = match min_version {
        "1.3" => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|it| it.to_string())?
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .map_err(|it| format!("TLSCertFile {cert_file:?} and TLSKeyFile {key_file:?}: {it}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certs: Result<Vec<_>, _> = match CertificateDer::pem_file_iter(file) {
        Ok(it) => it.collect(),
        Err(error) => Err(error),
    };
    let certs = certs.map_err(|it| format!("{file:?}: {it}"))?;
    if certs.is_empty() { Err(format!("{file:?} holds no certificate")) } else { Ok(certs) }
}

/// Connects to PostgreSQL as `sslmode=verify-full` does: nothing but this CA is trusted, and the name must match.
#[derive(Clone)]
pub struct VerifyFull(TlsConnector);

impl VerifyFull {
    pub fn new(root_file: &str) -> Result<VerifyFull, String> {
        let mut roots = RootCertStore::empty();
        for cert in certificates(root_file)? {
            roots.add(cert).map_err(|it| format!("{root_file:?}: {it}"))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|it| it.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(VerifyFull(TlsConnector::from(Arc::new(config))))
    }
}

impl MakeTlsConnect<Socket> for VerifyFull {
    type Stream = PgStream;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Handshake { connector: self.0.clone(), name })
    }
}

pub struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = PgStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<PgStream>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, stream).await.map(PgStream) })
    }
}

/// The stream in a type of ours, because the driver's trait has to be implemented for it.
pub struct PgStream(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for PgStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for PgStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for PgStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
