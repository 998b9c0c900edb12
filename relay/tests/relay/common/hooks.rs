//! A stand-in for Mattermost's incoming webhooks, held to the answers of a real one in recorded/hooks.jsonl by
//! `standin.rs`. It can be killed and started again on the same port; what it got is kept.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Of the recording: locked to the channel `builds`.
pub const BUILDS_HOOK: &str = "6fang4soibnnxppr4qri1torwo";
/// Of the same site.
pub const OTHER_HOOK: &str = "ogisa3dr1p8nfqnxx7nsdkdr8y";
/// Of the recording: no hook.
pub const UNKNOWN_HOOK: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A CA of a test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn server(&self) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a pair");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What outlives a kill.
#[derive(Default)]
struct Shared {
    /// Hook and message.
    posts: Mutex<Vec<(String, Value)>>,
    /// Every request is answered with this status, if it is not 0.
    forced: AtomicU16,
}

pub struct HookServer {
    pub authority: Authority,
    pub address: SocketAddr,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl HookServer {
    pub fn start() -> HookServer {
        let authority = Authority::new();
        let tls = authority.server();
        let address = super::process::free_address();
        let mut server = HookServer { authority, address, tls, shared: Arc::default(), runtime: None };
        server.restart();
        server
    }

    /// Breaks all connections, whatever is under way.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    pub fn restart(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        let listener = runtime.block_on(TcpListener::bind(self.address)).expect("the port");
        runtime.spawn(accept(listener, self.tls.clone(), Arc::clone(&self.shared)));
        self.runtime = Some(runtime);
    }

    /// Answers everything with `status` from now on; with 0, as Mattermost would.
    pub fn force(&self, status: u16) {
        self.shared.forced.store(status, Ordering::Relaxed);
    }

    pub fn posts(&self) -> Vec<(String, Value)> {
        self.shared.posts.lock().expect("posts").clone()
    }

    /// The titles of all attachments, in the order in which they came.
    pub fn titles(&self) -> Vec<String> {
        let title = |it: &Value| it["attachments"][0]["title"].as_str().expect("a title").to_owned();
        self.posts().iter().map(|(_, message)| title(message)).collect()
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            let Ok(stream) = tls.accept(socket).await else { return };
            let service = service_fn(|it| answer(it, Arc::clone(&shared)));
            let _ = Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Infallible> {
    let hook = request.uri().path().strip_prefix("/hooks/").unwrap_or_default().to_owned();
    let form = request.headers().get(CONTENT_TYPE).is_some_and(|it| it == "application/x-www-form-urlencoded");
    let Ok(body) = request.into_body().collect().await else { return Ok(ok()) };
    let body = body.to_bytes();
    let forced = shared.forced.load(Ordering::Relaxed);
    if forced != 0 {
        return Ok(error(forced, "general", &hook));
    }
    if ![BUILDS_HOOK, OTHER_HOOK].contains(&hook.as_str()) {
        return Ok(error(400, "general", &hook));
    }
    if form {
        return Ok(ok());
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else { return Ok(error(400, "decode", &hook)) };
    if message["text"].as_str().unwrap_or_default().is_empty() && !message["attachments"].is_array() {
        return Ok(error(400, "general", &hook));
    }
    match message["channel"].as_str().unwrap_or_default() {
        "" | "builds" => {}
        "town-square" => return Ok(error(403, "general", &hook)),
        _ => return Ok(error(404, "general", &hook)),
    }
    shared.posts.lock().expect("posts").push((hook, message));
    Ok(ok())
}

fn ok() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
    response.headers_mut().insert(CONTENT_TYPE, "text/plain".parse().expect("a type"));
    response
}

fn error(status: u16, kind: &str, hook: &str) -> Response<Full<Bytes>> {
    let what = if kind == "decode" { "decode" } else { "handle" };
    let text = format!(
        "{{\"id\":\"web.incoming_webhook.{kind}.app_error\",\"message\":\"Failed to {what} the payload of media type \
         application/json for incoming webhook {hook}.\",\"detailed_error\":\"\",\"request_id\":\
         \"qswkp1ac57nbjn41go1x8ywkgo\",\"status_code\":{status}}}"
    );
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a type"));
    response
}
