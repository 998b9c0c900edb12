//! One line each to stderr. No line has a payload, a hook's id or a secret; Docker adds the time.

use std::fmt::Display;
use std::io::Write as _;

pub fn info(message: impl Display) {
    line("INFO", message);
}

pub fn warning(message: impl Display) {
    line("WARN", message);
}

pub fn error(message: impl Display) {
    line("ERROR", message);
}

fn line(level: &str, message: impl Display) {
    // Some messages quote an error of another crate, which may have several lines.
    let text = format!("{level} {message}").replace(['\n', '\r'], " ") + "\n";
    // Who closed stderr does not want to read; the service goes on.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
