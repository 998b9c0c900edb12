//! What a command prints: with --json one document that is an object, an array or null, or nothing at all.

use serde_json::{Value, json};

use crate::app_error::AppError;
use crate::log;

#[derive(Debug, Default)]
pub struct Reply {
    failed: bool,
    shape: Shape,
    /// What is printed without --json.
    plain: String,
    stderr: String,
}

#[derive(Debug, Default)]
enum Shape {
    #[default]
    Nothing,
    Single(Value),
    List(Vec<Value>),
}

impl Reply {
    /// One document, printed bare.
    pub fn single(value: Value) -> Reply {
        Reply { shape: Shape::Single(value), ..Reply::default() }
    }

    /// An array, or `null` when it is empty.
    pub fn list(values: Vec<Value>) -> Reply {
        Reply { shape: Shape::List(values), ..Reply::default() }
    }

    pub fn with_plain(mut self, text: String) -> Reply {
        self.plain = text;
        self
    }

    /// Text that --json does not change, such as help.
    pub fn shown(text: String) -> Reply {
        Reply { shape: Shape::Nothing, plain: text, ..Reply::default() }
    }

    /// Adds the line that list commands write on stderr.
    pub fn counted(self, entities: &str) -> Reply {
        let count = if let Shape::List(values) = &self.shape { values.len() } else { 0 };
        self.counting(count, entities)
    }

    pub fn counting(mut self, count: usize, entities: &str) -> Reply {
        self.stderr.push_str(&format!("There are {count} {entities} on local instance\n"));
        self
    }

    pub fn complaining(mut self, text: &str) -> Reply {
        self.stderr.push_str(text);
        self
    }

    /// Ends with an error; what was collected before is still printed.
    pub fn and_failed(mut self, message: &str) -> Reply {
        self.failed = true;
        self.stderr.push_str(&format!("Error: {message}\n"));
        self
    }

    pub fn failed(message: String) -> Reply {
        Reply::default().and_failed(&message)
    }

    /// The right number of words after the command, or cobra's complaint.
    pub fn wrong_count(expected: usize, given: usize) -> Reply {
        Reply::failed(format!("accepts {expected} arg(s), received {given}"))
    }

    /// Adds what went wrong with single entries: as it was found, and again all together at the end.
    pub fn complaining_twice(self, errors: &[String]) -> Reply {
        if errors.is_empty() {
            return self;
        }
        let found: String = errors.iter().map(|it| format!("{it}\n")).collect();
        self.complaining(&found).and_failed(&multierror(errors))
    }

    pub fn not_covered(what: &str) -> Reply {
        log::warn("The stand-in does not cover a command of mmctl").with("command", what).write();
        Reply::failed(format!("the lab's stand-in does not cover `mmctl {what}`"))
    }

    pub fn local_mode_refused() -> Reply {
        let text = "This command cannot be run in local mode\n".to_owned();
        Reply { failed: true, stderr: text, ..Reply::default() }
    }

    pub fn encode(&self, with_json: bool) -> Value {
        let stdout = match &self.shape {
            Shape::Single(value) if with_json => pretty(value),
            Shape::List(values) if with_json && values.is_empty() => "null\n".to_owned(),
            Shape::List(values) if with_json => pretty(&Value::from(values.as_slice())),
            _ => self.plain.clone(),
        };
        json!({"exit": u8::from(self.failed), "stdout": stdout, "stderr": self.stderr})
    }
}

impl From<AppError> for Reply {
    fn from(error: AppError) -> Reply {
        Reply::failed(error.message)
    }
}

impl From<Result<Reply, AppError>> for Reply {
    fn from(result: Result<Reply, AppError>) -> Reply {
        result.unwrap_or_else(Reply::from)
    }
}

/// Several errors in one, in the words of Go's multierror.
pub fn multierror(errors: &[String]) -> String {
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    let lines: String = errors.iter().map(|it| format!("\t* {it}\n")).collect();
    format!("{} {noun} occurred:\n{lines}\n", errors.len())
}

/// JSON as Go indents it, which also escapes what could end a script element.
fn pretty(value: &Value) -> String {
    let text = format!("{value:#}\n");
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdout(reply: &Reply, with_json: bool) -> String {
        reply.encode(with_json)["stdout"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_document_has_one_of_four_shapes() {
        assert_eq!(stdout(&Reply::single(json!({"a": 1})), true), "{\n  \"a\": 1\n}\n");
        assert_eq!(stdout(&Reply::list(vec![json!("x")]), true), "[\n  \"x\"\n]\n");
        assert_eq!(stdout(&Reply::list(Vec::new()), true), "null\n");
        assert_eq!(stdout(&Reply::failed("no".to_owned()), true), "");
    }

    #[test]
    fn counts_go_to_stderr() {
        let reply = Reply::list(Vec::new()).counted("teams");
        assert_eq!(reply.encode(false)["stderr"], "There are 0 teams on local instance\n");
        assert_eq!(stdout(&reply, false), "");
    }

    #[test]
    fn go_escapes_what_html_knows() {
        assert_eq!(pretty(&json!("a&b<c>")), "\"a\\u0026b\\u003cc\\u003e\"\n");
    }

    #[test]
    fn errors_are_worded_as_recorded() {
        let text = multierror(&["user ghost not found".to_owned()]);
        assert_eq!(text, "1 error occurred:\n\t* user ghost not found\n\n");
    }
}
