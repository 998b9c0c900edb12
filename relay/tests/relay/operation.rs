//! Starting, stopping, asking.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::common::{HookServer, SECRET, Site, delivery, signature, wait_for};

fn run(arguments: &[&str], config: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.args(arguments).arg("--config").arg(config).output().expect("it ran")
}

#[test]
fn sigterm_finishes_what_is_under_way_and_loses_nothing() {
    let mut hooks = HookServer::start();
    hooks.kill();
    let site = Site::new(&hooks);
    let mut relay = site.start();
    assert_eq!(relay.deliver(&delivery("early")).status, 200);
    let body = delivery("under way");
    let mut client = relay.client();
    let (first, rest) = body.split_at(100);
    let head = format!(
        "POST /sonarqube HTTP/1.1\r\nHost: x\r\nX-Sonar-Webhook-HMAC-SHA256: {}\r\nContent-Length: {}\r\n\r\n",
        signature(&body),
        body.len()
    );
    client.send(&[head.as_bytes(), first].concat()).expect("sent");
    let mut idle = relay.client();
    assert_eq!(idle.request("GET", "/healthz").expect("an answer").status, 200);
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    relay.terminate();
    std::thread::sleep(Duration::from_millis(200));
    client.send(rest).expect("sent");
    assert_eq!(client.answer().expect("an answer").status, 200);
    assert_eq!(relay.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(relay.log().ends_with("INFO stopping\nINFO stopped\n"), "{}", relay.log());
    hooks.restart();
    let _relay = site.start();
    wait_for("both are posted", || hooks.posts().len() == 2);
}

#[test]
fn sigterm_does_not_wait_for_who_does_nothing() {
    let hooks = HookServer::start();
    let site = Site::new(&hooks);
    let mut relay = site.start();
    let mut client = relay.client();
    client.send(b"POST /sonarqube HTTP/1.1\r\nHost: x\r\n").expect("sent");
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    relay.terminate();
    assert_eq!(relay.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn the_health_check_asks_the_relay() {
    let hooks = HookServer::start();
    let site = Site::new(&hooks);
    let output = run(&["healthcheck"], &site.config());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the relay does not answer"));
    let _relay = site.start();
    let output = run(&["healthcheck"], &site.config());
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn settings_that_are_wrong_stop_it_before_it_listens() {
    let hooks = HookServer::start();
    let mut site = Site::new(&hooks);
    site.set("failed_hook", "\"\"");
    let config = site.config();
    let output = run(&[], &config);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.starts_with(&format!("ERROR {}: failed_hook: is empty", config.display())), "{text}");
    assert!(!text.contains(SECRET));
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    assert!(String::from_utf8_lossy(&run(&[], &config).stderr).contains("chmod 600"));
    let usage = run(&["--help"], &config);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_spool_that_is_in_use_is_refused() {
    let hooks = HookServer::start();
    let site = Site::new(&hooks);
    let _relay = site.start();
    let output = run(&[], &site.config());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is used by another relay"));
}

#[test]
fn the_metrics_are_prometheus_text() {
    let hooks = HookServer::start();
    let site = Site::new(&hooks);
    let relay = site.start();
    relay.deliver(&delivery("a"));
    let answer = relay.client().request("GET", "/metrics").expect("an answer");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4\r\n"), "{}", answer.head);
    let (mut helped, mut typed, mut seen) = (HashSet::new(), HashSet::new(), HashSet::new());
    for line in answer.body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => assert!(helped.insert(name.to_owned()) && help.ends_with('.'), "{line}"),
            ["#", "TYPE", name, "counter"] => {
                assert!(name.ends_with("_total") && typed.insert(name.to_owned()), "{line}")
            }
            ["#", "TYPE", name, "gauge"] => assert!(typed.insert(name.to_owned()), "{line}"),
            [sample, value] => {
                let name = sample.split('{').next().expect("a name");
                assert!(helped.contains(name) && typed.contains(name) && seen.insert(sample.to_owned()), "{line}");
                value.parse::<u64>().expect("a number");
            }
            _ => panic!("{line}"),
        }
    }
    for name in ["relay_deliveries_accepted_total", "relay_queue_length", "relay_oldest_seconds"] {
        assert!(seen.contains(name), "{name}");
    }
}

#[test]
fn the_log_has_no_secret_and_no_payload() {
    let hooks = HookServer::start();
    hooks.force(403);
    let site = Site::new(&hooks);
    let relay = site.start();
    relay.deliver(&delivery("a-name-that-is-in-no-log"));
    relay.client().post(b"{}", None).expect("an answer");
    wait_for("it is set aside", || relay.metric("set_aside") == 1);
    let log = relay.log();
    for secret in
        [SECRET, "a-name-that-is-in-no-log", crate::common::hooks::BUILDS_HOOK, crate::common::hooks::OTHER_HOOK]
    {
        assert!(!log.contains(secret), "{log}");
    }
}
