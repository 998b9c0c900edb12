//! Metrics in words, and their values as SonarQube's own pages show them.

use crate::delivery::Condition;

use super::text::{markdown, plain};

/// In characters: `new_security_hotspots_reviewed` is one of the longest keys.
const LONGEST: usize = 60;

/// `new_duplicated_lines_density` is "Duplicated lines on new code".
pub fn name(metric: &str) -> String {
    let (metric, suffix) = match metric.strip_prefix("new_") {
        Some(it) => (it, " on new code"),
        None => (metric, ""),
    };
    let words = match metric {
        "duplicated_lines_density" => "Duplicated lines".into(),
        "ncloc" => "Lines of code".into(),
        "sqale_debt_ratio" => "Technical debt ratio".into(),
        "sqale_index" | "technical_debt" => "Technical debt".into(),
        "sqale_rating" => "Maintainability rating".into(),
        "violations" => "Issues".into(),
        other => capitalised(&plain(&other.replace('_', " "), LONGEST)),
    };
    words + suffix
}

/// "is 61.3 %, must be at least 80 %". Markdown.
pub fn verdict(condition: &Condition) -> String {
    let unit = Unit::of(&condition.metric);
    let greater_fails = condition.operator.as_deref() != Some("LESS_THAN");
    let number =
        |it: &Option<String>| it.as_deref().and_then(|it| it.trim().parse().ok()).filter(|it: &f64| it.is_finite());
    let shown = |text: &Option<String>, number: Option<f64>, decimals| match (text, number) {
        (_, Some(number)) => Some(unit.show(number, decimals)),
        (Some(text), None) => Some(markdown(text, 30)),
        (None, None) => None,
    };
    let (value, threshold) = (number(&condition.value), number(&condition.error_threshold));
    let decimals = unit.decimals(value, threshold);
    let value = shown(&condition.value, value, decimals);
    let limit = shown(&condition.error_threshold, threshold, decimals);
    let must = limit.map(|limit| match (unit, greater_fails) {
        (Unit::Rating, _) if limit == "A" => "must be A".to_owned(),
        (Unit::Rating, _) => format!("must be {limit} or better"),
        (_, true) => format!("must be at most {limit}"),
        (_, false) => format!("must be at least {limit}"),
    });
    match (value, must) {
        (Some(value), Some(must)) => format!("is {value}, {must}"),
        (Some(value), None) => format!("is {value}"),
        (None, Some(must)) => must,
        (None, None) => "failed".into(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Percent,
    /// 1 to 5, shown as A to E.
    Rating,
    /// SonarQube counts debt in minutes of work.
    Minutes,
    Number,
}

impl Unit {
    fn of(metric: &str) -> Unit {
        match metric {
            it if it.ends_with("_rating") => Unit::Rating,
            it if it.ends_with("coverage") || it.ends_with("_density") => Unit::Percent,
            it if it.ends_with("_reviewed") || it.ends_with("_ratio") => Unit::Percent,
            it if it.ends_with("sqale_index") || it.ends_with("technical_debt") => Unit::Minutes,
            _ => Unit::Number,
        }
    }

    /// One decimal, or as many as it takes to tell the value from the threshold: "is 80 %, must be at least 80 %" would
    /// help nobody.
    fn decimals(self, value: Option<f64>, threshold: Option<f64>) -> usize {
        let (Some(value), Some(threshold)) = (value, threshold) else { return 1 };
        (1..6).find(|&it| self.show(value, it) != self.show(threshold, it)).unwrap_or(1)
    }

    fn show(self, number: f64, decimals: usize) -> String {
        if self == Unit::Rating
            && let Some(&letter) =
                [1.0, 2.0, 3.0, 4.0, 5.0].iter().zip(b"ABCDE").find(|it| *it.0 == number).map(|it| it.1)
        {
            return char::from(letter).to_string();
        }
        // Nobody measures that much; a long row of digits would be all that it shows.
        let number = if number.abs() < 1e15 { format!("{number:.decimals$}") } else { format!("{number:e}") };
        let number = match number.split_once('.') {
            Some((whole, decimals)) if decimals.bytes().all(|it| it == b'0') => whole.to_owned(),
            _ => number,
        };
        match self {
            Unit::Percent => number + " %",
            Unit::Minutes => number + " min",
            Unit::Rating | Unit::Number => number,
        }
    }
}

fn capitalised(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|it| it.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: &str, operator: &str, value: &str, threshold: &str) -> String {
        let [operator, value, error_threshold] = [operator, value, threshold].map(|it| Some(it.to_owned()));
        let status = "ERROR".to_owned();
        verdict(&Condition { metric: metric.to_owned(), status, operator, value, error_threshold })
    }

    #[test]
    fn metrics_are_named_in_words() {
        assert_eq!(name("new_coverage"), "Coverage on new code");
        assert_eq!(name("new_duplicated_lines_density"), "Duplicated lines on new code");
        assert_eq!(name("new_violations"), "Issues on new code");
        assert_eq!(name("software_quality_security_rating"), "Software quality security rating");
        assert_eq!(name("new_@all\n"), "@\u{200b}all on new code");
        assert_eq!(name(""), "");
    }

    #[test]
    fn values_have_their_unit_and_the_operator_its_meaning() {
        let cases = [
            (of("new_coverage", "LESS_THAN", "61.29828080229226", "80"), "is 61.3 %, must be at least 80 %"),
            (of("new_coverage", "LESS_THAN", "79.96", "80"), "is 79.96 %, must be at least 80 %"),
            (of("duplicated_lines_density", "GREATER_THAN", "3.04", "3"), "is 3.04 %, must be at most 3 %"),
            (of("new_security_hotspots_reviewed", "LESS_THAN", "0.0", "100"), "is 0 %, must be at least 100 %"),
            (of("reliability_rating", "GREATER_THAN", "3", "1"), "is C, must be A"),
            (of("new_maintainability_rating", "GREATER_THAN", "5.0", "2"), "is E, must be B or better"),
            (of("security_rating", "GREATER_THAN", "7", "1"), "is 7, must be A"),
            (of("ncloc", "GREATER_THAN", "4", "1"), "is 4, must be at most 1"),
            (of("sqale_index", "GREATER_THAN", "95", "60"), "is 95 min, must be at most 60 min"),
            (of("custom", "GREATER_THAN", "*bad*", "1"), "is \\*bad\\*, must be at most 1"),
            (of("custom", "GREATER_THAN", "1e300", "1"), "is 1e300, must be at most 1"),
            (of("custom", "GREATER_THAN", "NaN", "1"), "is NaN, must be at most 1"),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
    }
}
