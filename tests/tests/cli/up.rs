//! `up` against a docker that only says what it was told to: what it calls, and when it stops.

use crate::fake::{Answer, Checkout, ENGINE, fails, lan_address, prints, stderr, stdout};

/// An engine elsewhere that is gone: installing another one here would not be what the user meant.
#[test]
fn a_dead_docker_host_is_named_and_nothing_is_installed() {
    let checkout = Checkout::new();
    let dead = "Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?";
    checkout.docker(&[&[fails("version *", dead), fails("ps *", dead)], ENGINE].concat());
    let mut command = checkout.command(&["up", "--yes"], "bin");
    let assert = command.env("DOCKER_HOST", "tcp://127.0.0.1:1").assert().code(1);
    assert!(
        stderr(&assert).contains("the engine at DOCKER_HOST=tcp://127.0.0.1:1 does not answer"),
        "{}",
        stderr(&assert)
    );
    assert!(stderr(&assert).contains("hint: start that engine, or unset DOCKER_HOST"), "{}", stderr(&assert));
    let calls = checkout.calls();
    assert!(calls.iter().all(|call| call.starts_with("docker ")), "{calls:?}");
    assert_eq!(checkout.made(), Vec::<String>::new(), "nothing is written before there is an engine");
}

/// Without a yes nothing is installed, and the user sees each command as it would run.
#[test]
fn without_docker_and_without_a_yes_the_commands_are_shown_and_not_run() {
    let checkout = Checkout::new();
    // Everything but docker is there.
    let assert = checkout.xtask(&["up"]).code(1);
    let said = stderr(&assert);
    let os = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if os.lines().any(|line| line == "ID=debian") && os.contains("VERSION_ID=\"12\"") {
        assert!(said.contains("$ env DEBIAN_FRONTEND=noninteractive apt-get install"), "{said}");
        assert!(
            said.contains("docker.io/trixie docker-cli/trixie docker-compose/trixie docker-buildx/trixie"),
            "{said}"
        );
        assert!(said.contains("Suites: trixie") && said.contains("Pin-Priority: 100"), "{said}");
        assert!(said.contains("hint: add --yes"), "{said}");
    } else if os.lines().any(|line| line == "ID=debian") && os.contains("VERSION_ID=\"13\"") {
        assert!(said.contains("docker.io docker-cli docker-compose docker-buildx"), "{said}");
        assert!(said.contains("hint: add --yes"), "{said}");
    } else {
        assert!(said.contains("hint: install Docker Engine 25 or later"), "{said}");
    }
    assert_eq!(checkout.calls(), Vec::<String>::new());
    assert_eq!(checkout.made(), Vec::<String>::new());
}

/// An engine that cannot do what the stack needs is refused before anything is written.
#[test]
fn an_engine_that_does_not_fit_is_refused_with_the_reason() {
    for (server, compose, message) in [
        (r#"{"Version":"20.10.24"}"#, "2.26.1", "Docker Engine 20.10.24 is too old"),
        (r#"{"Version":"26.1.5"}"#, "v2.23.3", "Docker Compose 2.23.3 is too old"),
        (r#"{"Version":"27.1.1","Platform":{"Name":"Docker Desktop 4.34"}}"#, "2.29.1", "this is Docker Desktop"),
        (r#"{"Version":"26.1.5","Components":[{"Name":"rootlesskit"}]}"#, "2.26.1", "this engine is rootless"),
    ] {
        let checkout = Checkout::new();
        let engine = [prints("compose version --short", compose), prints("version --format *", server)];
        checkout.docker(&[&engine, ENGINE].concat());
        let assert = checkout.xtask(&["up", "--yes"]).code(1);
        assert!(stderr(&assert).contains(message), "{}", stderr(&assert));
        assert!(stderr(&assert).contains("\nhint: "), "{}", stderr(&assert));
        let calls = checkout.calls();
        assert!(calls.iter().all(|call| call.starts_with("docker ")), "{calls:?}");
        assert_eq!(checkout.made(), Vec::<String>::new());
    }
}

/// Docker is not in the way of whoever is not in its group: the steps are, and nothing goes through sudo.
#[test]
fn a_user_outside_of_the_docker_group_is_told_the_steps() {
    let checkout = Checkout::new();
    let denied = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
    checkout.docker(&[&[fails("version *", denied), fails("ps *", denied)], ENGINE].concat());
    let assert = checkout.xtask(&["up", "--yes"]).code(1);
    assert!(stderr(&assert).contains("usermod -aG docker"), "{}", stderr(&assert));
    assert!(checkout.calls().iter().all(|call| call.starts_with("docker ")), "{:?}", checkout.calls());
}

/// A network that overlaps, an address that is taken and a port that is held are said before anything is written.
#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    let other = r#"[{"Id":"0","IPAM":{"Config":[{"Subnet":"10.9.0.0/16"}]},"Labels":{},"Containers":{}}]"#;
    let taken = r#"[{"Id":"0","IPAM":{"Config":[{"Subnet":"10.251.237.0/24"}]},"Labels":null,
        "Containers":{"x":{"Name":"jenkins","IPv4Address":"10.251.237.10/24"}}}]"#;
    let stack = concat!(
        r#"{"ID":"1","Names":"site-mattermost-1","Image":"m","State":"running","Status":"Up","Ports":"0.0.0.0:28065->8065/tcp","#,
        r#""Labels":"com.docker.compose.project=site,com.docker.compose.service=mattermost,command-center.stack=site"}"#
    );
    for (answer, message) in [
        (prints("network inspect *", other), "t-cli-net exists with 10.9.0.0/16"),
        (prints("network inspect *", taken), "10.251.237.10 on t-cli-net is taken by jenkins"),
        (prints("ps *", stack), "ports.mattermost: 28065/tcp is held by the stack site (mattermost)"),
    ] {
        let checkout = Checkout::new();
        checkout.docker(&[&[answer], ENGINE].concat());
        let assert = checkout.xtask(&["up"]).code(1);
        assert!(stderr(&assert).contains(message), "{message}: {}", stderr(&assert));
        assert!(stderr(&assert).contains("\nhint: "), "{}", stderr(&assert));
        assert_eq!(checkout.made(), Vec::<String>::new());
    }
}

/// The image's own words come through, with what to do without a registry.
#[test]
fn an_image_that_cannot_be_had_is_an_error_with_a_hint() {
    let checkout = Checkout::new();
    let images = [
        fails("image inspect *", "Error response from daemon: No such image: x"),
        fails("pull *", "dial tcp: lookup registry-1.docker.io: no such host"),
    ];
    checkout.docker(&[&images, ENGINE].concat());
    let assert = checkout.xtask(&["up"]).code(1);
    assert!(stderr(&assert).contains("cannot pull postgres:17"), "{}", stderr(&assert));
    assert!(stderr(&assert).contains("no such host"), "{}", stderr(&assert));
    assert!(stderr(&assert).contains("docker load"), "{}", stderr(&assert));
    assert_eq!(checkout.made(), Vec::<String>::new());
}

const ADMIN: &str = r#"[{"id":"abcdefghijklmnopqrstuvwxyz","username":"admin"}]"#;

/// A fresh database, on which nobody but us makes the first account.
const FRESH: &[Answer] = &[
    Answer { pattern: "exec * user list *", exit: 0, stdout: "null\n", stderr: "", once: true },
    prints("exec * user list *", ADMIN),
    prints("exec * user create *", r#"{"id":"abcdefghijklmnopqrstuvwxyz","username":"admin"}"#),
    prints("exec * user change-password *", "null\n"),
    prints("exec * roles system-admin *", "null\n"),
];

/// Arguments are for every user of the host to read. The administrator's first password is there on purpose: it is good for
/// seconds, and replaced by a hash.
#[test]
fn no_secret_is_in_the_arguments_of_docker() {
    let checkout = Checkout::new();
    checkout.docker(&[FRESH, ENGINE].concat());
    // No server is behind the fake, so the proofs by use fail; all of docker's calls are made by then.
    checkout.xtask(&["up"]).code(1);
    let calls = checkout.calls();
    for expected in ["network create", " up --detach --wait", "user create", "--hashed"] {
        assert!(calls.iter().any(|call| call.contains(expected)), "{expected:?} was called: {calls:?}");
    }
    let secrets = checkout.read("env/secrets.env");
    let mut looked_at = 0;
    for line in secrets.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once('=').expect("a secret");
        let value = rest.split_whitespace().next().expect("a value");
        assert!(calls.iter().all(|call| !call.contains(value)), "{name} is in an argument");
        looked_at += 1;
    }
    assert!(looked_at >= 5, "four secrets and the administrator's id: {secrets}");
    assert!(!secrets.contains("FIRST_PASSWORD"), "the first password is forgotten");
}

/// Whoever was faster may be administrator of everything.
#[test]
fn a_strangers_account_on_a_fresh_database_stops_the_stack() {
    let checkout = Checkout::new();
    let stranger = r#"[{"id":"mmmmmmmmmmmmmmmmmmmmmmmmmm","username":"mallory"}]"#;
    checkout.docker(&[&[prints("exec * user list *", stranger)], ENGINE].concat());
    let assert = checkout.xtask(&["up"]).code(1);
    assert!(stderr(&assert).contains("\"mallory\"") && stderr(&assert).contains("was stopped"), "{}", stderr(&assert));
    let calls = checkout.calls();
    assert!(calls.iter().any(|call| call.starts_with("docker compose") && call.contains(" stop")), "{calls:?}");
    assert!(calls.iter().all(|call| !call.contains("user create")), "{calls:?}");
    assert!(!checkout.read("env/secrets.env").contains("ADMIN_ID"), "a stranger is not taken for ours");
}

/// The name of the service, its last lines without secrets, and what to do.
#[test]
fn a_server_that_fails_is_shown_with_its_log_and_without_secrets() {
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    checkout.xtask(&["render"]).success();
    let secrets = xtask::secrets::Secrets::load(&checkout.path("env/secrets.env")).expect("well-formed");
    let password = secrets.get("POSTGRES_PASSWORD").expect("it was made");
    let log: &'static str = format!("first line\nconnecting with {password}\n").leak();
    let broken = concat!(
        r#"{"ID":"1","Names":"t-cli-mattermost-1","Image":"m","State":"restarting","Status":"Restarting (1)","Ports":"","#,
        r#""Labels":"com.docker.compose.project=t-cli,com.docker.compose.service=mattermost,command-center.stack=t-cli"}"#
    );
    let answers =
        [fails("compose * up *", "container exited"), prints("ps * --filter *", broken), prints("logs *", log)];
    checkout.docker(&[&answers, ENGINE].concat());
    let assert = checkout.xtask(&["up"]).code(1);
    let said = format!("{}{}", stdout(&assert), stderr(&assert));
    assert!(said.contains("mattermost") && said.contains("connecting with [POSTGRES_PASSWORD]"), "{said}");
    assert!(said.contains("still running: nothing") && said.contains("\nhint: "), "{said}");
    assert!(!said.contains(password), "{said}");
}

/// The address of this host is what the files advertise.
#[test]
fn auto_finds_the_address_of_this_host() {
    let Some(address) = lan_address() else {
        eprintln!("SKIPPED: the address of this host: there is no default route");
        return;
    };
    let checkout = Checkout::new();
    checkout.docker(ENGINE);
    checkout.xtask(&["render"]).success();
    assert!(checkout.read("compose/.env").contains(&format!("LAN_IP='{address}'\n")), "{address}");
}

/// An address that this host does not have is a wrong setting.
#[test]
fn an_address_of_another_host_exits_2() {
    let checkout = Checkout::with_settings(&crate::common::shipped_with(&[(
        "addresses = \"auto\"",
        "addresses = [\"198.51.100.7\"]",
    )]));
    checkout.docker(ENGINE);
    for arguments in [&["render"][..], &["up"]] {
        let assert = checkout.xtask(arguments).code(2);
        assert!(stderr(&assert).contains("does not have the address 198.51.100.7"), "{}", stderr(&assert));
        assert!(stderr(&assert).contains("stack.toml:17: lan.addresses: "), "{}", stderr(&assert));
    }
}

/// Files of others that stack.toml names are looked at before anything is written.
#[test]
fn a_ca_that_cannot_be_used_is_refused_before_anything_is_written() {
    let external = [("external = \"\"", "external = \"db:5432\""), ("ca = \"\"", "ca = \"db.pem\"")];
    for (edits, message) in [
        (&[("extra_trust = []", "extra_trust = [\"tools.pem\"]")][..], "stack.toml: certificates.extra_trust: "),
        (&external, "stack.toml: postgres.ca: "),
    ] {
        let checkout = Checkout::new();
        let mut text = checkout.read("stack.toml");
        for (old, new) in edits {
            text = text.replacen(old, new, 1);
        }
        std::fs::write(checkout.path("stack.toml"), text).expect("writable");
        checkout.docker(ENGINE);
        let assert = checkout.xtask(&["up"]).code(1);
        assert!(stderr(&assert).contains(message), "{}", stderr(&assert));
        assert!(stderr(&assert).contains("hint: name a PEM file"), "{}", stderr(&assert));
        assert_eq!(checkout.made(), Vec::<String>::new());
    }
}

/// No registry has the relay's image: where it is not loaded it is built, with this toolchain, and nothing is written before.
#[test]
fn a_relay_that_is_not_loaded_is_built() {
    let checkout = Checkout::new();
    let missing = fails("image inspect * command-center/relay:*", "Error response from daemon: No such image: x");
    checkout.docker(&[&[missing], ENGINE].concat());
    // The fake `env`, by which cargo would be started, fails.
    let assert = checkout.xtask(&["up"]).code(1);
    assert!(stderr(&assert).contains("building relay"), "{}", stderr(&assert));
    assert!(stderr(&assert).contains("\nhint: "), "{}", stderr(&assert));
    let calls = checkout.calls();
    assert!(calls.iter().any(|call| call.starts_with("env CARGO_") && call.contains("--package relay")), "{calls:?}");
    assert_eq!(checkout.made(), Vec::<String>::new());
}
