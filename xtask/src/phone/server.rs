//! The HTTP server at the edge: a thread a connection, one request each, and a time by which each has to be done.
//!
//! No library: tiny_http, the small one, has no time limit of a connection, and the others bring an async runtime.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::limits::{Limits, Usage};
use super::request::{self, Refusal, Request};
use super::{Content, Item, System};

/// A request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    pub visitor: IpAddr,
    pub status: u16,
    /// What was handed out and to which system; nothing when it was refused.
    pub got: Option<(Item, System)>,
}

/// Listens on each address and on nothing else.
pub fn bind(addresses: &[Ipv4Addr], port: u16) -> std::io::Result<Vec<TcpListener>> {
    addresses.iter().map(|address| TcpListener::bind((*address, port))).collect()
}

/// Serves until `done` says so. `seen` is called from several threads.
pub fn serve(
    listeners: &[TcpListener],
    content: &Content,
    limits: &Limits,
    done: impl Fn() -> bool,
    seen: impl Fn(Visit) + Sync,
) -> std::io::Result<()> {
    let mut own = Vec::new();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        if let SocketAddr::V4(address) = listener.local_addr()? {
            own.push(address);
        }
    }
    let stop = AtomicBool::new(false);
    let shared = Shared { content, limits, own, usage: Mutex::default(), stop: &stop };
    thread::scope(|scope| {
        while !done() {
            let mut idle = true;
            for listener in listeners {
                // What a connection can fail with here is its own matter, or passes.
                let Ok((stream, peer)) = listener.accept() else { continue };
                idle = false;
                let visitor = peer.ip();
                if !shared.usage().enter(visitor, limits) {
                    turn_away(stream);
                    continue;
                }
                let (shared, seen) = (&shared, &seen);
                let thread = thread::Builder::new().spawn_scoped(scope, move || {
                    converse(&stream, visitor, shared, seen);
                    shared.usage().leave(visitor);
                });
                if thread.is_err() {
                    shared.usage().leave(visitor);
                }
            }
            if idle {
                thread::sleep(PAUSE);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}

struct Shared<'a> {
    content: &'a Content,
    limits: &'a Limits,
    own: Vec<SocketAddrV4>,
    usage: Mutex<Usage>,
    stop: &'a AtomicBool,
}

impl Shared<'_> {
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a new connection may wait to be seen, and a stop for a slow one.
const PAUSE: Duration = Duration::from_millis(20);
const SLICE: Duration = Duration::from_millis(200);

/// One request and its answer.
fn converse(stream: &TcpStream, visitor: IpAddr, shared: &Shared<'_>, seen: impl Fn(Visit)) {
    let limits = shared.limits;
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    // Browsers connect ahead, and then have nothing to ask.
    let Some(head) = read_head(stream, shared) else { return };
    let counted = shared.usage().count(visitor, Instant::now(), limits);
    let result = match counted {
        Err(wait) => Err(Refusal::TooMany(wait.as_secs() + 1)),
        Ok(()) => head.and_then(|head| request::parse(&head, &shared.own)),
    };
    let (status, answer) = request::answer(result, shared.content);
    write(stream, &answer, Instant::now() + limits.writing, shared.stop);
    let got = result.ok().map(|Request { item, system, .. }| (item, system)).filter(|_| status == 200);
    seen(Visit { visitor, status, got });
    // What the visitor still sends is read for a moment: closing on it would take back the answer (RFC 9112, section 9.6).
    if stream.shutdown(Shutdown::Write).is_ok() {
        drain(stream, shared.stop);
    }
}

/// The bytes up to the empty line, all of which have to be here in time; nothing when none came.
fn read_head(stream: &TcpStream, shared: &Shared<'_>) -> Option<Result<Vec<u8>, Refusal>> {
    let deadline = Instant::now() + shared.limits.reading;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let Some(read) = patiently(stream, &mut buffer, deadline, shared.stop) else {
            return if head.is_empty() { None } else { Some(Err(Refusal::Slow)) };
        };
        if read == 0 {
            return if head.is_empty() { None } else { Some(Err(Refusal::Malformed)) };
        }
        let searched = head.len().saturating_sub(3);
        head.extend_from_slice(&buffer[..read]);
        let end = head[searched..].windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|found| searched + found + 4);
        if end.unwrap_or(head.len()) > shared.limits.header_bytes {
            return Some(Err(Refusal::LongHeader));
        }
        if let Some(end) = end {
            head.truncate(end);
            return Some(Ok(head));
        }
    }
}

/// A read that ends in time: nothing when the time is over, when we stop, or when the visitor is gone.
fn patiently(mut stream: &TcpStream, buffer: &mut [u8], deadline: Instant, stop: &AtomicBool) -> Option<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.load(Ordering::Relaxed) {
            return None;
        }
        stream.set_read_timeout(Some(left.min(SLICE))).ok()?;
        match stream.read(buffer) {
            Ok(read) => return Some(read),
            Err(error) if is_timeout(&error) => {}
            Err(_) => return None,
        }
    }
}

fn write(mut stream: &TcpStream, mut bytes: &[u8], deadline: Instant, stop: &AtomicBool) {
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.load(Ordering::Relaxed) || stream.set_write_timeout(Some(left.min(SLICE))).is_err() {
            return;
        }
        match stream.write(bytes) {
            Ok(0) => return,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_timeout(&error) => {}
            Err(_) => return,
        }
    }
}

fn drain(stream: &TcpStream, stop: &AtomicBool) {
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut buffer = [0; 1024];
    let mut left = 64 * 1024_usize;
    while let Some(read) = patiently(stream, &mut buffer, deadline, stop)
        && read > 0
        && let Some(rest) = left.checked_sub(read)
    {
        left = rest;
    }
}

/// Says that it is full without waiting for anything: a fresh socket has room for so little.
fn turn_away(mut stream: TcpStream) {
    let (_, answer) = request::refusal(Refusal::Busy);
    if stream.set_nonblocking(true).is_ok() {
        // Whoever is gone already needs no answer.
        let _ = stream.write(&answer);
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
