//! `mmctl plugin …`.

use serde_json::{Value, json};

use super::args::Args;
use super::reply::{Reply, multierror};
use super::{config as files, text};
use crate::app_error::AppError;
use crate::{Server, calls, config, plugins};

/// One object with two lists. The count is of lines that mmctl printed, not of plugins.
pub async fn list(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (mut active, mut inactive) = (Vec::new(), Vec::new());
    for manifest in plugins::installed(server).await? {
        let group = if plugins::is_active(server, text(&manifest, "id")).await { &mut active } else { &mut inactive };
        group.push(manifest);
    }
    let count = if args.json { 1 } else { 3 + active.len() + inactive.len() };
    let lines = |group: &[Value]| -> String { group.iter().map(line).collect() };
    let plain = format!("Listing enabled plugins\n{}\nListing disabled plugins\n{}", lines(&active), lines(&inactive));
    let shown = json!({"active": active, "inactive": inactive});
    Ok(Reply::list(vec![shown]).with_plain(plain).counting(count, "plugins"))
}

fn line(manifest: &Value) -> String {
    format!("{}: {}, Version: {}\n", text(manifest, "id"), text(manifest, "name"), text(manifest, "version"))
}

pub async fn add(server: &Server, args: &Args, stdin: &[u8]) -> Result<Reply, AppError> {
    let (mut said, mut errors) = (Vec::new(), Vec::new());
    for file in &args.positional {
        let bundle = match files::read(file, stdin).await {
            Ok(it) => it,
            Err(message) => return Ok(Reply::list(said).and_failed(&message)),
        };
        match install(server, &bundle, args.has("--force")).await? {
            Ok(()) => said.push(json!(format!("Added plugin: {file}"))),
            Err(error) => errors.push((format!("Unable to add plugin: {file}. Error: {error}\n"), error)),
        }
    }
    Ok(with_errors(Reply::list(said), errors))
}

async fn install(server: &Server, bundle: &[u8], force: bool) -> Result<Result<(), String>, AppError> {
    let allowed = server.flag("PluginSettings.Enable").await
        && server.flag("PluginSettings.EnableUploads").await
        && !server.flag("PluginSettings.RequirePluginSignature").await;
    if !allowed {
        return Ok(Err("Plugins and/or plugin uploads have been disabled.".to_owned()));
    }
    let manifest = match plugins::manifest(bundle) {
        Ok(it) => it,
        Err(reason) => return Ok(Err(format!("Encountered an error extracting the plugin: {reason}."))),
    };
    let id = text(&manifest, "id");
    if !force && plugins::installed(server).await?.iter().any(|it| it["id"] == id) {
        let error = "Unable to install plugin. A plugin with the same ID is already installed.";
        return Ok(Err(error.to_owned()));
    }
    server.store.install_plugin(id, &manifest).await?;
    Ok(Ok(()))
}

pub async fn set_enabled(server: &Server, args: &Args, enabled: bool) -> Result<Reply, AppError> {
    let (mut said, mut errors) = (Vec::new(), Vec::new());
    let (verb, done) = if enabled { ("enable", "Enabled") } else { ("disable", "Disabled") };
    for id in &args.positional {
        let id = id.to_lowercase();
        let known = plugins::is_prepackaged(&id) || plugins::installed(server).await?.iter().any(|it| it["id"] == id);
        if !known {
            let error = "Plugin is not installed.".to_owned();
            errors.push((format!("Unable to {verb} plugin: {id}. Error: {error}\n"), error));
            continue;
        }
        let states = json!({"PluginSettings": {"PluginStates": {id.as_str(): {"Enable": enabled}}}});
        config::apply(server, states).await?;
        if plugins::is_enabled(server, calls::PLUGIN_ID).await {
            plugins::activate_calls(server).await;
        }
        said.push(json!(format!("{done} plugin: {id}")));
    }
    Ok(with_errors(Reply::list(said), errors))
}

pub async fn delete(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let (mut said, mut errors) = (Vec::new(), Vec::new());
    for id in &args.positional {
        if server.store.plugins().await?.iter().any(|it| it["id"] == id.as_str()) {
            server.store.remove_plugin(id).await?;
            said.push(json!(format!("Deleted plugin: {id}")));
        } else if plugins::is_prepackaged(id) {
            return Ok(Reply::not_covered("plugin delete of a prepackaged plugin"));
        } else {
            let error = "Plugin is not installed.".to_owned();
            errors.push((format!("Unable to delete plugin: {id}. Error: {error}\n"), error));
        }
    }
    Ok(with_errors(Reply::list(said), errors))
}

/// Each error as it was found, in words of its own, and again all together at the end.
fn with_errors(reply: Reply, errors: Vec<(String, String)>) -> Reply {
    if errors.is_empty() {
        return reply;
    }
    let (found, messages): (Vec<String>, Vec<String>) = errors.into_iter().unzip();
    reply.complaining(&found.concat()).and_failed(&multierror(&messages))
}
