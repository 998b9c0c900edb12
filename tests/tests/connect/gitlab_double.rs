//! A GitLab that keeps settings, integrations and applications, and refuses what GitLab refuses.
//!
//! Paths, parameters and shapes are those of GitLab's documentation of its API; nothing here is recorded. The words of its
//! 404s are not documented: where they are others, the PUT finds what the GET did not.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::double::{self, Double, Reply, Request, lock, reply};

/// What the double keeps, and how it behaves.
pub struct Server {
    pub administrator: bool,
    /// GitLab's own rule: a webhook on a private address is refused without a reason.
    pub settings: Value,
    pub integrations: Vec<(String, Value)>,
    pub applications: Vec<Value>,
    pub renews: bool,
    pub refusals: Vec<(&'static str, &'static str, Reply)>,
}

pub fn start() -> (Arc<Mutex<Server>>, Double) {
    let server = Arc::new(Mutex::new(Server {
        administrator: true,
        settings: json!({
            "allow_local_requests_from_web_hooks_and_services": false,
            "outbound_local_requests_allowlist_raw": "runner.cicd.local",
        }),
        integrations: Vec::new(),
        applications: Vec::new(),
        renews: true,
        refusals: Vec::new(),
    }));
    let double = double::http({
        let server = server.clone();
        move |request| answer(&mut lock(&server), request)
    });
    (server, double)
}

pub fn message(status: u16, text: &str) -> Reply {
    reply(status, json!({ "message": text }).to_string())
}

fn answer(server: &mut Server, request: &Request) -> Reply {
    if request.header("private-token") != Some("glpat-FakeGitlabToken000006") {
        return message(401, "401 Unauthorized");
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let refused = |(method, start, _): &&(&str, &str, Reply)| *method == request.method && path.starts_with(start);
    if let Some((_, _, reply)) = server.refusals.iter().find(refused) {
        return reply.clone();
    }
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    if path.ends_with("/integrations/mattermost") {
        return integration(server, request, path, body);
    }
    if !server.administrator {
        return message(403, "403 Forbidden");
    }
    match (request.method.as_str(), path) {
        ("GET", "/api/v4/application/settings") => reply(200, server.settings.to_string()),
        ("PUT", "/api/v4/application/settings") => {
            let list = "outbound_local_requests_allowlist_raw";
            server.settings[list] = body[list].clone();
            reply(200, server.settings.to_string())
        }
        ("GET", "/api/v4/applications") => {
            let page: usize = query.split('&').find_map(|part| part.strip_prefix("page=")?.parse().ok()).unwrap_or(1);
            let shown: Vec<Value> =
                server.applications.iter().skip((page - 1) * 100).take(100).map(without_secret).collect();
            reply(200, json!(shown).to_string())
        }
        ("POST", "/api/v4/applications") => {
            let id = server.applications.len() + 1;
            let made = json!({
                "id": id,
                "application_id": format!("fakeclient{id}"),
                "application_name": body["name"],
                "callback_url": body["redirect_uri"],
                "confidential": body["confidential"],
                "secret": format!("gloas-fakesecret{id}"),
            });
            server.applications.push(made.clone());
            reply(201, made.to_string())
        }
        (method, path) => {
            let rest = path.strip_prefix("/api/v4/applications/").unwrap_or_default();
            let id: u64 = rest.trim_end_matches("/renew-secret").parse().unwrap_or_default();
            let index = server.applications.iter().position(|known| known["id"] == json!(id));
            match (method, index) {
                ("DELETE", Some(index)) => {
                    server.applications.remove(index);
                    reply(204, "")
                }
                ("POST", Some(index)) if rest.ends_with("/renew-secret") && server.renews => {
                    server.applications[index]["secret"] = json!("gloas-renewed");
                    reply(201, server.applications[index].to_string())
                }
                _ => message(404, "404 Not found"),
            }
        }
    }
}

fn integration(server: &mut Server, request: &Request, path: &str, body: Value) -> Reply {
    if path.contains("gone") {
        return message(404, "404 Project Not Found");
    }
    let known = server.integrations.iter().position(|(known, _)| known == path);
    if request.method == "GET" {
        return match known {
            Some(index) => reply(200, as_shown(&server.integrations[index].1).to_string()),
            None => message(404, "404 Integration Not Found"),
        };
    }
    let list = server.settings["outbound_local_requests_allowlist_raw"].as_str().unwrap_or_default();
    let webhook = body["webhook"].as_str().unwrap_or_default();
    let called = webhook.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if server.administrator && !list.lines().any(|entry| entry == called) {
        return message(400, "400 Bad Request");
    }
    match known {
        Some(index) => server.integrations[index].1 = body,
        None => server.integrations.push((path.to_owned(), body)),
    }
    reply(200, as_shown(&server.integrations.last().expect("one").1).to_string())
}

/// GitLab shows flags at the top, everything else as texts below `properties`, and the webhook not at all.
fn as_shown(body: &Value) -> Value {
    let mut shown = json!({ "id": 1, "slug": "mattermost", "active": true, "job_events": true, "properties": {} });
    for (key, value) in body.as_object().expect("an object") {
        if key.ends_with("_events") {
            shown[key] = value.clone();
        } else if key != "webhook" {
            shown["properties"][key] = match value {
                Value::Bool(value) => json!(value.to_string()),
                Value::String(text) if text.is_empty() => Value::Null,
                value => value.clone(),
            };
        }
    }
    shown
}

fn without_secret(application: &Value) -> Value {
    let mut shown = application.clone();
    shown.as_object_mut().expect("an object").remove("secret");
    shown
}
