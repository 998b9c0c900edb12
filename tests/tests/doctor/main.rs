//! The checks of doctor that replay what was recorded.

#[path = "../common/mod.rs"]
mod common;
mod firewall;
