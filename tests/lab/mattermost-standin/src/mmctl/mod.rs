//! mmctl's commands, which all run in the server: the binary of that name only carries arguments and output.

mod args;
mod bot;
mod channel;
mod channel_users;
mod command;
mod config;
mod help;
mod plugin;
mod reply;
mod system;
mod team;
mod token;
mod user;
mod webhook;
mod webhook_outgoing;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::{Server, log};
use args::Args;
use reply::Reply;

/// What a command gets: its arguments and the bytes of /dev/stdin, should it read them.
async fn run(server: &Server, arguments: &[String], stdin: &[u8]) -> Reply {
    let words = args::words(arguments);
    let [group, rest @ ..] = words.as_slice() else {
        return Reply::shown(help::of_mmctl());
    };
    let Some(commands) = help::group(group) else {
        return Reply::failed(format!("unknown command {group:?} for \"mmctl\""));
    };
    let Some(command) = rest.first().filter(|it| commands.iter().any(|(name, _)| name == *it)) else {
        // The real one shows help for a subcommand that it does not know, and calls that a success.
        return Reply::shown(help::of_group(group, commands));
    };
    let mut name = format!("{group} {command}");
    if *command == "users" {
        let Some(verb) = rest.get(1).filter(|it| ["add", "remove"].contains(*it)) else {
            return Reply::not_covered(&name);
        };
        name = format!("{name} {verb}");
    }
    let Some(flags) = flags(&name) else {
        return Reply::not_covered(&name);
    };
    let args = match args::parse(arguments, flags, name.split(' ').count()) {
        Ok(it) => it,
        Err(error) => return Reply::failed(error),
    };
    if !args.json && !prints_text(&name) {
        return Reply::not_covered(&format!("{name} without --json"));
    }
    dispatch(server, &name, &args, stdin).await
}

async fn dispatch(server: &Server, name: &str, args: &Args, stdin: &[u8]) -> Reply {
    match name {
        "bot assign" => bot::assign(server, args).await,
        "bot create" => Reply::local_mode_refused(),
        "bot disable" => bot::set_active(server, args, false).await,
        "bot enable" => bot::set_active(server, args, true).await,
        "bot list" => bot::list(server, args).await,
        "bot update" => bot::update(server, args).await,
        "channel archive" => channel::set_archived(server, args, true).await.into(),
        "channel create" => channel::create(server, args).await.into(),
        "channel list" => channel::list(server, args).await.into(),
        "channel modify" => channel::modify(server, args).await.into(),
        "channel rename" => channel::rename(server, args).await.into(),
        "channel search" => channel::search(server, args).await.into(),
        "channel unarchive" => channel::set_archived(server, args, false).await.into(),
        "channel users add" => channel_users::add(server, args).await.into(),
        "channel users remove" => channel_users::remove(server, args).await.into(),
        "command archive" => command::archive(server, args).await.into(),
        "command create" => command::create(server, args).await.into(),
        "command list" => command::list(server, args).await.into(),
        "command modify" => command::modify(server, args).await.into(),
        "command show" => command::show(server, args).await.into(),
        "config get" => config::get(server, args).await,
        "config patch" => config::patch(server, args, stdin).await.into(),
        "config set" => config::set(server, args).await.into(),
        "config show" => config::show(server).await,
        "license get" => Reply::list(vec![json!("No license installed")]),
        "plugin add" => plugin::add(server, args, stdin).await.into(),
        "plugin delete" => plugin::delete(server, args).await.into(),
        "plugin disable" => plugin::set_enabled(server, args, false).await.into(),
        "plugin enable" => plugin::set_enabled(server, args, true).await.into(),
        "plugin list" => plugin::list(server, args).await.into(),
        "roles member" => user::roles(server, args, false).await,
        "roles system-admin" => user::roles(server, args, true).await,
        "system status" => system::status(server, args).await,
        "system version" => system::version(),
        "team archive" if args.has("--confirm") => team::archive(server, args).await.into(),
        "team create" => team::create(server, args).await.into(),
        "team list" => team::list(server).await.into(),
        "team restore" => team::restore(server, args).await.into(),
        "team users add" => team::add_users(server, args).await.into(),
        "team users remove" => team::remove_users(server, args).await.into(),
        "token generate" => token::generate(server, args).await,
        "token list" => token::list(server, args).await,
        "token revoke" => token::revoke(server, args).await.into(),
        "user activate" => user::set_active(server, args, true).await,
        "user change-password" => user::change_password(server, args).await,
        "user convert" if args.has("--bot") => user::convert(server, args).await,
        "user create" => user::create(server, args).await,
        "user deactivate" => user::set_active(server, args, false).await,
        "user list" => user::list(server, args).await.into(),
        "user search" => user::search(server, args).await,
        "user verify" => user::verify(server, args).await,
        "webhook create-incoming" => webhook::create(server, args).await.into(),
        "webhook create-outgoing" => webhook_outgoing::create(server, args).await.into(),
        "webhook delete" => webhook::delete(server, args).await.into(),
        "webhook list" => webhook::list(server, args).await.into(),
        "webhook modify-incoming" => webhook::modify(server, args).await.into(),
        "webhook modify-outgoing" => webhook_outgoing::modify(server, args).await.into(),
        "webhook show" => webhook::show(server, args).await.into(),
        _ => Reply::not_covered(&format!("{name} in this form")),
    }
}

/// What is recorded without --json, or has nothing but an error or an empty list to print.
fn prints_text(name: &str) -> bool {
    ["bot create", "config get", "plugin list", "system status", "system version", "team list"].contains(&name)
}

/// The flags of a command that the stand-in covers. `=` marks one that takes a value.
fn flags(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "bot create" => &["--display-name=", "--description=", "--with-token"],
        "bot list" => &["--all", "--orphaned"],
        "bot update" => &["--username=", "--display-name=", "--description="],
        "channel create" => channel::CREATE_FLAGS,
        "channel modify" => &["--private", "--public", "--username="],
        "channel rename" => &["--name=", "--display-name="],
        "channel search" => &["--team="],
        "channel users remove" => &["--all-users"],
        "command create" => command::CREATE_FLAGS,
        "command modify" => command::MODIFY_FLAGS,
        "plugin add" => &["--force"],
        "team archive" => &["--confirm"],
        "team create" => &["--name=", "--display-name=", "--private", "--email="],
        "user change-password" => &["--password=", "--hashed", "--current="],
        "user convert" => &["--bot", "--user"],
        "user create" => user::CREATE_FLAGS,
        "user list" => &["--all", "--inactive", "--team=", "--page=", "--per-page="],
        "webhook create-incoming" => webhook::CREATE_FLAGS,
        "webhook create-outgoing" => webhook_outgoing::CREATE_FLAGS,
        "webhook modify-incoming" => webhook::MODIFY_FLAGS,
        "webhook modify-outgoing" => webhook_outgoing::MODIFY_FLAGS,
        "bot assign" | "bot disable" | "bot enable" | "channel archive" | "channel list" | "channel unarchive"
        | "channel users add" | "command archive" | "command list" | "command show" | "config get" | "config patch"
        | "config set" | "config show" | "license get" | "plugin delete" | "plugin disable" | "plugin enable"
        | "plugin list" | "roles member" | "roles system-admin" | "system status" | "system version" | "team list"
        | "team restore" | "team users add" | "team users remove" | "token generate" | "token list"
        | "token revoke" | "user activate" | "user deactivate" | "user search" | "user verify" | "webhook delete"
        | "webhook list" | "webhook show" => &[],
        _ => return None,
    })
}

/// A text of a document that PostgreSQL built.
fn text<'a>(document: &'a serde_json::Value, key: &str) -> &'a str {
    document[key].as_str().unwrap_or_default()
}

/// Opens the socket, which only the server's own user may use.
pub fn listen(server: &Arc<Server>) -> Result<Option<PathBuf>, String> {
    let Some(path) = &server.settings.local_socket else {
        return Ok(None);
    };
    let failed = |it: std::io::Error| format!("unable to start the local mode server: {path}: {it}");
    // Left behind by a server that was killed.
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    log::info("Starting local mode server").with("socket", path).write();
    tokio::spawn(accept(server.clone(), listener));
    Ok(Some(PathBuf::from(path)))
}

async fn accept(server: Arc<Server>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(&server, stream).await {
                        log::warn("mmctl went away").with("error", &error.to_string()).write();
                    }
                });
            }
            Err(error) => {
                log::warn("The local socket refused a connection").with("error", &error.to_string()).write();
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(server: &Server, mut stream: UnixStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    stream.read_to_end(&mut request).await?;
    let end = request.iter().position(|it| *it == b'\n').unwrap_or(request.len());
    let (line, rest) = request.split_at(end);
    let arguments: Vec<String> = serde_json::from_slice(line)?;
    let reply = run(server, &arguments, rest.get(1..).unwrap_or_default()).await;
    stream.write_all(reply.encode(arguments.iter().any(|it| it == "--json")).to_string().as_bytes()).await
}
