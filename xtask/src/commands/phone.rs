use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::drivers::terminal::{say, waiting};
use crate::drivers::{docker, https, interrupt};
use crate::error::{Hint as _, hinted};
use crate::phone::limits::LIMITS;
use crate::phone::server;
use crate::phone::{self, Ca, Content, Item, qr};
use crate::ports::{self, Port, Protocol};
use crate::stack::Stack;
use crate::{certs, host, verify};

/// Give phones and computers on the LAN our CA: a page with the steps for each system, served for a while.
///
/// It shows a QR code, the address and the fingerprint to compare, and a line for each visit. It serves the public certificate
/// and nothing else, by plain HTTP, until the time is over or Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask phone --minutes 30")]
pub struct Args {
    /// How long to serve.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    minutes: u64,
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    let ca_pem = read_ca(stack)?;
    let ca = Ca::from_pem(&ca_pem).with_context(|| format!("cannot use {}", certs::ca_path(&stack.root).display()))?;
    let addresses = lan_addresses(stack)?;
    let content = Content::render(&stack.settings, &ca, &addresses)?;
    let listeners = listen(stack, &addresses)?;
    interrupt::listen()?;
    waiting("using the server as a phone will", || prove(stack, &addresses, &ca.pem()));
    let url = |address| phone::url(SocketAddrV4::new(address, stack.settings.ports.phone));
    let [first, others @ ..] = addresses.as_slice() else { bail!("a host has an address") };

    println!("\n{}", qr::text(&url(*first), std::io::stdout().is_terminal())?);
    println!("Page      {}", url(*first));
    for address in others {
        println!("          {}", url(*address));
    }
    println!("CA        {}", ca.name);
    println!("SHA-256   {}", ca.fingerprint_lines().join("\n          "));
    let unit = if args.minutes == 1 { "minute" } else { "minutes" };
    println!(
        "\nServing for {} {unit}; Ctrl-C ends it. Read out the fingerprint: the page itself could be forged.",
        args.minutes
    );

    let tally = serve(&listeners, &content, Duration::from_secs(args.minutes * 60), stack.settings.ports.phone)?;
    println!("{}", summary(&tally));
    Ok(ExitCode::SUCCESS)
}

fn read_ca(stack: &Stack) -> anyhow::Result<String> {
    let path = certs::ca_path(&stack.root);
    std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the CA {}", path.display()))
        .hint(stack.hint("`cargo xtask up` makes it"))
}

fn lan_addresses(stack: &Stack) -> anyhow::Result<Vec<Ipv4Addr>> {
    let host = host::detect(&stack.settings)?;
    if host.is_loopback_only() {
        return Err(hinted(
            anyhow::anyhow!("this host has no address on a LAN, so no phone can reach it"),
            "connect it to a network, and see lan.addresses in stack.toml",
        ));
    }
    Ok(host.lan.iter().map(|lan| lan.address).collect())
}

fn listen(stack: &Stack, addresses: &[Ipv4Addr]) -> anyhow::Result<Vec<TcpListener>> {
    let number = stack.settings.ports.phone;
    server::bind(addresses, number).map_err(|error| {
        let containers = docker::containers(None).unwrap_or_default();
        let port = Port { key: "ports.phone", number, protocol: Protocol::Tcp };
        let taken = ports::taken_of(&[port], &stack.settings, &containers).into_iter().next();
        match taken.filter(|_| error.kind() == std::io::ErrorKind::AddrInUse) {
            Some(taken) => hinted(anyhow::anyhow!("port {number}/tcp is taken by {}", taken.holder), taken.fix),
            None => hinted(
                anyhow::Error::new(error).context(format!("cannot listen on port {number}/tcp")),
                "change ports.phone in stack.toml",
            ),
        }
    })
}

/// HTTPS and the WebSocket by each address, as the app uses them. A page cannot prove the WebSocket: it would send its own
/// origin. A server that does not run is no reason to keep the CA back.
fn prove(stack: &Stack, addresses: &[Ipv4Addr], ca_pem: &str) {
    for address in addresses {
        let origin = format!("https://{address}:{}", stack.settings.ports.mattermost);
        match prove_one(*address, stack.settings.ports.mattermost, ca_pem) {
            Ok(()) => say(&format!("{origin}: HTTPS and the WebSocket work, verified with this CA alone")),
            Err(error) => {
                say(&format!("WARNING: {origin} does not work yet: {error:#}"));
                say(&format!(
                    "hint: {}",
                    stack.hint("`cargo xtask status` shows what runs, `cargo xtask up` puts it right")
                ));
            }
        }
    }
}

fn prove_one(address: Ipv4Addr, port: u16, ca_pem: &str) -> anyhow::Result<()> {
    let site = verify::answering(ca_pem, &address.to_string(), SocketAddrV4::new(address, port).into())?;
    let status = https::websocket_status(&site, &format!("https://{address}:{port}"))?;
    if status != 101 {
        bail!("the WebSocket refused that origin with {status}");
    }
    Ok(())
}

/// Who came and what they got, in numbers: nobody can make it grow by asking again and again.
#[derive(Default)]
struct Tally {
    visitors: BTreeSet<IpAddr>,
    items: BTreeMap<Item, u64>,
    refused: u64,
}

/// Serves until the time is over or somebody stops it.
fn serve(listeners: &[TcpListener], content: &Content, time: Duration, port: u16) -> anyhow::Result<Tally> {
    let start = Instant::now();
    let tally = Mutex::new(Tally::default());
    let looked = Cell::new(false);
    let done = || {
        if start.elapsed() > LONELY && !looked.replace(true) && lock(&tally).visitors.is_empty() {
            say(&format!(
                "Nobody has come yet. When a phone cannot open the page: it may be on another network, the WiFi may keep its \
                 clients apart (guest network, client isolation), or a firewall on this host refuses port {port}/tcp."
            ));
        }
        interrupt::interrupted() || start.elapsed() >= time
    };
    server::serve(listeners, content, &LIMITS, done, |visit| {
        let mut tally = lock(&tally);
        match visit.got {
            Some((item, system)) => {
                println!("  {:<15}  {system}: {item}", visit.visitor);
                tally.visitors.insert(visit.visitor);
                *tally.items.entry(item).or_default() += 1;
            }
            None => tally.refused += 1,
        }
    })?;
    Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// After how long without a visit something is probably in the way.
const LONELY: Duration = Duration::from_secs(60);

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

fn summary(tally: &Tally) -> String {
    let mut parts: Vec<String> = tally.items.iter().map(|(item, count)| format!("{item} {count}×")).collect();
    if tally.refused > 0 {
        parts.push(format!("refused {}×", tally.refused));
    }
    match tally.visitors.len() {
        0 if parts.is_empty() => "Stopped. Nobody came.".to_owned(),
        visitors => format!("Stopped. Addresses that came: {visitors}; {}", parts.join(", ")),
    }
}
