//! What a client sees: chains, names, constraints and the form of the certificates.

use std::net::Ipv4Addr;

use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use crate::{Folder, LAN, common, leaf, openssl_is_here, openssl_verifies, webpki_verifies};

/// Clients come by name, by address and from the host itself; PostgreSQL is asked for by name.
const NAMES: &[(&str, &str)] = &[
    ("mattermost", "mattermost.cicd.local"),
    ("mattermost", "localhost"),
    ("mattermost", "127.0.0.1"),
    ("mattermost", "192.168.1.10"),
    ("mattermost", "203.0.113.9"),
    ("postgres", "postgres.cicd.local"),
];

/// A LAN may have addresses that are not private; the constraints then cover its network.
const BOTH: &[Ipv4Addr] = &[LAN, Ipv4Addr::new(203, 0, 113, 9)];

#[test]
fn openssl_verifies_the_chains_by_name_and_by_address() {
    if !openssl_is_here("chains") {
        return;
    }
    let folder = Folder::new();
    folder.ensure(BOTH);
    for (server, name) in NAMES {
        let certificate = folder.path(server).join("tls.crt");
        assert_eq!(openssl_verifies(&folder.path("ca.crt"), &certificate, name), Ok(()), "{server} as {name}");
    }
    for name in ["gitlab.cicd.local", "192.168.1.11"] {
        let certificate = folder.path("mattermost/tls.crt");
        assert!(openssl_verifies(&folder.path("ca.crt"), &certificate, name).is_err(), "{name} is not in it");
    }
}

#[test]
fn webpki_verifies_the_chains_by_name_and_by_address() {
    let folder = Folder::new();
    folder.ensure(BOTH);
    for (server, name) in NAMES {
        let certificate = folder.read(&format!("{server}/tls.crt"));
        assert_eq!(webpki_verifies(&folder.read("ca.crt"), &certificate, name), Ok(()), "{server} as {name}");
    }
    for name in ["gitlab.cicd.local", "192.168.1.11"] {
        assert!(webpki_verifies(&folder.read("ca.crt"), &folder.read("mattermost/tls.crt"), name).is_err(), "{name}");
    }
}

/// A stolen key must not impersonate the world to every phone that has enrolled.
#[test]
fn a_name_outside_of_the_constraints_fails_with_openssl_and_with_webpki() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let ca = folder.read("ca.crt");
    for name in ["bank.example", "cicd.local.example", "xcicd.local", "8.8.8.8", "203.0.113.9"] {
        let (stolen, _) = leaf(&folder.issuer(), &[name], 30);
        assert_eq!(
            webpki_verifies(&ca, &stolen, name),
            Err(webpki::Error::NameConstraintViolation),
            "webpki takes {name}"
        );
        if openssl_is_here("constraints") {
            folder.write("stolen.crt", &stolen);
            let refused = openssl_verifies(&folder.path("ca.crt"), &folder.path("stolen.crt"), name);
            assert!(refused.is_err_and(|why| why.contains("permitted subtree violation")), "openssl takes {name}");
        }
    }
    // It is the name that fails, not the way in which this test makes a leaf.
    for name in ["gitlab.cicd.local", "10.1.2.3"] {
        let (good, _) = leaf(&folder.issuer(), &[name], 30);
        assert_eq!(webpki_verifies(&ca, &good, name), Ok(()), "{name}");
    }
}

/// For clients that reject name constraints there is a switch.
#[test]
fn without_the_switch_there_are_no_constraints() {
    let text = common::shipped_with(&[("name_constraints = true", "name_constraints = false")]);
    let folder = Folder::with(common::settings(&text));
    folder.ensure(&[LAN]);
    let ca = folder.read("ca.crt");
    assert!(extensions(&ca).iter().all(|name| name != "NameConstraints"));
    let (other, _) = leaf(&folder.issuer(), &["bank.example"], 30);
    assert_eq!(webpki_verifies(&ca, &other, "bank.example"), Ok(()));
    folder.ensure(&[LAN, Ipv4Addr::new(8, 8, 8, 8)]);
}

/// P-256 is what every phone takes, iOS lists a root by its common name, and pathlen 0 keeps the key from making other CAs.
#[test]
fn the_ca_has_the_form_that_clients_want() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let pem = folder.read("ca.crt");
    with_certificate(&pem, |ca| {
        assert_is_p256(ca);
        assert_eq!(days(ca), 3650, "ten years");
        let constraints = ca.basic_constraints().expect("well-formed").expect("there are basic constraints");
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = ca.key_usage().expect("well-formed").expect("there is a key usage").value;
        assert!(usage.key_cert_sign() && !usage.digital_signature() && !usage.key_encipherment());
        let names: Vec<_> = ca.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
        assert_eq!(names, ["Command Center CA cicd.local"]);
        let constraints = ca.name_constraints().expect("well-formed").expect("there are name constraints");
        assert!(constraints.critical, "a client that does not know them must not pass over them");
        assert!(constraints.value.excluded_subtrees.is_none());
    });
}

/// 397 days are short enough for everybody; clients look at the SANs only.
#[test]
fn a_leaf_has_the_form_that_clients_want() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let authority = folder.read("ca.crt");
    let key_identifier = with_certificate(&authority, |ca| {
        ca.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
    });
    for (server, name) in [("mattermost", "mattermost.cicd.local"), ("postgres", "postgres.cicd.local")] {
        with_certificate(&folder.read(&format!("{server}/tls.crt")), |leaf| {
            assert_is_p256(leaf);
            assert_eq!(days(leaf), 397, "{server}");
            assert!(leaf.validity().not_before.to_datetime() < OffsetDateTime::now_utc(), "{server}");
            assert!(!leaf.basic_constraints().expect("well-formed").is_some_and(|found| found.value.ca), "{server}");
            let usage = leaf.extended_key_usage().expect("well-formed").expect("there is one").value;
            assert!(usage.server_auth && !usage.client_auth && !usage.any, "{server}");
            let issuer = leaf.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
                _ => None,
            });
            assert_eq!(issuer, key_identifier, "{server}");
            let sans = leaf.subject_alternative_name().expect("well-formed").expect("there are SANs").value;
            assert!(sans.general_names.contains(&GeneralName::DNSName(name)), "{server}");
            // RFC 5280, section 4.1.2.2: positive, 20 octets at most.
            assert!(leaf.raw_serial().len() <= 20 && leaf.raw_serial()[0] < 0x80, "{server}");
        });
    }
    assert_ne!(folder.read("mattermost/tls.key"), folder.read("postgres/tls.key"), "each server has its own key");
}

/// A certificate outlives the process that reads it, a key must not leave its owner.
#[test]
fn keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let made: Vec<_> = folder.every_file().into_iter().filter(|(_, contents)| contents.is_some()).collect();
    assert_eq!(made.len(), 6, "CA and leaves, each with its key");
    for (name, _) in made {
        let mode = std::fs::metadata(folder.path(name)).expect("it was made").permissions().mode() & 0o777;
        assert_eq!(mode, if name.ends_with(".key") { 0o600 } else { 0o644 }, "{name}");
    }
}

/// The fingerprint that a user compares on the phone is the one that openssl prints.
#[test]
fn the_fingerprint_is_the_one_that_openssl_prints() {
    if !openssl_is_here("the fingerprint") {
        return;
    }
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let mut command = std::process::Command::new("openssl");
    command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(folder.path("ca.crt"));
    let printed = common::stdout_of(&mut command);
    let ours = xtask::certs::fingerprint(&folder.read("ca.crt")).expect("it is a certificate");
    assert_eq!(printed.trim().split_once('=').map(|(_, fingerprint)| fingerprint), Some(ours.as_str()));
}

/// Long names and umlauts are allowed in stack.toml, so a certificate must be able to hold them.
#[test]
fn awkward_names_make_good_certificates() {
    let label = "a23456789-123456789-123456789-123456789-123456789-123456789-123";
    let domain = format!("{label}.{label}.local");
    let site = "Kommandozentrale „Süd“ & Co \\\"";
    let text = common::shipped_with(&[
        ("domain = \"cicd.local\"", &format!("domain = \"{domain}\"")),
        ("site_name = \"Command Center\"", &format!("site_name = '{site}'")),
    ]);
    let folder = Folder::with(common::settings(&text));
    folder.ensure(&[LAN]);
    let name = format!("mattermost.{domain}");
    assert_eq!(webpki_verifies(&folder.read("ca.crt"), &folder.read("mattermost/tls.crt"), &name), Ok(()));
    // RFC 5280, appendix A.1: ub-common-name is 64 characters, and some clients hold a certificate to it.
    for file in ["ca.crt", "mattermost/tls.crt", "postgres/tls.crt"] {
        with_certificate(&folder.read(file), |certificate| {
            for name in certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()) {
                assert!(name.chars().count() <= 64, "{file}: the common name {name:?} is too long");
            }
        });
    }
    if openssl_is_here("awkward names") {
        let certificate = folder.path("mattermost/tls.crt");
        assert_eq!(openssl_verifies(&folder.path("ca.crt"), &certificate, &name), Ok(()));
    }
}

fn with_certificate<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("it is PEM");
    let (_, certificate) = X509Certificate::from_der(&pem.contents).expect("it is a certificate");
    look(&certificate)
}

fn extensions(pem: &str) -> Vec<String> {
    with_certificate(pem, |certificate| {
        let names = certificate.iter_extensions().map(|extension| format!("{:?}", extension.parsed_extension()));
        names.map(|name| name.split('(').next().unwrap_or_default().to_owned()).collect()
    })
}

fn days(certificate: &X509Certificate<'_>) -> i64 {
    let validity = certificate.validity();
    (validity.not_after.to_datetime() - validity.not_before.to_datetime()).whole_days()
}

fn assert_is_p256(certificate: &X509Certificate<'_>) {
    let algorithm = &certificate.public_key().algorithm;
    assert_eq!(algorithm.algorithm.to_id_string(), "1.2.840.10045.2.1", "an elliptic curve");
    let curve = algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok()).map(|oid| oid.to_id_string());
    assert_eq!(curve.as_deref(), Some("1.2.840.10045.3.1.7"), "P-256");
    assert_eq!(certificate.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2", "with SHA-256");
}
