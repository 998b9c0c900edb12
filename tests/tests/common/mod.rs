//! What several tests need: the shipped settings, and a host, secrets and certificates that are the same on every machine.

#![allow(dead_code, reason = "each test binary compiles this module and uses its own part of it")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::certs::Certificates;
use xtask::host::{Host, LanAddress};
use xtask::render::File;
use xtask::secrets::Secrets;
use xtask::settings::{Addresses, Settings, Subnet};

/// Values that nobody can take for real ones. A secret that leaks into a file is found by its value.
pub const FAKE_SECRETS: &[(&str, &str)] = &[
    ("POSTGRES_SUPERUSER_PASSWORD", "FakeSuperuserPassword00000000001"),
    ("POSTGRES_PASSWORD", "FakePostgresPassword000000000002"),
    ("ADMIN_PASSWORD", "FakeAdminPassword0000003"),
    ("TURN_SECRET", "FakeTurnSecret0000000000000000000000000000000004"),
    ("GITLAB_API_TOKEN", "glpat-FakeGitlabToken00005"),
    ("EXTERNAL_POSTGRES_PASSWORD", "FakeExternalPassword00000000009"),
    ("SONARQUBE_WEBHOOK_SECRET", "FakeSonarqubeWebhookSecret00000000000006"),
    ("SONARQUBE_PASSED_HOOK", "fakepassedhook000000000007"),
    ("SONARQUBE_FAILED_HOOK", "fakefailedhook000000000008"),
];

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in a checkout").to_owned()
}

/// The text of the shipped stack.toml.
pub fn shipped() -> String {
    std::fs::read_to_string(checkout().join("stack.toml")).expect("the shipped stack.toml is readable")
}

/// The shipped text with pieces replaced. A piece that is not there is a mistake of the test, or of whoever renamed the key.
pub fn shipped_with(replacements: &[(&str, &str)]) -> String {
    let mut text = shipped();
    for (old, new) in replacements {
        assert!(text.contains(old), "the shipped stack.toml has no {old:?}");
        text = text.replacen(old, new, 1);
    }
    text
}

pub fn settings(text: &str) -> Settings {
    match xtask::settings::parse(text, "stack.toml") {
        Ok(settings) => settings,
        Err(error) => panic!("these settings should be good: {error}"),
    }
}

/// A host with the addresses that the settings list, or with one when they say "auto".
pub fn host_for(settings: &Settings) -> Host {
    match &settings.lan.addresses {
        Addresses::Auto(_) => host(&[Ipv4Addr::new(192, 168, 1, 10)]),
        Addresses::List(addresses) => host(addresses),
    }
}

pub fn host(addresses: &[Ipv4Addr]) -> Host {
    Host { lan: addresses.iter().map(|address| lan_address(*address)).collect(), ipv6: Vec::new() }
}

/// An address with the /24 that it lies in.
pub fn lan_address(address: Ipv4Addr) -> LanAddress {
    let [a, b, c, _] = address.octets();
    LanAddress { address, subnet: Subnet { first: Ipv4Addr::new(a, b, c, 0), prefix: 24 } }
}

/// The fake secrets, read from a file as real ones are.
pub fn secrets() -> Secrets {
    secrets_without(&[])
}

pub fn secrets_without(left_out: &[&str]) -> Secrets {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("secrets.env");
    let kept = FAKE_SECRETS.iter().filter(|(name, _)| !left_out.contains(name));
    let lines: String = kept.map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(&path, lines).expect("the temporary folder is writable");
    Secrets::load(&path).expect("the fake secrets are well-formed")
}

pub fn certificates() -> Certificates {
    let pem = |name: &str| format!("-----BEGIN CERTIFICATE-----\nFake{name}\n-----END CERTIFICATE-----\n");
    Certificates {
        ca: pem("Ca"),
        mattermost: pem("Mattermost"),
        postgres: pem("Postgres"),
        extra_trust: format!("{}{}", pem("Gitlab"), pem("Jenkins")),
    }
}

/// Everything that is rendered for these settings, with fixed secrets and certificates.
pub fn rendered(settings: &Settings) -> Vec<File> {
    render(settings, &host_for(settings), &secrets(), &certificates())
}

pub fn render(settings: &Settings, host: &Host, secrets: &Secrets, certificates: &Certificates) -> Vec<File> {
    xtask::render::render(settings, host, secrets, certificates, "0123456789abcdef").expect("good settings render")
}

pub fn contents<'a>(files: &'a [File], path: &str) -> &'a str {
    let file = files.iter().find(|file| file.path == path);
    &file.unwrap_or_else(|| panic!("{path} is not rendered")).contents
}

/// Names and values of an env file, read by the grammar of Compose's parser as far as the renderer uses it.
pub fn env_file(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no `=` in {line:?}"));
        let twice = found.insert(name.to_owned(), unquote(value));
        assert_eq!(twice, None, "{name} is set twice, and the first is lost without a word");
    }
    found
}

fn unquote(quoted: &str) -> String {
    if let Some(inner) = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        assert!(!inner.contains(['\'', '\\']), "{quoted:?} does not end where it seems to");
        return inner.to_owned();
    }
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("{quoted:?} is not quoted"));
    let mut value = String::new();
    let mut escaped = false;
    for c in inner.chars() {
        if !escaped && c == '\\' {
            escaped = true;
        } else {
            assert!(escaped || !matches!(c, '"' | '$'), "{quoted:?} has a {c} that is not escaped");
            value.push(c);
            escaped = false;
        }
    }
    value
}

/// Whether `docker compose` can be asked. A test that needs it and does not find it says so where a log reader sees it.
pub fn docker_compose_is_here(test: &str) -> bool {
    let here = Command::new("docker").args(["compose", "version"]).output().is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("SKIPPED: {test}: there is no `docker compose` on this machine");
    }
    here
}

/// The text of a command's standard output; a failure shows what it complained about.
pub fn stdout_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{complaint}");
    String::from_utf8(output.stdout).unwrap_or_else(|_| panic!("{command:?} printed something that is no text"))
}
