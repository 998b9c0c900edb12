//! The table of `doctor`: every check runs on its own thread, against facts that are asked for once.
//!
//! A check gathers facts at the edge and hands them to a pure function of the same module, which says what they mean. What can be
//! wrong is in the tables of [`problem`]: docs/troubleshooting.md is printed from them, so the two cannot differ.

pub mod calls;
pub mod certificates;
pub mod context;
pub mod files;
pub mod firewall;
pub mod hooks;
pub mod host;
pub mod mattermost;
pub mod network;
pub mod page;
pub mod postgres;
pub mod problem;
pub mod repair;
pub mod services;
pub mod tools;
pub mod turn;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::drivers::docker::{Container, Network};
use crate::stack::Stack;
use context::Context;
use host::ENGINE_SILENT;
use problem::UNFINISHED;
pub use problem::{Problem, Row, State, ok};

/// A check and the names of the rows that it gives.
struct Check {
    name: &'static str,
    run: fn(&Context) -> Vec<Row>,
}

/// In the order of the table: what others need comes first.
const CHECKS: &[Check] = &[
    Check { name: "engine", run: host::engine },
    Check { name: "addresses", run: network::addresses },
    Check { name: "network", run: network::network },
    Check { name: "ports", run: network::ports },
    Check { name: "firewall", run: firewall::check },
    Check { name: "disk", run: host::disk },
    Check { name: "memory", run: host::memory },
    Check { name: "clock", run: host::clock },
    Check { name: "secrets", run: files::secrets },
    Check { name: "modes", run: files::modes },
    Check { name: "trust", run: files::trust },
    Check { name: "files", run: files::rendered },
    Check { name: "certificates", run: certificates::check },
    Check { name: "images", run: services::images },
    Check { name: "services", run: services::services },
    Check { name: "postgres", run: postgres::check },
    Check { name: "mattermost", run: mattermost::check },
    Check { name: "environment", run: mattermost::environment },
    Check { name: "wiring", run: mattermost::wiring },
    Check { name: "calls", run: calls::check },
    Check { name: "turn", run: turn::check },
    Check { name: "webhooks", run: hooks::webhooks },
    Check { name: "relay", run: hooks::relay },
    Check { name: "integrations", run: tools::check },
];

/// How long a check may take before the table is printed without it.
pub const LIMIT: Duration = Duration::from_secs(8);

/// Every row of the table.
pub fn examine(stack: &Stack) -> Vec<Row> {
    let context = Arc::new(Context::new(stack.clone()));
    let checks = CHECKS.iter().map(|check| {
        let context = Arc::clone(&context);
        (check.name, move || (check.run)(&context))
    });
    let mut rows = side_by_side(checks.collect(), LIMIT);
    for row in &mut rows {
        row.fix = stack.hint(&row.fix);
    }
    rows
}

/// Runs every check on a thread of its own and gives their rows in the order of the list. One that hangs is left behind, and
/// so is one that panics: a last row names them. Most of them wait for the engine, so when that hangs its row says so.
pub fn side_by_side<F: FnOnce() -> Vec<Row> + Send + 'static>(
    checks: Vec<(&'static str, F)>,
    limit: Duration,
) -> Vec<Row> {
    let end = Instant::now() + limit;
    let names: Vec<&'static str> = checks.iter().map(|(name, _)| *name).collect();
    let mut found: Vec<Option<Vec<Row>>> = names.iter().map(|_| None).collect();
    let (sender, receiver) = mpsc::channel();
    for (index, (_, check)) in checks.into_iter().enumerate() {
        let sender = sender.clone();
        thread::spawn(move || {
            // Nobody listens any more when the table was printed without this check.
            sender.send((index, check())).ok();
        });
    }
    drop(sender);
    // It ends when the time is over, or when every sender is gone: all checks are done then, or have panicked.
    while let Ok((index, rows)) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        found[index] = Some(rows);
    }
    let mut rows = Vec::new();
    let mut unfinished = Vec::new();
    for (name, found) in names.into_iter().zip(found) {
        match found {
            Some(found) => rows.extend(found),
            None if name == "engine" => {
                rows.push(ENGINE_SILENT.found(format!("Docker's daemon did not answer within {} s", limit.as_secs())));
            }
            None => unfinished.push(name),
        }
    }
    if !unfinished.is_empty() {
        rows.push(UNFINISHED.found(format!("not done within {} s: {}", limit.as_secs(), unfinished.join(", "))));
    }
    rows
}

/// What `up` must know before it writes anything: the ports, the network and the CAs of others. Only what failed.
pub fn before_writing(stack: &Stack, containers: &[Container], existing: Option<&Network>) -> Vec<Row> {
    let mut rows = network::judge_ports(stack, containers);
    rows.push(network::judge_network(stack, existing));
    rows.extend(files::judge_trust(stack));
    rows.retain(|row| row.state == State::Fail);
    rows
}
