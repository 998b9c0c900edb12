//! Docker and Compose, by their command lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;

use super::process::{self, Answer, capture};
use crate::error::hinted;
use crate::settings::{Subnet, parse_subnet};

/// A container, as far as this project looks at one.
#[derive(Debug, Clone)]
pub struct Container {
    /// Whole, as it stands in the cgroup of its processes.
    pub id: String,
    pub name: String,
    pub image: String,
    /// `created`, `running`, `exited` …
    pub state: String,
    /// What `docker ps` says of it, such as `Up 2 minutes (healthy)`.
    pub status: String,
    /// Empty for a container that Compose did not make.
    pub project: String,
    pub service: String,
    /// The folder in which Compose was run.
    pub folder: PathBuf,
    /// Whether it has our label.
    pub ours: bool,
    /// Published ports, such as `0.0.0.0:8065->8065/tcp, [::]:8065->8065/tcp`.
    pub ports: String,
}

/// A Docker network.
#[derive(Debug)]
pub struct Network {
    pub id: String,
    pub subnets: Vec<Subnet>,
    /// Whether it was made by this project.
    pub ours: bool,
    /// Names of the containers on it, with their addresses.
    pub containers: BTreeMap<String, String>,
}

/// Quick questions to the engine.
const QUICK: Duration = Duration::from_secs(20);
const LABEL: &str = "command-center.stack";

/// Runs `docker …` and requires success.
pub fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    let answer = try_docker(arguments)?;
    if !answer.success {
        bail!("`docker {}`: {}", arguments.join(" "), answer.complaint());
    }
    Ok(answer.stdout)
}

pub fn try_docker(arguments: &[&str]) -> anyhow::Result<Answer> {
    capture(Path::new("/"), &argv("docker", arguments), b"", QUICK)
}

/// Runs `docker compose …` in a stack's folder, which Compose's own file names are found in.
pub fn compose(folder: &Path, arguments: &[&str], stdin: &[u8], limit: Duration) -> anyhow::Result<Answer> {
    capture(folder, &compose_argv(arguments), stdin, limit)
}

/// Runs `docker compose …` and hands over each line as it comes; returns its success.
pub fn compose_stream(
    folder: &Path,
    arguments: &[&str],
    limit: Duration,
    line: impl FnMut(&str),
) -> anyhow::Result<bool> {
    process::stream(folder, &compose_argv(arguments), limit, line)
}

/// The containers of every project, or of one.
pub fn containers(project: Option<&str>) -> anyhow::Result<Vec<Container>> {
    let filter = project.map(|project| format!("label=com.docker.compose.project={project}"));
    let mut arguments = LIST.to_vec();
    if let Some(filter) = &filter {
        arguments.extend(["--filter", filter]);
    }
    listed(&docker(&arguments)?)
}

/// The arguments of `docker` whose answer [`listed`] reads.
pub const LIST: [&str; 5] = ["ps", "--all", "--no-trunc", "--format", "{{json .}}"];

pub fn listed(answer: &str) -> anyhow::Result<Vec<Container>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Row {
        #[serde(rename = "ID")]
        id: String,
        names: String,
        image: String,
        state: String,
        status: String,
        ports: String,
        labels: String,
    }
    let mut containers = Vec::new();
    for line in answer.lines() {
        let row: Row = serde_json::from_str(line).context("`docker ps` printed something that is no container")?;
        let label = |name: &str| {
            let prefix = format!("{name}=");
            row.labels.split(',').find_map(|label| label.strip_prefix(&prefix)).unwrap_or_default().to_owned()
        };
        containers.push(Container {
            project: label("com.docker.compose.project"),
            service: label("com.docker.compose.service"),
            folder: label("com.docker.compose.project.working_dir").into(),
            ours: !label(LABEL).is_empty(),
            id: row.id,
            name: row.names,
            image: row.image,
            state: row.state,
            status: row.status,
            ports: row.ports,
        });
    }
    containers.sort_by(|a, b| (&a.project, &a.service, &a.name).cmp(&(&b.project, &b.service, &b.name)));
    Ok(containers)
}

/// What the engine knows of a container beyond its line in the list.
#[derive(Clone)]
pub struct Inspected {
    pub service: String,
    pub name: String,
    /// `running`, `restarting`, `exited` …
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`, or empty without a health check.
    pub health: String,
    pub restarts: u64,
    /// Whether the kernel killed its first process for lack of memory.
    pub oom_killed: bool,
    /// In RFC 3339.
    pub started_at: String,
    /// The image's name as Compose wrote it, and the identifier of what really runs.
    pub image: String,
    pub image_id: String,
    /// Host address, host port and container port with its protocol, such as `8444/udp`.
    pub published: Vec<(String, u16, String)>,
    /// Network name to address.
    pub addresses: BTreeMap<String, String>,
    /// Its environment. Values may be secrets.
    pub environment: Vec<(String, String)>,
}

impl std::fmt::Debug for Inspected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspected").field("name", &self.name).field("state", &self.state).finish_non_exhaustive()
    }
}

/// The last lines that a container wrote, since a moment in RFC 3339 or since it was made; empty when the engine does not say.
pub fn logs(container: &str, since: Option<&str>, lines: usize) -> String {
    let lines = lines.to_string();
    let mut arguments = vec!["logs", "--tail", &lines];
    arguments.extend(since.into_iter().flat_map(|since| ["--since", since]));
    arguments.push(container);
    try_docker(&arguments).map(|answer| format!("{}{}", answer.stdout, answer.stderr)).unwrap_or_default()
}

/// Inspects containers by name, all in one call.
pub fn inspect(names: &[&str]) -> anyhow::Result<Vec<Inspected>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    parse_inspected(&docker(&[&["inspect", "--type", "container"], names].concat())?)
}

/// Reads what `docker inspect` prints.
pub fn parse_inspected(text: &str) -> anyhow::Result<Vec<Inspected>> {
    let values: Vec<Value> = serde_json::from_str(text).context("`docker inspect` printed no containers")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |value: &Value| {
        let (state, config) = (&value["State"], &value["Config"]);
        let mut published = Vec::new();
        for (inside, bindings) in value["HostConfig"]["PortBindings"].as_object().into_iter().flatten() {
            for binding in bindings.as_array().into_iter().flatten() {
                let port = binding["HostPort"].as_str().and_then(|port| port.parse().ok()).unwrap_or_default();
                published.push((text(&binding["HostIp"]), port, inside.clone()));
            }
        }
        let networks = value["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
        let variables = config["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let variables = variables.filter_map(|variable| variable.split_once('='));
        Inspected {
            service: text(&config["Labels"]["com.docker.compose.service"]),
            name: text(&value["Name"]).trim_start_matches('/').to_owned(),
            state: text(&state["Status"]),
            health: text(&state["Health"]["Status"]),
            restarts: value["RestartCount"].as_u64().unwrap_or_default(),
            oom_killed: state["OOMKilled"] == true,
            started_at: text(&state["StartedAt"]),
            image: text(&config["Image"]),
            image_id: text(&value["Image"]),
            published,
            addresses: networks.map(|(name, network)| (name.clone(), text(&network["IPAddress"]))).collect(),
            environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    };
    Ok(values.iter().map(one).collect())
}

/// The images that are not loaded. One call answers when none is missing.
pub fn missing_images<'a>(images: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    if try_docker(&[&["image", "inspect", "--format", "{{.Id}}"], images].concat())?.success {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    for image in images {
        let answer = try_docker(&["image", "inspect", "--format", "{{.Id}}", image])?;
        if !found(&answer, &format!("docker image inspect {image}"))? {
            missing.push(*image);
        }
    }
    Ok(missing)
}

pub fn volume_exists(volume: &str) -> anyhow::Result<bool> {
    let answer = try_docker(&["volume", "inspect", "--format", "{{.Name}}", volume])?;
    found(&answer, &format!("docker volume inspect {volume}"))
}

/// A network by name, or nothing.
pub fn network(name: &str) -> anyhow::Result<Option<Network>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        id: String,
        #[serde(rename = "IPAM")]
        ipam: Ipam,
        labels: Option<BTreeMap<String, String>>,
        containers: Option<BTreeMap<String, Endpoint>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ipam {
        config: Option<Vec<IpamConfig>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct IpamConfig {
        subnet: Option<String>,
    }
    #[derive(Deserialize)]
    struct Endpoint {
        #[serde(rename = "Name")]
        name: String,
        #[serde(rename = "IPv4Address")]
        address: String,
    }
    let answer = try_docker(&["network", "inspect", name])?;
    if !found(&answer, &format!("docker network inspect {name}"))? {
        return Ok(None);
    }
    let inspected: Vec<Inspected> =
        serde_json::from_str(&answer.stdout).context("`docker network inspect` printed no network")?;
    let inspected = inspected.into_iter().next().context("`docker network inspect` printed nothing")?;
    let config = inspected.ipam.config.unwrap_or_default();
    let endpoints = inspected.containers.unwrap_or_default().into_values();
    Ok(Some(Network {
        id: inspected.id,
        subnets: config.iter().filter_map(|config| parse_subnet(config.subnet.as_deref()?)).collect(),
        ours: inspected.labels.is_some_and(|labels| labels.contains_key(LABEL)),
        containers: endpoints
            .map(|endpoint| (endpoint.name, endpoint.address.split('/').next().unwrap_or_default().to_owned()))
            .collect(),
    }))
}

/// Makes the network on which the other tools find Mattermost, with our label.
pub fn create_network(name: &str, subnet: Subnet, stack: &str) -> anyhow::Result<()> {
    let (subnet, label) = (format!("--subnet={subnet}"), format!("--label={LABEL}={stack}"));
    docker(&["network", "create", "--driver=bridge", &subnet, &label, name])
        .map_err(|error| hinted(error, "change network.subnet in stack.toml to a range that is free"))?;
    Ok(())
}

/// Tells "there is none" from "the engine did not answer".
fn found(answer: &Answer, command: &str) -> anyhow::Result<bool> {
    if answer.success {
        return Ok(true);
    }
    let complaint = answer.complaint();
    if complaint.to_lowercase().contains("no such") || complaint.contains("not found") {
        return Ok(false);
    }
    bail!("`{command}`: {complaint}");
}

fn compose_argv<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut argv = vec!["docker", "compose", "--progress", "plain", "--ansi", "never"];
    argv.extend(arguments);
    argv
}

fn argv<'a>(program: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut argv = vec![program];
    argv.extend(arguments);
    argv
}
