//! A PostgreSQL of somebody else: none of our own is left, and Mattermost verifies the other one as it does ours.

use crate::{Case, cases, texts};

fn external_cases() -> Vec<Case> {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.settings.external_postgres().is_some()).collect();
    assert!(!cases.is_empty(), "the invariants are about something");
    cases
}

#[test]
fn nothing_of_our_own_is_left() {
    for case in external_cases() {
        let text = case.contents("compose/compose.yaml");
        for left in ["  postgres:", "postgres-data", "postgres-secrets", "certs/postgres,", "env/postgres", "POSTGRES_"]
        {
            assert!(!text.contains(left), "{}: {left}", case.name);
        }
        assert!(!case.contents("compose/.env").contains("POSTGRES_"), "{}", case.name);
        let files: Vec<_> = case.files.iter().filter(|file| file.path.starts_with("env/postgres/")).collect();
        assert!(files.is_empty(), "{}: {files:?}", case.name);
        let networks = case.compose["networks"].as_mapping().expect("networks");
        assert_eq!(networks.keys().filter_map(|name| name.as_str()).collect::<Vec<_>>(), ["cicd"], "{}", case.name);
        let waits = case.service("mattermost")["depends_on"].as_mapping().expect("it waits");
        assert_eq!(waits.keys().filter_map(|name| name.as_str()).collect::<Vec<_>>(), ["install"], "{}", case.name);
        assert!(texts(&case.service("install")["command"]).concat().contains("mattermost-tls"), "{}", case.name);
    }
}

#[test]
fn mattermost_verifies_it_fully_with_its_own_ca() {
    for case in external_cases() {
        let source = case.variable("MM_SQLSETTINGS_DATASOURCE");
        let postgres = &case.settings.postgres;
        let expected = format!(
            "postgres://{}:FakeExternalPassword00000000009@{}/{}?sslmode=verify-full&sslrootcert=",
            postgres.role, postgres.external, postgres.database
        );
        let rest = source.strip_prefix(&expected).unwrap_or_else(|| panic!("{}: {source}", case.name));
        let root = rest.split('&').next().expect("a file");
        let mounts = case.service("mattermost")["volumes"].as_sequence().expect("it has volumes");
        let mount = mounts.iter().find(|mount| mount["target"] == root).expect("the CA is mounted");
        assert_eq!(mount["source"], "../certs/postgres-ca.crt", "{}", case.name);
        assert!(case.files.iter().any(|file| file.path == "certs/postgres-ca.crt"), "{}", case.name);
    }
}
