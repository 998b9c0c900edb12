//! What the user sees while something runs, and what is asked of them.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// One line about what happens now, on stderr: stdout is for results.
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// Runs a step; when it takes longer than two seconds, says what it waits for and for how long, again and again.
pub fn waiting<T>(what: &str, step: impl FnOnce() -> T) -> T {
    let (done, wait) = mpsc::channel::<()>();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut pause = Duration::from_secs(2);
            while wait.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                eprintln!("  … {what} ({} s)", start.elapsed().as_secs());
                pause = Duration::from_secs(10);
            }
        });
        let result = step();
        drop(done);
        result
    })
}

/// Whether somebody sits there who can answer.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question to be answered by `yes`. Anything else is a no.
pub fn ask(question: &str) -> anyhow::Result<bool> {
    eprint!("{question} [yes/no] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

/// Asks for something that must not be seen. Ctrl-C ends the program, and the terminal shows again what is typed.
pub fn ask_hidden(question: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(question).context("cannot read from the terminal")
}
