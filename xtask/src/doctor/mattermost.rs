//! Mattermost: whether it answers, what it was started with, its wiring, plugins and license.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::context::Context;
use super::problem::{Row, ok, problems};
use crate::drivers::docker::Inspected;
use crate::drivers::https;
use crate::drivers::mmctl::mmctl;
use crate::drivers::process;
use crate::render::envfile;
use crate::secrets::ADMIN_TOKEN;
use crate::verify;
use crate::wiring::plan::Plan;
use crate::wiring::{planner, read};

problems! {
    MM_SILENT: Fail "mattermost.silent",
        "Nobody can log in.",
        "Mattermost does not answer over HTTPS on the LAN address.",
        "see what it says: `cargo xtask logs mattermost`; then `cargo xtask up`";
    MM_UNHEALTHY: Fail "mattermost.unhealthy",
        "Messages are not sent, or files cannot be opened.",
        "Mattermost answers that its database or its file store does not work.",
        "see what it says: `cargo xtask logs mattermost`";
    MM_ORIGIN: Fail "mattermost.origin",
        "The page loads and then says \"Connecting…\" or \"Cannot connect to Mattermost\"; calls say \"ws error\".",
        "The WebSocket refuses the origin of the address that clients use.",
        "`cargo xtask up`, which writes the origins of today's addresses", Up;
    MM_ANY_ORIGIN: Fail "mattermost.any-origin",
        "None; any page that a user opens can act in that user's name.",
        "The WebSocket opens for pages of other sites.",
        "remove what sets AllowCorsFrom beside env/mattermost.env (a compose override?), then `cargo xtask up`";
    ENV_OLD: Fail "environment.old",
        "A change of stack.toml has no effect.",
        "Mattermost was started with other values than env/mattermost.env has now.",
        "`cargo xtask up`", Up;
    ENV_FOREIGN: Warn "environment.foreign",
        "A setting in stack.toml or in the System Console has no effect.",
        "Something else than env/mattermost.env sets a variable of Mattermost, and the environment always wins.",
        "remove {names} from the compose override (or wherever it is set), then `cargo xtask up`";
    ENV_PLUGINS: Fail "environment.plugins",
        "Plugins lose their settings at every start.",
        "MM_PLUGINSETTINGS_PLUGINS or _PLUGINSTATES is set: it undoes what mmctl and the System Console set.",
        "remove it from the compose override (or wherever it is set), then `cargo xtask up`";
    WIRING_DRIFT: Warn "wiring.drift",
        "A channel, bot or webhook is missing or is not as agreed; alerts do not arrive.",
        "Mattermost has something else than stack.toml says.",
        "see it with `cargo xtask wire --plan`, mend it with `cargo xtask wire`", Up;
    WIRING_BLOCKED: Fail "wiring.blocked",
        "`up` and `wire` refuse to go on.",
        "Something has to be decided first, for example about an archived channel with the same name.",
        "{fix}";
    WIRING_TOKEN: Warn "wiring.token",
        "`doctor` cannot compare the wiring.",
        "The administrator's access token is not in env/secrets.env, or Mattermost refuses it.",
        "`cargo xtask wire --plan` makes another one", Up;
    WIRING_UNREAD: Fail "wiring.unread",
        "`wire` fails.",
        "Mattermost does not say what it has.",
        "see what it says: `cargo xtask logs mattermost`";
    PLUGIN_INACTIVE: Fail "plugins.inactive",
        "What the plugin does is gone: without Calls there is no call button.",
        "A plugin that this stack needs is not active.",
        "see why with `cargo xtask logs mattermost`, then: docker exec {container} mmctl --local plugin enable {plugin}";
    PLUGIN_UNLISTED: Fail "plugins.unlisted",
        "None known.",
        "Mattermost does not list its plugins.",
        "see what it says: `cargo xtask logs mattermost`";
}

pub const CALLS: &str = "com.mattermost.calls";

/// What clients get: the ping, the origins of the WebSocket, the license.
pub fn check(context: &Context) -> Vec<Row> {
    if context.running("mattermost").is_none() {
        return Vec::new();
    }
    let (Some(site), Ok(host)) = (context.site(), context.host()) else { return Vec::new() };
    let ping = https::get(&site, "/api/v4/system/ping?get_server_status=true", None);
    let ping = ping.map(|answer| (answer.status().as_u16(), https::json(&answer).unwrap_or_default()));
    let row = judge_ping(ping.map_err(|error| format!("{error:#}")));
    if row.problem.0.is_some() {
        return vec![row];
    }
    let settings = &context.stack.settings;
    let own = format!("https://{}:{}", host.lan_ip(), settings.ports.mattermost);
    let own = [own, settings.site_url()].map(|origin| {
        let status = https::websocket_status(&site, &origin).unwrap_or_default();
        (origin, status)
    });
    let stranger = https::websocket_status(&site, "https://stranger.invalid").unwrap_or_default();
    vec![row, judge_origins(&own, stranger), judge_license(&verify::license(&site).unwrap_or_default())]
}

/// Status and body of the ping with the server's status.
pub fn judge_ping(answer: Result<(u16, Value), String>) -> Row {
    match answer {
        Ok((200, body)) if body["status"] == "OK" => ok("mattermost", "answers over TLS on the LAN address"),
        Ok((status, body)) => {
            let of = |key: &str| body[key].as_str().unwrap_or("unknown").to_owned();
            let finding =
                format!("ping {status}, database {}, files {}", of("database_status"), of("filestore_status"));
            MM_UNHEALTHY.found(finding)
        }
        Err(error) => MM_SILENT.found(error),
    }
}

/// Status of the handshake from each of our origins, and from a stranger's.
pub fn judge_origins(own: &[(String, u16)], stranger: u16) -> Row {
    if let Some((origin, status)) = own.iter().find(|(_, status)| *status != 101) {
        return MM_ORIGIN.found(format!("the WebSocket answered {status} to the origin {origin}"));
    }
    if stranger == 101 {
        return MM_ANY_ORIGIN.found("the WebSocket opened for https://stranger.invalid");
    }
    ok("mattermost", format!("the WebSocket opens for our origins, and answers {stranger} to another"))
}

/// The client's view of the license.
pub fn judge_license(license: &Value) -> Row {
    if license["IsLicensed"] == "true" {
        let sku = license["SkuShortName"].as_str().unwrap_or("some");
        return ok("license", format!("licensed ({sku})"));
    }
    ok("license", "none; the row calls says what that means for calls")
}

/// What Mattermost was started with, compared with what env/mattermost.env says.
pub fn environment(context: &Context) -> Vec<Row> {
    let Some(container) = context.running("mattermost") else { return Vec::new() };
    let path = context.stack.root.join("env/mattermost.env");
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let Ok(base) = base_environment(container) else { return Vec::new() };
    vec![judge_environment(&container.environment, &text, &base)]
}

/// What the image itself sets: no surprise, whatever it is.
fn base_environment(container: &Inspected) -> anyhow::Result<Vec<String>> {
    let argv = ["docker", "image", "inspect", "--format", "{{json .Config.Env}}", &container.image_id];
    let answer = process::capture(Path::new("/"), &argv, b"", Duration::from_secs(10))?;
    let variables: Option<Vec<String>> = serde_json::from_str(answer.stdout.trim())?;
    let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
    Ok(variables.unwrap_or_default().iter().map(name).collect())
}

/// `running` is the container's environment, `file` the text of env/mattermost.env, `of_image` names that the image sets. Only
/// names are ever shown: values may be secrets.
pub fn judge_environment(running: &[(String, String)], file: &str, of_image: &[String]) -> Row {
    let wanted: BTreeMap<&str, String> = envfile::values(file).filter(|(name, _)| name.starts_with("MM_")).collect();
    let running: BTreeMap<&str, &str> = running.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let is_ours = |name: &str| name.starts_with("MM_") && !of_image.iter().any(|of_image| of_image == name);
    let foreign: Vec<&str> =
        running.keys().filter(|name| is_ours(name) && !wanted.contains_key(*name)).copied().collect();
    let undoes = |name: &&&str| name.starts_with("MM_PLUGINSETTINGS_PLUGIN");
    if let Some(name) = foreign.iter().find(undoes) {
        return ENV_PLUGINS.found(format!("{name} is set"));
    }
    let differs = |(name, value): &(&&str, &String)| running.get(**name) != Some(&value.as_str());
    let old: Vec<&str> = wanted.iter().filter(differs).map(|(name, _)| *name).collect();
    if !old.is_empty() {
        return ENV_OLD.found(format!("it runs with another {}", old.join(", ")));
    }
    if !foreign.is_empty() {
        let names = foreign.join(", ");
        return ENV_FOREIGN.found(format!("not from env/mattermost.env: {names}")).with("names", names);
    }
    ok("environment", format!("{} variables, as env/mattermost.env says", wanted.len()))
}

/// The wiring and the plugins.
pub fn wiring(context: &Context) -> Vec<Row> {
    let Some(container) = context.running("mattermost").filter(|container| container.health != "starting") else {
        return Vec::new();
    };
    let wanted: Vec<&str> =
        context.stack.settings.plugins.iter().filter(|it| it.enabled).map(|it| it.id.as_str()).collect();
    std::thread::scope(|scope| {
        let plugins = scope.spawn(|| {
            let listed = mmctl::<Value>(&container.name, &["plugin", "list"]).map_err(|error| format!("{error:#}"));
            judge_plugins(listed.as_deref().map_err(String::as_str), &wanted, &container.name)
        });
        let mut rows = vec![compare(context)];
        rows.extend(plugins.join().ok());
        rows
    })
}

fn compare(context: &Context) -> Row {
    let Ok(secrets) = context.secrets() else { return WIRING_TOKEN.found("secrets.env is unreadable") };
    if secrets.get(ADMIN_TOKEN).is_none() {
        return WIRING_TOKEN.found(format!("secrets.env has no {ADMIN_TOKEN}"));
    }
    let rest = match read::known(&context.stack, secrets) {
        Ok(Some(rest)) => rest,
        Ok(None) => return WIRING_TOKEN.found(format!("Mattermost refuses {ADMIN_TOKEN}")),
        Err(error) => return WIRING_UNREAD.found(format!("{error:#}")),
    };
    match read::read(&context.stack, secrets, &rest) {
        Ok(actual) => judge_plan(&planner::plan(&context.stack.settings, secrets, &actual)),
        Err(error) => WIRING_UNREAD.found(format!("{error:#}")),
    }
}

pub fn judge_plan(plan: &Plan) -> Row {
    if let Some(problem) = plan.problems.first() {
        return WIRING_BLOCKED.found(problem.what.clone()).with("fix", &problem.fix);
    }
    if plan.is_empty() {
        return ok("wiring", "Mattermost has what stack.toml says");
    }
    let shown: Vec<String> =
        plan.steps.iter().take(3).map(|step| format!("{} {}", step.change.kind, step.change.name)).collect();
    let more = if plan.steps.len() > 3 { format!(" and {} more", plan.steps.len() - 3) } else { String::new() };
    WIRING_DRIFT.found(format!("differs: {}{more}", shown.join(", ")))
}

/// `listed` is what `mmctl plugin list` printed: one object with `active` and `inactive`.
pub fn judge_plugins(listed: Result<&[Value], &str>, wanted: &[&str], container: &str) -> Row {
    let listed = match listed {
        Ok(listed) => listed.first().unwrap_or(&Value::Null),
        Err(error) => return PLUGIN_UNLISTED.found(error),
    };
    let active: Vec<&str> =
        listed["active"].as_array().into_iter().flatten().filter_map(|plugin| plugin["id"].as_str()).collect();
    let missing = [CALLS].iter().chain(wanted).find(|id| !active.contains(id));
    match missing {
        Some(id) => {
            PLUGIN_INACTIVE.found(format!("{id} is not active")).with("container", container).with("plugin", id)
        }
        None => ok("plugins", format!("active: {}", active.join(", "))),
    }
}
