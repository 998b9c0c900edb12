//! The edge: everything that touches another program, the network or a file.

pub mod docker;
pub mod engine;
pub mod files;
pub mod https;
pub mod interrupt;
pub mod mmctl;
pub mod process;
pub mod terminal;
pub mod turn;
