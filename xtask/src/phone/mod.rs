//! The page that gives a phone our CA. Everything that is served is rendered before the first visitor comes, so nothing of a
//! visitor reaches a file.

pub mod limits;
pub mod page;
pub mod profile;
pub mod qr;
pub mod request;
pub mod server;

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::certs;
use crate::settings::Settings;
use crate::trust;

/// Everything that can be asked for, in memory.
#[derive(Debug)]
pub struct Content {
    /// By the address that the visitor came by, which goes into the app, and by system.
    pages: HashMap<(Ipv4Addr, System), Body>,
    der: Body,
    pem: Body,
    profile: Body,
}

/// A file as it is served.
#[derive(Debug)]
pub struct Body {
    pub content_type: &'static str,
    pub content_security_policy: String,
    pub bytes: Vec<u8>,
}

/// What a visitor asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    Page,
    Der,
    Pem,
    Profile,
}

/// The visitor's system, as far as the steps differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum System {
    Ios,
    Android,
    Windows,
    Macos,
    Linux,
    Other,
}

pub const SYSTEMS: [System; 6] =
    [System::Ios, System::Android, System::Windows, System::Macos, System::Linux, System::Other];

/// The CA's certificate, without anything else that its file may hold.
#[derive(Debug, Clone)]
pub struct Ca {
    pub der: Vec<u8>,
    /// By which phones list it.
    pub name: String,
    pub fingerprint: String,
}

impl Content {
    pub fn render(settings: &Settings, ca: &Ca, addresses: &[Ipv4Addr]) -> anyhow::Result<Content> {
        let mut pages = HashMap::new();
        for address in addresses {
            for system in SYSTEMS {
                pages.insert((*address, system), page::render(settings, ca, *address, system)?);
            }
        }
        let file = |content_type, bytes| Body { content_type, content_security_policy: NOTHING.to_owned(), bytes };
        Ok(Content {
            pages,
            der: file("application/x-x509-ca-cert", ca.der.clone()),
            pem: file("application/x-pem-file", ca.pem().into_bytes()),
            profile: file("application/x-apple-aspen-config", profile::render(settings, ca)?.into_bytes()),
        })
    }

    /// `None` when the visitor came by an address that nothing was rendered for.
    pub fn get(&self, item: Item, address: Ipv4Addr, system: System) -> Option<&Body> {
        match item {
            Item::Page => self.pages.get(&(address, system)),
            Item::Der => Some(&self.der),
            Item::Pem => Some(&self.pem),
            Item::Profile => Some(&self.profile),
        }
    }
}

impl Ca {
    pub fn from_pem(pem: &str) -> anyhow::Result<Ca> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).context("there is no certificate in it")?.to_vec();
        let (_, certificate) = X509Certificate::from_der(&der).context("its certificate cannot be read")?;
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let name = name.context("the certificate has no common name, so no phone would list it")?.to_owned();
        let fingerprint = certs::fingerprint(&trust::encoded(&der))?;
        Ok(Ca { der, name, fingerprint })
    }

    /// Encoded again from the certificate itself: a file may hold a key beside it.
    pub fn pem(&self) -> String {
        trust::encoded(&self.der)
    }

    /// Four lines of eight pairs, on the page as in the terminal: people compare line by line.
    pub fn fingerprint_lines(&self) -> Vec<String> {
        let pairs: Vec<&str> = self.fingerprint.split(':').collect();
        pairs.chunks(8).map(|line| line.join(" ")).collect()
    }
}

impl Item {
    pub fn at(path: &str) -> Option<Item> {
        match path {
            "/" => Some(Item::Page),
            "/ca.crt" => Some(Item::Der),
            "/ca.pem" => Some(Item::Pem),
            "/ca.mobileconfig" => Some(Item::Profile),
            _ => None,
        }
    }
}

impl System {
    /// By what browsers have in User-Agent. An iPad says that it is a Mac; its page has the steps for both.
    pub fn of(user_agent: &str) -> System {
        let has = |words: &[&str]| words.iter().any(|word| user_agent.contains(word));
        if has(&["iPhone", "iPad", "iPod"]) {
            System::Ios
        } else if has(&["Android"]) {
            System::Android
        } else if has(&["Windows NT"]) {
            System::Windows
        } else if has(&["Macintosh"]) {
            System::Macos
        } else if has(&["Linux", "X11"]) && !has(&["CrOS"]) {
            System::Linux
        } else {
            System::Other
        }
    }

    /// Its name in the page's template.
    pub fn key(self) -> &'static str {
        match self {
            System::Ios => "ios",
            System::Android => "android",
            System::Windows => "windows",
            System::Macos => "macos",
            System::Linux => "linux",
            System::Other => "other",
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            System::Ios => "iPhone or iPad",
            System::Android => "Android",
            System::Windows => "Windows",
            System::Macos => "Mac or iPad",
            System::Linux => "Linux",
            System::Other => "another system",
        })
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Item::Page => "the page",
            Item::Der => "the certificate (ca.crt)",
            Item::Pem => "the certificate (ca.pem)",
            Item::Profile => "the profile (ca.mobileconfig)",
        })
    }
}

/// Where the page is found.
pub fn url(address: SocketAddrV4) -> String {
    format!("http://{address}/")
}

/// The policy of what is no page.
pub const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";
