//! One table of what is promised about speed: medians of runs that take turns, and their ratio. `cargo bench`.
//!
//! What a user runs is the debug binary, so that is what is measured. `up` and `doctor` need a Docker engine and the lab's
//! stack: `cargo xtask up --images lab` before.

mod measure;

use std::path::{Path, PathBuf};
use std::process::Command;

use measure::{quietly, run, take_turns, timed, xtask_command};

fn main() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a checkout").to_owned();
    let cargo = || Command::new(env!("CARGO"));
    run(cargo().current_dir(&checkout).args(["build", "--quiet", "--locked", "--package", "xtask"]));
    let xtask = checkout.join("target/debug/xtask");

    println!("| what | ours | yardstick | ratio |");
    println!("|---|---|---|---|");
    from_nothing(&checkout, &xtask);
    up_with_nothing_to_do(&checkout, &xtask);
    doctor(&checkout, &xtask);
    cold_build(&checkout);
}

/// Secrets, CA, leaves, env and compose files, fsyncs included. Where there is an engine, `render` also asks it whether a
/// volume depends on older secrets before it makes new ones, which the script does not; that is a row of its own.
fn from_nothing(checkout: &Path, xtask: &Path) {
    let root = checkout.join("target/stacks/bench");
    let settings = std::fs::read_to_string(checkout.join("stack.toml")).expect("the shipped settings");
    let settings = settings.replace("name = \"command-center\"", "name = \"bench\"");
    std::fs::create_dir_all(&root).expect("a folder");
    std::fs::write(root.join("stack.toml"), settings).expect("settings");
    let by_hand = checkout.join("target/stacks/bench-by-hand");
    let script = checkout.join("xtask/benches/by-hand.sh");
    for (what, path) in [("everything from nothing", Some("/nonexistent")), ("the same, and Docker's answer", None)] {
        let ours = || {
            for folder in ["certs", "compose", "env"] {
                std::fs::remove_dir_all(root.join(folder)).ok();
            }
            let mut command = xtask_command(checkout, xtask);
            if let Some(path) = path {
                command.env("PATH", path);
            }
            timed(command.args(["--stack", "bench", "render"]))
        };
        let theirs = || {
            std::fs::remove_dir_all(&by_hand).ok();
            timed(Command::new("bash").arg(&script).arg(&by_hand))
        };
        let (ours, theirs) = take_turns(25, ours, theirs);
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!(
            "| {what}, against a script of openssl and shell | {ours:.0?} | {theirs:.0?} | {ratio:.1} times faster |"
        );
    }
    std::fs::remove_dir_all(&root).ok();
    std::fs::remove_dir_all(&by_hand).ok();
}

fn up_with_nothing_to_do(checkout: &Path, xtask: &Path) {
    let compose = checkout.join("target/stacks/lab/compose");
    let mut bare = Command::new("docker");
    bare.args(["compose", "up", "--detach", "--wait"]).current_dir(&compose);
    let mut ours = xtask_command(checkout, xtask);
    ours.args(["--stack", "lab", "up", "--images", "lab"]);
    if !compose.exists() || !quietly(&mut bare) || !quietly(&mut ours) {
        println!("| `up` with nothing to do | not measured: the lab is not up | | |");
        return;
    }
    let (ours, bare) = take_turns(9, || timed(&mut ours), || timed(&mut bare));
    let more = ours.as_secs_f64() - bare.as_secs_f64();
    println!(
        "| `up` with nothing to do, against bare `docker compose up -d --wait` | {ours:.2?} | {bare:.2?} | {more:+.2} s |"
    );
}

/// Every check of a healthy lab, next to what it takes Compose to list the containers.
fn doctor(checkout: &Path, xtask: &Path) {
    let mut listing = Command::new("docker");
    listing.args(["compose", "ps"]).current_dir(checkout.join("target/stacks/lab/compose"));
    let mut ours = xtask_command(checkout, xtask);
    ours.args(["--stack", "lab", "doctor"]);
    if !checkout.join("target/stacks/lab/compose").exists() || !quietly(&mut listing) || !quietly(&mut ours) {
        println!("| `doctor` | not measured: the lab is not up, or not healthy | | |");
        return;
    }
    let (ours, listing) = take_turns(5, || timed(&mut ours), || timed(&mut listing));
    let more = ours.as_secs_f64() - listing.as_secs_f64();
    println!("| `doctor` of a healthy lab, against `docker compose ps` | {ours:.2?} | {listing:.2?} | {more:+.2} s |");
}

fn cold_build(checkout: &Path) {
    let target = PathBuf::from(checkout).join("target/bench-cold");
    std::fs::remove_dir_all(&target).ok();
    let mut build = Command::new(env!("CARGO"));
    build
        .current_dir(checkout)
        .args(["build", "--quiet", "--locked", "--package", "xtask", "--target-dir"])
        .arg(&target);
    let took = timed(&mut build);
    std::fs::remove_dir_all(&target).ok();
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(checkout).args([
        "tree",
        "--locked",
        "--package",
        "xtask",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let output = tree.output().expect("cargo tree");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut crates: Vec<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    println!("| cold debug build of xtask, {} crates | {took:.0?} | aim: 60 s | |", crates.len());
}
