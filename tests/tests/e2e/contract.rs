//! Replays what a real Mattermost answered (tests/contract) against a running one, the lab's stand-in or the real thing.
//!
//! Compared are exit status and HTTP status, the shape of the output, the set of keys in every object, and every text
//! and number that does not depend on the server. Identifiers and tokens must be ones of the recorded form; the first
//! time one is met it is bound to ours, and from then on every recorded one stands for ours: in answers, so that what
//! owned itself still owns itself, and in the requests that follow.

mod compare;
mod order;

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};

use compare::{Comparison, Subject};

/// Runs mmctl with arguments (without the program's name) and the bytes of standard input; gives exit status, stdout and stderr,
/// or [`TIMED_OUT`] for a call that did not return within the caller's time limit.
pub type Mmctl<'a> = &'a dyn Fn(&[String], Option<&[u8]>) -> (i32, String, String);

/// Sends a request: method, path, headers, body. Gives status, headers and body. A request with the header `Upgrade`
/// carries all that a WebSocket handshake needs, and its answer has no body.
pub type Http<'a> = &'a dyn Fn(&str, &str, &[(String, String)], Option<&str>) -> (u16, Vec<(String, String)>, String);

pub const TIMED_OUT: i32 = -1;

pub struct Contract {
    mmctl: Vec<Value>,
    http: Vec<Value>,
    /// The lines that have been replayed, by file and number.
    done: HashSet<(&'static str, usize)>,
    /// Recorded origins, and what they are here.
    origins: Vec<(&'static str, String)>,
    comparison: Comparison,
}

impl Contract {
    /// `site_url` and `by_ip` are the origins under which the server is configured: SiteURL, and `https://<IP>:<port>`
    /// as in AllowCorsFrom.
    pub fn load(folder: &Path, site_url: &str, by_ip: &str) -> Contract {
        let without_port = by_ip.rsplit_once(':').expect("an origin with a port").0;
        Contract {
            mmctl: lines(&folder.join("mmctl.jsonl")),
            http: lines(&folder.join("http.jsonl")),
            done: HashSet::new(),
            origins: vec![
                ("https://mattermost.cicd.local:8065", site_url.to_owned()),
                ("https://192.0.2.2:8065", by_ip.to_owned()),
                ("https://192.0.2.2", without_port.to_owned()),
            ],
            comparison: Comparison::default(),
        }
    }

    /// Panics with every difference that was found, and for every line that nothing replayed.
    pub fn finish(mut self) {
        for (file, count) in [("mmctl.jsonl", self.mmctl.len()), ("http.jsonl", self.http.len())] {
            for number in (0..count).filter(|it| !self.done.contains(&(file, *it))) {
                self.comparison.differences.push(format!("{file}:{}: never replayed", number + 1));
            }
        }
        assert!(
            self.comparison.differences.is_empty(),
            "the contract is not kept:\n{}",
            self.comparison.differences.join("\n")
        );
    }

    fn mmctl_until(&mut self, mmctl: Mmctl, end: &str) {
        for number in 0..self.mmctl.len() {
            let line = self.mmctl[number].clone();
            if words(&line["argv"]).join(" ").contains(end) {
                return;
            }
            // A call that hangs is replayed by name, and one that was replayed is not repeated.
            if !line["exit"].is_null() && self.done.insert(("mmctl.jsonl", number)) {
                self.call(mmctl, &format!("mmctl.jsonl:{}", number + 1), &line);
            }
        }
    }

    fn mmctl_line(&mut self, mmctl: Mmctl, wanted: impl Fn(&Value) -> bool) {
        let number = (0..self.mmctl.len()).find(|it| wanted(&self.mmctl[*it])).expect("the line is recorded");
        self.done.insert(("mmctl.jsonl", number));
        let line = self.mmctl[number].clone();
        self.call(mmctl, &format!("mmctl.jsonl:{}", number + 1), &line);
    }

    fn http_lines(&mut self, http: Http, wanted: impl Fn(&str) -> bool) {
        for number in 0..self.http.len() {
            let line = self.http[number].clone();
            if wanted(text(&line["request"], "path")) && self.done.insert(("http.jsonl", number)) {
                self.request(http, &format!("http.jsonl:{}", number + 1), &line);
            }
        }
    }

    fn http_line(&mut self, http: Http, wanted: impl Fn(&Value) -> bool) {
        let open = |number: &usize| !self.done.contains(&("http.jsonl", *number)) && wanted(&self.http[*number]);
        let number = (0..self.http.len()).find(open).expect("the line is recorded");
        self.done.insert(("http.jsonl", number));
        let line = self.http[number].clone();
        self.request(http, &format!("http.jsonl:{}", number + 1), &line);
    }

    /// Makes state that the recording had but does not show.
    fn prepare(&mut self, mmctl: Mmctl, arguments: &[&str]) -> Value {
        let mut full = vec!["--local".to_owned(), "--json".to_owned()];
        full.extend(arguments.iter().map(|it| (*it).to_owned()));
        let (exit, stdout, stderr) = mmctl(&full, None);
        assert_eq!(exit, 0, "mmctl {}: {stderr}", arguments.join(" "));
        serde_json::from_str(&stdout).expect("mmctl prints JSON")
    }

    fn call(&mut self, mmctl: Mmctl, place: &str, line: &Value) {
        let arguments: Vec<String> = words(&line["argv"])[1..].iter().map(|it| self.ours(it)).collect();
        let place = format!("{place}: mmctl {}", arguments.join(" "));
        let (exit, stdout, stderr) = mmctl(&arguments, stdin(line).as_deref());
        let Some(recorded_exit) = line["exit"].as_i64() else {
            self.comparison.same(&place, "exit", &TIMED_OUT.to_string(), &exit.to_string());
            return;
        };
        self.comparison.same(&place, "exit", &recorded_exit.to_string(), &exit.to_string());
        let subject = Subject { loose: is_loose(line), partial: line["stdout_note"].is_string() };
        let (recorded, here) = (text(line, "stdout"), stdout.as_str());
        match (serde_json::from_str(recorded), serde_json::from_str(here)) {
            (Ok(from), Ok(to)) => {
                // An empty list is `null` and has nothing to indent.
                if recorded.lines().nth(1).is_some() && here.lines().nth(1).is_some() {
                    self.comparison.same(&place, "indentation", &indentation(recorded), &indentation(here));
                }
                self.comparison.values(&place, "stdout", subject, &from, &to);
            }
            // The whole configuration, which the recording leaves out.
            (Err(_), Ok(Value::Array(to))) if recorded.starts_with("(cut") => {
                if !to.first().is_some_and(|it| it["ServiceSettings"].is_object()) {
                    self.comparison.differ(&place, "stdout", "it is no configuration");
                }
            }
            _ if here.starts_with("Server version 11.6.0") && recorded.starts_with("Server version 11.6.0") => {}
            _ => self.comparison.same(&place, "stdout", recorded, &without_plugins(here)),
        }
        let listed = serde_json::from_str::<Vec<Value>>(&stdout).unwrap_or_default();
        let expected = if listed.is_empty() || arguments.contains(&"plugin".to_owned()) {
            self.ours(text(line, "stderr"))
        } else {
            recount(text(line, "stderr"), listed.len())
        };
        let stderr = if here.contains("Listing enabled") { recount(&stderr, 3) } else { stderr };
        self.comparison.same(&place, "stderr", &expected, &stderr);
    }

    fn request(&mut self, http: Http, place: &str, line: &Value) {
        let request = &line["request"];
        let (method, path) = (text(request, "method"), self.ours(text(request, "path")));
        let place = format!("{place}: {method} {path}");
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            headers.push((name.clone(), self.ours(value.as_str().unwrap_or_default())));
        }
        let upgrade = headers.iter().any(|(name, _)| name == "Upgrade");
        if upgrade {
            for (name, value) in [
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ] {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        let body = match &request["body"] {
            Value::Null => None,
            Value::String(it) => Some(it.clone()),
            document if document["text"] == "y*20000" => Some(json!({"text": "y".repeat(20_000)}).to_string()),
            document => Some(self.ours(&document.to_string())),
        };
        let (status, answered, body) = http(method, &path, &headers, body.as_deref());
        self.comparison.same(&place, "status", &line["status"].to_string(), &status.to_string());
        if upgrade {
            return;
        }
        for (name, recorded) in line["headers"].as_object().into_iter().flatten() {
            let recorded = recorded.as_str().unwrap_or_default();
            let here = answered.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value);
            match name.as_str() {
                "X-Version-Id" if here.starts_with("11.6.0.") => {}
                "Token" => self.comparison.identifier(&place, "the header Token", recorded, here),
                _ => self.comparison.same(&place, name, recorded, here),
            }
        }
        let subject = Subject { loose: is_loose(line), partial: line["body_note"].is_string() };
        match (serde_json::from_str(text(line, "body")), serde_json::from_str(&body)) {
            (Ok(recorded), Ok(here)) => self.comparison.values(&place, "body", subject, &recorded, &here),
            _ => self.comparison.same(&place, "body", text(line, "body"), &body),
        }
    }

    /// A recorded text with our identifiers, tokens and origins in it.
    fn ours(&self, recorded: &str) -> String {
        if let Some((_, origin)) = self.origins.iter().find(|(it, _)| *it == recorded) {
            return origin.clone();
        }
        let bound = self.comparison.bound.iter().filter(|(it, _)| recorded.contains(it.as_str()));
        bound.fold(recorded.to_owned(), |text, (theirs, ours)| text.replace(theirs.as_str(), ours))
    }

    fn bind_words(&mut self, words: &str, token: &Value) {
        self.comparison.bound.insert(words.to_owned(), token.as_str().unwrap_or_default().to_owned());
    }
}

/// Configuration, and what the Calls plugin makes of it.
fn is_loose(line: &Value) -> bool {
    let command = words(&line["argv"]).join(" ");
    let path = text(&line["request"], "path");
    [" config get ", " config set ", " config patch "].iter().any(|it| command.contains(it))
        || command.ends_with(" plugin list")
        || path.starts_with("/plugins/com.mattermost.calls/")
        || path.starts_with("/api/v4/config/client")
}

/// What a call reads. The recording does not hold a bundle's bytes, nor the patches of its last two calls.
fn stdin(line: &Value) -> Option<Vec<u8>> {
    let text = match (text(line, "note"), text(line, "stdin")) {
        (_, "(bytes of a .tar.gz)") => return Some(bundle()),
        ("merges", "") => r#"{"PluginSettings": {"Plugins": {"jenkins": {"profileimageurl": "x"}}}}"#,
        (note, "") if note.starts_with("a key that the environment sets") => {
            r#"{"ServiceSettings": {"SiteURL": "https://other.example"}}"#
        }
        (_, "") => return None,
        (_, stdin) => stdin,
    };
    Some(text.as_bytes().to_vec())
}

/// A plugin's bundle, made by the host's tar.
fn bundle() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = r#"{"id": "com.mattermost.calls", "name": "Calls", "version": "1.11.0"}"#;
    std::fs::write(folder.path().join("plugin.json"), manifest).expect("a file can be written");
    let tar = std::process::Command::new("tar").args(["-cz", "plugin.json"]).current_dir(folder.path()).output();
    tar.expect("tar runs").stdout
}

/// The white space that the second line begins with.
fn indentation(text: &str) -> String {
    text.lines().nth(1).map(|it| it.chars().take_while(|it| it.is_whitespace()).collect()).unwrap_or_default()
}

/// Plugins may be installed here and were not when `plugin list` was recorded.
fn without_plugins(text: &str) -> String {
    text.lines().filter(|it| !it.contains(", Version: ")).map(|it| format!("{it}\n")).collect()
}

/// A count line with another count.
fn recount(stderr: &str, count: usize) -> String {
    let mut words: Vec<String> = stderr.split(' ').map(str::to_owned).collect();
    if stderr.starts_with("There are ") && words.len() > 2 {
        words[2] = count.to_string();
    }
    words.join(" ")
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON document")).collect()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
