//! The relay takes what SonarQube delivers, signed but in plain HTTP, so it is on the network of the tools and nowhere else.

use crate::{Case, cases, common, published, texts};

fn cases_with_a_relay() -> Vec<Case> {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.settings.has_relay()).collect();
    assert!(!cases.is_empty(), "the invariants are about something");
    cases
}

/// Without a hook for failed gates there is nothing to tell, and nothing of the relay is left in any file.
#[test]
fn there_is_no_relay_without_its_hook() {
    for case in cases() {
        let here = case.compose["services"].get("relay").is_some();
        assert_eq!(here, case.settings.has_relay(), "{}", case.name);
        assert_eq!(here, case.files.iter().any(|file| file.path == "env/relay.toml"), "{}", case.name);
        assert_eq!(here, case.contents("compose/.env").contains("RELAY_"), "{}", case.name);
    }
    assert!(cases().iter().any(|case| !case.settings.has_relay()), "both kinds are looked at");
}

#[test]
fn it_is_on_the_network_of_the_tools_alone_and_not_published() {
    for case in cases_with_a_relay() {
        let relay = case.service("relay");
        assert_eq!(published(relay), [], "{}", case.name);
        assert!(relay["expose"].is_null() && relay["network_mode"].is_null(), "{}", case.name);
        let networks = relay["networks"].as_mapping().expect("networks are a mapping");
        assert_eq!(networks.keys().filter_map(|name| name.as_str()).collect::<Vec<_>>(), ["cicd"], "{}", case.name);
        assert_eq!(texts(&networks["cicd"]["aliases"]), [format!("relay.{}", case.settings.domain)], "{}", case.name);
    }
}

/// What is delivered while Mattermost is away waits on disk: a relay that waited for Mattermost would lose it.
#[test]
fn it_waits_for_nobody_but_the_one_shot() {
    for case in cases_with_a_relay() {
        let waits = case.service("relay")["depends_on"].as_mapping().expect("it waits");
        assert_eq!(waits.keys().filter_map(|name| name.as_str()).collect::<Vec<_>>(), ["install"], "{}", case.name);
    }
}

#[test]
fn its_root_and_its_configuration_are_read_only_and_its_spool_is_a_volume() {
    for case in cases_with_a_relay() {
        let relay = case.service("relay");
        assert_eq!(relay["read_only"], true, "{}", case.name);
        let mounts = relay["volumes"].as_sequence().expect("it has volumes");
        assert_eq!(mounts.len(), 2, "{}", case.name);
        assert_eq!(mounts[0]["source"], "relay-config", "{}", case.name);
        assert_eq!(mounts[0]["read_only"], true, "{}", case.name);
        assert_eq!(mounts[1], "relay-spool:/spool", "{}", case.name);
        let relay_toml = toml(&case);
        assert_eq!(relay_toml["spool"].as_str(), Some("/spool"), "{}", case.name);
        assert_eq!(relay_toml["ca"].as_str(), Some("/config/ca.crt"), "{}", case.name);
        let script = texts(&case.service("install")["command"]).concat();
        for volume in ["relay-config", "relay-spool"] {
            assert!(script.contains(&format!("own /volumes/{volume} 10001")), "{}: {volume}", case.name);
        }
    }
}

/// The port of the container, not the published one, under the name that Mattermost's certificate has.
#[test]
fn it_posts_to_mattermost_by_its_name_on_the_network() {
    for case in cases_with_a_relay() {
        let toml = toml(&case);
        let expected = format!("https://mattermost.{}:8065", case.settings.domain);
        assert_eq!(toml["mattermost"].as_str(), Some(expected.as_str()), "{}", case.name);
        let listen = format!("0.0.0.0:{}", case.settings.relay.port);
        assert_eq!(toml["listen"].as_str(), Some(listen.as_str()), "{}", case.name);
        assert_eq!(toml["queue"].as_integer(), Some(i64::from(case.settings.relay.queue)), "{}", case.name);
        // A hook that is named and not made yet is empty.
        let id = |name: &str| common::secrets().get(name).unwrap_or_default().to_owned();
        let sonarqube = &case.settings.sonarqube;
        assert_eq!(toml["passed_hook"].as_str(), Some(id(&sonarqube.passed_hook).as_str()), "{}", case.name);
        assert_eq!(toml["failed_hook"].as_str(), Some(id(&sonarqube.failed_hook).as_str()), "{}", case.name);
    }
}

/// With an empty id the relay refuses to start, and `docker compose up` would wait for it until it gives up.
#[test]
fn there_is_one_as_soon_as_its_hook_is_made_and_a_new_hook_recreates_it() {
    let case = Case::new("shipped", common::settings(&common::shipped()));
    let dotenv = |left_out: &[&str]| {
        let (host, secrets) = (common::host_for(&case.settings), common::secrets_without(left_out));
        let files = common::render(&case.settings, &host, &secrets, &common::certificates());
        common::env_file(common::contents(&files, "compose/.env"))
    };
    let (whole, without_failed) = (dotenv(&[]), dotenv(&["SONARQUBE_FAILED_HOOK"]));
    let without_passed = dotenv(&["SONARQUBE_PASSED_HOOK"]);
    let scales = [&whole, &without_failed, &without_passed].map(|dotenv| dotenv["RELAY_SCALE"].as_str());
    assert_eq!(scales, ["1", "0", "1"]);
    assert_ne!(whole["RELAY_CONTENT"], without_passed["RELAY_CONTENT"]);
    for other in ["MATTERMOST_CONTENT", "POSTGRES_CONTENT", "COTURN_CONTENT", "RELAY_TAG"] {
        assert_eq!(whole[other], without_failed[other], "{other}");
    }
}

fn toml(case: &Case) -> toml::Table {
    case.contents("env/relay.toml").parse().unwrap_or_else(|error| panic!("{}: {error}", case.name))
}
