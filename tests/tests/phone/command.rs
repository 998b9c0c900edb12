//! The command, as it is run.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::client::get;
use crate::fake::{self, Checkout, ENGINE, stderr};
use crate::{IPHONE, common, qr};

/// A checkout with certificates and with ports that nothing else here has.
fn checkout(mattermost: u16, phone: u16, lan: &str) -> Checkout {
    let checkout = Checkout::with_settings(&common::shipped_with(&[
        ("name = \"command-center\"", "name = \"t-phone\""),
        ("addresses = \"auto\"", &format!("addresses = {lan}")),
        ("mattermost = 8065", &format!("mattermost = {mattermost}")),
        ("phone = 8066", &format!("phone = {phone}")),
    ]));
    checkout.docker(ENGINE);
    checkout.xtask_without_programs(&["certs"]).success();
    checkout
}

/// The address of this host on a LAN. A machine without one says so where a log reader sees it.
fn lan_address(test: &str) -> Option<Ipv4Addr> {
    let address = xtask::host::every_lan_address().expect("addresses are listed").first().map(|lan| lan.address);
    if address.is_none() {
        eprintln!("SKIPPED: {test}: this machine has no LAN address");
    }
    address
}

/// `cargo xtask phone` while it runs. It ends with the test.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(checkout: &Checkout) -> Running {
        let mut child = Command::new(fake::binary())
            .args(["phone", "--minutes", "2"])
            .env("CARGO_MANIFEST_DIR", checkout.path("xtask"))
            .env("PATH", checkout.path("bin"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Running { child, stdout }
    }

    /// What it prints until it serves.
    fn greeting(&mut self) -> String {
        let mut text = String::new();
        while !text.contains("Serving for") {
            let read = self.stdout.read_line(&mut text).expect("it prints text");
            assert_ne!(read, 0, "it ended: {text}");
        }
        text
    }

    /// Ctrl-C: its exit status, and what it printed since.
    fn interrupt(mut self) -> (Option<i32>, String, String) {
        let kill = format!("kill -INT {}", self.child.id());
        common::stdout_of(Command::new("/bin/sh").args(["-c", &kill]));
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).expect("it prints text");
        self.child.stderr.take().expect("it is piped").read_to_string(&mut stderr).expect("it prints text");
        (self.child.wait().expect("it ends").code(), stdout, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// From the start to Ctrl-C: what is shown can be used, each visit has a line, and the end is a clean one.
#[test]
fn it_shows_where_it_is_serves_and_ends_cleanly() {
    let Some(lan) = lan_address("it_shows_where_it_is_serves_and_ends_cleanly") else { return };
    let checkout = checkout(28165, 28166, &format!("[\"{lan}\"]"));
    let mut running = Running::start(&checkout);
    let greeting = running.greeting();
    let url = format!("http://{lan}:28166/");
    let code: Vec<&str> =
        greeting.lines().skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
    assert_eq!(qr::decode(&code.join("\n")), url);
    assert!(greeting.contains(&format!("Page      {url}\n")), "{greeting}");
    let pem = checkout.read("certs/ca.crt");
    let fingerprint = xtask::certs::fingerprint(&pem).expect("a certificate");
    assert!(greeting.split_whitespace().collect::<Vec<_>>().join(":").contains(&fingerprint), "{greeting}");
    assert!(greeting.contains("Serving for 2 minutes"), "{greeting}");

    let address = SocketAddr::from((lan, 28166));
    assert!(get(address, "/", IPHONE).text().contains(&format!("{lan}:28165")));
    assert_eq!(get(address, "/ca.mobileconfig", IPHONE).status, 200);
    assert_eq!(get(address, "/", "\x1b[31m").status, 400);
    let elsewhere = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, 28166)), Duration::from_secs(2));
    assert!(elsewhere.is_err(), "it listens on the LAN address alone");

    let start = Instant::now();
    let (status, stdout, stderr) = running.interrupt();
    assert!(start.elapsed() < Duration::from_secs(3), "it ended after {:?}", start.elapsed());
    assert_eq!(status, Some(0), "{stderr}");
    for line in [
        &format!("  {lan:<15}  iPhone or iPad: the page\n"),
        &format!("  {lan:<15}  iPhone or iPad: the profile (ca.mobileconfig)\n"),
        "Stopped. Addresses that came: 1; the page 1×, the profile (ca.mobileconfig) 1×, refused 1×\n",
    ] {
        assert!(stdout.contains(line), "{line:?} is not in:\n{stdout}");
    }
    assert!(!stdout.contains('\x1b'), "what a visitor sends is not printed, and there are no colours in a pipe");
    // Nothing runs there: the CA is handed out all the same.
    assert!(stderr.contains(&format!("WARNING: https://{lan}:28165 does not work yet: ")), "{stderr}");
    assert!(stderr.contains("\nhint: `cargo xtask status` shows what runs"), "{stderr}");
}

/// A page in a browser has its own origin, so the terminal opens the WebSocket with the one that the app has.
#[test]
fn the_terminal_proves_https_and_the_websocket_with_the_right_origin() {
    let Some(lan) = lan_address("the_terminal_proves_https_and_the_websocket_with_the_right_origin") else { return };
    let checkout = checkout(28175, 28176, &format!("[\"{lan}\"]"));
    let origins = mattermost(&checkout, lan, 28175);
    let mut running = Running::start(&checkout);
    running.greeting();
    let (status, _, stderr) = running.interrupt();
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.contains(&format!("https://{lan}:28175: HTTPS and the WebSocket work")), "{stderr}");
    assert_eq!(origins.join().expect("it answered both"), ["", &format!("https://{lan}:28175")]);
}

/// A double of Mattermost with the certificate of this checkout: it answers a ping and a handshake, and returns their origins.
fn mattermost(checkout: &Checkout, address: Ipv4Addr, port: u16) -> std::thread::JoinHandle<Vec<String>> {
    let certificate = checkout.read("certs/mattermost/tls.crt");
    let key = checkout.read("certs/mattermost/tls.key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"),
        )
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind((address, port)).expect("the port is free");
    std::thread::spawn(move || {
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"status\":\"OK\"}",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ];
        answers
            .map(|answer| {
                let (socket, _) = listener.accept().expect("a connection");
                socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
                let connection = ServerConnection::new(config.clone()).expect("a connection");
                let mut stream = BufReader::new(StreamOwned::new(connection, socket));
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    assert_ne!(stream.read_line(&mut head).expect("a request"), 0);
                }
                stream.get_mut().write_all(answer.as_bytes()).expect("it takes an answer");
                stream.get_mut().flush().expect("it takes an answer");
                let origin = head.lines().find_map(|line| line.strip_prefix("Origin: "));
                origin.unwrap_or_default().to_owned()
            })
            .to_vec()
    })
}

#[test]
fn who_holds_the_port_is_named() {
    let Some(lan) = lan_address("who_holds_the_port_is_named") else { return };
    let checkout = checkout(28185, 28186, &format!("[\"{lan}\"]"));
    let _holder = TcpListener::bind((lan, 28186)).expect("the port is free");
    let assert = checkout.xtask(&["phone"]).code(1);
    let holder = format!("error: port 28186/tcp is taken by process {} (", std::process::id());
    assert!(stderr(&assert).contains(&holder), "{}", stderr(&assert));
    assert!(stderr(&assert).contains("hint: stop it, or change ports.phone in stack.toml"), "{}", stderr(&assert));
}

#[test]
fn without_a_ca_or_a_network_there_is_nothing_to_serve() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    let assert = checkout.xtask(&["phone"]).code(1);
    assert!(
        stderr(&assert).contains("cannot read the CA ") && stderr(&assert).contains("certs/ca.crt"),
        "{}",
        stderr(&assert)
    );
    assert!(stderr(&assert).contains("hint: `cargo xtask up` makes it"), "{}", stderr(&assert));
    let checkout = self::checkout(28195, 28196, "[\"127.0.0.1\"]");
    let assert = checkout.xtask(&["phone"]).code(1);
    assert!(stderr(&assert).contains("this host has no address on a LAN"), "{}", stderr(&assert));
    assert!(stderr(&assert).contains("hint: connect it to a network"), "{}", stderr(&assert));
}

#[test]
fn the_time_has_bounds() {
    let checkout = Checkout::new();
    for minutes in ["0", "121", "-1", "ten"] {
        checkout.xtask_without_programs(&["phone", &format!("--minutes={minutes}")]).code(2);
    }
}
