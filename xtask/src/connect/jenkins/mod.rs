//! Jenkins: files for it, and with `--apply` these files in a JENKINS_HOME and a reload.

pub mod files;
pub mod home;
pub mod reload;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Notice, Plan, Site};
use crate::certs;
use crate::drivers::{files as disk, owned, rest};
use crate::error::{Hint as _, hinted};
use crate::hash;
use crate::stack;
use files::{ALERTS, BUILDS, File, Hook};
use home::Home;

/// Where the generated files are, relative to the stack's folder.
pub const FOLDER: &str = "integrations/jenkins";
/// The bundle of Debian, of which other distributions have a link or a copy.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
const TRUSTSTORE: &str = "command-center-truststore.p12";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write a file of our own folder.
    Local(File),
    /// Ask JCasC whether it would take the drop-in.
    DryRun,
    /// Write a file into JENKINS_HOME.
    Place(File),
    /// Reload and ask. The hash is of all that was placed.
    Reload { hash: String },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Local(file) | Step::Place(file) => write!(f, "write {}", file.path.display()),
            Step::DryRun => write!(f, "ask Jenkins whether it would take mattermost.yaml"),
            Step::Reload { .. } => write!(f, "have Jenkins read its JCasC files again, and ask whether it took them"),
        }
    }
}

/// The hooks that stack.toml gives to Jenkins.
///
/// # Errors
/// When there is none, or one that the wiring did not make yet.
pub fn hooks(site: &Site<'_>) -> anyhow::Result<Vec<Hook>> {
    let settings = &site.settings().jenkins;
    let mut hooks = Vec::new();
    for (secret, (name, credential)) in [(&settings.builds_hook, BUILDS), (&settings.alerts_hook, ALERTS)] {
        if !secret.is_empty() {
            hooks.push(Hook { name, credential, url: site.hook_url(secret)? });
        }
    }
    if hooks.is_empty() {
        return Err(hinted(
            anyhow::anyhow!("jenkins.builds_hook and jenkins.alerts_hook of stack.toml are both empty"),
            "name the incoming webhooks that get results of builds and failed quality gates",
        ));
    }
    Ok(hooks)
}

/// Compares what is wanted with our folder, and with a JENKINS_HOME if one is given.
pub fn look(site: &Site<'_>, home: Option<&Home>) -> anyhow::Result<Plan<Step>> {
    let hooks = hooks(site)?;
    let texts = files::texts(site.settings())?;
    let (truststore, notice) = truststore(site)?;
    let mut plan = Plan::default();
    plan.notices.extend(notice);

    let folder = site.stack.root.join(FOLDER);
    let secrets = hooks.iter().map(files::secret);
    let secrets = secrets.map(|file| File { path: Path::new("secrets").join(&file.path), ..file });
    for file in texts.iter().cloned().chain([truststore.clone()]).chain(secrets) {
        let path = folder.join(&file.path);
        let is_right = std::fs::read(&path).is_ok_and(|current| current == file.contents);
        if !is_right || disk::mode(&path) != Some(file.mode) {
            plan.steps.push(Step::Local(File { path, ..file }));
        }
    }
    let Some(home) = home else { return Ok(plan) };

    home::check(home)?;
    let [yaml, ..] = texts;
    let placed = [(&home.path, TRUSTSTORE, truststore), (&home.casc, "mattermost.yaml", yaml)];
    let secrets = hooks.iter().map(|hook| (&home.secrets, hook.name, files::secret(hook)));
    let mut parts = vec![home.path.display().to_string()];
    let mut missing = Vec::new();
    // The secrets first: a drop-in without them would be applied with empty texts.
    for (folder, name, file) in secrets.chain(placed) {
        parts.push(hash::of_parts(&[name.as_bytes(), &file.contents]));
        missing.extend(home::missing(folder, name, file)?);
    }
    if missing.iter().any(|file| file.path.ends_with("mattermost.yaml")) && reload::administrator(site)?.is_some() {
        plan.steps.push(Step::DryRun);
    }
    let hash = hash::of_parts(&parts);
    let is_reloaded = missing.is_empty() && site.state.knows(&remembered(home), &hash);
    plan.steps.extend(missing.into_iter().map(Step::Place));
    if !is_reloaded {
        plan.steps.push(Step::Reload { hash });
    }
    Ok(plan)
}

/// Does one step. Whoever applies stops at the first that fails: Jenkins must not reload what is not whole.
pub fn apply(site: &mut Site<'_>, home: Option<&Home>, step: &Step) -> anyhow::Result<()> {
    match step {
        Step::Local(file) => disk::write(&file.path, &file.contents, file.mode),
        Step::DryRun => {
            let [yaml, ..] = files::texts(site.settings())?;
            let tool = reload::administrator(site)?.context("secrets.env lost its Jenkins user")?;
            reload::dry_run(site, &tool, &String::from_utf8_lossy(&yaml.contents))
        }
        Step::Place(file) => {
            let home = home.context("a file is placed in a JENKINS_HOME")?;
            owned::write(&file.path, &file.contents, file.mode, owned::owner(&home.path)?)
        }
        Step::Reload { hash } => {
            let home = home.context("Jenkins is reloaded for a JENKINS_HOME")?;
            reload::reload(site)?;
            let is_verified = reload::verify(site, &hooks(site)?)?;
            if !is_verified {
                println!("Jenkins reloaded without a complaint. Whether it read {} only an", home.casc.display());
                println!("administrator can ask: JENKINS_USER and JENKINS_API_TOKEN in env/secrets.env.");
            }
            site.state.remember(&remembered(home), hash)
        }
    }
}

/// What Jenkins's environment has to have. No command can put it there.
pub fn advice(site: &Site<'_>, home: Option<&Home>) -> String {
    let folder = site.stack.root.join(FOLDER);
    let (truststore, casc, secrets) = match home {
        Some(home) => (home.path.join(TRUSTSTORE), home.casc.clone(), home.secrets.clone()),
        None => (folder.join("truststore.p12"), folder.join("mattermost.yaml"), folder.join("secrets")),
    };
    let reload = site.stack.hint("`cargo xtask secrets show JENKINS_RELOAD_TOKEN`");
    format!(
        "In Jenkins's environment, once, with these paths as Jenkins sees them:\n\
         \x20 CASC_JENKINS_CONFIG=<what it has, or jenkins.yaml of JENKINS_HOME>,{}\n\
         \x20 SECRETS={}\n\
         \x20 CASC_RELOAD_TOKEN=<{reload}>\n\
         \x20 CASC_STRICT_SECRET_RESOLUTION=true\n\
         \x20 CASC_CREDENTIALS_MERGE_STRATEGY=merge\n\
         \x20 JAVA_OPTS=-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStoreType=PKCS12\n\
         The truststore takes the place of Java's own CAs; this host's are in it too.",
        casc.display(),
        secrets.display(),
        truststore.display(),
    )
}

/// The folders that the arguments, or CASC_JENKINS_CONFIG where it names one folder, say.
pub fn home(path: PathBuf, casc: Option<PathBuf>, secrets: Option<PathBuf>, keeps_credentials: bool) -> Home {
    let environment = std::env::var_os("CASC_JENKINS_CONFIG").map(PathBuf::from).filter(|path| path.is_dir());
    let casc = casc.or(environment).unwrap_or_else(|| path.join("casc_configs"));
    let secrets = secrets.unwrap_or_else(|| path.join("casc_secrets"));
    Home { path, casc, secrets, keeps_credentials }
}

fn truststore(site: &Site<'_>) -> anyhow::Result<(File, Option<Notice>)> {
    let path = certs::ca_path(&site.stack.root);
    let ours = super::read_certificates(&path)
        .hint(site.stack.hint("run `cargo xtask up` (or `cargo xtask certs`) first: it makes the CA"))?;
    let ours = ours.first().context("the CA has a certificate")?;
    let mut extra = Vec::new();
    let checkout = stack::checkout()?;
    for path in &site.settings().certificates.extra_trust {
        extra.extend(super::read_certificates(&checkout.join(path))?);
    }
    let (system, notice) = match std::fs::read(SYSTEM_ROOTS) {
        Ok(pem) => (rest::certificates(&pem, SYSTEM_ROOTS)?, None),
        Err(_) => {
            let fix =
                "a Jenkins that calls public servers (updates of plugins) needs their CAs in certificates.extra_trust";
            (
                Vec::new(),
                Some(Notice::new(format!("{SYSTEM_ROOTS} is not there: the truststore has our CAs only"), fix)),
            )
        }
    };
    Ok((files::truststore(ours, &extra, &system), notice))
}

fn remembered(home: &Home) -> String {
    format!("jenkins {}", home.path.display())
}
