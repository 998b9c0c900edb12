//! Kills at any moment: what got its 200 arrives.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::common::{Client, HookServer, Site, delivery, title, wait_for};

/// Between 0 and `most` milliseconds; the clock's nanoseconds are as good as dice here.
fn some_time(most: u64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Duration::from_millis(u64::from(now.subsec_nanos()) / 100 % most)
}

fn count(titles: &[String]) -> HashMap<&str, usize> {
    titles.iter().fold(HashMap::new(), |mut counts, it| {
        *counts.entry(it.as_str()).or_default() += 1;
        counts
    })
}

/// Every one that was acknowledged is there, and no more repetitions than kills.
fn check(hooks: &HookServer, acknowledged: &[String], kills: usize) {
    wait_for("all are posted", || {
        let titles = hooks.titles();
        let counts = count(&titles);
        acknowledged.iter().all(|it| counts.contains_key(title(it).as_str()))
    });
    let titles = hooks.titles();
    let repeated: usize = count(&titles).values().map(|it| it - 1).sum();
    assert!(repeated <= kills, "{repeated} repetitions, {kills} kills");
}

#[test]
fn the_relay_is_killed_under_load() {
    const KILLS: usize = 8;
    let hooks = HookServer::start();
    let site = Site::new(&hooks);
    let acknowledged = Mutex::new(Vec::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for sender in 0..6 {
            let (site, acknowledged, done) = (&site, &acknowledged, &done);
            scope.spawn(move || {
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    let Ok(mut client) = Client::connect(site.address) else {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    loop {
                        number += 1;
                        let name = format!("s{sender}n{number}");
                        // The queue of a slow machine must not grow without end.
                        std::thread::sleep(Duration::from_millis(2));
                        match client.deliver(&delivery(&name)) {
                            Ok(answer) if answer.status == 200 => acknowledged.lock().expect("names").push(name),
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => break,
                        }
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            });
        }
        for _ in 0..KILLS {
            let relay = site.start();
            std::thread::sleep(Duration::from_millis(50) + some_time(200));
            relay.kill();
        }
        done.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.into_inner().expect("names");
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let _relay = site.start();
    check(&hooks, &acknowledged, KILLS);
}

#[test]
fn mattermost_is_killed_while_a_thousand_deliveries_come() {
    const KILLS: usize = 5;
    let mut hooks = HookServer::start();
    let site = Site::new(&hooks);
    let relay = site.start();
    let names: Vec<String> = (0..1000).map(|it| format!("p{it}")).collect();
    std::thread::scope(|scope| {
        for part in names.chunks(125) {
            let relay = &relay;
            scope.spawn(move || {
                let mut client = relay.client();
                for name in part {
                    assert_eq!(client.deliver(&delivery(name)).expect("an answer").status, 200);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(40) + some_time(120));
            hooks.kill();
            std::thread::sleep(some_time(300));
            hooks.restart();
        }
    });
    check(&hooks, &names, KILLS);
    assert_eq!(relay.metric("deliveries_accepted_total"), 1000);
    wait_for("nothing waits", || relay.metric("queue_length") == 0);
}

#[test]
fn a_torn_end_is_cut_off_with_a_line_in_the_log() {
    let mut hooks = HookServer::start();
    hooks.kill();
    let site = Site::new(&hooks);
    let relay = site.start();
    assert_eq!(relay.deliver(&delivery("whole")).status, 200);
    relay.kill();
    let bytes = std::fs::read(site.journal()).expect("a journal");
    let mut file = std::fs::OpenOptions::new().append(true).open(site.journal()).expect("a journal");
    file.write_all(&bytes[..bytes.len() - 1]).expect("written");

    let relay = site.start();
    assert!(relay.log().contains("torn and cut off"), "{}", relay.log());
    assert_eq!(relay.metric("journal_damaged_bytes"), bytes.len() as u64 - 1);
    assert_eq!(relay.metric("queue_length"), 1);
    assert_eq!(relay.deliver(&delivery("later")).status, 200);
    hooks.restart();
    wait_for("both are posted", || hooks.titles() == ["whole", "later"].map(title));
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let mut hooks = HookServer::start();
    hooks.kill();
    let site = Site::new(&hooks);
    let mut limited = Command::new("sh");
    // Files of at most 8 KiB, and an error instead of a signal beyond.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_relay")]);
    let relay = site.start_command(limited);
    let names: Vec<String> = (0..10).map(|it| format!("p{it}")).collect();
    let (taken, refused): (Vec<_>, Vec<_>) = names.iter().partition(|it| relay.deliver(&delivery(it)).status == 200);
    assert!(taken.len() > 3 && refused.len() > 1, "{taken:?}");
    assert_eq!(relay.deliver(&delivery(refused[0])).status, 503);
    assert!(relay.metric("refused_total{reason=\"spool\"}") > 1);
    let health = relay.client().request("GET", "/healthz").expect("an answer");
    assert_eq!((health.status, health.body.starts_with("{\"status\":\"spool\"")), (503, true), "{}", health.body);
    assert!(relay.log().contains("writing the journal failed"), "{}", relay.log());
    relay.kill();
    hooks.restart();
    let relay = site.start();
    assert_eq!(relay.metric("journal_damaged_bytes"), 0, "what was half written has been undone");
    wait_for("all that was taken is posted", || hooks.titles() == taken.iter().map(|it| title(it)).collect::<Vec<_>>());
}
