//! The planner of the wiring: pure, so that a model of Mattermost's state is all it needs.

#[path = "../common/mod.rs"]
mod common;
mod invariants;
mod model;
mod plans;
