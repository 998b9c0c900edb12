//! The REST API. What is not covered answers 501 and says so: a test must never pass on an invented answer.

mod bots;
mod calls;
mod channel_members;
mod channels;
mod integrations;
mod posts;
mod request;
mod system;
mod teams;
mod users;
mod webhook;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post, put};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use crate::app_error::AppError;
use crate::store::User;
use crate::tls::ServerTls;
use crate::{Server, VERSION_ID, accounts, log};

pub use system::status;

fn router(server: Arc<Server>) -> Router {
    let api = Router::new()
        .route("/system/ping", get(system::ping))
        .route("/config/client", get(system::client_config))
        .route("/license/client", get(system::client_license))
        .route("/users", get(users::list).post(users::register))
        .route("/users/ids", post(users::by_ids))
        .route("/users/login", post(users::log_in))
        .route("/users/me", get(users::me))
        .route("/users/username/{name}", get(users::by_name))
        .route("/users/{user}/teams/{team}/channels/members", get(users::channel_members))
        .route("/users/{user}/teams/{team}/channels", get(users::channels))
        .route("/bots", get(bots::list).post(bots::create))
        .route("/teams", get(teams::list))
        .route("/teams/name/{name}", get(teams::by_name))
        .route("/teams/name/{team}/channels/name/{channel}", get(channels::by_names))
        .route("/teams/{team}/channels", get(teams::channels))
        .route("/teams/{team}/members", get(teams::members).post(teams::add_member))
        .route("/teams/{team}/members/{user}", delete(teams::remove_member))
        .route("/channels", get(channels::list))
        .route("/channels/{channel}/patch", put(channels::patch))
        .route("/channels/{channel}/members", get(channel_members::list).post(channel_members::add))
        .route("/channels/{channel}/members/{user}", delete(channel_members::remove))
        .route("/channels/{channel}/posts", get(posts::list))
        .route("/posts", post(posts::create))
        .route("/hooks/incoming", get(integrations::incoming))
        .route("/hooks/outgoing", get(integrations::outgoing))
        .route("/commands", get(integrations::commands))
        .route("/websocket", get(websocket::connect));
    Router::new()
        .nest("/api/v4", api)
        .route("/hooks/{id}", get(webhook::page).post(webhook::receive))
        .route("/plugins/com.mattermost.calls/version", get(calls::version))
        .route("/plugins/com.mattermost.calls/config", get(calls::config))
        .route("/plugins/com.mattermost.calls/channels", get(calls::channels))
        .route("/plugins/com.mattermost.calls/turn-credentials", get(calls::turn_credentials))
        .fallback(any(not_covered))
        .method_not_allowed_fallback(not_covered)
        .layer(middleware::from_fn(mark))
        .with_state(server)
}

async fn not_covered(request: Request) -> AppError {
    let what = format!("{} {}", request.method(), request.uri().path());
    log::warn("The stand-in does not cover a request").with("request", &what).write();
    AppError::new("standin.not_covered", &format!("The lab's stand-in for Mattermost does not know {what}."), 501)
}

/// Says on every answer that it does not come from a Mattermost.
async fn mark(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_api = path.starts_with("/api/v4/") || path.starts_with("/hooks/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert("x-standin", HeaderValue::from_static("mattermost"));
    if is_api {
        headers.insert("x-version-id", HeaderValue::from_static(VERSION_ID));
    }
    response
}

pub async fn start(server: &Arc<Server>, tls: Option<ServerTls>) -> Result<(), String> {
    let address = &server.settings.listen_address;
    let listener = bind(address).await?;
    let app = router(server.clone());
    match tls {
        Some(tls) => {
            let listener = handshakes(listener, tls).map_err(|it| it.to_string())?;
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
        None => drop(tokio::spawn(async move { axum::serve(listener, app).await })),
    }
    log::info(&format!("Server is listening on {address}")).write();
    Ok(())
}

/// Listens on an address in Go's notation, where `:8065` is every address.
pub async fn bind(address: &str) -> Result<TcpListener, String> {
    let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    TcpListener::bind(&full).await.map_err(|it| format!("listen tcp {address}: {it}"))
}

/// Connections whose TLS handshake is done, so that a slow client keeps no other one waiting.
struct Handshakes {
    done: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: SocketAddr,
}

fn handshakes(listener: TcpListener, tls: ServerTls) -> std::io::Result<Handshakes> {
    let local = listener.local_addr()?;
    let (sender, done) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                // Out of file descriptors, most likely; trying again at once would only burn the processor.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (sender, tls) = (sender.clone(), tls.clone());
            tokio::spawn(async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), tls.accept(stream)).await {
                    let _ = sender.send((stream, from)).await;
                }
            });
        }
    });
    Ok(Handshakes { done, local })
}

impl axum::serve::Listener for Handshakes {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.done.recv().await {
            Some(it) => it,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, json(&self.json())).into_response()
    }
}

fn json(value: &Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string())
}

/// JSON and a line feed, which most of Mattermost's answers end with.
fn json_line(value: &Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value}\n"))
}

/// Whose request it is, by the session or access token in its `Authorization` header.
async fn authenticate(server: &Server, headers: &HeaderMap) -> Result<User, AppError> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let (scheme, token) = shown.split_once(' ').unwrap_or_default();
    let token = if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") { token } else { "" };
    accounts::of_token(server, token).await
}
