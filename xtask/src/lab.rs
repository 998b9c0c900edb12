//! The lab's images: PostgreSQL and coturn from Debian packages, and a stand-in in place of Mattermost, for a machine that
//! cannot pull. Each is tagged with the hash of its recipe, so that nothing is built twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use minijinja::context;
use minijinja::value::Serde;
use sha2::{Digest as _, Sha256};

use crate::drivers::terminal::{say, waiting};
use crate::drivers::{docker, engine, files, interrupt, process};
use crate::error::{Hint as _, hinted};
use crate::images::Images;
use crate::render;
use crate::stack::{self, Stack};

/// What nobody may miss, wherever the lab is mentioned.
pub const WARNING: &str = "LAB: a stand-in runs in place of Mattermost. This is no chat server; do not put it into service.";

/// Builds what is missing and returns the images.
pub fn build() -> anyhow::Result<Images> {
    let recipes = stack::checkout()?.join("tests/lab");
    let base = build_base()?;
    let postgres = build_image(&recipes.join("postgres"), "postgres", &[("BASE", &base)])?;
    let coturn = build_image(&recipes.join("coturn"), "coturn", &[("BASE", &base)])?;
    let mattermost = build_standin(&recipes)?;
    Ok(Images { postgres, mattermost, coturn })
}

/// Makes the stack a lab: an override beside its compose.yaml that changes images only.
pub fn write_override(stack: &Stack, images: &Images) -> anyhow::Result<()> {
    let text = render::render_template(
        "compose.override.yaml",
        include_str!("../../tests/lab/compose.override.yaml.j2"),
        context! { images => Serde(images) },
    )?;
    files::write(&stack.lab_override(), text.as_bytes(), 0o644)
}

/// Debian's packages of this suite: PostgreSQL 17 and coturn 4.6 are in it.
const SUITE: &str = "trixie";
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// A minimal Debian by debootstrap, imported as an image.
fn build_base() -> anyhow::Result<String> {
    let mirror = engine::mirror_of_this_machine();
    let image = format!("command-center-lab/base:{}", hash(&[SUITE.as_bytes(), mirror.as_bytes()]));
    if docker::image_exists(&image)? {
        return Ok(image);
    }
    interrupt::check()?;
    say(&format!("Making a base image of Debian {SUITE} with debootstrap"));
    let sudo: &[&str] = if engine::is_root() { &[] } else { &["sudo"] };
    if !process::on_path("debootstrap") && !Path::new("/usr/sbin/debootstrap").exists() {
        let install = "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends debootstrap";
        say(&format!("  $ {install}"));
        for command in ["apt-get update", install] {
            let argv: Vec<&str> = sudo.iter().copied().chain(command.split(' ')).collect();
            run(&argv, command).hint("the lab needs Debian's package mirror; without one, load the real images with `docker load`")?;
        }
    }
    let folder = tempfile::Builder::new().prefix("command-center-base-").tempdir()?;
    let root = folder.path().join("root");
    let root_text = root.to_string_lossy().into_owned();
    let argv = [sudo, &["debootstrap", "--variant=minbase", SUITE, &root_text, &mirror]].concat();
    run(&argv, "debootstrap").hint(format!("is Debian's mirror {mirror} within reach?"))?;
    let command = format!("tar --create --numeric-owner --directory \"$1\" . | docker import - {image} >/dev/null");
    let argv = [sudo, &["sh", "-ec", &command, "sh", &root_text]].concat();
    run(&argv, "docker import")?;
    if !engine::is_root() {
        run(&["sudo", "rm", "-rf", "--one-file-system", &root_text], "rm")?;
    }
    Ok(image)
}

fn build_image(recipe: &Path, name: &str, arguments: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut parts = Vec::new();
    for (key, value) in arguments {
        parts.push(format!("{key}={value}").into_bytes());
    }
    for file in files_below(recipe)? {
        parts.push(file.strip_prefix(recipe)?.to_string_lossy().into_owned().into_bytes());
        parts.push(std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    let image = format!("command-center-lab/{name}:{}", hash(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    if docker::image_exists(&image)? {
        return Ok(image);
    }
    interrupt::check()?;
    say(&format!("Building the lab's image of {name}"));
    let recipe = recipe.to_string_lossy();
    let arguments: Vec<String> = arguments.iter().map(|(key, value)| format!("--build-arg={key}={value}")).collect();
    let mut argv = vec!["docker", "build", "--progress=plain", "--tag", &image];
    argv.extend(arguments.iter().map(String::as_str));
    argv.push(&recipe);
    run(&argv, &format!("docker build {name}"))?;
    Ok(image)
}

/// The stand-in is a static binary, built with this checkout's own toolchain and put into an image that holds nothing else.
fn build_standin(recipes: &Path) -> anyhow::Result<String> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let checkout = stack::checkout()?;
    let target_folder = checkout.join("target/lab");
    let target_text = target_folder.to_string_lossy().into_owned();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let flags = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Ctarget-feature=+crt-static";
    let argv = [
        "env", flags, &cargo, "build", "--locked", "--quiet", "--profile=lab", "--target", TARGET, "--target-dir",
        &target_text, "--package", "mattermost-standin", "--manifest-path", "Cargo.toml",
    ];
    run_in(&checkout, &argv, "building the Mattermost stand-in")?;
    let context = tempfile::Builder::new().prefix("command-center-standin-").tempdir()?;
    for file in files_below(&recipes.join("mattermost"))? {
        copy(&file, context.path())?;
    }
    for binary in ["mattermost", "mmctl"] {
        copy(&target_folder.join(TARGET).join("lab").join(binary), context.path())?;
    }
    build_image(context.path(), "mattermost-standin", &[])
}

fn copy(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let name = file.file_name().context("a file has a name")?;
    std::fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn run(argv: &[&str], what: &str) -> anyhow::Result<()> {
    run_in(Path::new("/"), argv, what)
}

/// Runs to success; on failure the last lines of its output are the error.
fn run_in(folder: &Path, argv: &[&str], what: &str) -> anyhow::Result<()> {
    let mut tail: Vec<String> = Vec::new();
    let success = waiting(what, || {
        process::stream(folder, argv, BUILD_LIMIT, |line| {
            if tail.len() == 15 {
                tail.remove(0);
            }
            tail.push(line.to_owned());
        })
    })?;
    if success {
        return Ok(());
    }
    interrupt::check()?;
    if tail.is_empty() {
        bail!("`{what}` failed and said nothing");
    }
    Err(hinted(anyhow::anyhow!("`{what}` failed:\n  {}", tail.join("\n  ")), "the lab needs Debian's mirror and crates.io"))
}

fn hash(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
