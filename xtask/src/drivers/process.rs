//! Other programs: every call has a time limit, and a timeout says which call.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::files;
use super::interrupt::interrupted;

/// What a program answered.
#[derive(Debug)]
pub struct Answer {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// The last line of what the program complained about, for an error message.
    pub fn complaint(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned()
    }
}

/// Variables of the user's environment that would silently win over a stack's own files.
const OVERRIDES: &[&str] = &[
    "COMPOSE_FILE",
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_PROFILES",
    "COMPOSE_ENV_FILES",
    "LAN_IP",
    "POSTGRES_CONTENT",
    "MATTERMOST_CONTENT",
    "COTURN_CONTENT",
    "RELAY_CONTENT",
    "RELAY_TAG",
    "RELAY_SCALE",
];

/// Runs a program to its end and captures what it says. `argv` must not hold a secret: other users can read it.
///
/// # Errors
/// When the program cannot be started, or when it is not done within `limit`. A failing program is an [`Answer`].
pub fn capture(folder: &Path, argv: &[&str], stdin: &[u8], limit: Duration) -> anyhow::Result<Answer> {
    // Who reads nothing holds our lock as long as it runs, also when we are killed meanwhile.
    let expression = match files::held().filter(|_| stdin.is_empty()) {
        Some(lock) => expression(folder, argv).stdin_file(lock),
        None => expression(folder, argv).stdin_bytes(stdin),
    };
    let handle = expression
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .start()
        .with_context(|| format!("cannot start `{}`", argv.join(" ")))?;
    let Some(output) = handle.wait_timeout(limit)? else {
        handle.kill().ok();
        bail!("`{}` was not done after {} s", argv.join(" "), limit.as_secs());
    };
    Ok(Answer {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program and hands each line that it prints, of both streams, to `line` as it comes. Returns its success.
pub fn stream(folder: &Path, argv: &[&str], limit: Duration, mut line: impl FnMut(&str)) -> anyhow::Result<bool> {
    let reader = expression(folder, argv)
        .stdin_null()
        .stderr_to_stdout()
        .unchecked()
        .reader()
        .with_context(|| format!("cannot start `{}`", argv.join(" ")))?;
    let reader = Arc::new(reader);
    let done = Arc::new(AtomicBool::new(false));
    let timed_out = Arc::new(AtomicBool::new(false));
    let watchdog = std::thread::spawn({
        let (reader, done, timed_out) = (reader.clone(), done.clone(), timed_out.clone());
        let end = Instant::now() + limit;
        move || {
            while !done.load(Ordering::Relaxed) {
                let late = Instant::now() >= end;
                if late || interrupted() {
                    timed_out.store(late, Ordering::Relaxed);
                    reader.kill().ok();
                    return;
                }
                std::thread::park_timeout(Duration::from_millis(200));
            }
        }
    });
    let mut buffered = BufReader::new(&*reader);
    let mut bytes = Vec::new();
    while buffered.read_until(b'\n', &mut bytes)? > 0 {
        line(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    done.store(true, Ordering::Relaxed);
    watchdog.thread().unpark();
    watchdog.join().ok();
    if timed_out.load(Ordering::Relaxed) {
        bail!("`{}` was not done after {} s", argv.join(" "), limit.as_secs());
    }
    Ok(reader.try_wait()?.is_some_and(|output| output.status.success()))
}

fn expression(folder: &Path, argv: &[&str]) -> duct::Expression {
    let arguments: Vec<OsString> = argv[1..].iter().map(OsString::from).collect();
    let mut expression = duct::cmd(argv[0], arguments).dir(folder);
    for name in OVERRIDES.iter().map(|name| (*name).to_owned()).chain(of_this_package()) {
        expression = expression.env_remove(name);
    }
    expression
}

/// Variables that `cargo run` and `cargo test` set for one package. A cargo below them must not inherit these: build
/// scripts watch them, and would compile their crates again at every change between the two.
pub fn of_this_package() -> impl Iterator<Item = String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

/// The names of the running processes. The kernel cuts them off after 15 bytes (proc(5), `comm`).
pub fn running() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned())
}

/// Whether a program of this name is on PATH.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
