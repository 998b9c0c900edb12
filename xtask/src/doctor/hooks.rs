//! The incoming webhooks and the relay, by use. Nothing is posted.

use std::time::Duration;

use serde_json::{Value, json};

use super::context::Context;
use super::problem::{Row, ok, problems};
use crate::drivers::https::{self, Site};
use crate::drivers::rest::{self, Body};

problems! {
    HOOK_UNMADE: Warn "webhooks.unmade",
        "A tool has no address to send its alerts to.",
        "An incoming webhook of stack.toml has no id in env/secrets.env.",
        "`cargo xtask wire`", Up;
    HOOK_UNKNOWN: Fail "webhooks.unknown",
        "Alerts of a tool do not arrive, and the tool gets 400.",
        "Mattermost does not know the webhook whose id is in env/secrets.env: somebody deleted it.",
        "`cargo xtask wire`, then `cargo xtask connect` for the tool: the id is a new one", Up;
    HOOKS_OFF: Fail "webhooks.off",
        "No alert arrives, and the tools get 501.",
        "Incoming webhooks are switched off in Mattermost.",
        "`cargo xtask up`, and remove what sets EnableIncomingWebhooks beside env/mattermost.env", Up;
    HOOK_STRANGE: Warn "webhooks.strange",
        "Alerts of a tool may not arrive.",
        "Mattermost answers a webhook in a way that is not known.",
        "see what it says: `cargo xtask logs mattermost`";
    RELAY_SILENT: Fail "relay.silent",
        "SonarQube's quality gates do not arrive.",
        "The relay does not answer on the network of the tools.",
        "see what it says: `cargo xtask logs relay`; then `cargo xtask up`", Up;
    RELAY_SPOOL: Fail "relay.spool",
        "SonarQube's deliveries get 503.",
        "The relay cannot write its spool: the disk is full, or its volume is broken.",
        "look at the row of the disk, then `cargo xtask up`";
    RELAY_REFUSED: Warn "relay.refused",
        "Some quality gates do not arrive.",
        "Mattermost refuses deliveries that the relay has; they stay on disk and are tried every minute.",
        "see why with `cargo xtask logs relay`; a hook that was made anew needs `cargo xtask up`", Up;
    RELAY_WAITING: Warn "relay.waiting",
        "Quality gates arrive late.",
        "Deliveries have waited in the relay for more than a minute: it cannot reach Mattermost.",
        "see why with `cargo xtask logs relay`";
    RELAY_UNSIGNED: Warn "relay.unsigned",
        "SonarQube's quality gates do not arrive, or only some.",
        "The relay has refused deliveries whose signature is missing or wrong: SonarQube has another secret, or somebody else posts there.",
        "`cargo xtask connect sonarqube`";
}

/// A channel that no team can have: names begin and end with a letter or digit.
const NO_CHANNEL: &str = "-doctor-";

/// What a hook answers to a message for a channel that does not exist, by the name of its secret. Recorded from Mattermost 11.6: a
/// hook that exists answers 404, one that does not 400; nothing is posted.
pub fn webhooks(context: &Context) -> Vec<Row> {
    let hooks = &context.stack.settings.incoming_webhooks;
    if hooks.is_empty() || context.running("mattermost").is_none() {
        return Vec::new();
    }
    let (Some(site), Ok(secrets)) = (context.site(), context.secrets()) else { return Vec::new() };
    let answers: Vec<(String, Option<u16>)> = std::thread::scope(|scope| {
        let asked = hooks.iter().map(|hook| {
            let (site, id) = (&site, secrets.get(&hook.secret));
            (hook.secret.clone(), id.map(|id| scope.spawn(move || probe(site, id))))
        });
        let asked: Vec<_> = asked.collect();
        let status = |thread: std::thread::ScopedJoinHandle<'_, u16>| thread.join().unwrap_or_default();
        asked.into_iter().map(|(name, thread)| (name, thread.map(status))).collect()
    });
    vec![judge_webhooks(&answers)]
}

fn probe(site: &Site, id: &str) -> u16 {
    let body = json!({ "text": "doctor", "channel": NO_CHANNEL });
    https::post(site, &format!("/hooks/{id}"), &body).map_or(0, |answer| answer.status().as_u16())
}

/// Names of secrets and what their hooks answered; nothing where there is no id.
pub fn judge_webhooks(answers: &[(String, Option<u16>)]) -> Row {
    let named = |wanted: fn(Option<u16>) -> bool| {
        let names = answers.iter().filter(|(_, status)| wanted(*status)).map(|(name, _)| name.as_str());
        Some(names.collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
    };
    if let Some(names) = named(|status| status == Some(501)) {
        return HOOKS_OFF.found(format!("501 from {names}"));
    }
    if let Some(names) = named(|status| status == Some(400)) {
        return HOOK_UNKNOWN.found(format!("Mattermost does not know {names}"));
    }
    if let Some(names) = named(|status| status.is_none()) {
        return HOOK_UNMADE.found(format!("secrets.env has no {names}"));
    }
    // A locked hook may refuse the channel before it looks for it.
    if let Some(names) = named(|status| !matches!(status, Some(403 | 404))) {
        return HOOK_STRANGE.found(format!("an unknown answer from {names}"));
    }
    ok("webhooks", format!("{} are known to Mattermost", answers.len()))
}

pub fn relay(context: &Context) -> Vec<Row> {
    let Some(container) = context.running("relay").filter(|container| container.health != "starting") else {
        return Vec::new();
    };
    let settings = &context.stack.settings;
    let Some(address) = container.addresses.get(&settings.network.name) else { return Vec::new() };
    let base = format!("http://{address}:{}", settings.relay.port);
    let secrets = context.secrets().cloned().unwrap_or_default();
    let relay = rest::tool("the relay", "relay.port", &base, &[], None, &secrets);
    let get = |path: &str| {
        let answer = rest::call(&relay, "GET", path, Body::None).map_err(|error| format!("{error:#}"))?;
        Ok((answer.status().as_u16(), answer.into_body()))
    };
    vec![judge_relay(get("/healthz"), get("/metrics"))]
}

type Got = Result<(u16, String), String>;

/// What `/healthz` and `/metrics` of the relay answered.
pub fn judge_relay(health: Got, metrics: Got) -> Row {
    let (status, body) = match health {
        Ok(health) => health,
        Err(error) => return RELAY_SILENT.found(error),
    };
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    if status != 200 {
        return RELAY_SPOOL.found(format!("it answers {status}, {}", body["status"].as_str().unwrap_or("unknown")));
    }
    let metrics = metrics.map(|(_, text)| text).unwrap_or_default();
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    let set_aside = value("relay_set_aside");
    if set_aside > 0 {
        return RELAY_REFUSED.found(format!("{set_aside} deliveries are refused"));
    }
    let (queued, oldest) = (value("relay_queue_length"), Duration::from_secs(value("relay_oldest_seconds")));
    if oldest > Duration::from_secs(60) {
        return RELAY_WAITING.found(format!("{queued} deliveries wait, the oldest for {} s", oldest.as_secs()));
    }
    let refused =
        value("relay_refused_total{reason=\"unsigned\"}") + value("relay_refused_total{reason=\"wrong_signature\"}");
    if refused > 0 {
        return RELAY_UNSIGNED.found(format!("{refused} deliveries without the right signature since its start"));
    }
    ok("relay", format!("{} deliveries taken since its start, {queued} wait", value("relay_deliveries_accepted_total")))
}
