//! A PostgreSQL that exists already: what is wrong with it is said with its fix, and then it is used.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use command_center_tests::{Ran, Stack, docker};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, CopyDataSource, GenericImage, ImageExt as _};
use xtask::secrets::{self, ADMIN_PASSWORD, EXTERNAL_POSTGRES_PASSWORD};

use crate::up::command_lines_until;

const HOST: &str = "e2e-external-db";
const PASSWORD: &str = "The-roles_password.1";

#[test]
fn an_existing_postgresql_is_proven_and_used() {
    let stack = Stack::new("external");
    let network = stack.inner().settings.network;
    docker(&["network", "create", "--subnet", &network.subnet.to_string(), &network.name]).exits(0);
    let (ca, certificate, key) = certificates();
    let server = server(&stack, &network.name, &certificate, &key);
    as_superuser(&server, "postgres", &format!("CREATE ROLE chat_owner LOGIN PASSWORD '{PASSWORD}'"));
    as_superuser(&server, "postgres", "CREATE DATABASE chat");
    fs::write(stack.root.join("db-ca.pem"), ca).expect("target/ can be written");
    fs::write(stack.root.join("other-ca.pem"), certificates().0).expect("target/ can be written");
    let right = format!("external = \"{HOST}:5432\"");
    let right_ca = format!("ca = {:?}", stack.root.join("db-ca.pem"));
    stack.edit("\nexternal = \"\"", &format!("\n{right}"));
    stack.edit("\nca = \"\"", &format!("\n{right_ca}"));
    stack.edit("\ndatabase = \"mattermost\"", "\ndatabase = \"chat\"");
    stack.edit("\nrole = \"mattermost\"", "\nrole = \"chat_owner\"");

    // Each of these is said before Mattermost is started.
    let refused = || {
        let ran = stack.try_up().exits(1).says("hint: ");
        assert!(stack.containers().is_empty(), "something was started: {}", ran.said());
        ran
    };
    refused().says("EXTERNAL_POSTGRES_PASSWORD is missing").says("add the line EXTERNAL_POSTGRES_PASSWORD=");
    put_password(&stack, "wrong-password");
    let ran = refused().says("does not take the password of the role chat_owner").does_not_say("wrong-password");
    ran.says("hint: mend EXTERNAL_POSTGRES_PASSWORD in env/secrets.env");
    put_password(&stack, PASSWORD);
    let with = |from: &str, to: &str| {
        stack.edit(from, to);
        let ran = refused();
        stack.edit(to, from);
        ran
    };
    // A CA of another name, and one of the same name with another key.
    for other in ["certs/ca.crt", "other-ca.pem"] {
        let other = format!("ca = {:?}", stack.root.join(other));
        with(&right_ca, &other).says("was not signed by the CA of postgres.ca").says("postgres.ca in stack.toml");
    }
    let format = format!("{{{{(index .NetworkSettings.Networks {:?}).IPAddress}}}}", network.name);
    let address = docker(&["inspect", "--format", &format, HOST]).exits(0).stdout.trim().to_owned();
    with(&right, &format!("external = \"{address}:5432\"")).says("its certificate is for another name");
    with(&right, &format!("external = \"{HOST}:5433\"")).says("it does not answer").says("Connection refused");
    with(&right, "external = \"nosuch.cicd.local:5432\"").says("its name is not known");
    let ran = with("database = \"chat\"", "database = \"nosuch\"").says("it has no database nosuch");
    ran.says("CREATE DATABASE nosuch OWNER chat_owner");

    // The statement that is missing, exactly as it is said.
    let stop = AtomicBool::new(false);
    let (ran, lines) = std::thread::scope(|scope| {
        let lines = scope.spawn(|| command_lines_until(&stop));
        let ran = refused();
        stop.store(true, Ordering::Relaxed);
        (ran, lines.join().expect("the list is there"))
    });
    assert!(lines.iter().any(|line| line.contains("psql")), "the question was seen");
    assert!(!lines.iter().any(|line| line.contains(PASSWORD)), "the password was in the arguments of a process");
    let ran = ran.says("the role chat_owner does not own the schema public of chat");
    let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).expect("a hint");
    let statement =
        hint.split_once("in the database chat: ").and_then(|(_, rest)| rest.split_once("; then ")).expect("SQL");
    assert_eq!(statement.0, "ALTER SCHEMA public OWNER TO chat_owner");
    as_superuser(&server, "chat", statement.0);

    let ran = stack.up().says(&format!("proven: PostgreSQL 17 at {HOST}:5432: the role chat_owner may create tables"));
    let services: Vec<String> = stack.containers().into_iter().map(|container| container.service).collect();
    assert!(!services.contains(&"postgres".to_owned()), "{services:?}");
    assert!(!ran.said().contains(PASSWORD), "the password was printed");
    let tables = as_superuser(&server, "chat", "SELECT count(*) > 0 FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(tables.stdout.trim(), "t", "Mattermost's tables are elsewhere");
    stack.up().says("Nothing to change");
    stack.xtask(&["status"]).exits(0);
    let doctor = stack.xtask(&["doctor"]).says("files with CAs of others").says("version 17 at e2e-external-db:5432: ");
    assert!(!doctor.stdout.contains("FAIL"), "{}", doctor.said());

    // The files go, the accounts stay, and so does what is known of them.
    let people = stack.people();
    stack.xtask(&["down", "--volumes", "--yes"]).exits(0).says("The database at e2e-external-db:5432 stays");
    stack.up();
    assert_eq!(stack.people(), people);
    assert_eq!(stack.login("admin", &stack.secret(ADMIN_PASSWORD)).status(), 200);
}

/// A CA, and what the server presents.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "The database team's CA");
    let key = KeyPair::generate().expect("a key");
    let ca = params.self_signed(&key).expect("a CA").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec![HOST.to_owned()]).expect("a name");
    (ca, leaf.signed_by(&key, &issuer).expect("a leaf").pem(), key.serialize_pem())
}

/// PostgreSQL on the network of the tools, under its name, as its owner would run it.
fn server(stack: &Stack, network: &str, certificate: &str, key: &str) -> Container<GenericImage> {
    let (name, tag) = stack.images().postgres.rsplit_once(':').expect("an image has a tag");
    docker(&["rm", "--force", HOST]);
    let script = "install -o 999 -g 999 -m 0600 /in/tls.key /tmp/tls.key; \
                  exec docker-entrypoint.sh postgres -cssl=on -cssl_cert_file=/in/tls.crt -cssl_key_file=/tmp/tls.key";
    let container = GenericImage::new(name, tag)
        .with_entrypoint("bash")
        .with_cmd(["-ec", script])
        .with_container_name(HOST)
        .with_network(network)
        .with_env_var("POSTGRES_PASSWORD", "superuser")
        .with_copy_to("/in/tls.crt", CopyDataSource::Data(certificate.as_bytes().to_vec()))
        .with_copy_to("/in/tls.key", CopyDataSource::Data(key.as_bytes().to_vec()))
        .start()
        .expect("PostgreSQL starts");
    let start = Instant::now();
    while docker(&["exec", HOST, "pg_isready", "--quiet", "--host=127.0.0.1"]).code != Some(0) {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", docker(&["logs", HOST]).said());
        std::thread::sleep(Duration::from_millis(200));
    }
    container
}

fn as_superuser(_server: &Container<GenericImage>, database: &str, sql: &str) -> Ran {
    let arguments = ["exec", HOST, "psql", "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1", "-Atqc", sql];
    docker(&arguments).exits(0)
}

fn put_password(stack: &Stack, password: &str) {
    let mut known = stack.secrets();
    known.set(EXTERNAL_POSTGRES_PASSWORD, password, "2026-01-01");
    known.save(&secrets::path(&stack.root)).expect("secrets.env can be written");
}
