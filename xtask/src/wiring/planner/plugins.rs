//! Plugins, and Mattermost's own configuration.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::settings::{Plugin, PluginValue};
use crate::wiring::plan::{Action, Fields, Hidden, Operation, Plan};

use super::{Wanted, problem};

pub(super) fn plugins(wanted: &Wanted<'_>, plan: &mut Plan) {
    let actual = &wanted.actual.plugins;
    for plugin in &wanted.settings.plugins {
        let installed = actual.installed.get(&plugin.id);
        let mut actions = Vec::new();
        let mut fields = Fields::default();
        if !plugin.version.is_empty() && installed != Some(&plugin.version) {
            fields = fields.changed("version", installed.map_or("none", String::as_str), &plugin.version);
            actions.push(Action::InstallPlugin(plugin.clone()));
        }
        let configured = settings(wanted, plugin, plan);
        // Settings come before the switch: the Jenkins plugin does not start without its URL.
        if !configured.is_empty() {
            actions.push(Action::ConfigurePlugin(plugin.clone()));
        }
        for (name, old, new) in configured {
            fields = fields.changed(&name, old, new);
        }
        let is_enabled = actual.enabled.contains(&plugin.id);
        if plugin.enabled != is_enabled {
            fields = fields.changed("enabled", is_enabled.to_string(), plugin.enabled.to_string());
            let id = plugin.id.clone();
            actions.push(if plugin.enabled { Action::EnablePlugin { id } } else { Action::DisablePlugin { id } });
        }
        if !actions.is_empty() {
            plan.steps.push(fields.step(Operation::Change, "plugin", &plugin.id, actions));
        }
    }
}

/// The settings that differ: name, old and new value in words.
fn settings(wanted: &Wanted<'_>, plugin: &Plugin, plan: &mut Plan) -> Vec<(String, String, String)> {
    let none = BTreeMap::new();
    let actual = wanted.actual.plugins.settings.get(&plugin.id).unwrap_or(&none);
    let mut differing = Vec::new();
    for (name, value) in &plugin.settings {
        let has = actual.get(name).filter(|value| !value.is_null());
        match value {
            PluginValue::Plain(value) => {
                let value = plain(value);
                if has != Some(&value) {
                    differing.push((
                        name.clone(),
                        has.map_or_else(|| "none".to_owned(), Value::to_string),
                        value.to_string(),
                    ));
                }
            }
            PluginValue::Secret(secret) => {
                let has = has.and_then(Value::as_str).filter(|text| !text.is_empty());
                match (wanted.secrets.get(&secret.secret), has) {
                    (Some(value), Some(has)) if value == has => {}
                    // Another key would make unreadable what the plugin has stored with the one it has.
                    (None, Some(has)) => adopt(plugin, name, &secret.secret, has, plan),
                    (Some(_), Some(_)) => {
                        differing.push((
                            name.clone(),
                            "another value".to_owned(),
                            format!("the secret {}", secret.secret),
                        ));
                    }
                    (_, None) => {
                        differing.push((name.clone(), "none".to_owned(), format!("the secret {}", secret.secret)))
                    }
                }
            }
        }
    }
    differing
}

fn adopt(plugin: &Plugin, name: &str, secret: &str, value: &str, plan: &mut Plan) {
    if !value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        let what = format!("the {name} that the plugin {} has cannot be a line of secrets.env", plugin.id);
        let fix = "use a value of letters, digits, dashes, dots and underscores in the System Console";
        return problem(plan, what, fix.to_owned());
    }
    let fields = Fields::default().changed(name, "not in secrets.env", format!("noted as {secret}"));
    let adopt = Action::Adopt { secret: secret.to_owned(), value: Hidden(value.to_owned()) };
    plan.steps.push(fields.step(Operation::Change, "plugin", &plugin.id, vec![adopt]));
}

/// Sections of the configuration that do nothing without a paid license. Entry mode has none of them
/// (docs.mattermost.com/product-overview/editions-and-offerings.html).
const LICENSED: &[&str] = &[
    "ClusterSettings",
    "ComplianceSettings",
    "DataRetentionSettings",
    "ElasticsearchSettings",
    "MessageExportSettings",
];

pub(super) fn configuration(wanted: &Wanted<'_>, plan: &mut Plan) {
    let mut fields = Fields::default();
    let mut values = BTreeMap::new();
    for (name, value) in &wanted.settings.configuration {
        let section = name.split_once('.').map_or("", |(section, _)| section);
        if LICENSED.contains(&section) && !wanted.actual.licensed {
            plan.notes.push(format!("{name} needs a license: Mattermost keeps it, and it does nothing without one"));
        }
        let Some(actual) = wanted.actual.configuration.get(name) else {
            let fix = "spell it as the System Console's documentation does, or remove it from [configuration]";
            problem(plan, format!("Mattermost has no setting {name}"), fix.to_owned());
            continue;
        };
        let value = plain(value);
        if *actual != value {
            fields = fields.changed(name, actual.to_string(), value.to_string());
            values.insert(name.clone(), value);
        }
    }
    if !values.is_empty() {
        plan.steps.push(fields.step(Operation::Change, "configuration", "Mattermost", vec![Action::Configure(values)]));
    }
}

/// A value of stack.toml as Mattermost's configuration has it.
pub(in crate::wiring) fn plain(value: &toml::Value) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
