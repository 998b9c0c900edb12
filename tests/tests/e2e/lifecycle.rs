//! Down and up again, killed and interrupted in the middle, and who has the first account.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use command_center_tests::run::{self, Started};
use command_center_tests::stack::UP;
use command_center_tests::{Stack, docker};
use xtask::drivers::docker as xtask_docker;
use xtask::secrets::{self, ADMIN_FIRST_PASSWORD, ADMIN_ID, ADMIN_PASSWORD};

use crate::client;
use crate::up::files;

const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn down_keeps_the_data_and_down_volumes_removes_it() {
    let stack = Stack::new("down");
    let network = stack.inner().settings.network;
    // A network that somebody made for the tools is joined, and is not ours to remove.
    docker(&["network", "create", "--subnet", &network.subnet.to_string(), &network.name]).exits(0);
    stack.up();
    let administrator = stack.people();
    stack.xtask(&["down"]).exits(0).says("Its data is kept");
    assert!(stack.containers().is_empty());
    assert!(network_exists(&stack), "`down` removed a network that it did not make");
    docker(&["network", "rm", &network.name]).exits(0);

    stack.up().says("made the network");
    assert_eq!(stack.people(), administrator, "the data is another one");
    assert_eq!(stack.login("admin", &stack.secret(ADMIN_PASSWORD)).status(), 200);

    // Without somebody to ask, data goes only when told to.
    let (before, running) = (files(&stack), stack.running());
    stack.xtask(&["down", "--volumes"]).exits(1).says("--yes");
    assert_eq!(stack.running(), running, "something was stopped");
    assert_eq!(files(&stack), before);

    let other = format!("{}-foreign", stack.name);
    let (label, image) = (format!("com.docker.compose.project={}-foreign", stack.name), &stack.images().postgres);
    let foreign = ["run", "--detach", "--rm", "--name", &other, "--label", &label, "--network", &network.name];
    docker(&[&foreign[..], &["--entrypoint", "sleep", image, "300"]].concat()).exits(0);
    let down = stack.xtask(&["down", "--volumes", "--yes"]);
    let kept = network_exists(&stack);
    docker(&["rm", "--force", &other]).exits(0);
    let down = down.exits(0).says("its data is gone").says(&format!("{other} are on it"));
    assert!(kept, "`down` took the network from under a foreign container: {}", down.said());
    let filter = format!("label=com.docker.compose.project={}", stack.name);
    let volumes = docker(&["volume", "ls", "--quiet", "--filter", &filter]).exits(0).stdout;
    assert_eq!(volumes, "", "volumes are left");
    let left = stack.secrets();
    assert_eq!(left.get(ADMIN_ID), None, "the administrator of a database that is gone is still known");
    assert!(left.get(ADMIN_PASSWORD).is_some(), "secrets were forgotten that the next stack can use");
    stack.xtask(&["down"]).exits(0);
    assert!(!network_exists(&stack), "our own empty network is left");
    stack.xtask(&["status"]).exits(1).says("not set up");

    // Everything from nothing again, with the old secrets.
    stack.up();
    assert_ne!(stack.people(), administrator);
    stack.xtask(&["down", "--volumes", "--yes"]).exits(0);
    assert!(!network_exists(&stack));
}

fn network_exists(stack: &Stack) -> bool {
    xtask_docker::network(&stack.inner().settings.network.name).expect("Docker answers").is_some()
}

/// The moments are chosen by what has happened, and by the clock in between. What xtask had started goes on without it.
#[test]
fn up_heals_what_a_killed_up_left() {
    let stack = Stack::new("killed");
    let known = |names: &[&str]| {
        let secrets = stack.secrets();
        names.iter().map(|name| secrets.get(name).map(str::to_owned)).collect::<Vec<_>>()
    };
    let names: Vec<&str> = secrets::GENERATED.iter().map(|generated| generated.name).collect();
    let mut made: Option<Vec<Option<String>>> = None;
    let path = secrets::path(&stack.root);
    let first_password = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains(ADMIN_FIRST_PASSWORD));
    let env = stack.root.join("compose/.env");
    let runs = |service: &str| stack.running().contains(&service.to_owned());
    let moments: [(&str, Reached<'_>); 6] = [
        ("as soon as there are secrets", &|| path.exists()),
        ("while files are rendered", &|| env.exists()),
        ("as PostgreSQL initialises", &|| runs("postgres")),
        ("as Mattermost starts", &|| runs("mattermost")),
        ("as the first account is made", &first_password),
        ("as the account gets its password", &|| is_at_work(&stack.container("mattermost"), "change-password")),
    ];
    for (moment, reached) in moments {
        let mut up = run::start(&mut stack.command(UP), "");
        let there = until(&mut up, |_| reached());
        up.kill();
        eprintln!("  killed {moment}{}", if there { "" } else { ": too late, it was done" });
        if path.exists() {
            let now = known(&names);
            assert!(now.iter().all(Option::is_some), "secrets.env is half-written: {moment}");
            assert_eq!(made.get_or_insert_with(|| now.clone()), &now, "secrets were replaced: {moment}");
        }
    }
    let ran = stack.up();
    assert_eq!(known(&names), made.expect("secrets were made"), "secrets were replaced: {}", ran.said());
    assert_eq!(stack.people(), [("admin".to_owned(), stack.secret(ADMIN_ID))]);
    assert_eq!(stack.login("admin", &stack.secret(ADMIN_PASSWORD)).status(), 200);
    assert_eq!(stack.secrets().get(ADMIN_FIRST_PASSWORD), None);
    stack.up().says("Nothing to change");
}

/// Whether a moment has come.
type Reached<'a> = &'a dyn Fn() -> bool;

/// Whether a process has both words among its arguments.
fn is_at_work(one: &str, other: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let mut lines = processes.map(|entry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default());
    lines.any(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(one) && line.contains(other)
    })
}

/// Waits until something has happened, or until the program has ended.
fn until(started: &mut Started, mut reached: impl FnMut(&str) -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if started.child.try_wait().expect("a child can be waited for").is_some() {
            return false;
        }
        let said = started.stderr();
        if reached(&said) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing happened in {} s:\n{}", LIMIT.as_secs(), started.stderr());
}

/// A terminal sends Ctrl-C to every process of the group, a service manager sends SIGTERM to the first one only.
#[test]
fn an_interrupted_up_says_what_runs_and_can_be_run_again() {
    let stack = Stack::new("interrupted");
    for (signal, to_all, moment) in
        [("-INT", true, "Docker Engine"), ("-TERM", false, "made the network"), ("-INT", true, "starting the servers")]
    {
        let mut command = stack.command(UP);
        let mut up = run::start(command.process_group(0), "");
        assert!(until(&mut up, |said| said.contains(moment)), "{moment:?} was never said: {}", up.stderr());
        let target = if to_all { format!("-{}", up.child.id()) } else { up.child.id().to_string() };
        run::run(Command::new("kill").args([signal, "--", &target]), "", LIMIT).exits(0);
        let ran =
            up.wait(LIMIT).expect("it stops").exits(1).says("error: interrupted; ").says("no file is half-written");
        assert!(ran.took < Duration::from_secs(60), "{}", ran.said());
        let claimed = ran.stderr.contains("nothing is running");
        assert_eq!(claimed, stack.running().is_empty(), "it says what is not so: {:?} {}", stack.running(), ran.said());
        for (path, _) in files(&stack) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            assert!(!name.starts_with(".xtask-"), "{} was left", path.display());
        }
        stack.secrets();
    }
    stack.up();
    assert_eq!(stack.people().len(), 1);
}

#[test]
fn a_stranger_who_registers_first_stops_the_stack() {
    let stack = Stack::new("stranger");
    // Under a name of their own, and under ours: an account is not ours because of its name.
    for name in ["stranger", "admin"] {
        // Containers by plain Compose: what an `up` leaves that was killed before it made the first account.
        stack.prepare();
        stack.compose(&["up", "--detach", "--wait", "--pull", "never"]).exits(0);
        let password = "Correct-Horse-9-Battery";
        let body = serde_json::json!({ "email": "x@example.org", "username": name, "password": password }).to_string();
        let answer = client::request(&stack, "POST", "/api/v4/users", &[], Some(&body)).expect("an answer");
        assert_eq!(answer.0, 201, "{}", answer.2);

        let ran = stack.try_up().exits(1).says(&format!("the account \"{name}\"")).says("somebody was faster");
        let ran = ran.says("the stack was stopped").says("down --volumes");
        assert!(stack.running().is_empty(), "{:?} {}", stack.running(), ran.said());
        assert_eq!(stack.secrets().get(ADMIN_ID), None, "the stranger's account is taken for ours");
        // Again: an `up` that tries once more must not make peace with it.
        stack.try_up().exits(1).says("somebody was faster");
        assert!(stack.running().is_empty());
        stack.xtask(&["down", "--volumes", "--yes"]).exits(0);
    }
    stack.up();
    assert_eq!(stack.people().len(), 1);
}

/// Somebody removed the volumes by hand: on the empty database the first to register would be system administrator.
#[test]
fn a_database_that_lost_its_administrator_is_not_left_open() {
    let stack = Stack::new("lost");
    stack.up();
    stack.compose(&["down", "--volumes"]).exits(0);
    let ran = stack.try_up().exits(1).says("this database does not").says(ADMIN_ID);
    assert!(stack.running().is_empty(), "anybody can register as system administrator now: {}", ran.said());
}

/// What cannot be forgotten afterwards must not be removed first.
#[test]
fn data_stays_when_secrets_env_cannot_be_read() {
    let stack = Stack::new("unreadable");
    stack.up();
    let path = secrets::path(&stack.root);
    let whole = std::fs::read_to_string(&path).expect("secrets.env is there");
    std::fs::write(&path, format!("{whole}broken\n")).expect("secrets.env can be written");
    let ran = stack.xtask(&["down", "--volumes", "--yes"]).exits(1).says("secrets.env:");
    let left = xtask_docker::volume_exists(&stack.inner().volume("postgres-data")).expect("Docker answers");
    assert!(left, "the data is gone, and its administrator is still known: {}", ran.said());
    std::fs::write(&path, whole).expect("secrets.env can be written");
    stack.up();
    assert_eq!(stack.people(), [("admin".to_owned(), stack.secret(ADMIN_ID))]);
}
