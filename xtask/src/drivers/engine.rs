//! The Docker engine: is it there, is it new enough, and how to get one from Debian without upgrading the machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;

use super::process::{self, capture};
use super::terminal::{ask, can_ask, say, waiting};
use super::{docker, interrupt};
use crate::error::hinted;

/// Versions of a working engine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub engine: String,
    pub compose: String,
}

/// Why there is no engine that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// The command line or the Compose plugin is not installed.
    NotInstalled,
    /// It is installed, and its daemon does not answer.
    NotRunning,
    /// It is there, and cannot be used as it is; with the steps to take.
    Unsuitable { what: String, fix: String },
}

/// Asks the engine and Compose for their versions and judges them.
pub fn probe() -> anyhow::Result<Result<Engine, Unusable>> {
    if !process::on_path("docker") {
        return Ok(Err(Unusable::NotInstalled));
    }
    // The two programs take their time to start, so they start side by side.
    let (compose, engine) = std::thread::scope(|scope| {
        let compose = scope.spawn(|| docker::try_docker(&["compose", "version", "--short"]));
        let engine = probe_engine();
        (compose.join().unwrap_or_else(|_| bail!("asking Compose panicked")), engine)
    });
    let (compose, engine) = (compose?, engine?);
    if !compose.success {
        return Ok(Err(Unusable::NotInstalled));
    }
    let compose = compose.stdout.trim().trim_start_matches('v').to_owned();
    if engine.is_ok() && at_least(&compose, (2, 24)).is_some_and(|enough| !enough) {
        return unsuitable(format!("Docker Compose {compose} is too old"), "install 2.24 or later");
    }
    Ok(engine.map(|engine| Engine { engine, compose }))
}

/// The engine's version alone. Asking Compose takes longest of all, and needs no answer where a stack of ours runs already.
pub fn probe_engine() -> anyhow::Result<Result<String, Unusable>> {
    if !process::on_path("docker") {
        return Ok(Err(Unusable::NotInstalled));
    }
    let answer = docker::try_docker(&["version", "--format", "{{json .Server}}"])?;
    let server: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let Some(engine) = server["Version"].as_str().filter(|_| answer.success) else {
        let complaint = answer.complaint();
        if let Ok(host) = std::env::var("DOCKER_HOST") {
            let what = format!("the engine at DOCKER_HOST={host} does not answer: {complaint}");
            return unsuitable(what, "start that engine, or unset DOCKER_HOST");
        }
        if complaint.contains("permission denied") {
            let fix = "`sudo usermod -aG docker $USER`, log out and in again, and run this once more";
            return unsuitable("this user may not use Docker's socket".to_owned(), fix);
        }
        return Ok(Err(Unusable::NotRunning));
    };
    if at_least(engine, (25, 0)).is_some_and(|enough| !enough) {
        return unsuitable(format!("Docker Engine {engine} is too old"), "install 25.0 or later");
    }
    if server["Platform"]["Name"].as_str().is_some_and(|platform| platform.contains("Docker Desktop")) {
        let fix = "use Docker Engine on a Linux host: Desktop's containers cannot listen on the host's addresses, so TURN cannot work";
        return unsuitable("this is Docker Desktop".to_owned(), fix);
    }
    if server["Components"].to_string().contains("rootlesskit") {
        let fix = "use a rootful engine: rootless networking hides the addresses that calls need";
        return unsuitable("this engine is rootless".to_owned(), fix);
    }
    Ok(Ok(engine.to_owned()))
}

fn unsuitable<T>(what: String, fix: &str) -> anyhow::Result<Result<T, Unusable>> {
    Ok(Err(Unusable::Unsuitable { what, fix: fix.to_owned() }))
}

/// A working engine, installed and started first when that is wanted. `probed` is what [`probe`] said.
///
/// # Errors
/// With the steps to take, when there is none and this cannot or may not make one.
pub fn ensure(mut probed: Result<Engine, Unusable>, yes: bool) -> anyhow::Result<Engine> {
    let mut steps_left = 2;
    loop {
        interrupt::check()?;
        let unusable = match probed {
            Ok(engine) => return Ok(engine),
            Err(unusable) => unusable,
        };
        if let Unusable::Unsuitable { what, fix } = unusable {
            return Err(hinted(anyhow::anyhow!(what), fix));
        }
        if steps_left == 0 {
            bail!("there is still no Docker engine that answers");
        }
        steps_left -= 1;
        match unusable {
            Unusable::NotInstalled => install(yes)?,
            _ => start(yes)?,
        }
        probed = probe()?;
    }
}

/// A command of the installation, with what goes into its standard input.
struct Step {
    argv: Vec<String>,
    stdin: String,
}

fn install(yes: bool) -> anyhow::Result<()> {
    let steps = installation(&OsRelease::read())?;
    run_agreed("There is no Docker engine with Compose. These commands install one:", &steps, yes)
}

/// The commands for this system.
///
/// # Errors
/// On anything but Debian 12 and 13, with the steps to take.
fn installation(os: &OsRelease) -> anyhow::Result<Vec<Step>> {
    const PACKAGES: [&str; 4] = ["docker.io", "docker-cli", "docker-compose", "docker-buildx"];
    let install = |suffix: &str| {
        let mut argv = words("env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends");
        argv.extend(PACKAGES.iter().map(|package| format!("{package}{suffix}")));
        step(argv, "")
    };
    match (os.id.as_str(), os.version.as_str()) {
        ("debian", "13") => Ok(vec![step(words("apt-get update"), ""), install("")]),
        // Debian 12's own engine is too old. Each package is named with the suite: `-t trixie` would upgrade the C library.
        ("debian", "12") => {
            let mirror = debian_mirror(&read_apt_sources(), "bookworm");
            let mirror = mirror.unwrap_or_else(|| "http://deb.debian.org/debian".to_owned());
            let source = format!(
                "Types: deb\nURIs: {mirror}\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
            );
            let pin = "Package: *\nPin: release n=trixie\nPin-Priority: 100\n";
            Ok(vec![
                step(words("tee /etc/apt/preferences.d/command-center-trixie"), pin),
                step(words("tee /etc/apt/sources.list.d/command-center-trixie.sources"), &source),
                step(words("apt-get update"), ""),
                install("/trixie"),
            ])
        }
        _ => Err(hinted(
            anyhow::anyhow!("there is no Docker engine with Compose, and this is {}", os.name),
            "install Docker Engine 25 or later with the Compose plugin (https://docs.docker.com/engine/install/), then run this again",
        )),
    }
}

fn start(yes: bool) -> anyhow::Result<()> {
    let with_systemd = Path::new("/run/systemd/system").exists();
    let argv = if with_systemd {
        words("systemctl start docker")
    } else if process::on_path("dockerd") || Path::new("/usr/sbin/dockerd").exists() {
        let command = format!("exec dockerd >>{DOCKERD_LOG} 2>&1 </dev/null");
        ["setsid", "--fork", "sh", "-c", &command].map(str::to_owned).to_vec()
    } else {
        return Err(hinted(
            anyhow::anyhow!("Docker's daemon does not answer, and dockerd is not installed here"),
            "start the engine that this docker command belongs to, or set DOCKER_HOST",
        ));
    };
    run_agreed("Docker is installed, and its daemon does not run. This starts it:", &[step(argv, "")], yes)?;
    if !with_systemd {
        say(&format!("There is no service manager here; dockerd's log is {DOCKERD_LOG}"));
    }
    let end = Instant::now() + Duration::from_secs(60);
    let answered = waiting("waiting for dockerd", || {
        while Instant::now() < end && !interrupt::interrupted() {
            if docker::try_docker(&["version", "--format", "{{.Server.Version}}"]).is_ok_and(|answer| answer.success) {
                return true;
            }
            // A user outside of the docker group gets no answer, but a reason; the next probe says it.
            if docker::try_docker(&["version"]).is_ok_and(|answer| answer.complaint().contains("permission denied")) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        false
    });
    interrupt::check()?;
    if !answered {
        let log = if with_systemd { "`journalctl -u docker`".to_owned() } else { DOCKERD_LOG.to_owned() };
        return Err(hinted(
            anyhow::anyhow!("dockerd was started and does not answer after 60 s"),
            format!("read {log}"),
        ));
    }
    Ok(())
}

const DOCKERD_LOG: &str = "/var/log/command-center-dockerd.log";

/// Shows the commands and runs them when they are agreed to.
fn run_agreed(why: &str, steps: &[Step], yes: bool) -> anyhow::Result<()> {
    let sudo = !is_root();
    say(why);
    for step in steps {
        let input = if step.stdin.is_empty() { String::new() } else { format!(" <<EOF\n{}EOF", step.stdin) };
        say(&format!("  $ {}{}{}", if sudo { "sudo " } else { "" }, shell_words(&step.argv), indent(&input)));
    }
    if !yes && !can_ask() {
        return Err(hinted(
            anyhow::anyhow!("Docker is needed, and nobody can be asked"),
            "add --yes to agree to these commands, or run them yourself",
        ));
    }
    if !yes && !ask("Run them?")? {
        return Err(hinted(anyhow::anyhow!("Docker is needed"), "run the commands above yourself, or answer yes"));
    }
    for step in steps {
        interrupt::check()?;
        let mut argv: Vec<&str> = if sudo { vec!["sudo"] } else { Vec::new() };
        argv.extend(step.argv.iter().map(String::as_str));
        let command = shell_words(&step.argv);
        let answer =
            waiting(&command, || capture(Path::new("/"), &argv, step.stdin.as_bytes(), Duration::from_secs(900)))?;
        if !answer.success {
            return Err(hinted(
                anyhow::anyhow!("`{command}` failed: {}", answer.complaint()),
                "mend what it complains about and run this again; what is done already is not done twice",
            ));
        }
    }
    Ok(())
}

fn step(argv: Vec<String>, stdin: &str) -> Step {
    Step { argv, stdin: stdin.to_owned() }
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

fn shell_words(argv: &[String]) -> String {
    let quoted = argv.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { word.clone() });
    quoted.collect::<Vec<_>>().join(" ")
}

fn indent(text: &str) -> String {
    text.replace('\n', "\n    ")
}

/// What /etc/os-release says (os-release(5)).
#[derive(Debug, Default)]
struct OsRelease {
    id: String,
    version: String,
    name: String,
}

impl OsRelease {
    fn read() -> OsRelease {
        let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or("unknown").trim_matches('"').to_owned()
        };
        OsRelease { id: value("ID"), version: value("VERSION_ID"), name: value("PRETTY_NAME") }
    }
}

/// Where this machine gets Debian from, for one suite: of a `.sources` paragraph or a `deb` line.
fn debian_mirror(sources: &[String], suite: &str) -> Option<String> {
    for text in sources {
        for paragraph in text.split("\n\n") {
            let field =
                |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::split_whitespace);
            if field("Suites:").is_some_and(|mut suites| suites.any(|found| found == suite)) {
                return field("URIs:")?.next().map(str::to_owned);
            }
        }
        for line in text.lines().filter(|line| line.starts_with("deb ")) {
            let mut fields =
                line.split_whitespace().skip(1).skip_while(|field| field.starts_with('[') || field.ends_with(']'));
            if let (Some(mirror), Some(found)) = (fields.next(), fields.next())
                && found == suite
            {
                return Some(mirror.to_owned());
            }
        }
    }
    None
}

/// The mirror of this machine's own apt sources, for a suite of the installed release.
pub fn mirror_of_this_machine() -> String {
    let sources = read_apt_sources();
    ["bookworm", "trixie", "sid"]
        .iter()
        .find_map(|suite| debian_mirror(&sources, suite))
        .unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}

fn read_apt_sources() -> Vec<String> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_owned()];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.sort();
    files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}

/// Whether this process is root's, from /proc: that is all it is needed for.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Compares the beginning of a version such as `26.1.5+dfsg1`; nothing when it is none.
fn at_least(version: &str, (major, minor): (u32, u32)) -> Option<bool> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    Some((numbers.next()??, numbers.next()??) >= (major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(at_least("26.1.5+dfsg1", (25, 0)), Some(true));
        assert_eq!(at_least("2.9.0", (2, 24)), Some(false));
        assert_eq!(at_least("dev", (2, 24)), None);
    }

    #[test]
    fn the_mirror_is_the_machines_own() {
        let sources =
            ["Types: deb\n# a comment\nURIs: http://mirror.lan/debian\nSuites: bookworm bookworm-updates\n".to_owned()];
        assert_eq!(debian_mirror(&sources, "bookworm").as_deref(), Some("http://mirror.lan/debian"));
        let sources = ["deb [signed-by=/x] http://mirror.lan/debian bookworm main\n".to_owned()];
        assert_eq!(debian_mirror(&sources, "bookworm").as_deref(), Some("http://mirror.lan/debian"));
        assert_eq!(debian_mirror(&sources, "trixie"), None);
    }

    #[test]
    fn an_unknown_system_gets_steps_and_no_commands() {
        let os = OsRelease { id: "fedora".into(), version: "42".into(), name: "Fedora Linux 42".into() };
        assert!(installation(&os).is_err());
        let os = OsRelease { id: "debian".into(), version: "12".into(), name: String::new() };
        let steps = installation(&os).expect("commands");
        assert!(steps.last().is_some_and(|step| step.argv.iter().any(|word| word == "docker.io/trixie")));
        assert!(steps.iter().all(|step| step.argv.iter().all(|word| word != "-t")), "-t would upgrade the C library");
    }
}
