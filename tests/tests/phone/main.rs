//! `cargo xtask phone`: what is served, what is refused, and the command as a user meets it.

#[path = "../common/mod.rs"]
mod common;

#[allow(dead_code, reason = "written for the tests of the command line, of which these use a part")]
#[path = "../cli/fake.rs"]
mod fake;

mod client;
mod command;
mod page;
mod profile;
mod qr;
mod server;

use std::net::Ipv4Addr;

use xtask::certs;
use xtask::phone::{Ca, Content};
use xtask::settings::Settings;

/// A CA as `up` makes it, and its private key.
struct Authority {
    ca: Ca,
    pem: String,
    key: String,
}

fn authority() -> Authority {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lan = [common::lan_address(Ipv4Addr::new(192, 168, 1, 10))];
    certs::ensure(folder.path(), &settings(), &lan, false).expect("certificates are made");
    let path = certs::ca_path(folder.path());
    let read = |path| std::fs::read_to_string(path).expect("it was made");
    let (pem, key) = (read(path.clone()), read(path.with_extension("key")));
    Authority { ca: Ca::from_pem(&pem).expect("the CA is read"), pem, key }
}

fn settings() -> Settings {
    common::settings(&common::shipped())
}

fn settings_named(site_name: &str) -> Settings {
    let mut settings = settings();
    settings.site_name = site_name.to_owned();
    settings
}

fn content(ca: &Ca) -> Content {
    Content::render(&settings(), ca, &[Ipv4Addr::LOCALHOST]).expect("it renders")
}

/// Whoever wants to do harm by a name has thirty characters.
const HOSTILE: &str = r#""'></b><script>x()</script>&"#;

// As these browsers send them.
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
const IPAD_AS_A_MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15";
const OLD_IPAD: &str = "Mozilla/5.0 (iPad; CPU OS 12_5_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1";
const ANDROID: &str =
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Mobile Safari/537.36";
const FIREFOX_ON_ANDROID: &str = "Mozilla/5.0 (Android 15; Mobile; rv:139.0) Gecko/139.0 Firefox/139.0";
const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36 Edg/137.0.0.0";
const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36";
const FIREFOX_ON_LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0";
const CHROMEBOOK: &str =
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36";
