//! The binary, as users and scripts meet it: exit statuses, messages, and what it calls.

#[path = "../common/mod.rs"]
mod common;

mod certs;
mod fake;
mod up;

use std::fs;

use fake::{Checkout, ENGINE, fails, prints, stderr, stdout};

/// The words of each command, read from the help itself, so that a new one is tested too.
fn commands(checkout: &Checkout) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut index = 0;
    while let Some(command) = found.get(index).cloned() {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = stdout(&checkout.xtask(&arguments).success());
        let list = help.split_once("Commands:\n").map_or("", |(_, list)| list);
        for line in list.lines().take_while(|line| !line.is_empty()) {
            // A description that goes on in the next line is indented further than a name.
            if let Some(name) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) {
                let name = name.split_whitespace().next().expect("a command has a name");
                found.push(command.iter().cloned().chain([name.to_owned()]).collect());
            }
        }
        index += 1;
    }
    found
}

#[test]
fn every_help_has_an_example() {
    let checkout = Checkout::new();
    let commands = commands(&checkout);
    assert!(commands.len() > 9, "the commands are found: {commands:?}");
    let mut without = Vec::new();
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = stdout(&checkout.xtask(&arguments).success());
        let example = help.split_once("Example").is_some_and(|(_, rest)| rest.contains("  cargo xtask "));
        if !example {
            without.push(command.join(" "));
        }
    }
    assert_eq!(without, Vec::<String>::new(), "the help of these has no example");
    assert_eq!(checkout.calls(), Vec::<String>::new(), "help needs nothing");
}

#[test]
fn wrong_usage_exits_2() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    for arguments in [
        &[][..],
        &["nosuch"],
        &["render", "--nosuch"],
        &["render", "--check", "--diff"],
        &["up", "--images", "nosuch"],
        &["down", "--yes"],
        &["secrets", "show"],
        &["certs", "--renew", "request", "mattermost"],
        &["certs", "import", "leaf", "nosuch", "--certificate", "x"],
        &["render", "--stack", "../elsewhere"],
        &["render", "--stack", "nosuch"],
    ] {
        let assert = checkout.xtask(arguments);
        assert_eq!(assert.get_output().status.code(), Some(2), "{arguments:?}: {}", stderr(&assert));
    }
    assert_eq!(checkout.calls(), Vec::<String>::new());
}

/// Before anything is asked, installed or written: the settings.
#[test]
fn wrong_settings_exit_2_before_docker_is_called() {
    let checkout = Checkout::with_settings(&common::shipped_with(&[("turn = 3478", "turn = 443")]));
    checkout.docker(ENGINE);
    for arguments in [&["up", "--yes", "--images", "auto"][..], &["up"], &["render"], &["render", "--check"]] {
        let assert = checkout.xtask(arguments).code(2);
        let message = "error: stack.toml:34: ports.turn: 443 is a privileged port\nhint: use a port from 1024";
        assert!(stderr(&assert).contains(message), "{arguments:?}: {}", stderr(&assert));
    }
    assert_eq!(checkout.calls(), Vec::<String>::new());
    assert_eq!(checkout.made(), Vec::<String>::new());
}

/// Which stack is meant may depend on what runs, so these may ask the engine; the status is the same.
#[test]
fn wrong_settings_exit_2_for_every_command() {
    let checkout = Checkout::with_settings(&common::shipped_with(&[("latex = true", "latex = 1")]));
    checkout.docker(ENGINE);
    for arguments in [&["down"][..], &["status"], &["logs"], &["certs"], &["secrets"], &["doctor"]] {
        let assert = checkout.xtask(arguments).code(2);
        assert!(stderr(&assert).contains("stack.toml:68: mattermost.latex: "), "{arguments:?}: {}", stderr(&assert));
    }
    assert_eq!(checkout.made(), Vec::<String>::new());
}

/// A machine in CI has neither Docker nor secrets.
#[test]
fn render_check_needs_nothing_and_writes_nothing() {
    let checkout = Checkout::new();
    checkout.xtask_without_programs(&["render"]).success();
    for folder in ["env", "certs"] {
        fs::remove_dir_all(checkout.path(folder)).expect("it was rendered");
    }
    fs::remove_file(checkout.path("compose/.env")).expect("it was rendered");
    let assert = checkout.xtask_without_programs(&["render", "--check"]).success();
    assert!(stdout(&assert).contains("up to date"));
    assert_eq!(checkout.made(), ["compose/compose.yaml", "docs/troubleshooting.md"]);
}

#[test]
fn render_check_fails_on_an_edited_file_and_names_the_command() {
    let checkout = Checkout::new();
    checkout.xtask_without_programs(&["render"]).success();
    let edited = checkout.read("compose/compose.yaml").replace("no-new-privileges:true", "no-new-privileges:false");
    fs::write(checkout.path("compose/compose.yaml"), &edited).expect("writable");
    let assert = checkout.xtask_without_programs(&["render", "--check"]).code(1);
    assert!(stdout(&assert).contains("-    security_opt: [\"no-new-privileges:false\"]"), "{}", stdout(&assert));
    assert!(stderr(&assert).contains("compose/compose.yaml"), "{}", stderr(&assert));
    assert!(stderr(&assert).contains("hint: run `cargo xtask render`"), "{}", stderr(&assert));
    assert_eq!(checkout.read("compose/compose.yaml"), edited, "--check writes nothing");
    fs::remove_file(checkout.path("compose/compose.yaml")).expect("it is there");
    checkout.xtask_without_programs(&["render", "--check"]).code(1);
}

#[test]
fn render_is_done_the_second_time() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    let first = stdout(&checkout.xtask(&["render"]).success());
    for part in
        ["made the secrets", "made the CA", "issued the certificate of mattermost", "wrote compose/compose.yaml"]
    {
        assert!(first.contains(part), "{part:?}: {first}");
    }
    assert_eq!(stdout(&checkout.xtask(&["render"]).success()), "Everything is up to date.\n");
    // What an editor or a careless copy has opened up is closed again.
    use std::os::unix::fs::PermissionsExt as _;
    let path = checkout.path("env/mattermost.env");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    assert!(stdout(&checkout.xtask(&["render"]).success()).contains("wrote env/mattermost.env"));
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
}

/// A reviewer pastes the difference into a ticket.
#[test]
fn render_diff_shows_what_would_change_and_no_secret() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    checkout.xtask(&["render"]).success();
    let text = checkout.read("stack.toml").replace("total_quota = 400", "total_quota = 300");
    fs::write(checkout.path("stack.toml"), text).expect("writable");
    // Files of an older secret: what nothing knows any more must not come out either.
    let old = "OldSecretThatNothingKnowsAnyMore01";
    for file in ["env/turnserver.conf", "env/mattermost.env", "env/postgres/password"] {
        let mut lines = checkout.read(file);
        for name in ["TURN_SECRET", "POSTGRES_PASSWORD"] {
            lines = lines.replace(&secret(&checkout, name), old);
        }
        fs::write(checkout.path(file), lines).expect("writable");
    }
    let diff = stdout(&checkout.xtask(&["render", "--diff"]).success());
    assert!(diff.contains("-total-quota=400\n+total-quota=300"), "{diff}");
    for line in checkout.read("env/secrets.env").lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once('=').expect("a secret");
        let value = rest.split_whitespace().next().expect("a value");
        assert!(!diff.contains(value), "{name} is in the difference");
    }
    assert!(!diff.contains(old), "an old secret is in the difference:\n{diff}");
}

#[test]
fn down_with_volumes_refuses_when_nobody_can_be_asked() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    checkout.xtask(&["render"]).success();
    let before = checkout.made();
    let assert = checkout.xtask(&["down", "--volumes"]).code(1);
    assert!(
        stderr(&assert).contains("nobody can be asked") && stderr(&assert).contains("--yes"),
        "{}",
        stderr(&assert)
    );
    let calls = checkout.calls();
    assert!(calls.iter().all(|call| !call.contains(" down") && !call.contains(" rm")), "{calls:?}");
    assert_eq!(checkout.made(), before);
}

#[test]
fn a_secret_is_shown_when_asked_for_by_name_only() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    checkout.xtask(&["render"]).success();
    let list = stdout(&checkout.xtask(&["secrets"]).success());
    let value = secret(&checkout, "ADMIN_PASSWORD");
    assert!(list.contains("ADMIN_PASSWORD") && !list.contains(&value), "{list}");
    let shown = stdout(&checkout.xtask(&["secrets", "show", "ADMIN_PASSWORD"]).success());
    assert_eq!(shown, format!("{value}\n"), "scripts read nothing but the value");
    let assert = checkout.xtask(&["secrets", "show", "NOPE"]).code(1);
    assert!(stderr(&assert).contains("has no NOPE"), "{}", stderr(&assert));
    assert!(stderr(&assert).contains("hint: `cargo xtask secrets` lists the names"), "{}", stderr(&assert));
    assert_eq!(stdout(&assert), "");
}

/// What a volume depends on is not made again, and a malformed file is not written over.
#[test]
fn lost_and_malformed_secrets_stop_render_and_nothing_is_lost() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    checkout.xtask(&["render"]).success();
    let path = checkout.path("env/secrets.env");
    let without: String = checkout.read("env/secrets.env").lines().skip(2).map(|line| format!("{line}\n")).collect();
    for (text, message) in [
        (without.as_str(), "POSTGRES_SUPERUSER_PASSWORD is missing, and the volume t-cli_postgres-data depends on it"),
        ("POSTGRES_PASSWORD\n", "secrets.env:1: has no `=`"),
    ] {
        checkout.docker(&[&[prints("volume inspect *", "t-cli_postgres-data\n")], ENGINE].concat());
        fs::write(&path, text).expect("writable");
        let assert = checkout.xtask(&["render"]).code(1);
        assert!(stderr(&assert).contains(message), "{}", stderr(&assert));
        assert!(stderr(&assert).contains("\nhint: "), "{}", stderr(&assert));
        assert_eq!(checkout.read("env/secrets.env"), text, "it is untouched");
    }
    // With an engine that does not answer nobody knows whether the volume is there.
    fs::write(&path, &without).expect("writable");
    checkout.docker(&[fails("*", "Cannot connect to the Docker daemon")]);
    let assert = checkout.xtask(&["render"]).code(1);
    assert!(stderr(&assert).contains("if it exists (Docker does not answer)"), "{}", stderr(&assert));
    assert_eq!(checkout.read("env/secrets.env"), without, "it is untouched");
}

#[test]
fn a_second_command_is_told_who_holds_the_lock() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    checkout.xtask(&["render"]).success();
    let _lock = xtask::drivers::files::lock(&checkout.path("env"), "up").expect("nobody holds it");
    for arguments in [&["render"][..], &["certs"], &["down"]] {
        let assert = checkout.xtask(arguments).code(1);
        let holder = format!("`cargo xtask up` (process {}) holds the lock", std::process::id());
        assert!(stderr(&assert).contains(&holder), "{arguments:?}: {}", stderr(&assert));
    }
}

/// A table for people, a list for scripts, and a status for both.
#[test]
fn doctor_without_docker_fails_with_a_fix() {
    let checkout = Checkout::new();
    let assert = checkout.xtask_without_programs(&["doctor"]).code(1);
    assert!(stdout(&assert).contains("FAIL  engine"), "{}", stdout(&assert));
    assert!(stdout(&assert).contains("fix:     `cargo xtask up` offers to install one"), "{}", stdout(&assert));
    let json = stdout(&checkout.xtask_without_programs(&["doctor", "--json"]).code(1));
    let checks: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let checks = checks.as_array().expect("a list");
    let engine = checks.iter().find(|check| check["name"] == "engine").expect("the engine is checked");
    assert_eq!(engine["state"], "fail");
    assert_eq!(engine["problem"], "engine.missing");
    for check in checks {
        let keys: Vec<&String> = check.as_object().expect("an object").keys().collect();
        assert_eq!(keys.len(), 7, "documented in docs/troubleshooting.md: {keys:?}");
    }
    for name in ["addresses", "ports", "disk", "modes", "certificates"] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name} is checked");
    }
    assert_eq!(checkout.made(), Vec::<String>::new(), "a look changes nothing");
}

#[test]
fn status_of_what_was_never_set_up_fails_and_says_so() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    let assert = checkout.xtask(&["status"]).code(1);
    assert!(stdout(&assert).contains("not set up; `cargo xtask up` starts it"), "{}", stdout(&assert));
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&checkout.xtask(&["status", "--json"]).code(1))).expect("it is JSON");
    assert_eq!(json["stacks"][0]["project"], "t-cli");
    assert_eq!(json["stacks"][0]["lab"], false);
}

fn secret(checkout: &Checkout, name: &str) -> String {
    let secrets = xtask::secrets::Secrets::load(&checkout.path("env/secrets.env")).expect("well-formed");
    secrets.get(name).unwrap_or_else(|| panic!("there is no {name}")).to_owned()
}
