//! The decoder of mmctl's output, on what a real mmctl printed.

use serde_json::Value;
use xtask::drivers::mmctl::decode;

/// Object, array, scalar, `null` and nothing: whatever a call that succeeded prints with --json is a list, and a list of what
/// was printed.
#[test]
fn every_recorded_answer_is_decoded() {
    let (mut nulls, mut arrays, mut single) = (0, 0, 0);
    for (argv, stdout) in answers().filter(|(_, stdout)| !is_help(stdout)) {
        let decoded = decode::<Value>(&stdout).unwrap_or_else(|error| panic!("`{argv}`: {error}"));
        if stdout.trim().is_empty() {
            assert_eq!(decoded, Vec::<Value>::new(), "`{argv}` printed nothing");
            continue;
        }
        let printed: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("`{argv}`: {error}"));
        let (expected, count) = match printed {
            Value::Null => (Vec::new(), &mut nulls),
            Value::Array(values) => (values, &mut arrays),
            value => (vec![value], &mut single),
        };
        *count += 1;
        assert_eq!(decoded, expected, "`{argv}`");
    }
    assert!(nulls > 0 && arrays > 0 && single > 0, "all shapes are recorded: {nulls}, {arrays}, {single}");
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
        // Two answers of `config patch`, 25 kB each, were shortened by hand to a remark.
        let cut = call["stdout"].as_str().is_some_and(|stdout| stdout.starts_with("(cut: "));
        let answered = call["exit"] == 0 && argv.contains(&"--json") && !cut;
        answered.then(|| Some((argv.join(" "), call["stdout"].as_str()?.to_owned())))?
    })
}

fn is_help(stdout: &str) -> bool {
    stdout.contains("\nUsage:\n")
}
