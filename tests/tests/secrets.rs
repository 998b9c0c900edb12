//! secrets.env: made once, kept for ever, written whole, by one process at a time.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xtask::drivers::files;
use xtask::secrets::{self, GENERATED, Secrets, Volume};

const TODAY: &str = "2026-11-22";

/// The database's volume does not exist, or it does.
const ABSENT: fn() -> Option<Volume> = || None;
const PRESENT: fn() -> Option<Volume> = || {
    let removal = "cargo xtask down --volumes".to_owned();
    Some(Volume { what: "the volume x_postgres-data".to_owned(), removal })
};

fn ensure(
    path: &Path,
    today: &str,
    volume: impl FnOnce() -> Option<Volume>,
) -> anyhow::Result<(Secrets, Vec<&'static str>)> {
    secrets::ensure(path, today, &common::settings(&common::shipped()), volume)
}

/// A PostgreSQL that exists already has passwords of its own, and its owner gives Mattermost's to the user.
#[test]
fn no_password_is_made_for_a_postgresql_of_somebody_else() {
    let (_folder, path) = new_file(None);
    let external = [("external = \"\"", "external = \"db:5432\""), ("ca = \"\"", "ca = \"db.pem\"")];
    let settings = common::settings(&common::shipped_with(&external));
    let (_, added) = secrets::ensure(&path, TODAY, &settings, ABSENT).expect("made");
    assert_eq!(added, ["ADMIN_PASSWORD", "TURN_SECRET", "SONARQUBE_WEBHOOK_SECRET", "JENKINS_RELOAD_TOKEN"]);
}

#[test]
fn what_is_missing_is_made_of_letters_and_digits_and_for_the_owner_only() {
    let (_folder, path) = new_file(None);
    let (secrets, added) = ensure(&path, TODAY, ABSENT).expect("an absent file is an empty one");
    assert_eq!(added, GENERATED.iter().map(|secret| secret.name).collect::<Vec<_>>());
    for generated in GENERATED {
        let value = secrets.get(generated.name).expect("it was made");
        assert!(value.len() >= generated.length && value.chars().all(|c| c.is_ascii_alphanumeric()), "{value}");
    }
    assert_eq!(std::fs::metadata(&path).expect("it was written").permissions().mode() & 0o7777, 0o600);
    let text = read(&path);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.ends_with("  # 2026-11-22"), "{line:?} says when it was made");
    }
    let values: Vec<_> = GENERATED.iter().filter_map(|secret| secrets.get(secret.name)).collect();
    let other = new_file(None);
    let (others, _) = ensure(&other.1, TODAY, ABSENT).expect("an absent file is an empty one");
    assert!(
        values.iter().all(|value| !GENERATED.iter().any(|secret| others.get(secret.name) == Some(value))),
        "no dice"
    );
}

#[test]
fn a_second_run_leaves_every_byte() {
    let (_folder, path) = new_file(None);
    ensure(&path, TODAY, ABSENT).expect("made");
    let (text, time) = (read(&path), modified(&path));
    let asked = || panic!("nothing is missing, so nobody has to be asked about volumes");
    let (_, added) = ensure(&path, "2027-01-01", asked).expect("all is there");
    assert_eq!(added, Vec::<&str>::new());
    assert_eq!((read(&path), modified(&path)), (text, time));
}

/// Tokens that the user put there, comments and blank lines, each byte of them.
#[test]
fn the_users_lines_stay_as_they_are() {
    let text =
        "# mine\n\nGITLAB_API_TOKEN=glpat-x_1.2 # from Ada\n  # indented\nSONAR_ADMIN_TOKEN=squ_0\t#  until May\n";
    let (_folder, path) = new_file(Some(text));
    let (secrets, _) = ensure(&path, TODAY, ABSENT).expect("well-formed");
    assert_eq!(secrets.get("GITLAB_API_TOKEN"), Some("glpat-x_1.2"));
    assert_eq!(secrets.get("SONAR_ADMIN_TOKEN"), Some("squ_0"));
    let after = read(&path);
    assert!(after.starts_with(text), "{after}");
    assert_eq!(after.lines().count(), text.lines().count() + GENERATED.len());
}

/// A new password would lock everybody out of the data, so a lost one is an error, and what is left of the file stays.
#[test]
fn a_secret_that_a_volume_depends_on_is_never_made_again() {
    for lost in GENERATED.iter().filter(|secret| secret.kept_in_volume) {
        let (_folder, path) = new_file(None);
        ensure(&path, TODAY, ABSENT).expect("made");
        let without: String =
            read(&path).lines().filter(|line| !line.starts_with(lost.name)).map(|l| format!("{l}\n")).collect();
        std::fs::write(&path, &without).expect("writable");
        let error = format!("{:#?}", ensure(&path, TODAY, PRESENT).expect_err("the volume is there"));
        for part in [lost.name, "is missing", "the volume x_postgres-data depends on it", "backup", "down --volumes"] {
            assert!(error.contains(part), "{part:?}: {error}");
        }
        assert_eq!(read(&path), without, "it is untouched");
        let (_, added) = ensure(&path, TODAY, ABSENT).expect("without the volume it may be made");
        assert_eq!(added, [lost.name]);
    }
}

/// The TURN secret is read anew at each start, so it may change.
#[test]
fn a_secret_that_no_volume_depends_on_is_made_again() {
    let (_folder, path) = new_file(None);
    ensure(&path, TODAY, ABSENT).expect("made");
    let without: String =
        read(&path).lines().filter(|line| !line.starts_with("TURN")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&path, &without).expect("writable");
    let (_, added) = ensure(&path, TODAY, PRESENT).expect("no volume depends on it");
    assert_eq!(added, ["TURN_SECRET"]);
    assert!(read(&path).starts_with(&without), "the others stay");
}

#[test]
fn a_lost_file_is_an_error_while_the_volume_is_there() {
    let (folder, path) = new_file(None);
    ensure(&path, TODAY, PRESENT).expect_err("the volume is there");
    assert_eq!(names_in(folder.path()), Vec::<String>::new(), "nothing was made");
}

/// Whatever cannot be read may hold the only copy of a password.
#[test]
fn a_malformed_file_stops_everything_and_stays() {
    for (bad, what) in [
        ("TURN_SECRET", "2: has no `=`"),
        ("turn_secret=opensesame", "2: the name must be upper-case"),
        (" TURN_SECRET=opensesame", "2: the name must be upper-case"),
        ("export TURN_SECRET=opensesame", "2: the name must be upper-case"),
        ("TURN_SECRET=", "2: TURN_SECRET has no value"),
        ("TURN_SECRET= opensesame", "2: the value of TURN_SECRET has a space in it"),
        ("TURN_SECRET=open sesame", "2: the value of TURN_SECRET has a space in it"),
        ("TURN_SECRET='opensesame'", "2: the value of TURN_SECRET has a character"),
        ("TURN_SECRET=open$sesame", "2: the value of TURN_SECRET has a character"),
        ("TURN_SECRET=öffnedich", "2: the value of TURN_SECRET has a character"),
        ("TURN_SECRET=opensesame\nTURN_SECRET=opensesame", "3: TURN_SECRET is there twice"),
    ] {
        let text = format!("# a line before\n{bad}\n");
        let (_folder, path) = new_file(Some(&text));
        let error = format!("{:#?}", ensure(&path, TODAY, ABSENT).expect_err(bad));
        assert!(error.contains(&format!("secrets.env:{what}")), "{bad:?}: {error}");
        assert!(!error.contains("sesame") && !error.contains("dich"), "the value is in it: {error}");
        assert_eq!(read(&path), text);
    }
}

/// Taken for an absent one, it would be written over.
#[test]
fn an_unreadable_file_stops_everything() {
    let (_folder, path) = new_file(None);
    std::fs::write(&path, b"TURN_SECRET=\xff\xfe\n").expect("writable");
    let error = format!("{:#?}", ensure(&path, TODAY, ABSENT).expect_err("it is no text"));
    assert!(error.contains("cannot read") && error.contains("secrets.env"), "{error}");
    assert_eq!(std::fs::read(&path).expect("it is there"), b"TURN_SECRET=\xff\xfe\n");
    let (_folder, path) = new_file(None);
    std::fs::create_dir(&path).expect("a folder in its place");
    let error = format!("{:#?}", ensure(&path, TODAY, ABSENT).expect_err("it is a folder"));
    assert!(error.contains("cannot read"), "{error}");
    assert!(path.is_dir());
}

/// A secret that another one begins with must not leave the rest of it in the log.
#[test]
fn nothing_is_left_of_a_secret_after_redaction() {
    let (_folder, path) = new_file(Some("A_TOKEN=opensesame\nB_TOKEN=opensesame-and-more\n"));
    let secrets = Secrets::load(&path).expect("well-formed");
    let redacted = secrets.redact("a=opensesame b=opensesame-and-more");
    assert_eq!(redacted, "a=[A_TOKEN] b=[B_TOKEN]");
}

/// Two commands at once would each write their own idea of the files.
#[test]
fn a_second_holder_is_refused_and_told_who_the_first_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = files::lock(folder.path(), "up").expect("nobody holds it");
    let error = format!("{:#?}", files::lock(folder.path(), "render").expect_err("it is held"));
    let holder = format!("`cargo xtask up` (process {}) holds the lock", std::process::id());
    assert!(error.contains(&holder) && error.contains("wait until it is done"), "{error}");
    drop(first);
    files::lock(folder.path(), "render").expect("it was released");
}

#[test]
fn a_write_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("new/secrets.env");
    for text in ["one", "two"] {
        files::write(&path, text.as_bytes(), 0o600).expect("writable");
        assert_eq!(read(&path), text);
        assert_eq!(names_in(&folder.path().join("new")), ["secrets.env"]);
    }
    std::fs::remove_file(&path).expect("it is there");
    std::fs::create_dir_all(path.join("in-the-way")).expect("a folder in its place");
    files::write(&path, b"three", 0o600).expect_err("a folder cannot be replaced by a file");
    assert_eq!(names_in(&folder.path().join("new")), ["secrets.env"], "a write that fails cleans up");
}

/// A process that is killed at any moment leaves the old file or the new one, and a lock that the next one takes.
#[test]
fn a_kill_in_the_middle_of_a_write_leaves_a_whole_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().expect("this test has a file"))
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("this test can start itself");
        let end = Instant::now() + Duration::from_secs(20);
        while !path.exists() {
            assert!(Instant::now() < end, "the child wrote nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(10 + 7 * round));
        child.kill().expect("it runs");
        assert_eq!(child.wait().expect("it ended").signal(), Some(9), "it was killed, and did not end by itself");
        let text = std::fs::read(&path).expect("the file is there");
        assert_eq!(text.len(), CHILD_SIZE, "half a file");
        assert!(text.iter().all(|byte| *byte == text[0]), "two writes are mixed");
        assert_eq!(files::mode(&path), Some(0o600));
        for name in names_in(folder.path()).iter().filter(|name| name.starts_with(".xtask-")) {
            assert_eq!(files::mode(&folder.path().join(name)), Some(0o600), "what is left over is as private");
        }
        files::lock(folder.path(), "up").expect("the lock went with the process");
        std::fs::remove_file(&path).expect("it is there");
    }
}

const CHILD_FOLDER: &str = "COMMAND_CENTER_TEST_WRITES_IN";
const CHILD_SIZE: usize = 300_000;

/// The other half of the test above; by itself it does nothing.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let _lock = files::lock(&folder, "test").expect("nobody else writes here");
    let end = Instant::now() + Duration::from_secs(30);
    for byte in (b'a'..=b'z').cycle().take_while(|_| Instant::now() < end) {
        files::write(&folder.join("file"), &vec![byte; CHILD_SIZE], 0o600).expect("writable");
    }
}

fn new_file(text: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("secrets.env");
    if let Some(text) = text {
        std::fs::write(&path, text).expect("writable");
    }
    (folder, path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn modified(path: &Path) -> std::time::SystemTime {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).expect("it is there")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder can be listed");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
