//! The rules of this host, as root reads them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fix::Owner;
use super::rules::Ruleset;
use super::{iptables, nft};
use crate::drivers::process;

/// What came of asking for the rules.
#[derive(Debug)]
pub enum Reading {
    Rules(Ruleset),
    /// Only root may read them. The firewall is the one that files which everybody may read show to be on.
    NotAllowed {
        firewall: Option<Owner>,
    },
    Failed(String),
}

const LIMIT: Duration = Duration::from_secs(5);

pub fn read() -> Reading {
    let legacy = legacy_in_use();
    let (saved, legacy, listed) = std::thread::scope(|scope| {
        // Where there are two of iptables, the plain name may stand for either.
        let saved = scope.spawn(|| run(&["iptables-nft-save", "iptables-save"], &[]));
        let legacy = scope.spawn(move || legacy.then(|| run(&["iptables-legacy-save"], &[])).flatten());
        let listed = run(&["nft"], &["--json", "list", "ruleset"]);
        (saved.join().unwrap_or_default(), legacy.join().unwrap_or_default(), listed)
    });
    let answers = [saved, legacy, listed];
    let failed = answers.iter().flatten().find_map(|answer| answer.as_ref().err());
    if failed.is_some_and(|error| is_refusal(error)) {
        return Reading::NotAllowed { firewall: seen() };
    }
    if let Some(error) = failed {
        return Reading::Failed(error.clone());
    }
    let [saved, legacy, listed] = answers.map(|answer| answer.and_then(Result::ok));
    if saved.is_none() && listed.is_none() {
        // Not even root's folders have a program for it where nobody but root sees them.
        return match seen() {
            Some(owner) => Reading::NotAllowed { firewall: Some(owner) },
            None => Reading::Failed("there is neither nft nor iptables-save to read the rules with".to_owned()),
        };
    }
    match combine(saved.as_deref(), legacy.as_deref(), listed.as_deref()) {
        Ok(rules) => Reading::Rules(rules),
        Err(error) => Reading::Failed(format!("{error:#}")),
    }
}

/// One ruleset of all. What iptables wrote by nftables is in both of them, and nft cannot say what all of its conditions are.
pub fn combine(saved: Option<&str>, legacy: Option<&str>, listed: Option<&str>) -> anyhow::Result<Ruleset> {
    let mut chains = Vec::new();
    let mut known = Vec::new();
    if let Some(saved) = saved {
        chains = iptables::parse(saved, if iptables::is_by_nft(saved) { "ip" } else { "iptables" });
        known = chains.iter().map(|chain| chain.table.clone()).collect();
    }
    if let Some(legacy) = legacy {
        chains.extend(iptables::parse(legacy, "legacy"));
    }
    if let Some(listed) = listed {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        chains.extend(nft::parse(listed, &known)?);
    }
    Ok(Ruleset::new(chains))
}

/// Runs the first of these programs that there is. Folders of root's programs are not on everybody's PATH.
fn run(programs: &[&str], arguments: &[&str]) -> Option<Result<String, String>> {
    let program = programs.iter().find_map(|program| find(program))?;
    let program = program.to_string_lossy();
    let argv = [&[&*program], arguments].concat();
    Some(match process::capture(Path::new("/"), &argv, b"", LIMIT) {
        Ok(answer) if answer.success => Ok(answer.stdout),
        Ok(answer) => Err(format!("`{}`: {}", argv.join(" "), answer.stderr.trim().replace('\n', "; "))),
        Err(error) => Err(format!("{error:#}")),
    })
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_refusal(error: &str) -> bool {
    let error = error.to_lowercase();
    ["permission denied", "operation not permitted", "you must be root"].iter().any(|text| error.contains(text))
}

/// Asking iptables-legacy loads its modules where nobody uses it.
fn legacy_in_use() -> bool {
    std::fs::read_to_string("/proc/net/ip_tables_names").is_ok_and(|names| !names.trim().is_empty())
}

fn seen() -> Option<Owner> {
    let ufw = std::fs::read_to_string("/etc/ufw/ufw.conf").is_ok_and(|text| ufw_is_on(&text));
    if ufw {
        return Some(Owner::Ufw);
    }
    let runs = Path::new("/run/firewalld.pid").exists() || process::running().any(|name| name == "firewalld");
    runs.then_some(Owner::Firewalld)
}

/// `text` is that of /etc/ufw/ufw.conf.
pub fn ufw_is_on(text: &str) -> bool {
    let value =
        |line: &str| line.trim().strip_prefix("ENABLED=").map(|value| value.trim_matches(['"', '\'']).to_lowercase());
    text.lines().filter_map(value).next_back().is_some_and(|value| value == "yes")
}
