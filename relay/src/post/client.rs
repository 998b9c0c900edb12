//! One HTTPS connection to Mattermost, kept between posts and made anew after anything odd.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::Mattermost;
use crate::metrics::PostFailure;

/// For the whole post, from the look-up of the name to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Mattermost says `ok`; the body of an error is a few hundred bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Why there was no answer. The detail comes from the system or from rustls, which know no secret.
pub struct Failure {
    pub reason: PostFailure,
    pub detail: String,
}

pub struct Client {
    server: Mattermost,
    tls: TlsConnector,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Believes the roots of `server` and nobody else.
    pub fn new(server: Mattermost) -> Result<Client, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|it| it.to_string())?
            .with_root_certificates(Arc::clone(&server.roots))
            .with_no_client_auth();
        Ok(Client { server, tls: TlsConnector::from(Arc::new(config)), connection: None })
    }

    pub async fn post(&mut self, path: &str, json: Bytes) -> Result<StatusCode, Failure> {
        // Taken out, so that whatever goes wrong leaves none behind.
        let kept = self.connection.take().filter(|it| !it.is_closed());
        let exchange = async {
            let mut connection = match kept {
                Some(it) => it,
                None => self.connect().await?,
            };
            connection.ready().await.map_err(|it| failure(PostFailure::BrokenConnection, &it))?;
            let request = self.request(path, json)?;
            let answer = connection.send_request(request).await;
            let status = read(answer.map_err(|it| failure(PostFailure::BrokenConnection, &it))?).await?;
            Ok((status, connection))
        };
        let late =
            |_| Failure { reason: PostFailure::Timeout, detail: format!("no answer in {} s", TIMEOUT.as_secs()) };
        let (status, connection) = timeout(TIMEOUT, exchange).await.map_err(late)??;
        self.connection = Some(connection);
        Ok(status)
    }

    fn request(&self, path: &str, json: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let host =
            if self.server.host.contains(':') { format!("[{}]", self.server.host) } else { self.server.host.clone() };
        Request::post(path)
            .header(HOST, format!("{host}:{}", self.server.port))
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("command-center-relay/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(json))
            .map_err(|it| failure(PostFailure::BrokenConnection, &it))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let addresses = lookup_host((self.server.host.as_str(), self.server.port)).await;
        let addresses: Vec<_> = addresses.map_err(|it| failure(PostFailure::Resolve, &it))?.collect();
        let mut connected = Err(io::Error::other("the name has no address"));
        for address in addresses {
            connected = TcpStream::connect(address).await;
            if connected.is_ok() {
                break;
            }
        }
        let socket = connected.map_err(|it| failure(PostFailure::Connect, &it))?;
        // A post is one small write; waiting for more of it costs 40 ms.
        let _ = socket.set_nodelay(true);
        let stream = self.tls.connect(self.server.name.clone(), socket).await.map_err(|it| tls_failure(&it))?;
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|it| failure(PostFailure::BrokenConnection, &it))?;
        // What breaks it shows at the next request.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

async fn read(answer: Response<Incoming>) -> Result<StatusCode, Failure> {
    let status = answer.status();
    match Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await {
        Ok(_) => Ok(status),
        // The status has come, and that is all that counts: posting it once more would show it twice.
        Err(_) if status == StatusCode::OK => Ok(status),
        Err(error) => Err(failure(PostFailure::BrokenConnection, &*error)),
    }
}

/// A certificate that we do not believe is a finding; a connection that breaks during the handshake is not.
fn tls_failure(error: &io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::InvalidData => PostFailure::Tls,
        _ => PostFailure::BrokenConnection,
    };
    failure(reason, error)
}

fn failure(reason: PostFailure, error: &dyn Error) -> Failure {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(it) = source {
        detail = format!("{detail}: {it}");
        source = it.source();
    }
    Failure { reason, detail }
}
