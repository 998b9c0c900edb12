//! mmctl, inside the container, over the local socket: no password and no token is needed. By `docker exec`, which starts
//! half a tenth of a second sooner than `docker compose exec`.
//!
//! Recorded from Mattermost 11.6: output is an object, an array, `null` or nothing, whatever the command; counts and
//! complaints go to stderr, which is no sign of failure. The exit status is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::process;

/// One call takes 0.2 s, nearly all of it starting processes; a bot that owns itself never answers.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs mmctl and decodes what it prints, always as a list.
///
/// # Errors
/// When it fails, with its own words, or is not done within 30 s.
pub fn mmctl<T: DeserializeOwned>(container: &str, arguments: &[&str]) -> anyhow::Result<Vec<T>> {
    run(&["docker", "exec", container, "mmctl", "--local", "--json"], arguments, b"", LIMIT)
}

/// The same with something to read at /dev/stdin: a secret must not be in argv, and a bundle of a plugin is no argument.
pub fn mmctl_with<T: DeserializeOwned>(container: &str, arguments: &[&str], stdin: &[u8]) -> anyhow::Result<Vec<T>> {
    // A bundle of 100 MB is unpacked by the server before it answers.
    const LIMIT: Duration = Duration::from_secs(300);
    run(&["docker", "exec", "--interactive", container, "mmctl", "--local", "--json"], arguments, stdin, LIMIT)
}

fn run<T: DeserializeOwned>(
    program: &[&str],
    arguments: &[&str],
    stdin: &[u8],
    limit: Duration,
) -> anyhow::Result<Vec<T>> {
    let argv = [program, arguments].concat();
    // Values of flags may be long or private; the words before the first flag name the call.
    let call =
        arguments.iter().take_while(|argument| !argument.starts_with("--")).copied().collect::<Vec<_>>().join(" ");
    let answer = process::capture(Path::new("/"), &argv, stdin, limit)
        .map_err(|_| anyhow::anyhow!("`mmctl {call}` was not done after {} s", limit.as_secs()))?;
    if !answer.success {
        bail!("`mmctl {call}`: {}", complaint(&answer.stderr));
    }
    decode(&answer.stdout).with_context(|| format!("`mmctl {call}` printed something unexpected"))
}

/// An object, an array, `null` or nothing, as a list.
pub fn decode<T: DeserializeOwned>(stdout: &str) -> anyhow::Result<Vec<T>> {
    if stdout.trim().is_empty() {
        return Ok(Vec::new());
    }
    match serde_json::from_str(stdout)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.into_iter().map(|value| Ok(serde_json::from_value(value)?)).collect(),
        value => Ok(vec![serde_json::from_value(value)?]),
    }
}

/// `Error: 1 error occurred:\n\t* can't find user 'ghost'` says it in its last line; others in their only one.
fn complaint(stderr: &str) -> String {
    let line = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
    line.trim_start_matches("Error: ").trim_start_matches("* ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_shapes_are_lists() {
        assert_eq!(decode::<Value>("null\n").expect("null").len(), 0);
        assert_eq!(decode::<Value>("").expect("nothing").len(), 0);
        assert_eq!(decode::<Value>("{}").expect("an object").len(), 1);
        assert_eq!(decode::<Value>("[1, 2]").expect("an array").len(), 2);
        assert!(decode::<Value>("Usage:").is_err());
    }

    #[test]
    fn a_complaint_is_one_sentence() {
        assert_eq!(complaint("Error: invalid key\n"), "invalid key");
        assert_eq!(complaint("Error: 1 error occurred:\n\t* can't find user 'ghost'\n\n\n"), "can't find user 'ghost'");
    }
}
