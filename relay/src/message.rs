//! A delivery as a Mattermost message: one attachment. Pure.
//!
//! Mattermost shows the title as plain text when it is a link and as Markdown otherwise, values of fields always as
//! Markdown, and the fallback in notifications as plain text. `text` makes what comes from outside harmless in each.

mod measure;
mod text;

use serde::Serialize;

use crate::delivery::{Condition, Delivery};

use self::text::{date, http_url, markdown, plain};

const PASSED: &str = "#2e7d32";
const FAILED: &str = "#c62828";
const NO_GATE: &str = "#f9a825";

/// Mattermost recommends no more than 10.
const MOST_FIELDS: usize = 10;
/// In characters, before escaping.
const NAME: usize = 100;

/// The body of a POST to an incoming webhook.
#[derive(Debug, Serialize)]
pub struct Message {
    attachments: [Attachment; 1],
}

#[derive(Debug, Serialize)]
struct Attachment {
    fallback: String,
    /// Explicit, because the names (good, danger) look different on phones.
    color: &'static str,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title_link: Option<String>,
    fields: Vec<Field>,
    footer: &'static str,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Field {
    /// Whether another may stand beside it.
    short: bool,
    title: String,
    /// Markdown.
    value: String,
}

pub fn render(delivery: &Delivery) -> Message {
    let (what, color) = headline(delivery);
    let project = &delivery.project;
    let name = project.name.as_deref().filter(|it| !it.trim().is_empty()).unwrap_or(&project.key);
    let branch_url = delivery.branch.as_ref().and_then(|it| it.url.as_deref()).and_then(http_url);
    let title_link = branch_url.or_else(|| project.url.as_deref().and_then(http_url));
    let shown = if title_link.is_some() { plain(name, NAME) } else { markdown(name, NAME) };
    let attachment = Attachment {
        fallback: fallback(delivery, &what, name),
        color,
        title: format!("{what}: {shown}"),
        title_link,
        fields: fields(delivery),
        footer: "SonarQube",
        ts: delivery.analysed_at.as_deref().and_then(date),
    };
    Message { attachments: [attachment] }
}

fn headline(delivery: &Delivery) -> (String, &'static str) {
    let fixed = |text: &str, color| (text.to_owned(), color);
    match (&delivery.quality_gate, delivery.status.as_str()) {
        (_, "FAILED") => fixed("Analysis failed", NO_GATE),
        (_, "CANCELED") => fixed("Analysis canceled", NO_GATE),
        (Some(gate), "SUCCESS") if gate.status == "OK" => fixed("Quality gate passed", PASSED),
        (Some(_), "SUCCESS") => fixed("Quality gate failed", FAILED),
        (None, "SUCCESS") => fixed("Analysis finished, no quality gate", NO_GATE),
        (_, other) => (format!("Analysis ended with status {}", plain(other, 20)), NO_GATE),
    }
}

fn fallback(delivery: &Delivery, what: &str, name: &str) -> String {
    let branch = delivery.branch.as_ref().and_then(|it| it.name.as_deref());
    let branch = branch.map(|it| format!(" ({})", plain(it, NAME)));
    format!("{what}: {}{}", plain(name, NAME), branch.unwrap_or_default())
}

fn fields(delivery: &Delivery) -> Vec<Field> {
    let mut fields = Vec::new();
    if let Some(branch) = &delivery.branch
        && let Some(name) = branch.name.as_deref()
    {
        let pull_request = branch.kind.as_deref() == Some("PULL_REQUEST");
        fields.push(short(if pull_request { "Pull request" } else { "Branch" }, markdown(name, NAME)));
    }
    if let Some(revision) = &delivery.revision {
        let first: String = revision.chars().take(8).collect();
        fields.push(short("Revision", markdown(&first, 8)));
    }
    let gate = delivery.quality_gate.as_ref();
    if let Some(name) = gate.and_then(|it| it.name.as_deref()) {
        fields.push(short("Quality gate", markdown(name, NAME)));
    }
    if let Some(url) = build(delivery) {
        fields.push(short("Build", format!("[Open the build]({url})")));
    }
    fields.retain(|it| !it.value.is_empty());
    if delivery.task_succeeded() {
        add_conditions(&mut fields, gate.and_then(|it| it.conditions.as_deref()).unwrap_or_default());
    }
    fields
}

/// `sonar.analysis.buildUrl`, or whatever else the scanner was given that ends so.
fn build(delivery: &Delivery) -> Option<String> {
    let mut properties = delivery.properties.as_ref()?.iter();
    properties.find_map(|(key, value)| {
        let is_url = key.starts_with("sonar.analysis.") && key.to_ascii_lowercase().ends_with("url");
        is_url.then(|| http_url(value.as_str()?)).flatten()
    })
}

fn add_conditions(fields: &mut Vec<Field>, conditions: &[Condition]) {
    let failed: Vec<&Condition> = conditions.iter().filter(|it| !matches!(&*it.status, "OK" | "NO_VALUE")).collect();
    let room = MOST_FIELDS.saturating_sub(fields.len());
    // The last place says how many more there are, unless all have one.
    let shown = if failed.len() > room { room.saturating_sub(1) } else { failed.len() };
    for condition in &failed[..shown] {
        fields.push(short(&measure::name(&condition.metric), measure::verdict(condition)));
    }
    if failed.len() > shown {
        fields.push(short("And", format!("{} more failed conditions", failed.len() - shown)));
    }
}

fn short(title: &str, value: String) -> Field {
    Field { short: true, title: title.to_owned(), value }
}

#[cfg(test)]
mod tests;
