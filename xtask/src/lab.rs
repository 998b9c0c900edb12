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
pub const WARNING: &str =
    "LAB: a stand-in runs in place of Mattermost. This is no chat server; do not put it into service.";

/// Builds what is missing and returns the images.
pub fn build() -> anyhow::Result<Images> {
    let recipes = stack::checkout()?.join("tests/lab");
    let base = Recipe { image: format!("command-center-lab/base:{}", hash(&[SUITE.as_bytes()])), ..Recipe::default() };
    let postgres = Recipe::of_folder(&recipes.join("postgres"), "postgres", &base.image)?;
    let coturn = Recipe::of_folder(&recipes.join("coturn"), "coturn", &base.image)?;
    // Cargo finds out by itself whether anything changed; Docker is asked meanwhile.
    let (standin, missing) = std::thread::scope(|scope| {
        let standin = scope.spawn(|| standin(&recipes));
        let missing = docker::missing_images(&[&base.image, &postgres.image, &coturn.image]);
        (standin.join().unwrap_or_else(|_| bail!("building the stand-in panicked")), missing)
    });
    let ((standin, _context), missing) = (standin?, missing?);
    if missing.contains(&base.image.as_str()) {
        build_base(&base.image)?;
    }
    for recipe in [&postgres, &coturn] {
        if missing.contains(&recipe.image.as_str()) {
            build_image(recipe)?;
        }
    }
    if !docker::missing_images(&[&standin.image])?.is_empty() {
        build_image(&standin)?;
    }
    Ok(Images { postgres: postgres.image, mattermost: standin.image, coturn: coturn.image })
}

/// A folder with a Dockerfile, and the image that it makes: tagged with the hash of all that goes into it.
#[derive(Debug, Default)]
struct Recipe {
    image: String,
    folder: PathBuf,
    base: String,
}

impl Recipe {
    fn of_folder(folder: &Path, name: &str, base: &str) -> anyhow::Result<Recipe> {
        let mut parts = vec![base.as_bytes().to_vec()];
        for file in files_below(folder)? {
            parts.push(file.strip_prefix(folder)?.to_string_lossy().into_owned().into_bytes());
            parts.push(std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
        }
        let hash = hash(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let image = format!("command-center-lab/{name}:{hash}");
        Ok(Recipe { image, folder: folder.to_owned(), base: base.to_owned() })
    }
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
fn build_base(image: &str) -> anyhow::Result<()> {
    interrupt::check()?;
    let mirror = engine::mirror_of_this_machine();
    say(&format!("Making a base image of Debian {SUITE} with debootstrap"));
    let sudo: &[&str] = if engine::is_root() { &[] } else { &["sudo"] };
    if !process::on_path("debootstrap") && !Path::new("/usr/sbin/debootstrap").exists() {
        let install = "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends debootstrap";
        say(&format!("  $ {install}"));
        for command in ["apt-get update", install] {
            let argv: Vec<&str> = sudo.iter().copied().chain(command.split(' ')).collect();
            run(&argv, command)
                .hint("the lab needs Debian's package mirror; without one, load the real images with `docker load`")?;
        }
    }
    let folder = tempfile::Builder::new().prefix("command-center-base-").tempdir()?;
    let root = folder.path().join("root");
    let root_text = root.to_string_lossy().into_owned();
    let argv = [sudo, &["debootstrap", "--variant=minbase", SUITE, &root_text, &mirror]].concat();
    run(&argv, "debootstrap").hint(format!("is Debian's mirror {mirror} within reach?"))?;
    // Package lists and documentation are two thirds of it, and nothing here reads them.
    let exclude = "--exclude=./var/lib/apt/lists/* --exclude=./var/cache/apt/* --exclude=./usr/share/doc/* --exclude=./usr/share/man/* --exclude=./usr/share/locale/* --exclude=./usr/share/info/*";
    let command =
        format!("tar --create --numeric-owner {exclude} --directory \"$1\" . | docker import - {image} >/dev/null");
    let argv = [sudo, &["sh", "-ec", &command, "sh", &root_text]].concat();
    run(&argv, "docker import")?;
    if !engine::is_root() {
        run(&["sudo", "rm", "-rf", "--one-file-system", &root_text], "rm")?;
    }
    Ok(())
}

fn build_image(recipe: &Recipe) -> anyhow::Result<()> {
    interrupt::check()?;
    say(&format!("Building the lab's image {}", recipe.image));
    let (base, folder) = (format!("--build-arg=BASE={}", recipe.base), recipe.folder.to_string_lossy());
    let argv = ["docker", "build", "--progress=plain", "--tag", &recipe.image, &base, &folder];
    run(&argv, &format!("docker build {}", recipe.image))
}

/// The stand-in is a static binary, built with this checkout's own toolchain and put into an image that holds nothing else.
///
/// Returns its recipe and the folder that the recipe lies in, which goes when it is dropped.
fn standin(recipes: &Path) -> anyhow::Result<(Recipe, tempfile::TempDir)> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let checkout = stack::checkout()?;
    let target_folder = checkout.join("target/lab");
    let target_text = target_folder.to_string_lossy().into_owned();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let flags = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Ctarget-feature=+crt-static";
    let argv = [
        "env",
        flags,
        &cargo,
        "build",
        "--locked",
        "--quiet",
        "--profile=lab",
        "--target",
        TARGET,
        "--target-dir",
        &target_text,
        "--package=mattermost-standin",
    ];
    run_in(&checkout, &argv, "building the Mattermost stand-in")?;
    let context = tempfile::Builder::new().prefix("command-center-standin-").tempdir()?;
    for file in files_below(&recipes.join("mattermost"))? {
        copy(&file, context.path())?;
    }
    for binary in ["mattermost", "mmctl"] {
        copy(&target_folder.join(TARGET).join("lab").join(binary), context.path())?;
    }
    Ok((Recipe::of_folder(context.path(), "mattermost-standin", "scratch")?, context))
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
    Err(hinted(
        anyhow::anyhow!("`{what}` failed:\n  {}", tail.join("\n  ")),
        "the lab needs Debian's mirror and crates.io",
    ))
}

fn hash(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
