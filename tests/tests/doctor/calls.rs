//! Calls that do not work, by what the plugin, Docker and the logs say.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use xtask::doctor::calls::{Facts, judge};
use xtask::doctor::turn::Outcome;
use xtask::doctor::{Row, State};

/// The exchange of tests/contract/mattermost-11.6 in which the administrator asks the plugin for its configuration.
fn recorded_config() -> Value {
    let exchanges = include_str!("../../contract/mattermost-11.6/http.jsonl");
    let exchange =
        exchanges.lines().find(|line| line.contains("/plugins/com.mattermost.calls/config\"")).expect("recorded");
    let exchange: Value = serde_json::from_str(exchange).expect("JSON");
    serde_json::from_str(exchange["body"].as_str().expect("a body")).expect("JSON")
}

/// What a stack of ours has: the recorded answers with the fixed address that the contract asks for.
fn healthy() -> Facts {
    let mut config = recorded_config();
    for key in ["UDPServerAddress", "TCPServerAddress"] {
        config[key] = json!("172.30.0.10");
    }
    // It was recorded without a license.
    config["GroupCallsAllowed"] = json!(true);
    Facts {
        container: "command-center-mattermost-1".to_owned(),
        lan: Some(Ipv4Addr::new(192, 0, 2, 2)),
        port: 8444,
        address: Some(Ipv4Addr::new(172, 30, 0, 10)),
        published: vec![(8065, "8065/tcp".to_owned()), (8444, "8444/udp".to_owned()), (8444, "8444/tcp".to_owned())],
        version: 200,
        config: Some(config),
        log: listening("172.30.0.10:8444"),
        answers: true,
        relays: Some(vec![("UDP", Outcome::Relays), ("TCP", Outcome::Relays)]),
    }
}

/// The line that the contract names.
fn listening(socket: &str) -> String {
    format!(
        "{{\"timestamp\":\"2026-11-22 10:00:00.000 Z\",\"level\":\"info\",\"msg\":\"rtc: server is listening on udp {socket}\",\"plugin_id\":\"com.mattermost.calls\"}}\n"
    )
}

/// The message that Mattermost logs when a plugin does not start; the error is an example.
const INACTIVE: &str = r#"{"level":"error","msg":"Unable to activate plugin","plugin_id":"com.mattermost.calls","error":"failed to create udp listener: address already in use"}"#;

fn with(change: impl FnOnce(&mut Facts)) -> Vec<Row> {
    let mut facts = healthy();
    change(&mut facts);
    judge(&facts)
}

fn configured(key: &str, value: Value) -> Vec<Row> {
    with(|facts| facts.config.as_mut().expect("a configuration")[key] = value)
}

pub fn rows() -> Vec<Row> {
    let turn = |outcome: Outcome| with(|facts| facts.relays = Some(vec![("UDP", Outcome::Relays), ("TCP", outcome)]));
    let unreadable = "Failed to parse MM_CALLS_UDP_SERVER_PORT from environment variable (:30253): invalid syntax";
    let stun = json!([{ "urls": ["stun:stun.global.calls.mattermost.com:3478"] }]);
    let fixed =
        json!([{ "urls": ["turn:192.0.2.2:3478"], "username": "mattermost", "credential": "turnsecret0123456789" }]);
    [
        with(|facts| {
            facts.version = 404;
            facts.log.push_str(INACTIVE);
        }),
        with(|facts| facts.log.push_str(unreadable)),
        with(|facts| facts.published.retain(|(_, inside)| inside != "8444/udp")),
        with(|facts| facts.answers = false),
        configured("UDPServerPort", json!(8443)),
        configured("ICEHostOverride", json!("")),
        with(|facts| facts.log.push_str(&listening("172.18.0.3:8444"))),
        configured("GroupCallsAllowed", json!(false)),
        configured("DefaultEnabled", json!(false)),
        configured("ICEServersConfigs", stun),
        configured("ICEServersConfigs", fixed),
        configured("NeedsTURNCredentials", json!(false)),
        turn(Outcome::Refused(401)),
        turn(Outcome::PeerRefused(403)),
        turn(Outcome::Silent("no TURN server at 192.0.2.2:3478/tcp".to_owned())),
        with(|facts| facts.config = None),
    ]
    .concat()
    .into_iter()
    .filter(|row| row.problem.0.is_some())
    .collect()
}

#[test]
fn a_call_that_works_has_nothing_to_mend() {
    let rows = judge(&healthy());
    assert!(rows.iter().all(|row| row.state == State::Ok), "{rows:?}");
    // A log that was rotated away says nothing, and on a host without a network there is no address to compare.
    for facts in [Facts { log: String::new(), ..healthy() }, Facts { lan: None, ..healthy() }] {
        assert!(judge(&facts).iter().all(|row| row.state == State::Ok));
    }
}

/// One cause, one row: whoever reads the table must not hunt a second cause that is none.
#[test]
fn each_cause_is_one_row() {
    assert_eq!(rows().len(), 16);
}

/// The plugin's port and address as they were before the contract's fix, and other spellings of the same mistake.
#[test]
fn every_spelling_of_a_wrong_socket_is_found() {
    let ids = |rows: Vec<Row>| rows.iter().filter_map(|row| Some(row.problem.0?.id)).collect::<Vec<_>>();
    assert_eq!(ids(configured("UDPServerAddress", json!(""))), ["calls.socket"]);
    assert_eq!(ids(configured("TCPServerAddress", json!("0.0.0.0"))), ["calls.socket"]);
    assert_eq!(ids(with(|facts| facts.log = listening("127.0.0.1:8444"))), ["calls.socket"]);
    assert_eq!(ids(configured("ICEHostPortOverride", json!(9443))), ["calls.port"]);
    assert_eq!(ids(configured("ICEHostOverride", json!("172.18.0.3"))), ["calls.advertised"]);
    assert_eq!(ids(with(|facts| facts.published[2].0 = 9443)), ["calls.unpublished"]);
    assert_eq!(ids(with(|facts| facts.relays = None)), ["calls.unasked"]);
    assert_eq!(ids(with(|facts| facts.relays = Some(vec![("UDP", Outcome::Refused(486))]))), ["calls.turn-silent"]);
}

#[test]
fn no_secret_of_the_configuration_is_in_a_row() {
    for row in rows() {
        let text = format!("{} {}", row.finding, row.fix);
        assert!(!text.contains("turnsecret"), "{text}");
    }
    assert!(!format!("{:?}", healthy()).contains("turnsecret"));
}
