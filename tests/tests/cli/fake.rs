//! A checkout of its own for each test, and programs on PATH that record how they are called.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use assert_cmd::assert::Assert;

use crate::common;

/// Programs that would change the machine. On PATH they only record that they were called, and fail.
const DANGEROUS: &[&str] = &["apt-get", "sudo", "systemctl", "setsid", "dockerd", "debootstrap", "env", "sh"];

const RELAY: &[&str] = &["Cargo.toml", "Cargo.lock", "relay/Dockerfile"];

/// A folder with a stack.toml, as a checkout has one. The binary takes it for the checkout, so no test touches the real one.
pub struct Checkout {
    folder: tempfile::TempDir,
}

impl Checkout {
    /// With ports and a network that no stack of this machine has.
    pub fn new() -> Checkout {
        Checkout::with_settings(&common::shipped_with(&[
            ("name = \"command-center\"", "name = \"t-cli\""),
            ("mattermost = 8065", "mattermost = 28065"),
            ("calls = 8444", "calls = 28444"),
            ("metrics = 8067", "metrics = 28067"),
            ("phone = 8066", "phone = 28066"),
            ("turn = 3478", "turn = 23478"),
            ("turn_relay_first = 49160", "turn_relay_first = 29160"),
            ("turn_relay_last = 49559", "turn_relay_last = 29559"),
            ("name = \"cicd-net\"", "name = \"t-cli-net\""),
            ("subnet = \"172.30.0.0/24\"", "subnet = \"10.251.237.0/24\""),
            ("mattermost_address = \"172.30.0.10\"", "mattermost_address = \"10.251.237.10\""),
        ]))
    }

    pub fn with_settings(text: &str) -> Checkout {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["xtask", "bin", "answers", "empty", "relay"] {
            fs::create_dir(folder.path().join(name)).expect("a temporary folder is writable");
        }
        // What the relay's image is made of: its tag is the hash of these.
        for name in RELAY {
            fs::write(folder.path().join(name), "").expect("a temporary folder is writable");
        }
        fs::write(folder.path().join("stack.toml"), text).expect("a temporary folder is writable");
        let checkout = Checkout { folder };
        for program in DANGEROUS {
            checkout.program(program, "exit 1");
        }
        checkout
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Puts a docker on PATH that gives these answers. The first whose pattern, one of the shell, fits is given.
    pub fn docker(&self, answers: &[Answer]) {
        let mut script = String::new();
        for (index, answer) in answers.iter().enumerate() {
            let file = |suffix: &str| self.path(&format!("answers/{index}.{suffix}")).display().to_string();
            fs::write(file("out"), answer.stdout).expect("writable");
            fs::write(file("err"), answer.stderr).expect("writable");
            let (used, exit, pattern) = (file("used"), answer.exit, answer.pattern.replace(' ', "\\ "));
            // `:` makes the mark with nothing but the shell; an answer without the mark is good for any number of times.
            let mark = if answer.once { format!(": >'{used}'; ") } else { String::new() };
            script.push_str(&format!(
                "case \"$call\" in {pattern}) if [ ! -e '{used}' ]; then {mark}/bin/cat '{}'; /bin/cat '{}' >&2; exit {exit}; fi;; esac\n",
                file("out"),
                file("err"),
            ));
        }
        script.push_str("echo \"the fake docker has no answer to: $call\" >&2\nexit 125\n");
        self.program("docker", &script);
    }

    fn program(&self, name: &str, body: &str) {
        let path = self.path("bin").join(name);
        // One write for each call, so that calls side by side do not mix.
        let log = self.path("calls");
        let text = format!("#!/bin/sh\ncall=\"$*\"\nprintf '%s\\n' \"{name} $call\" >>'{}'\n{body}\n", log.display());
        fs::write(&path, text).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("writable");
    }

    /// Every call of a program on PATH, in one line each.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs `cargo xtask …` with the fakes and nothing else on PATH, and nobody at the terminal.
    pub fn xtask(&self, arguments: &[&str]) -> Assert {
        self.command(arguments, "bin").assert()
    }

    /// The same on a machine where nothing is installed.
    pub fn xtask_without_programs(&self, arguments: &[&str]) -> Assert {
        self.command(arguments, "empty").assert()
    }

    pub fn command(&self, arguments: &[&str], path: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(binary());
        command.args(arguments).current_dir(self.folder.path()).timeout(std::time::Duration::from_secs(90));
        command.env("CARGO_MANIFEST_DIR", self.path("xtask")).env("PATH", self.path(path)).env_remove("DOCKER_HOST");
        command
    }

    /// The names of everything that lies in the checkout, without what the test itself has put there.
    pub fn made(&self) -> Vec<String> {
        let mut made = Vec::new();
        names_below(self.folder.path(), self.folder.path(), &mut made);
        let own = ["bin/", "answers/", "calls", "stack.toml"].into_iter().chain(RELAY.iter().copied());
        made.retain(|name| !own.clone().any(|own| name.starts_with(own)));
        made.sort();
        made
    }
}

/// One answer of the fake docker.
#[derive(Clone, Copy)]
pub struct Answer {
    pub pattern: &'static str,
    pub exit: i32,
    pub stdout: &'static str,
    pub stderr: &'static str,
    pub once: bool,
}

pub const fn prints(pattern: &'static str, stdout: &'static str) -> Answer {
    Answer { pattern, exit: 0, stdout, stderr: "", once: false }
}

pub const fn fails(pattern: &'static str, stderr: &'static str) -> Answer {
    Answer { pattern, exit: 1, stdout: "", stderr, once: false }
}

/// A working engine with nothing on it but the pinned images.
pub const ENGINE: &[Answer] = &[
    prints("compose version --short", "2.26.1\n"),
    prints("version --format *", r#"{"Version":"26.1.5","Platform":{"Name":""},"Components":[]}"#),
    prints("ps *", ""),
    prints("image inspect *", "sha256:0\n"),
    fails("volume inspect *", "Error response from daemon: get x: no such volume"),
    fails("network inspect *", "Error response from daemon: network x not found"),
    prints("network create *", "0\n"),
    prints("compose * up *", ""),
    prints("compose * stop*", ""),
];

/// The xtask of this checkout, built once, where Cargo puts it for whoever runs these tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("this test has a file");
        let profile = test.ancestors().nth(2).expect("it lies in target/PROFILE/deps");
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--locked", "--package", "xtask", "--target-dir"]);
        command.arg(profile.parent().expect("a profile's folder lies in target"));
        for name in xtask::drivers::process::of_this_package() {
            command.env_remove(name);
        }
        if profile.ends_with("release") {
            command.arg("--release");
        }
        common::stdout_of(command.current_dir(common::checkout()));
        profile.join("xtask")
    })
}

/// The address by which this host reaches others, if it has one; nothing is sent.
pub fn lan_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

pub fn stdout(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

pub fn stderr(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

fn names_below(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names_below(root, &path, names);
        } else {
            names.push(path.strip_prefix(root).expect("it lies below").to_string_lossy().into_owned());
        }
    }
}
