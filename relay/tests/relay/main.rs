//! The real binary, between a client that plays SonarQube and a stand-in for Mattermost's hooks. Loopback only.

mod common;
mod crashes;
mod intake;
mod operation;
mod posting;
mod standin;
