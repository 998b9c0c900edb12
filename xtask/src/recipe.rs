//! Images that are built on this machine, each tagged with the hash of what it is made of, so that nothing is built twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::drivers::terminal::{say, waiting};
use crate::drivers::{interrupt, process};
use crate::error::hinted;
use crate::hash;

/// What an image is made of, and its name, which is tagged with the hash of all of that.
#[derive(Debug)]
pub struct Recipe {
    pub image: String,
    /// The folder with the Dockerfile.
    pub folder: PathBuf,
    base: String,
}

impl Recipe {
    /// `sources` are files and folders relative to `root`; the first is the folder with the Dockerfile.
    pub fn new(name: &str, root: &Path, sources: &[&str], base: &str) -> anyhow::Result<Recipe> {
        let mut digest = Sha256::new();
        digest.update(base);
        for source in sources {
            for file in files_below(&root.join(source))? {
                let contents = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                digest.update(file.strip_prefix(root)?.as_os_str().as_encoded_bytes());
                digest.update(contents.len().to_le_bytes());
                digest.update(contents);
            }
        }
        let hash = hash::hex(&digest.finalize()[..8]);
        Ok(Recipe {
            image: format!("{name}:{hash}"),
            folder: root.join(sources.first().unwrap_or(&"")),
            base: base.to_owned(),
        })
    }

    pub fn tag(&self) -> &str {
        self.image.rsplit_once(':').map_or("", |(_, tag)| tag)
    }
}

/// Builds the image from a folder, which has the Dockerfile and all that it copies.
pub fn build(recipe: &Recipe, context: &Path) -> anyhow::Result<()> {
    interrupt::check()?;
    say(&format!("Building the image {}", recipe.image));
    let context = context.to_string_lossy();
    let base = format!("--build-arg=BASE={}", recipe.base);
    let mut argv = vec!["docker", "build", "--progress=plain", "--tag", &recipe.image, &context];
    if recipe.base != SCRATCH {
        argv.push(&base);
    }
    run(&argv, &format!("docker build {}", recipe.image))
}

/// Docker's name of the empty image.
pub const SCRATCH: &str = "scratch";

/// An image of programs of this checkout's own: static binaries, built with its own toolchain, and nothing else.
pub fn build_static(recipe: &Recipe, checkout: &Path, package: &str, binaries: &[&str]) -> anyhow::Result<()> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    interrupt::check()?;
    let target_folder = checkout.join("target/lab");
    let target_text = target_folder.to_string_lossy();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let flags = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Ctarget-feature=+crt-static";
    let options = ["build", "--locked", "--quiet", "--profile=lab", "--package", package, "--target", TARGET];
    let argv = [&["env", flags, &cargo], &options[..], &["--target-dir", &target_text]].concat();
    run_in(checkout, &argv, &format!("building {package}"))?;
    let context = tempfile::Builder::new().prefix("command-center-image-").tempdir()?;
    for file in files_in(&recipe.folder)? {
        copy(&file, context.path())?;
    }
    for binary in binaries {
        copy(&target_folder.join(TARGET).join("lab").join(binary), context.path())?;
    }
    build(recipe, context.path())
}

fn copy(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let name = file.file_name().context("a file has a name")?;
    std::fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// The files of one folder, without what is below its folders.
fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_file()).collect())
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

pub fn run(argv: &[&str], what: &str) -> anyhow::Result<()> {
    run_in(Path::new("/"), argv, what)
}

/// Runs to success; on failure the last lines of its output are the error.
fn run_in(folder: &Path, argv: &[&str], what: &str) -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_secs(900);
    let mut tail: Vec<String> = Vec::new();
    let success = waiting(what, || {
        process::stream(folder, argv, LIMIT, |line| {
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
    let said = if tail.is_empty() { " and said nothing".to_owned() } else { format!(":\n  {}", tail.join("\n  ")) };
    Err(hinted(
        anyhow::anyhow!("`{what}` failed{said}"),
        "an image is built from crates.io's sources, and one of the lab from Debian's packages: are they within reach?",
    ))
}
