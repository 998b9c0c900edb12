//! Takes SonarQube's webhook and posts it to Mattermost, which refuses SonarQube's own payload.
//!
//! A delivery gets its 200 when it is on disk, and leaves the disk when Mattermost has it. ARCHITECTURE.md says how it
//! fits into the stack.

mod config;
mod delivery;
mod healthcheck;
mod http;
mod log;
mod message;
mod metrics;
mod post;
mod signature;
mod spool;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::config::Config;
use crate::http::Service;
use crate::metrics::Metrics;
use crate::post::{Client, Poster};
use crate::spool::Spool;

const USAGE: &str = "usage: relay [healthcheck] --config FILE";

/// For requests and a post under way. Docker kills after 10 s.
const FAREWELL: Duration = Duration::from_secs(4);

/// Exit status: 0 stopped by a signal or healthy, 1 failed or unhealthy, 2 wrong usage.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (healthcheck, file) = match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["--config", file] => (false, PathBuf::from(file)),
        ["healthcheck", "--config", file] => (true, PathBuf::from(file)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = config::load(&file).and_then(|it| if healthcheck { healthcheck::run(it.listen) } else { start(it) });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error(error);
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> Result<(), String> {
    // One thread: what takes time is the disk, and that has a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|it| it.to_string())?;
    let spool_thread = runtime.block_on(run(config))?;
    // Whatever is still under way ends here, and with it the last handle of the spool.
    runtime.shutdown_timeout(Duration::from_millis(200));
    spool_thread.join().map_err(|_| "the spool's thread has panicked")?;
    log::info("stopped");
    Ok(())
}

async fn run(config: Config) -> Result<std::thread::JoinHandle<()>, String> {
    let (mut terminate, mut interrupt) = signals().map_err(|it| it.to_string())?;
    let metrics = Arc::new(Metrics::default());
    let (sender, waiting) = mpsc::unbounded_channel();
    let (spool, spool_thread) = Spool::start(&config.spool, config.queue, Arc::clone(&metrics), sender)?;
    let client = Client::new(config.mattermost)?;
    let listener = TcpListener::bind(config.listen).await.map_err(|it| format!("listen: {}: {it}", config.listen))?;
    let address = listener.local_addr().map_err(|it| it.to_string())?;
    log::info(format_args!("listening on {address}; {} deliveries wait", waiting.len()));

    let (stop, stopped) = watch::channel(false);
    let service = Service::new(config.key, spool.clone(), Arc::clone(&metrics), config.queue, &config.hooks);
    let poster = Poster { client, hooks: config.hooks, spool, metrics };
    let serving = tokio::spawn(http::serve(listener, Arc::new(service), stopped.clone()));
    let posting = tokio::spawn(poster.run(waiting, stopped));
    let both = async { tokio::join!(serving, posting) };
    tokio::pin!(both);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Neither ends by itself, so one has panicked. Docker starts the relay again, and nothing is lost.
        (serving, posting) = &mut both => return Err(format!("a task has ended: {serving:?}, {posting:?}")),
    }
    log::info("stopping");
    let _ = stop.send(true);
    if timeout(FAREWELL, both).await.is_err() {
        log::warning("something was still under way and is cut off; what was accepted is on disk");
    }
    Ok(spool_thread)
}

fn signals() -> std::io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}
