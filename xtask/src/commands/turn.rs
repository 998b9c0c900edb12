use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;
use time::OffsetDateTime;

use crate::drivers::terminal::waiting;
use crate::drivers::turn;
use crate::error::Hint as _;
use crate::host;
use crate::secrets::{self, Secrets, TURN_SECRET};
use crate::settings::Settings;
use crate::stack::Stack;
use crate::turn_check::{self, Target};

/// Mint credentials for a TURN server, and prove that it relays for us and for nobody else.
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
    /// Use the server once, as calls do and as a stranger would, and print what came of it.
    ///
    /// Exit status 1 when a row is not ok. From a second machine, with a checkout and the secret in a file: the example.
    #[command(after_help = "Example:\n  cargo xtask turn check --host 192.168.1.10 --secret-file turn-secret")]
    Check {
        /// Another server than this stack's, by its IPv4 address.
        #[arg(long, requires = "secret_file")]
        host: Option<Ipv4Addr>,

        /// Its port.
        #[arg(long, default_value_t = 3478, requires = "host")]
        port: u16,

        /// A file that holds its shared secret: an argument could be read by everybody on this machine.
        #[arg(long, requires = "host")]
        secret_file: Option<PathBuf>,

        /// Print JSON: a list of `name`, `ok` and `finding`.
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Credentials { ttl, user, json } => credentials(stack, ttl, &user, json),
        Command::Check { host: Some(host), port, secret_file: Some(file), json } => {
            let server = SocketAddr::from((host, port));
            let secret = secret_of(&file)?;
            // What Docker gives to the first networks of most machines, and what stack.toml is shipped with.
            let docker =
                vec![Ipv4Addr::new(172, 17, 0, 1), Ipv4Addr::new(172, 18, 0, 2), Ipv4Addr::new(172, 30, 0, 10)];
            print_table(&Target { server, secret, forbidden: forbidden(host, docker), user_quota: None }, json)
        }
        Command::Check { json, .. } => print_table(&own(stack)?, json),
    }
}

/// The server of this stack.
fn own(stack: &Stack) -> anyhow::Result<Target> {
    let settings = &stack.settings;
    let secrets = Secrets::load(&secrets::path(&stack.root))?;
    let secret = secrets.require(TURN_SECRET).hint(stack.hint("`cargo xtask up` makes it"))?.to_owned();
    let lan = host::detect(settings)?.lan_ip();
    let server = SocketAddr::from((lan, settings.ports.turn));
    let forbidden = forbidden(lan, docker_addresses(settings)?);
    Ok(Target { server, secret, forbidden, user_quota: Some(settings.turn.user_quota) })
}

/// Mattermost's own, and this host's in each of Docker's networks.
fn docker_addresses(settings: &Settings) -> anyhow::Result<Vec<Ipv4Addr>> {
    let mut addresses = vec![settings.network.mattermost_address];
    for route in host::routes()? {
        if route.interface.starts_with("docker") || route.interface.starts_with("br-") {
            addresses.push(Ipv4Addr::from(u32::from(route.subnet.first) + 1));
        }
    }
    Ok(addresses)
}

/// Peers that no relay of calls has a reason to reach. No data is sent to them.
fn forbidden(server: Ipv4Addr, docker: Vec<Ipv4Addr>) -> Vec<(&'static str, Vec<Ipv4Addr>)> {
    let neighbour = Ipv4Addr::from(u32::from(server) ^ 1);
    // The last is of RFC 5737: nobody has it.
    let elsewhere = [[10, 255, 255, 254], [169, 254, 169, 254], [224, 0, 0, 251], [198, 51, 100, 1]];
    vec![
        ("loopback", vec![Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED]),
        ("Docker's networks", docker),
        ("a neighbour", vec![neighbour]),
        ("somewhere else", elsewhere.map(Ipv4Addr::from).to_vec()),
    ]
}

/// The only line of a file.
fn secret_of(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    let secret = text.and_then(|text| match text.trim() {
        secret if !secret.is_empty() && !secret.contains(char::is_whitespace) => Ok(secret.to_owned()),
        _ => bail!("{} does not hold the secret alone, on one line", file.display()),
    });
    secret.hint("on the server's machine, `cargo xtask secrets show TURN_SECRET` prints it")
}

fn print_table(target: &Target, json: bool) -> anyhow::Result<ExitCode> {
    let rows = waiting("using the TURN server", || turn_check::check(target));
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("TURN server {}", target.server);
        for row in &rows {
            println!("  {:<4}  {:<26}  {}", if row.ok { "ok" } else { "fail" }, row.name, row.finding);
        }
    }
    Ok(ExitCode::from(u8::from(rows.iter().any(|row| !row.ok))))
}

fn credentials(stack: &Stack, ttl: Option<u32>, user: &str, json: bool) -> anyhow::Result<ExitCode> {
    let settings = &stack.settings;
    let secrets = Secrets::load(&secrets::path(&stack.root))?;
    let ttl = ttl.unwrap_or(settings.turn.credentials_minutes * 60);
    let expiry = OffsetDateTime::now_utc().unix_timestamp() + i64::from(ttl);
    let secret = secrets.require(TURN_SECRET).hint(stack.hint("`cargo xtask up` makes it"))?;
    let minted = turn::credentials(secret, user, expiry)?;
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
