//! What is answered to what.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use crate::delivery::{Delivery, NotADelivery, Outcome};
use crate::metrics::{Post, Refusal};
use crate::signature::{self, Signature};
use crate::spool::journal::Verdict;

use super::{BODY_BYTES, BODY_TIMEOUT, SMALL_BODY, Service};

/// A disk that hangs makes the relay unhealthy before the one who asks gives up, which Docker and `relay healthcheck` do
/// after 3 s.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

type Answer = Response<Full<Bytes>>;

pub async fn answer(request: Request<Incoming>, service: &Service) -> Answer {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/sonarqube" if request.method() == Method::POST => {
            delivery(request, service).await.unwrap_or_else(|it| refuse(it, service))
        }
        "/healthz" if get => health(service).await,
        "/metrics" if get => {
            let text = service.metrics.render(service.limit as u64);
            typed(text_answer(StatusCode::OK, text), "text/plain; version=0.0.4")
        }
        path @ ("/sonarqube" | "/healthz" | "/metrics") => {
            let allowed = if path == "/sonarqube" { "POST" } else { "GET, HEAD" };
            let mut answer = refuse(Refusal::Method, service);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            answer
        }
        _ => refuse(Refusal::NotFound, service),
    }
}

async fn delivery(request: Request<Incoming>, service: &Service) -> Result<Answer, Refusal> {
    // Who does not even claim to know the secret is not listened to any longer.
    let mut headers = request.headers().get_all(signature::HEADER).iter();
    let claimed = headers.next().ok_or(Refusal::Unsigned)?;
    let signature = Signature::parse(claimed.as_bytes()).ok_or(Refusal::WrongSignature)?;
    if headers.next().is_some() {
        return Err(Refusal::WrongSignature);
    }
    // The permit is kept for as long as the body is.
    let (body, _permit) =
        timeout(BODY_TIMEOUT, read(request.into_body(), service)).await.map_err(|_| Refusal::Slow)??;
    if !service.key.verify(&body, &signature) {
        return Err(Refusal::WrongSignature);
    }
    let parsed = Delivery::parse(&body).map_err(|it| match it {
        NotADelivery::Malformed => Refusal::Malformed,
        NotADelivery::Unexpected => Refusal::Unexpected,
    })?;
    let outcome = parsed.outcome();
    drop(parsed);
    let wanted = match outcome {
        Outcome::Passed => service.wanted.passed,
        Outcome::Failed => service.wanted.failed,
    };
    if !wanted {
        service.metrics.posts.count(Post::Ignored);
        return Ok(text_answer(StatusCode::OK, "ignored: there is no hook for it\n"));
    }
    match service.spool.accept(outcome, body).await.map_err(|_| Refusal::Spool)? {
        Verdict::Accepted => {
            service.metrics.accepted.fetch_add(1, Relaxed);
            Ok(text_answer(StatusCode::OK, "accepted\n"))
        }
        Verdict::Duplicate => {
            service.metrics.duplicates.fetch_add(1, Relaxed);
            Ok(text_answer(StatusCode::OK, "accepted before\n"))
        }
        Verdict::Full => Err(Refusal::Full),
    }
}

/// Reads a body of at most `BODY_BYTES`. What it declares is not believed, and memory is taken as bytes arrive.
async fn read(mut body: Incoming, service: &Service) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Refusal> {
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(Refusal::TooLarge);
    }
    let mut bytes = Vec::new();
    let mut permit = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::BrokenRequest)?.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        if bytes.len() + data.len() > SMALL_BODY && permit.is_none() {
            permit = service.large_bodies.acquire().await.ok();
            // Believed only now that so much of it has come; exact, because doubling would take twice the memory.
            let rest = body.size_hint().exact().and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
            bytes.reserve_exact(data.len() + rest.min(BODY_BYTES));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, permit))
}

/// 200 also while Mattermost is away: then the queue does its work.
async fn health(service: &Service) -> Answer {
    let works = matches!(timeout(PROBE_TIMEOUT, service.spool.probe()).await, Ok(Ok(())));
    let (status, word) = if works { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "spool") };
    let (queued, oldest) = (service.metrics.queued.load(Relaxed), service.metrics.oldest_seconds());
    let text = format!("{{\"status\":\"{word}\",\"queued\":{queued},\"oldest_seconds\":{oldest}}}\n");
    typed(text_answer(status, text), "application/json")
}

fn refuse(refusal: Refusal, service: &Service) -> Answer {
    service.refused(refusal);
    let (status, text) = match refusal {
        Refusal::Unsigned => (StatusCode::UNAUTHORIZED, "unsigned: set the webhook's secret in SonarQube\n"),
        Refusal::WrongSignature => (StatusCode::FORBIDDEN, "wrong signature: the secrets differ\n"),
        Refusal::Malformed => (StatusCode::BAD_REQUEST, "malformed JSON\n"),
        Refusal::Unexpected => (StatusCode::BAD_REQUEST, "no delivery of SonarQube\n"),
        Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too large\n"),
        Refusal::Slow => (StatusCode::REQUEST_TIMEOUT, "too slow\n"),
        Refusal::BrokenRequest => (StatusCode::BAD_REQUEST, "broken request\n"),
        Refusal::NotFound => (StatusCode::NOT_FOUND, "not found\n"),
        Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
        Refusal::Full => (StatusCode::SERVICE_UNAVAILABLE, "the queue is full\n"),
        Refusal::Spool => (StatusCode::SERVICE_UNAVAILABLE, "the spool cannot be written\n"),
    };
    text_answer(status, text)
}

fn text_answer(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = typed(Response::new(Full::new(text.into())), "text/plain; charset=utf-8");
    *answer.status_mut() = status;
    answer
}

fn typed(mut answer: Answer, kind: &'static str) -> Answer {
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
