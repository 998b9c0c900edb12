//! The relay's image. No registry has it: it is built on this machine from relay/, for the site and for the lab alike.

use crate::drivers::docker;
use crate::recipe::{self, Recipe, SCRATCH};
use crate::settings::Settings;
use crate::stack;

/// What the image is made of, for settings that have a relay. Docker is not asked.
pub fn recipe(settings: &Settings) -> anyhow::Result<Option<Recipe>> {
    if !settings.has_relay() {
        return Ok(None);
    }
    let sources = ["relay", "Cargo.toml", "Cargo.lock"];
    Recipe::new("command-center/relay", &stack::checkout()?, &sources, SCRATCH).map(Some)
}

/// The tag by which compose.yaml finds the image; empty when the settings have no relay.
pub fn tag(settings: &Settings) -> anyhow::Result<String> {
    Ok(recipe(settings)?.map(|recipe| recipe.tag().to_owned()).unwrap_or_default())
}

/// The recipe again, when its image is not loaded.
pub fn missing(recipe: Option<Recipe>) -> anyhow::Result<Option<Recipe>> {
    let Some(recipe) = recipe else { return Ok(None) };
    let is_missing = !docker::missing_images(&[&recipe.image])?.is_empty();
    Ok(is_missing.then_some(recipe))
}

pub fn build(recipe: &Recipe) -> anyhow::Result<()> {
    recipe::build_static(recipe, &stack::checkout()?, "relay", &["relay"])
}
