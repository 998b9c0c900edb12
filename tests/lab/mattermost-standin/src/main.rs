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
mod settings;
mod store;
mod tls;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::calls::Calls;
use crate::settings::Settings;
use crate::store::Store;

/// What every request handler and every mmctl command works on.
pub struct Server {
    pub settings: Settings,
    pub store: Store,
    /// Absent when the plugin is switched off or could not be activated.
    pub calls: Option<Calls>,
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
    let calls = activate_calls(&settings, &store).await;
    let server = Arc::new(Server { settings, store, calls });
    metrics::start(&server).await?;
    http::start(&server, tls).await?;
    mmctl::listen(&server)
}

/// A plugin that does not start leaves the server up, as Mattermost does.
async fn activate_calls(settings: &Settings, store: &Store) -> Option<Calls> {
    let calls = match &settings.calls {
        Ok(it) => it.clone()?,
        Err(error) => {
            calls_failed(error);
            return None;
        }
    };
    if let Err(error) = media::start(&calls.media).await {
        calls_failed(&error);
        return None;
    }
    if let Err(error) = store.ensure_calls_bot().await {
        calls_failed(&store::describe(&error));
        return None;
    }
    Some(calls)
}

fn calls_failed(error: &str) {
    log::error("Unable to activate plugin").with("plugin_id", calls::PLUGIN_ID).with("error", error).write();
}
