//! A relay of a test's own: its folder, its settings, its process.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;

use tempfile::TempDir;

use super::client::{Answer, Client};
use super::hooks::{Authority, BUILDS_HOOK, HookServer, OTHER_HOOK};
use super::{SECRET, wait_for};

/// What outlives a relay that is killed.
pub struct Site {
    pub folder: TempDir,
    pub address: SocketAddr,
    settings: Vec<(&'static str, String)>,
}

impl Site {
    /// Settings that fit the server. Both outcomes are posted.
    pub fn new(hooks: &HookServer) -> Site {
        Site::at(hooks.address, &hooks.authority)
    }

    /// Settings for a Mattermost that need not be there.
    pub fn at(mattermost: SocketAddr, authority: &Authority) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, authority.pem()).expect("written");
        let spool = folder.path().join("spool");
        std::fs::create_dir(&spool).expect("a folder");
        let address = free_address();
        let quoted = |it: &dyn std::fmt::Display| format!("\"{it}\"");
        let settings = vec![
            ("listen", quoted(&address)),
            ("spool", quoted(&spool.display())),
            ("mattermost", quoted(&format!("https://localhost:{}", mattermost.port()))),
            ("ca", quoted(&ca.display())),
            ("secret", quoted(&SECRET)),
            ("passed_hook", quoted(&OTHER_HOOK)),
            ("failed_hook", quoted(&BUILDS_HOOK)),
            ("queue", "10000".into()),
        ];
        Site { folder, address, settings }
    }

    /// Changes one setting, to what stands behind the `=`.
    pub fn set(&mut self, key: &str, value: &str) {
        let setting = self.settings.iter_mut().find(|it| it.0 == key).expect("a setting");
        setting.1 = value.to_owned();
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("spool/journal")
    }

    pub fn config(&self) -> PathBuf {
        let file = self.folder.path().join("relay.toml");
        let lines: String = self.settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        std::fs::write(&file, lines).expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
        file
    }

    /// Starts the binary that cargo built, and waits until it listens.
    pub fn start(&self) -> Relay<'_> {
        self.start_command(Command::new(env!("CARGO_BIN_EXE_relay")))
    }

    /// Starts the binary by another way.
    pub fn start_command(&self, mut command: Command) -> Relay<'_> {
        let log = self.folder.path().join("log");
        let stderr = std::fs::File::create(&log).expect("a file");
        command.arg("--config").arg(self.config()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let relay = Relay { child: command.spawn().expect("started"), site: self };
        wait_for("the relay listens", || relay.log().contains("listening on"));
        relay
    }
}

/// A running relay; killed when it goes out of scope.
pub struct Relay<'site> {
    pub child: Child,
    /// Its folder must outlive it.
    pub site: &'site Site,
}

impl Relay<'_> {
    pub fn client(&self) -> Client {
        Client::connect(self.site.address).expect("connected")
    }

    pub fn deliver(&self, body: &[u8]) -> Answer {
        self.client().deliver(body).expect("an answer")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.site.folder.path().join("log")).expect("a log")
    }

    /// One number of /metrics, by its name and labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.client().request("GET", "/metrics").expect("metrics").body;
        let line = text.lines().find_map(|it| it.strip_prefix(&format!("relay_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -TERM $0", &pid]).status().expect("a shell").success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("an exit status")
    }

    /// A line of /proc/PID/status, in KiB.
    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let value = status.lines().find_map(|it| it.strip_prefix(line)).expect("a line");
        value.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number")
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on loopback where nobody listens at the moment. Below the range from which the system takes ports for
/// clients, and each one only once, so that it stays free while its server is killed.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port =
            10_000 + (std::process::id() as u16).wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Relaxed)) % 20_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("an address");
        }
    }
}
