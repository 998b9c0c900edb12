//! Whole stacks, booted in Docker and used as clients use them.

mod contract;
