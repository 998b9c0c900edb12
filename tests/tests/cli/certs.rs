//! A CA of the site's by the command line: where a passphrase comes from, and what a script gets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common;
use crate::fake::{Checkout, binary, stderr, stdout};

const PASSPHRASE: &str = "FakePassphrase0000000000000010";

/// A CA whose key is encrypted, in the checkout; nothing where there is no openssl to encrypt it.
fn given(checkout: &Checkout) -> Option<[&'static str; 7]> {
    if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: the passphrase of a key: there is no openssl on this machine");
        return None;
    }
    fs::write(checkout.path("pass"), format!("{PASSPHRASE}\n")).expect("writable");
    let key = checkout.path("site.key").display().to_string();
    let pass = format!("file:{}", checkout.path("pass").display());
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "30"]);
    command.args(["-subj", "/CN=Site CA", "-keyout", &key, "-passout", &pass]);
    fs::write(checkout.path("site.pem"), common::stdout_of(&mut command)).expect("writable");
    assert!(checkout.read("site.key").contains("BEGIN ENCRYPTED PRIVATE KEY"));
    Some(["--stack", "site", "certs", "import", "ca", "--certificate=site.pem", "--key=site.key"])
}

#[test]
fn the_passphrase_comes_from_a_file() {
    let checkout = Checkout::new();
    let Some(import) = given(&checkout) else { return };
    let assert = checkout.xtask_without_programs(&[&import[..], &["--passphrase-file=pass"]].concat()).success();
    assert!(stdout(&assert).contains("imported the CA CN=Site CA"), "{}", stdout(&assert));
    assert!(checkout.read("certs/ca.key").starts_with("-----BEGIN PRIVATE KEY-----"));
    fs::write(checkout.path("pass"), "FakeWrongPassphrase000000000011\n").expect("writable");
    let assert = checkout.xtask_without_programs(&[&import[..], &["--passphrase-file=pass"]].concat()).code(1);
    assert_eq!(
        stderr(&assert),
        "error: the passphrase does not open site.key\nhint: give the one that the key was encrypted with\n"
    );
    let assert = checkout.xtask_without_programs(&[&import[..], &["--passphrase-file=nowhere"]].concat()).code(1);
    assert!(stderr(&assert).contains("error: cannot read nowhere\n"), "{}", stderr(&assert));
}

#[test]
fn without_a_terminal_a_passphrase_needs_a_file() {
    let checkout = Checkout::new();
    let Some(import) = given(&checkout) else { return };
    let assert = checkout.xtask_without_programs(&import).code(1);
    assert_eq!(
        stderr(&assert),
        "error: site.key is encrypted, and there is no terminal to ask for its passphrase\n\
         hint: name a file with the passphrase: --passphrase-file FILE\n"
    );
    assert!(!checkout.path("certs").exists());
}

/// script(1) gives the command a terminal. What is typed does not show there.
#[test]
fn the_passphrase_is_asked_for_without_an_echo() {
    let checkout = Checkout::new();
    let Some(import) = given(&checkout) else { return };
    let line = format!("{} {}", binary().display(), import.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
    command.env("CARGO_MANIFEST_DIR", checkout.path("xtask")).current_dir(checkout.path(""));
    let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return eprintln!("SKIPPED: a terminal: script(1) does not start: {error}"),
    };
    let (mut stdin, mut stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let mut shown = String::new();
    let mut buffer = [0; 1024];
    while !shown.contains("Passphrase of site.key: ") {
        let length = stdout.read(&mut buffer).expect("readable");
        assert_ne!(length, 0, "it ended without a question: {shown}");
        shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    // The question comes a moment before the terminal hides what is typed; a person is slower.
    std::thread::sleep(Duration::from_millis(500));
    stdin.write_all(format!("{PASSPHRASE}\n").as_bytes()).expect("writable");
    stdout.read_to_string(&mut shown).expect("readable");
    assert!(child.wait().expect("it ends").success(), "{shown}");
    assert!(shown.contains("imported the CA CN=Site CA"), "{shown}");
    assert!(!shown.contains(PASSPHRASE), "{shown}");
}

/// A script pipes the request to its CA; what people read goes elsewhere.
#[test]
fn a_request_is_all_that_goes_to_stdout() {
    let checkout = Checkout::with_settings(&common::shipped_with(&[("issuer = \"own\"", "issuer = \"external\"")]));
    let assert = checkout.xtask_without_programs(&["--stack", "site", "certs", "request", "mattermost"]).success();
    assert_eq!(stdout(&assert), checkout.read("certs/mattermost/tls.csr"));
    assert!(stdout(&assert).starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    assert!(stderr(&assert).contains("for mattermost.cicd.local, "), "{}", stderr(&assert));
    // Before the answer is there `render` stops, with every name that is needed.
    let assert = checkout.xtask_without_programs(&["render"]).code(1);
    assert!(stderr(&assert).contains("certs/ca.crt is not there"), "{}", stderr(&assert));
    assert!(
        stderr(&assert).contains("hint: that of mattermost must cover mattermost.cicd.local"),
        "{}",
        stderr(&assert)
    );
}
