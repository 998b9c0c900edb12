//! Which images the stack runs, and getting them onto this machine.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::drivers::terminal::{say, waiting};
use crate::drivers::{docker, interrupt, process};
use crate::error::hinted;

/// The pinned images of compose/images.Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Images {
    pub postgres: String,
    pub mattermost: String,
    pub coturn: String,
}

impl Images {
    pub fn all(&self) -> [&str; 3] {
        [&self.postgres, &self.mattermost, &self.coturn]
    }
}

/// What compose/images.Dockerfile pins.
pub fn pinned() -> anyhow::Result<Images> {
    parse(include_str!("../../compose/images.Dockerfile"))
}

/// Reads `FROM image AS name` lines, one for each server.
pub fn parse(text: &str) -> anyhow::Result<Images> {
    let image = |wanted: &str| -> anyhow::Result<String> {
        for line in text.lines() {
            if let ["FROM", image, "AS", name] = line.split_whitespace().collect::<Vec<_>>()[..]
                && name == wanted
            {
                return Ok(image.to_owned());
            }
        }
        bail!("compose/images.Dockerfile has no line `FROM … AS {wanted}`")
    };
    Ok(Images { postgres: image("postgres")?, mattermost: image("mattermost")?, coturn: image("coturn")? })
}

/// Whether every image is loaded, or its registry answers within seconds.
pub fn within_reach(images: &Images) -> anyhow::Result<bool> {
    let missing = docker::missing_images(&images.all())?;
    let Some(image) = missing.first() else { return Ok(true) };
    let ask =
        || process::capture(Path::new("/"), &["docker", "manifest", "inspect", image], b"", Duration::from_secs(5));
    // A timeout is an answer too: no.
    Ok(waiting("asking the registry", ask).is_ok_and(|answer| answer.success))
}

/// Pulls images that are not loaded.
///
/// # Errors
/// When one cannot be had.
pub fn pull(missing: &[&str]) -> anyhow::Result<()> {
    for image in missing {
        interrupt::check()?;
        say(&format!("Pulling {image}"));
        let mut last = String::new();
        let pulled = waiting("pulling", || {
            process::stream(Path::new("/"), &["docker", "pull", "--quiet", image], Duration::from_secs(1800), |line| {
                line.clone_into(&mut last);
            })
        })
        .with_context(|| format!("cannot pull {image}"))?;
        if !pulled {
            return Err(hinted(
                anyhow::anyhow!("cannot pull {image}: {last}"),
                "load it from a file with `docker load -i FILE`, or try the stack without a registry: `cargo xtask up --images lab`",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_pin_is_named() {
        let error = parse("FROM a AS postgres\nFROM b AS mattermost\n").expect_err("no coturn");
        assert!(error.to_string().contains("AS coturn"));
    }
}
