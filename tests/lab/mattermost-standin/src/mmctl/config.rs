//! `mmctl config …`. Everything that changes it answers with the whole configuration.

use serde_json::{Map, Value, json};

use super::args::Args;
use super::reply::Reply;
use crate::app_error::AppError;
use crate::{Server, config, log};

pub async fn get(server: &Server, args: &Args) -> Reply {
    let [key] = args.positional.as_slice() else {
        return Reply::wrong_count(1, args.positional.len());
    };
    match config::get(&*server.config.read().await, key) {
        // mmctl prints JSON here with and without --json.
        Some(value) => Reply::single(value.clone()).with_plain(format!("{value:#}\n")),
        None => Reply::failed("invalid key".to_owned()),
    }
}

pub async fn show(server: &Server) -> Reply {
    Reply::single(server.config.read().await.clone())
}

pub async fn set(server: &Server, args: &Args) -> Result<Reply, AppError> {
    let [path, words @ ..] = args.positional.as_slice() else {
        return Ok(Reply::failed("requires at least 2 arg(s), only received 0".to_owned()));
    };
    if words.is_empty() {
        return Ok(Reply::failed("requires at least 2 arg(s), only received 1".to_owned()));
    }
    let failed = |message: &str| Ok(Reply::list(Vec::new()).and_failed(message));
    let keys = match resolve(&*server.config.read().await, path) {
        Ok(it) => it,
        Err(message) => return failed(message),
    };
    let current = keys.iter().fold(server.config.read().await.clone(), |value, key| value[key.as_str()].clone());
    let value = match converted(&current, words) {
        Ok(it) => it,
        Err(message) => return failed(&message),
    };
    let patch = keys.iter().rev().fold(value, |value, key| json!({key.as_str(): value}));
    apply(server, patch).await
}

pub async fn patch(server: &Server, args: &Args, stdin: &[u8]) -> Result<Reply, AppError> {
    let [file] = args.positional.as_slice() else {
        return Ok(Reply::wrong_count(1, args.positional.len()));
    };
    let failed = |message: &str| Ok(Reply::list(Vec::new()).and_failed(message));
    let bytes = match read(file, stdin).await {
        Ok(it) => it,
        Err(message) => return failed(&message),
    };
    let patch: Value = match serde_json::from_slice(&bytes) {
        Ok(it) => it,
        Err(error) => return failed(&in_gos_words(&bytes, &error)),
    };
    match known(&server.settings.defaults, &patch) {
        Ok(patch) => apply(server, patch).await,
        Err(message) => failed(&message),
    }
}

async fn apply(server: &Server, patch: Value) -> Result<Reply, AppError> {
    if patch["PluginSettings"].get("EnableUploads").is_some() {
        return Ok(Reply::not_covered("config set or patch of PluginSettings.EnableUploads"));
    }
    config::apply(server, patch).await?;
    Ok(Reply::list(vec![config::masked(&*server.config.read().await)]))
}

/// What a file argument names: mmctl runs in the server's container, and only its standard input is its own.
pub async fn read(file: &str, stdin: &[u8]) -> Result<Vec<u8>, String> {
    if file == "/dev/stdin" {
        return Ok(stdin.to_vec());
    }
    tokio::fs::read(file).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {file}: no such file or directory"),
        std::io::ErrorKind::PermissionDenied => format!("open {file}: permission denied"),
        _ => format!("open {file}: {error}"),
    })
}

/// The keys of a dotted path. A plugin's id has dots of its own and is found only when the plugin has settings already.
fn resolve(all: &Value, path: &str) -> Result<Vec<String>, &'static str> {
    let invalid = "selected path object is not valid";
    let (section, rest) = path.split_once('.').ok_or(invalid)?;
    let mut keys = vec![section.to_owned()];
    if let Some(rest) = rest.strip_prefix("Plugins.").filter(|_| section == "PluginSettings") {
        let plugins = all["PluginSettings"]["Plugins"].as_object();
        let (id, key) = plugins
            .into_iter()
            .flatten()
            .find_map(|(id, _)| Some((id, rest.strip_prefix(id.as_str())?.strip_prefix('.')?)))
            .ok_or("path object type is not supported")?;
        keys.extend(["Plugins".to_owned(), id.clone(), key.to_owned()]);
    } else {
        keys.extend(rest.split('.').map(str::to_owned));
    }
    let found = keys.iter().try_fold(all, |value, key| value.get(key)).filter(|it| !it.is_null());
    found.map(|_| keys).ok_or(invalid)
}

/// The words as a value of the type that the setting has now.
fn converted(current: &Value, words: &[String]) -> Result<Value, String> {
    let [word] = words else {
        return if current.is_array() { Ok(json!(words)) } else { Err("only one value is accepted".to_owned()) };
    };
    match current {
        Value::Bool(_) => word.parse().map(Value::Bool).map_err(|_| format!("{word:?} is not a boolean")),
        Value::Number(_) => word.parse::<i64>().map(Value::from).map_err(|_| format!("{word:?} is not a number")),
        Value::Array(_) => Ok(json!([word])),
        Value::Object(_) => Err("value type map is not supported".to_owned()),
        _ => Ok(json!(word)),
    }
}

/// A patch without the keys that no setting has: Mattermost drops them without a word. A value of a wrong type is an
/// error.
fn known(defaults: &Value, patch: &Value) -> Result<Value, String> {
    let Value::Object(sections) = patch else {
        return Err("json: cannot unmarshal into Go value of type model.Config".to_owned());
    };
    let mut kept = Map::new();
    for (section, keys) in sections {
        for (key, value) in keys.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let Some(default) = defaults.get(section).and_then(|it| it.get(key)) else {
                log::warn("A patch has a setting that does not exist")
                    .with("setting", &format!("{section}.{key}"))
                    .write();
                continue;
            };
            if std::mem::discriminant(default) != std::mem::discriminant(value) && !default.is_null() {
                return Err(format!("json: cannot unmarshal a value into Go struct field Config.{section}.{key}"));
            }
            kept.entry(section).or_insert_with(|| json!({}))[key] = value.clone();
        }
    }
    Ok(Value::Object(kept))
}

/// A syntax error as Go words it.
fn in_gos_words(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = bytes.split(|it| *it == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let character = line.get(error.column().saturating_sub(1)).map_or(' ', |it| char::from(*it));
    let place = if error.to_string().starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else {
        "looking for beginning of value"
    };
    format!("invalid character '{character}' {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_dotted_id_is_found_when_it_has_settings() {
        let all = json!({"PluginSettings": {"Plugins": {"com.a.b": {"url": "x"}}}, "S": {"K": 1}});
        assert_eq!(
            resolve(&all, "PluginSettings.Plugins.com.a.b.url").map(|it| it[2].clone()),
            Ok("com.a.b".to_owned())
        );
        assert_eq!(resolve(&all, "PluginSettings.Plugins.com.c.url"), Err("path object type is not supported"));
        assert_eq!(resolve(&all, "S.NoSuch"), Err("selected path object is not valid"));
        assert!(resolve(&all, "S.K").is_ok());
    }

    #[test]
    fn a_syntax_error_is_the_recorded_one() {
        let error = serde_json::from_str::<Value>("{bad").expect_err("no JSON");
        let recorded = "invalid character 'b' looking for beginning of object key string";
        assert_eq!(in_gos_words(b"{bad", &error), recorded);
    }

    #[test]
    fn a_patch_keeps_only_settings() {
        let defaults = json!({"S": {"K": true}});
        assert_eq!(known(&defaults, &json!({"S": {"K": false, "X": 1}, "T": {}})), Ok(json!({"S": {"K": false}})));
        assert!(known(&defaults, &json!({"S": {"K": "no"}})).is_err());
    }
}
