//! 200 channels and 100 hooks with nothing to do, against the 206 calls of `docker exec … mmctl` that a hand-made script needs
//! to find that out: one a channel, and one a list. `cargo bench --bench wiring`; it boots a lab of its own, on the ports
//! 38065, 38444 and 33478, and removes it.

mod measure;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use measure::{run, take_turns, timed, xtask_command};

const CALLS: usize = 206;

fn main() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a checkout").to_owned();
    run(Command::new(env!("CARGO")).current_dir(&checkout).args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "xtask",
    ]));
    let xtask = checkout.join("target/debug/xtask");
    let root = checkout.join("target/stacks/bench-wiring");
    std::fs::create_dir_all(&root).expect("a folder");
    let shipped = std::fs::read_to_string(checkout.join("stack.toml")).expect("the shipped settings");
    std::fs::write(root.join("stack.toml"), settings(&shipped)).expect("settings");

    let ours = |arguments: &[&str]| {
        let mut command = xtask_command(&checkout, &xtask);
        command.args(["--stack", "bench-wiring"]).args(arguments);
        command
    };
    run(&mut ours(&["up", "--images", "lab"]));
    let mut by_hand = Command::new("sh");
    let call = "docker exec bench-wiring-mattermost-1 mmctl --local --json channel search --team engineering c1";
    by_hand.args(["-ec", &format!("for i in $(seq {CALLS}); do {call} >/dev/null 2>&1; done")]);
    let mut plan = ours(&["wire", "--plan"]);
    let (plan, by_hand) = take_turns(5, || timed(&mut plan), || timed(&mut by_hand));
    println!("| what | ours | yardstick | ratio |");
    println!("|---|---|---|---|");
    println!(
        "| 200 channels and 100 hooks, nothing to do, against {CALLS} calls of mmctl | {plan:.2?} | {by_hand:.2?} | {:.0} times faster |",
        by_hand.as_secs_f64() / plan.as_secs_f64()
    );
    run(&mut ours(&["down", "--volumes", "--yes"]));
    std::fs::remove_dir_all(&root).ok();
}

/// The shipped settings beside any other stack, with the channels and hooks.
fn settings(shipped: &str) -> String {
    let (head, _) = shipped.split_once("[[teams]]").expect("the shipped settings have teams");
    let mut text = head
        .replace("name = \"command-center\"", "name = \"bench-wiring\"")
        .replace("name = \"cicd-net\"", "name = \"bench-wiring-net\"")
        .replace("172.30.0.", "172.30.77.")
        .replace("= 8065", "= 38065")
        .replace("= 8444", "= 38444")
        .replace("= 8067", "= 38067")
        .replace("= 8066", "= 38066")
        .replace("= 3478", "= 33478")
        .replace("= 49160", "= 50160")
        .replace("= 49559", "= 50559");
    for key in ["builds_hook", "alerts_hook", "passed_hook", "failed_hook", "hook"] {
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                let is_it = line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "));
                if is_it { format!("{key} = \"\"") } else { line.to_owned() }
            })
            .collect();
        text = lines.join("\n");
    }
    text.push_str("\n[[teams]]\nname = \"engineering\"\ndisplay_name = \"Engineering\"\npeople = []\nchannels = [\n");
    for index in 0..200 {
        writeln!(text, "{{ name = \"c{index}\", display_name = \"C{index}\", private = false, purpose = \"p\", header = \"\", people = [] }},")
            .expect("a text can be written");
    }
    text.push_str("]\n[[bots]]\nname = \"bench-bot\"\ndisplay_name = \"Bench\"\ndescription = \"\"\ntoken = \"\"\n");
    for index in 0..100 {
        writeln!(text, "[[incoming_webhooks]]\nsecret = \"HOOK_{index}\"\ndisplay_name = \"H{index}\"\nchannel = \"engineering:c{index}\"\nbot = \"bench-bot\"\nlocked = true")
            .expect("a text can be written");
    }
    text
}
