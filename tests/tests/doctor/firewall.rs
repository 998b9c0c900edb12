//! Recorded rulesets, and what doctor makes of them. recorded/README.md says where they are from.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use xtask::doctor::firewall::fix::Owner;
use xtask::doctor::firewall::packet::Machine;
use xtask::doctor::firewall::read::{self, Reading};
use xtask::doctor::firewall::{judge, wanted};
use xtask::doctor::{Row, State};
use xtask::host::Route;
use xtask::settings::Subnet;

use crate::common;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor/recorded")
}

/// What was recorded of iptables and of nft.
fn recorded(name: &str) -> (String, String) {
    let file = |end: &str| std::fs::read_to_string(folder().join(format!("{name}.{end}"))).expect("it is recorded");
    (file("iptables"), file("json"))
}

fn machine() -> Machine {
    let route = |interface: &str, first: [u8; 4], prefix| Route {
        interface: interface.to_owned(),
        subnet: Subnet { first: Ipv4Addr::from(first), prefix },
    };
    Machine {
        addresses: vec![Ipv4Addr::new(192, 168, 1, 10)],
        routes: vec![
            route("eth0", [0, 0, 0, 0], 0),
            route("eth0", [192, 168, 1, 0], 24),
            route("docker0", [172, 17, 0, 0], 16),
            route("br-d112dd34d6e9", [172, 30, 1, 0], 24),
        ],
    }
}

/// The shipped settings, on the host of the recordings, while Mattermost runs or not.
fn judged(reading: &Reading, runs: bool) -> Vec<Row> {
    let settings = common::settings(&common::shipped());
    judge(reading, &wanted(&settings, &common::host_for(&settings), |_| runs), &machine())
}

/// While Mattermost runs.
fn rows(saved: Option<&str>, listed: Option<&str>) -> Vec<Row> {
    judged(&Reading::Rules(read::combine(saved, None, listed).expect("rules")), true)
}

/// Every problem of a firewall, for the table of all.
pub fn every_problem() -> Vec<Row> {
    let recordings = ["ufw-deny", "firewalld-public", "docker-user-drop", "flushed"];
    let found = recordings.iter().flat_map(|name| {
        let (saved, listed) = recorded(name);
        rows(Some(&saved), Some(&listed))
    });
    let doubtful = input("-A INPUT -m set --match-set friends src -j ACCEPT");
    let unread = judged(&Reading::NotAllowed { firewall: Some(Owner::Ufw) }, true);
    found.chain(doubtful).chain(unread).collect()
}

fn text(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let problem = row.problem.0.map_or("", |problem| problem.id);
        let fix = if row.fix.is_empty() { String::new() } else { format!("    {}\n", row.fix) };
        format!("{:?} {problem}: {}\n{fix}", row.state, row.finding)
    };
    rows.iter().map(row).collect()
}

#[track_caller]
fn check(name: &str, expected: Expect) {
    let (saved, listed) = recorded(name);
    expected.assert_eq(&text(&rows(Some(&saved), Some(&listed))));
}

#[track_caller]
fn is_fine(name: &str) {
    let (saved, listed) = recorded(name);
    let rows = rows(Some(&saved), Some(&listed));
    assert!(rows.iter().all(|row| row.state == State::Ok), "{name}: {}", text(&rows));
}

#[test]
fn dockers_own_rules_stop_nothing() {
    let own = std::fs::read_to_string(folder().join("docker.iptables")).expect("it is recorded");
    expect![[r#"
        Ok : lets 8065/tcp, 8444/udp, 8444/tcp, 3478/udp, 3478/tcp, 8066/tcp through from the LAN
    "#]]
    .assert_eq(&text(&rows(Some(&own), None)));
}

#[test]
fn ufw_stops_what_is_not_published_by_docker() {
    check(
        "ufw-deny",
        expect![[r#"
            Fail firewall.ufw: 3478/udp, 3478/tcp: stopped by iptables, table filter, chain INPUT: its policy is drop
                `sudo ufw allow 3478/udp && sudo ufw allow 3478/tcp`
            Warn firewall.phone: 8066/tcp: stopped by iptables, table filter, chain INPUT: its policy is drop
                `sudo ufw allow 8066/tcp`
        "#]],
    );
    is_fine("ufw-allow");
    check(
        "ufw-explicit-deny",
        expect![[r#"
            Fail firewall.ufw: 3478/tcp: stopped by iptables, table filter, chain ufw-user-input: -A ufw-user-input -p tcp -m tcp --dport 3478 -j DROP
                find the rule in `sudo ufw status numbered` and delete it: `sudo ufw delete NUMBER`; then `sudo ufw allow 3478/tcp`
        "#]],
    );
}

#[test]
fn ufw_also_stops_published_ports_where_its_recipe_for_docker_is_used() {
    check(
        "ufw-docker",
        expect![[r#"
            Fail firewall.ufw: 8065/tcp, 8444/udp, 8444/tcp: stopped by iptables, table filter, chain ufw-docker-logging-deny: -A ufw-docker-logging-deny -j DROP
                `sudo ufw route allow proto tcp from any to any port 8065 && sudo ufw route allow proto udp from any to any port 8444 && sudo ufw route allow proto tcp from any to any port 8444`
            Fail firewall.ufw: 3478/tcp: stopped by iptables, table filter, chain ufw-user-input: -A ufw-user-input -p tcp -m tcp --dport 3478 -j DROP
                find the rule in `sudo ufw status numbered` and delete it: `sudo ufw delete NUMBER`; then `sudo ufw allow 3478/tcp`
        "#]],
    );
}

#[test]
fn firewalld_stops_what_its_zone_does_not_open() {
    check(
        "firewalld-public",
        expect![[r#"
            Fail firewall.firewalld: 3478/udp, 3478/tcp: stopped by nftables, table inet firewalld, chain filter_IN_public: reject
                `sudo firewall-cmd --permanent --zone=public --add-port=3478/udp --add-port=3478/tcp && sudo firewall-cmd --reload`
            Warn firewall.phone: 8066/tcp: stopped by nftables, table inet firewalld, chain filter_IN_public: reject
                `sudo firewall-cmd --permanent --zone=public --add-port=8066/tcp && sudo firewall-cmd --reload`
        "#]],
    );
    is_fine("firewalld-open");
    check(
        "firewalld-drop",
        expect![[r#"
            Fail firewall.firewalld: 3478/udp, 3478/tcp: stopped by nftables, table inet firewalld, chain filter_IN_drop: drop
                `sudo firewall-cmd --permanent --zone=drop --add-port=3478/udp --add-port=3478/tcp && sudo firewall-cmd --reload`
            Warn firewall.phone: 8066/tcp: stopped by nftables, table inet firewalld, chain filter_IN_drop: drop
                `sudo firewall-cmd --permanent --zone=drop --add-port=8066/tcp && sudo firewall-cmd --reload`
        "#]],
    );
}

#[test]
fn a_rule_in_dockers_chain_for_users_stops_published_ports() {
    check(
        "docker-user-drop",
        expect![[r#"
            Fail firewall.rule: 8065/tcp, 8444/udp, 8444/tcp: stopped by iptables, table filter, chain DOCKER-USER: -A DOCKER-USER ! -s 10.0.0.0/8 -i eth0 -j DROP
                `sudo iptables -I DOCKER-USER -p tcp -m conntrack --ctorigdstport 8065 -j ACCEPT && sudo iptables -I DOCKER-USER -p udp -m conntrack --ctorigdstport 8444 -j ACCEPT && sudo iptables -I DOCKER-USER -p tcp -m conntrack --ctorigdstport 8444 -j ACCEPT`; keep it as your other rules are kept (`iptables-save`), or it is gone after a restart
        "#]],
    );
}

#[test]
fn hand_written_nftables_stop_what_they_do_not_name() {
    check(
        "nft-drop",
        expect![[r#"
            Fail firewall.rule: 3478/udp, 3478/tcp: stopped by nftables, table inet guard, chain input: its policy is drop
                `sudo nft insert rule inet guard input udp dport '{ 3478 }' accept && sudo nft insert rule inet guard input tcp dport '{ 3478 }' accept`; write it into the file that loads these rules too, such as /etc/nftables.conf, or it is gone after a restart
            Warn firewall.phone: 8066/tcp: stopped by nftables, table inet guard, chain input: its policy is drop
                `sudo nft insert rule inet guard input tcp dport '{ 8066 }' accept`; write it into the file that loads these rules too, such as /etc/nftables.conf, or it is gone after a restart
        "#]],
    );
    is_fine("nft-open");
}

#[test]
fn rules_of_docker_that_somebody_removed_are_missed() {
    check(
        "flushed",
        expect![[r#"
        Warn firewall.docker-gone: no rule leads 8065/tcp, 8444/udp, 8444/tcp to the container
            `sudo systemctl restart docker`, which writes Docker's own rules again; then `cargo xtask up`
    "#]],
    );
    // Before Mattermost runs, Docker has no reason to have any.
    let (saved, listed) = recorded("flushed");
    let rules = read::combine(Some(&saved), None, Some(&listed)).expect("rules");
    let rows = judged(&Reading::Rules(rules), false);
    assert!(rows.iter().all(|row| row.state == State::Ok), "{}", text(&rows));
}

#[test]
fn without_root_only_a_firewall_that_is_seen_is_worth_a_warning() {
    let rows = judged(&Reading::NotAllowed { firewall: None }, true);
    assert_eq!(rows[0].state, State::Ok);
    let rows = judged(&Reading::NotAllowed { firewall: Some(Owner::Ufw) }, true);
    expect![[r#"
        Warn firewall.unreadable: ufw is on, and its rules cannot be read without root
            if other machines cannot connect: `sudo ufw allow 3478/udp && sudo ufw allow 3478/tcp && sudo ufw allow 8066/tcp`
    "#]].assert_eq(&text(&rows));
    let rows = judged(&Reading::NotAllowed { firewall: Some(Owner::Firewalld) }, true);
    expect![[r#"
        Warn firewall.unreadable: firewalld is on, and its rules cannot be read without root
            if other machines cannot connect: `sudo firewall-cmd --permanent --add-port=3478/udp --add-port=3478/tcp --add-port=8066/tcp && sudo firewall-cmd --reload`
    "#]].assert_eq(&text(&rows));
    let rows = judged(&Reading::Failed("`nft`: no".to_owned()), true);
    assert_eq!((rows.len(), rows[0].state), (1, State::Warn));
}

#[test]
fn ufw_says_in_a_file_for_everybody_that_it_is_on() {
    assert!(read::ufw_is_on("# a comment\nENABLED=yes\nLOGLEVEL=low\n"));
    assert!(!read::ufw_is_on("#ENABLED=yes\nENABLED=no\n"));
}

/// The rules of a table with this input chain.
fn input(rules: &str) -> Vec<Row> {
    let saved = format!("*filter\n:INPUT DROP [0:0]\n:f2b - [0:0]\n{rules}\nCOMMIT\n");
    judged(&Reading::Rules(read::combine(Some(&saved), None, None).expect("rules")), false)
}

#[test]
fn a_drop_that_is_not_understood_is_no_alarm() {
    let rows = input(
        "-A INPUT -m set --match-set banned src -j DROP\n-A INPUT -m recent --rcheck -j f2b\n-A f2b -j DROP\n-A INPUT -j ACCEPT",
    );
    assert!(rows.iter().all(|row| row.state == State::Ok), "{}", text(&rows));
}

#[test]
fn an_accept_that_is_not_understood_is_a_doubt() {
    let rows = input("-A INPUT -m set --match-set friends src -j ACCEPT");
    assert!(rows.iter().any(|row| row.problem.0.is_some_and(|problem| problem.id == "firewall.doubtful")));
    assert!(rows.iter().all(|row| row.state == State::Warn), "{}", text(&rows));
}

/// nft 1.0.6 has one form for flags, and others have had others.
#[test]
fn flags_are_understood_in_every_form() {
    for flags in [
        r#"["established", "new"]"#,
        r#"{"|": [{"|": ["established", "related"]}, "new"]}"#,
        r#"{"set": ["established", "new"]}"#,
    ] {
        let text = r#"{"nftables": [
            {"chain": {"family": "inet", "table": "t", "name": "c", "hook": "input", "prio": 0, "policy": "drop"}},
            {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [
                {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": FLAGS}}, {"accept": null}]}}]}"#;
        let rules = read::combine(None, None, Some(&text.replace("FLAGS", flags))).expect("rules");
        let rows = judged(&Reading::Rules(rules), false);
        assert!(rows.iter().all(|row| row.state == State::Ok), "{flags}: {}", self::text(&rows));
    }
}

#[test]
fn answers_that_may_not_leave_are_found() {
    let saved = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT DROP [0:0]\n-A OUTPUT -p tcp -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n";
    let rows = judged(&Reading::Rules(read::combine(Some(saved), None, None).expect("rules")), false);
    expect![[r#"
        Fail firewall.rule: the answers of 3478/udp: stopped by iptables, table filter, chain OUTPUT: its policy is drop
            `sudo iptables -I OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`; keep it as your other rules are kept (`iptables-save`), or it is gone after a restart
    "#]].assert_eq(&text(&rows));
}

#[test]
fn ten_thousand_rules_are_no_burden() {
    let rule = |number: usize| {
        format!("-A INPUT -s 10.{}.{}.0/24 -p tcp -m tcp --dport 25 -j DROP\n", number / 256, number % 256)
    };
    let many: String = (0..10_000).map(rule).collect();
    let begun = Instant::now();
    let rows = input(&(many + "-A INPUT -j ACCEPT"));
    assert!(rows.iter().all(|row| row.state == State::Ok), "{}", text(&rows));
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
}
