//! `relay healthcheck`: the image has no shell and no curl.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// For the whole of it.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks the relay that listens on `listen`.
pub fn run(listen: SocketAddr) -> Result<(), String> {
    let answer = ask(reachable(listen)).map_err(|it| format!("the relay does not answer: {it}"))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(format!("the relay is unhealthy: {}", answer.lines().last().unwrap_or_default()))
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let end = Instant::now() + LIMIT;
    let mut socket = TcpStream::connect_timeout(&address, LIMIT)?;
    socket.set_write_timeout(Some(LIMIT))?;
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        // A time limit of zero would be none.
        socket.set_read_timeout(Some(end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))))?;
        let length = socket.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..length]);
        if length == 0 || answer.len() > 4096 {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}

/// `0.0.0.0` is no address to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        it if !it.is_unspecified() => it,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}
