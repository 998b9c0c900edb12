//! `up` from nothing, `up` again, and what a user is told.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use command_center_tests::{Stack, docker};
use serde_json::Value;
use xtask::secrets::{self, ADMIN_ID, ADMIN_PASSWORD};

use crate::checks;

#[test]
fn up_makes_everything_from_nothing_and_then_nothing_more() {
    let stack = Stack::new("up");
    let stop = AtomicBool::new(false);
    let (ran, command_lines) = std::thread::scope(|scope| {
        let seen = scope.spawn(|| command_lines_until(&stop));
        let ran = stack.try_up();
        stop.store(true, Ordering::Relaxed);
        (ran, seen.join().expect("watching /proc does not fail"))
    });
    let ran = ran.exits(0);
    let address = stack.address();
    for line in [
        &format!("https://{address}"),
        &stack.inner().settings.site_url(),
        &format!("needs this line in /etc/hosts: {} mattermost.cicd.local", address.ip()),
        "admin; password: cargo xtask --stack e2e-up secrets show ADMIN_PASSWORD",
        &xtask::certs::ca_path(&stack.root).display().to_string(),
        &xtask::certs::fingerprint(&stack.ca()).expect("a fingerprint"),
    ] {
        assert!(ran.stdout.contains(line), "{line:?} is missing: {}", ran.said());
    }
    let secrets = stack.secrets();
    for generated in secrets::GENERATED {
        let value = stack.secret(generated.name);
        assert!(!ran.said().contains(&value), "{} was printed", generated.name);
        assert!(
            !command_lines.iter().any(|line| line.contains(&value)),
            "{} was in the arguments of a process, where every user of this machine can read it",
            generated.name
        );
    }
    assert_eq!(secrets.get(secrets::ADMIN_FIRST_PASSWORD), None, "the throw-away password is kept");
    let shown = stack.xtask(&["secrets", "show", ADMIN_PASSWORD]).exits(0).stdout;
    assert_eq!(stack.login("admin", shown.trim()).status(), 200);
    assert_eq!(stack.people(), [("admin".to_owned(), stack.secret(ADMIN_ID))]);

    checks::run(
        &stack,
        &[
            ("a second `up` changes nothing and posts nothing", a_second_up_changes_nothing),
            ("status tells people and scripts", status_tells),
            ("doctor finds nothing to mend", doctor_finds_nothing),
            ("logs show names in place of secrets", logs_are_redacted),
            ("files with secrets are for their owner only", files_are_private),
            ("plain `docker compose` works in the folder", plain_compose_works),
            ("`up` works when the administrator changed the password", up_needs_no_password),
            ("`up` starts what somebody stopped, and says so", up_starts_what_was_stopped),
            ("another stack with the same ports is refused by name", another_stack_is_refused_by_name),
        ],
    );
}

/// Every command line that any process had, until told to stop.
pub fn command_lines_until(stop: &AtomicBool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc").expect("Linux has /proc").flatten() {
            if let Ok(line) = fs::read(entry.path().join("cmdline")) {
                seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    seen
}

/// Everything below the stack's folder, but for the note in the lock file.
pub fn files(stack: &Stack) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![stack.root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != ".lock") {
                found.push((path.clone(), fs::read(&path).expect("a file can be read")));
            }
        }
    }
    found.sort();
    found
}

fn posts(stack: &Stack) -> String {
    if stack.is_lab() {
        // The stand-in has no posts: nothing at all may be added to its tables.
        let count = "query_to_xml(format('SELECT count(*) FROM %I.%I', schemaname, tablename), false, true, '')";
        return stack.psql(&format!("SELECT tablename, {count} FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"));
    }
    stack.psql("SELECT count(*) FROM posts")
}

fn a_second_up_changes_nothing(stack: &Stack) {
    let (ids, before, posted) = (stack.ids(), files(stack), posts(stack));
    let ran = stack.up().says("Nothing to change").does_not_say("started:").does_not_say("wrote").does_not_say("made");
    assert_eq!(stack.ids(), ids, "containers were recreated: {}", ran.said());
    assert_eq!(files(stack), before, "files changed: {}", ran.said());
    assert_eq!(posts(stack), posted, "something was posted: {}", ran.said());
}

fn status_tells(stack: &Stack) {
    const STANDS_IN: &str = "LAB: a stand-in runs in place of Mattermost";
    let ran = stack.xtask(&["status", "--json"]).exits(0);
    let report: Value = serde_json::from_str(&ran.stdout).expect("stdout is JSON alone");
    let reported = &report["stacks"][0];
    assert_eq!(reported["stack"], stack.name.as_str());
    assert_eq!(reported["lab"], stack.is_lab());
    assert_eq!(reported["url"], stack.inner().settings.site_url());
    assert_eq!(reported["services"].as_array().map(Vec::len), Some(stack.containers().len()), "{report}");
    let status = stack.xtask(&["status"]).exits(0);
    assert_eq!(status.stdout.contains(STANDS_IN), stack.is_lab(), "{}", status.said());
    let again = stack.up();
    assert_eq!(again.stdout.contains(STANDS_IN), stack.is_lab(), "in the summary: {}", again.said());
    assert_eq!(again.stderr.contains(STANDS_IN), stack.is_lab(), "before anything is done: {}", again.said());
}

fn doctor_finds_nothing(stack: &Stack) {
    let ran = stack.xtask(&["doctor", "--json"]).exits(0);
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).expect("a list of checks");
    // The machine may be short of disk or of a LAN; what the stack itself is made of must be well.
    for name in ["engine", "compose", "certificates", "ports", "network", "modes", "files"] {
        let row =
            rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}: {}", ran.said()));
        assert_eq!(row["state"], "ok", "{row}");
    }
}

/// The servers log no secret by themselves, so each gets one into its log that a mistake might put there.
fn logs_are_redacted(stack: &Stack) {
    let container = stack.container("postgres");
    let log = "cat /run/secrets/password /run/secrets/superuser_password > /proc/1/fd/2; echo > /proc/1/fd/2";
    docker(&["exec", &container, "bash", "-c", log]).exits(0);
    let ran = stack.xtask(&["logs"]).exits(0);
    for name in [secrets::POSTGRES_PASSWORD, secrets::POSTGRES_SUPERUSER_PASSWORD] {
        assert!(ran.stdout.contains(&format!("[{name}]")), "{}", ran.said());
    }
    for generated in secrets::GENERATED {
        assert!(!ran.said().contains(&stack.secret(generated.name)), "{} is shown", generated.name);
    }
    let one = stack.xtask(&["logs", "coturn"]).exits(0);
    assert!(one.stdout.lines().all(|line| line.contains("coturn")), "{}", one.said());
}

fn files_are_private(stack: &Stack) {
    for (path, contents) in files(stack) {
        let text = String::from_utf8_lossy(&contents).into_owned();
        let is_secret = text.contains("PRIVATE KEY")
            || secrets::GENERATED.iter().any(|generated| text.contains(&stack.secret(generated.name)));
        let mode = xtask::drivers::files::mode(&path).expect("the file is there");
        assert!(!is_secret || mode == 0o600, "{} has mode {mode:o}", path.display());
    }
}

fn plain_compose_works(stack: &Stack) {
    let listed = stack.compose(&["ps", "--services"]).exits(0);
    for service in ["coturn", "mattermost", "postgres"] {
        assert!(listed.stdout.contains(service), "{}", listed.said());
    }
}

fn up_needs_no_password(stack: &Stack) {
    let changed = "Changed-By-Hand-42";
    let arguments = ["--local", "--json", "user", "change-password", "admin", "--password", changed];
    stack.mmctl(&arguments, None, Duration::from_secs(30)).expect("mmctl returns").exits(0);
    let ids = stack.ids();
    stack.up().says("Nothing to change");
    assert_eq!(stack.ids(), ids);
    assert_eq!(stack.login("admin", changed).status(), 200, "`up` undid what the administrator did");
    assert_eq!(stack.login("admin", &stack.secret(ADMIN_PASSWORD)).status(), 401);
}

fn up_starts_what_was_stopped(stack: &Stack) {
    let ids = stack.ids();
    docker(&["stop", &stack.container("coturn")]).exits(0);
    let status = stack.xtask(&["status", "--json"]).exits(1);
    serde_json::from_str::<Value>(&status.stdout).expect("JSON also when something is down");
    let ran = stack.up();
    assert_eq!(stack.ids(), ids, "a stopped container was replaced");
    stack.xtask(&["status"]).exits(0);
    ran.does_not_say("Nothing to change").says("started: coturn");
}

fn another_stack_is_refused_by_name(stack: &Stack) {
    let rival = Stack::new("rival");
    let before = files(&rival);
    let ran = rival.try_up().exits(1).says(&format!("is held by the stack {}", stack.name)).says("hint: ");
    assert_eq!(files(&rival), before, "something was written: {}", ran.said());
    assert!(rival.containers().is_empty());
}
