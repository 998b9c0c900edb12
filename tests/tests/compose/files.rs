//! What goes into which file, and what a change of one brings about.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;

use minijinja_free::*;
use serde_yaml::Value;
use xtask::certs::Certificates;
use xtask::images::Images;
use xtask::render::{File, render};
use xtask::stack::{LAB, Stack};

use crate::{Case, cases, common};

mod minijinja_free {}
