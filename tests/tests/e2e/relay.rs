//! The relay as a service of the stack: there when its hooks are, and for the tools' network alone.

use command_center_tests::{Ran, Stack, docker};
use xtask::secrets::{self, SONARQUBE_WEBHOOK_SECRET};

use crate::checks;

#[test]
fn the_relay_is_there_when_its_hooks_are() {
    let stack = Stack::new("relay");
    stack.up();
    // Whatever made the hooks: the relay only looks at what secrets.env has.
    let mut known = stack.secrets();
    if known.get("SONARQUBE_FAILED_HOOK").is_none() {
        assert!(!stack.running().contains(&"relay".to_owned()), "it runs and knows no hook");
        stack.xtask(&["status"]).exits(0);
        known.set("SONARQUBE_FAILED_HOOK", "abcdefghijklmnopqrstuvwxyz", "2026-01-01");
        known.save(&secrets::path(&stack.root)).expect("secrets.env can be written");
        stack.up().says("started: ").says("relay");
    }
    checks::run(
        &stack,
        &[
            ("it is healthy, and a second `up` leaves it alone", it_is_healthy),
            ("it answers on the network of the tools, under its name", it_answers_on_the_network),
            ("it is not published", it_is_not_published),
            ("its secrets are in no argument, environment or log", its_secrets_are_hidden),
            ("another secret recreates it alone", another_secret_recreates_it),
        ],
    );
}

fn it_is_healthy(stack: &Stack) {
    let (status, ids) = (stack.xtask(&["status"]).exits(0), stack.ids());
    assert!(
        status.stdout.lines().any(|line| line.contains("relay") && line.contains("(healthy)")),
        "{}",
        status.said()
    );
    stack.up().says("Nothing to change");
    assert_eq!(stack.ids(), ids);
}

/// The status line of the answer to a request without a signature.
fn ask(stack: &Stack, network: &str) -> Ran {
    let settings = stack.inner().settings;
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; printf 'POST / HTTP/1.1\\r\\nHost: relay\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{{}}' >&3; head -1 <&3",
        settings.relay_host(),
        settings.relay.port
    );
    docker(&["run", "--rm", "--network", network, "--entrypoint", "bash", &stack.images().postgres, "-c", &script])
}

fn it_answers_on_the_network(stack: &Stack) {
    let answer = ask(stack, &stack.inner().settings.network.name).exits(0);
    assert!(answer.stdout.starts_with("HTTP/1.1 4"), "an unsigned delivery is refused: {}", answer.said());
    let elsewhere = ask(stack, &format!("{}_database", stack.name));
    assert_ne!(elsewhere.code, Some(0), "{}", elsewhere.said());
}

fn it_is_not_published(stack: &Stack) {
    assert_eq!(docker(&["port", &stack.container("relay")]).exits(0).stdout, "");
}

fn its_secrets_are_hidden(stack: &Stack) {
    let container = stack.container("relay");
    let log = docker(&["logs", &container]);
    let inspected = docker(&["inspect", &container]).exits(0);
    let processes = docker(&["top", &container, "-o", "pid,args"]).exits(0);
    for name in [SONARQUBE_WEBHOOK_SECRET, "SONARQUBE_FAILED_HOOK"] {
        let value = stack.secret(name);
        for said in [&log, &inspected, &processes] {
            assert!(!said.stdout.contains(&value) && !said.stderr.contains(&value), "{name} is in {}", said.what);
        }
    }
}

fn another_secret_recreates_it(stack: &Stack) {
    let before = stack.ids();
    let mut known = stack.secrets();
    known.set(SONARQUBE_WEBHOOK_SECRET, &secrets::generate(40), "2026-01-01");
    known.save(&secrets::path(&stack.root)).expect("secrets.env can be written");
    stack.up().says("started: ");
    for ((service, id), (_, old)) in stack.ids().into_iter().zip(before) {
        assert_eq!(id != old, service == "relay", "{service}");
    }
    stack.xtask(&["status"]).exits(0);
}
