//! A JENKINS_HOME: what has to be there before anything is written, and what must not be overwritten.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::files::{self, ALERTS, BUILDS, File};
use crate::error::{Hint as _, hinted};

/// Without them the drop-in has an element that JCasC does not know, and then Jenkins does not start.
const PLUGINS: [&str; 4] = ["configuration-as-code", "mattermost", "credentials", "plain-credentials"];

/// Where `--apply` writes.
#[derive(Debug, Clone)]
pub struct Home {
    pub path: PathBuf,
    /// A folder that CASC_JENKINS_CONFIG of Jenkins names.
    pub casc: PathBuf,
    /// The folder that SECRETS of Jenkins names.
    pub secrets: PathBuf,
    /// Whether JCasC keeps credentials that it does not know.
    pub keeps_credentials: bool,
}

/// Looks for whatever would break Jenkins.
///
/// # Errors
/// When this is no JENKINS_HOME, a plugin is missing, or JCasC would delete credentials that were made by hand.
pub fn check(home: &Home) -> anyhow::Result<()> {
    let path = &home.path;
    let shown = path.display();
    if !path.join("config.xml").is_file() && !path.join("plugins").is_dir() {
        return Err(hinted(
            anyhow::anyhow!(
                "{shown} is no JENKINS_HOME: it has neither config.xml nor plugins/, or they cannot be seen"
            ),
            "name the folder as this host sees it, such as the mount point of Jenkins's volume; run this as root if need be",
        ));
    }
    let missing: Vec<&str> = PLUGINS.into_iter().filter(|id| !has_plugin(path, id)).collect();
    if !missing.is_empty() {
        return Err(hinted(
            anyhow::anyhow!(
                "Jenkins lacks {}: it would not start with our file; nothing was written",
                missing.join(", ")
            ),
            "install them (`jenkins-plugin-cli --plugin-file integrations/jenkins/plugins.txt`, or Manage Jenkins, Plugins), \
             restart Jenkins, then run this again",
        ));
    }
    let others = other_credentials(path)?;
    if !home.keeps_credentials && !others.is_empty() {
        return Err(hinted(
            anyhow::anyhow!(
                "Jenkins has {} credentials that are not ours ({}): JCasC would delete those that no YAML file has",
                others.len(),
                others.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", "),
            ),
            "set CASC_CREDENTIALS_MERGE_STRATEGY=merge in Jenkins's environment and restart it, then run this again with \
             --keeps-credentials; the same when JCasC makes all of them",
        ));
    }
    Ok(())
}

/// The file under its name in a JENKINS_HOME, if it has to be written.
///
/// # Errors
/// When a file of that name is there that is not ours.
pub fn missing(folder: &Path, name: &str, file: File) -> anyhow::Result<Option<File>> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(current) if current == file.contents => Ok(None),
        Ok(current) if !files::is_ours(name, &current) => Err(hinted(
            anyhow::anyhow!("{} is there and is not ours; nothing was written", path.display()),
            "move it away or rename it, then run this again",
        )),
        Ok(_) => Ok(Some(File { path, ..file })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(File { path, ..file })),
        Err(error) => Err(error)
            .with_context(|| format!("cannot read {}", path.display()))
            .hint("run this as root or as the user that JENKINS_HOME belongs to"),
    }
}

fn has_plugin(home: &Path, id: &str) -> bool {
    let plugins = home.join("plugins");
    let is_disabled = ["jpi", "hpi"].iter().any(|kind| plugins.join(format!("{id}.{kind}.disabled")).exists());
    !is_disabled && ["jpi", "hpi"].iter().any(|kind| plugins.join(format!("{id}.{kind}")).exists())
}

/// Ids in credentials.xml, the system's store, that are not ours.
fn other_credentials(home: &Path) -> anyhow::Result<Vec<String>> {
    let path = home.join("credentials.xml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let error = anyhow::Error::new(error).context(format!("cannot read {}", path.display()));
            return Err(hinted(error, "run this as root or as the user that JENKINS_HOME belongs to"));
        }
    };
    let ids = text.split("<id>").skip(1).filter_map(|rest| rest.split_once("</id>")).map(|(id, _)| id.trim());
    Ok(ids.filter(|id| ![BUILDS.1, ALERTS.1].contains(id)).map(str::to_owned).collect())
}
