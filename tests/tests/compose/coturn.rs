//! coturn: an open relay would be a hole through the firewall, so each way of becoming one is closed twice.

use std::net::Ipv4Addr;

use crate::{Case, cases, common, texts};

/// Relayed addresses must be the host's own, and hundreds of ports cannot be published one by one.
#[test]
fn coturn_is_on_the_hosts_network() {
    for case in cases() {
        let coturn = case.service("coturn");
        assert_eq!(coturn["network_mode"], "host", "{}", case.name);
        assert!(coturn["ports"].is_null() && coturn["networks"].is_null(), "{}", case.name);
    }
}

/// A coturn that has lost its file relays for everybody, unless its arguments ask for credentials.
#[test]
fn coturn_fails_closed_without_its_file() {
    for case in cases() {
        let coturn = case.service("coturn");
        assert_eq!(texts(&coturn["entrypoint"]), ["turnserver"], "{}: the image's evaluates arguments", case.name);
        let command = texts(&coturn["command"]);
        assert!(command.contains(&"--use-auth-secret"), "{}", case.name);
        assert!(command.contains(&format!("--realm={}", case.settings.domain).as_str()), "{}", case.name);
    }
}

/// Arguments are for every user of the host to read, with `ps` and with `docker inspect`.
#[test]
fn no_secret_is_in_coturns_arguments() {
    for case in cases() {
        for argument in texts(&case.service("coturn")["command"]) {
            assert!(!argument.contains("secret="), "{}: {argument}", case.name);
            for (name, value) in common::FAKE_SECRETS {
                assert!(!argument.contains(value), "{}: {name}", case.name);
            }
        }
    }
}

/// The last row of contract/coturn-4.6.md: the allowed peer is looked at first, and a denial of all of IPv6 without one of IPv4
/// before it, or without the allowed peer, refuses every IPv4 peer too.
#[test]
fn the_only_peer_is_the_lan_address() {
    for case in cases() {
        let peers: Vec<_> = options(&case).into_iter().filter(|(name, _)| name.ends_with("-peer-ip")).collect();
        let expected = [
            ("allowed-peer-ip", case.lan_ip()),
            ("denied-peer-ip", "0.0.0.0-255.255.255.255".to_owned()),
            ("denied-peer-ip", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".to_owned()),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(peers, expected, "{}", case.name);
        assert!(has(&case, "no-multicast-peers"), "{}", case.name);
        assert!(has(&case, "no-tcp-relay"), "{}", case.name);
        assert!(!has(&case, "allow-loopback-peers"), "{}", case.name);
    }
}

/// It listens and relays on the LAN address alone: a listener on every address would be one on every network of the host.
#[test]
fn coturn_listens_and_relays_on_the_lan_address() {
    for case in cases() {
        for name in ["listening-ip", "relay-ip"] {
            assert_eq!(values(&case, name), [case.lan_ip()], "{}: {name}", case.name);
        }
        let ports = &case.settings.ports;
        for (name, port) in
            [("listening-port", ports.turn), ("min-port", ports.turn_relay_first), ("max-port", ports.turn_relay_last)]
        {
            assert_eq!(values(&case, name), [port.to_string()], "{}: {name}", case.name);
        }
        assert!(values(&case, "listening-ip").iter().all(|ip| ip.parse::<Ipv4Addr>().is_ok()), "{}", case.name);
    }
}

/// Time-limited credentials only: a static user would be a password for ever, `no-auth` none at all.
#[test]
fn only_time_limited_credentials_are_good() {
    for case in cases() {
        assert!(has(&case, "use-auth-secret"), "{}", case.name);
        assert_eq!(values(&case, "static-auth-secret").len(), 1, "{}", case.name);
        assert_eq!(values(&case, "realm"), [case.settings.domain.as_str()], "{}", case.name);
        for name in ["no-auth", "user", "lt-cred-mech", "userdb", "secure-stun"] {
            assert!(!has(&case, name), "{}: {name}", case.name);
        }
    }
}

/// One client must not take every port of the range.
#[test]
fn quotas_are_set() {
    for case in cases() {
        assert_eq!(values(&case, "user-quota"), [case.settings.turn.user_quota.to_string()], "{}", case.name);
        assert_eq!(values(&case, "total-quota"), [case.settings.turn.total_quota.to_string()], "{}", case.name);
    }
}

/// Phones cannot verify TURN over TLS against a private CA, and media is encrypted anyway; the telnet console is a back door.
#[test]
fn there_is_no_tls_and_no_console() {
    for case in cases() {
        for name in ["no-tls", "no-dtls", "no-cli"] {
            assert!(has(&case, name), "{}: {name}", case.name);
        }
        for name in ["cert", "pkey", "tls-listening-port", "web-admin", "cli-password"] {
            assert!(!has(&case, name), "{}: {name}", case.name);
        }
    }
}

/// The client hangs for ever when nothing answers, so without a limit a dead coturn would stay `starting`.
#[test]
fn the_health_check_asks_the_address_that_clients_ask() {
    for case in cases() {
        let check = &case.service("coturn")["healthcheck"];
        let test = texts(&check["test"]);
        let port = case.settings.ports.turn.to_string();
        assert!(test.windows(2).any(|pair| pair == ["-p", port.as_str()]), "{}: {test:?}", case.name);
        assert!(test.last().is_some_and(|last| last.starts_with("${LAN_IP:?")), "{}: {test:?}", case.name);
        assert!(check["timeout"].is_string(), "{}", case.name);
    }
}

/// Lines of turnserver.conf: names, with their values.
fn options(case: &Case) -> Vec<(String, String)> {
    let text = case.contents("env/turnserver.conf");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn values(case: &Case, name: &str) -> Vec<String> {
    options(case).into_iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect()
}

fn has(case: &Case, name: &str) -> bool {
    !values(case, name).is_empty()
}
