//! Golden trees: every rendered file of several settings files, as plain files that a reviewer reads as a diff.
//!
//! `tests/golden/<case>/stack.toml` goes in (the case `shipped` takes the checkout's own), the files beside it come out, and
//! FILES lists them with their modes. `UPDATE_EXPECT=1 cargo test -p command-center-tests --test golden` rewrites them.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{checkout, rendered, settings, shipped};
use xtask::images::Images;
use xtask::settings::Settings;
use xtask::stack::{LAB, Stack};

#[test]
fn the_shipped_settings_render_as_recorded() {
    compare("shipped", &tree(&settings(&shipped())));
}

/// The ports differ so that a port of the template's own would be seen.
#[test]
fn metrics_and_other_ports_render_as_recorded() {
    compare_case("metrics-and-other-ports");
}

/// The first address is advertised, and each is an origin.
#[test]
fn several_addresses_render_as_recorded() {
    compare_case("several-addresses");
}

/// Quotes, `$`, backslashes and umlauts in every text that a user may set.
#[test]
fn a_german_banner_with_every_awkward_character_renders_as_recorded() {
    compare_case("german-banner");
}

/// Each switch is the other way round, limits are the smallest and the network is another.
#[test]
fn everything_toggled_renders_as_recorded() {
    compare_case("everything-toggled");
}

/// The lab has the shipped settings under another name, on another network, and an override with its images.
#[test]
fn the_lab_renders_as_recorded() {
    let settings = settings(&shipped()).for_lab();
    let mut files = tree(&settings);
    files.insert("compose/compose.override.yaml".to_owned(), lab_override(settings));
    compare("lab", &files);
}

/// The tracked file of the checkout is the shipped case: it is what `render --check` looks at in CI.
#[test]
fn the_tracked_compose_file_is_the_shipped_case() {
    let tracked = std::fs::read_to_string(checkout().join("compose/compose.yaml")).expect("compose.yaml is tracked");
    let files = tree(&settings(&shipped()));
    assert!(tracked == files["compose/compose.yaml"], "run `cargo xtask render` and commit the result");
}

/// A switch that no case turns round could be ignored by the templates without anybody noticing.
#[test]
fn the_toggled_case_differs_from_the_shipped_one_in_every_setting() {
    let text = std::fs::read_to_string(golden("everything-toggled").join("stack.toml")).expect("the case has settings");
    let toggled = serde_json::to_value(settings(&text)).expect("settings are data");
    let shipped = serde_json::to_value(settings(&shipped())).expect("settings are data");
    let mut same = Vec::new();
    equal_leaves("", &shipped, &toggled, &mut same);
    // The socket cannot be switched off, and the shipped file has these lists as examples in comments.
    const SAME: &[&str] = &["mattermost.local_mode", "outgoing_webhooks", "slash_commands", "plugins"];
    same.retain(|key| !SAME.contains(&key.as_str()));
    assert_eq!(same, Vec::<String>::new(), "these settings are the shipped ones");
}

fn equal_leaves(path: &str, left: &serde_json::Value, right: &serde_json::Value, same: &mut Vec<String>) {
    if let (Some(left), Some(right)) = (left.as_object(), right.as_object()) {
        for (key, value) in left {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            equal_leaves(&path, value, right.get(key).unwrap_or(&serde_json::Value::Null), same);
        }
    } else if left == right {
        same.push(path.to_owned());
    }
}

fn compare_case(case: &str) {
    let path = golden(case).join("stack.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    compare(case, &tree(&settings(&text)));
}

/// Every file by its path, and a list of them with mode and whether git tracks it.
fn tree(settings: &Settings) -> BTreeMap<String, String> {
    let files = rendered(settings);
    let mut list: Vec<String> = files
        .iter()
        .map(|file| {
            let tracked = if file.tracked { "tracked" } else { "ignored" };
            format!("{:04o} {tracked} {}\n", file.mode, file.path)
        })
        .collect();
    list.sort();
    let mut tree = BTreeMap::from([("FILES".to_owned(), list.concat())]);
    tree.extend(files.into_iter().map(|file| (file.path.to_owned(), file.contents)));
    tree
}

fn lab_override(settings: Settings) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stack = Stack { name: LAB.to_owned(), root: folder.path().to_owned(), settings };
    let image = |name: &str| format!("command-center-lab/{name}:0123456789abcdef");
    let images = Images { postgres: image("postgres"), mattermost: image("standin"), coturn: image("coturn") };
    xtask::lab::write_override(&stack, &images).expect("a temporary folder can be written to");
    std::fs::read_to_string(stack.lab_override()).expect("it was just written")
}

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(case)
}

/// Compares file by file, and fails over a golden file that nothing renders any more.
fn compare(case: &str, files: &BTreeMap<String, String>) {
    let folder = golden(case);
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    for path in files_below(&folder) {
        let name = path.strip_prefix(&folder).expect("it lies below").to_string_lossy().into_owned();
        if name == "stack.toml" || files.contains_key(&name) {
            continue;
        }
        assert!(update, "{} is rendered no more: remove it, or run this with UPDATE_EXPECT=1", path.display());
        std::fs::remove_file(&path).expect("a golden file can be removed");
    }
    for (name, contents) in files {
        let path = folder.join(name);
        if update {
            std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("tests/golden is writable");
        }
        expect_test::expect_file![path].assert_eq(contents);
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a folder can be listed").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
