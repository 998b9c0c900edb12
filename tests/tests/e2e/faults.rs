//! What goes wrong is said with its way out, and nothing is lost: neither a file nor what runs.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use command_center_tests::stack::UP;
use command_center_tests::{Ran, Stack, docker, run};
use xtask::drivers::files as xtask_files;
use xtask::secrets::{self, POSTGRES_PASSWORD};

use crate::checks;
use crate::up::files;

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    let stack = Stack::new("faults");
    checks::run(
        &stack,
        &[
            ("a port that a process of this host holds", a_port_of_a_process),
            ("a port that another container publishes", a_port_of_a_container),
            ("a stack.toml that is no TOML, has an unknown key, or lacks one", a_malformed_stack_toml),
            ("an address that this host does not have", an_address_of_another_host),
            ("a subnet that overlaps a route", a_subnet_that_overlaps_a_route),
            ("an engine that does not answer", a_dead_engine),
            ("a stack that does not exist", a_stack_that_does_not_exist),
        ],
    );
    assert!(stack.containers().is_empty(), "containers were made");
    let network = stack.inner().settings.network.name;
    assert!(xtask::drivers::docker::network(&network).expect("Docker answers").is_none(), "a network was made");
}

#[test]
fn what_is_there_is_never_replaced_by_a_guess() {
    let stack = Stack::new("kept");
    stack.xtask(&["render"]).exits(0);
    checks::run(
        &stack,
        &[
            ("a malformed secrets.env", a_malformed_secrets_env),
            ("an unreadable secrets.env", an_unreadable_secrets_env),
            ("a password that its volume needs", a_password_that_its_volume_needs),
            ("a certificate without its CA's key", a_ca_without_its_key),
            ("a network of the same name with another subnet", a_network_with_another_subnet),
            ("a fixed address that another container has", a_taken_address),
            ("another xtask at work on the same stack", a_lock_that_is_held),
        ],
    );
    assert!(stack.containers().is_empty(), "containers were made");
}

/// Runs `up`, which must fail with a hint and change no file; also when only a wish to install an engine stands behind it.
#[track_caller]
fn refused(stack: &Stack, code: i32, prepare: impl FnOnce(&mut Command)) -> Ran {
    let before = files(stack);
    let mut command = stack.command(UP);
    prepare(&mut command);
    let ran = run(&mut command, "", Duration::from_secs(60)).exits(code);
    assert!(ran.stderr.lines().any(|line| line.starts_with("error: ")), "no error: {}", ran.said());
    assert!(ran.stderr.lines().any(|line| line.starts_with("hint: ")), "no hint: {}", ran.said());
    assert_eq!(files(stack), before, "files changed: {}", ran.said());
    ran
}

/// Undoes a change of stack.toml when a check ends, however it ends.
struct Edited<'a>(&'a Stack, String);

impl<'a> Edited<'a> {
    fn new(stack: &'a Stack, from: &str, to: &str) -> Edited<'a> {
        let text = std::fs::read_to_string(stack.root.join("stack.toml")).expect("the stack has a stack.toml");
        assert_eq!(text.matches(from).count(), 1, "{from:?} is not once in stack.toml");
        std::fs::write(stack.root.join("stack.toml"), text.replace(from, to)).expect("target/ can be written");
        Edited(stack, text)
    }
}

impl Drop for Edited<'_> {
    fn drop(&mut self) {
        std::fs::write(self.0.root.join("stack.toml"), &self.1).ok();
    }
}

fn a_port_of_a_process(stack: &Stack) {
    let ports = stack.inner().settings.ports;
    let me = std::process::id();
    let tcp = TcpListener::bind(("127.0.0.1", ports.mattermost)).expect("the port is free");
    refused(stack, 1, |_| ()).says(&format!("ports.mattermost: {}/tcp is held by process {me}", ports.mattermost));
    drop(tcp);
    let udp = UdpSocket::bind(("0.0.0.0", ports.calls)).expect("the port is free");
    refused(stack, 1, |_| ()).says(&format!("ports.calls: {}/udp is held by process {me}", ports.calls));
    drop(udp);
    let turn = TcpListener::bind("[::]:0".parse::<SocketAddr>().expect("an address")).map(drop);
    if turn.is_ok() {
        let turn = TcpListener::bind(format!("[::]:{}", ports.turn)).expect("the port is free");
        refused(stack, 1, |_| ()).says(&format!("ports.turn: {}/tcp is held by process {me}", ports.turn));
        drop(turn);
    }
}

fn a_port_of_a_container(stack: &Stack) {
    let port = stack.inner().settings.ports.turn;
    let (publish, label) = (format!("{port}:9/udp"), format!("com.docker.compose.project={}-other", stack.name));
    let other = Removed(format!("{}-other", stack.name));
    let image = &stack.images().postgres;
    let arguments = ["run", "--detach", "--name", &other.0, "--label", &label, "--publish", &publish, "--entrypoint"];
    docker(&[&arguments[..], &["sleep", image, "60"]].concat()).exits(0);
    refused(stack, 1, |_| ()).says(&format!("ports.turn: {port}/udp is held by the container {}", other.0));
}

/// A container that is removed when a check ends.
struct Removed(String);

impl Drop for Removed {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}

fn a_malformed_stack_toml(stack: &Stack) {
    for (from, to, says) in [
        ("[lan]", "[lan", "stack.toml:"),
        ("[lan]", "[lan]\nnonsense = 1", "nonsense"),
        ("language = \"en\"\n", "", "language"),
        ("domain = \"cicd.local\"", "domain = \"not a domain\"", "is no DNS domain"),
        ("turn = 13478", "turn = 18065", "18065 is already ports.mattermost"),
        ("turn_relay_first = 40000", "turn_relay_first = 13000", "covers ports.mattermost, 18065"),
    ] {
        let _edited = Edited::new(stack, from, to);
        refused(stack, 2, |_| ()).says(says).does_not_say("Docker Engine");
    }
}

fn an_address_of_another_host(stack: &Stack) {
    let _edited = Edited::new(stack, "addresses = \"auto\"", "addresses = [\"198.51.100.77\"]");
    refused(stack, 2, |_| ()).says("this host does not have the address 198.51.100.77");
}

/// Docker's own bridge is a route that every host of this project has.
fn a_subnet_that_overlaps_a_route(stack: &Stack) {
    let format = "{{(index .IPAM.Config 0).Subnet}}";
    let bridge = docker(&["network", "inspect", "bridge", "--format", format]).exits(0).stdout;
    let first = bridge.trim().split('/').next().expect("a subnet has a first address").to_owned();
    let network = stack.inner().settings.network;
    let address: std::net::Ipv4Addr = first.parse().expect("an address");
    let address = std::net::Ipv4Addr::from(u32::from(address) + 10);
    let _first = Edited::new(stack, &format!("subnet = \"{}\"", network.subnet), &format!("subnet = \"{first}/24\""));
    let (from, to) = (format!("= \"{}\"", network.mattermost_address), format!("= \"{address}\""));
    let _second = Edited::new(stack, &from, &to);
    refused(stack, 1, |_| ()).says("overlaps this host's route").says("docker0");
}

fn a_dead_engine(stack: &Stack) {
    let dead = |command: &mut Command| {
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    };
    refused(stack, 1, dead).says("DOCKER_HOST=unix:///nonexistent/docker.sock does not answer");
    for arguments in [&["status"][..], &["down"], &["logs"], &["doctor"]] {
        let before = files(stack);
        let mut command = stack.command(arguments);
        dead(&mut command);
        let ran = run(&mut command, "", Duration::from_secs(60));
        let known = ran.code == Some(0) && arguments == ["down"] && ran.stdout.contains("was never set up");
        assert!(known || ran.code == Some(1), "{}", ran.said());
        assert_eq!(files(stack), before, "files changed: {}", ran.said());
    }
}

fn a_stack_that_does_not_exist(stack: &Stack) {
    for name in ["nowhere", "../site"] {
        let mut command = Command::new(stack.command(&[]).get_program());
        command.env("CARGO_MANIFEST_DIR", command_center_tests::stack::checkout().join("xtask"));
        command.args(["--stack", name, "up"]);
        run(&mut command, "", Duration::from_secs(30)).exits(2).says("hint: ");
    }
}

/// Puts other contents into secrets.env, has `up` refused, and puts the old ones back.
fn with_secrets(stack: &Stack, contents: &str, says: &[&str]) {
    let path = secrets::path(&stack.root);
    let whole = std::fs::read(&path).expect("secrets.env is there");
    xtask_files::write(&path, contents.as_bytes(), 0o600).expect("secrets.env can be written");
    let ran = refused(stack, 1, |_| ());
    assert_eq!(std::fs::read(&path).expect("secrets.env is there"), contents.as_bytes());
    xtask_files::write(&path, &whole, 0o600).expect("secrets.env can be written");
    for text in says {
        assert!(ran.stderr.contains(text), "{text:?} was not said: {}", ran.said());
    }
    for line in String::from_utf8_lossy(&whole).lines().filter_map(|line| line.split_once('=')) {
        let value = line.1.split_whitespace().next().unwrap_or_default();
        assert!(!ran.said().contains(value), "the value of {} was printed", line.0);
    }
}

fn a_malformed_secrets_env(stack: &Stack) {
    let whole = std::fs::read_to_string(secrets::path(&stack.root)).expect("secrets.env is there");
    let count = whole.lines().count();
    let place = format!("secrets.env:{}", count + 1);
    for line in ["no equals sign", "lower=case", "SPACE=in the middle", "QUOTED=\"x\"", "EMPTY=", "TURN_SECRET=again"] {
        with_secrets(stack, &format!("{whole}{line}\n"), &[&place, "nothing was changed"]);
    }
    // Cut off in the middle of a line, as by a full disk and an editor that is not careful.
    let cut = &whole[..whole.find("POSTGRES_PASSWORD=").expect("the line is there") + 12];
    with_secrets(stack, cut, &["has no `=`"]);
    with_secrets(stack, "\0\0\0\0", &["secrets.env:1"]);
}

fn an_unreadable_secrets_env(stack: &Stack) {
    let path = secrets::path(&stack.root);
    let whole = std::fs::read(&path).expect("secrets.env is there");
    std::fs::write(&path, b"A=\xff\xfe\n").expect("secrets.env can be written");
    refused(stack, 1, |_| ()).says("cannot read");
    std::fs::write(&path, &whole).expect("secrets.env can be written");
}

fn a_password_that_its_volume_needs(stack: &Stack) {
    let volume = stack.inner().volume("postgres-data");
    let label = format!("com.docker.compose.project={}", stack.name);
    docker(&["volume", "create", "--label", &label, &volume]).exits(0);
    let whole = std::fs::read_to_string(secrets::path(&stack.root)).expect("secrets.env is there");
    for name in [POSTGRES_PASSWORD, secrets::POSTGRES_SUPERUSER_PASSWORD] {
        let lines: Vec<&str> = whole.lines().filter(|line| !line.starts_with(&format!("{name}="))).collect();
        let (missing, depends) = (format!("{name} is missing"), format!("the volume {volume} depends on it"));
        with_secrets(stack, &format!("{}\n", lines.join("\n")), &[&missing, &depends, "backup"]);
    }
    // An engine that does not answer is no reason to take the volume for gone.
    with_secrets_and_no_engine(stack, &whole);
    docker(&["volume", "rm", &volume]).exits(0);
}

fn with_secrets_and_no_engine(stack: &Stack, whole: &str) {
    let path = secrets::path(&stack.root);
    std::fs::remove_file(&path).expect("secrets.env can be removed");
    let before = files(stack);
    let mut command = stack.command(&["render"]);
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    run(&mut command, "", Duration::from_secs(60)).exits(1).says("is missing").says("Docker does not answer");
    assert_eq!(files(stack), before, "a secret was made up");
    xtask_files::write(&path, whole.as_bytes(), 0o600).expect("secrets.env can be written");
}

fn a_ca_without_its_key(stack: &Stack) {
    let key = xtask::certs::ca_path(&stack.root).with_extension("key");
    let aside = stack.root.join("ca.key.aside");
    std::fs::rename(&key, &aside).expect("a file can be renamed");
    refused(stack, 1, |_| ()).says("ca.key is missing").says("backup");
    std::fs::rename(&aside, &key).expect("a file can be renamed");
}

fn a_network_with_another_subnet(stack: &Stack) {
    let network = stack.inner().settings.network;
    docker(&["network", "create", "--subnet", "10.213.7.0/24", &network.name]).exits(0);
    let ran = refused(stack, 1, |_| ());
    docker(&["network", "rm", &network.name]).exits(0);
    ran.says(&format!("{} exists with 10.213.7.0/24", network.name));
}

fn a_taken_address(stack: &Stack) {
    let network = stack.inner().settings.network;
    let (subnet, address) = (network.subnet.to_string(), network.mattermost_address.to_string());
    docker(&["network", "create", "--subnet", &subnet, &network.name]).exits(0);
    let other = Removed(format!("{}-other", stack.name));
    let image = &stack.images().postgres;
    let arguments = ["run", "--detach", "--name", &other.0, "--network", &network.name, "--ip", &address];
    docker(&[&arguments[..], &["--entrypoint", "sleep", image, "60"]].concat()).exits(0);
    let ran = refused(stack, 1, |_| ());
    let taken = format!("{address} on {} is taken by {}", network.name, other.0);
    drop(other);
    docker(&["network", "rm", &network.name]).exits(0);
    ran.says(&taken);
}

fn a_lock_that_is_held(stack: &Stack) {
    let lock = xtask_files::lock(&stack.root.join("env"), "certs").expect("nobody holds it");
    let ran = refused(stack, 1, |_| ());
    ran.says(&format!("`cargo xtask certs` (process {}) holds the lock", std::process::id()));
    drop(lock);
}
