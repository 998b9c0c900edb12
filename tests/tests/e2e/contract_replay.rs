//! The stand-in is held to what a real Mattermost answered.

use std::time::Duration;

use command_center_tests::{Ran, Stack, docker};
use xtask::images;

use crate::client;
use crate::contract::{Contract, TIMED_OUT};

/// The recorded calls take a fifth of a second each, but for the one that hangs.
const LIMIT: Duration = Duration::from_secs(6);

#[test]
fn the_stand_in_answers_as_a_real_mattermost_did() {
    let stack = Stack::new("contract");
    if *stack.images() == images::pinned().expect("the images are pinned") {
        eprintln!(
            "SKIPPED: the recorded contract is replayed against the lab's stand-in only, and the real images run here"
        );
        return;
    }
    // Containers without `xtask up`, which would make the first account.
    stack.prepare();
    stack.compose(&["up", "--detach", "--wait", "--pull", "never"]).exits(0);

    let by_ip = format!("https://{}", stack.address());
    let folder = command_center_tests::stack::checkout().join("tests/contract/mattermost-11.6");
    let mut contract = Contract::load(&folder, &stack.inner().settings.site_url(), &by_ip);
    let image = stack.images().mattermost.clone();
    contract.before_start(&|arguments, _| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        outcome(docker(&[&["run", "--rm", "--network=none", "--entrypoint=mmctl", &image], &arguments[..]].concat()))
    });
    let http = |method: &str, path: &str, headers: &[(String, String)], body: Option<&str>| {
        let answer = client::request(&stack, method, path, headers, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    };
    contract.registration(&http);
    empty_the_database(&stack);
    let mmctl = |arguments: &[String], stdin: Option<&str>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match stack.mmctl(&arguments, stdin, LIMIT) {
            Some(ran) => outcome(ran),
            None => (TIMED_OUT, String::new(), String::new()),
        }
    };
    contract.replay(&mmctl, &http);
    contract.finish();
}

fn outcome(ran: Ran) -> (i32, String, String) {
    (ran.code.unwrap_or(TIMED_OUT), ran.stdout, ran.stderr)
}

/// A second server on a database that has never seen an account, without a second stack.
fn empty_the_database(stack: &Stack) {
    stack.compose(&["stop", "mattermost"]).exits(0);
    let container = stack.container("postgres");
    let psql = ["exec", &container, "psql", "-U", "postgres", "-v", "ON_ERROR_STOP=1"];
    docker(&[&psql[..], &["-c", "DROP DATABASE mattermost"]].concat()).exits(0);
    docker(&[&psql[..], &["-f", "/docker-entrypoint-initdb.d/10-mattermost.sql"]].concat()).exits(0);
    stack.compose(&["up", "--detach", "--wait", "--pull", "never"]).exits(0);
}
