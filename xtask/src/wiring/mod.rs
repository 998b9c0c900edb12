//! Teams, channels, bots, webhooks and plugins as code: stack.toml is what Mattermost has.
//!
//! [`read`] asks, [`planner::plan`] is pure, [`apply`] does. An empty plan after an apply is an invariant.

pub mod actual;
pub mod apply;
pub mod mark;
pub mod plan;
pub mod planner;
pub mod read;
