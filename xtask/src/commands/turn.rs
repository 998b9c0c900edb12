use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use time::OffsetDateTime;

use crate::drivers::turn;
use crate::error::Hint as _;
use crate::host;
use crate::secrets::{self, Secrets, TURN_SECRET};
use crate::stack::Stack;

/// Mint credentials for the TURN server.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask turn credentials --ttl 30m --json")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what a browser's RTCPeerConnection takes as its configuration. It is good for a while, and for nobody else's calls.
    #[command(after_help = "Example:\n  cargo xtask turn credentials --user alice --ttl 30m --json")]
    Credentials {
        /// How long it is good: a number and s, m or h, a week at most. Without it, turn.credentials_minutes of stack.toml.
        #[arg(long, value_parser = seconds)]
        ttl: Option<u32>,

        /// Whose quota and log lines it counts for.
        #[arg(long, default_value = "xtask", value_parser = user)]
        user: String,

        /// Print JSON: `iceServers` with `urls`, `username` and `credential`.
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let Command::Credentials { ttl, user, json } = args.command;
    let settings = &stack.settings;
    let secrets = Secrets::load(&secrets::path(&stack.root))?;
    let ttl = ttl.unwrap_or(settings.turn.credentials_minutes * 60);
    let expiry = OffsetDateTime::now_utc().unix_timestamp() + i64::from(ttl);
    let secret = secrets.require(TURN_SECRET).hint(stack.hint("`cargo xtask up` makes it"))?;
    let minted = turn::credentials(secret, &user, expiry)?;
    let (address, port) = (host::detect(settings)?.lan_ip(), settings.ports.turn);
    let urls = ["udp", "tcp"].map(|transport| format!("turn:{address}:{port}?transport={transport}"));
    if json {
        let server = json!({ "urls": urls, "username": minted.username, "credential": minted.password });
        println!("{}", serde_json::to_string_pretty(&json!({ "iceServers": [server] }))?);
    } else {
        println!("urls        {}", urls.join("  "));
        println!("username    {}", minted.username);
        println!("credential  {}", minted.password);
        println!("good until  {} UTC", OffsetDateTime::from_unix_timestamp(expiry)?.format(FORMAT)?);
    }
    Ok(ExitCode::SUCCESS)
}

const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] =
    time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// `90s`, `30m` or `8h`.
fn seconds(text: &str) -> Result<u32, String> {
    const WEEK: u32 = 7 * 24 * 3600;
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err("use a number and s, m or h, such as 30m".to_owned()),
    };
    let number: u32 =
        text[..text.len() - 1].parse().map_err(|_| "use a number and s, m or h, such as 30m".to_owned())?;
    number.checked_mul(unit).filter(|seconds| (1..=WEEK).contains(seconds)).ok_or_else(|| "use 1s to 168h".to_owned())
}

/// coturn takes what follows the first colon for the user, and browsers refuse long user names.
fn user(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-@".contains(c));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 64 letters, digits, dots, dashes, underscores and @".to_owned())
    }
}

#[test]
fn a_ttl_is_a_number_and_a_unit() {
    assert_eq!(seconds("90s"), Ok(90));
    assert_eq!(seconds("30m"), Ok(1800));
    assert_eq!(seconds("168h"), Ok(604_800));
    for wrong in ["", "m", "30", "-1m", "0s", "169h", "1d", "99999999999h"] {
        assert!(seconds(wrong).is_err(), "{wrong}");
    }
    assert!(user("alice:admin").is_err() && user("").is_err());
}
