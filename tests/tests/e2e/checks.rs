//! Several checks of one booted stack: booting takes most of the time, and one failure must not hide another.

use std::panic::{AssertUnwindSafe, catch_unwind};

use command_center_tests::Stack;

/// What is checked, as a sentence, and how.
pub type Check = (&'static str, fn(&Stack));

/// Runs every check, then fails with the names of those that failed. What they said stands above.
pub fn run(stack: &Stack, checks: &[Check]) {
    let mut failed = Vec::new();
    for (name, check) in checks {
        if catch_unwind(AssertUnwindSafe(|| check(stack))).is_err() {
            eprintln!("  FAILED: {name}");
            failed.push(*name);
        } else {
            eprintln!("  checked: {name}");
        }
    }
    assert!(failed.is_empty(), "{} of {} checks failed: {}", failed.len(), checks.len(), failed.join("; "));
}
