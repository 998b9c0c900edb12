//! `cargo xtask connect` against HTTP doubles: every request of it, and every error that the tools are known to give.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests of the command line, which use all of it")]
#[path = "../cli/fake.rs"]
mod fake;

mod double;
mod gitlab;
mod gitlab_double;
mod gitlab_plans;
mod jenkins;
mod jenkins_reload;
mod sonarqube;
mod trouble;
mod truststore;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use assert_cmd::assert::Assert;

use fake::Checkout;

/// What wire and up have put into secrets.env, and the user's tokens. No value may be in any output.
const SECRETS: &[(&str, &str)] = &[
    ("SONARQUBE_WEBHOOK_SECRET", "FakeSonarqubeWebhookSecret0000000000001"),
    ("JENKINS_RELOAD_TOKEN", "FakeJenkinsReloadToken00000000000000002"),
    ("JENKINS_BUILDS_HOOK", "fakebuildshook000000000003"),
    ("JENKINS_ALERTS_HOOK", "fakealertshook000000000004"),
    ("GITLAB_HOOK", "fakegitlabhook000000000005"),
    ("GITLAB_API_TOKEN", "glpat-FakeGitlabToken000006"),
    ("SONAR_ADMIN_TOKEN", "squ_fakesonartoken0000000007"),
];

/// A checkout whose stack.toml has these replacements, with secrets and a CA.
fn checkout(replacements: &[(&str, &str)]) -> Checkout {
    let checkout = Checkout::with_settings(&common::shipped_with(replacements));
    fs::create_dir_all(checkout.path("env")).expect("writable");
    fs::create_dir_all(checkout.path("certs")).expect("writable");
    let lines: String = SECRETS.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    fs::write(checkout.path("env/secrets.env"), lines).expect("writable");
    fs::write(checkout.path("certs/ca.crt"), authority()).expect("writable");
    checkout
}

fn authority() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.self_signed(&key).expect("a certificate").pem()
}

/// Runs `connect …` for the site and sees that no secret is in what it prints.
fn connect(checkout: &Checkout, arguments: &[&str]) -> Assert {
    let words: Vec<&str> = ["--stack", "site", "connect"].iter().chain(arguments).copied().collect();
    let assert = checkout.xtask(&words);
    let printed = fake::stdout(&assert) + &fake::stderr(&assert);
    for (name, value) in SECRETS {
        assert!(!printed.contains(value), "{name} is in:\n{printed}");
    }
    assert!(!printed.contains("/hooks/"), "the URL of a hook is in:\n{printed}");
    let state = checkout.path("env/connect.json");
    if state.exists() {
        let text = fs::read_to_string(&state).expect("readable");
        assert!(!text.contains("hooks") && !text.contains("://"), "{text}");
        assert_eq!(fs::metadata(&state).expect("there").permissions().mode() & 0o777, 0o600);
    }
    assert
}

/// Takes a line out of secrets.env, or puts one in.
fn set_secret(checkout: &Checkout, name: &str, value: Option<&str>) {
    let text = checkout.read("env/secrets.env");
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with(&format!("{name}="))).map(str::to_owned).collect();
    lines.extend(value.map(|value| format!("{name}={value}")));
    fs::write(checkout.path("env/secrets.env"), lines.join("\n") + "\n").expect("writable");
}

fn secret(checkout: &Checkout, name: &str) -> Option<String> {
    let text = checkout.read("env/secrets.env");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")))?;
    line.split_whitespace().next().map(str::to_owned)
}
