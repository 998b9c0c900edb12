//! Errors with a hint: what to do next, printed as the last line.

use std::fmt;
use std::thread::ScopedJoinHandle;

use crate::settings::Invalid;

/// An error and the next step out of it.
#[derive(Debug)]
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Adds a hint line to an error.
pub trait Hint<T> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Hint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| hinted(error, hint))
    }
}

/// The error with a hint line.
pub fn hinted(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted { error: error.into(), hint: hint.into() })
}

/// Whether the error already says what to do next.
pub fn has_hint(error: &anyhow::Error) -> bool {
    hint_of(error).is_some()
}

/// What the error says to do next.
pub fn hint_of(error: &anyhow::Error) -> Option<&str> {
    let invalid = find::<Invalid>(error).map(|invalid| invalid.hint.as_str());
    invalid.or_else(|| find::<Hinted>(error).map(|hinted| hinted.hint.as_str()))
}

/// What a thread came to; one that panicked is an error of its own.
pub fn joined<T>(thread: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
}

/// Prints the error, its causes and its hint to stderr and returns the exit status: 2 for wrong settings, otherwise 1.
pub fn report(error: &anyhow::Error) -> u8 {
    eprintln!("error: {error}");
    let mut shown = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !shown.contains(&text) {
            eprintln!("  caused by: {text}");
            shown = text;
        }
    }
    if let Some(hint) = hint_of(error) {
        eprintln!("hint: {hint}");
    }
    if find::<Invalid>(error).is_some() { 2 } else { 1 }
}

/// Finds a type in the chain, also below a hint, whose own error is not part of anyhow's chain.
fn find<T: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&T> {
    error.downcast_ref::<T>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<T>())).or_else(|| {
        let hinted = error.downcast_ref::<Hinted>()?;
        find::<T>(&hinted.error)
    })
}
