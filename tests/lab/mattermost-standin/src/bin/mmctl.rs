//! The stand-in's mmctl: it hands its arguments to the server over the local socket and prints what comes back.
//!
//! The request is one line, a JSON array of the arguments, followed by the bytes of standard input when an argument
//! names /dev/stdin. The answer is one JSON object: `exit`, `stdout`, `stderr`.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use serde_json::Value;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = std::env::var("MMCTL_LOCAL_SOCKET_PATH").unwrap_or("/var/tmp/mattermost_local.socket".to_owned());
    if !std::fs::metadata(&path).is_ok_and(|it| it.file_type().is_socket()) {
        // The real one prints the list it never filled, also where there is none.
        if arguments.iter().any(|it| it == "--json") {
            println!("null");
        }
        eprintln!(
            "Error: failed to create client: socket file \"{path}\" doesn't exist, please check the server \
             configuration for local mode"
        );
        return ExitCode::FAILURE;
    }
    match ask(&path, &arguments) {
        Ok(answer) => {
            print!("{}", answer["stdout"].as_str().unwrap_or_default());
            eprint!("{}", answer["stderr"].as_str().unwrap_or_default());
            ExitCode::from(answer["exit"].as_u64().unwrap_or(1) as u8)
        }
        Err(error) => {
            eprintln!("Error: {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(path: &str, arguments: &[String]) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(path)?;
    writeln!(stream, "{}", Value::from(arguments))?;
    if arguments.iter().any(|it| it == "/dev/stdin") {
        std::io::copy(&mut std::io::stdin().lock(), &mut stream)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
