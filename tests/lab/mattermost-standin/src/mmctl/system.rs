//! `mmctl system …` and `mmctl plugin list`.

use serde_json::json;

use super::args::Args;
use super::reply::Reply;
use crate::http::status as server_status;
use crate::{Server, VERSION_ID, calls};

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

/// The count is of lines that mmctl printed, not of plugins.
pub fn plugins(server: &Server, args: &Args) -> Reply {
    let calls = json!({
        "id": calls::PLUGIN_ID,
        "name": "Calls",
        "description": "The lab's stand-in for the Calls plugin",
        "version": "1.11.0-standin",
    });
    let installed = !matches!(server.settings.calls, Ok(None));
    let active = server.calls.is_some();
    let (on, off) = match (installed, active) {
        (true, true) => (vec![calls], vec![]),
        (true, false) => (vec![], vec![calls]),
        (false, _) => (vec![], vec![]),
    };
    let line = |enabled: bool| {
        let shown = installed && active == enabled;
        if shown { format!("{}: Calls, Version: 1.11.0-standin\n", calls::PLUGIN_ID) } else { String::new() }
    };
    let text = format!("Listing enabled plugins\n{}\nListing disabled plugins\n{}", line(true), line(false));
    let count = if args.json { 1 } else { 3 + usize::from(installed) };
    Reply::list(vec![json!({"active": on, "inactive": off})]).with_plain(text).counting(count, "plugins")
}
