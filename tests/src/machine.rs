//! A machine of a test's own: a network namespace with an engine in it, and a client on its LAN. Addresses, routes and
//! firewall rules can be changed there, and the host and its engine notice nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::run::{Ran, run};

/// A machine on a LAN of its own, with no way out. Everything of it is removed on drop, also when the test panics; what a
/// killed run left is removed by the next one.
#[derive(Debug)]
pub struct Machine {
    /// Of its network namespace. The client's is `<name>-client`.
    pub name: String,
    folder: PathBuf,
    /// dockerd, then containerd.
    engine: Vec<Child>,
    _lock: File,
}

impl Machine {
    /// Starts a machine with the address 10.254.99.1/24 on eth0 and a default route by 10.254.99.254, which is the client.
    /// Nothing, and the reason printed, when this user may not make one.
    pub fn start(name: &str) -> Option<Machine> {
        if let Some(reason) = impossible() {
            eprintln!("SKIPPED: a machine of the test's own {reason}");
            return None;
        }
        let name = format!("cc-e2e-{name}");
        // Below /var/lib, as Docker's own: overlay2 does not work on every file system.
        let folder = Path::new("/var/lib").join(&name);
        let lock = File::create(format!("/run/{name}.lock")).expect("root writes to /run");
        assert!(lock.try_lock().is_ok(), "another run of the end-to-end tests uses the machine {name}");
        remove(&name, &folder);
        let mut machine = Machine { name, folder, engine: Vec::new(), _lock: lock };
        for namespace in [machine.name.clone(), machine.client_name()] {
            command(&["ip", "netns", "add", &namespace]);
            command(&["ip", "-n", &namespace, "link", "set", "lo", "up"]);
        }
        machine.plug("eth0", "10.254.99.1/24", "10.254.99.254/24");
        machine.ip("route add default via 10.254.99.254");
        machine.start_engine();
        Some(machine)
    }

    /// Another cable to the client: an interface called `interface` here and `client-<interface>` there.
    pub fn plug(&self, interface: &str, address: &str, client_address: &str) {
        let other = format!("client-{interface}");
        self.ip(&format!("link add {interface} type veth peer name {other} netns {}", self.client_name()));
        self.client_ip(&format!("address add {client_address} dev {other}"));
        self.client_ip(&format!("link set {other} up"));
        self.ip(&format!("address add {address} dev {interface}"));
        self.ip(&format!("link set {interface} up"));
    }

    /// `ip …` on this machine, which must succeed.
    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        ip(&self.name, arguments);
    }

    /// `ip …` on the client.
    #[track_caller]
    pub fn client_ip(&self, arguments: &str) {
        ip(&self.client_name(), arguments);
    }

    /// A program on this machine, which finds its engine.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        // Not `ip netns exec`: that mounts another /sys, and with it the control groups are gone.
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command
    }

    /// `docker …` on this machine.
    pub fn docker(&self, arguments: &[&str]) -> Ran {
        run(self.command("docker").args(arguments), "", Duration::from_secs(120))
    }

    /// Runs a closure while the engine hangs: its containers go on, and whoever asks it waits.
    pub fn while_engine_hangs<T>(&self, act: impl FnOnce() -> T) -> T {
        /// Wakes it up, also when the closure panics.
        struct Stopped(u32);
        impl Drop for Stopped {
            fn drop(&mut self) {
                signal(self.0, Signal::CONT);
            }
        }
        let dockerd = self.engine.first().expect("the engine was started").id();
        signal(dockerd, Signal::STOP);
        let _stopped = Stopped(dockerd);
        act()
    }

    /// Runs a closure as the client: what it connects to, it reaches over the LAN. It is a thread of this process, so its
    /// files are the host's, and so are the children's of other threads.
    pub fn on_client<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        on(&self.client_name(), act)
    }

    /// Loads images that the host's engine has.
    pub fn load(&self, images: &[&str]) {
        let mut save = Command::new("docker");
        let mut save = save.arg("save").args(images).stdout(Stdio::piped()).spawn().expect("docker can be started");
        let tar = save.stdout.take().expect("its output is a pipe");
        let loaded = self.command("docker").arg("load").stdin(tar).stdout(Stdio::null()).status();
        let saved = save.wait().expect("a child can be waited for");
        assert!(saved.success() && loaded.is_ok_and(|loaded| loaded.success()), "cannot copy {images:?}");
    }

    fn client_name(&self) -> String {
        format!("{}-client", self.name)
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("run/docker.sock")
    }

    /// An engine that shares nothing with the host's but the programs: the containerd is its own too, because a host's would
    /// start containers of the host's network in the namespace that it runs in itself.
    fn start_engine(&mut self) {
        let run = self.folder.join("run");
        fs::create_dir_all(&run).expect("root writes to /var/lib");
        let (containerd, dockerd) = (self.folder.join("containerd.toml"), self.folder.join("daemon.json"));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let address = run.join("containerd.sock");
        // Those plugins listen on sockets, or make folders, that one machine has only one of.
        let settings = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.nri.v1.nri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = {:?}\n",
            self.folder.join("containerd"),
            run.join("containerd"),
            address
        );
        fs::write(&containerd, settings).expect("root writes to /var/lib");
        let settings = serde_json::json!({
            "hosts": [format!("unix://{}", self.socket().display())],
            "containerd": address,
            "data-root": self.folder.join("data"),
            "exec-root": run.join("docker"),
            "pidfile": run.join("docker.pid"),
            // By their control groups the containers of a killed run are found.
            "cgroup-parent": format!("/{}", self.name),
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
        });
        fs::write(&dockerd, settings.to_string()).expect("root writes to /var/lib");
        self.start_daemon(&["containerd", "--config", &text(&containerd)]);
        self.wait_until("containerd listens", |_| address.exists());
        self.start_daemon(&["dockerd", "--config-file", &text(&dockerd)]);
        self.wait_until("the engine answers", |machine| machine.docker(&["version"]).code == Some(0));
    }

    fn start_daemon(&mut self, argv: &[&str]) {
        let log = File::create(self.folder.join(format!("{}.log", argv[0]))).expect("root writes to /var/lib");
        let error = log.try_clone().expect("a file has another handle");
        let mut command = self.command(argv[0]);
        command.env_remove("DOCKER_HOST").args(&argv[1..]).stdin(Stdio::null()).stdout(log).stderr(error);
        self.engine.insert(0, command.spawn().expect("nsenter can be started"));
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&Machine) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            if start.elapsed() > Duration::from_secs(60) {
                let log = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
                panic!("{what}: not within a minute\n{}\n{}", log("containerd.log"), log("dockerd.log"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Asked to stop, an engine takes its control groups and mounts away itself.
        for daemon in &mut self.engine {
            signal(daemon.id(), Signal::TERM);
            let end = Instant::now() + Duration::from_secs(15);
            while Instant::now() < end && matches!(daemon.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(50));
            }
            daemon.kill().ok();
            daemon.wait().ok();
        }
        remove(&self.name, &self.folder);
    }
}

/// Why this user cannot have a machine; nothing when they can.
fn impossible() -> Option<String> {
    if !rustix::process::getuid().is_root() {
        return Some("needs root".to_owned());
    }
    let missing = ["ip", "nsenter", "dockerd", "containerd"].into_iter().find(|program| !exists(program));
    missing.map(|program| format!("needs the program {program}"))
}

fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--help")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Runs a closure on a thread in a network namespace. Threads that it starts are there too.
fn on<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    let file = File::open(Path::new("/run/netns").join(namespace)).expect("the namespace is there");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[track_caller]
fn ip(namespace: &str, arguments: &str) {
    let mut argv = vec!["ip", "-n", namespace];
    argv.extend(arguments.split(' '));
    command(&argv);
}

#[track_caller]
fn command(argv: &[&str]) {
    ran(argv).exits(0);
}

fn ran(argv: &[&str]) -> Ran {
    run(Command::new(argv[0]).args(&argv[1..]), "", Duration::from_secs(10))
}

/// Removes a machine, whatever is left of it.
fn remove(name: &str, folder: &Path) {
    // What is killed may just have started something.
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let left = processes(name, folder);
        left.iter().for_each(|pid| signal(*pid, Signal::KILL));
        if left.is_empty() || Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points =
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|point| Path::new(point).starts_with(folder));
    // The last one lies on top.
    for point in points.collect::<Vec<_>>().into_iter().rev() {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).ok();
    }
    for namespace in [name.to_owned(), format!("{name}-client")] {
        if Path::new("/run/netns").join(&namespace).exists() {
            let deleted = ran(&["ip", "netns", "delete", &namespace]);
            if deleted.code != Some(0) {
                // Not a panic: the test may have failed already, and a second one would leave the rest.
                eprintln!("{}", deleted.said());
            }
        }
    }
    // One hierarchy (version 2), or one for each controller (version 1).
    let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for root in controllers.chain([PathBuf::from("/sys/fs/cgroup")]) {
        remove_groups(&root.join(name));
    }
    fs::remove_dir_all(folder).ok();
}

/// The engine's own processes, by the path in their arguments, and those of containers, by their control group.
fn processes(name: &str, folder: &Path) -> Vec<u32> {
    let (folder, group) = (folder.to_string_lossy(), format!("/{name}/"));
    let of_engine = ["containerd", "dockerd", "docker", "runc"];
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = pids.filter(|pid| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let (arguments, groups) = (read("cmdline"), read("cgroup"));
        let (arguments, groups) = (String::from_utf8_lossy(&arguments), String::from_utf8_lossy(&groups));
        let program = arguments.split('\0').next().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
        let is_engine = of_engine.iter().any(|engine| program.starts_with(engine)) && arguments.contains(&*folder);
        is_engine || groups.lines().any(|line| line.contains(&group))
    });
    ours.collect()
}

/// A control group and those below it. They are empty when their processes are gone, and have no files that can be removed.
fn remove_groups(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    fs::remove_dir(folder).ok();
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}
