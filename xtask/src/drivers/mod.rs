//! The edge: everything that touches another program, the network or a file.

pub mod docker;
pub mod engine;
pub mod files;
pub mod https;
pub mod interrupt;
pub mod mmctl;
pub mod owned;
pub mod pkcs12;
pub mod presented;
pub mod process;
pub mod rest;
pub mod terminal;
pub mod turn;
