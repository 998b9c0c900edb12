//! Other programs, with a time limit and with all that they said.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub what: String,
    /// Nothing when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    /// Both streams, for a message that leaves nothing out.
    pub fn said(&self) -> String {
        format!(
            "`{}` ended with {:?} after {:.1} s\n--- stdout\n{}\n--- stderr\n{}",
            self.what,
            self.code,
            self.took.as_secs_f32(),
            self.stdout,
            self.stderr
        )
    }

    /// Fails the test with everything that was said, unless the exit status is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}", self.said());
        self
    }

    /// Fails the test unless this is somewhere in what was said.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "{text:?} was not said: {}", self.said());
        self
    }

    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Ran {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "{text:?} was said: {}", self.said());
        self
    }
}

/// A program that was started. What it says goes to files, not to pipes: a killed xtask leaves children that hold them.
#[derive(Debug)]
pub struct Started {
    pub child: Child,
    what: String,
    stdout: File,
    stderr: File,
    start: Instant,
}

/// Starts a program, with `stdin` to read.
pub fn start(command: &mut Command, stdin: &str) -> Started {
    let file = || tempfile::tempfile().expect("a temporary file");
    let (mut input, stdout, stderr) = (file(), file(), file());
    input.write_all(stdin.as_bytes()).and_then(|()| input.rewind()).expect("a temporary file can be written");
    let of = |file: &File| Stdio::from(file.try_clone().expect("a file has another handle"));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let what = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let child = command.stdin(of(&input)).stdout(of(&stdout)).stderr(of(&stderr)).spawn();
    let child = child.unwrap_or_else(|error| panic!("cannot start `{what}`: {error}"));
    Started { child, what, stdout, stderr, start: Instant::now() }
}

impl Started {
    /// Waits for its end; nothing when it did not end in time, and was killed.
    pub fn wait(&mut self, limit: Duration) -> Option<Ran> {
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                let (stdout, stderr) = (text(&mut self.stdout), text(&mut self.stderr));
                let what = std::mem::take(&mut self.what);
                return Some(Ran { what, code: status.code(), stdout, stderr, took: self.start.elapsed() });
            }
            if self.start.elapsed() > limit {
                self.kill();
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has said on stdout until now.
    pub fn stdout(&mut self) -> String {
        text(&mut self.stdout.try_clone().expect("a file has another handle"))
    }

    /// What it has said on stderr until now.
    pub fn stderr(&mut self) -> String {
        text(&mut self.stderr.try_clone().expect("a file has another handle"))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a program to its end.
pub fn run(command: &mut Command, stdin: &str, limit: Duration) -> Ran {
    let mut started = start(command, stdin);
    let what = started.what.clone();
    started.wait(limit).unwrap_or_else(|| panic!("`{what}` was not done after {} s", limit.as_secs()))
}

/// Runs `docker …`.
pub fn docker(arguments: &[&str]) -> Ran {
    run(Command::new("docker").args(arguments), "", Duration::from_secs(120))
}

/// The reading position is one with the writer's, so reading never seeks.
fn text(file: &mut File) -> String {
    use std::os::unix::fs::FileExt as _;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0).ok();
    String::from_utf8_lossy(&bytes).into_owned()
}
