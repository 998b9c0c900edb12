//! Whole stacks in Docker, used as clients use them.

mod contract;
mod up;
