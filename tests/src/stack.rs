//! A stack of a test's own: settings derived from the shipped ones, ports and a network that nobody else has.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use xtask::drivers::docker::{self, Container};
use xtask::drivers::https::{self, Site};
use xtask::drivers::process::of_this_package;
use xtask::images::Images;
use xtask::secrets::Secrets;

use crate::machine::Machine;
use crate::run::{self, Ran, run};

/// Longer than xtask's own limit for a start.
const LIMIT: Duration = Duration::from_secs(420);

/// A stack below target/stacks/. Everything of it is removed on drop, also when the test panics.
#[derive(Debug)]
pub struct Stack {
    pub name: String,
    pub root: PathBuf,
    images: OnceLock<Images>,
    /// Where it runs, when that is not this host.
    machine: Option<Arc<Machine>>,
}

impl Stack {
    /// A stack named `e2e-<name>`. Leftovers of an earlier run that was killed are removed first.
    pub fn new(name: &str) -> Stack {
        Stack::at(name, 0, None)
    }

    /// A second stack that can run beside one made by [`Stack::new`].
    pub fn beside(name: &str) -> Stack {
        Stack::at(name, 1000, None)
    }

    /// A stack on a machine of the test's own, which gets the images that this host has. Clients reach it from
    /// [`Machine::on_client`] only.
    pub fn on(machine: &Arc<Machine>, name: &str) -> Stack {
        let stack = Stack::at(name, 0, Some(machine.clone()));
        let relay = xtask::relay_image::recipe(&stack.inner().settings).expect("the relay has sources");
        let mut images = stack.images().all().map(str::to_owned).to_vec();
        images.extend(relay.as_ref().map(|relay| relay.image.clone()));
        if let Some(missing) = xtask::relay_image::missing(relay).expect("Docker answers") {
            xtask::relay_image::build(&missing).expect("the relay's image can be built");
        }
        machine.load(&images.iter().map(String::as_str).collect::<Vec<_>>());
        stack
    }

    fn at(name: &str, offset: u16, machine: Option<Arc<Machine>>) -> Stack {
        alone();
        let name = format!("e2e-{name}");
        let root = checkout().join("target/stacks").join(&name);
        remove(&name, &root, machine.as_deref());
        fs::create_dir_all(&root).expect("target/ can be written");
        let shipped = fs::read_to_string(checkout().join("stack.toml")).expect("the checkout has a stack.toml");
        fs::write(root.join("stack.toml"), shipped).expect("target/ can be written");
        let stack = Stack { name, root, images: OnceLock::new(), machine };
        stack.edit("\nname = \"command-center\"", &format!("\nname = \"{}\"", stack.name));
        let ports = [
            ("mattermost", 18065, "8065"),
            ("calls", 18444, "8444"),
            ("metrics", 18067, "8067"),
            ("phone", 18066, "8066"),
            ("turn", 13478, "3478"),
        ];
        for (key, port, was) in ports {
            stack.edit(&format!("\n{key} = {was}"), &format!("\n{key} = {}", port + offset));
        }
        stack.edit("turn_relay_first = 49160", &format!("turn_relay_first = {}", 40000 + offset));
        stack.edit("turn_relay_last = 49559", &format!("turn_relay_last = {}", 40199 + offset));
        stack.edit("total_quota = 400", "total_quota = 200");
        let (subnet, address) = free_subnet();
        stack.edit("name = \"cicd-net\"", &format!("name = \"{}-net\"", stack.name));
        stack.edit("subnet = \"172.30.0.0/24\"", &format!("subnet = \"{subnet}\""));
        stack.edit("mattermost_address = \"172.30.0.10\"", &format!("mattermost_address = \"{address}\""));
        stack
    }

    /// Replaces a piece of stack.toml, which must be there.
    #[track_caller]
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.root.join("stack.toml");
        let text = fs::read_to_string(&path).expect("the stack has a stack.toml");
        assert_eq!(text.matches(from).count(), 1, "{from:?} is not once in stack.toml");
        fs::write(&path, text.replace(from, to)).expect("target/ can be written");
    }

    /// As xtask sees it.
    pub fn inner(&self) -> xtask::stack::Stack {
        xtask::stack::open(&self.name).expect("the stack's settings are right")
    }

    /// `cargo xtask --stack <name> …`, to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(xtask());
        command.env("CARGO_MANIFEST_DIR", checkout().join("xtask")).current_dir(checkout());
        command.args(["--stack", &self.name]).args(arguments);
        command
    }

    pub fn xtask(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments), "", LIMIT)
    }

    /// `up`, which must succeed.
    #[track_caller]
    pub fn up(&self) -> Ran {
        self.try_up().exits(0)
    }

    pub fn try_up(&self) -> Ran {
        match self.machine {
            // A machine without a way out would wait for an answer of the registry.
            Some(_) if *self.images() == pinned() => self.xtask(&["up", "--images", "registry", "--yes"]),
            Some(_) => self.xtask(&["up", "--images", "lab", "--yes"]),
            None => self.xtask(UP),
        }
    }

    /// Everything that `up` makes before it starts a container.
    pub fn prepare(&self) {
        self.xtask(&["render"]).exits(0);
        let inner = self.inner();
        if *self.images() != pinned() {
            xtask::lab::write_override(&inner, self.images()).expect("the override can be written");
        }
        let network = &inner.settings.network;
        if self.docker(&["network", "inspect", &network.name]).code != Some(0) {
            let (subnet, label) = (network.subnet.to_string(), format!("command-center.stack={}", self.name));
            self.docker(&["network", "create", "--subnet", &subnet, "--label", &label, &network.name]).exits(0);
        }
    }

    /// The images that this stack runs, or would run: the pinned ones where they can be had, else the lab's.
    pub fn images(&self) -> &Images {
        self.images.get_or_init(images)
    }

    /// Whether a stand-in runs in place of Mattermost: what only the stand-in does may then be used.
    pub fn is_lab(&self) -> bool {
        self.inner().is_lab()
    }

    /// The machine of a stack that was made by [`Stack::on`].
    #[track_caller]
    pub fn machine(&self) -> &Machine {
        self.machine.as_deref().expect("a stack on a machine of the test's own")
    }

    /// A program on the machine that the stack runs on.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        on(self.machine.as_deref(), program)
    }

    /// `docker …` of the engine that the stack runs on.
    pub fn docker(&self, arguments: &[&str]) -> Ran {
        docker_on(self.machine.as_deref(), arguments)
    }

    /// `docker compose …` in the stack's folder, as a user without xtask would.
    pub fn compose(&self, arguments: &[&str]) -> Ran {
        let mut command = self.program("docker");
        command.arg("compose").args(["--progress", "plain"]).args(arguments).current_dir(self.root.join("compose"));
        run(&mut command, "", LIMIT)
    }

    pub fn container(&self, service: &str) -> String {
        self.inner().container(service)
    }

    pub fn containers(&self) -> Vec<Container> {
        containers(&self.name, self.machine.as_deref()).expect("Docker lists containers")
    }

    /// Services and the ids of their containers, but for the one-shot.
    pub fn ids(&self) -> Vec<(String, String)> {
        let servers = self.containers().into_iter().filter(|container| container.service != "install");
        servers.map(|container| (container.service, container.id)).collect()
    }

    #[track_caller]
    pub fn running(&self) -> Vec<String> {
        let running = self.containers().into_iter().filter(|container| container.state == "running");
        running.map(|container| container.service).collect()
    }

    pub fn secrets(&self) -> Secrets {
        Secrets::load(&xtask::secrets::path(&self.root)).expect("secrets.env is well-formed")
    }

    #[track_caller]
    pub fn secret(&self, name: &str) -> String {
        self.secrets().get(name).unwrap_or_else(|| panic!("secrets.env has no {name}")).to_owned()
    }

    /// The CA's certificate, in PEM.
    pub fn ca(&self) -> String {
        fs::read_to_string(xtask::certs::ca_path(&self.root)).expect("the stack has a CA")
    }

    /// The address by which clients reach the host. Of a machine, the one that was rendered last.
    pub fn lan(&self) -> Ipv4Addr {
        if self.machine.is_some() {
            return xtask::lan::rendered(&self.root).expect("the stack is rendered").advertised;
        }
        xtask::host::detect(&self.inner().settings).expect("this host has addresses").lan_ip()
    }

    /// Where Mattermost is published.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.lan(), self.inner().settings.ports.mattermost))
    }

    /// The site by a name or address, trusting our CA alone.
    pub fn site(&self, host: &str) -> Site {
        https::site(&self.ca(), host, self.address()).expect("the CA is a certificate")
    }

    /// The answer to a login over TLS, by address.
    pub fn login(&self, user: &str, password: &str) -> https::Answer {
        let body = serde_json::json!({ "login_id": user, "password": password });
        https::post(&self.site(&self.lan().to_string()), "/api/v4/users/login", &body).expect("the site answers")
    }

    /// What PostgreSQL answers its superuser, by the socket in its container.
    #[track_caller]
    pub fn psql(&self, query: &str) -> String {
        let container = self.container("postgres");
        let arguments = ["exec", &container, "psql", "-U", "postgres", "-d", "mattermost", "-v", "ON_ERROR_STOP=1"];
        self.docker(&[&arguments[..], &["-Atqc", query]].concat()).exits(0).stdout.trim().to_owned()
    }

    /// mmctl over the local socket; nothing when it did not return in time.
    pub fn mmctl(&self, arguments: &[&str], stdin: Option<&str>, limit: Duration) -> Option<Ran> {
        let container = self.container("mattermost");
        let mut command = self.program("docker");
        command.args(["exec", "--interactive", &container, "mmctl"]).args(arguments);
        run::start(&mut command, stdin.unwrap_or_default()).wait(limit)
    }

    /// Everybody who has an account and is no bot, with their ids.
    #[track_caller]
    pub fn people(&self) -> Vec<(String, String)> {
        let listed = self.mmctl(&["--local", "--json", "user", "list", "--all"], None, Duration::from_secs(30));
        let listed = listed.expect("mmctl returns").exits(0);
        let users: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).unwrap_or_default();
        let people = users.iter().filter(|user| user["is_bot"] != true);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        people.map(|user| (text(&user["username"]), text(&user["id"]))).collect()
    }

    /// A container's address on one of its networks.
    #[track_caller]
    pub fn address_of(&self, service: &str, network: &str) -> IpAddr {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        let answer = self.docker(&["inspect", "--format", &format, &self.container(service)]).exits(0);
        answer.stdout.trim().parse().expect("a container on a network has an address")
    }
}

/// What a user types.
pub const UP: &[&str] = &["up", "--images", "auto", "--yes"];

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let secrets = Secrets::load(&xtask::secrets::path(&self.root)).unwrap_or_default();
            for container in containers(&self.name, self.machine.as_deref()).unwrap_or_default() {
                let logs = self.docker(&["logs", "--tail", "30", &container.name]);
                let text = secrets.redact(&format!("{}{}", logs.stdout, logs.stderr));
                eprintln!("--- {} ({})\n{text}", container.name, container.status);
            }
        }
        remove(&self.name, &self.root, self.machine.as_deref());
    }
}

/// Removes a stack, whatever is left of it, without xtask: it must also work when xtask does not.
fn remove(name: &str, root: &Path, machine: Option<&Machine>) {
    let docker = |arguments: &[&str]| docker_on(machine, arguments);
    let label = format!("label=com.docker.compose.project={name}");
    for (list, remove) in [
        (&["ps", "--all", "--quiet", "--filter"][..], &["rm", "--force", "--volumes"][..]),
        (&["volume", "ls", "--quiet", "--filter"], &["volume", "rm", "--force"]),
        (&["network", "ls", "--quiet", "--filter"], &["network", "rm"]),
    ] {
        let found = docker(&[list, &[label.as_str()]].concat()).stdout;
        let found: Vec<&str> = found.lines().collect();
        if !found.is_empty() {
            let removed = docker(&[remove, &found[..]].concat());
            if removed.code != Some(0) {
                eprintln!("{}", removed.said());
            }
        }
    }
    // Made by xtask, outside of the Compose project.
    docker(&["network", "rm", &format!("{name}-net")]);
    fs::remove_dir_all(root).ok();
}

fn on(machine: Option<&Machine>, program: impl AsRef<OsStr>) -> Command {
    match machine {
        Some(machine) => machine.command(program),
        None => Command::new(program),
    }
}

fn docker_on(machine: Option<&Machine>, arguments: &[&str]) -> Ran {
    run(on(machine, "docker").args(arguments), "", Duration::from_secs(120))
}

fn containers(name: &str, machine: Option<&Machine>) -> anyhow::Result<Vec<Container>> {
    let label = format!("label=com.docker.compose.project={name}");
    docker::listed(&docker_on(machine, &[&docker::LIST[..], &["--filter", &label]].concat()).stdout)
}

/// One run at a time: two would take each other's ports and remove each other's stacks.
fn alone() {
    static LOCK: OnceLock<File> = OnceLock::new();
    LOCK.get_or_init(|| {
        let folder = checkout().join("target/stacks");
        fs::create_dir_all(&folder).expect("target/ can be written");
        let file = File::create(folder.join(".e2e.lock")).expect("target/ can be written");
        assert!(file.try_lock().is_ok(), "another run of the end-to-end tests is under way in this checkout");
        // What an earlier run left that was killed holds the ports of this one, whatever its name was.
        for entry in fs::read_dir(&folder).expect("target/ can be read").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("e2e-") {
                remove(&name, &entry.path(), None);
            }
        }
        file
    });
}

pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in a checkout")
}

/// The xtask binary, built once.
fn xtask() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo);
        command.args(["build", "--locked", "--quiet", "--package", "xtask"]).current_dir(checkout());
        for name in of_this_package() {
            command.env_remove(name);
        }
        run(&mut command, "", Duration::from_secs(900)).exits(0);
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from);
        target.join("debug/xtask")
    })
}

fn pinned() -> Images {
    xtask::images::pinned().expect("the images are pinned")
}

/// As `up --images auto` chooses, asked once.
pub fn images() -> Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    let choose = || {
        if xtask::images::within_reach(&pinned()).expect("Docker answers") {
            let missing = docker::missing_images(&pinned().all()).map(|it| it.len());
            assert_eq!(missing.ok(), Some(0), "`cargo xtask up` pulls the images; run it once before the tests");
            return pinned();
        }
        xtask::lab::build().expect("the lab's images can be built")
    };
    IMAGES.get_or_init(choose).clone()
}

/// A network of 256 addresses that no route of this host overlaps, and an address on it.
fn free_subnet() -> (String, String) {
    let routes = xtask::host::routes().expect("Linux lists its routes");
    for third in 0..=255 {
        let subnet = format!("172.29.{third}.0/24");
        let parsed = xtask::settings::parse_subnet(&subnet).expect("a subnet");
        if !routes.iter().any(|route| route.subnet.prefix > 0 && route.subnet.overlaps(&parsed)) {
            return (subnet, format!("172.29.{third}.10"));
        }
    }
    panic!("this host has routes over all of 172.29.0.0/16");
}
