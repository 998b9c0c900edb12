//! The half of the benchmark that runs in the container: a client, a peer, and what came of it.

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use time::OffsetDateTime;
use xtask::drivers::turn::{self, Session, Transport};
use xtask::turn_check::patiently;

pub const FLAG: &str = "--load";

/// What voice sends, and a packet of video as large as they come.
const SIZES: [usize; 2] = [160, 1200];
/// Packets under way: twice as many would still fit into the smallest buffer on the way.
const WINDOW: usize = 32;
/// Turns are short, so that what else runs on this machine takes from every path alike.
const SPAN: Duration = Duration::from_millis(50);
const SPAN_ALONE: Duration = Duration::from_millis(10);
/// The permissions that come with a channel end after five minutes, and nobody refreshes them here.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(180);
/// Of the bare turnserver's rate.
const PROMISED: f64 = 0.98;
/// The ratios are good enough when their error is below this: a quarter of what 0.98 leaves.
const GOOD_ENOUGH: f64 = 0.005;
const LIMIT: Duration = Duration::from_secs(5);

pub fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let [address, ours, bare, secret] = text.lines().collect::<Vec<_>>()[..] else { bail!("four lines are wanted") };
    let address: Ipv4Addr = address.parse()?;
    let peer = UdpSocket::bind((address, 0))?;
    let to = peer.local_addr()?;
    let relay = |port: &str, file| -> anyhow::Result<Path> {
        relay(SocketAddr::from((address, port.parse()?)), secret, file, to)
    };
    // In the order of NAMES.
    let paths = [direct(to)?, relay(bare, crate::BARE)?, relay(ours, crate::OURS)?];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&peer, &stop));
        let result = rounds(&paths);
        stop.store(true, Ordering::Relaxed);
        print(&result?);
        Ok(())
    })
}

/// Lets the paths take turns until the ratios are good enough, and returns a row for each path and size.
fn rounds(paths: &[Path]) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for size in 0..SIZES.len() {
        rows.extend((0..paths.len()).map(|path| Row { path, size, samples: Vec::new() }));
    }
    // The first packets find cold caches.
    for path in paths {
        measure(path, 0)?;
    }
    let start = Instant::now();
    let is_good = |rows: &[Row]| (0..SIZES.len()).all(|size| ratio(rows, size, OURS, BARE).1 < GOOD_ENOUGH);
    while start.elapsed() < SHORTEST || (start.elapsed() < LONGEST && !is_good(&rows)) {
        let round = rows[0].samples.len();
        for turn in 0..rows.len() {
            let row = (turn + round) % rows.len();
            let sample = measure(&paths[rows[row].path], rows[row].size)?;
            rows[row].samples.push(sample);
        }
    }
    Ok(rows)
}

/// A way for packets from the client to the peer and back.
struct Path {
    socket: UdpSocket,
    /// What is sent, for each of the sizes.
    packets: [Vec<u8>; 2],
    /// The turnserver's process, and the session that deletes its allocation when it is dropped.
    relay: Option<(u32, Session)>,
}

const NAMES: [&str; 3] = ["direct", "bare turnserver", "ours"];
const DIRECT: usize = 0;
const BARE: usize = 1;
const OURS: usize = 2;

fn direct(to: SocketAddr) -> anyhow::Result<Path> {
    let socket = UdpSocket::bind((to.ip(), 0))?;
    socket.connect(to)?;
    Ok(Path { socket, packets: SIZES.map(|size| vec![0; size]), relay: None })
}

fn relay(server: SocketAddr, secret: &str, file: &str, to: SocketAddr) -> anyhow::Result<Path> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = turn::challenge(server, Transport::Udp, Duration::from_millis(500)) {
        if Instant::now() > deadline {
            return Err(error.context(format!("the turnserver of {file} does not start")));
        }
    }
    let credentials = turn::credentials(secret, "bench", OffsetDateTime::now_utc().unix_timestamp() + 600)?;
    let mut session = patiently(|| turn::allocate(server, Transport::Udp, &credentials, LIMIT))?;
    session.bind(to, LIMIT)?;
    let mut packet = |size: usize| session.wire(to, &vec![0; size]);
    let ((socket, small), (_, large)) = (packet(SIZES[0])?, packet(SIZES[1])?);
    Ok(Path { socket, packets: [small, large], relay: Some((process(file)?, session)) })
}

struct Row {
    path: usize,
    /// Which of the sizes.
    size: usize,
    samples: Vec<Sample>,
}

/// What one turn of one path measured.
struct Sample {
    flood: Flood,
    /// The same with one packet under way at a time.
    alone: Flood,
    /// The turnserver's time on a processor during the flood.
    cpu: Duration,
}

fn measure(path: &Path, size: usize) -> anyhow::Result<Sample> {
    let cpu = || path.relay.as_ref().map_or(Ok(Duration::ZERO), |(process, _)| cpu(*process));
    let packet = &path.packets[size];
    let before = cpu()?;
    let flood = flood_with(&path.socket, packet, WINDOW, SPAN)?;
    let cpu = cpu()?.saturating_sub(before);
    Ok(Sample { flood, alone: flood_with(&path.socket, packet, 1, SPAN_ALONE)?, cpu })
}

/// The peer: sends everything back.
fn echo(socket: &UdpSocket, stop: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket has a time limit");
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], from).ok();
        }
    }
}

struct Flood {
    sent: u64,
    received: u64,
    time: Duration,
}

impl Flood {
    /// Packets a second that went to the peer and came back.
    fn rate(&self) -> f64 {
        self.received as f64 / self.time.as_secs_f64()
    }
}

/// Keeps a number of packets under way for a while, and waits for the last of them. They are lost when nothing has come back for
/// half a second: on a busy machine a server waits long for a processor.
fn flood_with(socket: &UdpSocket, packet: &[u8], window: usize, span: Duration) -> anyhow::Result<Flood> {
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut buffer = [0; 2048];
    let (mut sent, mut received, mut under_way) = (0, 0, 0);
    let start = Instant::now();
    loop {
        let time = start.elapsed();
        while time < span && under_way < window {
            socket.send(packet)?;
            (sent, under_way) = (sent + 1, under_way + 1);
        }
        if under_way == 0 {
            return Ok(Flood { sent, received, time });
        }
        match socket.recv(&mut buffer) {
            Ok(length) if length == packet.len() => {
                (received, under_way) = (received + 1, under_way - 1);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => under_way = 0,
            Err(error) => return Err(error).context("the path was cut off"),
        }
    }
}

/// The process that was started with this file.
fn process(file: &str) -> anyhow::Result<u32> {
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if command.starts_with(b"turnserver\0") && command.split(|byte| *byte == 0).any(|word| word == file.as_bytes())
        {
            return Ok(id);
        }
    }
    bail!("no turnserver runs with {file}")
}

/// The time that a process has had on a processor, to the nanosecond (proc_pid_schedstat(5)).
fn cpu(process: u32) -> anyhow::Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat"))?;
        total += text.split(' ').next().context("schedstat has a first number")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

fn print(rows: &[Row]) {
    let rounds = rows[0].samples.len();
    println!("{WINDOW} packets under way, medians of {rounds} rounds; a packet a second is one there and one back\n");
    println!(
        "| path | payload | packets a second | MB a second | lost | one alone, there and back | turnserver's processor time a packet | to the direct path | to the bare one |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let rate = median(row.samples.iter().map(|it| it.flood.rate()));
        let alone = 1e6 / median(row.samples.iter().map(|it| it.alone.rate()));
        let sum = |of: fn(&Sample) -> u64| row.samples.iter().map(of).sum::<u64>();
        let (sent, received) = (sum(|it| it.flood.sent), sum(|it| it.flood.received));
        let cpu = row.samples.iter().map(|it| it.cpu.as_secs_f64()).sum::<f64>() * 1e6 / (received * 2) as f64;
        let cpu = if row.path == DIRECT { String::new() } else { format!("{cpu:.2} µs") };
        let to = |other: usize| match row.path > other {
            true => format!("{:.3}", ratio(rows, row.size, row.path, other).0),
            false => String::new(),
        };
        println!(
            "| {} | {} | {rate:.0} | {:.1} | {} of {sent} | {alone:.0} µs | {cpu} | {} | {} |",
            NAMES[row.path],
            SIZES[row.size],
            rate * SIZES[row.size] as f64 / 1e6,
            sent - received,
            to(DIRECT),
            to(BARE),
        );
    }
    println!();
    for (size, bytes) in SIZES.iter().enumerate() {
        let (ratio, error) = ratio(rows, size, OURS, BARE);
        // Two errors to either side: a busy machine proves nothing.
        let verdict = if ratio - 2.0 * error >= PROMISED {
            "at least the 0.98 that are promised"
        } else if ratio + 2.0 * error < PROMISED {
            "LESS than the 0.98 that are promised"
        } else {
            "too noisy to tell whether it is the promised 0.98"
        };
        println!("{bytes} bytes: ours relays {ratio:.3} ± {error:.3} of the bare one, {verdict}");
    }
}

/// The median of the ratios of two paths' rates within the rounds, and its standard error.
fn ratio(rows: &[Row], size: usize, path: usize, other: usize) -> (f64, f64) {
    let of = |path| rows.iter().find(|row| row.path == path && row.size == size).expect("every path has a row");
    let pairs = of(path).samples.iter().zip(&of(other).samples);
    let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.flood.rate() / b.flood.rate()).collect();
    ratios.sort_by(f64::total_cmp);
    let [low, middle, high] = [1, 2, 3].map(|quarter| ratios[ratios.len() * quarter / 4]);
    // For a normal distribution: the quartiles lie 1.35 deviations apart, and a median errs 1.25 times as much as a mean.
    (middle, 1.25 * (high - low) / 1.35 / (ratios.len() as f64).sqrt())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
