//! WebDriver's commands (W3C), as far as tests use them: JSON over HTTP. ureq is compiled for xtask anyway; a client library
//! would bring an asynchronous HTTP stack for the same few calls, and none of them knows Chromium's own commands better.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// A window of a browser.
#[derive(Debug)]
pub struct Session {
    agent: ureq::Agent,
    /// Of this session, at its driver.
    url: String,
}

/// Time for what a driver does by itself, beside what a script or a page may take.
const LIMIT: Duration = Duration::from_secs(30);

impl Session {
    /// Waits for the driver to listen, then starts a browser.
    pub fn start(driver: &str, capabilities: &Value) -> anyhow::Result<Session> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let agent = ureq::Agent::new_with_config(config);
        let end = std::time::Instant::now() + LIMIT;
        while let Err(error) = get(&agent, &format!("{driver}/status")) {
            if std::time::Instant::now() > end {
                return Err(error.context("the WebDriver does not listen"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let started = post(&agent, &format!("{driver}/session"), &body, LIMIT).context("no browser started")?;
        let id = started["sessionId"].as_str().context("a session has an id")?;
        Ok(Session { url: format!("{driver}/session/{id}"), agent })
    }

    pub fn get(&self, command: &str) -> anyhow::Result<Value> {
        get(&self.agent, &format!("{}/{command}", self.url))
    }

    /// `limit` is what the command itself may take.
    pub fn post(&self, command: &str, body: &Value, limit: Duration) -> anyhow::Result<Value> {
        post(&self.agent, &format!("{}/{command}", self.url), body, limit + LIMIT)
    }
}

fn get(agent: &ureq::Agent, url: &str) -> anyhow::Result<Value> {
    read(agent.get(url).config().timeout_global(Some(LIMIT)).build().call())
}

fn post(agent: &ureq::Agent, url: &str, body: &Value, limit: Duration) -> anyhow::Result<Value> {
    let request = agent.post(url).content_type("application/json").config().timeout_global(Some(limit)).build();
    read(request.send(body.to_string()))
}

/// The value of an answer, or the error that it holds.
fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
    // A screenshot is larger than ureq reads by itself.
    const LARGEST: u64 = 64 << 20;
    let mut answer = answer.context("the WebDriver did not answer")?;
    let text = answer.body_mut().with_config().limit(LARGEST).read_to_string()?;
    let mut answer: Value = serde_json::from_str(&text).context("the WebDriver's answer is no JSON")?;
    let value = answer["value"].take();
    if let Some(error) = value["error"].as_str() {
        // What follows the first lines is a stack of addresses.
        let message: Vec<&str> = value["message"].as_str().unwrap_or_default().lines().take(5).collect();
        bail!("{error}: {}", message.join("\n"));
    }
    Ok(value)
}
