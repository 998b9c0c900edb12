//! What the tests and the benchmark share.
#![allow(dead_code, reason = "the benchmark uses a part of it")]

pub mod client;
pub mod hooks;
pub mod process;

use serde_json::{Value, json};

pub use client::{Client, signature};
pub use hooks::{Authority, HookServer};
pub use process::Site;

/// What the recorded deliveries are signed with.
pub const SECRET: &str = "sonar-webhook-secret-01";

/// The recorded deliveries: their bodies and signatures.
pub fn recorded_deliveries() -> Vec<(Vec<u8>, String)> {
    let lines = include_str!("../../recorded/webhooks.jsonl").lines();
    let parsed = lines.map(|it| serde_json::from_str::<Value>(it).expect("JSON"));
    let text = |it: &Value| it.as_str().expect("a string").to_owned();
    parsed.map(|it| (text(&it["body"]).into_bytes(), text(&it["headers"]["X-Sonar-Webhook-HMAC-SHA256"]))).collect()
}

/// The recorded failed gate, as if of another project.
pub fn delivery(project: &str) -> Vec<u8> {
    with_gate(project, 0)
}

/// The recorded passed gate, as if of another project.
pub fn passed(project: &str) -> Vec<u8> {
    with_gate(project, 1)
}

fn with_gate(project: &str, line: usize) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(&recorded_deliveries()[line].0).expect("JSON");
    body["project"]["name"] = json!(project);
    body.to_string().into_bytes()
}

/// The title of the message that `delivery` becomes.
pub fn title(project: &str) -> String {
    format!("Quality gate failed: {project}")
}

/// Waits until `condition` holds, for at most 20 s.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 20, "waited in vain until {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
