//! `doctor` on a real stack: it finds what is broken, each thing by its name, says what mends it, and mends what it may.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use command_center_tests::{Stack, docker};
use serde_json::Value;

use crate::checks;

/// What may be so on a machine that is well: a container has no time service, the lab no license, a small machine little memory.
const SURROUNDINGS: &[&str] = &["clock.unkept", "calls.direct-only", "memory.small", "disk.low"];

#[test]
fn doctor_finds_what_is_broken_and_mends_what_it_may() {
    let stack = Stack::new("doctor");
    stack.up();
    checks::run(
        &stack,
        &[
            ("a healthy stack is looked at in less than three seconds", a_healthy_stack_is_quick),
            ("a file with secrets that others can read", open_modes),
            ("a secret that is easy to guess", a_weak_secret),
            ("a generated file that somebody edited", an_edited_file),
            ("a certificate that was issued and not put to use", an_old_certificate),
            ("a database that belongs to somebody else", a_foreign_database),
            ("a webhook that somebody deleted", a_deleted_webhook),
            ("the Calls plugin switched off", calls_switched_off),
            ("deliveries to the relay without a signature", unsigned_deliveries),
            ("a TURN server with another secret and a line that it does not understand", another_turn_secret),
            ("a stopped server whose port somebody else took", a_stopped_server),
            ("Mattermost with settings of somebody else", foreign_settings),
            ("a media port that is not published", an_unpublished_port),
            ("PostgreSQL without TLS", postgres_without_tls),
        ],
    );
}

/// The names of what doctor finds, and the whole table for a message.
fn findings(stack: &Stack) -> (BTreeSet<String>, String) {
    let ran = stack.xtask(&["doctor", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.said()));
    let found = rows.iter().filter_map(|row| row["problem"].as_str());
    let found = found.filter(|problem| !SURROUNDINGS.contains(problem)).map(str::to_owned).collect();
    (found, ran.stdout)
}

/// Exactly these problems, in any order.
#[track_caller]
fn finds(stack: &Stack, problems: &[&str]) {
    let (found, table) = findings(stack);
    let expected: BTreeSet<String> = problems.iter().map(|problem| (*problem).to_owned()).collect();
    assert_eq!(found, expected, "{table}");
    let fails = stack.xtask(&["doctor"]);
    for problem in problems {
        let problem = xtask::doctor::problem::all().find(|it| it.id == *problem).expect("it is on the page");
        assert!(fails.stdout.contains(problem.symptom), "{}: {}", problem.id, fails.said());
        assert!(fails.stdout.contains(problem.cause), "{}: {}", problem.id, fails.said());
    }
}

#[track_caller]
fn mends(stack: &Stack) {
    stack.xtask(&["doctor", "--fix", "--yes"]).exits(0);
    finds(stack, &[]);
}

fn a_healthy_stack_is_quick(stack: &Stack) {
    // The first look after a start also waits for what the start left to do.
    let mut times: Vec<Duration> = (0..3).map(|_| stack.xtask(&["doctor"]).exits(0).took).collect();
    times.sort_unstable();
    eprintln!("  doctor took {:.1} s at best and {:.1} s at worst", times[0].as_secs_f32(), times[2].as_secs_f32());
    assert!(times[0] < Duration::from_secs(3), "{times:?}");
    finds(stack, &[]);
}

fn open_modes(stack: &Stack) {
    for file in ["env/secrets.env", "certs/ca.key"] {
        fs::set_permissions(stack.root.join(file), fs::Permissions::from_mode(0o644)).expect("it is ours");
    }
    finds(stack, &["modes.open"]);
    // Nobody is asked, and so nothing is done, unless it was agreed to.
    stack.xtask(&["doctor", "--fix"]).exits(1).says("add --yes");
    finds(stack, &["modes.open"]);
    mends(stack);
    let mode = fs::metadata(stack.root.join("env/secrets.env")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn a_weak_secret(stack: &Stack) {
    let path = stack.root.join("env/secrets.env");
    let whole = fs::read_to_string(&path).expect("the stack has secrets");
    let token = stack.secret("JENKINS_RELOAD_TOKEN");
    fs::write(&path, whole.replace(&token, "jenkins")).expect("it is ours");
    finds(stack, &["secrets.weak"]);
    fs::write(&path, format!("{whole}NO_VALUE\n")).expect("it is ours");
    let (found, table) = findings(stack);
    assert!(found.contains("secrets.malformed"), "{table}");
    fs::write(&path, whole).expect("it is ours");
    finds(stack, &[]);
}

fn an_edited_file(stack: &Stack) {
    let path = stack.root.join("env/turnserver.conf");
    let text = fs::read_to_string(&path).expect("it was rendered");
    fs::write(&path, text.replace("no-multicast-peers\n", "")).expect("it is ours");
    finds(stack, &["files.differ"]);
    mends(stack);
}

/// What `certs --renew` does, cut off before it could restart the server.
fn an_old_certificate(stack: &Stack) {
    let inner = stack.inner();
    let host = xtask::host::detect(&inner.settings).expect("this host has addresses");
    xtask::certs::ensure(&stack.root, &inner.settings, &host.lan, true).expect("certificates can be renewed");
    // compose/.env has a hash of what each server reads.
    finds(stack, &["certificates.old", "files.differ"]);
    mends(stack);
}

fn a_foreign_database(stack: &Stack) {
    stack.psql("ALTER DATABASE mattermost OWNER TO postgres");
    finds(stack, &["postgres.schema-owner"]);
    // What the row says to do, which the golden of all rows shows.
    stack.psql("ALTER DATABASE mattermost OWNER TO mattermost");
    finds(stack, &[]);
}

/// TLS is switched on in argv, so only another argv switches it off. Mattermost then refuses to connect, and rightly.
fn postgres_without_tls(stack: &Stack) {
    if !stack.is_lab() {
        eprintln!("SKIPPED: only a lab has an override to change");
        return;
    }
    let over = override_of(stack);
    let text = fs::read_to_string(&over).expect("a lab has one");
    let service = text.replace("  postgres:\n", "  postgres:\n    command: [postgres, -cssl=off]\n");
    fs::write(&over, &service).expect("it is ours");
    stack.compose(&["up", "--detach", "--no-deps", "postgres"]).exits(0);
    wait_until_well(stack);
    let (found, table) = findings(stack);
    fs::write(&over, text).expect("it is ours");
    for problem in ["postgres.no-tls", "certificates.no-tls"] {
        assert!(found.contains(problem), "{problem}: {table}");
    }
    mends_by_up(stack);
}

fn a_deleted_webhook(stack: &Stack) {
    let id = stack.secret("GITLAB_HOOK");
    let deleted = stack.mmctl(&["--local", "--json", "webhook", "delete", &id], None, Duration::from_secs(30));
    deleted.expect("mmctl returns").exits(0);
    finds(stack, &["webhooks.unknown", "wiring.drift"]);
    mends(stack);
    assert_ne!(stack.secret("GITLAB_HOOK"), id);
}

fn calls_switched_off(stack: &Stack) {
    let plugin = |what: &str| {
        let arguments = ["--local", "--json", "plugin", what, "com.mattermost.calls"];
        stack.mmctl(&arguments, None, Duration::from_secs(30)).expect("mmctl returns").exits(0);
    };
    plugin("disable");
    finds(stack, &["calls.inactive", "plugins.inactive"]);
    plugin("enable");
    finds(stack, &[]);
}

fn unsigned_deliveries(stack: &Stack) {
    let settings = stack.inner().settings;
    let address = stack.address_of("relay", &settings.network.name);
    let url = format!("http://{address}:{}", settings.relay.port);
    let roots: &[rustls::pki_types::CertificateDer<'_>] = &[];
    let relay = xtask::drivers::rest::tool("the relay", "relay.port", &url, roots, None, &stack.secrets());
    let body = serde_json::json!({ "serverUrl": "http://sonar" });
    let answer = xtask::drivers::rest::call(&relay, "POST", "/sonarqube", xtask::drivers::rest::Body::Json(&body));
    assert_eq!(answer.expect("the relay answers").status(), 401);
    finds(stack, &["relay.unsigned"]);
    docker(&["restart", &stack.container("relay")]).exits(0);
    wait_until_well(stack);
    finds(stack, &[]);
}

fn another_turn_secret(stack: &Stack) {
    let path = stack.root.join("env/turnserver.conf");
    let text = fs::read_to_string(&path).expect("it was rendered");
    let secret = stack.secret("TURN_SECRET");
    fs::write(&path, text.replace(&secret, "another-secret-than-the-one-of-calls")).expect("it is ours");
    stack.compose(&["up", "--detach", "--force-recreate", "install", "coturn"]).exits(0);
    wait_until_well(stack);
    finds(stack, &["calls.turn-refused", "files.differ", "turn.secret"]);
    fs::write(&path, format!("{text}no-such-option\n")).expect("it is ours");
    stack.compose(&["up", "--detach", "--force-recreate", "install", "coturn"]).exits(0);
    wait_until_well(stack);
    finds(stack, &["files.differ", "turn.configuration"]);
    fs::write(&path, text).expect("it is ours");
    stack.compose(&["up", "--detach", "--force-recreate", "install", "coturn"]).exits(0);
    wait_until_well(stack);
    finds(stack, &[]);
}

fn a_stopped_server(stack: &Stack) {
    docker(&["stop", &stack.container("coturn")]).exits(0);
    let port = stack.inner().settings.ports.turn;
    let taken = UdpSocket::bind((stack.lan(), port)).expect("the port is free now");
    finds(stack, &["calls.turn-silent", "ports.taken", "services.stopped"]);
    drop(taken);
    finds(stack, &["calls.turn-silent", "services.stopped"]);
    mends(stack);
}

fn foreign_settings(stack: &Stack) {
    let over = override_of(stack);
    let text = fs::read_to_string(&over).unwrap_or_default();
    let with = |variable: &str| {
        let environment = format!("  mattermost:\n    environment:\n      {variable}\n");
        let changed = text.replace("  mattermost:\n", &environment);
        assert_ne!(changed, text, "the override has no mattermost:\n{text}");
        fs::write(&over, changed).expect("it is ours");
        stack.compose(&["up", "--detach", "--no-deps", "mattermost"]).exits(0);
        wait_until_well(stack);
    };
    if !stack.is_lab() {
        eprintln!("SKIPPED: only a lab has an override to change");
        return;
    }
    with("MM_PLUGINSETTINGS_PLUGINSTATES: '{}'");
    // It does what it is known to do: Calls is off as well.
    finds(stack, &["calls.inactive", "environment.plugins", "plugins.inactive"]);
    with("MM_TEAMSETTINGS_ENABLECUSTOMBRAND: 'true'");
    finds(stack, &["environment.foreign"]);
    // coturn keeps the secret, and Calls gets another: the two do not fit any more.
    with("MM_CALLS_TURN_STATIC_AUTH_SECRET: another-secret");
    finds(stack, &["calls.turn-refused", "environment.old"]);
    with("MM_CALLS_DEFAULT_ENABLED: 'false'");
    finds(stack, &["calls.test-mode", "environment.old"]);
    fs::write(&over, &text).expect("it is ours");
    mends_by_up(stack);
}

fn an_unpublished_port(stack: &Stack) {
    let over = override_of(stack);
    let text = fs::read_to_string(&over).unwrap_or_default();
    if !stack.is_lab() {
        eprintln!("SKIPPED: only a lab has an override to change");
        return;
    }
    let ports = stack.inner().settings.ports;
    let only = format!(
        "  mattermost:\n    ports: !override [\"{}:8065/tcp\", \"{}:{}/tcp\"]\n",
        ports.mattermost, ports.calls, ports.calls
    );
    fs::write(&over, text.replace("  mattermost:\n", &only)).expect("it is ours");
    stack.compose(&["up", "--detach", "--no-deps", "mattermost"]).exits(0);
    wait_until_well(stack);
    finds(stack, &["calls.unpublished"]);
    fs::write(&over, &text).expect("it is ours");
    mends_by_up(stack);
}

/// `up` writes the lab's override anew and recreates what it changes.
fn mends_by_up(stack: &Stack) {
    stack.up();
    finds(stack, &[]);
}

fn override_of(stack: &Stack) -> std::path::PathBuf {
    stack.inner().lab_override()
}

/// Until no server is starting any more.
fn wait_until_well(stack: &Stack) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while stack.containers().iter().any(|container| container.status.contains("starting")) {
        assert!(std::time::Instant::now() < end, "a server does not become healthy: {:?}", stack.containers());
        std::thread::sleep(Duration::from_millis(200));
    }
}
