//! Single servers, without the stack around them, in containers that testcontainers starts and removes.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use command_center_tests::{Stack, docker};
use testcontainers::core::{ExecCommand, IntoContainerPort as _, Mount};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, CopyDataSource, GenericImage, ImageExt as _};
use time::OffsetDateTime;
use xtask::drivers::turn::{self, Refused, Transport};
use xtask::secrets::TURN_SECRET;

use crate::turn::{error_code, unauthenticated};

const LIMIT: Duration = Duration::from_secs(5);

fn image(name: &str) -> GenericImage {
    let (name, tag) = name.rsplit_once(':').expect("an image has a tag");
    GenericImage::new(name, tag)
}

/// coturn as compose.yaml starts it, with this file in place of the rendered one, or with none.
fn coturn(stack: &Stack, configuration: Option<String>) -> Container<GenericImage> {
    let compose = std::fs::read_to_string(stack.root.join("compose/compose.yaml")).expect("the stack is rendered");
    let compose: serde_yaml::Value = serde_yaml::from_str(&compose).expect("YAML");
    let service = &compose["services"]["coturn"];
    let words = |key: &str| -> Vec<String> {
        let list = service[key].as_sequence().expect("a list of words");
        list.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    assert_eq!(words("entrypoint"), ["turnserver"]);
    assert!(words("command").contains(&"--use-auth-secret".to_owned()), "{:?}", words("command"));
    let port = stack.inner().settings.ports.turn;
    let mut request = image(&stack.images().coturn)
        .with_entrypoint("turnserver")
        .with_exposed_port(port.udp())
        .with_cmd(words("command"))
        .with_mount(Mount::tmpfs_mount("/var/tmp"));
    if let Some(configuration) = configuration {
        let file = CopyDataSource::Data(configuration.into_bytes());
        request = request.with_copy_to("/config/turnserver.conf", file);
    }
    request.start().expect("coturn starts, whatever its configuration")
}

/// The rendered configuration, on the container's own address, without the lines that begin so.
fn configuration_without(stack: &Stack, prefixes: &[&str]) -> String {
    let text = std::fs::read_to_string(stack.root.join("env/turnserver.conf")).expect("the stack is rendered");
    let kept = text.lines().filter(|line| {
        let of_the_host = ["listening-ip=", "relay-ip="].iter().any(|prefix| line.starts_with(prefix));
        !of_the_host && !prefixes.iter().any(|prefix| line.starts_with(prefix))
    });
    kept.map(|line| format!("{line}\n")).collect()
}

/// Waits for coturn's first answer, which is a challenge; nothing when it has ended, which refuses everybody as well.
fn answers(container: &Container<GenericImage>, port: u16) -> Option<SocketAddr> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if !container.is_running().unwrap_or(false) {
            return None;
        }
        let inspected = docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", container.id()]).stdout;
        if let Ok(address) = inspected.trim().parse::<IpAddr>()
            && unauthenticated(SocketAddr::from((address, port)), Transport::Udp).is_ok()
        {
            return Some(SocketAddr::from((address, port)));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!(
        "coturn runs and does not answer: {:?}",
        container.stdout_to_vec().map(|log| String::from_utf8_lossy(&log).into_owned())
    );
}

/// What a lost file or a lost line must never do is to relay for everybody.
#[test]
fn coturn_without_its_secret_or_its_file_refuses_everybody() {
    let stack = Stack::new("coturn");
    stack.xtask(&["render"]).exits(0);
    let port = stack.inner().settings.ports.turn;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let credentials = |secret: &str| turn::credentials(secret, "caller", now + 60).expect("credentials");
    let secret = stack.secret(TURN_SECRET);

    // With everything in its place it relays, or the refusals below prove nothing.
    let whole = coturn(&stack, Some(configuration_without(&stack, &[])));
    let server = answers(&whole, port).expect("coturn runs");
    for transport in [Transport::Udp, Transport::Tcp] {
        turn::allocate(server, transport, &credentials(&secret), LIMIT).expect("the right secret");
    }
    drop(whole);

    for (what, configuration) in [
        ("no secret", Some(configuration_without(&stack, &["static-auth-secret"]))),
        (
            "no secret and no mechanism",
            Some(configuration_without(&stack, &["static-auth-secret", "use-auth-secret", "realm"])),
        ),
        ("an empty file", Some("log-file=stdout\npidfile=/var/tmp/turnserver.pid\n".to_owned())),
        ("no file", None),
    ] {
        let container = coturn(&stack, configuration);
        // Without its file it listens on the default port.
        let port = if what.ends_with("file") { 3478 } else { port };
        let Some(server) = answers(&container, port) else {
            eprintln!("  {what}: coturn ends");
            continue;
        };
        eprintln!("  {what}: coturn refuses");
        for transport in [Transport::Udp, Transport::Tcp] {
            let challenge = unauthenticated(server, transport).expect("an answer");
            assert_eq!(error_code(&challenge), Some(401), "{what}: without credentials, over {transport}");
            for guess in [secret.as_str(), "", "north", "logen"] {
                let refused = turn::allocate(server, transport, &credentials(guess), LIMIT);
                let error = refused.map(drop).expect_err(&format!("{what}: {guess:?} allocates over {transport}"));
                assert!(error.is::<Refused>() || error.to_string().contains("did not answer"), "{what}: {error:#}");
            }
        }
    }
}

/// The repair that error messages advise is to run it again.
#[test]
fn the_databases_first_script_can_run_again() {
    let stack = Stack::new("init");
    stack.xtask(&["render"]).exits(0);
    let read =
        |name: &str| CopyDataSource::Data(std::fs::read(stack.root.join("env/postgres").join(name)).expect("rendered"));
    let container = image(&stack.images().postgres)
        .with_copy_to("/docker-entrypoint-initdb.d/10-mattermost.sql", read("init.sql"))
        .with_copy_to("/run/secrets/password", CopyDataSource::Data(b"first-password".to_vec()))
        .with_env_var("POSTGRES_PASSWORD", "superuser")
        .start()
        .expect("PostgreSQL starts");
    let run = |arguments: &[&str]| {
        let command = ExecCommand::new(arguments.iter().map(|word| (*word).to_owned()));
        let mut result = container.exec(command).expect("a command runs");
        let stdout = String::from_utf8_lossy(&result.stdout_to_vec().unwrap_or_default()).into_owned();
        let stderr = String::from_utf8_lossy(&result.stderr_to_vec().unwrap_or_default()).into_owned();
        (result.exit_code().expect("an exit status"), stdout.trim().to_owned(), stderr)
    };
    let start = Instant::now();
    let ready = ["pg_isready", "--quiet", "--host=127.0.0.1"];
    while run(&ready).0 != Some(0) {
        assert!(start.elapsed() < Duration::from_secs(60), "PostgreSQL does not become ready");
        std::thread::sleep(Duration::from_millis(200));
    }
    // Over loopback the image lets everybody in; by its own address the password counts.
    let address = container.get_bridge_ip_address().expect("a container has an address");
    let query = |user: &str, password: &str, query: &str| {
        let by = format!("host={address} user={user} password={password} dbname=mattermost");
        run(&["psql", "-Atqc", query, &by])
    };
    let state = "SELECT (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'public'), \
                 (SELECT datdba::regrole FROM pg_database WHERE datname = 'mattermost'), \
                 (SELECT count(*) FROM pg_roles WHERE rolname = 'mattermost'), \
                 has_schema_privilege('postgres', 'public', 'USAGE')";
    let before = query("mattermost", "first-password", state);
    assert_eq!(before, (Some(0), "mattermost|mattermost|1|t".to_owned(), String::new()));
    assert_eq!(
        query("mattermost", "first-password", "CREATE TABLE kept (it int); INSERT INTO kept VALUES (1)").0,
        Some(0)
    );

    // Twice more: once with all in place, once with a new password and an owner that is wrong.
    let script =
        ["psql", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-f", "/docker-entrypoint-initdb.d/10-mattermost.sql"];
    let again = run(&script);
    assert_eq!(again.0, Some(0), "{again:?}");
    assert_eq!(query("mattermost", "first-password", state), before);
    let spoil = "printf second-password > /run/secrets/password && \
                 psql -U postgres -d mattermost -c 'ALTER SCHEMA public OWNER TO postgres'";
    assert_eq!(run(&["sh", "-c", spoil]).0, Some(0));
    let again = run(&script);
    assert_eq!(again.0, Some(0), "{again:?}");
    assert_eq!(query("mattermost", "second-password", state), before);
    assert_eq!(query("mattermost", "second-password", "SELECT it FROM kept").1, "1", "the repair cost data");
    assert_ne!(query("mattermost", "first-password", "SELECT 1").0, Some(0), "the old password still works");
}
