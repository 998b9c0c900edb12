//! Every row of `doctor`, from findings that were recorded, and what the table does as a whole. tests/e2e/doctor.rs breaks the real
//! thing.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod certificates;
mod firewall;
mod host;
mod servers;
mod table;
mod tools;
