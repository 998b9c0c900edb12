//! From the bytes of a request to what is answered. Pure, and it trusts nothing.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Body, Content, Item, System};

/// What is known of a request, when its head could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub item: Item,
    pub address: Ipv4Addr,
    pub system: System,
    pub head_only: bool,
}

/// Why there is no answer but a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    NotFound,
    OtherMethod,
    Slow,
    /// Seconds until the next request.
    TooMany(u64),
    OtherHost,
    LongHeader,
    Busy,
}

/// Reads a whole head. `own` is where we listen: a Host that is none of it comes from a page whose name was pointed at us.
pub fn parse(head: &[u8], own: &[SocketAddrV4]) -> Result<Request, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::LongHeader),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::Malformed),
    }
    let values = |name: &'static str| {
        request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let mut hosts = values("host");
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Refusal::Malformed) };
    let host = own.iter().find(|address| address.to_string().as_bytes() == host).ok_or(Refusal::OtherHost)?;
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refusal::OtherMethod),
    };
    let item = request.path.and_then(Item::at).ok_or(Refusal::NotFound)?;
    let user_agent = values("user-agent").next().unwrap_or_default();
    let system = System::of(&String::from_utf8_lossy(user_agent));
    Ok(Request { item, address: *host.ip(), system, head_only })
}

/// The whole answer, as it goes out, and its status.
pub fn answer(result: Result<Request, Refusal>, content: &Content) -> (u16, Vec<u8>) {
    let Request { item, address, system, head_only } = match result {
        Ok(request) => request,
        Err(reason) => return refusal(reason),
    };
    let Some(body) = content.get(item, address, system) else { return refusal(Refusal::NotFound) };
    let mut answer = head("200 OK", body, "").into_bytes();
    if !head_only {
        answer.extend_from_slice(&body.bytes);
    }
    (200, answer)
}

pub fn refusal(reason: Refusal) -> (u16, Vec<u8>) {
    let (status, line) = reason.status();
    let extra = match reason {
        Refusal::OtherMethod => "Allow: GET, HEAD\r\n".to_owned(),
        Refusal::TooMany(seconds) => format!("Retry-After: {seconds}\r\n"),
        _ => String::new(),
    };
    let body = Body {
        content_type: "text/plain; charset=utf-8",
        content_security_policy: super::NOTHING.to_owned(),
        bytes: format!("{line}\n").into_bytes(),
    };
    let mut answer = head(line, &body, &extra).into_bytes();
    answer.extend_from_slice(&body.bytes);
    (status, answer)
}

impl Refusal {
    fn status(self) -> (u16, &'static str) {
        match self {
            Refusal::Malformed => (400, "400 Bad Request"),
            Refusal::NotFound => (404, "404 Not Found"),
            Refusal::OtherMethod => (405, "405 Method Not Allowed"),
            Refusal::Slow => (408, "408 Request Timeout"),
            Refusal::OtherHost => (421, "421 Misdirected Request"),
            Refusal::TooMany(_) => (429, "429 Too Many Requests"),
            Refusal::LongHeader => (431, "431 Request Header Fields Too Large"),
            Refusal::Busy => (503, "503 Service Unavailable"),
        }
    }
}

fn head(status: &str, body: &Body, extra: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nContent-Security-Policy: {}\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n\
         Cache-Control: no-store\r\nVary: User-Agent\r\nConnection: close\r\n{extra}\r\n",
        body.content_type,
        body.bytes.len(),
        body.content_security_policy,
    )
}
