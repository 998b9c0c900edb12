//! The containers and what runs in them, from recorded answers of Docker, psql, Mattermost and the relay.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xtask::doctor::hooks::{judge_relay, judge_webhooks};
use xtask::doctor::mattermost::{
    WIRING_TOKEN, WIRING_UNREAD, judge_environment, judge_license, judge_origins, judge_ping, judge_plan, judge_plugins,
};
use xtask::doctor::services::{judge_images, judge_services};
use xtask::doctor::turn::{self, Outcome};
use xtask::doctor::{Row, State, postgres};
use xtask::drivers::docker::{Inspected, parse_inspected};
use xtask::wiring::plan::{Change, Operation, Plan, Problem, Step};

/// `docker inspect` of a healthy lab, Engine 26.1.5: what is read of it, with other values for the secrets.
const INSPECT: &str = include_str!("recorded/docker-inspect.json");
/// `GET /metrics` of a relay that was just started.
const METRICS: &str = include_str!("recorded/relay-metrics.txt");

const EXPECTED: &[&str] = &["postgres", "mattermost", "coturn", "relay"];

pub fn healthy() -> Vec<Inspected> {
    parse_inspected(INSPECT).expect("what Docker printed")
}

/// The same with one server in another state.
fn with(service: &str, change: impl FnOnce(&mut Inspected)) -> Vec<Inspected> {
    let mut containers = healthy();
    change(containers.iter_mut().find(|it| it.service == service).expect("it is one of the stack's"));
    containers
}

fn services(containers: &[Inspected], log: &str) -> Vec<Row> {
    judge_services(EXPECTED, containers, |_| log.to_owned(), false)
}

fn pinned() -> BTreeMap<&'static str, String> {
    healthy()
        .into_iter()
        .filter_map(|it| Some((*EXPECTED[..3].iter().find(|name| **name == it.service)?, it.image)))
        .collect()
}

fn loaded() -> BTreeMap<String, String> {
    healthy().into_iter().map(|it| (it.image, it.image_id)).collect()
}

pub fn rows() -> Vec<Row> {
    let raised = BTreeMap::from([("coturn", "coturn/coturn:4.99.0".to_owned())]);
    let newer = loaded().into_keys().map(|image| (image, "sha256:0".to_owned())).take(1).collect();
    let mut rows = judge_images(Some(&raised), &healthy(), &loaded());
    rows.extend(judge_images(None, &healthy(), &newer));
    rows.extend(judge_images(Some(&raised), &[], &BTreeMap::new()));
    rows.extend(services(&[], ""));
    rows.extend(services(&with("coturn", |it| "exited".clone_into(&mut it.state)), "Cannot assign requested address"));
    rows.extend(services(
        &with("mattermost", |it| {
            "restarting".clone_into(&mut it.state);
            it.restarts = 7;
        }),
        "pq: permission denied for schema public",
    ));
    rows.extend(services(&with("relay", |it| "unhealthy".clone_into(&mut it.health)), ""));
    rows.extend(services(&with("relay", |it| "starting".clone_into(&mut it.health)), ""));
    rows.extend(services(&with("mattermost", |it| it.oom_killed = true), ""));
    rows.extend(postgres_rows());
    rows.extend(mattermost_rows());
    rows.extend(turn_rows());
    rows.extend(hook_rows());
    rows
}

fn postgres_rows() -> Vec<Row> {
    vec![
        postgres::judge("psql: error: connection to server on socket failed"),
        postgres::judge("17.5|on|postgres|mattermost|0|9|100|9000000"),
        postgres::judge("17.5|on|mattermost|mattermost|2|9|100|9000000"),
        postgres::judge("17.5|off|mattermost|mattermost|0|9|100|9000000"),
        postgres::judge("17.5|on|mattermost|mattermost|0|93|100|9000000"),
        postgres::PG_EXTERNAL
            .found("the role mattermost does not own the schema public")
            .with("fix", "ALTER SCHEMA public OWNER TO mattermost"),
        postgres::PG_UNASKED.found("not asked yet"),
    ]
}

fn mattermost_rows() -> Vec<Row> {
    // Recorded from 11.6: tests/contract/mattermost-11.6/http.jsonl.
    let unhealthy = json!({ "status": "UNHEALTHY", "database_status": "UNHEALTHY", "filestore_status": "OK" });
    let own = [("https://192.0.2.2:8065".to_owned(), 403), ("https://mattermost.cicd.local:8065".to_owned(), 101)];
    let file = "# comment\nMM_LOGSETTINGS_CONSOLELEVEL='INFO'\nMM_SQLSETTINGS_DATASOURCE='postgres://m:one@db'\n";
    let environment = |variables: &[(&str, &str)]| {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        judge_environment(&variables, file, &["MM_INSTALL_TYPE".to_owned()])
    };
    let right = [("MM_LOGSETTINGS_CONSOLELEVEL", "INFO"), ("MM_SQLSETTINGS_DATASOURCE", "postgres://m:one@db")];
    let problem = Problem { what: "channel engineering:builds is archived".to_owned(), fix: "unarchive it".to_owned() };
    let step = |name: &str| Step {
        change: Change { operation: Operation::Create, kind: "channel", name: name.to_owned(), fields: Vec::new() },
        actions: Vec::new(),
    };
    let names = ["engineering:a", "engineering:b", "engineering:c", "engineering:d"];
    let inactive: Vec<Value> =
        vec![json!({ "active": [{ "id": "playbooks" }], "inactive": [{ "id": "com.mattermost.calls" }] })];
    vec![
        judge_ping(Err("https://192.0.2.2:8065/api/v4/system/ping: Connection refused".to_owned())),
        judge_ping(Ok((500, unhealthy))),
        judge_origins(&own, 403),
        judge_origins(&own[1..], 101),
        environment(&[right[0], ("MM_SQLSETTINGS_DATASOURCE", "postgres://m:two@db")]),
        environment(&[right[0], right[1], ("MM_TEAMSETTINGS_ENABLEOPENSERVER", "true"), ("MM_INSTALL_TYPE", "docker")]),
        environment(&[right[0], right[1], ("MM_PLUGINSETTINGS_PLUGINSTATES", "{}")]),
        judge_plan(&Plan { steps: names.map(step).into(), ..Plan::default() }),
        judge_plan(&Plan { problems: vec![problem], ..Plan::default() }),
        WIRING_TOKEN.found("secrets.env has no MATTERMOST_ADMIN_TOKEN"),
        WIRING_UNREAD.found("`mmctl team list` was not done after 30 s"),
        judge_plugins(Ok(&inactive), &[], "command-center-mattermost-1"),
        judge_plugins(Err("`mmctl plugin list`: socket file does not exist"), &[], "command-center-mattermost-1"),
    ]
}

fn turn_rows() -> Vec<Row> {
    let relays = ("UDP", Outcome::Relays);
    let with = |outcome: Outcome| turn::judge(&[relays.clone(), ("TCP", outcome)], false, "");
    // Recorded from coturn 4.6.1.
    let log = "0: : Bad configuration format: no-such-option\n0: : Listener address to use: 192.0.2.2\n";
    let mut rows = with(Outcome::Silent("no TURN server at 192.0.2.2:3478/tcp".to_owned()));
    rows.extend(turn::judge(std::slice::from_ref(&relays), true, ""));
    rows.extend(with(Outcome::Refused(401)));
    rows.extend(with(Outcome::PeerRefused(403)));
    rows.extend(with(Outcome::Refused(486)));
    rows.extend(with(Outcome::Refused(437)));
    rows.extend(turn::judge(&[relays], false, log));
    rows
}

fn hook_rows() -> Vec<Row> {
    let hooks = |second: Option<u16>| {
        judge_webhooks(&[("JENKINS_BUILDS_HOOK".to_owned(), Some(404)), ("GITLAB_HOOK".to_owned(), second)])
    };
    let health = |status| Ok((status, "{\"status\":\"spool\",\"queued\":3,\"oldest_seconds\":0}".to_owned()));
    let metrics = |name: &str, value: u64| {
        assert!(METRICS.contains(&format!("\n{name} 0\n")), "the relay has no metric {name}");
        Ok((200, METRICS.replace(&format!("\n{name} 0\n"), &format!("\n{name} {value}\n"))))
    };
    vec![
        hooks(None),
        hooks(Some(400)),
        hooks(Some(501)),
        hooks(Some(500)),
        judge_relay(Err("the relay did not answer".to_owned()), metrics("relay_set_aside", 0)),
        judge_relay(health(503), metrics("relay_set_aside", 0)),
        judge_relay(health(200), metrics("relay_set_aside", 2)),
        judge_relay(health(200), metrics("relay_oldest_seconds", 300)),
        judge_relay(health(200), metrics("relay_refused_total{reason=\"wrong_signature\"}", 4)),
    ]
}

#[test]
fn a_healthy_stack_has_nothing_to_mend() {
    let active: Vec<Value> = vec![json!({ "active": [{ "id": "com.mattermost.calls" }], "inactive": [] })];
    let own = [("https://192.0.2.2:8065".to_owned(), 101)];
    let relays = [("UDP", Outcome::Relays), ("TCP", Outcome::Relays)];
    let mut rows = services(&healthy(), "");
    rows.extend(judge_images(Some(&pinned()), &healthy(), &loaded()));
    rows.extend(turn::judge(&relays, false, "0: : Listener address to use: 192.0.2.2\n"));
    rows.extend([
        postgres::judge("17.5|on|mattermost|mattermost|0|9|100|9000000"),
        judge_ping(Ok((200, json!({ "status": "OK" })))),
        judge_origins(&own, 403),
        judge_license(&json!({ "IsLicensed": "true", "SkuShortName": "enterprise" })),
        judge_license(&json!({ "IsLicensed": "false" })),
        judge_plan(&Plan::default()),
        judge_plugins(Ok(&active), &[], "command-center-mattermost-1"),
        judge_webhooks(&[("A_HOOK".to_owned(), Some(404)), ("B_HOOK".to_owned(), Some(403))]),
        judge_relay(Ok((200, "{\"status\":\"ok\"}".to_owned())), Ok((200, METRICS.to_owned()))),
    ]);
    assert!(rows.iter().all(|row| row.state == State::Ok && row.fix.is_empty()), "{rows:?}");
}

#[test]
fn inspected_containers_have_what_docker_says() {
    let containers = healthy();
    let mattermost = containers.iter().find(|it| it.service == "mattermost").expect("it runs");
    assert_eq!((mattermost.state.as_str(), mattermost.health.as_str()), ("running", "healthy"));
    assert!(mattermost.published.contains(&(String::new(), 8444, "8444/udp".to_owned())), "{:?}", mattermost.published);
    assert_eq!(mattermost.addresses.get("cicd-net-lab").map(String::as_str), Some("172.30.1.10"));
    assert!(mattermost.environment.iter().any(|(name, value)| name == "MM_CALLS_UDP_SERVER_PORT" && value == "8444"));
    assert!(!format!("{mattermost:?}").contains("a-secret"), "Debug shows no environment");
}

/// Values of the environment are secrets, the database's password among them.
#[test]
fn rows_of_the_environment_show_names_only() {
    for row in mattermost_rows() {
        let text = format!("{} {}", row.finding, row.fix);
        assert!(!text.contains("postgres://"), "{text}");
    }
}
