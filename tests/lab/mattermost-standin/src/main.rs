//! A stand-in for Mattermost, for a lab that cannot pull the real image.
//!
//! It keeps the part of Mattermost 11.6's contract that was recorded in tests/contract and answers everything else
//! with an error that says so. It is no chat server and nothing but the lab may use it.

mod accounts;
mod app_error;
mod calls;
mod config;
mod dsn;
mod http;
mod ids;
mod log;
mod media;
mod metrics;
mod mmctl;
mod plugins;
mod settings;
mod store;
mod tls;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OnceCell, RwLock};

use crate::calls::Calls;
use crate::settings::Settings;
use crate::store::Store;

/// What every request handler and every mmctl command works on.
pub struct Server {
    pub settings: Settings,
    pub store: Store,
    /// The configuration in force, which mmctl can change.
    pub config: RwLock<Value>,
    /// Empty while the plugin has never been active. Its sockets stay open when it is disabled later.
    pub active_calls: OnceCell<Calls>,
}

impl Server {
    /// A setting's value; `null` when there is none of that name.
    pub async fn setting(&self, path: &str) -> Value {
        config::get(&*self.config.read().await, path).cloned().unwrap_or_default()
    }

    pub async fn flag(&self, path: &str) -> bool {
        self.setting(path).await == true
    }

    /// The plugin while it is active.
    pub async fn calls(&self) -> Option<&Calls> {
        if plugins::is_enabled(self, calls::PLUGIN_ID).await { self.active_calls.get() } else { None }
    }
}

/// The build number says that this is no Mattermost; the shape (version, build, hash, license) is the recorded one.
pub const VERSION_ID: &str =
    "11.6.0.11.6.0-standin.0000000000000000000000000000000000000000000000000000000000000000.false";

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|it| it == "version") {
        println!("Version: 11.6.0-standin (STAND-IN FOR MATTERMOST, used by the lab)");
        return ExitCode::SUCCESS;
    }
    log::info(
        "STAND-IN FOR MATTERMOST, used by the lab; it keeps a recorded part of Mattermost's contract and no more",
    )
    .with("version", "11.6.0-standin")
    .write();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(it) => it,
        Err(error) => return refuse(&format!("failed to start the runtime: {error}")),
    };
    match runtime.block_on(run()) {
        Ok(()) => {
            // A call that never answers must not keep the process alive.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            ExitCode::SUCCESS
        }
        Err(message) => refuse(&message),
    }
}

fn refuse(message: &str) -> ExitCode {
    log::error(message).write();
    eprintln!("Error: {message}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|it| it.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|it| it.to_string())?;
    let mut stop = pin!(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    // A database that does not answer must not keep the process from being stopped.
    let socket = tokio::select! {
        started = start() => started?,
        () = &mut stop => return Ok(()),
    };
    stop.await;
    log::info("Stopping Server...").write();
    if let Some(path) = socket {
        // A stale file is removed at the next start as well, so a failure here costs nothing.
        let _ = std::fs::remove_file(path);
    }
    log::info("Server stopped").write();
    Ok(())
}

/// Starts in Mattermost's order (configuration, database, plugins, then the listeners), so that whoever sees the
/// socket or the port can rely on the rest. Gives the socket's path, if there is one.
async fn start() -> Result<Option<PathBuf>, String> {
    let settings = settings::from_env(std::env::vars())?;
    let tls = settings.check_files()?;
    let store = Store::open(&settings.data_source)
        .await
        .map_err(|it| format!("failed to initialize platform: cannot create store: {it}"))?;
    let stored =
        store.configuration().await.map_err(|it| format!("failed to load configuration: {}", store::describe(&it)))?;
    let config = RwLock::new(config::effective(&settings, &stored));
    let server = Arc::new(Server { settings, store, config, active_calls: OnceCell::new() });
    if plugins::is_enabled(&server, calls::PLUGIN_ID).await {
        plugins::activate_calls(&server).await;
    }
    metrics::start(&server).await?;
    http::start(&server, tls).await?;
    mmctl::listen(&server)
}
