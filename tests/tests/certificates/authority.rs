//! A CA that was there before: imported, half there, run out, or made for another network.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use crate::{Folder, LAN, common, openssl_is_here, openssl_verifies, webpki_verifies};

/// A new CA in place of a lost half would make every phone enrol again, and a backup may have the half.
#[test]
fn half_a_ca_is_an_error_and_nothing_is_made() {
    for missing in ["ca.key", "ca.crt"] {
        let folder = Folder::new();
        folder.ensure(&[LAN]);
        folder.remove(missing);
        let refusal = folder.refusal(&[LAN]);
        assert!(refusal.contains(&format!("{missing} is missing")), "{refusal}");
        assert!(refusal.contains("bring it back from a backup"), "{refusal}");
    }
}

/// A site that has a CA already uses it: its clients trust it.
#[test]
fn a_ca_made_by_openssl_is_used() {
    if !openssl_is_here("an imported CA") {
        return;
    }
    for algorithm in [&["EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..], &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]]
    {
        let folder = Folder::new();
        import(&folder, algorithm, "");
        let (ca, key) = (folder.read("ca.crt"), folder.read("ca.key"));
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "openssl writes PKCS#8");
        assert_eq!(folder.ensure(&[LAN]).len(), 2, "the leaves, and no CA");
        assert_eq!((folder.read("ca.crt"), folder.read("ca.key")), (ca.clone(), key), "it stays as it is");
        for name in ["mattermost.cicd.local", "192.168.1.10"] {
            let leaf = folder.path("mattermost/tls.crt");
            assert_eq!(openssl_verifies(&folder.path("ca.crt"), &leaf, name), Ok(()), "{name}");
            assert_eq!(webpki_verifies(&ca, &folder.read("mattermost/tls.crt"), name), Ok(()), "{name}");
        }
        assert_eq!(folder.ensure(&[LAN]), Vec::<String>::new(), "a second run changes nothing");
    }
}

/// RFC 5280, section 4.2.1.10: constraints of one kind of name say nothing about the other kinds.
#[test]
fn a_ca_that_constrains_names_only_may_sign_for_addresses() {
    if !openssl_is_here("a CA with constraints of its own") {
        return;
    }
    let folder = Folder::new();
    let constraints = "nameConstraints=critical,permitted;DNS:cicd.local,permitted;DNS:localhost";
    import(&folder, &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], constraints);
    folder.ensure(&[LAN]);
    assert_eq!(openssl_verifies(&folder.path("ca.crt"), &folder.path("mattermost/tls.crt"), "192.168.1.10"), Ok(()));
}

/// The other notation of openssl for a key: what cannot be read is said with the way out.
#[test]
fn a_key_that_cannot_be_read_says_what_can() {
    if !openssl_is_here("a key in SEC 1 notation") {
        return;
    }
    let folder = Folder::new();
    import(&folder, &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "");
    let key = folder.path("ca.key");
    let sec1 = common::stdout_of(Command::new("openssl").args(["ec", "-in"]).arg(&key));
    assert!(sec1.starts_with("-----BEGIN EC PRIVATE KEY-----"));
    folder.write("ca.key", &sec1);
    let refusal = folder.refusal(&[LAN]);
    assert!(refusal.contains("ca.key is no private key that can be used"), "{refusal}");
    assert!(refusal.contains("PKCS#8"), "{refusal}");
}

/// Each would issue leaves that no client takes.
#[test]
fn a_ca_that_is_none_is_refused_and_stays() {
    let now = OffsetDateTime::now_utc();
    let year = Duration::days(365);
    let constrained = || IsCa::Ca(BasicConstraints::Constrained(0));
    for (what, is_ca, begins, ends) in [
        ("has run out", constrained(), now - year * 2, now - year),
        ("is not a CA", IsCa::ExplicitNoCa, now - year, now + year),
        ("is not a CA", IsCa::NoCa, now - year, now + year),
    ] {
        let folder = Folder::new();
        let (certificate, key) = authority(is_ca, begins, ends);
        folder.write("ca.crt", &certificate);
        folder.write("ca.key", &key);
        let refusal = folder.refusal(&[LAN]);
        assert!(refusal.contains(what) && refusal.contains("ca.crt"), "{what}: {refusal}");
        assert!(refusal.contains("nothing was replaced"), "{what}: {refusal}");
    }
}

#[test]
fn a_ca_and_a_key_that_do_not_belong_together_are_refused() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.ensure(&[LAN]);
    other.ensure(&[LAN]);
    folder.write("ca.key", &other.read("ca.key"));
    let refusal = folder.refusal(&[LAN]);
    assert!(refusal.contains("does not belong to the key beside it"), "{refusal}");
}

#[test]
fn a_ca_that_is_no_certificate_is_refused() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        folder.write("ca.crt", text);
        let refusal = folder.refusal(&[LAN]);
        assert!(refusal.contains("ca.crt"), "{refusal}");
    }
}

/// The host moved to a network that is not private: a leaf for it would be refused by every client.
#[test]
fn an_address_outside_of_the_cas_constraints_is_refused() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let refusal = folder.refusal(&[LAN, Ipv4Addr::new(203, 0, 113, 9)]);
    assert!(refusal.contains("203.0.113.9 lies outside of what"), "{refusal}");
    assert!(refusal.contains("enrol phones again"), "{refusal}");
}

/// The same for a new domain in stack.toml: leaves for it would be refused by every client, after a green run.
#[test]
fn a_domain_outside_of_the_cas_constraints_is_refused() {
    let mut folder = Folder::new();
    folder.ensure(&[LAN]);
    folder.settings =
        common::settings(&common::shipped_with(&[("domain = \"cicd.local\"", "domain = \"other.local\"")]));
    let refusal = folder.refusal(&[LAN]);
    assert!(refusal.contains("other.local lies outside of what"), "{refusal}");
}

/// A leaf that outlives its CA looks good to `doctor`, and every client refuses the chain.
#[test]
fn a_leaf_does_not_outlive_its_ca() {
    let folder = Folder::new();
    let now = OffsetDateTime::now_utc();
    let (certificate, key) =
        authority(IsCa::Ca(BasicConstraints::Constrained(0)), now - Duration::days(1), now + Duration::days(100));
    folder.write("ca.crt", &certificate);
    folder.write("ca.key", &key);
    folder.ensure(&[LAN]);
    let ends = |name: &str| xtask::certs::not_after(&folder.read(name)).expect("it is a certificate");
    assert!(ends("mattermost/tls.crt") <= ends("ca.crt"));
    assert_eq!(folder.ensure(&[LAN]), Vec::<String>::new(), "a second run changes nothing");
}

/// A certificate that signs itself, and its key.
fn authority(is_ca: IsCa, begins: OffsetDateTime, ends: OffsetDateTime) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "made by a test");
    params.is_ca = is_ca;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) = (begins, ends);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a signature").pem(), key.serialize_pem())
}

/// Makes a CA as an administrator would by hand.
fn import(folder: &Folder, algorithm: &[&str], constraints: &str) {
    folder.write("README", "A CA of the site.\n");
    let (key, certificate) = (folder.path("ca.key"), folder.path("ca.crt"));
    let run = |arguments: &[&str], out: &Path| {
        common::stdout_of(Command::new("openssl").args(arguments).arg("-out").arg(out));
    };
    run(&[&["genpkey", "-algorithm"], algorithm].concat(), &key);
    let key = key.to_string_lossy();
    let mut arguments = vec!["req", "-x509", "-new", "-key", &key, "-days", "3650", "-subj", "/CN=Site CA"];
    arguments.extend([
        "-addext",
        "basicConstraints=critical,CA:TRUE,pathlen:0",
        "-addext",
        "keyUsage=critical,keyCertSign",
    ]);
    if !constraints.is_empty() {
        arguments.extend(["-addext", constraints]);
    }
    run(&arguments, &certificate);
}
