//! What the benchmarks measure with.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub fn xtask_command(checkout: &Path, xtask: &Path) -> Command {
    let mut command = Command::new(xtask);
    command.env("CARGO_MANIFEST_DIR", checkout.join("xtask"));
    command
}

/// Medians of two things that take turns, so that a noisy machine is noisy for both.
pub fn take_turns(
    times: usize,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) -> (Duration, Duration) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..times {
        a.push(ours());
        b.push(theirs());
    }
    a.sort_unstable();
    b.sort_unstable();
    (a[times / 2], b[times / 2])
}

pub fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    assert!(quietly(command), "{command:?} failed");
    start.elapsed()
}

pub fn run(command: &mut Command) {
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?} failed");
}

pub fn quietly(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
