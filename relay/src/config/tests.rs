use std::fs::Permissions;

use super::*;

const SECRET: &str = "sonar-webhook-secret-01";
const HOOK: &str = "6fang4soibnnxppr4qri1torwo";

struct Site {
    folder: tempfile::TempDir,
    text: String,
}

impl Site {
    fn new() -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.crt");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
        std::fs::write(&ca, certificate.pem()).expect("written");
        let text = format!(
            "listen = \"0.0.0.0:8090\"\nspool = \"/spool\"\nmattermost = \"https://mattermost.cicd.local:8065\"\n\
             ca = \"{}\"\nsecret = \"{SECRET}\"\npassed_hook = \"\"\nfailed_hook = \"{HOOK}\"\nqueue = 10000\n",
            ca.display()
        );
        Site { folder, text }
    }

    /// Loads the settings with one line replaced, and gives what was said without the folder's name.
    fn load(&self, key: &str, line: &str) -> Result<Config, String> {
        let prefix = format!("{key} =");
        let lines = self.text.lines().map(|it| if it.starts_with(&prefix) { line } else { it });
        self.load_text(&lines.collect::<Vec<_>>().join("\n"), 0o600)
    }

    fn load_text(&self, text: &str, mode: u32) -> Result<Config, String> {
        let file = self.folder.path().join("relay.toml");
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).expect("a mode");
        load(&file).map_err(|it| it.replace(&format!("{}/", self.folder.path().display()), ""))
    }
}

#[test]
fn the_example_loads_and_debug_shows_no_secret() {
    let site = Site::new();
    let config = site.load_text(&site.text, 0o600).expect("valid");
    assert_eq!((config.mattermost.host.as_str(), config.mattermost.port), ("mattermost.cicd.local", 8065));
    assert_eq!(config.hooks.of(Outcome::Failed).expect("a hook").path(), format!("/hooks/{HOOK}"));
    assert!(config.hooks.of(Outcome::Passed).is_none());
    let debug = format!("{config:?}");
    assert!(!debug.contains(SECRET) && !debug.contains(HOOK), "{debug}");
}

#[test]
fn errors_name_file_key_and_fix_and_show_no_value() {
    let site = Site::new();
    let cases = [
        ("listen", "listen = \"8090\"", "listen: must be an address and a port"),
        ("spool", "", "spool: is missing; there are no defaults"),
        ("spool", "spool = 1", "spool: must be a string, in quotes"),
        ("mattermost", "mattermost = \"http://mattermost:8065\"", "mattermost: must be an https URL without a path"),
        (
            "mattermost",
            "mattermost = \"https://mattermost/hooks/x\"",
            "mattermost: must be an https URL without a path",
        ),
        ("mattermost", "mattermost = \"https://a:b@mattermost\"", "mattermost: must be an https URL without a path"),
        ("ca", "ca = \"/nonexistent\"", "ca: /nonexistent: "),
        ("ca", "ca = \"/dev/null\"", "ca: /dev/null: holds no certificate"),
        ("secret", "secret = \"too-short-value\"", "secret: has fewer than 16 characters"),
        ("secret", "secret = 1234567890123456789", "secret: must be a string, in quotes"),
        ("secret", "secret = \"not-closed-value", "line 5: "),
        ("secret", "secret = secret-without-quotes", "line 5: "),
        ("passed_hook", "passed_hook = \"../api/v4/users\"", "passed_hook: must be the id of an incoming webhook"),
        ("failed_hook", "failed_hook = \"\"", "failed_hook: is empty; write the id of an incoming webhook"),
        ("queue", "queue = 0", "queue: must be a whole number between 1 and 100000"),
        ("queue", "queue = -1", "queue: must be a whole number between 1 and 100000"),
        ("queue", "queue = \"10\"", "queue: must be a whole number between 1 and 100000"),
        ("queue", "queue = 10\nsecert = \"x\"", "secert: is no setting of the relay; remove it"),
    ];
    for (key, line, expected) in cases {
        let error = site.load(key, line).expect_err(line);
        assert!(error.starts_with(&format!("relay.toml: {expected}")), "{line}: {error}");
        for secret in [SECRET, HOOK, "too-short-value", "not-closed-value", "secret-without-quotes", "1234567890"] {
            assert!(!error.contains(secret), "{line}: {error}");
        }
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let site = Site::new();
    let error = site.load_text(&site.text, 0o640).expect_err("refused");
    assert_eq!(error, "relay.toml: mode 0640 lets others read its secrets; chmod 600");
    assert!(site.load_text(&site.text, 0o400).is_ok());
}
