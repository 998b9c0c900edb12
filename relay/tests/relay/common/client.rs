//! A client that does exactly what a test says, also what no proper client would.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::SECRET;

/// One kept connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub fn signature(body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    ring::hmac::sign(&key, body).as_ref().iter().map(|it| format!("{it:02x}")).collect()
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(25)))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Sends a signed delivery.
    pub fn deliver(&mut self, body: &[u8]) -> io::Result<Answer> {
        self.post(body, Some(&signature(body)))
    }

    pub fn post(&mut self, body: &[u8], signature: Option<&str>) -> io::Result<Answer> {
        let signature = signature.map(|it| format!("X-Sonar-Webhook-HMAC-SHA256: {it}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "POST /sonarqube HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json; charset=utf-8\r\n\
             {signature}Content-Length: {length}\r\n\r\n"
        );
        self.send(&[head.as_bytes(), body].concat())?;
        self.answer()
    }

    pub fn request(&mut self, method: &str, path: &str) -> io::Result<Answer> {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
        self.answer()
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|it| it.lines().next());
        let mut body = vec![0; length.and_then(|it| it.parse().ok()).unwrap_or(0)];
        self.stream.read_exact(&mut body)?;
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }
}
