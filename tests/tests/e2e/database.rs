//! PostgreSQL is for Mattermost alone, over TLS, and its role owns what it must own.

use std::process::Command;
use std::time::Duration;

use command_center_tests::{Ran, Stack, docker, run};
use serde_json::Value;
use xtask::secrets::{self, POSTGRES_PASSWORD};

use crate::checks;

#[test]
fn the_database_is_for_mattermost_alone() {
    let stack = Stack::new("database");
    stack.up();
    checks::run(
        &stack,
        &[
            ("the role owns the database and the schema, and is nothing more", the_role_owns_what_it_needs),
            ("Mattermost's connections use TLS", mattermost_uses_tls),
            ("a client on its network needs TLS and the password", a_client_on_its_network_is_checked),
            ("a stranger on the tools' network does not reach it", a_stranger_does_not_reach_it),
            ("it is not published", it_is_not_published),
            ("no secret is in a container's configuration or arguments", no_secret_is_in_sight),
        ],
    );
}

#[test]
fn a_schema_that_the_role_does_not_own_is_named_with_its_fix() {
    let stack = Stack::new("schema");
    // As a user meets it: a database that was made by hand, before Mattermost has ever run.
    stack.prepare();
    stack.compose(&["up", "--detach", "--wait", "--pull", "never", "install", "postgres"]).exits(0);
    stack.psql("ALTER SCHEMA public OWNER TO postgres");

    let ran = stack.try_up().exits(1);
    let ran = ran
        .says("mattermost did not become healthy")
        .says("permission denied for schema public")
        .says("likely cause: the role mattermost does not own the schema public")
        .says("still running:")
        .says("postgres");
    assert!(!ran.said().contains(&stack.secret(POSTGRES_PASSWORD)), "the password is in the message");
    let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).expect("a hint");
    let fix = hint.split_once(": ").and_then(|(_, rest)| rest.split_once("; ")).expect("a command to run").0;
    assert!(fix.starts_with("docker compose exec postgres psql "), "{fix}");

    let mut shell = Command::new("sh");
    shell.args(["-c", fix]).current_dir(stack.root.join("compose"));
    run(&mut shell, "", Duration::from_secs(60)).exits(0);
    stack.up();
    assert_eq!(stack.people().len(), 1, "the administrator alone has an account");
    stack.up().says("Nothing to change");
}

fn the_role_owns_what_it_needs(stack: &Stack) {
    let owners = "SELECT (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'public'), \
                  (SELECT datdba::regrole FROM pg_database WHERE datname = 'mattermost')";
    assert_eq!(stack.psql(owners), "mattermost|mattermost");
    let role = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles \
                WHERE rolname = 'mattermost'";
    assert_eq!(stack.psql(role), "f|f|f|f|f");
    assert_eq!(
        stack.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'mattermost'"),
        "0"
    );
}

fn mattermost_uses_tls(stack: &Stack) {
    let query = "SELECT count(*) > 0, bool_and(s.ssl), bool_and(s.version IN ('TLSv1.2', 'TLSv1.3')) \
                 FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'mattermost'";
    assert_eq!(stack.psql(query), "t|t|t");
}

/// psql in a container of its own on a network, as the role or as another user.
fn psql_on(stack: &Stack, network: &str, connection: &str, password: &str) -> Ran {
    let ca = format!("{}:/ca.crt:ro", xtask::certs::ca_path(&stack.root).display());
    let image = &stack.images().postgres;
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--network", network, "--volume", &ca, "--env", "PGPASSWORD", "--entrypoint", "psql"]);
    command.args([image, "-Atqc", "SELECT 1", &format!("{connection} connect_timeout=3")]).env("PGPASSWORD", password);
    run(&mut command, "", Duration::from_secs(60))
}

fn a_client_on_its_network_is_checked(stack: &Stack) {
    let network = format!("{}_database", stack.name);
    let host = stack.inner().settings.postgres_host();
    let password = stack.secret(POSTGRES_PASSWORD);
    let connection =
        |user: &str, ssl: &str| format!("host={host} user={user} dbname=mattermost sslmode={ssl} sslrootcert=/ca.crt");
    // First that it works as it should, or the refusals below prove nothing.
    let good = psql_on(stack, &network, &connection("mattermost", "verify-full"), &password).exits(0);
    assert_eq!(good.stdout, "1\n");
    psql_on(stack, &network, &connection("mattermost", "disable"), &password).exits(2).says("no encryption");
    psql_on(stack, &network, &connection("mattermost", "verify-full"), "wrong")
        .exits(2)
        .says("password authentication failed");
    let superuser = stack.secret(secrets::POSTGRES_SUPERUSER_PASSWORD);
    psql_on(stack, &network, &connection("postgres", "verify-full"), &superuser).exits(2).says("no pg_hba.conf entry");
}

fn a_stranger_does_not_reach_it(stack: &Stack) {
    let settings = stack.inner().settings;
    let network = settings.network.name.as_str();
    let password = stack.secret(POSTGRES_PASSWORD);
    let by = |host: &str| format!("host={host} user=mattermost dbname=mattermost sslmode=require");
    let name = psql_on(stack, network, &by(&settings.postgres_host()), &password).exits(2);
    name.says("could not translate host name");
    let address = stack.address_of("postgres", &format!("{}_database", stack.name)).to_string();
    let by_address = psql_on(stack, network, &by(&address), &password).exits(2);
    assert!(
        ["timeout expired", "No route to host", "Network is unreachable"]
            .iter()
            .any(|it| by_address.stderr.contains(it)),
        "{}",
        by_address.said()
    );
    let service = psql_on(stack, network, &by("postgres"), &password).exits(2);
    service.says("could not translate host name");
    let mattermost = settings.network.mattermost_address.to_string();
    psql_on(stack, network, &by(&mattermost), &password).exits(2).says("Connection refused");
    // The container on that network does work: it finds Mattermost by its name.
    psql_on(stack, network, &by(&settings.mattermost_host()), &password).exits(2).says("Connection refused");
}

fn it_is_not_published(stack: &Stack) {
    assert_eq!(docker(&["port", &stack.container("postgres")]).exits(0).stdout, "");
    let inspected = docker(&["inspect", "--format", "{{json .HostConfig.PortBindings}}", &stack.container("postgres")]);
    assert!(["{}", "null"].contains(&inspected.exits(0).stdout.trim()));
    let internal = docker(&["network", "inspect", "--format", "{{.Internal}}", &format!("{}_database", stack.name)]);
    assert_eq!(internal.exits(0).stdout, "true\n");
    let members =
        docker(&["network", "inspect", "--format", "{{len .Containers}}", &format!("{}_database", stack.name)]);
    assert_eq!(members.exits(0).stdout, "2\n", "PostgreSQL and Mattermost, and nobody else");
}

/// What Docker shows of a container, and what the kernel shows of its processes, is readable for more people than the
/// files are. Mattermost takes its secrets by environment only, so its own is where they may be.
fn no_secret_is_in_sight(stack: &Stack) {
    let values: Vec<(&str, String)> =
        secrets::GENERATED.iter().map(|generated| (generated.name, stack.secret(generated.name))).collect();
    for container in stack.containers() {
        let text = docker(&["inspect", &container.name]).exits(0).stdout;
        let mut inspected: Value = serde_json::from_str(&text).expect("`docker inspect` prints JSON");
        if container.service == "mattermost" {
            inspected[0]["Config"]["Env"].take();
        }
        let processes = docker(&["top", &container.name, "-o", "pid,args"]).stdout;
        let history = docker(&["logs", &container.name]);
        for (name, value) in &values {
            assert!(!inspected.to_string().contains(value), "{name} is in `docker inspect` of {}", container.service);
            assert!(!processes.contains(value), "{name} is in the arguments of a process of {}", container.service);
            assert!(!history.said().contains(value), "{name} is in the log of {}", container.service);
        }
    }
    for entry in std::fs::read_dir("/proc").expect("Linux has /proc").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        for (name, value) in &values {
            assert!(!line.contains(value), "{name} is in the arguments of {}", entry.path().display());
        }
    }
    let compose = std::fs::read_to_string(stack.root.join("compose/compose.yaml")).expect("the stack is rendered");
    assert!(values.iter().all(|(_, value)| !compose.contains(value)), "a secret is in compose.yaml, which git tracks");
}
