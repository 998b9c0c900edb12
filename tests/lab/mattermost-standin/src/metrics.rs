//! A few gauges over plain HTTP, when MetricsSettings.Enable asks for them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::{Server, http, log};

pub async fn start(server: &Arc<Server>) -> Result<(), String> {
    let Some(address) = &server.settings.metrics_address else {
        return Ok(());
    };
    let listener = http::bind(address).await?;
    let app = Router::new().route("/metrics", get(metrics)).with_state(server.clone());
    log::info(&format!("Metrics and profiling server is listening on {address}")).write();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}

async fn metrics(State(server): State<Arc<Server>>) -> String {
    let healthy = u8::from(server.store.is_healthy().await);
    let calls = u8::from(server.calls().await.is_some());
    format!(
        "# HELP mattermost_standin_info The lab's stand-in for Mattermost.\n\
         # TYPE mattermost_standin_info gauge\n\
         mattermost_standin_info{{version=\"11.6.0-standin\"}} 1\n\
         # TYPE mattermost_db_up gauge\n\
         mattermost_db_up {healthy}\n\
         # TYPE mattermost_plugin_calls_active gauge\n\
         mattermost_plugin_calls_active {calls}\n"
    )
}
