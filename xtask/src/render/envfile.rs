//! One function quotes a value for an env file, by the grammar of Compose's dotenv parser
//! (compose-go dotenv/parser.go; `format: raw` needs Compose 2.30 and is not used).

/// A value that an env file cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub struct LineBreak;

impl std::fmt::Display for LineBreak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an env file has one line a value: no line break and no NUL can be in it")
    }
}

impl std::error::Error for LineBreak {}

/// Quotes a value so that Compose reads it back as it is, interpolating nothing.
///
/// Single quotes are literal but for `\'`, and a backslash before the closing quote would be taken for one; a value with a
/// quote or a backslash goes into double quotes, where `\`, `"` and `$` are escaped.
pub fn quote(value: &str) -> Result<String, LineBreak> {
    if value.contains(['\n', '\r', '\0']) {
        return Err(LineBreak);
    }
    if !value.contains(['\'', '\\']) {
        return Ok(format!("'{value}'"));
    }
    let mut quoted = String::with_capacity(value.len() + 8);
    quoted.push('"');
    for c in value.chars() {
        if matches!(c, '\\' | '"' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Ok(quoted)
}

/// The names and values of a file whose values [`quote`] wrote.
pub fn values(text: &str) -> impl Iterator<Item = (&str, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name, unquote(value)))
}

pub fn value(text: &str, name: &str) -> Option<String> {
    values(text).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The value of a line that [`quote`] wrote, without the quotes.
fn unquote(quoted: &str) -> String {
    if let Some(literal) = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return literal.to_owned();
    }
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
    let mut value = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        value.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_is_refused() {
        assert_eq!(quote("a\nb"), Err(LineBreak));
        assert_eq!(quote("a\rb"), Err(LineBreak));
    }

    #[test]
    fn a_quoted_value_is_read_back() {
        for value in ["", "plain", "it's $5", "back\\slash", "a \"b\" 'c' \\' $d", "#x"] {
            assert_eq!(unquote(&quote(value).expect("one line")), value);
        }
    }

    #[test]
    fn plain_values_are_single_quoted() {
        assert_eq!(quote("$HOME # x").as_deref(), Ok("'$HOME # x'"));
        assert_eq!(quote("it's $5").as_deref(), Ok("\"it's \\$5\""));
    }
}
