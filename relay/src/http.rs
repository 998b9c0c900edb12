//! The HTTP side. Everything is bounded: connections, the time and the size of a request, and the memory of all of them.

mod routes;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Hooks;
use crate::log;
use crate::metrics::{Metrics, Refusal};
use crate::signature::Key;
use crate::spool::Spool;

/// Who comes when so many are there waits in the kernel's queue: refused, a delivery would be lost, because SonarQube
/// sends it once.
const CONNECTIONS: usize = 128;
/// For the head of a request, and for the time between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For the body after the head: 10 s together, which is also how long SonarQube waits for an answer.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Who sends no new request for so long is cut off, whatever he waits for: a client that does not read its answer passes
/// every other limit.
const LIFE: Duration = Duration::from_secs(20);
/// All headers of a request together, in bytes, which is also what a connection buffers.
const HEAD_BYTES: usize = 8 * 1024;
const MOST_HEADERS: usize = 64;
/// The largest body, in bytes. SonarQube's have one or two thousand.
const BODY_BYTES: usize = 1024 * 1024;
/// Up to here a body just is read; together that is 1 MiB at worst.
const SMALL_BODY: usize = 8 * 1024;
/// So many may grow beyond at a time, which keeps the relay below 15 MB. The others wait, and who waits too long is cut
/// off. SonarQube's own deliveries are small.
const LARGE_BODIES: usize = 1;

/// What every request works on.
pub struct Service {
    pub key: Key,
    pub spool: Spool,
    pub metrics: Arc<Metrics>,
    /// The setting `queue`.
    pub limit: usize,
    pub wanted: Wanted,
    large_bodies: Semaphore,
}

/// Whether there is a hook for an outcome.
pub struct Wanted {
    pub passed: bool,
    pub failed: bool,
}

impl Service {
    pub fn new(key: Key, spool: Spool, metrics: Arc<Metrics>, limit: usize, hooks: &Hooks) -> Service {
        use crate::delivery::Outcome::{Failed, Passed};
        let wanted = Wanted { passed: hooks.of(Passed).is_some(), failed: hooks.of(Failed).is_some() };
        Service { key, spool, metrics, limit, wanted, large_bodies: Semaphore::new(LARGE_BODIES) }
    }

    /// Counts a refusal. The log has the first of each kind and then every thousandth: who floods the relay must not
    /// flood the disk.
    fn refused(&self, refusal: Refusal) {
        let count = self.metrics.refused.count(refusal);
        if count % 1000 == 1 {
            log::warning(format_args!("a request is refused ({refusal:?}, number {count} since the start)"));
        }
    }
}

/// Serves until `stop` changes, then finishes what is under way.
pub async fn serve(listener: TcpListener, service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await.map_err(std::io::Error::other)?;
            listener.accept().await.map(|(socket, _)| (socket, permit))
        };
        let accepted = tokio::select! {
            _ = stop.wait_for(|it| *it) => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok((socket, permit)) => {
                let (service, stop) = (Arc::clone(&service), stop.clone());
                tokio::spawn(async move {
                    service.metrics.connections.fetch_add(1, Relaxed);
                    connection(socket, &service, stop).await;
                    service.metrics.connections.fetch_sub(1, Relaxed);
                    drop(permit);
                });
            }
            Err(error) => {
                // Too many open files, for one: it passes, and a loop without a pause would not help.
                log::warning(format_args!("a connection could not be accepted: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // When all permits are back, all connections are closed.
    let _ = permits.acquire_many(CONNECTIONS as u32).await;
}

async fn connection(socket: TcpStream, service: &Arc<Service>, mut stop: watch::Receiver<bool>) {
    let _ = socket.set_nodelay(true);
    let start = Instant::now();
    // When the last request came, in milliseconds after the start; 0 before the first.
    let active = Arc::new(AtomicU64::new(0));
    let handler = {
        let (service, active) = (Arc::clone(service), Arc::clone(&active));
        service_fn(move |request| {
            active.store((start.elapsed().as_millis() as u64).max(1), Relaxed);
            let service = Arc::clone(&service);
            async move { Ok::<_, Infallible>(routes::answer(request, &service).await) }
        })
    };
    let mut connection = std::pin::pin!(
        Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(MOST_HEADERS)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(socket), handler)
    );
    let mut stopping = false;
    loop {
        let end = start + Duration::from_millis(active.load(Relaxed)) + LIFE;
        tokio::select! {
            result = &mut connection => {
                match result {
                    // After a request, it was the pause between two that took too long, and that is nobody's fault.
                    Err(error) if error.is_timeout() && active.load(Relaxed) == 0 => service.refused(Refusal::Slow),
                    Err(error) if error.is_parse() => service.refused(Refusal::BrokenRequest),
                    // Closed, broken or silent: everyday life of a connection.
                    Ok(()) | Err(_) => {}
                }
                return;
            }
            () = sleep_until(end) => {}
            _ = stop.wait_for(|it| *it), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
        if start.elapsed() >= Duration::from_millis(active.load(Relaxed)) + LIFE {
            service.refused(Refusal::Slow);
            return;
        }
    }
}
