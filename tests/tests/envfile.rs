//! Quoting for env files, held to the real parser: what is written is what `docker compose config` reads back.

mod common;

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::Value;
use xtask::render::envfile::{LineBreak, quote};

/// Values that broke such quoting before, here or elsewhere.
const AWKWARD: &[&str] = &[
    "",
    " ",
    "  leading and trailing  ",
    "\ttab\t",
    "'",
    "''",
    "it's",
    "\"",
    "\"quoted\"",
    "'\"'\"'",
    "$",
    "$$",
    "$$$",
    "$HOME",
    "${HOME}",
    "${HOME:-x}",
    "${HOME:?x}",
    "${",
    "$(id)",
    "`id`",
    "it's $HOME",
    "it's $$ ${HOME}",
    "it's $",
    "it's ${",
    "\\",
    "\\\\",
    "\\\\\\",
    "ends in a backslash\\",
    "ends in two\\\\",
    "\\'",
    "\\\"",
    "\\$",
    "\\${HOME}",
    "\\n",
    "\\\\n",
    "\\t\\r\\x41\\u0041\\0",
    "'\\n'",
    "#",
    "# no comment",
    "a # no comment",
    "a' # no comment",
    "a\" # no comment",
    "KEY=value",
    "export X=1",
    ": yaml",
    "%s %d",
    "!history",
    "{{ jinja }}",
    "ÄÖÜß – “quoted”",
    "漢字 🙂 \u{200d}",
    "\u{feff}bom",
    "\u{a0}no-break space\u{a0}",
    "\u{2028}line separator\u{85}",
    "\u{7f}\u{1b}[31m",
    "[{\"urls\":[\"turn:192.0.2.1:3478?transport=udp\"]}]",
    "postgres://u:p@h:5432/d?a=b&c=d",
];

/// An `env_file:` value arrives in the container as it was.
#[test]
fn compose_reads_a_quoted_value_of_an_env_file_as_it_is() {
    if !common::docker_compose_is_here("env_file values") {
        return;
    }
    for values in batches() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder.path().join("values.env"), &env_file(&values));
        write(&folder.path().join("compose.yaml"), "services: { s: { image: x, env_file: values.env } }\n");
        let read = environment(folder.path());
        for (index, value) in values.iter().enumerate() {
            assert_eq!(read(index).as_deref(), Some(value.as_str()), "in an env_file, as {:?}", quote(value));
        }
    }
}

/// The same grammar holds in `.env`, whose values go into the compose file by `${…}`.
#[test]
fn compose_reads_a_quoted_value_of_dotenv_as_it_is() {
    if !common::docker_compose_is_here(".env values") {
        return;
    }
    for values in batches() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder.path().join(".env"), &env_file(&values));
        let lines: String = (0..values.len()).map(|index| format!("      K{index}: \"${{K{index}}}\"\n")).collect();
        let service = format!("services:\n  s:\n    image: x\n    environment:\n{lines}");
        write(&folder.path().join("compose.yaml"), &service);
        let read = environment(folder.path());
        for (index, value) in values.iter().enumerate() {
            assert_eq!(read(index).as_deref(), Some(value.as_str()), "in .env, as {:?}", quote(value));
        }
    }
}

/// A value with a line break would go on as a setting of its own.
#[test]
fn a_line_break_is_refused_wherever_it_stands() {
    for value in ["\n", "a\nMM_X=y", "a\r\nb", "\rb", "it's\n", "\\\n", "nul\0nul"] {
        assert_eq!(quote(value), Err(LineBreak), "{value:?}");
    }
}

/// The quoted form is one line, so that a reader and `grep` find one value a line.
#[test]
fn a_quoted_value_is_one_line() {
    let strategy = any::<String>();
    let config = Config { failure_persistence: None, ..Config::default() };
    let property = |value: String| {
        if let Ok(quoted) = quote(&value) {
            prop_assert_eq!(quoted.lines().count(), 1);
        } else {
            prop_assert!(value.contains(['\n', '\r', '\0']));
        }
        Ok(())
    };
    TestRunner::new(config).run(&strategy, property).expect("the property holds");
}

/// The awkward values and random ones, two hundred for each call of Docker. The seed is new at every run and shown.
fn batches() -> Vec<Vec<String>> {
    let seed = match std::env::var("PROPTEST_RNG_SEED") {
        Ok(seed) => seed.parse().expect("PROPTEST_RNG_SEED is a number"),
        Err(_) => u64::from(std::process::id()),
    };
    println!("PROPTEST_RNG_SEED={seed}");
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() });
    // Mostly the characters that mean something to the parser: in any text at all they would hardly meet.
    let dense = proptest::collection::vec(
        prop_oneof![
            6 => proptest::sample::select(vec!["'", "\"", "\\", "$", "{", "}", "#", " ", "=", "`", "n", "A", "1"]),
            1 => proptest::sample::select(vec!["${HOME}", "$$", "\\n", "\\$", "é", "漢", "🙂", "\t", ":-x", "\u{a0}"]),
        ],
        0..12,
    );
    let dense = dense.prop_map(|pieces| pieces.concat());
    let any_line = "[^\\x00\\r\\n]{0,40}".prop_map(|text: String| text);
    let strategy = prop_oneof![4 => dense, 1 => any_line];
    let mut values: Vec<String> = AWKWARD.iter().map(ToString::to_string).collect();
    while values.len() < 600 {
        values.push(strategy.new_tree(&mut runner).expect("a value").current());
    }
    values.chunks(200).map(<[String]>::to_vec).collect()
}

fn env_file(values: &[String]) -> String {
    let line = |(index, value): (usize, &String)| {
        let quoted = quote(value).unwrap_or_else(|_| panic!("{value:?} has no line break"));
        format!("K{index}={quoted}\n")
    };
    values.iter().enumerate().map(line).collect()
}

/// What Compose would give to the container, by the number of the value.
///
/// `config` prints a file that Compose can read again, so it doubles every `$`; with `--no-interpolate` it would not read
/// `.env` at all, and the proof would be worth nothing.
fn environment(folder: &Path) -> impl Fn(usize) -> Option<String> {
    let mut command = Command::new("docker");
    command.args(["compose", "config", "--format", "json"]).current_dir(folder);
    // A variable that is set makes a value change that is interpolated by mistake.
    command.env("HOME", "/interpolated").env("A", "interpolated").env("n", "interpolated");
    let config: Value = serde_json::from_str(&common::stdout_of(&mut command)).expect("`config` prints JSON");
    let environment = config["services"]["s"]["environment"].clone();
    move |index| Some(environment[format!("K{index}")].as_str()?.replace("$$", "$"))
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a temporary folder is writable");
}
