//! How much the relay's promises cost: deliveries a second, latency and memory, against a bare server of the same HTTP
//! library that reads a request and answers it. The same client, the same run, loopback only. `cargo bench -p relay`.
//!
//! The servers take turns, and the numbers are medians of the rounds. The client shares the two cores with them all.

#[path = "../tests/relay/common/mod.rs"]
mod common;

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::common::process::free_address;
use crate::common::{Authority, Client, HookServer, Site, delivery, signature, wait_for};

const ROUNDS: usize = 5;
const DELIVERIES: usize = 8_000;
/// More senders than SonarQube has workers.
const SENDERS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, address] = &arguments[..]
        && flag == "--bare"
    {
        return bare(address.parse().expect("an address"));
    }
    let hooks = HookServer::start();
    let mut rows = [
        Row::new("bare server: reads and answers"),
        Row::new("relay, Mattermost away"),
        Row::new("relay, posting meanwhile"),
    ];
    for round in 0..ROUNDS {
        let address = free_address();
        let mut server = Command::new(&arguments[0]);
        let mut server = server.arg("--bare").arg(address.to_string()).stdout(Stdio::null()).spawn().expect("started");
        wait_for("the bare server listens", || Client::connect(address).is_ok());
        rows[0].add(measure(address, round), 0);
        server.kill().expect("killed");
        server.wait().expect("gone");

        let away = Site::at(free_address(), &Authority::new());
        measure_relay(&mut rows[1], away, round);
        measure_relay(&mut rows[2], Site::new(&hooks), round);
    }
    let body = delivery("p0");
    println!("{DELIVERIES} deliveries of {} bytes, {SENDERS} senders, medians of {ROUNDS} rounds", body.len());
    println!("one fdatasync after an append of that size: {:.0?}\n", fdatasync(&body));
    println!("| server | deliveries a second | to the bare server | median | 99th percentile | memory at most |");
    println!("|---|---|---|---|---|---|");
    let yardstick = rows[0].rate();
    rows.iter_mut().for_each(|it| it.print(yardstick));
}

fn measure_relay(row: &mut Row, mut site: Site, round: usize) {
    site.set("queue", "100000");
    let relay = site.start();
    let run = measure(site.address, round);
    assert_eq!(relay.metric("deliveries_accepted_total"), DELIVERIES as u64);
    row.add(run, relay.memory("VmHWM"));
}

/// What one round measured: the whole time, and the time of each delivery.
type Run = (Duration, Vec<Duration>);

fn measure(address: SocketAddr, round: usize) -> Run {
    let all: Vec<(Vec<u8>, String)> = (0..DELIVERIES)
        .map(|it| {
            let body = delivery(&format!("r{round}p{it}"));
            let signature = signature(&body);
            (body, signature)
        })
        .collect();
    let start = Instant::now();
    let times = std::thread::scope(|scope| {
        let senders = all.chunks(DELIVERIES.div_ceil(SENDERS)).map(|part| {
            scope.spawn(move || {
                let mut client = Client::connect(address).expect("connected");
                let send = |(body, signature): &(Vec<u8>, String)| {
                    let start = Instant::now();
                    assert_eq!(client.post(body, Some(signature)).expect("an answer").status, 200);
                    start.elapsed()
                };
                part.iter().map(send).collect::<Vec<_>>()
            })
        });
        let senders: Vec<_> = senders.collect();
        senders.into_iter().flat_map(|it| it.join().expect("a sender")).collect()
    });
    (start.elapsed(), times)
}

struct Row {
    name: &'static str,
    rates: Vec<f64>,
    times: Vec<Duration>,
    /// In KiB.
    memory: u64,
}

impl Row {
    fn new(name: &'static str) -> Row {
        Row { name, rates: Vec::new(), times: Vec::new(), memory: 0 }
    }

    fn add(&mut self, (whole, times): Run, memory: u64) {
        self.rates.push(times.len() as f64 / whole.as_secs_f64());
        self.times.extend(times);
        self.memory = self.memory.max(memory);
    }

    fn rate(&mut self) -> f64 {
        self.rates.sort_by(f64::total_cmp);
        self.rates[self.rates.len() / 2]
    }

    fn print(&mut self, yardstick: f64) {
        let rate = self.rate();
        self.times.sort();
        let [median, late] = [50, 99].map(|it| self.times[self.times.len() * it / 100]);
        let memory = if self.memory == 0 { String::new() } else { format!("{:.1} MB", self.memory as f64 * 1024e-6) };
        println!("| {} | {rate:.0} | {:.2} | {median:.1?} | {late:.1?} | {memory} |", self.name, rate / yardstick);
    }
}

/// What the disk allows.
fn fdatasync(bytes: &[u8]) -> Duration {
    let mut file = tempfile::tempfile().expect("a file");
    let start = Instant::now();
    for _ in 0..200 {
        file.write_all(bytes).expect("written");
        file.sync_data().expect("synced");
    }
    start.elapsed() / 200
}

fn bare(address: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port");
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let service = service_fn(|request: Request<Incoming>| async move {
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"accepted\n"))))
            });
            tokio::spawn(async move {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
}
