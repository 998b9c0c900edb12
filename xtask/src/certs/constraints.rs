//! Name constraints of a CA (RFC 5280, section 4.2.1.10): what it may sign for, and what it must not.

use std::fmt;
use std::net::IpAddr;

use x509_parser::prelude::{GeneralName, ParsedExtension, X509Certificate};

use super::San;

/// The constraints of one CA. Without any entry of its kind a name is unconstrained.
#[derive(Debug, Default)]
pub struct Constraints {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
    /// Whether only certain subjects (directoryName) may be signed for.
    pub of_subjects: bool,
}

impl Constraints {
    pub fn of(certificate: &X509Certificate<'_>) -> Constraints {
        let mut found = Constraints::default();
        for extension in certificate.extensions() {
            let ParsedExtension::NameConstraints(constraints) = extension.parsed_extension() else { continue };
            for subtree in constraints.permitted_subtrees.iter().flatten() {
                found.of_subjects |= matches!(subtree.base, GeneralName::DirectoryName(_));
                found.permitted.extend(Subtree::of(&subtree.base));
            }
            found
                .excluded
                .extend(constraints.excluded_subtrees.iter().flatten().filter_map(|it| Subtree::of(&it.base)));
        }
        found
    }

    /// Why a certificate with this name would be refused by clients; nothing when it would not.
    pub fn against(&self, san: &San) -> Option<String> {
        if let Some(excluded) = self.excluded.iter().find(|subtree| subtree.covers(san)) {
            return Some(format!("it excludes {excluded}"));
        }
        let of_this_kind = || self.permitted.iter().filter(|subtree| subtree.is_of_the_kind_of(san));
        if of_this_kind().next().is_none() || of_this_kind().any(|subtree| subtree.covers(san)) {
            return None;
        }
        let permitted: Vec<String> = of_this_kind().map(ToString::to_string).collect();
        Some(format!("it permits {}", permitted.join(", ")))
    }
}

#[derive(Debug)]
enum Subtree {
    /// With a leading dot: what is below it alone.
    Domain(String),
    /// An address and a mask, 4 or 16 octets each.
    Network { address: Vec<u8>, mask: Vec<u8> },
}

impl Subtree {
    fn of(base: &GeneralName<'_>) -> Option<Subtree> {
        match base {
            GeneralName::DNSName(domain) => Some(Subtree::Domain(domain.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) if matches!(bytes.len(), 8 | 32) => {
                let (address, mask) = bytes.split_at(bytes.len() / 2);
                Some(Subtree::Network { address: address.to_vec(), mask: mask.to_vec() })
            }
            _ => None,
        }
    }

    /// Addresses of both versions are one kind: who permits IPv4 networks alone permits no IPv6 address.
    fn is_of_the_kind_of(&self, san: &San) -> bool {
        matches!((self, san), (Subtree::Domain(_), San::Dns(_)) | (Subtree::Network { .. }, San::Ip(_)))
    }

    fn covers(&self, san: &San) -> bool {
        match (self, san) {
            (Subtree::Domain(domain), San::Dns(name)) => match name.strip_suffix(domain.as_str()) {
                Some("") => !domain.starts_with('.'),
                Some(rest) => domain.is_empty() || domain.starts_with('.') || rest.ends_with('.'),
                None => false,
            },
            (Subtree::Network { address, mask }, San::Ip(wanted)) => {
                let wanted = match wanted {
                    IpAddr::V4(wanted) => wanted.octets().to_vec(),
                    IpAddr::V6(wanted) => wanted.octets().to_vec(),
                };
                wanted.len() == address.len()
                    && wanted.iter().zip(address).zip(mask).all(|((it, base), mask)| it & mask == base & mask)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subtree::Domain(domain) if domain.is_empty() => f.write_str("every name"),
            Subtree::Domain(domain) => f.write_str(domain),
            Subtree::Network { address, mask } => {
                let prefix: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
                match (<[u8; 4]>::try_from(address.as_slice()), <[u8; 16]>::try_from(address.as_slice())) {
                    (Ok(octets), _) => write!(f, "{}/{prefix}", IpAddr::from(octets)),
                    (_, Ok(octets)) => write!(f, "{}/{prefix}", IpAddr::from(octets)),
                    _ => f.write_str("a network"),
                }
            }
        }
    }
}
