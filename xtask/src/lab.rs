//! The lab's images: PostgreSQL and coturn from Debian packages, and a stand-in in place of Mattermost, for a machine that
//! cannot pull. Each is tagged with the hash of its recipe, so that nothing is built twice.

use std::path::Path;

use anyhow::Context as _;
use minijinja::context;
use minijinja::value::Serde;

use crate::drivers::terminal::say;
use crate::drivers::{docker, engine, files, interrupt, process};
use crate::error::Hint as _;
use crate::images::Images;
use crate::recipe::{self, Recipe, SCRATCH, run};
use crate::render;
use crate::stack::{self, Stack};

/// What nobody may miss, wherever the lab is mentioned.
pub const WARNING: &str =
    "LAB: a stand-in runs in place of Mattermost. This is no chat server; do not put it into service.";

/// Builds what is missing and returns the images.
pub fn build() -> anyhow::Result<Images> {
    let checkout = stack::checkout()?;
    let Recipes { base, postgres, coturn, mattermost } = recipes(&checkout)?;
    let all = [&base, &postgres, &coturn, &mattermost].map(|recipe| recipe.image.as_str());
    let missing = docker::missing_images(&all)?;
    let is_missing = |recipe: &Recipe| missing.contains(&recipe.image.as_str());
    let on_base: Vec<&Recipe> = [&postgres, &coturn].into_iter().filter(|recipe| is_missing(recipe)).collect();
    // An engine that got the images by `docker load` has no use for their base.
    if is_missing(&base) && !on_base.is_empty() {
        build_base(&base.image)?;
    }
    for recipe in on_base {
        recipe::build(recipe, &recipe.folder)?;
    }
    if is_missing(&mattermost) {
        recipe::build_static(&mattermost, &checkout, "mattermost-standin", &["mattermost", "mmctl"])?;
    }
    Ok(Images { postgres: postgres.image, mattermost: mattermost.image, coturn: coturn.image })
}

/// The Debian below the lab's images, built when it is missing: tests build more images on it.
pub fn base() -> anyhow::Result<String> {
    let base = recipes(&stack::checkout()?)?.base.image;
    if !docker::missing_images(&[&base])?.is_empty() {
        build_base(&base)?;
    }
    Ok(base)
}

/// The image of the lab's PostgreSQL, whether it is built or not.
pub fn postgres_image() -> anyhow::Result<String> {
    Ok(recipes(&stack::checkout()?)?.postgres.image)
}

struct Recipes {
    base: Recipe,
    postgres: Recipe,
    coturn: Recipe,
    mattermost: Recipe,
}

fn recipes(checkout: &Path) -> anyhow::Result<Recipes> {
    let recipes = checkout.join("tests/lab");
    let base = Recipe::new("command-center-lab/base", &recipes, &[], SUITE)?;
    let postgres = Recipe::new("command-center-lab/postgres", &recipes, &["postgres"], &base.image)?;
    let coturn = Recipe::new("command-center-lab/coturn", &recipes, &["coturn"], &base.image)?;
    let sources = ["mattermost", "mattermost-standin", "../contract", "../../Cargo.toml", "../../Cargo.lock"];
    let mattermost = Recipe::new("command-center-lab/mattermost-standin", &recipes, &sources, SCRATCH)?;
    Ok(Recipes { base, postgres, coturn, mattermost })
}

/// Makes the stack a lab: an override beside its compose.yaml that changes images only.
pub fn write_override(stack: &Stack, images: &Images) -> anyhow::Result<()> {
    let text = render::render_template(
        "compose.override.yaml",
        include_str!("../../tests/lab/compose.override.yaml.j2"),
        context! { images => Serde(images), own_postgres => stack.settings.external_postgres().is_none() },
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
