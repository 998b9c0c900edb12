//! The server, asked by clients that mean well, and by others.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use xtask::phone::limits::{LIMITS, Limits, Usage};
use xtask::phone::{Ca, Item, System};

use crate::client::{Served, read};
use crate::{ANDROID, IPHONE, WINDOWS, authority, content};

fn served() -> Served {
    Served::new(content(&authority().ca), LIMITS)
}

#[test]
fn each_file_comes_with_its_type_and_as_it_is() {
    let authority = authority();
    let served = Served::new(content(&authority.ca), LIMITS);
    let page = served.get("/", IPHONE);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("<h3>iPhone and iPad</h3>"));
    assert!(served.get("/", ANDROID).text().contains("<h3>Android</h3>"));
    let der = served.get("/ca.crt", ANDROID);
    assert_eq!((der.status, der.header("content-type")), (200, Some("application/x-x509-ca-cert")));
    assert_eq!(der.body, authority.ca.der);
    let pem = served.get("/ca.pem", WINDOWS);
    assert_eq!((pem.status, pem.header("content-type")), (200, Some("application/x-pem-file")));
    assert_eq!(Ca::from_pem(&pem.text()).expect("a certificate").der, authority.ca.der);
    assert_eq!(pem.text(), authority.pem.replace("\r\n", "\n"), "the same text as any other tool's");
    let profile = served.get("/ca.mobileconfig", IPHONE);
    assert_eq!((profile.status, profile.header("content-type")), (200, Some("application/x-apple-aspen-config")));
    assert!(profile.text().starts_with("<?xml"));
    let got: Vec<_> = served.visits().into_iter().filter_map(|visit| visit.got).collect();
    assert_eq!(
        got,
        [
            (Item::Page, System::Ios),
            (Item::Page, System::Android),
            (Item::Der, System::Android),
            (Item::Pem, System::Windows),
            (Item::Profile, System::Ios)
        ]
    );
}

#[test]
fn head_has_the_same_head_and_no_body() {
    let served = served();
    let whole = served.get("/ca.crt", ANDROID);
    let head = served.lines("HEAD /ca.crt HTTP/1.1\r\nHOST");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.head, whole.head);
}

#[test]
fn every_answer_tells_the_browser_to_keep_and_run_nothing() {
    let served = served();
    for (path, status) in [("/", 200), ("/ca.crt", 200), ("/ca.pem", 200), ("/ca.mobileconfig", 200), ("/x", 404)] {
        let answer = served.get(path, IPHONE);
        assert_eq!(answer.status, status);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
        let policy = answer.header("content-security-policy").expect("there is one");
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    }
}

#[test]
fn other_paths_are_not_there() {
    let served = served();
    for path in [
        "/index.html",
        "/ca.key",
        "/ca.crt/",
        "//ca.crt",
        "/ca.crt?x",
        "/?x",
        "/../certs/ca.key",
        "/%2e%2e/certs/ca.key",
        "/..%2fcerts%2fca.key",
        "/ca.crt/../ca.key",
        "/./ca.key",
        "/ca.crt%00.key",
        "/favicon.ico",
        "/.git/config",
        "http://127.0.0.1/ca.crt",
        "*",
    ] {
        assert_eq!(served.get(path, IPHONE).status, 404, "{path}");
    }
    assert!(served.visits().iter().all(|visit| visit.got.is_none() && visit.status == 404));
}

#[test]
fn other_methods_are_refused() {
    let served = served();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get", "PROPFIND"] {
        // With a body that nobody reads: the answer arrives all the same.
        let body = "x".repeat(30_000);
        let answer = served.lines(&format!("{method} / HTTP/1.1\r\nContent-Length: 30000\r\nHOST\r\n{body}"));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

/// A page of a stranger whose name was pointed at this address is not let in: its Host is the stranger's.
#[test]
fn another_host_is_refused() {
    let served = served();
    let port = served.address.port();
    for host in [
        "stranger.example".to_owned(),
        format!("stranger.example:{port}"),
        format!("localhost:{port}"),
        "127.0.0.1".to_owned(),
        "127.0.0.1:1".to_owned(),
        format!("127.0.0.1:{port}.stranger.example"),
        String::new(),
    ] {
        assert_eq!(served.lines(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n")).status, 421, "{host:?}");
    }
    assert_eq!(served.lines("GET / HTTP/1.1\r\n").status, 400, "no Host");
    assert_eq!(served.lines("GET / HTTP/1.1\r\nHOSTHOST").status, 400, "two of them");
}

#[test]
fn what_is_no_request_is_refused() {
    let served = served();
    // The last is how a browser begins that was told https:// by mistake.
    for bytes in [
        &b"\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
    ] {
        assert_eq!(served.send(bytes).status, 400, "{:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(served.get("/", IPHONE).status, 200, "and goes on");
}

#[test]
fn headers_are_bounded() {
    let served = served();
    let long = format!("GET / HTTP/1.1\r\nHOSTX: {}\r\n", "a".repeat(8 * 1024));
    assert_eq!(served.lines(&long).status, 431);
    let endless = format!("GET /{} HTTP/1.1\r\nHOST", "a".repeat(100_000));
    assert_eq!(served.lines(&endless).status, 431);
    let many = format!("GET / HTTP/1.1\r\nHOST{}", "A: b\r\n".repeat(65));
    assert_eq!(served.lines(&many).status, 431);
    let fits = format!("GET / HTTP/1.1\r\nHOSTX: {}\r\n", "a".repeat(7 * 1024));
    assert_eq!(served.lines(&fits).status, 200);
}

/// One that sends a byte now and then, and one that sends nothing, are ended in time, and nobody waits for them.
#[test]
fn slow_clients_hold_nobody_up() {
    let limits = Limits { reading: Duration::from_secs(3), ..LIMITS };
    let served = Served::new(content(&authority().ca), limits);
    let silent: Vec<_> = (0..4).map(|_| served.connect()).collect();
    let mut dripping = served.connect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let mut writer = dripping.try_clone().expect("a second handle");
        scope.spawn(move || {
            for byte in b"GET / HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaa".iter().cycle().take(200) {
                if writer.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let asked = Instant::now();
        assert_eq!(served.get("/", IPHONE).status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "answered after {:?}", asked.elapsed());
        dripping.flush().expect("it is open");
        let mut status = [0; 12];
        std::io::Read::read_exact(&mut dripping, &mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 408");
        assert!(start.elapsed() < Duration::from_secs(6), "ended after {:?}", start.elapsed());
        dripping.shutdown(std::net::Shutdown::Both).expect("it is open");
    });
    for mut stream in silent {
        assert_eq!(std::io::Read::read(&mut stream, &mut [0]).expect("it ends"), 0, "without a word");
    }
}

/// One that asks and does not take the answer is let go of, too.
#[test]
fn a_client_that_takes_nothing_does_not_stay() {
    let limits = Limits { connections_of_one: 1, ..LIMITS };
    let served = Served::new(content(&authority().ca), limits);
    let mut stream = served.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", served.address).as_bytes()).expect("it is open");
    served.wait_for_room();
    drop(stream);
}

#[test]
fn requests_are_limited() {
    let limits = Limits { requests_of_one: 3, ..LIMITS };
    let served = Served::new(content(&authority().ca), limits);
    let statuses: Vec<u16> = (0..3).map(|_| served.get("/", IPHONE).status).collect();
    assert_eq!(statuses, [200, 200, 200]);
    let refused = served.get("/", IPHONE);
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").expect("it says when").parse().expect("in seconds");
    assert!((50..=61).contains(&wait), "{wait}");
    assert_eq!(served.get("/x", IPHONE).status, 429, "whatever it is");
}

#[test]
fn connections_are_limited() {
    let limits = Limits { connections_of_one: 2, ..LIMITS };
    let served = Served::new(content(&authority().ca), limits);
    let open = [served.connect(), served.connect()];
    // Connections are seen in their order.
    assert_eq!(read(served.connect()).status, 503);
    drop(open);
    served.wait_for_room();
}

/// The arithmetic of it, at any time and for any number of visitors.
#[test]
fn one_visitor_cannot_use_up_what_is_everybodys() {
    let limits = Limits { connections: 3, connections_of_one: 2, requests: 5, requests_of_one: 3, ..LIMITS };
    let visitor = |last| IpAddr::from(Ipv4Addr::new(192, 168, 1, last));
    let mut usage = Usage::default();
    assert!(usage.enter(visitor(1), &limits) && usage.enter(visitor(1), &limits));
    assert!(!usage.enter(visitor(1), &limits), "it has two");
    assert!(usage.enter(visitor(2), &limits), "another one gets in");
    assert!(!usage.enter(visitor(3), &limits), "three are open");
    usage.leave(visitor(1));
    assert!(usage.enter(visitor(3), &limits));

    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    for _ in 0..3 {
        assert_eq!(usage.count(visitor(1), start, &limits), Ok(()));
    }
    for second in 0..10 {
        assert_eq!(usage.count(visitor(1), at(second), &limits), Err(Duration::from_secs(60 - second)));
    }
    assert_eq!(usage.count(visitor(2), at(10), &limits), Ok(()), "refused requests took nothing away");
    assert_eq!(usage.count(visitor(2), at(20), &limits), Ok(()));
    assert_eq!(usage.count(visitor(3), at(59), &limits), Err(Duration::from_secs(1)), "five in all");
    assert_eq!(usage.count(visitor(1), at(60), &limits), Ok(()), "a new minute");
}

/// ca.crt may hold the key as well, as some tools write it.
#[test]
fn no_key_comes_out() {
    let authority = authority();
    let combined = Ca::from_pem(&format!("{}{}", authority.key, authority.pem)).expect("the certificate is found");
    assert_eq!(combined.der, authority.ca.der);
    let served = Served::new(content(&combined), LIMITS);
    let secret: String = authority.key.lines().filter(|line| !line.starts_with("-----")).collect();
    let raw = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &secret).expect("base64");
    // RFC 5915: the private scalar is what is secret in it; the public key is in the certificate as well.
    let position = raw.windows(5).position(|bytes| bytes == [0x02, 0x01, 0x01, 0x04, 0x20]).expect("a P-256 key");
    let scalar = &raw[position + 5..position + 37];
    for path in ["/", "/ca.crt", "/ca.pem", "/ca.mobileconfig", "/ca.key"] {
        let body = served.get(path, IPHONE).body;
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("PRIVATE KEY"), "{path}");
        for line in authority.key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!text.contains(&line[..24]), "{path} has a line of the key");
        }
        assert!(!body.windows(scalar.len()).any(|bytes| bytes == scalar), "{path} has the key");
    }
}

/// Ctrl-C does not wait for whoever has a connection open.
#[test]
fn it_stops_at_once() {
    let mut served = served();
    let _silent = served.connect();
    let mut half = served.connect();
    half.write_all(b"GET / HTT").expect("it is open");
    assert_eq!(served.get("/", IPHONE).status, 200);
    let start = Instant::now();
    served.stop();
    assert!(start.elapsed() < Duration::from_secs(3), "stopped after {:?}", start.elapsed());
}
