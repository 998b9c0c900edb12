//! Addresses that come and go under a running stack, on a machine of the test's own. Its client is another machine on the
//! same LAN, which has nothing but our CA.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use command_center_tests::{Machine, Ran, Stack, run};
use serde_json::Value;
use xtask::drivers::https;
use xtask::drivers::turn::{Transport, challenge};
use xtask::secrets::ADMIN_PASSWORD;

use crate::up::files;
use crate::wiring::posts;
use crate::{checks, turn};

/// Where the machine is first, and what its address changes to. The client is at the end of each subnet.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 254, 99, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 7);
/// RFC 5737: outside of everything that a CA made on a private network may sign for.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

const MESSAGE: &str = "posted before any address changed";

#[test]
fn lan() {
    let Some(machine) = Machine::start("lan") else { return };
    let stack = Stack::on(&Arc::new(machine), "lan");
    stack.up().says(&format!("https://{FIRST}:"));
    let hook = format!("/hooks/{}", stack.secret("JENKINS_BUILDS_HOOK"));
    let answer = stack.machine().on_client(|| {
        https::post(&stack.site(&FIRST.to_string()), &hook, &serde_json::json!({ "text": MESSAGE })).expect("an answer")
    });
    assert_eq!(answer.status(), 200, "{}", answer.body());
    clients_reach(&stack, FIRST);
    checks::run(
        &stack,
        &[
            ("an address that changed: one `up` follows", a_changed_address_is_followed),
            ("an interface that comes and goes: Mattermost follows", another_interface_is_followed),
            ("an address that the CA may not sign for is refused, and nothing breaks", an_address_outside_is_refused),
            ("an address in stack.toml that is gone is refused", a_listed_address_that_is_gone),
            ("a rule of this host's firewall that stops TURN is found, as clients meet it", a_firewall_that_stops_turn),
            ("an engine that hangs is named, and holds nobody up", an_engine_that_hangs),
            ("without a LAN, and with IPv6 alone, it runs on loopback and says so", without_a_lan),
        ],
    );
}

fn a_changed_address_is_followed(stack: &Stack) {
    let (ca, ids) = (stack.ca(), stack.ids());
    readdress(stack, SECOND);
    // As after a reboot: it cannot listen on an address that is gone, and is in no state to be waited for.
    stack.docker(&["restart", "--time", "1", &stack.container("coturn")]);
    doctor_says(stack, "addresses.changed", &format!("this host's address changed from {FIRST} to {SECOND}"));
    let ran = stack.up().says(&format!(
        "this host's address changed from {FIRST} to {SECOND}: certificate, origins, ICE host and coturn follow"
    ));
    assert_eq!(replaced(stack, &ids), ["coturn", "mattermost"], "{}", ran.said());
    assert_eq!(stack.ca(), ca, "a new CA: every phone would have to enrol again");
    clients_reach(stack, SECOND);
    turn_check_is_content(stack);
    stack.up().says("Nothing to change").does_not_say("this host");
}

fn another_interface_is_followed(stack: &Stack) {
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 254, 98, 1);
    let (first, ids) = (stack.lan(), stack.ids());
    stack.machine().plug("eth1", &format!("{OTHER}/24"), "10.254.98.254/24");
    doctor_says(stack, "addresses.changed", &format!("this host also has {OTHER} now"));
    let ran = stack.up().says(&format!("this host also has {OTHER} now: certificate and origins follow"));
    assert_eq!(replaced(stack, &ids), ["mattermost"], "{}", ran.said());
    assert_eq!(stack.lan(), first, "another address is advertised");
    clients_reach(stack, first);
    stack.machine().on_client(|| site_answers(stack, OTHER));

    let ids = stack.ids();
    stack.machine().ip("link delete eth1");
    let ran = stack.up().says(&format!("this host no longer has {OTHER}: origins follow"));
    assert_eq!(replaced(stack, &ids), ["mattermost"], "{}", ran.said());
}

fn an_address_outside_is_refused(stack: &Stack) {
    let (before, ids, first) = (files(stack), stack.ids(), stack.lan());
    readdress(stack, OUTSIDE);
    let ran = stack.try_up().exits(1).says(&format!("changed from {first} to {OUTSIDE}"));
    let ran = ran.says(&format!("{OUTSIDE} lies outside of what")).says("hint: ");
    assert_eq!(files(stack), before, "something was written: {}", ran.said());
    assert_eq!(stack.ids(), ids, "{}", ran.said());
    assert_eq!(stack.running().len(), ids.len(), "something was stopped: {}", ran.said());
    readdress(stack, first);
    stack.up().says("Nothing to change");
    clients_reach(stack, first);
}

fn a_listed_address_that_is_gone(stack: &Stack) {
    let (before, ids, listed) = (files(stack), stack.ids(), "addresses = [\"10.254.96.1\"]");
    stack.edit("\naddresses = \"auto\"", &format!("\n{listed}"));
    let ran = stack.try_up();
    stack.edit(&format!("\n{listed}"), "\naddresses = \"auto\"");
    ran.exits(2)
        .says("lan.addresses: this host does not have the address 10.254.96.1")
        .says(&format!("it has {}; use one of them, or \"auto\"", stack.lan()));
    assert_eq!(files(stack), before);
    assert_eq!(stack.ids(), ids);
}

/// On the host itself everything works: only the rules say why nobody else gets through.
fn a_firewall_that_stops_turn(stack: &Stack) {
    let (lan, port) = (stack.lan(), stack.inner().settings.ports.turn.to_string());
    let rule = |what: &str| {
        let mut command = stack.program("iptables");
        command.args([what, "INPUT", "-i", "eth0", "-p", "udp", "--dport", &port, "-j", "DROP"]);
        run(&mut command, "", Duration::from_secs(10)).exits(0);
    };
    let reached = || {
        let server = SocketAddr::from((lan, stack.inner().settings.ports.turn));
        stack.machine().on_client(|| challenge(server, Transport::Udp, Duration::from_secs(2)).is_ok())
    };
    assert!(reached());
    rule("-I");
    doctor_says(stack, "firewall.rule", &format!("{port}/udp: stopped by iptables, table filter, chain INPUT: "));
    assert!(!reached(), "the rule stops nobody");
    rule("-D");
    assert!(reached());
}

fn an_engine_that_hangs(stack: &Stack) {
    let ran = stack.machine().while_engine_hangs(|| {
        let start = Instant::now();
        doctor_says(stack, "engine.silent", "Docker's daemon did not answer");
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        stack.xtask(&["doctor"])
    });
    ran.exits(1).says("ok    disk").says("not done within 8 s: ");
}

fn without_a_lan(stack: &Stack) {
    let (ids, last) = (stack.ids(), stack.lan());
    stack.machine().ip("link set eth0 down");
    doctor_says(stack, "addresses.changed", &format!("this host lost its LAN address {last}"));
    let ran = stack.up().says(&format!("this host lost its LAN address {last}"));
    let ran = ran.says("warning: this host has no LAN address").says("proven: Mattermost answers over TLS");
    assert_eq!(replaced(stack, &ids), ["coturn", "mattermost"], "{}", ran.said());
    assert!(stack.lan().is_loopback());
    doctor_says(stack, "addresses.none", "no LAN address");

    let loopback = stack.ids();
    stack.machine().ip("address flush dev eth0");
    stack.machine().ip("link set eth0 up");
    if Path::new("/proc/net/if_inet6").exists() {
        stack.machine().ip("address add fd12:3456::7/64 dev eth0 nodad");
        stack.up().says("IPv6 (fd12:3456::7), which is not supported").says("Nothing to change");
    } else {
        eprintln!("SKIPPED: this host has no IPv6");
    }
    assert_eq!(stack.ids(), loopback);

    readdress(stack, FIRST);
    let ran = stack.up().says(&format!("this host has the LAN address {FIRST} now"));
    ran.does_not_say("warning: this host");
    assert_eq!(replaced(stack, &ids), ["coturn", "mattermost"]);
    clients_reach(stack, FIRST);
    turn_check_is_content(stack);
}

/// A row of doctor's that names this problem and says this.
fn doctor_says(stack: &Stack, problem: &str, finding: &str) {
    let ran = stack.xtask(&["doctor", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.said()));
    let row = rows.iter().find(|row| row["problem"] == problem);
    let said = row.and_then(|row| row["finding"].as_str()).unwrap_or_else(|| panic!("no {problem}: {}", ran.said()));
    assert!(said.contains(finding), "{said}");
}

/// Gives eth0 this address and no other of IPv4, and the client one beside it that routes.
fn readdress(stack: &Stack, address: Ipv4Addr) {
    let [a, b, c, _] = address.octets();
    let client = Ipv4Addr::new(a, b, c, 254);
    let machine = stack.machine();
    machine.client_ip(&format!("address replace {client}/24 dev client-eth0"));
    machine.ip("-4 address flush dev eth0");
    machine.ip(&format!("address add {address}/24 dev eth0"));
    machine.ip(&format!("route replace default via {client}"));
}

/// The services that have another container than before.
fn replaced(stack: &Stack, before: &[(String, String)]) -> Vec<String> {
    let now = stack.ids();
    let names = |ids: &[(String, String)]| ids.iter().map(|(service, _)| service.clone()).collect::<BTreeSet<_>>();
    assert_eq!(names(&now), names(before), "another set of services");
    let new: BTreeSet<String> =
        now.iter().filter(|now| !before.contains(now)).map(|(service, _)| service.clone()).collect();
    new.into_iter().collect()
}

/// Everything that a phone does, by raw address and from another machine, and the data of before.
fn clients_reach(stack: &Stack, address: Ipv4Addr) {
    assert_eq!(stack.lan(), address, "another address is advertised");
    stack.machine().on_client(|| {
        site_answers(stack, address);
        assert_eq!(stack.login("admin", &stack.secret(ADMIN_PASSWORD)).status(), 200);
        let told = posts(stack, "builds");
        assert!(told.iter().any(|post| post["message"] == MESSAGE), "the message is gone: {told:?}");
        for transport in [Transport::Udp, Transport::Tcp] {
            let session = turn::allocate(stack, transport, "phone");
            assert_eq!(session.relayed().ip(), address, "over {transport}");
            turn::reaches_the_media_port(stack, session);
        }
    });
}

/// By this address over TLS with our CA alone, and the WebSocket by its origin.
fn site_answers(stack: &Stack, address: Ipv4Addr) {
    let server = SocketAddr::from((address, stack.inner().settings.ports.mattermost));
    let site = https::site(&stack.ca(), &address.to_string(), server).expect("the CA is a certificate");
    let answer = https::get(&site, "/api/v4/system/ping", None).unwrap_or_else(|error| panic!("{address}: {error:#}"));
    assert_eq!(answer.status(), 200, "{address}");
    let opens = |origin: &str| https::websocket_status(&site, origin).expect("an answer");
    assert_eq!(opens(&format!("https://{server}")), 101, "{address}");
    assert_eq!(opens("https://stranger.invalid"), 403, "{address}");
}

/// Once a coturn: the check uses up a user's quota, which comes back when its allocations run out.
fn turn_check_is_content(stack: &Stack) {
    let ran: Ran = stack.xtask(&["turn", "check", "--json"]).exits(0);
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).expect("--json prints JSON");
    assert!(!rows.is_empty() && rows.iter().all(|row| row["ok"] == true), "{rows:?}");
}
