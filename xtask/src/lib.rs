//! The command center as code. Reading order: settings and host, secrets and certificates, render, then the commands.

#![warn(missing_debug_implementations)]

pub mod settings;

pub mod host;

pub mod lan;

pub mod secrets;

pub mod trust;

pub mod certs;

pub mod render;

pub mod images;

pub mod recipe;

pub mod lab;

pub mod relay_image;

pub mod stack;

pub mod ports;

pub mod servers;

pub mod admin;

pub mod external_postgres;

pub mod wiring;

pub mod verify;

pub mod turn_check;

pub mod causes;

pub mod connect;

pub mod phone;

pub mod commands;

pub mod doctor;

pub mod drivers;

pub mod error;

pub mod hash;
