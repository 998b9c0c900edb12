//! Whole stacks in Docker, used as clients use them. `cargo xtask e2e` runs them, one after the other.

mod checks;
mod client;
mod contract;

mod contract_replay;
mod database;
mod external_postgres;
mod deliveries;
mod faults;
mod lifecycle;
mod relay;
mod single;
mod tls;
mod turn;
mod up;
mod wiring;
