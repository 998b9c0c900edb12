//! `mmctl system …`.

use serde_json::json;

use super::args::Args;
use super::reply::Reply;
use crate::http::status as server_status;
use crate::{Server, VERSION_ID};

pub fn version() -> Reply {
    Reply::single(json!({"version": VERSION_ID})).with_plain(format!("Server version {VERSION_ID}\n"))
}

/// The image's health check: anything but OK fails.
pub async fn status(server: &Server, _args: &Args) -> Reply {
    let (healthy, mut shown) = server_status(server, true).await;
    if !healthy {
        return Reply::failed("server status is unhealthy: UNHEALTHY".to_owned());
    }
    shown["root_status"] = json!(false);
    shown["status"] = json!("OK");
    let text = "Server status: OK\nAndroid Latest Version: \nAndroid Minimum Version: \nIos Latest Version: \n\
         Ios Minimum Version: \nDatabase status: OK\nFilestore status: OK\n";
    Reply::single(shown).with_plain(text.to_owned())
}
