//! The stand-in answers as the real Mattermost of the recording did.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::common::HookServer;

#[test]
fn it_answers_as_recorded() {
    let server = HookServer::start();
    for line in include_str!("../recorded/hooks.jsonl").lines() {
        let recorded: Value = serde_json::from_str(line).expect("JSON");
        let (status, body) = post(&server, &recorded["request"]);
        assert_eq!(u64::from(status), recorded["status"].as_u64().expect("a status"), "{line}");
        assert_eq!(without_request_id(&body), without_request_id(recorded["body"].as_str().expect("text")), "{line}");
    }
}

fn without_request_id(body: &str) -> String {
    match body.split_once("\"request_id\":\"") {
        Some((before, after)) => format!("{before}{}", &after[26..]),
        None => body.to_owned(),
    }
}

fn post(server: &HookServer, request: &Value) -> (u16, String) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.authority.pem().as_bytes()).expect("PEM")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, TcpStream::connect(server.address).expect("connected"));

    let kind = request["headers"]["Content-Type"].as_str().unwrap_or("application/json");
    let body = request["body"].as_str().map_or_else(|| request["body"].to_string(), str::to_owned);
    let path = request["path"].as_str().expect("a path");
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n");
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).expect("sent");
    let mut answer = String::new();
    // The end of the connection is no error of the answer.
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status"), body.to_owned())
}
