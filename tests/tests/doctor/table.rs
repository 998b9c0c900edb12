//! The table as a whole: nothing that can be wrong is without a test, and nobody waits for a check that hangs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use expect_test::expect_file;
use xtask::doctor::repair::{self, Repair};
use xtask::doctor::{Row, State, ok, page, problem, side_by_side};

/// Every problem, found in what was recorded.
fn found() -> Vec<Row> {
    let mut rows = crate::host::rows();
    rows.extend(crate::firewall::every_problem());
    rows.extend(crate::certificates::rows());
    rows.extend(crate::servers::rows());
    rows.extend(crate::calls::rows());
    rows.extend(crate::tools::rows());
    rows.extend(side_by_side(hanging(), Duration::from_millis(50)));
    rows
}

type Check = Box<dyn FnOnce() -> Vec<Row> + Send>;

fn hanging() -> Vec<(&'static str, Check)> {
    let forever = || -> Check {
        Box::new(|| {
            loop {
                std::thread::park();
            }
        })
    };
    vec![("engine", forever()), ("disk", forever())]
}

#[test]
fn every_problem_has_a_finding_that_shows_it() {
    let found: BTreeSet<&str> = found().iter().filter_map(|row| Some(row.problem.0?.id)).collect();
    let all: BTreeSet<&str> = problem::all().map(|problem| problem.id).collect();
    let missing: Vec<_> = all.difference(&found).collect();
    assert!(missing.is_empty(), "no test shows {missing:?}");
    let unlisted: Vec<_> = found.difference(&all).collect();
    assert!(unlisted.is_empty(), "not on the page: {unlisted:?}");
}

/// What people read: one line a problem, and nothing left to fill in.
#[test]
fn findings_and_fixes_read_well() {
    let mut text = String::new();
    for row in found() {
        let Some(problem) = row.problem.0 else { panic!("a row without a problem: {row:?}") };
        let left = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
        assert!(!row.fix.split('{').skip(1).any(left), "{}: {}", problem.id, row.fix);
        assert!(!row.finding.is_empty() && !row.fix.is_empty(), "{}", problem.id);
        assert_eq!(row.name, problem.row);
        text.push_str(&format!("{}: {}\n    {}\n", problem.id, row.finding, row.fix));
    }
    expect_file!["recorded/rows.txt"].assert_eq(&text);
}

#[test]
fn names_of_problems_are_unique_and_of_one_form() {
    let mut seen = BTreeSet::new();
    for problem in problem::all() {
        assert!(seen.insert(problem.id), "{} is there twice", problem.id);
        let (row, what) = problem.id.split_once('.').expect("a row and what is wrong there");
        let is_word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !text.is_empty();
        assert!(is_word(row) && is_word(what), "{}", problem.id);
        for text in [problem.symptom, problem.cause] {
            assert!(text.ends_with('.'), "{}: a sentence ends with a full stop: {text}", problem.id);
        }
    }
}

#[test]
fn the_page_is_the_table() {
    let page = page::render();
    for problem in problem::all() {
        for text in [&format!("### {}\n", problem.id), problem.symptom, problem.cause] {
            assert!(page.contains(text), "{text}");
        }
    }
    expect_file!["../../../docs/troubleshooting.md"].assert_eq(&page);
}

#[test]
fn a_check_that_hangs_or_panics_holds_nobody_up() {
    let quick = || -> Check { Box::new(|| vec![ok("memory", "well")]) };
    let mut checks = hanging();
    checks.push(("memory", quick()));
    checks.push(("clock", Box::new(|| panic!("a check that panics on purpose"))));
    checks.push(("ports", quick()));
    let start = Instant::now();
    let rows = side_by_side(checks, Duration::from_millis(300));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let shown: Vec<_> = rows.iter().map(|row| (row.name, row.state)).collect();
    let expected = [("engine", State::Fail), ("memory", State::Ok), ("memory", State::Ok), ("doctor", State::Warn)];
    assert_eq!(shown, expected, "in the order of the list");
    assert!(rows[3].finding.ends_with(": disk, clock"), "{}", rows[3].finding);
}

/// `doctor --fix` does what rows ask for, each thing once, the quick one first.
#[test]
fn repairs_are_done_once_each() {
    assert_eq!(repair::wanted(&[ok("disk", "well")]), []);
    let wanted = repair::wanted(&found());
    assert_eq!(wanted, [Repair::Modes, Repair::Up]);
}

/// Scripts rely on these keys: docs/troubleshooting.md promises them.
#[test]
fn json_has_the_documented_keys() {
    let row = serde_json::to_value(ok("disk", "80 GiB are free")).expect("a row is JSON");
    let expected = serde_json::json!({
        "name": "disk", "state": "ok", "finding": "80 GiB are free", "fix": "",
        "problem": null, "symptom": null, "cause": null,
    });
    assert_eq!(row, expected);
    let row = serde_json::to_value(&found()[0]).expect("a row is JSON");
    for key in row.as_object().expect("an object").keys() {
        assert!(page::render().contains(&format!("`{key}`")), "{key} is not documented");
    }
}
