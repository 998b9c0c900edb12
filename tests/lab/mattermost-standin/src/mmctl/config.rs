//! `mmctl config get`: the environment over the defaults. Setting and patching come with the wiring.

use super::args::Args;
use super::reply::Reply;
use crate::{Server, config};

pub fn get(server: &Server, args: &Args) -> Reply {
    let [key] = args.positional.as_slice() else {
        return Reply::failed(format!("accepts 1 arg(s), received {}", args.positional.len()));
    };
    match config::get(&server.settings.all, key) {
        // mmctl prints JSON here with and without --json.
        Some(value) => Reply::single(value.clone()).with_plain(format!("{value:#}\n")),
        None => Reply::failed("invalid key".to_owned()),
    }
}
