//! A client that sends any bytes, as a stranger may.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use xtask::phone::Content;
use xtask::phone::limits::Limits;
use xtask::phone::server::{self, Visit};

/// The server of `cargo xtask phone` on a free port of 127.0.0.1. Stops when it is dropped.
pub struct Served {
    pub address: SocketAddr,
    visits: Arc<Mutex<Vec<Visit>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Served {
    pub fn new(content: Content, limits: Limits) -> Served {
        let listeners = server::bind(&[Ipv4Addr::LOCALHOST], 0).expect("a port");
        let address = listeners[0].local_addr().expect("it listens");
        let (visits, stop) = (Arc::<Mutex<Vec<Visit>>>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (visits, stop) = (visits.clone(), stop.clone());
            move || {
                let done = || stop.load(Ordering::Relaxed);
                let seen = |visit| visits.lock().expect("no test panics with it").push(visit);
                server::serve(&listeners, &content, &limits, done, seen).expect("it serves");
            }
        });
        Served { address, visits, stop, thread: Some(thread) }
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub fn send(&self, request: &[u8]) -> Answer {
        send(self.connect(), request)
    }

    /// A request as a browser makes it.
    pub fn get(&self, path: &str, user_agent: &str) -> Answer {
        get(self.address, path, user_agent)
    }

    /// Asks until there is room again.
    pub fn wait_for_room(&self) {
        let start = Instant::now();
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        loop {
            // Whoever is turned away may see the end before the answer.
            let mut answer = Vec::new();
            let mut stream = self.connect();
            stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer)).ok();
            if answer.starts_with(b"HTTP/1.1 200") {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "there is no room: {}", String::from_utf8_lossy(&answer));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A request with these lines in place of a browser's, of which `HOST` is ours.
    pub fn lines(&self, lines: &str) -> Answer {
        let host = format!("Host: {}\r\n", self.address);
        self.send(format!("{}\r\n", lines.replace("HOST", &host)).as_bytes())
    }

    pub fn visits(&self) -> Vec<Visit> {
        self.visits.lock().expect("no test panics with it").clone()
    }

    /// Stops it and waits for it.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is text")
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    stream
}

pub fn get(address: SocketAddr, path: &str, user_agent: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {user_agent}\r\nAccept: */*\r\n\r\n");
    send(connect(address), request.as_bytes())
}

/// Sends and reads until the other side closes.
pub fn send(mut stream: TcpStream, request: &[u8]) -> Answer {
    stream.write_all(request).expect("it takes a request");
    read(stream)
}

pub fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer, and then an end");
    let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("this is no answer: {:?}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head, body: bytes.split_off(end + 4) }
}
