//! Where in the text an error is: users mend a line, not a data structure.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Invalid;

/// The line, counted from 1, of a dotted key, or of its nearest table that the text has. A number in it is a position in a
/// list, counted from 0; what follows `configuration.` is one key.
pub(super) fn line_of(text: &str, key: &str) -> usize {
    let Ok(document) = DeTable::parse(text) else { return 1 };
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let parts: Vec<&str> = if first == "configuration" { vec![rest] } else { rest.split('.').collect() };
    let Some((name, value)) = document.get_ref().iter().find(|(name, _)| name.get_ref() == first) else { return 1 };
    let (mut offset, mut value) = (name.span().start, value);
    for part in parts {
        let inner = match value.get_ref() {
            DeValue::Table(table) => table.iter().find(|(name, _)| name.get_ref() == part).map(|(name, value)| {
                offset = name.span().start;
                value
            }),
            DeValue::Array(list) => part.parse::<usize>().ok().and_then(|index| list.get(index)).inspect(|value| {
                offset = value.span().start;
            }),
            _ => None,
        };
        let Some(inner) = inner else { break };
        value = inner;
    }
    line_at(text, offset)
}

/// What the parser found, in one line, with the key that it is about.
pub(super) fn parse_error(text: &str, shown: &str, error: &toml::de::Error) -> Invalid {
    let offset = error.span().map_or(0, |span| span.start);
    let line = line_at(text, offset);
    let key = key_at(text, offset).map(|key| format!("{key}: ")).unwrap_or_default();
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    let message = message
        .replace("expected u16", "expected a whole number from 0 to 65535")
        .replace("expected u32", "expected a whole number that is not negative");
    let hint = if message.contains("unknown field") {
        "remove the key, or spell it as the shipped stack.toml does".to_owned()
    } else if message.contains("missing field") {
        "every key must be there: `git show HEAD:stack.toml` shows the shipped file".to_owned()
    } else {
        format!("mend line {line}: {}", text.lines().nth(line - 1).unwrap_or_default().trim())
    };
    Invalid { message: format!("{shown}:{line}: {key}{message}"), hint }
}

fn line_at(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

/// The dotted key whose name or value covers the offset, when the text is TOML at all.
fn key_at(text: &str, offset: usize) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let mut path = Vec::new();
    descend(document.get_ref(), offset, &mut path);
    (!path.is_empty()).then(|| path.join("."))
}

fn descend(table: &DeTable<'_>, offset: usize, path: &mut Vec<String>) {
    for (name, value) in table.iter() {
        let here = covers(name, offset) || covers(value, offset);
        if let DeValue::Table(inner) = value.get_ref() {
            let depth = path.len();
            path.push(name.get_ref().to_string());
            descend(inner, offset, path);
            if here || path.len() > depth + 1 {
                return;
            }
            path.truncate(depth);
        } else if here {
            path.push(name.get_ref().to_string());
            return;
        }
    }
}

fn covers<T>(spanned: &Spanned<T>, offset: usize) -> bool {
    spanned.span().contains(&offset)
}
