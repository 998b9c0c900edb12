//! The rendered files, read back and held to the invariants of design.md, section 5: one test each, with its reason.
//!
//! Each invariant is tested for every settings file of tests/golden, so that no setting can switch one off.

#[path = "../common/mod.rs"]
mod common;

mod coturn;
mod every_service;
mod external_postgres;
mod files;
mod mattermost;
mod postgres;
mod relay;

use std::collections::BTreeMap;

use serde_yaml::Value;
use xtask::render::File;
use xtask::settings::Settings;

/// What is rendered for one settings file, read back.
struct Case {
    name: &'static str,
    settings: Settings,
    files: Vec<File>,
    compose: Value,
    mattermost: BTreeMap<String, String>,
}

impl Case {
    fn new(name: &'static str, settings: Settings) -> Case {
        let files = common::rendered(&settings);
        let text = common::contents(&files, "compose/compose.yaml");
        let compose = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{name}: compose.yaml: {error}"));
        let mattermost = common::env_file(common::contents(&files, "env/mattermost.env"));
        Case { name, settings, files, compose, mattermost }
    }

    fn service(&self, service: &str) -> &Value {
        let found = &self.compose["services"][service];
        assert!(found.is_mapping(), "{}: there is no service {service}", self.name);
        found
    }

    fn services(&self) -> Vec<(&str, &Value)> {
        let services = self.compose["services"].as_mapping().expect("services are a mapping");
        services.iter().map(|(name, service)| (name.as_str().expect("a service has a name"), service)).collect()
    }

    fn contents(&self, path: &str) -> &str {
        common::contents(&self.files, path)
    }

    /// Of an environment variable of Mattermost, which must be set.
    fn variable(&self, name: &str) -> &str {
        self.mattermost.get(name).unwrap_or_else(|| panic!("{}: {name} is not set", self.name))
    }

    /// The address that calls and TURN advertise.
    fn lan_ip(&self) -> String {
        common::host_for(&self.settings).lan_ip().to_string()
    }
}

/// The shipped settings, the lab's and those of every golden case.
fn cases() -> Vec<Case> {
    let shipped = common::settings(&common::shipped());
    let mut cases = vec![Case::new("shipped", shipped.clone()), Case::new("lab", shipped.for_lab())];
    for name in ["metrics-and-other-ports", "several-addresses", "german-banner", "everything-toggled"] {
        let path = common::checkout().join("tests/golden").join(name).join("stack.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        cases.push(Case::new(name, common::settings(&text)));
    }
    cases
}

/// The texts of a YAML list.
fn texts(list: &Value) -> Vec<&str> {
    let list = list.as_sequence().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|text| text.as_str().unwrap_or_else(|| panic!("{text:?} is no text"))).collect()
}

/// A published port: address (empty for every one), port of the host, port of the container with protocol.
fn published(service: &Value) -> Vec<(String, String, String)> {
    let split = |port: &str| {
        let (outside, inside) = port.rsplit_once(':').unwrap_or_else(|| panic!("{port:?} leaves the host's port open"));
        let (address, outside) = outside.rsplit_once(':').unwrap_or(("", outside));
        (address.to_owned(), outside.to_owned(), inside.to_owned())
    };
    texts(&service["ports"]).into_iter().map(split).collect()
}
