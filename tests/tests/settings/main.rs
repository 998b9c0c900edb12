//! stack.toml: the shipped file, and texts that are no settings file. Each error names the file, the line and the key and
//! says what is wrong, and its hint says what would be right.

#[path = "../common/mod.rs"]
mod common;

mod integrations;
mod values;

use expect_test::{Expect, expect};

/// Replaces a piece of the shipped file by a wrong one and compares the error with what is expected, hint last.
fn check(old: &str, new: &str, expected: Expect) {
    check_text(&common::shipped_with(&[(old, new)]), expected);
}

fn check_text(text: &str, expected: Expect) {
    match xtask::settings::parse(text, "stack.toml") {
        Ok(_) => panic!("these settings were taken for good ones"),
        Err(error) => expected.assert_eq(&format!("{error}\nhint: {}", error.hint)),
    }
}

#[test]
fn the_shipped_file_is_good() {
    common::settings(&common::shipped());
}

/// The file is the manual: every key has a comment above it or above its group. Sections beside each other under one name, such
/// as the limits, are a group, and so are the entries of one list.
#[test]
fn every_shipped_key_is_explained() {
    let (mut explained, mut group) = (false, String::new());
    for (index, line) in common::shipped().lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            explained = true;
        } else if line.is_empty() {
            explained = false;
        } else if let Some(section) = line.strip_prefix('[') {
            let is_list = section.starts_with('[');
            let parent = section.split_once('.').map_or("", |(parent, _)| parent);
            let parent = if is_list { section } else { parent }.to_owned();
            explained |= !parent.is_empty() && parent == group;
            group = parent;
        } else if line.contains('=') && !line.starts_with('{') {
            assert!(explained, "stack.toml:{}: {line} has no comment above it or its group", index + 1);
        }
    }
}

/// There is no hidden default: without any one of its lines the shipped file is no settings file any more. Entries of a list,
/// and Mattermost's own settings, are as many as somebody wants.
#[test]
fn every_shipped_key_must_be_there() {
    let shipped = common::shipped();
    let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
    for (index, line) in shipped.lines().enumerate().filter(|(_, line)| is_key(line) && !line.ends_with('[')) {
        let without: String = shipped
            .lines()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        let Err(error) = xtask::settings::parse(&without, "stack.toml") else { panic!("{line:?} can be left out") };
        let (key, _) = line.split_once(" = ").expect("it was just found");
        assert!(error.to_string().contains(&format!("missing field `{key}`")), "{line:?}: {error}");
    }
}

#[test]
fn an_unknown_key_is_refused() {
    check(
        "turn = 3478",
        "turn = 3478\nturn_tls = 5349",
        expect![[r#"
            stack.toml:35: ports.turn_tls: unknown field `turn_tls`, expected one of `mattermost`, `calls`, `metrics`, `phone`, `turn`, `turn_relay_first`, `turn_relay_last`
            hint: remove the key, or spell it as the shipped stack.toml does"#]],
    );
}

#[test]
fn an_unknown_key_at_the_top_is_refused() {
    check(
        "language = \"en\"",
        "langauge = \"en\"",
        expect![[r#"
            stack.toml:12: langauge: unknown field `langauge`, expected one of `name`, `domain`, `site_name`, `language`, `lan`, `administrator`, `ports`, `network`, `turn`, `certificates`, `mattermost`, `postgres`, `jenkins`, `gitlab`, `sonarqube`, `relay`, `limits`, `teams`, `bots`, `incoming_webhooks`, `outgoing_webhooks`, `slash_commands`, `plugins`, `configuration`
            hint: remove the key, or spell it as the shipped stack.toml does"#]],
    );
}

#[test]
fn an_unknown_section_is_refused() {
    check(
        "[certificates]",
        "[certificate]",
        expect![[r#"
            stack.toml:54: certificate: unknown field `certificate`, expected one of `name`, `domain`, `site_name`, `language`, `lan`, `administrator`, `ports`, `network`, `turn`, `certificates`, `mattermost`, `postgres`, `jenkins`, `gitlab`, `sonarqube`, `relay`, `limits`, `teams`, `bots`, `incoming_webhooks`, `outgoing_webhooks`, `slash_commands`, `plugins`, `configuration`
            hint: remove the key, or spell it as the shipped stack.toml does"#]],
    );
}

#[test]
fn a_missing_key_is_named_with_its_section() {
    check(
        "turn = 3478\n",
        "",
        expect![[r#"
        stack.toml:24: ports: missing field `turn`
        hint: every key must be there: `git show HEAD:stack.toml` shows the shipped file"#]],
    );
}

#[test]
fn a_missing_key_at_the_top_is_named() {
    check(
        "domain = \"cicd.local\"\n",
        "",
        expect![[r#"
        stack.toml:1: missing field `domain`
        hint: every key must be there: `git show HEAD:stack.toml` shows the shipped file"#]],
    );
}

#[test]
fn a_text_in_place_of_a_number_is_refused() {
    check(
        "mattermost = 8065",
        "mattermost = \"8065\"",
        expect![[r#"
            stack.toml:26: ports.mattermost: invalid type: string "8065", expected a whole number from 0 to 65535
            hint: mend line 26: mattermost = "8065""#]],
    );
}

#[test]
fn a_port_above_65535_is_refused() {
    check(
        "mattermost = 8065",
        "mattermost = 80650",
        expect![[r#"
            stack.toml:26: ports.mattermost: invalid value: integer `80650`, expected a whole number from 0 to 65535
            hint: mend line 26: mattermost = 80650"#]],
    );
}

#[test]
fn a_text_in_place_of_a_switch_is_refused() {
    check(
        "latex = true",
        "latex = \"yes\"",
        expect![[r#"
            stack.toml:68: mattermost.latex: invalid type: string "yes", expected a boolean
            hint: mend line 68: latex = "yes""#]],
    );
}

#[test]
fn an_ipv6_address_of_the_lan_is_refused_clearly() {
    check(
        "addresses = \"auto\"",
        "addresses = [\"fd00::10\"]",
        expect![[r#"
            stack.toml:17: lan.addresses: is neither "auto" nor a list of IPv4 addresses; IPv6 is not supported
            hint: mend line 17: addresses = ["fd00::10"]"#]],
    );
}

#[test]
fn a_lan_that_is_neither_auto_nor_a_list_is_refused() {
    check(
        "addresses = \"auto\"",
        "addresses = \"192.168.1.10\"",
        expect![[r#"
            stack.toml:17: lan.addresses: is neither "auto" nor a list of IPv4 addresses; IPv6 is not supported
            hint: mend line 17: addresses = "192.168.1.10""#]],
    );
}

#[test]
fn a_way_of_threads_that_mattermost_does_not_know_is_refused() {
    check(
        "collapsed_threads = \"always_on\"",
        "collapsed_threads = \"on\"",
        expect![[r#"
            stack.toml:75: mattermost.collapsed_threads: unknown variant `on`, expected one of `disabled`, `default_off`, `default_on`, `always_on`
            hint: mend line 75: collapsed_threads = "on""#]],
    );
}

#[test]
fn an_unknown_key_of_a_team_is_refused() {
    let team = "[[teams]]\nname = \"a\"\ndisplay_name = \"A\"\npeople = []\nchannels = []\nicon = \"x\"\n";
    check_text(
        &format!("{}\n{team}", common::shipped()),
        expect![[r#"
            stack.toml:292: unknown field `icon`, expected one of `name`, `display_name`, `people`, `channels`
            hint: remove the key, or spell it as the shipped stack.toml does"#]],
    );
}

#[test]
fn a_quote_that_is_not_closed_is_a_syntax_error() {
    check(
        "domain = \"cicd.local\"",
        "domain = \"cicd.local",
        expect![[r#"
        stack.toml:8: invalid basic string, expected `"`
        hint: mend line 8: domain = "cicd.local"#]],
    );
}

#[test]
fn a_key_that_is_there_twice_is_a_syntax_error() {
    check(
        "turn = 3478",
        "turn = 3478\nturn = 3479",
        expect![[r#"
            stack.toml:35: duplicate key
            hint: mend line 35: turn = 3479"#]],
    );
}

#[test]
fn an_empty_file_is_refused() {
    check_text(
        "",
        expect![[r#"
        stack.toml:1: missing field `name`
        hint: every key must be there: `git show HEAD:stack.toml` shows the shipped file"#]],
    );
}
