//! Plugins: what is installed, what is enabled, and bundles.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::{Server, calls, log, media, store};

/// What the image carries, with versions where they are known. The first four are enabled from the start; the last is
/// installed when it is first enabled.
const PREPACKAGED: [(&str, &str, &str); 5] = [
    (calls::PLUGIN_ID, "Calls", "1.11.0-standin"),
    ("com.mattermost.nps", "User Satisfaction Surveys", "standin"),
    ("mattermost-ai", "Agents", "standin"),
    ("playbooks", "Playbooks", "standin"),
    ("com.github.manland.mattermost-plugin-gitlab", "GitLab", "1.12.1-standin"),
];

/// The manifests of all installed plugins: prepackaged ones that were ever enabled, and uploaded ones.
pub async fn installed(server: &Server) -> Result<Vec<Value>, tokio_postgres::Error> {
    if !server.flag("PluginSettings.Enable").await {
        return Ok(Vec::new());
    }
    let uploaded = server.store.plugins().await?;
    let states = server.setting("PluginSettings.PluginStates").await;
    let prepackaged = PREPACKAGED
        .iter()
        .filter(|(id, ..)| states.get(*id).is_some() && !uploaded.iter().any(|it| it["id"] == *id))
        .map(|(id, name, version)| json!({"id": id, "name": name, "version": version}));
    let mut all: Vec<Value> = prepackaged.collect();
    all.extend(uploaded);
    Ok(all)
}

pub fn is_prepackaged(id: &str) -> bool {
    PREPACKAGED.iter().any(|(it, ..)| *it == id)
}

pub async fn is_enabled(server: &Server, id: &str) -> bool {
    let config = server.config.read().await;
    config["PluginSettings"]["Enable"] == true && config["PluginSettings"]["PluginStates"][id]["Enable"] == true
}

/// Enabled, and running: of all plugins only Calls does anything here, so only Calls can fail to start.
pub async fn is_active(server: &Server, id: &str) -> bool {
    is_enabled(server, id).await && (id != calls::PLUGIN_ID || server.active_calls.initialized())
}

/// The manifest in a bundle, a .tar.gz.
pub fn manifest(bundle: &[u8]) -> Result<Value, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(bundle));
    let broken = |it: std::io::Error| it.to_string();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?;
        let depth = path.components().filter(|it| matches!(it, std::path::Component::Normal(_))).count();
        if path.file_name().is_some_and(|it| it == "plugin.json") && depth <= 2 {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(broken)?;
            let manifest: Value = serde_json::from_str(&text).map_err(|it| it.to_string())?;
            let named = |key: &str| manifest[key].as_str().is_some_and(|it| !it.is_empty());
            return if named("id") && named("version") {
                Ok(manifest)
            } else {
                Err("plugin.json has no id or no version".to_owned())
            };
        }
    }
    Err("there is no plugin.json in it".to_owned())
}

/// Starts the Calls plugin unless it has been started before. One that fails leaves the server up, as in Mattermost.
pub async fn activate_calls(server: &Server) {
    let activated = server.active_calls.get_or_try_init(async || {
        let calls = server.settings.calls.clone()?.ok_or("plugins are switched off")?;
        media::start(&calls.media).await?;
        server.store.ensure_calls_bot().await.map_err(|it| store::describe(&it))?;
        Ok::<_, String>(calls)
    });
    if let Err(error) = activated.await {
        log::error("Unable to activate plugin").with("plugin_id", calls::PLUGIN_ID).with("error", &error).write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(path: &str, text: &str) -> Vec<u8> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(encoder);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_cksum();
        builder.append_data(&mut header, path, text.as_bytes()).expect("writes");
        builder.into_inner().expect("ends").finish().expect("ends")
    }

    #[test]
    fn a_manifest_is_found_in_the_bundles_folder() {
        let found = manifest(&bundle("jenkins/plugin.json", r#"{"id": "jenkins", "version": "1.1.0"}"#));
        assert_eq!(found.map(|it| it["id"].clone()), Ok(json!("jenkins")));
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        assert!(manifest(b"PK").is_err());
        assert!(manifest(&bundle("readme", "x")).is_err());
        assert!(manifest(&bundle("plugin.json", r#"{"id": "jenkins"}"#)).is_err());
    }
}
