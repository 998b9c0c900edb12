//! What goes into which file, and what a change of one brings about.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use serde_yaml::Value;
use xtask::certs::Certificates;
use xtask::images::Images;
use xtask::render::{File, render_template};
use xtask::stack::{LAB, Stack};

use crate::{Case, cases, common};

/// compose.yaml is in git, and compose/.env is there for everybody who may run `docker compose`.
#[test]
fn no_secret_is_in_what_compose_reads_itself() {
    for case in cases() {
        for path in ["compose/compose.yaml", "compose/.env"] {
            for (name, value) in common::FAKE_SECRETS {
                assert!(!case.contents(path).contains(value), "{}: {path} has {name}", case.name);
            }
        }
    }
}

/// A file with a secret in it is for its owner only and never for git. The administrator's password and the tokens of the
/// connected tools are in none: no server reads them from a file.
#[test]
fn files_with_secrets_are_private_and_ignored() {
    for case in cases() {
        let mut found = BTreeSet::new();
        for file in &case.files {
            for (name, _) in common::FAKE_SECRETS.iter().filter(|(_, value)| file.contents.contains(value)) {
                assert!(file.mode == 0o600 && !file.tracked, "{}: {} has {name}", case.name, file.path);
                found.insert(*name);
            }
        }
        let mut expected = BTreeSet::from(["TURN_SECRET"]);
        expected.extend(match case.settings.external_postgres() {
            None => &["POSTGRES_PASSWORD", "POSTGRES_SUPERUSER_PASSWORD"][..],
            Some(_) => &["EXTERNAL_POSTGRES_PASSWORD"],
        });
        if case.settings.has_relay() {
            let sonarqube = &case.settings.sonarqube;
            let hooks = [&sonarqube.passed_hook, &sonarqube.failed_hook, "SONARQUBE_WEBHOOK_SECRET"];
            let known = common::FAKE_SECRETS.iter().map(|(name, _)| *name);
            expected.extend(known.filter(|name| hooks.contains(name)));
        }
        assert_eq!(found, expected, "{}", case.name);
    }
}

/// A reviewer reads the diff of the tracked file, so it may depend on nothing but stack.toml.
#[test]
fn the_tracked_file_is_the_same_on_every_machine() {
    for case in cases() {
        let elsewhere = common::host(&[Ipv4Addr::new(10, 99, 88, 77), Ipv4Addr::new(192, 0, 2, 44)]);
        let (secrets, certificates) = (common::secrets(), changed(|certificates| &mut certificates.ca));
        let other = common::render(&case.settings, &elsewhere, &secrets, &certificates);
        let tracked = |files: &[File]| files.iter().filter(|file| file.tracked).cloned().collect::<Vec<_>>();
        assert_eq!(tracked(&case.files), tracked(&other), "{}", case.name);
        assert_eq!(tracked(&case.files).len(), 1, "{}: compose.yaml is the only tracked one", case.name);
        let alone = xtask::render::tracked(&case.settings).expect("it renders");
        assert_eq!(tracked(&case.files), alone, "{}: what `render --check` compares", case.name);
    }
}

/// A server reads its certificate when it starts, so a new one has to make a new container, and of that server alone.
#[test]
fn a_new_certificate_recreates_the_servers_that_read_it() {
    let case = shipped();
    let labels = |certificates: &Certificates| content_labels(&case, common::host_for(&case.settings), certificates);
    let before = labels(&common::certificates());
    let difference = |after: [String; 4]| (0..4).map(|index| before[index] != after[index]).collect::<Vec<_>>();
    let postgres = difference(labels(&changed(|certificates| &mut certificates.postgres)));
    assert_eq!(postgres, [true, false, false, false], "PostgreSQL's own");
    let mattermost = difference(labels(&changed(|certificates| &mut certificates.mattermost)));
    assert_eq!(mattermost, [false, true, false, false], "Mattermost's own");
    let ca = difference(labels(&changed(|certificates| &mut certificates.ca)));
    assert_eq!(ca, [true, true, false, true], "the CA: it is trusted, and PostgreSQL's certificate comes from it");
    assert_eq!(difference(labels(&common::certificates())), [false; 4], "nothing");
}

/// coturn reads its file when it starts; the other servers have nothing to do with it.
#[test]
fn a_change_of_turnserver_conf_recreates_coturn_alone() {
    let case = shipped();
    let certificates = common::certificates();
    let before = content_labels(&case, common::host_for(&case.settings), &certificates);
    let moved = content_labels(&case, common::host(&[Ipv4Addr::new(192, 168, 1, 11)]), &certificates);
    assert_eq!((&moved[0], &moved[1]), (&before[0], &before[1]), "certificates stay");
    assert_ne!(moved[2], before[2], "another LAN address");
    let text = common::shipped_with(&[("total_quota = 400", "total_quota = 399")]);
    let quota = Case::new("another quota", common::settings(&text));
    let after = content_labels(&quota, common::host_for(&quota.settings), &certificates);
    assert_eq!((&after[0], &after[1]), (&before[0], &before[1]), "certificates stay");
    assert_ne!(after[2], before[2], "another quota");
    // Mattermost reads its settings from the environment, of which Compose keeps a hash itself.
    let banner = common::shipped_with(&[("enabled = false\ntext = \"\"", "enabled = true\ntext = \"x\"")]);
    let banner = Case::new("a banner", common::settings(&banner));
    assert_eq!(content_labels(&banner, common::host_for(&banner.settings), &certificates), before, "a banner");
}

/// A hash that no label carries would change nothing.
#[test]
fn each_server_carries_its_content_in_a_label() {
    for case in cases() {
        for (name, service) in case.services() {
            let labels = &service["labels"];
            assert_eq!(labels["command-center.stack"], case.settings.name.as_str(), "{}: {name}", case.name);
            if name != "install" {
                let prefix = format!("${{{}_CONTENT:?", name.to_uppercase());
                let label = labels["command-center.content"].as_str().expect("the label is a text");
                assert!(label.starts_with(&prefix), "{}: {name}: {label}", case.name);
            }
        }
    }
}

/// Without its variable Compose would go on with an empty value, so each is required; one that nothing uses is a leftover.
#[test]
fn the_variables_of_dotenv_are_the_required_ones() {
    for case in cases() {
        let text = case.contents("compose/compose.yaml").replace("$$", "");
        let mut used = BTreeSet::new();
        for rest in text.split('$').skip(1) {
            let name = rest.strip_prefix('{').and_then(|rest| rest.split_once(":?"));
            let (name, _) = name.unwrap_or_else(|| panic!("{}: ${:.20}… is not required", case.name, rest));
            used.insert(name.to_owned());
        }
        let defined: BTreeSet<_> = common::env_file(case.contents("compose/.env")).into_keys().collect();
        assert_eq!(used, defined, "{}", case.name);
    }
}

/// A rehearsal shows what the site will be, so nothing but the images may differ.
#[test]
fn the_labs_override_changes_images_and_nothing_else() {
    let settings = common::settings(&common::shipped()).for_lab();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stack = Stack { name: LAB.to_owned(), root: folder.path().to_owned(), settings };
    let images = Images { postgres: "p:1".to_owned(), mattermost: "m:1".to_owned(), coturn: "c:1".to_owned() };
    xtask::lab::write_override(&stack, &images).expect("a temporary folder can be written to");
    let text = std::fs::read_to_string(stack.lab_override()).expect("it was just written");
    let expected =
        "services: {install: {image: p:1}, postgres: {image: p:1}, mattermost: {image: m:1}, coturn: {image: c:1}}";
    let [found, expected] = [&text, expected].map(|text| serde_yaml::from_str::<Value>(text).expect("it is YAML"));
    assert_eq!(found, expected);
    assert!(text.contains("LAB") && text.contains("STAND-IN"), "nobody may miss it");
}

/// An override that names a service which compose.yaml does not have would make one.
#[test]
fn the_labs_override_has_no_postgresql_where_there_is_one_already() {
    let external = [("external = \"\"", "external = \"db:5432\""), ("ca = \"\"", "ca = \"db.pem\"")];
    let settings = common::settings(&common::shipped_with(&external)).for_lab();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stack = Stack { name: LAB.to_owned(), root: folder.path().to_owned(), settings };
    let images = Images { postgres: "p:1".to_owned(), mattermost: "m:1".to_owned(), coturn: "c:1".to_owned() };
    xtask::lab::write_override(&stack, &images).expect("a temporary folder can be written to");
    let text = std::fs::read_to_string(stack.lab_override()).expect("it was just written");
    let found: Value = serde_yaml::from_str(&text).expect("it is YAML");
    let names: Vec<_> = found["services"].as_mapping().expect("services").keys().filter_map(Value::as_str).collect();
    assert_eq!(names, ["install", "mattermost", "coturn"]);
}

/// The lab and the site run beside each other, so they share no name and no network.
#[test]
fn the_lab_has_names_and_a_network_of_its_own() {
    let site = common::settings(&common::shipped());
    let lab = site.clone().for_lab();
    assert_ne!(lab.name, site.name);
    assert_ne!(lab.network.name, site.network.name);
    assert!(!lab.network.subnet.overlaps(&site.network.subnet));
    assert!(lab.network.subnet.contains(lab.network.mattermost_address));
}

/// The network after the site's one may be a public one, or none at all: the lab must not take the addresses of somebody else.
#[test]
fn the_labs_network_is_private_wherever_the_sites_is() {
    for (subnet, address) in [
        ("192.168.255.0/24", "192.168.255.10"),
        ("172.31.0.0/16", "172.31.0.10"),
        ("10.255.255.240/28", "10.255.255.250"),
        ("192.168.0.0/16", "192.168.0.10"),
    ] {
        let text = common::shipped_with(&[("172.30.0.0/24", subnet), ("172.30.0.10", address)]);
        let (site, lab) = (common::settings(&text), common::settings(&text).for_lab());
        assert!(lab.network.subnet.first.is_private(), "{subnet} becomes {}", lab.network.subnet);
        assert!(lab.network.subnet.contains(lab.network.mattermost_address), "{subnet}");
        assert!(!lab.network.subnet.overlaps(&site.network.subnet), "{subnet} becomes {}", lab.network.subnet);
    }
}

/// YAML takes some names for numbers, dates and nothing, and Compose then refuses the file.
#[test]
fn a_name_stays_a_text_in_yaml() {
    for name in ["123", "1e3", "0x1f", "0o17", "null", "true", "no", "2026-01-01", "1-1"] {
        let replaced = [
            ("name = \"command-center\"", format!("name = \"{name}\"")),
            ("name = \"cicd-net\"", format!("name = \"{name}\"")),
        ];
        let replaced: Vec<(&str, &str)> = replaced.iter().map(|(old, new)| (*old, new.as_str())).collect();
        let case = Case::new("awkward names", common::settings(&common::shipped_with(&replaced)));
        assert_eq!(case.compose["name"].as_str(), Some(name), "the project's name");
        assert_eq!(case.compose["networks"]["cicd"]["name"].as_str(), Some(name), "the network's name");
        assert_eq!(case.service("postgres")["labels"]["command-center.stack"].as_str(), Some(name), "the label");
        if common::docker_compose_is_here("awkward names") {
            let folder = tempfile::tempdir().expect("a temporary folder");
            xtask::render::write(&case.files, folder.path()).expect("a temporary folder can be written to");
            common::stdout_of(compose(folder.path()).args(["config", "--quiet"]));
        }
    }
}

/// What is not tracked must not be added by `git add .`, keys and secrets least of all; what is tracked must not be passed over.
#[test]
fn git_ignores_what_is_not_tracked_and_nothing_else() {
    let ignored = |path: &str| {
        let mut command = Command::new("git");
        command.args(["check-ignore", "--quiet", "--no-index", path]).current_dir(common::checkout());
        // 0: ignored, 1: not, 128: this is no repository.
        command.status().expect("git starts").code()
    };
    if ignored("stack.toml") == Some(128) {
        eprintln!("SKIPPED: ignored files: this is no git repository");
        return;
    }
    let case = shipped();
    for file in &case.files {
        assert_eq!(ignored(file.path), Some(i32::from(file.tracked)), "{}", file.path);
        if file.path != "compose/compose.yaml" {
            assert_eq!(ignored(&format!("{}.j2", file.path)), Some(1), "the template of {}", file.path);
        }
        assert_eq!(ignored(&format!("tests/golden/shipped/{}", file.path)), Some(1), "the golden {}", file.path);
    }
    for path in
        ["env/secrets.env", "env/.lock", "certs/ca.key", "certs/ca.crt", "certs/mattermost/tls.key", "env/.xtask-a1"]
    {
        assert_eq!(ignored(path), Some(0), "{path}");
    }
}

/// A name that a template uses and nobody gives must fail, not print nothing: in YAML and in env files, printed or tested.
#[test]
fn a_typo_in_a_template_fails() {
    for path in ["x.yaml", "x.env", "x.conf"] {
        for source in
            ["a={{ typo }}", "a={% if typo %}1{% endif %}", "a={% for x in typo %}1{% endfor %}", "a={{ typo.x }}"]
        {
            assert!(render_template(path, source, Default::default()).is_err(), "{path}: {source}");
        }
        let plain = render_template(path, "a='1'\n", Default::default()).expect("nothing is missing");
        assert_eq!(plain, "a='1'\n", "{path}");
    }
}

/// Compose itself takes the files, and gives Mattermost the environment that the other tests here believe in.
#[test]
fn compose_accepts_the_files_and_reads_the_environment_as_the_tests_do() {
    if !common::docker_compose_is_here("compose files") {
        return;
    }
    for case in cases() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        xtask::render::write(&case.files, folder.path()).expect("a temporary folder can be written to");
        common::stdout_of(compose(folder.path()).args(["config", "--quiet"]));
        let json = common::stdout_of(compose(folder.path()).args(["config", "--format", "json"]));
        let config: serde_json::Value = serde_json::from_str(&json).expect("`config` prints JSON");
        let environment = config["services"]["mattermost"]["environment"].as_object().expect("an environment");
        assert_eq!(environment.len(), case.mattermost.len(), "{}", case.name);
        for (name, value) in &case.mattermost {
            // `config` prints what Compose could read again, so each `$` is doubled.
            let read = environment[name].as_str().unwrap_or_default().replace("$$", "$");
            assert_eq!(read, *value, "{}: {name}", case.name);
        }
    }
}

/// A checkout that was never rendered says what to do instead of starting with empty values.
#[test]
fn compose_without_dotenv_names_the_command_that_makes_it() {
    if !common::docker_compose_is_here("a missing .env") {
        return;
    }
    let case = shipped();
    let folder = tempfile::tempdir().expect("a temporary folder");
    xtask::render::write(&case.files, folder.path()).expect("a temporary folder can be written to");
    std::fs::remove_file(folder.path().join("compose/.env")).expect("it was just written");
    let output = compose(folder.path()).args(["config", "--quiet"]).output().expect("docker starts");
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("run cargo xtask render"), "{complaint}");
}

fn compose(root: &Path) -> Command {
    let mut command = Command::new("docker");
    command.arg("compose").current_dir(root.join("compose"));
    for name in ["LAN_IP", "POSTGRES_CONTENT", "MATTERMOST_CONTENT", "COTURN_CONTENT", "COMPOSE_FILE"] {
        command.env_remove(name);
    }
    for name in ["RELAY_CONTENT", "RELAY_TAG", "RELAY_SCALE"] {
        command.env_remove(name);
    }
    command
}

fn shipped() -> Case {
    Case::new("shipped", common::settings(&common::shipped()))
}

fn changed(part: fn(&mut Certificates) -> &mut String) -> Certificates {
    let mut certificates = common::certificates();
    part(&mut certificates).push_str("changed\n");
    certificates
}

/// Of PostgreSQL, Mattermost, coturn and the relay.
fn content_labels(case: &Case, host: xtask::host::Host, certificates: &Certificates) -> [String; 4] {
    let files = common::render(&case.settings, &host, &common::secrets(), certificates);
    let variables = common::env_file(common::contents(&files, "compose/.env"));
    ["POSTGRES_CONTENT", "MATTERMOST_CONTENT", "COTURN_CONTENT", "RELAY_CONTENT"].map(|name| variables[name].clone())
}
