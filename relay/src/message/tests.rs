use expect_test::expect_file;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::delivery::recorded;

fn rendered(body: &str) -> Value {
    let delivery = Delivery::parse(body.as_bytes()).expect("a delivery");
    serde_json::to_value(render(&delivery)).expect("JSON")
}

fn pretty(body: &str) -> String {
    // Not by way of `Value`, which sorts its keys or not, depending on what else is built.
    let delivery = Delivery::parse(body.as_bytes()).expect("a delivery");
    serde_json::to_string_pretty(&render(&delivery)).expect("JSON") + "\n"
}

#[test]
fn the_recorded_deliveries() {
    let bodies: Vec<Value> = recorded().into_iter().map(|mut it| it["body"].take()).collect();
    let body = |at: usize| bodies[at].as_str().expect("a body");
    expect_file!["../../tests/golden/failed.json"].assert_eq(&pretty(body(0)));
    expect_file!["../../tests/golden/passed.json"].assert_eq(&pretty(body(1)));
}

#[test]
fn a_pull_request_with_everything() {
    let condition = |metric, operator, value, threshold| json!({"metric": metric, "operator": operator, "value": value, "status": "ERROR", "errorThreshold": threshold});
    let mut conditions = vec![
        condition("new_coverage", "LESS_THAN", "61.29828080229226", "80"),
        condition("new_reliability_rating", "GREATER_THAN", "3", "1"),
        json!({"metric": "new_bugs", "operator": "GREATER_THAN", "value": "0", "status": "OK", "errorThreshold": "0"}),
        json!({"metric": "new_lines", "operator": "GREATER_THAN", "status": "NO_VALUE", "errorThreshold": "0"}),
    ];
    conditions.extend((0..8).map(|it| condition("new_violations", "GREATER_THAN", ["1", "2"][it % 2], "0")));
    let body = json!({
        "status": "SUCCESS",
        "analysedAt": "2026-11-22T05:35:56+0100",
        "revision": "0123456789abcdef",
        "project": {"key": "shop", "name": "Shop @channel](http://evil)\n# big", "url": "https://sonar/dashboard?id=shop"},
        "branch": {"name": "42", "type": "PULL_REQUEST", "url": "https://sonar/dashboard?id=shop&pullRequest=42"},
        "qualityGate": {"name": "Sonar way", "status": "ERROR", "conditions": conditions},
        "properties": {"sonar.analysis.buildUrl": "https://jenkins/job/shop (new)/7/", "sonar.analysis.url": "https://jenkins/job/(shop)/7/"},
    });
    expect_file!["../../tests/golden/pull-request.json"].assert_eq(&pretty(&body.to_string()));
}

#[test]
fn tasks_that_did_not_get_to_a_gate() {
    for (status, file) in [
        ("FAILED", expect_file!["../../tests/golden/task-failed.json"]),
        ("CANCELED", expect_file!["../../tests/golden/task-canceled.json"]),
        ("SUCCESS", expect_file!["../../tests/golden/no-gate.json"]),
    ] {
        let body = json!({
            "status": status,
            "project": {"key": "demo_1", "name": null, "url": "javascript:alert(1)"},
            "branch": {"name": null, "url": ""},
        });
        file.assert_eq(&pretty(&body.to_string()));
    }
}

/// Names as an attacker would choose them, among others.
fn name() -> impl Strategy<Value = String> {
    let nasty = prop_oneof![
        Just("@all"),
        Just("@"),
        Just("channel"),
        Just("<!here>"),
        Just("&#64;"),
        Just("]("),
        Just("\n"),
        Just("\u{200b}"),
        Just("https://"),
        Just("`"),
        Just("\\"),
        Just("|"),
        Just("1e999"),
        Just("-0"),
        Just("new_"),
        Just("_rating"),
        Just("\0"),
    ];
    prop_oneof![vec(nasty, 0..8).prop_map(|it| it.concat()), "\\PC{0,20}", "(?s).{0,300}"]
}

fn body() -> impl Strategy<Value = Value> {
    let condition = (name(), option::of(name()), option::of(name()), option::of(name()), name());
    let condition = condition.prop_map(|(metric, operator, value, threshold, status)| {
        json!({"metric": metric, "operator": operator, "value": value, "errorThreshold": threshold, "status": status})
    });
    let gate = (
        option::of(name()),
        prop_oneof![Just("OK".to_owned()), Just("ERROR".to_owned()), name()],
        vec(condition, 0..20),
    );
    let gate =
        gate.prop_map(|(name, status, conditions)| json!({"name": name, "status": status, "conditions": conditions}));
    let status = prop_oneof![Just("SUCCESS".to_owned()), Just("FAILED".to_owned()), name()];
    let branch = (option::of(name()), option::of(name()), option::of(name()));
    (status, [name(), name(), name()], option::of(branch), option::of(gate), [option::of(name()), option::of(name())])
        .prop_map(|(status, [key, project, url], branch, gate, [revision, date])| {
            let branch = branch.map(|(name, kind, url)| json!({"name": name, "type": kind, "url": url}));
            json!({
                "status": status, "project": {"key": key, "name": project, "url": &url}, "branch": branch,
                "qualityGate": gate, "revision": revision, "analysedAt": date,
                "properties": {"sonar.analysis.buildUrl": format!("https://x/{url}"), (key): 1},
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_comes_the_message_is_bounded_and_mentions_nobody(body in body()) {
        let message = rendered(&body.to_string());
        let text = message.to_string();
        prop_assert!(text.len() < 16_000, "{}", text.len());
        let attachment = &message["attachments"][0];
        let fields = attachment["fields"].as_array().expect("fields");
        prop_assert!(fields.len() <= MOST_FIELDS);
        let texts = fields.iter().flat_map(|it| [&it["title"], &it["value"]]);
        for text in texts.chain([&attachment["title"], &attachment["fallback"]]) {
            let text = text.as_str().expect("a string");
            prop_assert!(!text.contains(|it: char| it.is_control()), "{text:?}");
            prop_assert!(text.chars().count() <= 1200, "{text:?}");
            let mut pairs = text.chars().zip(text.chars().skip(1));
            prop_assert!(pairs.all(|(one, two)| !"@<".contains(one) || two == '\u{200b}'), "{text:?}");
            prop_assert!(!text.ends_with(['@', '<']), "{text:?}");
        }
    }
}
