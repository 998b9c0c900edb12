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
    let checkout = stack::checkout()?;
    let recipes = checkout.join("tests/lab");
    let base = Recipe::new("base", &recipes, &[], SUITE)?;
    let postgres = Recipe::new("postgres", &recipes, &["postgres"], &base.image)?;
    let coturn = Recipe::new("coturn", &recipes, &["coturn"], &base.image)?;
    let sources = ["mattermost", "mattermost-standin", "../contract", "../../Cargo.toml", "../../Cargo.lock"];
    let mattermost = Recipe::new("mattermost-standin", &recipes, &sources, "scratch")?;

    let all = [&base, &postgres, &coturn, &mattermost].map(|recipe| recipe.image.as_str());
    let missing = docker::missing_images(&all)?;
    let is_missing = |recipe: &Recipe| missing.contains(&recipe.image.as_str());
    if is_missing(&base) {
        build_base(&base.image)?;
    }
    for recipe in [&postgres, &coturn].into_iter().filter(|recipe| is_missing(recipe)) {
        build_image(recipe, &recipe.folder)?;
    }
    if is_missing(&mattermost) {
        build_standin(&mattermost, &checkout)?;
    }
    Ok(Images { postgres: postgres.image, mattermost: mattermost.image, coturn: coturn.image })
}

/// What an image is made of, and its name, which is tagged with the hash of all of that.
#[derive(Debug)]
struct Recipe {
    image: String,
    /// The folder with the Dockerfile.
    folder: PathBuf,
    base: String,
}

impl Recipe {
    /// `sources` are files and folders relative to `recipes`; the first is the folder with the Dockerfile.
    fn new(name: &str, recipes: &Path, sources: &[&str], base: &str) -> anyhow::Result<Recipe> {
        let mut digest = Sha256::new();
        digest.update(base);
        for source in sources {
            for file in files_below(&recipes.join(source))? {
                let contents = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                digest.update(file.strip_prefix(recipes)?.as_os_str().as_encoded_bytes());
                digest.update(contents.len().to_le_bytes());
                digest.update(contents);
            }
        }
        let hash: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Recipe {
            image: format!("command-center-lab/{name}:{hash}"),
            folder: recipes.join(sources.first().unwrap_or(&"")),
            base: base.to_owned(),
        })
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

/// Makes the stack one of the pinned images again.
pub fn remove_override(stack: &Stack) -> anyhow::Result<()> {
    match std::fs::remove_file(stack.lab_override()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", stack.lab_override().display()))
        }
        _ => Ok(()),
    }
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

fn build_image(recipe: &Recipe, context: &Path) -> anyhow::Result<()> {
    interrupt::check()?;
    say(&format!("Building the lab's image {}", recipe.image));
    let (base, context) = (format!("--build-arg=BASE={}", recipe.base), context.to_string_lossy());
    let argv = ["docker", "build", "--progress=plain", "--tag", &recipe.image, &base, &context];
    run(&argv, &format!("docker build {}", recipe.image))
}

/// The stand-in is a static binary, built with this checkout's own toolchain and put into an image that holds nothing else.
fn build_standin(recipe: &Recipe, checkout: &Path) -> anyhow::Result<()> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    interrupt::check()?;
    let target_folder = checkout.join("target/lab");
    let target_text = target_folder.to_string_lossy();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let flags = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Ctarget-feature=+crt-static";
    let options = ["build", "--locked", "--quiet", "--profile=lab", "--package=mattermost-standin", "--target", TARGET];
    let argv = [&["env", flags, &cargo], &options[..], &["--target-dir", &target_text]].concat();
    run_in(checkout, &argv, "building the Mattermost stand-in")?;
    let context = tempfile::Builder::new().prefix("command-center-standin-").tempdir()?;
    for file in files_below(&recipe.folder)? {
        copy(&file, context.path())?;
    }
    for binary in ["mattermost", "mmctl"] {
        copy(&target_folder.join(TARGET).join("lab").join(binary), context.path())?;
    }
    build_image(recipe, context.path())
}

fn copy(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let name = file.file_name().context("a file has a name")?;
    std::fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// A file, or all files below a folder, sorted.
fn files_below(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        found.extend(files_below(&entry?.path())?);
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
