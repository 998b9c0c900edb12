//! Jenkins's files, and what `--apply` does to a JENKINS_HOME.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use xtask::connect::jenkins::files;

use crate::double::{self, Double, reply};
use crate::fake::{Checkout, stderr, stdout};
use crate::{checkout, common, connect, set_secret};

/// A JENKINS_HOME as a Jenkins with the plugins has it.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Home {
        let home = Home { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(home.path("plugins")).expect("writable");
        for plugin in ["configuration-as-code", "mattermost", "credentials"] {
            home.write(&format!("plugins/{plugin}.jpi"), "");
        }
        home.write("plugins/plain-credentials.hpi", "");
        home.write("config.xml", "<hudson/>");
        home.write("jenkins.yaml", "jenkins: {}\n");
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("writable");
    }

    pub fn apply(&self, checkout: &Checkout, more: &[&str]) -> assert_cmd::assert::Assert {
        let path = self.path("").display().to_string();
        let words: Vec<&str> = ["jenkins", "--apply", &path].iter().chain(more).copied().collect();
        connect(checkout, &words)
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        below(self.folder.path(), self.folder.path(), &mut names);
        names.sort();
        names
    }
}

fn below(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            below(root, &path, names);
        } else {
            names.push(path.strip_prefix(root).expect("below").display().to_string());
        }
    }
}

/// A Jenkins that takes everything.
fn willing() -> Double {
    double::http(|_| reply(200, ""))
}

pub fn at(double: &Double) -> Checkout {
    checkout(&[("url = \"https://jenkins.cicd.local:8443\"", &format!("url = \"{}\"", double.url()))])
}

#[test]
fn the_tracked_files_are_what_stack_toml_says() {
    let texts = files::texts(&common::settings(&common::shipped())).expect("they render");
    for file in texts {
        let path = common::checkout().join("integrations/jenkins").join(&file.path);
        expect_file![path].assert_eq(&String::from_utf8(file.contents).expect("text"));
    }
}

#[test]
fn the_drop_in_is_yaml_with_the_traps_avoided() {
    for (gone, credentials) in [("", 2), ("builds", 1), ("alerts", 1)] {
        let mut settings = common::settings(&common::shipped());
        match gone {
            "builds" => settings.jenkins.builds_hook.clear(),
            "alerts" => settings.jenkins.alerts_hook.clear(),
            _ => {}
        }
        let [yaml, _, pipeline] = files::texts(&settings).expect("they render");
        let yaml: serde_yaml::Value = serde_yaml::from_slice(&yaml.contents).expect("YAML");
        let notifier = &yaml["unclassified"]["mattermostNotifier"];
        assert_eq!(notifier["room"].as_str(), Some(""), "null would stop a step without a channel");
        let name = if gone == "builds" { "${JENKINS_ALERTS_HOOK_URL}" } else { "${JENKINS_BUILDS_HOOK_URL}" };
        assert_eq!(notifier["endpoint"].as_str(), Some(name));
        let list = &yaml["credentials"]["system"]["domainCredentials"][0]["credentials"];
        assert_eq!(list.as_sequence().map(Vec::len), Some(credentials));
        let pipeline = String::from_utf8(pipeline.contents).expect("text");
        assert_eq!(pipeline.contains("tell('mattermost-builds'"), gone != "builds");
        assert_eq!(pipeline.contains("tell('mattermost-alerts'"), gone != "alerts");
        assert!(pipeline.contains("endpoint: MATTERMOST_HOOK") && !pipeline.contains("channel: "));
        assert_eq!(pipeline.matches('{').count(), pipeline.matches('}').count());
    }
}

#[test]
fn without_a_home_the_files_are_made_and_the_rest_is_said() {
    let double = willing();
    let checkout = at(&double);
    connect(&checkout, &["jenkins", "--plan"]).code(3);
    assert!(!checkout.path("integrations").exists(), "a plan changes nothing");
    let run = connect(&checkout, &["jenkins"]).success();
    for line in ["CASC_RELOAD_TOKEN=<`cargo xtask secrets show JENKINS_RELOAD_TOKEN`>", "-Djavax.net.ssl.trustStore="] {
        assert!(stdout(&run).contains(line), "{}", stdout(&run));
    }
    let hook = checkout.path("integrations/jenkins/secrets/JENKINS_ALERTS_HOOK_URL");
    assert_eq!(
        fs::read_to_string(&hook).expect("there").trim(),
        "https://mattermost.cicd.local:8065/hooks/fakealertshook000000000004"
    );
    assert_eq!(fs::metadata(&hook).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(stdout(&connect(&checkout, &["jenkins", "--plan"]).success()).contains("Nothing to do."));
    assert!(double.requests().is_empty());
    set_secret(&checkout, "JENKINS_ALERTS_HOOK", None);
    let text = stderr(&connect(&checkout, &["jenkins"]).code(1));
    assert!(text.contains("hint: run `cargo xtask wire` (or `cargo xtask up`) first"), "{text}");
}

#[test]
fn a_home_gets_our_files_and_keeps_its_own() {
    let double = willing();
    let (checkout, home) = (at(&double), Home::new());
    let before = home.names();
    home.apply(&checkout, &["--plan"]).code(3);
    assert_eq!(home.names(), before, "a plan changes nothing");
    home.apply(&checkout, &[]).success();
    let ours: Vec<String> = home.names().into_iter().filter(|name| !before.contains(name)).collect();
    let expected = [
        "casc_configs/mattermost.yaml",
        "casc_secrets/JENKINS_ALERTS_HOOK_URL",
        "casc_secrets/JENKINS_BUILDS_HOOK_URL",
        "command-center-truststore.p12",
    ];
    assert_eq!(ours, expected);
    assert_eq!(fs::read_to_string(home.path("jenkins.yaml")).expect("there"), "jenkins: {}\n");
    let owner = fs::metadata(home.path("")).expect("there").uid();
    for name in expected {
        let metadata = fs::metadata(home.path(name)).expect("there");
        let mode = if name.contains("secrets") { 0o600 } else { 0o644 };
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (owner, mode), "{name}");
    }
    assert_eq!(fs::metadata(home.path("casc_secrets")).expect("there").mode() & 0o777, 0o700);
    double.requests();
    assert!(stdout(&home.apply(&checkout, &[]).success()).contains("Nothing to do."));
    assert!(double.requests().is_empty(), "what is right is not reloaded");
    // Another hook, and a file that somebody edited.
    set_secret(&checkout, "JENKINS_BUILDS_HOOK", Some("anotherfakehook00000000001"));
    let edited = fs::read_to_string(home.path("casc_configs/mattermost.yaml")).expect("there") + "x: 1\n";
    home.write("casc_configs/mattermost.yaml", &edited);
    home.apply(&checkout, &[]).success();
    assert!(fs::read_to_string(home.path("casc_secrets/JENKINS_BUILDS_HOOK_URL")).expect("there").contains("another"));
    assert_eq!(double.requests().iter().filter(|request| request.method == "POST").count(), 1);
    home.apply(&checkout, &["--plan"]).success();
}

/// Run as root, the files belong to Jenkins all the same.
#[test]
fn the_files_belong_to_whom_the_home_belongs() {
    let double = willing();
    let (checkout, home) = (at(&double), Home::new());
    if std::os::unix::fs::chown(home.path(""), Some(12345), Some(12346)).is_err() {
        eprintln!("SKIPPED: the_files_belong_to_whom_the_home_belongs: only root can give a folder away");
        return;
    }
    home.apply(&checkout, &[]).success();
    for name in ["casc_configs", "casc_configs/mattermost.yaml", "casc_secrets/JENKINS_BUILDS_HOOK_URL"] {
        let metadata = fs::metadata(home.path(name)).expect("there");
        assert_eq!((metadata.uid(), metadata.gid()), (12345, 12346), "{name}");
    }
}

#[test]
fn what_would_break_jenkins_is_refused_before_anything_is_written() {
    let double = willing();
    let (checkout, home) = (at(&double), Home::new());
    let before = home.names();
    let refused = |what: &str, hint: &str, arguments: &[&str]| {
        let text = stderr(&home.apply(&checkout, arguments).code(1));
        assert!(text.contains(what) && text.lines().any(|l| l.starts_with("hint: ") && l.contains(hint)), "{text}");
        assert!(double.requests().is_empty());
    };
    fs::remove_file(home.path("plugins/mattermost.jpi")).expect("there");
    refused("Jenkins lacks mattermost", "install them", &[]);
    home.write("plugins/mattermost.jpi", "");
    home.write("plugins/mattermost.jpi.disabled", "");
    refused("Jenkins lacks mattermost", "install them", &[]);
    fs::remove_file(home.path("plugins/mattermost.jpi.disabled")).expect("there");

    home.write("credentials.xml", "<a><id>deploy-key</id></a><b><id>mattermost-builds</id></b>");
    refused("1 credentials that are not ours (deploy-key)", "CASC_CREDENTIALS_MERGE_STRATEGY=merge", &[]);
    home.apply(&checkout, &["--plan", "--keeps-credentials"]).code(3);
    fs::remove_file(home.path("credentials.xml")).expect("there");

    fs::create_dir(home.path("casc_configs")).expect("writable");
    home.write("casc_configs/mattermost.yaml", "unclassified: {}\n");
    refused("casc_configs/mattermost.yaml is there and is not ours", "move it away", &[]);
    fs::remove_dir_all(home.path("casc_configs")).expect("there");
    assert_eq!(home.names(), before);

    std::os::unix::fs::symlink("/nonexistent", home.path("elsewhere")).expect("writable");
    let elsewhere = home.path("elsewhere").display().to_string();
    refused("elsewhere is a symbolic link", "name the folder that it points to", &["--secrets", &elsewhere]);

    let empty = tempfile::tempdir().expect("a folder");
    let text = stderr(&connect(&checkout, &["jenkins", "--apply", &empty.path().display().to_string()]).code(1));
    assert!(text.contains("is no JENKINS_HOME"), "{text}");
}
