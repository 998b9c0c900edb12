//! mmctl's commands, which all run in the server: the binary of that name only carries arguments and output.

mod args;
mod bot;
mod config;
mod help;
mod reply;
mod system;
mod token;
mod user;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::{Server, log};
use reply::Reply;

/// What a command gets: its arguments and the bytes of /dev/stdin, should it read them.
async fn run(server: &Server, arguments: &[String], _stdin: &[u8]) -> Reply {
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
    let name = format!("{group} {command}");
    let Some(flags) = flags(group, command) else {
        return Reply::not_covered(&name);
    };
    let args = match args::parse(arguments, flags) {
        Ok(it) => it,
        Err(error) => return Reply::failed(error),
    };
    if !args.json && !prints_text(group, command) {
        return Reply::not_covered(&format!("{name} without --json"));
    }
    match (*group, *command) {
        ("bot", "assign") => bot::assign(server, &args).await,
        ("bot", "create") => Reply::local_mode_refused(),
        ("bot", "disable") => bot::set_active(server, &args, false).await,
        ("bot", "enable") => bot::set_active(server, &args, true).await,
        ("bot", "list") => bot::list(server, &args).await,
        ("bot", "update") => bot::update(server, &args).await,
        ("command", "list") if args.positional.is_empty() => Reply::list(Vec::new()).counted("commands"),
        ("config", "get") => config::get(server, &args),
        ("license", "get") => Reply::list(vec![json!("No license installed")]),
        ("plugin", "list") => system::plugins(server, &args),
        ("roles", "member") => user::roles(server, &args, false).await,
        ("roles", "system-admin") => user::roles(server, &args, true).await,
        ("system", "status") => system::status(server, &args).await,
        ("system", "version") => system::version(),
        ("team", "list") => Reply::list(Vec::new()).counted("teams"),
        ("token", "generate") => token::generate(server, &args).await,
        ("token", "list") => token::list(server, &args).await,
        ("user", "activate") => user::set_active(server, &args, true).await,
        ("user", "change-password") => user::change_password(server, &args).await,
        ("user", "convert") if args.has("--bot") => user::convert(server, &args).await,
        ("user", "create") => user::create(server, &args).await,
        ("user", "deactivate") => user::set_active(server, &args, false).await,
        ("user", "list") if args.has("--all") => user::list(server, &args).await,
        ("user", "search") => user::search(server, &args).await,
        ("user", "verify") => user::verify(server, &args).await,
        ("webhook", "list") if args.positional.is_empty() => Reply::list(Vec::new()).counted("webhooks"),
        _ => Reply::not_covered(&format!("{name} in this form")),
    }
}

/// What is recorded without --json, or has nothing but an error or an empty list to print.
fn prints_text(group: &str, command: &str) -> bool {
    matches!(
        (group, command),
        ("bot", "create")
            | ("command" | "plugin" | "team" | "webhook", "list")
            | ("config", "get")
            | ("system", "status" | "version")
    )
}

/// The flags of a command that the stand-in covers. `=` marks one that takes a value.
fn flags(group: &str, command: &str) -> Option<&'static [&'static str]> {
    Some(match (group, command) {
        ("bot", "create") => &["--display-name=", "--description=", "--with-token"],
        ("bot", "list") => &["--all", "--orphaned"],
        ("bot", "update") => &["--username=", "--display-name=", "--description="],
        ("user", "change-password") => &["--password=", "--hashed", "--current="],
        ("user", "convert") => &["--bot", "--user"],
        ("user", "create") => user::CREATE_FLAGS,
        ("user", "list") => &["--all", "--inactive", "--team="],
        ("bot", "assign" | "disable" | "enable")
        | ("command" | "plugin" | "team" | "webhook", "list")
        | ("config" | "license", "get")
        | ("roles", "member" | "system-admin")
        | ("system", "status" | "version")
        | ("token", "generate" | "list")
        | ("user", "activate" | "deactivate" | "search" | "verify") => &[],
        _ => return None,
    })
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
