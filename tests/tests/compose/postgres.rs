//! The database: TLS, its own network, no capability.

use crate::{Case, published, texts};

/// Those with a PostgreSQL of their own.
fn cases() -> Vec<Case> {
    crate::cases().into_iter().filter(|case| case.settings.external_postgres().is_none()).collect()
}

/// Nobody but Mattermost has business with the database.
#[test]
fn postgresql_is_not_published() {
    for case in cases() {
        let postgres = case.service("postgres");
        assert_eq!(published(postgres), [], "{}", case.name);
        assert!(postgres["expose"].is_null() && postgres["network_mode"].is_null(), "{}", case.name);
    }
}

/// An internal network has no route out, and a tool on cicd-net must not even reach the port.
#[test]
fn postgresql_is_on_an_internal_network_with_mattermost_only() {
    for case in cases() {
        let networks = case.service("postgres")["networks"].as_mapping().expect("networks are a mapping");
        assert_eq!(networks.keys().filter_map(|name| name.as_str()).collect::<Vec<_>>(), ["database"]);
        assert_eq!(case.compose["networks"]["database"]["internal"], true, "{}", case.name);
        let on_it = case.services().into_iter().filter(|(_, service)| service["networks"].get("database").is_some());
        assert_eq!(on_it.map(|(name, _)| name).collect::<Vec<_>>(), ["postgres", "mattermost"], "{}", case.name);
    }
}

/// The image would start as root to change owners, which needs capabilities; `install` has done that before.
#[test]
fn postgresql_runs_as_its_user_without_capabilities_on_a_read_only_root() {
    for case in cases() {
        let postgres = case.service("postgres");
        assert_eq!(postgres["user"], "999:999", "{}", case.name);
        assert_eq!(postgres["read_only"], true, "{}", case.name);
        assert!(postgres["cap_add"].is_null(), "{}", case.name);
        assert!(postgres["privileged"].is_null(), "{}", case.name);
        // What it must write to besides its data is memory.
        let tmpfs: Vec<_> =
            texts(&postgres["tmpfs"]).iter().map(|entry| entry.split(':').next().unwrap_or("")).collect();
        assert_eq!(tmpfs, ["/tmp", "/run/postgresql"], "{}", case.name);
    }
}

/// Passwords and messages must not cross even a bridge in plain text, and no other account may come in.
#[test]
fn postgresql_speaks_tls_and_lets_only_mattermost_in_over_the_network() {
    for case in cases() {
        let command = texts(&case.service("postgres")["command"]);
        for option in ["-cssl=on", "-cpassword_encryption=scram-sha-256", "-chba_file=/etc/postgresql/pg_hba.conf"] {
            assert!(command.contains(&option), "{}: {option}", case.name);
        }
        let rules: Vec<Vec<&str>> = case
            .contents("env/postgres/pg_hba.conf")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().collect())
            .collect();
        let expected = [
            vec!["local", "all", "postgres", "peer"],
            vec!["hostssl", "mattermost", "mattermost", "samenet", "scram-sha-256"],
        ];
        assert_eq!(rules, expected, "{}", case.name);
    }
}

/// Mattermost proves whom it talks to: our CA and the host's name, which is an alias of the container.
#[test]
fn mattermost_verifies_the_database_fully() {
    for case in cases() {
        let source = case.variable("MM_SQLSETTINGS_DATASOURCE");
        let (_, location) = source.split_once('@').expect("the data source has a host");
        let (host, options) = location.split_once('?').expect("the data source has options");
        let name = format!("postgres.{}", case.settings.domain);
        assert_eq!(host, format!("{name}:5432/mattermost"), "{}", case.name);
        let options: Vec<&str> = options.split('&').collect();
        assert!(options.contains(&"sslmode=verify-full"), "{}: {options:?}", case.name);
        let root = options.iter().find_map(|option| option.strip_prefix("sslrootcert=")).expect("a root is named");
        let mounts = case.service("mattermost")["volumes"].as_sequence().expect("it has volumes");
        assert!(mounts.iter().any(|mount| mount["target"] == root), "{}: {root} is mounted", case.name);
        let aliases = texts(&case.service("postgres")["networks"]["database"]["aliases"]);
        assert_eq!(aliases, [name], "{}: the name in the certificate is found on the network", case.name);
    }
}

/// Since PostgreSQL 15 only the owner of the schema may create tables in it, and migrations fail without a word of that.
#[test]
fn the_role_owns_its_database_and_the_schema() {
    for case in cases() {
        let sql = case.contents("env/postgres/init.sql");
        assert!(sql.contains("CREATE DATABASE mattermost OWNER mattermost"), "{}", case.name);
        assert!(sql.contains("\\connect mattermost\nALTER SCHEMA public OWNER TO mattermost;"), "{}", case.name);
        assert!(sql.contains("\\set ON_ERROR_STOP on"), "{}: half a database must not pass for one", case.name);
        assert!(sql.contains("NOSUPERUSER"), "{}", case.name);
    }
}

/// Passwords come from files: the environment of a container is there for everybody who may ask Docker.
#[test]
fn postgresql_reads_its_passwords_from_files() {
    for case in cases() {
        let environment = case.service("postgres")["environment"].as_mapping().expect("an environment");
        for (name, _) in environment {
            let name = name.as_str().unwrap_or_default();
            assert!(!name.ends_with("PASSWORD"), "{}: {name}", case.name);
        }
        assert!(environment.contains_key("POSTGRES_PASSWORD_FILE"), "{}", case.name);
    }
}
