//! The machine, its network and the files on it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use time::{Duration, OffsetDateTime};
use xtask::doctor::host::{judge_clock, judge_disk, judge_engine, judge_memory};
use xtask::doctor::network::{judge_addresses, judge_network, judge_ports};
use xtask::doctor::{Row, State, files};
use xtask::drivers::docker::{Container, Network};
use xtask::drivers::engine::{Engine, Unusable};
use xtask::host::Host;
use xtask::lan::{self, Rendered};
use xtask::secrets::Secrets;
use xtask::settings::parse_subnet;
use xtask::stack::Stack;

use crate::common;

const GIB: u64 = 1 << 30;

/// /proc/meminfo of a machine with 8 GiB, as far as it is read.
const MEMINFO: &str = "MemTotal:        8127560 kB\nMemFree:          402136 kB\nMemAvailable:    5922044 kB\n";

pub fn rows() -> Vec<Row> {
    let unsuitable = Unusable::Unsuitable {
        what: "Docker Engine 20.10.24 is too old".to_owned(),
        fix: "install 25.0 or later".to_owned(),
    };
    let mut rows: Vec<Row> = [Ok(Err(Unusable::NotInstalled)), Ok(Err(Unusable::NotRunning)), Ok(Err(unsuitable))]
        .into_iter()
        .flat_map(|engine| judge_engine(&engine))
        .collect();
    rows.extend(judge_engine(&Err("`docker version` printed something unexpected".to_owned())));
    rows.extend([Some(GIB), Some(9 * GIB), None].map(|free| judge_disk(free, "/var/lib/docker")));
    rows.push(judge_memory(MEMINFO, 12 * GIB));
    rows.push(judge_memory(&MEMINFO.replace("5922044", "202044"), GIB));
    rows.push(judge_clock(noon(), Some(noon() + Duration::days(1)), Some("chronyd")));
    rows.push(judge_clock(noon(), Some(noon() - Duration::days(1)), None));
    rows.extend(network_rows());
    rows.extend(file_rows());
    rows
}

fn network_rows() -> Vec<Row> {
    let host = common::host(&[Ipv4Addr::new(192, 168, 7, 20)]);
    let stack = stack(&common::shipped());
    let network = |subnet: &str, holder: &str| Network {
        id: "8a1f".to_owned(),
        subnets: parse_subnet(subnet).into_iter().collect(),
        ours: true,
        containers: BTreeMap::from([(holder.to_owned(), "172.30.0.10".to_owned())]),
    };
    let mut rows = vec![
        judge_addresses(Err("stack.toml:15: lan.addresses: this host does not have the address 10.0.0.9"), None),
        judge_addresses(Ok(&host), Some(&rendered("192.168.7.11"))),
        judge_addresses(Ok(&common::host(&[Ipv4Addr::LOCALHOST])), None),
        judge_network(&stack, Some(&network("172.28.0.0/16", "gitlab"))),
        judge_network(&stack, Some(&network("172.30.0.0/24", "gitlab"))),
        xtask::doctor::network::NETWORK_UNKNOWN.found("`docker network inspect cicd-net`: context deadline exceeded"),
        xtask::doctor::network::PORT_HELD.found("ports.turn: 3478/tcp is held by process 812 (turnserver)"),
    ];
    rows.push(overlap(stack.clone()));
    // Ports that nothing on a machine of a test has, but for the one that the container publishes.
    let ports = [("= 8065", "= 27065"), ("= 8444", "= 27444"), ("= 3478", "= 27478")];
    let elsewhere = self::stack(&common::shipped_with(&ports));
    rows.extend(judge_ports(&elsewhere, &[foreign_container()]));
    rows
}

/// A network whose range is that of a route which every Linux host with a network has: its own.
fn overlap(mut stack: Stack) -> Row {
    let route = xtask::host::routes().unwrap_or_default().into_iter().find(|route| route.subnet.prefix > 0);
    match route {
        Some(route) => {
            stack.settings.network.subnet = route.subnet;
            let row = judge_network(&stack, None);
            // The finding names this machine's own route, which no golden can know.
            Row { finding: "network.subnet: overlaps this host's route".to_owned(), ..row }
        }
        None => xtask::doctor::network::NETWORK_OVERLAP.found("network.subnet: overlaps this host's route"),
    }
}

/// Files that were rendered for one address.
fn rendered(address: &str) -> Rendered {
    let dotenv = format!("LAN_IP='{address}'\n");
    let mattermost = format!("MM_SERVICESETTINGS_ALLOWCORSFROM='https://{address}:8065'\n");
    lan::parse(&dotenv, &mattermost).expect("well-formed")
}

fn foreign_container() -> Container {
    Container {
        id: "1f2e".to_owned(),
        name: "jitsi-web-1".to_owned(),
        image: "jitsi/web".to_owned(),
        state: "running".to_owned(),
        status: "Up 2 days".to_owned(),
        project: "jitsi".to_owned(),
        service: "web".to_owned(),
        folder: "/srv/jitsi".into(),
        ours: false,
        ports: "0.0.0.0:27444->8444/udp, [::]:27444->8444/udp".to_owned(),
    }
}

fn file_rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("secrets.env");
    let secrets = |text: &str| {
        std::fs::write(&path, text).expect("writable");
        Secrets::load(&path)
    };
    let malformed = secrets("TURN_SECRET\n").expect_err("no `=`").to_string();
    let malformed = malformed.replace(&folder.path().display().to_string(), "env");
    let missing = files::judge_secrets(&secrets("A=b\n").expect("well-formed"), true, &["TURN_SECRET"]);
    let weak = files::judge_secrets(
        &secrets("TURN_SECRET=secretsecretsecret\n").expect("well-formed"),
        true,
        &["TURN_SECRET"],
    );
    let no_ca = common::shipped_with(&[("extra_trust = []", "extra_trust = [\"/nowhere/gitlab-ca.pem\"]")]);
    vec![
        files::SECRETS_MALFORMED.found(malformed),
        missing,
        weak,
        files::MODES_OPEN.found("others can read env/secrets.env").with("files", "env/secrets.env"),
        files::judge_trust(&stack(&no_ca)).expect("stack.toml names a file"),
        files::judge_files(&["compose/.env", "env/mattermost.env"], false),
        files::judge_files(&["env/turnserver.conf"], true),
        files::FILES_BROKEN.found("cannot render env/mattermost.env.j2"),
    ]
}

fn stack(settings: &str) -> Stack {
    let root = std::env::temp_dir().join("command-center-nowhere");
    Stack { name: "site".to_owned(), root, settings: common::settings(settings) }
}

fn noon() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_608_000).expect("a moment")
}

#[test]
fn a_healthy_machine_has_nothing_to_mend() {
    let engine = Engine { engine: "26.1.5".to_owned(), compose: "2.26.1".to_owned() };
    let host: Host = common::host(&[Ipv4Addr::new(192, 168, 7, 20)]);
    let mut rows = judge_engine(&Ok(Ok(engine)));
    rows.extend([
        judge_disk(Some(80 * GIB), "/var/lib/docker"),
        judge_memory(MEMINFO, 7 * GIB),
        judge_clock(noon(), Some(noon() - Duration::days(1)), Some("chronyd")),
        judge_clock(noon(), None, Some("chronyd")),
        judge_addresses(Ok(&host), Some(&rendered("192.168.7.20"))),
        judge_addresses(Ok(&host), None),
        files::judge_files(&[], true),
    ]);
    assert!(rows.iter().all(|row| row.state == State::Ok && row.fix.is_empty()), "{rows:?}");
}

#[test]
fn secrets_that_this_project_makes_are_strong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("secrets.env");
    let lines = (0..40).map(|number| format!("S{number}={}\n", xtask::secrets::generate(24)));
    std::fs::write(&path, lines.collect::<String>()).expect("writable");
    let secrets = Secrets::load(&path).expect("well-formed");
    let names: Vec<String> = (0..40).map(|number| format!("S{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(files::judge_secrets(&secrets, true, &names).state, State::Ok);
}

/// A secret must not get into a table that people paste into tickets.
#[test]
fn no_value_of_a_secret_is_in_a_row() {
    for row in file_rows() {
        let text = format!("{} {}", row.finding, row.fix);
        assert!(!text.contains("secretsecretsecret"), "{text}");
    }
}
