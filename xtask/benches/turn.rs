//! What our settings cost a turnserver: packets and bytes a second that it relays over UDP, against a bare one of the same
//! image and against the direct path. `cargo bench --bench turn`; it needs Docker, and takes one minute on a quiet
//! machine and three on a busy one.
//!
//! Everything happens in one container of the run's own, on a Docker network of its own that leads nowhere: both servers, a
//! peer that sends back what it gets, and the client, which is this program again. All have the container's one address, so
//! that packets never leave its namespace. Ours is started with the very file that `render` writes for that address, the
//! bare one with what it needs to relay for somebody with credentials.
//!
//! The paths take short turns, another one first in each round, and what is printed are medians: of the rates, and of the
//! ratios within the rounds. The client keeps a number of packets under way and waits for them, so that nothing is lost for
//! lack of room and the slowest on the way decides the rate.

mod turn_load;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use xtask::certs::Certificates;
use xtask::drivers::{docker, interrupt, process};
use xtask::host::{Host, LanAddress};
use xtask::secrets::{self, Secrets, TURN_SECRET};
use xtask::settings::{self, Settings, Subnet};

/// Of the container and of its network.
const NAME: &str = "command-center-bench-turn";
/// Where the servers' files lie in the container.
pub const OURS: &str = "/tmp/ours.conf";
pub const BARE: &str = "/tmp/bare.conf";

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(turn_load::FLAG) {
        return turn_load::run();
    }
    if let Err(error) = docker::docker(&["version", "--format", "{{.Server.Version}}"]) {
        println!("not measured: there is no Docker engine to ask ({error:#})");
        return Ok(());
    }
    interrupt::listen()?;
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a checkout");
    let pinned = xtask::images::pinned()?;
    let is_loaded = docker::missing_images(&[&pinned.coturn])?.is_empty();
    let image = if is_loaded { pinned.coturn } else { xtask::lab::build()?.coturn };
    println!("{image}");

    let place = Place::new(&image)?;
    let settings = settings::load(&checkout.join("stack.toml"))?;
    let secret = secrets::generate(48);
    let bare_port = settings.ports.turn + 1;
    place.write(OURS, &ours(&settings, place.address, &secret)?)?;
    place.write(BARE, &bare(&settings, bare_port, &secret))?;
    for file in [OURS, BARE] {
        let realm = format!("--realm={}", settings.domain);
        docker::docker(&["exec", "--detach", NAME, "turnserver", "--use-auth-secret", &realm, "-c", file])?;
    }
    place.load(&[&place.address.to_string(), &settings.ports.turn.to_string(), &bare_port.to_string(), &secret])
}

/// The file that `render` writes for a host with this address.
fn ours(settings: &Settings, address: Ipv4Addr, secret: &str) -> anyhow::Result<String> {
    let host =
        Host { lan: vec![LanAddress { address, subnet: Subnet { first: address, prefix: 32 } }], ipv6: Vec::new() };
    let certificates = Certificates {
        ca: String::new(),
        mattermost: String::new(),
        postgres: String::new(),
        extra_trust: String::new(),
    };
    let mut secrets = Secrets::default();
    for name in secrets::GENERATED.iter().map(|secret| secret.name).chain([secrets::EXTERNAL_POSTGRES_PASSWORD]) {
        secrets.set(name, "unused", "2026-01-01");
    }
    secrets.set(TURN_SECRET, secret, "2026-01-01");
    let files = xtask::render::render(settings, &host, &secrets, &certificates, "none")?;
    let file = files.into_iter().find(|file| file.path == "env/turnserver.conf");
    Ok(file.context("env/turnserver.conf is rendered")?.contents)
}

/// The same credentials, a port beside ours, and nothing else.
fn bare(settings: &Settings, port: u16, secret: &str) -> String {
    let realm = &settings.domain;
    format!("listening-port={port}\nuse-auth-secret\nstatic-auth-secret={secret}\nrealm={realm}\nlog-file=stdout\n")
}

/// The container and its network, which are gone when this is dropped.
struct Place {
    address: Ipv4Addr,
}

impl Place {
    fn new(image: &str) -> anyhow::Result<Place> {
        // What an earlier run left that was killed.
        remove();
        let mut place = Place { address: Ipv4Addr::UNSPECIFIED };
        docker::docker(&["network", "create", "--internal", NAME])?;
        // As compose.yaml has it. It ends by itself, should this program be killed.
        let hardened = ["--cap-drop=ALL", "--cap-add=NET_BIND_SERVICE", "--security-opt=no-new-privileges"];
        let network = format!("--network={NAME}");
        let run = ["run", "--detach", "--rm", "--name", NAME, &network, "--entrypoint=sleep"];
        docker::docker(&[&run[..], &hardened, &[image, "900"]].concat())?;
        let format = format!("{{{{(index .NetworkSettings.Networks \"{NAME}\").IPAddress}}}}");
        let address = docker::docker(&["inspect", "--format", &format, NAME])?;
        place.address = address.trim().parse().context("a container on a network has an address")?;
        Ok(place)
    }

    /// Puts a file where its server reads it; the secret in it is neither in argv nor on this machine's disk.
    fn write(&self, path: &str, contents: &str) -> anyhow::Result<()> {
        let script = format!("umask 077; cat > {path}");
        let argv = ["docker", "exec", "--interactive", NAME, "sh", "-c", &script];
        let answer = process::capture(Path::new("/"), &argv, contents.as_bytes(), Duration::from_secs(20))?;
        if !answer.success {
            bail!("cannot write {path}: {}", answer.complaint());
        }
        Ok(())
    }

    /// Runs this program in the container, where it measures and prints.
    fn load(&self, lines: &[&str]) -> anyhow::Result<()> {
        let program = std::env::current_exe()?;
        docker::docker(&["cp", &program.to_string_lossy(), &format!("{NAME}:/tmp/load")])?;
        let mut command = Command::new("docker");
        command.args(["exec", "--interactive", NAME, "/tmp/load", turn_load::FLAG]).stdin(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("it was piped")?;
        stdin.write_all(lines.join("\n").as_bytes())?;
        drop(stdin);
        let ended = child.wait()?;
        // Ctrl-C ends `docker exec` with success.
        interrupt::check()?;
        if !ended.success() {
            bail!("the measurement failed");
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove();
    }
}

fn remove() {
    docker::try_docker(&["rm", "--force", NAME]).ok();
    docker::try_docker(&["network", "rm", NAME]).ok();
}
