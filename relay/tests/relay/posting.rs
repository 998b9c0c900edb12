//! From the spool to Mattermost.

use std::time::Duration;

use crate::common::hooks::UNKNOWN_HOOK;
use crate::common::{Authority, HookServer, Site, delivery, passed, title, wait_for};

#[test]
fn another_ca_never_gets_a_message() {
    let hooks = HookServer::start();
    let site = Site::at(hooks.address, &Authority::new());
    let relay = site.start();
    assert_eq!(relay.deliver(&delivery("secret")).status, 200);
    wait_for("some attempts failed", || relay.metric("post_failures_total{reason=\"tls\"}") >= 3);
    assert_eq!(hooks.posts(), []);
    assert_eq!(relay.metric("queue_length"), 1);
    assert!(relay.log().contains("Tls: "), "{}", relay.log());
}

#[test]
fn what_comes_while_mattermost_is_away_arrives_in_order() {
    let mut hooks = HookServer::start();
    hooks.kill();
    let site = Site::new(&hooks);
    let relay = site.start();
    let names: Vec<String> = (0..20).map(|it| format!("p{it}")).collect();
    for name in &names {
        assert_eq!(relay.deliver(&delivery(name)).status, 200);
    }
    let health = relay.client().request("GET", "/healthz").expect("an answer");
    assert_eq!(health.status, 200);
    assert!(health.body.starts_with("{\"status\":\"ok\",\"queued\":20,\"oldest_seconds\":"), "{}", health.body);
    hooks.restart();
    wait_for("all are posted", || hooks.posts().len() == 20);
    assert_eq!(hooks.titles(), names.iter().map(|it| title(it)).collect::<Vec<_>>());
}

#[test]
fn errors_of_the_server_are_only_delays() {
    let hooks = HookServer::start();
    let site = Site::new(&hooks);
    let relay = site.start();
    for (status, reason) in [(500, "server_error"), (502, "server_error"), (429, "rate_limited")] {
        hooks.force(status);
        let before = relay.metric(&format!("post_failures_total{{reason=\"{reason}\"}}"));
        relay.deliver(&delivery(&status.to_string()));
        wait_for("it is tried", || relay.metric(&format!("post_failures_total{{reason=\"{reason}\"}}")) > before);
        hooks.force(0);
        wait_for("it is posted", || relay.metric("queue_length") == 0);
    }
    assert_eq!(hooks.titles(), ["500", "502", "429"].map(title));
}

#[test]
fn a_refused_message_is_kept_and_holds_up_no_other() {
    let hooks = HookServer::start();
    let mut site = Site::new(&hooks);
    site.set("failed_hook", &format!("\"{UNKNOWN_HOOK}\""));
    let relay = site.start();
    for name in ["a", "b"] {
        assert_eq!(relay.deliver(&delivery(name)).status, 200);
    }
    assert_eq!(relay.deliver(&passed("fine")).status, 200);
    wait_for("the other is posted", || hooks.titles() == ["Quality gate passed: fine"]);
    assert_eq!(relay.metric("posts_total{outcome=\"refused\"}"), 2);
    wait_for("both are set aside", || relay.metric("set_aside") == 2 && relay.metric("queue_length") == 2);
    let log = relay.log();
    assert!(
        log.contains("Mattermost answers 400") && log.contains("run cargo xtask wire, then cargo xtask up"),
        "{log}"
    );
    assert!(!log.contains(UNKNOWN_HOOK), "{log}");
    relay.kill();

    site.set("failed_hook", &format!("\"{}\"", crate::common::hooks::BUILDS_HOOK));
    let relay = site.start();
    wait_for("they are posted", || hooks.posts().len() == 3);
    assert_eq!(hooks.titles()[1..], ["a", "b"].map(title));
    wait_for("nothing waits", || relay.metric("queue_length") == 0);
}

#[test]
fn every_refusal_of_the_contract_is_one() {
    for status in [400, 403, 404] {
        let hooks = HookServer::start();
        hooks.force(status);
        let site = Site::new(&hooks);
        let relay = site.start();
        relay.deliver(&delivery("kept"));
        wait_for("it is set aside", || relay.metric("set_aside") == 1);
        assert!(relay.log().contains(&format!("Mattermost answers {status}")));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(relay.metric("posts_total{outcome=\"refused\"}"), 1, "it must rest");
    }
}
