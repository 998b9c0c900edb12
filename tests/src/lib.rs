//! The harness of the end-to-end tests: a whole stack under target/stacks/, beside any that is running, gone at the end.

#![warn(missing_debug_implementations)]

pub mod run;

pub mod machine;

pub mod stack;

pub mod browser;

mod webdriver;

pub use browser::Browser;
pub use machine::Machine;
pub use run::{Ran, docker, run};
pub use stack::Stack;
