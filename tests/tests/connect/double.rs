//! An HTTP server of a test's own that records every request. What it answers is the test's matter.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A field of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        let fields = self.body.split('&').filter_map(|field| field.split_once('='));
        fields.into_iter().find(|(known, _)| *known == name).map(|(_, value)| decode(value))
    }
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

pub fn reply(status: u16, body: impl Into<String>) -> Reply {
    Reply { status, headers: vec![("Content-Type", "application/json".to_owned())], body: body.into() }
}

/// Stops when it is dropped.
pub struct Double {
    address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Double {
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.requests))
    }

    /// The requests since the last call: method, path, headers that matter, and body, without what differs by run.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for request in self.requests() {
            text.push_str(&format!("{} {}\n", request.method, request.path));
            for name in ["authorization", "private-token", "content-type"] {
                if let Some(value) = request.header(name) {
                    text.push_str(&format!("  {name}: {value}\n"));
                }
            }
            if !request.body.is_empty() {
                text.push_str(&format!("  {}\n", request.body));
            }
        }
        text
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

pub fn http(handler: impl FnMut(&Request) -> Reply + Send + 'static) -> Double {
    serve("http", None, handler)
}

/// With a certificate of its own for 127.0.0.1, which is returned as PEM.
pub fn https(handler: impl FnMut(&Request) -> Reply + Send + 'static) -> (Double, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a pair");
    (serve("https", Some(Arc::new(config)), handler), certificate.pem())
}

fn serve(
    scheme: &'static str,
    tls: Option<Arc<ServerConfig>>,
    mut handler: impl FnMut(&Request) -> Reply + Send + 'static,
) -> Double {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let (requests, stop) = (requests.clone(), stop.clone());
        move || {
            for socket in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let socket = socket.expect("a connection");
                socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
                let mut answer = |request: &Request| {
                    lock(&requests).push(request.clone());
                    handler(request)
                };
                match &tls {
                    None => exchange(socket, &mut answer),
                    Some(config) => {
                        let connection = ServerConnection::new(config.clone()).expect("a connection");
                        exchange(StreamOwned::new(connection, socket), &mut answer);
                    }
                }
            }
        }
    });
    Double { address, scheme, requests, stop, thread: Some(thread) }
}

/// One request and its answer. A client that breaks off, as one that does not trust us, is no error.
fn exchange(mut stream: impl Read + Write, answer: &mut impl FnMut(&Request) -> Reply) {
    let Some(request) = read(&mut stream) else {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").ok();
        return;
    };
    let reply = answer(&request);
    let mut head =
        format!("HTTP/1.1 {} x\r\nContent-Length: {}\r\nConnection: close\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{}", reply.body).as_bytes()).and_then(|()| stream.flush()).ok();
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let mut body = vec![0; length.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8(body).ok()? })
}

pub fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte.expect("two digits")).to_digit(16).expect("hexadecimal") as u8;
        bytes.push(if byte == b'%' { hex(rest.next()) * 16 + hex(rest.next()) } else { byte });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
