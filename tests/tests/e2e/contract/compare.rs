//! Compares a recorded document with ours.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::text;

/// Accounts that the recorded server or ours made for itself, at moments that differ.
const NOT_OURS: [&str; 3] = ["calls", "system-bot", "gitlab-bot"];

#[derive(Default)]
pub struct Comparison {
    /// Recorded identifiers and tokens, and what they are here.
    pub bound: HashMap<String, String>,
    pub differences: Vec<String>,
}

/// How strictly a document is compared.
#[derive(Clone, Copy)]
pub struct Subject {
    /// What it says depends on the site's configuration: only kinds and keys count.
    pub loose: bool,
    /// The recording was cut, so ours may have more keys.
    pub partial: bool,
}

impl Comparison {
    pub fn values(&mut self, place: &str, at: &str, subject: Subject, recorded: &Value, here: &Value) {
        match (recorded, here) {
            (Value::Object(a), Value::Object(b)) if a.keys().any(|it| is_identifier(it)) => {
                // Documents by their ids, which a list before them has bound.
                for (key, value) in a {
                    let bound = self.bound.get(key).cloned().unwrap_or_default();
                    match b.get(&bound) {
                        Some(here) => self.values(place, &format!("{at}.{key}"), subject, value, here),
                        None => self.differ(place, at, &format!("nothing stands for {key}")),
                    }
                }
            }
            (Value::Object(a), Value::Object(b)) => {
                for key in a.keys().filter(|key| !b.contains_key(*key)) {
                    self.differ(place, at, &format!("the key {key} is missing"));
                }
                for key in b.keys().filter(|key| !subject.partial && !a.contains_key(*key)) {
                    self.differ(place, at, &format!("the key {key} is not recorded"));
                }
                for (key, value) in a {
                    if let Some(here) = b.get(key) {
                        self.values(place, &format!("{at}.{key}"), subject, value, here);
                    }
                }
            }
            (Value::Array(a), Value::Array(b)) if is_named(a) || is_named(b) => self.named(place, at, subject, a, b),
            (Value::Array(a), Value::Array(b)) if a.len() > 1 && a.iter().all(is_membership) => {
                self.memberships(place, at, subject, a, b);
            }
            (Value::Null, Value::Array(b)) if is_named(b) => self.named(place, at, subject, &[], b),
            (Value::Array(a), Value::Array(b)) if !subject.loose => {
                if a.len() != b.len() {
                    self.differ(place, at, &format!("{} entries, here {}", a.len(), b.len()));
                }
                for (index, (a, b)) in a.iter().zip(b).enumerate() {
                    self.values(place, &format!("{at}[{index}]"), subject, a, b);
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                for (a, b) in a.iter().zip(b) {
                    self.values(place, at, subject, a, b);
                }
            }
            (Value::Number(a), Value::Number(b)) => {
                let time = at.ends_with("_at") || at.ends_with("_update");
                let same = if time { (a.as_i64() == Some(0)) == (b.as_i64() == Some(0)) } else { a == b };
                if !same && !subject.loose {
                    self.differ(place, at, &format!("{a}, here {b}"));
                }
            }
            (Value::String(a), Value::String(b)) => self.texts(place, at, subject, a, b),
            (Value::Bool(_), Value::Bool(_)) if subject.loose => {}
            (a, b) if a == b => {}
            (a, b) => self.differ(place, at, &format!("{a}, here {b}")),
        }
    }

    /// Lists of accounts, compared name by name.
    fn named(&mut self, place: &str, at: &str, subject: Subject, recorded: &[Value], here: &[Value]) {
        let find = |list: &[Value], name: &str| list.iter().find(|it| it["username"] == name).cloned();
        let names: HashSet<&str> = recorded.iter().chain(here).map(|it| text(it, "username")).collect();
        for name in names {
            match (find(recorded, name), find(here, name)) {
                (Some(a), Some(b)) => self.values(place, &format!("{at}[{name}]"), subject, &a, &b),
                _ if NOT_OURS.contains(&name) => {}
                (Some(_), None) => self.differ(place, at, &format!("{name} is missing")),
                (None, _) => self.differ(place, at, &format!("{name} is not recorded")),
            }
        }
    }

    /// Lists of members come in the order of identifiers, which is another one here.
    fn memberships(&mut self, place: &str, at: &str, subject: Subject, recorded: &[Value], here: &[Value]) {
        if recorded.len() != here.len() {
            self.differ(place, at, &format!("{} members, here {}", recorded.len(), here.len()));
        }
        for member in recorded {
            let user = text(member, "user_id");
            let bound = self.bound.get(user).cloned().unwrap_or_default();
            match here.iter().find(|it| text(it, "user_id") == bound) {
                Some(found) => self.values(place, &format!("{at}[{user}]"), subject, member, found),
                None => self.differ(place, at, &format!("the member {user} is missing")),
            }
        }
    }

    fn texts(&mut self, place: &str, at: &str, subject: Subject, recorded: &str, here: &str) {
        if at.ends_with(".version") && (here.starts_with("11.6.0") || !recorded.starts_with("11.6.0")) {
            return;
        }
        if is_identifier(recorded) {
            self.identifier(place, at, recorded, here);
        } else if let Some(run) = recorded.strip_suffix("…(a run of y)") {
            let is_run = here.len() > run.len() && here.bytes().all(|it| it == b'y');
            self.same(place, at, "true", &is_run.to_string());
        } else if !subject.loose {
            let ours = self.bound.iter().filter(|(it, _)| recorded.contains(it.as_str()));
            let recorded = ours.fold(recorded.to_owned(), |text, (theirs, ours)| text.replace(theirs.as_str(), ours));
            self.same(place, at, &recorded, here);
        } else if at.ends_with(".username") {
            self.same(place, at, after_colon(recorded), after_colon(here));
        }
    }

    pub fn identifier(&mut self, place: &str, at: &str, recorded: &str, here: &str) {
        if !is_identifier(here) {
            self.differ(place, at, &format!("{here:?} is no identifier"));
            return;
        }
        let bound = self.bound.entry(recorded.to_owned()).or_insert_with(|| here.to_owned()).clone();
        self.same(place, at, &bound, here);
    }

    pub fn same(&mut self, place: &str, what: &str, recorded: &str, here: &str) {
        if recorded != here {
            self.differ(place, what, &format!("{recorded:?}, here {here:?}"));
        }
    }

    pub fn differ(&mut self, place: &str, what: &str, difference: &str) {
        self.differences.push(format!("{place}: {what}: {difference}"));
    }
}

fn is_named(list: &[Value]) -> bool {
    list.first().is_some_and(|it| it["username"].is_string() && it["update_at"].is_number())
}

fn is_membership(entry: &Value) -> bool {
    entry["user_id"].is_string() && entry["scheme_user"].is_boolean()
}

fn is_identifier(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
}

fn after_colon(text: &str) -> &str {
    text.split_once(':').map_or(text, |(_, it)| it)
}
