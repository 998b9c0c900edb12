//! SonarQube's deliveries, as recorded, through the relay into the channels.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use command_center_tests::{Stack, docker};
use serde_json::Value;

use crate::checks;
use crate::wiring::posts;

/// With this secret the recorded deliveries were signed.
const SECRET: &str = "sonar-webhook-secret-01";

#[test]
fn deliveries() {
    let stack = Stack::new("deliveries");
    let path = xtask::secrets::path(&stack.root);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("target/ can be written");
    std::fs::write(&path, format!("SONARQUBE_WEBHOOK_SECRET={SECRET}\n")).expect("target/ can be written");
    stack.up();
    checks::run(
        &stack,
        &[
            ("a gate that failed is told in alerts, once", a_failed_gate_is_told_once),
            ("what is not signed is refused", what_is_not_signed_is_refused),
            ("a delivery waits for Mattermost, also through kill -9", a_delivery_waits),
            ("it needs little memory", it_is_small),
        ],
    );
}

/// Body and signature: the gate that failed, and the one that passed.
fn recorded() -> [(String, String); 2] {
    let lines: Vec<Value> = include_str!("../../../relay/tests/recorded/webhooks.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    [0, 1].map(|index| (text(&lines[index]["body"]), text(&lines[index]["headers"]["X-Sonar-Webhook-HMAC-SHA256"])))
}

/// Posts to the relay at its address on the tools' network and returns the status.
fn deliver(stack: &Stack, body: &str, signature: Option<&str>) -> u16 {
    let settings = stack.inner().settings;
    let address = stack.address_of("relay", &settings.network.name);
    let mut socket = TcpStream::connect((address, settings.relay.port)).expect("the relay listens");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let signature = signature.map(|it| format!("X-Sonar-Webhook-HMAC-SHA256: {it}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /sonarqube HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n{signature}Content-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).expect("the relay reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the relay answers");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
}

/// Attachments with this in their title, in a channel.
fn told(stack: &Stack, channel: &str, title: &str) -> Vec<Value> {
    let attachments = |post: &Value| post["props"]["attachments"].as_array().cloned().unwrap_or_default();
    let has = |attachment: &Value| attachment["title"].as_str().is_some_and(|text| text.contains(title));
    posts(stack, channel).iter().flat_map(attachments).filter(has).collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn a_failed_gate_is_told_once(stack: &Stack) {
    // A hook that somebody deleted is made anew, and the relay learns its id.
    let id = stack.secret("SONARQUBE_FAILED_HOOK");
    let delete = ["--local", "--json", "webhook", "delete", &id];
    stack.mmctl(&delete, None, Duration::from_secs(30)).expect("mmctl returns").exits(0);
    stack.xtask(&["wire"]).exits(0);
    let [(body, signature), _] = recorded();
    assert_eq!(deliver(stack, &body, Some(&signature)), 200);
    wait_until("the message arrives", || !told(stack, "alerts", "Demo").is_empty());
    assert_eq!(deliver(stack, &body, Some(&signature)), 200, "the same again is accepted");
    std::thread::sleep(Duration::from_secs(1));
    let told = told(stack, "alerts", "Demo");
    assert_eq!(told.len(), 1, "and is one message: {told:?}");
    assert_eq!(told[0]["title_link"], "http://127.0.0.1:9000/dashboard?id=demo");
    assert!(self::told(stack, "builds", "Demo").is_empty());
    let posts = posts(stack, "alerts");
    let post = posts.iter().find(|post| !post["props"]["attachments"].is_null()).expect("the message");
    assert_eq!(post["props"]["override_username"], "sonarqube-bot");
}

fn what_is_not_signed_is_refused(stack: &Stack) {
    let [(body, _), (_, other)] = recorded();
    for signature in [None, Some(other.as_str()), Some("x")] {
        let status = deliver(stack, &body, signature);
        assert!([401, 403].contains(&status), "{status}");
    }
}

fn a_delivery_waits(stack: &Stack) {
    let [_, (body, signature)] = recorded();
    docker(&["stop", &stack.container("mattermost")]).exits(0);
    assert_eq!(deliver(stack, &body, Some(&signature)), 200);
    docker(&["kill", "--signal=KILL", &stack.container("relay")]).exits(0);
    docker(&["start", &stack.container("relay")]).exits(0);
    stack.up();
    wait_until("the message arrives", || !told(stack, "builds", "demo").is_empty());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(told(stack, "builds", "demo").len(), 1);
}

fn it_is_small(stack: &Stack) {
    let stats =
        docker(&["stats", "--no-stream", "--format", "{{.MemUsage}}", &stack.container("relay")]).exits(0).stdout;
    let used = stats.split("MiB").next().and_then(|text| text.trim().parse::<f64>().ok());
    assert!(used.is_none_or(|megabytes| megabytes < 15.0), "it uses {stats}");
}
