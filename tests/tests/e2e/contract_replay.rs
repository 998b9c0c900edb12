//! The stand-in is held to what a real Mattermost answered.

use std::io::{Seek as _, Write as _};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

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
    stack.edit("plugin_uploads = false", "plugin_uploads = true");
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
    let mmctl = |arguments: &[String], stdin: Option<&[u8]>| {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Ok(stdin) = stdin.map(std::str::from_utf8).transpose() else {
            return with_bytes(&stack, arguments, stdin.unwrap_or_default());
        };
        match stack.mmctl(&words, stdin, LIMIT) {
            Some(ran) => outcome(ran),
            None => (TIMED_OUT, String::new(), String::new()),
        }
    };
    contract.replay(&mmctl, &http);
    contract.finish();
    what_is_not_recorded(&stack);
    a_restart_forgets_nothing(&stack);
}

/// What the wiring needs beyond the recording: bots' memberships, refusals, and hooks of archived channels.
fn what_is_not_recorded(stack: &Stack) {
    let administrator = token(stack, "admin");
    let bot = token(stack, "b2-bot");
    let get = |path: &str, token: &str| {
        let headers = [("Authorization".to_owned(), format!("Bearer {token}"))];
        client::request(stack, "GET", path, &headers, None).unwrap_or_else(|error| panic!("{path}: {error:#}"))
    };
    let team = &json(stack, &["team", "list"])[0]["id"];
    let path = format!("/api/v4/users/me/teams/{}/channels/members", team.as_str().unwrap_or_default());
    let (status, _, own) = get(&path, &bot);
    assert_eq!((status, own.matches("\"channel_id\":").count()), (200, 2), "{own}");
    for path in ["/api/v4/channels", "/api/v4/hooks/incoming", "/api/v4/teams", "/api/v4/bots"] {
        assert_eq!(get(path, &bot).0, 403, "{path} for a bot");
        assert_eq!(get(path, "wrong").0, 401, "{path} with a wrong token");
        assert_eq!(get(path, &administrator).0, 200, "{path} for the administrator");
    }
    let (status, _, body) = get("/api/v4/emoji", &administrator);
    assert!(status == 501 && body.contains("GET /api/v4/emoji"), "{status}: {body}");

    let hook = &json(stack, &["webhook", "list", "engineering"])[0]["id"];
    let path = format!("/hooks/{}", hook.as_str().unwrap_or_default());
    let post = || client::request(stack, "POST", &path, &[], Some(r#"{"text": "x"}"#)).expect("the site answers").0;
    json(stack, &["channel", "users", "add", "engineering:builds", "jenkins-bot"]);
    assert_eq!(post(), 200);
    json(stack, &["channel", "archive", "engineering:builds"]);
    assert_eq!(post(), 400, "the channel is archived");
    json(stack, &["plugin", "enable", "com.github.manland.mattermost-plugin-gitlab"]);
}

fn a_restart_forgets_nothing(stack: &Stack) {
    let lists: [&[&str]; 7] = [
        &["team", "list"],
        &["channel", "list", "engineering"],
        &["user", "list", "--all", "--team", "engineering"],
        &["webhook", "list"],
        &["command", "list"],
        &["plugin", "list"],
        &["config", "get", "PluginSettings"],
    ];
    let before = lists.map(|it| json(stack, it));
    stack.compose(&["restart", "mattermost"]).exits(0);
    stack.compose(&["up", "--detach", "--wait", "--pull", "never"]).exits(0);
    assert_eq!(before, lists.map(|it| json(stack, it)));
    assert!(before[5][0]["active"].to_string().contains("gitlab"), "{}", before[5]);
}

fn token(stack: &Stack, name: &str) -> String {
    let generated = json(stack, &["token", "generate", name, "unrecorded"]);
    generated[0]["token"].as_str().expect("a token").to_owned()
}

fn json(stack: &Stack, arguments: &[&str]) -> Value {
    let ran = stack.mmctl(&[&["--local", "--json"], arguments].concat(), None, LIMIT).expect("mmctl returns").exits(0);
    serde_json::from_str(&ran.stdout).expect("mmctl prints JSON")
}

fn outcome(ran: Ran) -> (i32, String, String) {
    (ran.code.unwrap_or(TIMED_OUT), ran.stdout, ran.stderr)
}

/// A call whose standard input is no text: a bundle.
fn with_bytes(stack: &Stack, arguments: &[String], stdin: &[u8]) -> (i32, String, String) {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(stdin).and_then(|()| file.rewind()).expect("a temporary file can be written");
    let mut command = Command::new("docker");
    command.args(["exec", "--interactive", &stack.container("mattermost"), "mmctl"]).args(arguments).stdin(file);
    let ran = command.output().expect("docker runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ran.status.code().unwrap_or(TIMED_OUT), text(&ran.stdout), text(&ran.stderr))
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
