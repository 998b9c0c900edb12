//! TURN relays for those who have credentials, to the call media port and to nothing else.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use command_center_tests::{Stack, docker};
use time::OffsetDateTime;
use xtask::drivers::https;
use xtask::drivers::turn::{self, Credentials, Refused, Session, Transport};
use xtask::secrets::{ADMIN_PASSWORD, TURN_SECRET};

use crate::checks;

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn turn_relays_for_callers_to_the_call_media_port_and_to_nothing_else() {
    let stack = Stack::new("turn");
    stack.up();
    checks::run(
        &stack,
        &[
            ("over UDP and TCP to the media port on the LAN address and back", it_relays_to_the_media_port),
            ("an allocation that is over does not count for the quota", deleted_allocations_do_not_count),
            ("with the credentials that Calls hands out", the_credentials_of_calls_work),
            ("with the credentials that `turn credentials` mints", minted_credentials_work),
            ("`turn check` proves all of it, and finds what is wrong elsewhere", turn_check_finds_out),
            ("refused without credentials", refused_without_credentials),
            ("refused with a wrong secret, an expired one, and another's password", refused_with_wrong_credentials),
            ("refused to every other peer, before any data", refused_to_other_peers),
            ("it listens on the LAN address only", it_listens_on_the_lan_only),
            (
                "a changed secret recreates coturn and Mattermost, and the old one is refused",
                a_changed_secret_counts_at_once,
            ),
        ],
    );
}

fn server(stack: &Stack) -> SocketAddr {
    SocketAddr::from((stack.lan(), stack.inner().settings.ports.turn))
}

fn media(stack: &Stack) -> SocketAddr {
    SocketAddr::from((stack.lan(), stack.inner().settings.ports.calls))
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn good(stack: &Stack, user: &str) -> Credentials {
    turn::credentials(&stack.secret(TURN_SECRET), user, now() + 60).expect("any secret makes credentials")
}

pub fn allocate(stack: &Stack, transport: Transport, user: &str) -> Session {
    let session = attempt(server(stack), transport, &good(stack, user));
    session.unwrap_or_else(|error| panic!("TURN over {transport}: {error:#}"))
}

/// One in a hundred allocations over UDP is not answered at all when several hundred came before, good ones and bad ones
/// alike; the next one, from another port, is. An answer of either kind is never asked for twice.
pub fn attempt(server: SocketAddr, transport: Transport, credentials: &Credentials) -> anyhow::Result<Session> {
    let mut result = turn::allocate(server, transport, credentials, LIMIT);
    for _ in 0..2 {
        if !result.as_ref().is_err_and(|error| error.to_string().contains("did not answer")) {
            break;
        }
        eprintln!("  no answer over {transport}; asking once more");
        result = turn::allocate(server, transport, credentials, LIMIT);
    }
    result
}

/// Binds a channel to the media port; a stand-in answers on it, a real server to callers only.
pub fn reaches_the_media_port(stack: &Stack, mut session: Session) {
    session.bind(media(stack), LIMIT).expect("the media port is the one peer that is allowed");
    if !stack.is_lab() {
        eprintln!("SKIPPED: only the stand-in echoes what comes to the media port, and a real Mattermost runs here");
        return;
    }
    // More than one packet, and one as large as a video's: the relay and Docker's NAT must pass both.
    for data in [b"ping".to_vec(), vec![7; 1200]] {
        let answer = session.exchange(media(stack), &data, LIMIT).expect("the answer comes back through the relay");
        assert_eq!(answer, data);
    }
}

fn it_relays_to_the_media_port(stack: &Stack) {
    let ports = stack.inner().settings.ports;
    for transport in [Transport::Udp, Transport::Tcp] {
        let session = allocate(stack, transport, "caller");
        let relayed = session.relayed();
        assert_eq!(relayed.ip(), IpAddr::V4(stack.lan()), "over {transport}");
        assert!((ports.turn_relay_first..=ports.turn_relay_last).contains(&relayed.port()), "{relayed}");
        reaches_the_media_port(stack, session);
    }
}

/// More of them than a user may have at a time, each over before the next: `doctor` and `turn check` can be run again and again.
fn deleted_allocations_do_not_count(stack: &Stack) {
    let quota = stack.inner().settings.turn.user_quota;
    for transport in [Transport::Udp, Transport::Tcp] {
        for _ in 0..quota + 6 {
            drop(allocate(stack, transport, "again"));
        }
    }
}

fn the_credentials_of_calls_work(stack: &Stack) {
    let path = "/plugins/com.mattermost.calls/turn-credentials";
    let site = stack.site(&stack.lan().to_string());
    assert_eq!(https::get(&site, path, None).expect("an answer").status(), 401, "without a session");
    let login = stack.login("admin", &stack.secret(ADMIN_PASSWORD));
    let token = login.headers().get("Token").and_then(|token| token.to_str().ok()).expect("a session's token");
    let answer = https::get(&site, path, Some(token)).expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.body());
    let servers = https::json(&answer).expect("JSON");
    let (server, lan) = (server(stack), stack.lan());
    let mut transports = Vec::new();
    for entry in servers.as_array().expect("a list of servers") {
        let text = |key: &str| entry[key].as_str().unwrap_or_else(|| panic!("no {key}: {entry}")).to_owned();
        let credentials = Credentials { username: text("username"), password: text("credential") };
        let expiry: i64 = credentials.username.split(':').next().and_then(|it| it.parse().ok()).expect("an expiry");
        let minutes = i64::from(stack.inner().settings.turn.credentials_minutes);
        assert!((expiry - now() - minutes * 60).abs() < 60, "good for {minutes} minutes: {}", credentials.username);
        for url in entry["urls"].as_array().expect("a list of URLs") {
            let url = url.as_str().expect("a URL is text");
            let prefix = format!("turn:{lan}:{}?transport=", server.port());
            let transport = match url.strip_prefix(&prefix) {
                Some("udp") => Transport::Udp,
                Some("tcp") => Transport::Tcp,
                _ => panic!("{url:?} is not our server"),
            };
            let session = attempt(server, transport, &credentials);
            reaches_the_media_port(stack, session.unwrap_or_else(|error| panic!("{url}: {error:#}")));
            transports.push(transport);
        }
    }
    assert_eq!(transports, [Transport::Udp, Transport::Tcp], "{servers}");
}

/// A first Allocate without credentials is answered by 401 and the realm, which every client's first request relies on.
fn refused_without_credentials(stack: &Stack) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let answer = unauthenticated(server(stack), transport).expect("an answer");
        assert_eq!(error_code(&answer), Some(401), "over {transport}");
        assert!(String::from_utf8_lossy(&answer).contains("cicd.local"), "the realm is in the challenge");
    }
}

fn refused_with_wrong_credentials(stack: &Stack) {
    let secret = stack.secret(TURN_SECRET);
    let expired = turn::credentials(&secret, "caller", now() - 60).expect("credentials");
    let wrong = turn::credentials("not-the-secret", "caller", now() + 60).expect("credentials");
    let empty = turn::credentials("", "caller", now() + 60).expect("credentials");
    let longer = Credentials { username: format!("{}:caller", now() + 999_999), ..good(stack, "caller") };
    let user = Credentials { username: good(stack, "other").username, ..good(stack, "caller") };
    let plain = Credentials { username: "caller".to_owned(), password: secret };
    for transport in [Transport::Udp, Transport::Tcp] {
        for (what, credentials) in [
            ("expired", &expired),
            ("a wrong secret", &wrong),
            ("an empty secret", &empty),
            ("a longer time than was signed", &longer),
            ("another's password", &user),
            ("the secret as a password", &plain),
        ] {
            let what = format!("{what}, over {transport}");
            let error = attempt(server(stack), transport, credentials).map(drop).expect_err(&what);
            assert_eq!(error.downcast_ref::<Refused>().map(|refused| refused.code), Some(401), "{what}: {error:#}");
        }
    }
}

/// No data is sent: the refusal of the channel is the proof.
fn refused_to_other_peers(stack: &Stack) {
    let lan = stack.lan();
    let neighbour = Ipv4Addr::from(u32::from(lan) ^ 1);
    let network = stack.inner().settings.network;
    let bridge = docker(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]).stdout;
    let port = media(stack).port();
    let mut peers = vec![
        ("loopback", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("loopback, another address", IpAddr::from([127, 8, 8, 8])),
        ("Mattermost's container", IpAddr::V4(network.mattermost_address)),
        ("PostgreSQL's container", stack.address_of("postgres", &format!("{}_database", stack.name))),
        ("the tools' network's gateway", IpAddr::V4(Ipv4Addr::from(u32::from(network.subnet.first) + 1))),
        ("a neighbour on the LAN", IpAddr::V4(neighbour)),
        ("a documentation address", IpAddr::from([198, 51, 100, 7])),
        ("another one", IpAddr::from([203, 0, 113, 9])),
        ("a private address", IpAddr::from([10, 1, 2, 3])),
        ("a link-local address", IpAddr::from([169, 254, 169, 254])),
        ("multicast", IpAddr::from([224, 0, 0, 251])),
        ("multicast of an organisation", IpAddr::from([239, 1, 2, 3])),
        ("broadcast", IpAddr::from([255, 255, 255, 255])),
        ("this host", IpAddr::from([0, 0, 0, 0])),
    ];
    if let Ok(address) = bridge.trim().parse() {
        peers.push(("docker0", address));
    }
    for transport in [Transport::Udp, Transport::Tcp] {
        for (number, (what, address)) in peers.iter().enumerate() {
            // A session of its own each: what one refusal leaves behind must not pass for the next.
            let mut session = allocate(stack, transport, &format!("peer{number}"));
            let bound = session.bind(SocketAddr::from((*address, port)), LIMIT);
            let error = bound.expect_err(&format!("{what} ({address}) is a peer over {transport}"));
            let code = error.downcast_ref::<Refused>().map(|refused| refused.code);
            assert_eq!(code, Some(403), "{what} ({address}) over {transport}: {error:#}");
        }
    }
    for address in ["::1", "::ffff:127.0.0.1", "fe80::1", "2001:db8::1"] {
        let mut session = allocate(stack, Transport::Udp, "six");
        let peer = SocketAddr::from((address.parse::<IpAddr>().expect("an address"), port));
        assert!(session.bind(peer, Duration::from_secs(2)).is_err(), "{address} is a peer");
    }
}

fn it_listens_on_the_lan_only(stack: &Stack) {
    if stack.lan().is_loopback() {
        eprintln!("SKIPPED: this host has no LAN address, so coturn listens on loopback");
        return;
    }
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, server(stack).port()));
    assert!(TcpStream::connect_timeout(&loopback, LIMIT).is_err(), "coturn listens on loopback");
    assert!(unauthenticated(loopback, Transport::Udp).is_err(), "coturn answers on loopback");
}

fn minted_credentials_work(stack: &Stack) {
    let ran = stack.xtask(&["turn", "credentials", "--user", "alice", "--ttl", "30m", "--json"]).exits(0);
    let minted: serde_json::Value = serde_json::from_str(&ran.stdout).expect("--json prints JSON");
    let server = &minted["iceServers"][0];
    let text = |key: &str| server[key].as_str().expect("a text").to_owned();
    let credentials = Credentials { username: text("username"), password: text("credential") };
    let expiry = credentials.username.strip_suffix(":alice").and_then(|it| it.parse().ok()).unwrap_or(0);
    assert!((expiry - now() - 1800).abs() < 60, "{}", credentials.username);
    let address = self::server(stack);
    assert_eq!(server["urls"][0], format!("turn:{address}?transport=udp"));
    attempt(address, Transport::Udp, &credentials).expect("they are accepted");
}

fn turn_check_finds_out(stack: &Stack) {
    let rows = stack.xtask(&["turn", "check", "--json"]).exits(0);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&rows.stdout).expect("--json prints JSON");
    assert!(rows.len() == 15 && rows.iter().all(|row| row["ok"] == true), "{rows:?}");

    // Servers that somebody might run: with another secret, open to everybody, without limits, and without UDP.
    let file = stack.root.join("turn-secret");
    std::fs::write(&file, "another-secret\n").expect("target/ can be written");
    let (host, own) = (stack.lan().to_string(), server(stack).port().to_string());
    let check = |port: &str| {
        let file = file.to_string_lossy();
        stack.xtask(&["turn", "check", "--host", &host, "--port", port, "--secret-file", &file])
    };
    check(&own).exits(1).says("the server has another secret").does_not_say("another-secret");
    let port = (server(stack).port() + 1).to_string();
    let secret = ["--use-auth-secret", "--static-auth-secret=another-secret", "--realm=x"];
    let peers =
        ["--no-multicast-peers", &format!("--allowed-peer-ip={host}"), "--denied-peer-ip=0.0.0.0-255.255.255.255"];
    let tcp_only = [&secret[..], &peers, &["--no-udp", "--user-quota=10"]].concat();
    for (options, findings) in [
        (&["--no-auth"][..], &["it relays for everybody"][..]),
        (&secret, &["172.17.0.1 is taken for a peer", "allocations were given to one user"]),
        (
            &tcp_only,
            &[
                "fail  reachable over udp",
                "ok    round trip over tcp",
                "ok    peer: a neighbour",
                "10 allocations, the next is refused",
            ],
        ),
    ] {
        const NAME: &str = "e2e-turn-other";
        let start = ["run", "--detach", "--name", NAME, "--network", "host", "--entrypoint", "turnserver"];
        let image = [stack.images().coturn.as_str(), "-n", "--no-cli", "--no-tls", "--no-dtls"];
        let place = ["--listening-ip", &host, "--relay-ip", &host, "--listening-port", &port];
        let files = ["--pidfile=/tmp/turnserver.pid", "--log-file=stdout"];
        docker(&["rm", "--force", NAME]);
        docker(&[&start[..], &image, &place, &files, options].concat()).exits(0);
        std::thread::sleep(Duration::from_secs(1));
        let ran = check(&port);
        docker(&["rm", "--force", NAME]).exits(0);
        findings.iter().fold(ran.exits(1), |ran, finding| ran.says(finding));
    }

    // An empty file would be a secret that nobody has.
    std::fs::write(&file, "\n").expect("target/ can be written");
    check(&own).exits(1).says("does not hold the secret alone").says("hint: on the server's machine");
}

fn a_changed_secret_counts_at_once(stack: &Stack) {
    let (old, ids) = (good(stack, "caller"), stack.ids());
    let path = xtask::secrets::path(&stack.root);
    let mut secrets = stack.secrets();
    secrets.set(TURN_SECRET, &xtask::secrets::generate(48), "2026-01-02");
    secrets.save(&path).expect("secrets.env can be written");
    stack.up().says("started: coturn, mattermost");
    for ((service, id), (_, before)) in stack.ids().into_iter().zip(ids) {
        assert_eq!(id == before, ["postgres", "relay"].contains(&service.as_str()), "{service}");
    }
    let error = attempt(server(stack), Transport::Udp, &old).map(drop).expect_err("the old secret");
    assert_eq!(error.downcast_ref::<Refused>().map(|refused| refused.code), Some(401), "{error:#}");
    the_credentials_of_calls_work(stack);
}

/// Sends an Allocate for UDP without credentials (RFC 8656, section 7) and returns the answer.
pub fn unauthenticated(server: SocketAddr, transport: Transport) -> std::io::Result<Vec<u8>> {
    let mut request = vec![0x00, 0x03, 0x00, 0x08, 0x21, 0x12, 0xa4, 0x42];
    request.extend_from_slice(b"twelve bytes");
    // REQUESTED-TRANSPORT: UDP.
    request.extend_from_slice(&[0x00, 0x19, 0x00, 0x04, 17, 0, 0, 0]);
    let mut answer = vec![0; 2048];
    let length = match transport {
        Transport::Udp => {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            socket.send(&request)?;
            socket.recv(&mut answer)?
        }
        Transport::Tcp => {
            let mut socket = TcpStream::connect_timeout(&server, LIMIT)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            socket.write_all(&request)?;
            socket.read(&mut answer)?
        }
    };
    answer.truncate(length);
    Ok(answer)
}

/// The code of an error response (RFC 8489, section 14.8).
pub fn error_code(message: &[u8]) -> Option<u16> {
    let mut rest = message.get(20..)?;
    while let [kind_high, kind_low, length_high, length_low, value @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        if u16::from_be_bytes([*kind_high, *kind_low]) == 0x0009 {
            return Some(u16::from(value.get(2)? & 7) * 100 + u16::from(*value.get(3)?));
        }
        rest = value.get(length.next_multiple_of(4)..)?;
    }
    None
}
