//! What is said of addresses that changed, and for whom the command center is reachable.

mod common;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use xtask::host::Host;
use xtask::lan::{self, Rendered};

const A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const B: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 20);
const C: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const D: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What is said when these were rendered and the host has those now.
fn changes(before: &[Ipv4Addr], now: &[Ipv4Addr]) -> Option<String> {
    let rendered = Rendered { advertised: before[0], addresses: before.iter().copied().collect() };
    lan::changes(&rendered, &common::host(now))
}

#[test]
fn an_address_that_changed_is_told_in_one_line() {
    let all = "certificate, origins, ICE host and coturn follow";
    for (before, now, told) in [
        (&[A][..], &[B][..], format!("this host's address changed from {A} to {B}: {all}")),
        (&[A, C], &[B, C], format!("this host's address changed from {A} to {B}: {all}")),
        (&[A], &[B, A], format!("this host's first address is {B} now, before {A}: {all}")),
        (&[A, B], &[B], format!("this host's address changed from {A} to {B}: {all}")),
        (
            &[A, C],
            &[B, D],
            format!("this host's address changed from {A} to {B}, it also has {D}, it no longer has {C}: {all}"),
        ),
        (&[A], &[LOOPBACK], format!("this host lost its LAN address {A}: {all}")),
        (&[LOOPBACK], &[A], format!("this host has the LAN address {A} now: {all}")),
        (&[LOOPBACK], &[A, B], format!("this host has the LAN address {A} now, it also has {B}: {all}")),
        (&[A], &[A, B], format!("this host also has {B} now: certificate and origins follow")),
        (&[A, B, C], &[A], format!("this host no longer has {C}, {B}: origins follow")),
        (&[A, B], &[A, C], format!("this host also has {C} now and no longer has {B}: certificate and origins follow")),
    ] {
        assert_eq!(changes(before, now), Some(told), "{before:?} -> {now:?}");
    }
}

#[test]
fn the_same_addresses_are_no_change() {
    for addresses in [&[A][..], &[A, B], &[LOOPBACK]] {
        assert_eq!(changes(addresses, addresses), None);
    }
    assert_eq!(changes(&[A, B, C], &[A, C, B]), None, "the order behind the first");
}

/// The reader and the templates must not drift apart.
#[test]
fn what_was_rendered_is_read_back() {
    let settings = common::settings(&common::shipped());
    for addresses in [&[A][..], &[B, A, C], &[LOOPBACK]] {
        let host = common::host(addresses);
        let files = xtask::render::render(&settings, &host, &common::secrets(), &common::certificates(), "tag");
        let files = files.expect("it renders");
        let text = |path: &str| &files.iter().find(|file| file.path == path).expect("it is rendered").contents;
        let read = lan::parse(text("compose/.env"), text("env/mattermost.env")).expect("addresses are found");
        let addresses: BTreeSet<Ipv4Addr> = addresses.iter().copied().collect();
        assert_eq!(read, Rendered { advertised: host.lan_ip(), addresses });
        assert_eq!(lan::changes(&read, &host), None);
    }
}

#[test]
fn a_stack_that_was_never_rendered_has_no_change() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(lan::rendered(folder.path()), None);
    assert_eq!(lan::parse("LAN_IP='nonsense'\n", "MM_SERVICESETTINGS_ALLOWCORSFROM=''\n"), None);
    assert_eq!(lan::parse("LAN_IP='192.168.1.10'\n", "MM_SERVICESETTINGS_SITEURL='x'\n"), None);
}

#[test]
fn a_host_without_ipv4_is_told_what_it_has() {
    let without = |ipv6: &[&str]| {
        let ipv6 = ipv6.iter().map(|address| address.parse::<Ipv6Addr>().expect("an address")).collect();
        Host { ipv6, ..common::host(&[LOOPBACK]) }.loopback_only().expect("a reason")
    };
    assert!(without(&[]).starts_with("this host has no LAN address; "), "{}", without(&[]));
    let told = without(&["2001:db8::7", "fd00::2"]);
    assert!(told.contains("IPv6 (2001:db8::7, fd00::2), which is not supported"), "{told}");
    assert_eq!(Host { ipv6: vec![Ipv6Addr::LOCALHOST], ..common::host(&[A]) }.loopback_only(), None);
}
