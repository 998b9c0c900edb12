//! Telling Jenkins to read its files again, and asking whether it took them.
//!
//! The reload's token is JCasC's own (TokenReloadAction): without one in its environment the address is 404, with a wrong
//! one 401, and a configuration that cannot be applied is a JSON body with `status: error`, with status 500 or, in other
//! versions, 200.

use base64::Engine as _;
use serde_json::Value;

use super::files::Hook;
use crate::connect::Site;
use crate::drivers::https::Answer;
use crate::drivers::rest::{self, Body, Tool};
use crate::error::hinted;
use crate::secrets::{JENKINS_API_TOKEN, JENKINS_RELOAD_TOKEN, JENKINS_USER};

/// A client without credentials: the token of the reload is in its query.
pub fn client(site: &Site<'_>) -> anyhow::Result<Tool> {
    tool(site, None)
}

/// A client with an administrator's API token, if secrets.env has one.
pub fn administrator(site: &Site<'_>) -> anyhow::Result<Option<Tool>> {
    let (Some(user), Some(token)) = (site.secrets.get(JENKINS_USER), site.secrets.get(JENKINS_API_TOKEN)) else {
        return Ok(None);
    };
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{token}"));
    tool(site, Some(("Authorization", format!("Basic {credentials}")))).map(Some)
}

/// Asks JCasC whether it would take the drop-in, without applying it.
pub fn dry_run(site: &Site<'_>, tool: &Tool, yaml: &str) -> anyhow::Result<()> {
    const CHECK: &str = "/configuration-as-code/check";
    let answer = rest::call(tool, "POST", CHECK, Body::Yaml(yaml))?;
    let complaints: Vec<String> = match serde_json::from_str::<Value>(answer.body()) {
        Ok(Value::Array(list)) => list
            .iter()
            .map(|entry| format!("line {}: {}", entry["line"], entry["message"].as_str().unwrap_or("no message")))
            .collect(),
        _ => Vec::new(),
    };
    match answer.status().as_u16() {
        200 if complaints.is_empty() => Ok(()),
        200 | 400 if !complaints.is_empty() => Err(hinted(
            anyhow::anyhow!("Jenkins would not take our file: {}; nothing was written", complaints.join("; ")),
            "update the plugins that integrations/jenkins/plugins.txt names; Jenkins's configuration is as it was",
        )),
        _ => Err(explain(site, tool, "POST", CHECK, &answer)),
    }
}

/// Has Jenkins read all JCasC files again.
pub fn reload(site: &Site<'_>) -> anyhow::Result<()> {
    let tool = client(site)?;
    let token = site.generated(JENKINS_RELOAD_TOKEN)?;
    // Without the slash at its end Jenkins redirects, and a redirect would drop the POST.
    let path = format!("/reload-configuration-as-code/?casc-reload-token={}", rest::encode(token));
    let answer = rest::call(&tool, "POST", &path, Body::None)?;
    let body: Value = serde_json::from_str(answer.body()).unwrap_or_default();
    if body["status"] == "error" {
        return Err(hinted(
            rest::refusal(&tool, "POST", &path, &answer),
            "correct what it names; a key that another JCasC file sets too is a conflict unless Jenkins has \
             CASC_MERGE_STRATEGY=override; Jenkins's log has the whole of it",
        ));
    }
    if answer.status() == 200 { Ok(()) } else { Err(explain(site, &tool, "POST", &path, &answer)) }
}

/// Asks whether Jenkins is up after the reload, and an administrator's view whether our credentials are there.
///
/// Returns whether the latter could be asked.
pub fn verify(site: &Site<'_>, hooks: &[Hook]) -> anyhow::Result<bool> {
    let anonymous = client(site)?;
    let answer = rest::call(&anonymous, "GET", "/login", Body::None)?;
    if answer.status() != 200 {
        return Err(explain(site, &anonymous, "GET", "/login", &answer));
    }
    let Some(tool) = administrator(site)? else { return Ok(false) };
    for hook in hooks {
        let path = format!("/credentials/store/system/domain/_/credential/{}/api/json", hook.credential);
        let answer = rest::call(&tool, "GET", &path, Body::None)?;
        match answer.status().as_u16() {
            200 => {}
            404 => {
                return Err(hinted(
                    anyhow::anyhow!(
                        "Jenkins reloaded and has no credential {}: it did not read our file",
                        hook.credential
                    ),
                    "CASC_JENKINS_CONFIG of Jenkins has to name the folder of mattermost.yaml, as Jenkins sees it, besides \
                     the files that it has: several are separated by commas",
                ));
            }
            _ => return Err(explain(site, &tool, "GET", &path, &answer)),
        }
    }
    Ok(true)
}

fn tool(site: &Site<'_>, header: Option<(&'static str, String)>) -> anyhow::Result<Tool> {
    Ok(rest::tool("Jenkins", "jenkins.url", &site.settings().jenkins.url, &site.roots()?, header, &site.secrets))
}

/// A refusal with its fix. Jenkins's pages are HTML, so its words are not in it.
fn explain(site: &Site<'_>, tool: &Tool, method: &str, path: &str, answer: &Answer) -> anyhow::Error {
    let error = rest::refusal(tool, method, path, answer);
    let is_reload = path.starts_with("/reload-configuration-as-code");
    let hint = match answer.status().as_u16() {
        300..=399 => return error,
        404 if is_reload => {
            "the reload by token is not enabled: put CASC_RELOAD_TOKEN=<`cargo xtask secrets show JENKINS_RELOAD_TOKEN`> into \
             Jenkins's environment, restart it, then run this again"
        }
        401 | 403 if is_reload => {
            "Jenkins has another CASC_RELOAD_TOKEN than secrets.env has as JENKINS_RELOAD_TOKEN (or a proxy before it \
             refuses): set it in Jenkins's environment and restart it"
        }
        401 => "JENKINS_USER and JENKINS_API_TOKEN of env/secrets.env are refused: make another API token in Jenkins",
        403 => "the user of JENKINS_API_TOKEN in env/secrets.env has to be an administrator; or leave both lines out",
        404 => "is jenkins.url of stack.toml the address of Jenkins, and the plugin configuration-as-code installed?",
        503 => "Jenkins is starting: wait until its login page is there, then run this again",
        _ => "see Jenkins's log (Manage Jenkins, System Log)",
    };
    hinted(error, site.stack.hint(hint))
}
