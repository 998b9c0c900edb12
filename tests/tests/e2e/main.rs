//! Whole stacks in Docker, used as clients use them. `cargo xtask e2e` runs them, one after the other.

mod browser;
mod calls;
mod checks;
mod client;
mod contract;

mod contract_replay;
mod database;
mod external_postgres;
mod deliveries;
mod doctor;
#[allow(dead_code, reason = "shared with the tests of `connect`, which use all of it")]
#[path = "../connect/double.rs"]
mod double;
mod faults;
mod firewall;
#[allow(dead_code, reason = "shared with the tests of `connect`, which use all of it")]
#[path = "../connect/gitlab_double.rs"]
mod gitlab_double;
mod lan;
mod lifecycle;
mod phone;
mod relay;
mod single;
mod site_ca;
mod tls;
mod turn;
mod up;
mod wiring;
