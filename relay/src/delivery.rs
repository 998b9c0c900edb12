//! What SonarQube sends, as far as a message needs it.
//!
//! Source: deliveries of SonarQube 25.1, recorded in tests/recorded/webhooks.jsonl. Every value is a string. What other
//! versions, failed tasks and issue changes leave out is optional here, and what they add is ignored.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The body of one POST.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The status of the background task: SUCCESS, FAILED or CANCELED.
    pub status: String,
    pub project: Project,
    /// `2026-11-22T04:35:56+0000`.
    pub analysed_at: Option<String>,
    pub revision: Option<String>,
    pub branch: Option<Branch>,
    /// Absent when the task failed, and for a project without a gate.
    pub quality_gate: Option<QualityGate>,
    /// The scanner's properties whose names start with `sonar.analysis.`.
    pub properties: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
pub struct Project {
    pub key: String,
    pub name: Option<String>,
    pub url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Branch {
    pub name: Option<String>,
    /// BRANCH or PULL_REQUEST.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct QualityGate {
    pub name: Option<String>,
    /// OK or ERROR.
    pub status: String,
    pub conditions: Option<Vec<Condition>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    pub metric: String,
    /// OK, ERROR or NO_VALUE; the last has no `value`.
    pub status: String,
    /// GREATER_THAN or LESS_THAN: when the condition fails.
    pub operator: Option<String>,
    pub value: Option<String>,
    pub error_threshold: Option<String>,
}

/// Which hook a delivery goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The gate passed, or the project has none.
    Passed,
    /// The gate failed, or the task did not get that far.
    Failed,
}

/// Why signed bytes are refused. Neither holds a piece of them, so both can be logged.
#[derive(Debug, PartialEq, Eq)]
pub enum NotADelivery {
    Malformed,
    Unexpected,
}

impl Delivery {
    pub fn parse(body: &[u8]) -> Result<Delivery, NotADelivery> {
        serde_json::from_slice(body)
            .map_err(|it| if it.is_data() { NotADelivery::Unexpected } else { NotADelivery::Malformed })
    }

    pub fn outcome(&self) -> Outcome {
        match &self.quality_gate {
            _ if !self.task_succeeded() => Outcome::Failed,
            Some(gate) if gate.status != "OK" => Outcome::Failed,
            Some(_) | None => Outcome::Passed,
        }
    }

    pub fn task_succeeded(&self) -> bool {
        self.status == "SUCCESS"
    }
}

/// The recorded deliveries, one JSON value each.
#[cfg(test)]
pub fn recorded() -> Vec<serde_json::Value> {
    let lines = include_str!("../tests/recorded/webhooks.jsonl").lines();
    lines.map(|it| serde_json::from_str(it).expect("a line of JSON")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(body: &str) -> Result<Outcome, NotADelivery> {
        Delivery::parse(body.as_bytes()).map(|it| it.outcome())
    }

    #[test]
    fn the_gate_and_the_task_decide() {
        let bodies = recorded().into_iter().map(|it| it["body"].as_str().expect("a body").to_owned());
        let outcomes: Vec<_> = bodies.map(|it| outcome(&it)).collect();
        assert_eq!(outcomes, [Ok(Outcome::Failed), Ok(Outcome::Passed)]);
        assert_eq!(outcome(r#"{"status": "SUCCESS", "project": {"key": "a"}}"#), Ok(Outcome::Passed));
        assert_eq!(outcome(r#"{"status": "FAILED", "project": {"key": "a"}}"#), Ok(Outcome::Failed));
        assert_eq!(outcome(r#"{"status": "CANCELED", "project": {"key": "a"}}"#), Ok(Outcome::Failed));
    }

    #[test]
    fn absent_null_and_unknown_fields_are_tolerated() {
        let body = r#"{"status": "SUCCESS", "project": {"key": "a", "name": null, "new": 1}, "branch": {"name": null},
            "qualityGate": {"status": "OK", "conditions": [{"metric": "m", "status": "NO_VALUE", "onLeakPeriod": true}]},
            "properties": null, "somethingNew": {"a": [1]}}"#;
        assert_eq!(outcome(body), Ok(Outcome::Passed));
    }

    #[test]
    fn malformed_is_told_from_unexpected() {
        for body in ["", "{", "{]", "nonsense"] {
            assert_eq!(outcome(body), Err(NotADelivery::Malformed), "{body}");
        }
        // Nested deeper than any delivery: refused before the stack is used up.
        assert!(outcome(&"[".repeat(100_000)).is_err());
        for body in ["{}", "[]", "1", r#"{"text": "hello"}"#, r#"{"status": "SUCCESS", "project": 1}"#] {
            assert_eq!(outcome(body), Err(NotADelivery::Unexpected), "{body}");
        }
    }
}
