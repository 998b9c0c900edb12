//! The decoder of mmctl's output, on what a real mmctl printed.

use serde_json::Value;
use xtask::drivers::mmctl::decode;

/// Object, array, scalar, `null` and nothing: whatever a call that succeeded prints with --json is a list, and a list of what
/// was printed.
#[test]
fn every_recorded_answer_is_decoded() {
    let mut seen = [0; 4];
    for (argv, stdout) in answers().filter(|(_, stdout)| !is_help(stdout)) {
        let decoded = decode::<Value>(&stdout).unwrap_or_else(|error| panic!("`{argv}`: {error}"));
        let expected = match serde_json::from_str::<Value>(&stdout) {
            Err(_) => {
                assert!(stdout.trim().is_empty(), "`{argv}` printed neither JSON nor nothing");
                seen[0] += 1;
                Vec::new()
            }
            Ok(Value::Null) => {
                seen[1] += 1;
                Vec::new()
            }
            Ok(Value::Array(values)) => {
                seen[2] += 1;
                values
            }
            Ok(value) => {
                seen[3] += 1;
                vec![value]
            }
        };
        assert_eq!(decoded, expected, "`{argv}`");
    }
    assert!(seen.iter().all(|count| *count > 0), "nothing, null, arrays and single values are all recorded: {seen:?}");
}

/// A wrong subcommand prints help and exits 0: taken for an empty list, it would pass for "there is none".
#[test]
fn help_in_place_of_an_answer_is_an_error() {
    let helps: Vec<_> = answers().filter(|(_, stdout)| is_help(stdout)).collect();
    assert!(!helps.is_empty(), "a call that printed its help is recorded");
    for (argv, stdout) in helps {
        assert!(decode::<Value>(&stdout).is_err(), "`{argv}` was taken for an answer");
    }
}

/// Calls that exited 0 with --json, and what they printed.
fn answers() -> impl Iterator<Item = (String, String)> {
    include_str!("../contract/mattermost-11.6/mmctl.jsonl").lines().filter_map(|line| {
        let call: Value = serde_json::from_str(line).expect("each line of the contract is JSON");
        let argv: Vec<_> = call["argv"].as_array()?.iter().filter_map(Value::as_str).collect();
        let answered = call["exit"] == 0 && argv.contains(&"--json");
        answered.then(|| Some((argv.join(" "), call["stdout"].as_str()?.to_owned())))?
    })
}

fn is_help(stdout: &str) -> bool {
    stdout.contains("\nUsage:\n")
}
