//! A client, a host and a box behind it, each a network namespace, gone however the test ends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xtask::ports::Protocol::{self, Tcp, Udp};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
pub const BOX: Ipv4Addr = Ipv4Addr::new(172, 31, 77, 2);

/// What host and box listen on, and what the client tries.
pub const PORTS: &[(u16, Protocol)] = &[(3478, Udp), (3478, Tcp), (49160, Udp), (8066, Tcp), (8065, Tcp), (8444, Udp)];

/// A packet between namespaces takes microseconds.
const PATIENCE: Duration = Duration::from_millis(400);

static NUMBER: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub struct Namespaces {
    names: [String; 3],
    pub has_nft: bool,
}

impl Namespaces {
    /// Nothing, and a line that says so, where it cannot be tried.
    pub fn new(test: &str) -> Option<Namespaces> {
        let runs = |program: &str| Command::new(program).arg("-V").output().is_ok_and(|output| output.status.success());
        let reason = match () {
            () if !runs("ip") || !runs("iptables-nft") => "there is no `ip` or no `iptables-nft` on this machine",
            () if !xtask_is_root() => "only root may make network namespaces",
            () => "",
        };
        if !reason.is_empty() {
            eprintln!("SKIPPED: {test}: {reason}");
            return None;
        }
        let name =
            |what| format!("command-center-{what}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let namespaces = Namespaces { names: ["client", "host", "box"].map(name), has_nft: runs("nft") };
        let [client, host, inner] = &namespaces.names;
        for name in &namespaces.names {
            shell(&format!("ip netns add {name} && ip -n {name} link set lo up"), "");
        }
        shell(&format!("ip -n {client} link add lan type veth peer name lan netns {host}"), "");
        shell(&format!("ip -n {inner} link add eth0 type veth peer name docks netns {host}"), "");
        for (name, link, address) in [
            (client, "lan", "192.168.77.2"),
            (host, "lan", "192.168.77.1"),
            (host, "docks", "172.31.77.1"),
            (inner, "eth0", "172.31.77.2"),
        ] {
            shell(&format!("ip -n {name} address add {address}/24 dev {link} && ip -n {name} link set {link} up"), "");
        }
        shell(&format!("ip -n {inner} route add default via 172.31.77.1"), "");
        namespaces.host_runs("echo 1 > /proc/sys/net/ipv4/ip_forward");
        inside(host, listen);
        inside(inner, listen);
        Some(namespaces)
    }

    /// Puts these rules in place of all others. Says whether there is a program for it.
    pub fn load(&self, name: &str, iptables: bool, rules: &str) -> bool {
        if !iptables && !self.has_nft {
            eprintln!("SKIPPED: {name}: there is no `nft` on this machine");
            return false;
        }
        let host = &self.names[1];
        if self.has_nft {
            self.host_runs("nft flush ruleset");
        } else {
            let empty = "*nat\nCOMMIT\n*raw\nCOMMIT\n*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n";
            shell(&format!("ip netns exec {host} iptables-nft-restore"), empty);
        }
        let loader = if iptables { "iptables-nft-restore" } else { "nft -f -" };
        shell(&format!("ip netns exec {host} {loader}"), rules);
        true
    }

    pub fn host_runs(&self, command: &str) -> String {
        let host = &self.names[1];
        shell(&format!("ip netns exec {host} sh -s"), command)
    }

    /// The ports that answer the client.
    pub fn try_all(&self) -> Vec<(u16, Protocol)> {
        inside(&self.names[0], || {
            let attempts = PORTS.iter().map(|(port, protocol)| {
                let server = SocketAddr::from((HOST, *port));
                let answers = match protocol {
                    Tcp => over_tcp,
                    Udp => over_udp,
                };
                thread::spawn(move || answers(server).is_ok())
            });
            let attempts: Vec<_> = attempts.collect();
            let answered = attempts.into_iter().map(|attempt| attempt.join().expect("an attempt does not panic"));
            PORTS.iter().zip(answered).filter(|(_, answered)| *answered).map(|(port, _)| *port).collect()
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            Command::new("ip").args(["netns", "delete", name]).output().ok();
        }
    }
}

fn xtask_is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Runs it on a thread that lives in this namespace; so do the threads that it starts.
fn inside<T: Send>(name: &str, what: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{name}")).expect("the namespace was made");
    thread::scope(|scope| {
        let there = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may move");
            what()
        });
        there.join().expect("what is done there does not panic")
    })
}

/// Answers on every port for as long as the test's process lives.
fn listen() {
    for (port, protocol) in PORTS {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
        match protocol {
            Tcp => {
                let listener = TcpListener::bind(address).expect("nobody else is in this namespace");
                thread::spawn(move || {
                    for stream in listener.incoming() {
                        stream.and_then(|mut stream| stream.write_all(b"!")).ok();
                    }
                });
            }
            Udp => {
                let socket = UdpSocket::bind(address).expect("nobody else is in this namespace");
                thread::spawn(move || {
                    let mut bytes = [0; 16];
                    while let Ok((_, sender)) = socket.recv_from(&mut bytes) {
                        socket.send_to(b"!", sender).ok();
                    }
                });
            }
        }
    }
}

fn over_tcp(server: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut [0])
}

fn over_udp(server: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"?")?;
    socket.recv(&mut [0; 16]).map(drop)
}

/// Output of a shell command that must succeed.
#[track_caller]
fn shell(command: &str, input: &str) -> String {
    let pipe = Stdio::piped;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(pipe())
        .stdout(pipe())
        .stderr(pipe())
        .spawn()
        .expect("there is a shell");
    child.stdin.take().expect("it is a pipe").write_all(input.as_bytes()).expect("the shell reads");
    let output = child.wait_with_output().expect("the shell ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` with {input:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
