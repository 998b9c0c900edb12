//! TLS as clients meet it: by name, by address, with our CA and without; and the origins of the WebSocket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use command_center_tests::Stack;
use xtask::drivers::https;
use xtask::secrets::ADMIN_PASSWORD;

use crate::{checks, client};

#[test]
fn the_site_is_reached_over_tls_by_those_who_trust_our_ca() {
    let stack = Stack::new("tls");
    stack.up();
    checks::run(
        &stack,
        &[
            ("by name and by address, with our CA alone", by_name_and_by_address),
            ("refused with another CA, without any, and under another name", refused_without_our_ca),
            ("no answer without TLS", nothing_without_tls),
            ("the administrator logs in by address", the_administrator_logs_in),
            ("the WebSocket opens for our origins only", the_websocket_opens_for_our_origins),
            ("`certs --renew` is what the running server then presents", a_renewed_certificate_is_presented),
        ],
    );
}

fn by_name_and_by_address(stack: &Stack) {
    let lan = stack.lan().to_string();
    for name in ["mattermost.cicd.local", "localhost", &lan] {
        let answer = https::get(&stack.site(name), "/api/v4/system/ping", None).expect(name);
        assert_eq!(answer.status(), 200, "{name}");
        assert_eq!(https::json(&answer).expect("JSON")["status"], "OK", "{name}");
    }
}

fn refused_without_our_ca(stack: &Stack) {
    let (address, lan) = (stack.address(), stack.lan().to_string());
    // A CA of the same name and for the same site, with another key: whoever runs this project has one.
    let other = Stack::beside("tls-other");
    other.xtask(&["certs"]).exits(0);
    assert_ne!(other.ca(), stack.ca());
    for cas in [vec![], vec![other.ca()]] {
        let cas: Vec<&str> = cas.iter().map(String::as_str).collect();
        let error = client::connect(address, &lan, &cas).expect_err("no root that signed this").to_string();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
    let error = client::connect(address, "mattermost.example.org", &[&stack.ca()]).expect_err("not its name");
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

fn nothing_without_tls(stack: &Stack) {
    let mut stream = TcpStream::connect(stack.address()).expect("the port is published");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket has a time limit");
    stream.write_all(b"GET /api/v4/system/ping HTTP/1.1\r\nHost: x\r\n\r\n").expect("a socket can be written");
    let mut answer = [0; 64];
    // A reset is a refusal as well.
    let length = stream.read(&mut answer).unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(!answer.contains(" 200 "), "{answer}");
}

fn the_administrator_logs_in(stack: &Stack) {
    let (name, password) = (stack.inner().settings.administrator.name, stack.secret(ADMIN_PASSWORD));
    let answer = stack.login(&name, &password);
    assert_eq!(answer.status(), 200, "{}", answer.body());
    let token = answer.headers().get("Token").and_then(|token| token.to_str().ok()).expect("a session's token");
    let site = stack.site(&stack.lan().to_string());
    let me = https::json(&https::get(&site, "/api/v4/users/me", Some(token)).expect("an answer")).expect("JSON");
    assert_eq!(me["username"], name.as_str());
    assert!(me["roles"].as_str().is_some_and(|roles| roles.contains("system_admin")), "{me}");
    assert_eq!(stack.login(&name, "not-the-password").status(), 401);
}

fn the_websocket_opens_for_our_origins(stack: &Stack) {
    let address = stack.address();
    let by_address = format!("https://{address}");
    let without_port = format!("https://{}", address.ip());
    let plain = format!("http://{address}");
    let by_name = stack.inner().settings.site_url();
    for (origin, status) in [
        (Some(by_address.as_str()), 101),
        (Some(by_name.as_str()), 101),
        // Native apps send none.
        (None, 101),
        (Some("https://stranger.invalid"), 403),
        (Some(without_port.as_str()), 403),
        (Some(plain.as_str()), 403),
        (Some("null"), 403),
    ] {
        let mut headers: Vec<(String, String)> = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        headers.extend(origin.map(|origin| ("Origin".to_owned(), origin.to_owned())));
        let answer = client::request(stack, "GET", "/api/v4/websocket", &headers, None).expect("an answer");
        assert_eq!(answer.0, status, "{origin:?}: {}", answer.2);
    }
}

/// Only the servers that read a certificate are recreated: calls that run through coturn go on.
fn a_renewed_certificate_is_presented(stack: &Stack) {
    let (before, ids) = (client::certificate(stack), stack.ids());
    let ca = stack.ca();
    let files = || xtask::certs::leaf_paths(&stack.root, "postgres").0;
    let postgres = std::fs::read_to_string(files()).expect("a certificate");

    // Nothing is due: nothing happens.
    stack.xtask(&["certs"]).exits(0).says("none runs out soon").does_not_say("recreated");
    assert_eq!(stack.ids(), ids);

    stack.xtask(&["certs", "--renew"]).exits(0).says("recreated:");
    let now = client::certificate(stack);
    assert_ne!(now, before, "the running server presents the old certificate");
    let (_, pem) = x509_parser::pem::parse_x509_pem(
        &std::fs::read(xtask::certs::leaf_paths(&stack.root, "mattermost").0).expect("a certificate"),
    )
    .expect("PEM");
    assert_eq!(now, pem.contents, "the running server presents another certificate than the one that was issued");
    assert_eq!(stack.ca(), ca, "the CA stays: phones have enrolled it");
    let issued = std::fs::read_to_string(files()).expect("a certificate");
    assert_ne!(issued, postgres);
    let read = command_center_tests::docker(&["exec", &stack.container("postgres"), "cat", "/run/secrets/tls.crt"]);
    assert_eq!(read.exits(0).stdout, issued, "PostgreSQL reads the old certificate");
    for ((service, id), (_, old)) in stack.ids().into_iter().zip(ids) {
        assert_eq!(id == old, ["coturn", "relay"].contains(&service.as_str()), "{service}");
    }
    stack.xtask(&["certs"]).exits(0).says("none runs out soon").does_not_say("recreated");
    stack.up().says("Nothing to change");
}
