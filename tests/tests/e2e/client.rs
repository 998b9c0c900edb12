//! A client of the site that sees more than xtask's: the server's certificate, every header, a handshake without Origin.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use command_center_tests::Stack;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Status, headers and body.
pub type Answer = (u16, Vec<(String, String)>, String);

const LIMIT: Duration = Duration::from_secs(10);

/// Opens TLS to `address`, where a server called `name` must show a certificate of one of these CAs.
pub fn connect(address: SocketAddr, name: &str, cas: &[&str]) -> anyhow::Result<Stream> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect_timeout(&address, LIMIT)?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut stream =
        StreamOwned::new(ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned())?)?, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// The certificate that the running server presents, in DER.
pub fn certificate(stack: &Stack) -> Vec<u8> {
    let stream = connect(stack.address(), &stack.lan().to_string(), &[&stack.ca()]).expect("the site answers");
    let presented = stream.conn.peer_certificates().expect("a server presents a certificate");
    presented[0].to_vec()
}

/// Sends a request by the site's address. The answer to a WebSocket handshake that succeeds has no body.
pub fn request(
    stack: &Stack,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Option<&str>,
) -> anyhow::Result<Answer> {
    let address = stack.address();
    let mut stream = connect(address, &address.ip().to_string(), &[&stack.ca()])?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
    let given = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if !given("Connection") {
        text.push_str("Connection: close\r\n");
    }
    if let Some(body) = body {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        if !given("Content-Type") {
            text.push_str("Content-Type: application/json\r\n");
        }
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    stream.write_all(text.as_bytes())?;
    read(&mut stream)
}

fn read(stream: &mut Stream) -> anyhow::Result<Answer> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut buffer)? {
            0 => bail!("the server closed the connection: {:?}", String::from_utf8_lossy(&bytes)),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).context("no status line")?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut body = bytes.split_off(head_end + 4);
    let value =
        |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, it)| it.clone());
    if status == 101 || status == 204 {
        return Ok((status, headers, String::new()));
    }
    let length = value("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(usize::MAX);
    while body.len() < length {
        // Without a length the end of the connection is the end of the body, with or without a farewell.
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => body.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
    }
    if value("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        body = joined(&body)?;
    }
    Ok((status, headers, String::from_utf8_lossy(&body).into_owned()))
}

/// The chunks of a body, without their lengths.
fn joined(chunked: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut rest = chunked;
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").context("a chunk has a length")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end])?.trim(), 16)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length).context("a chunk is cut off")?);
        rest = &rest[end + 4 + length..];
    }
}
