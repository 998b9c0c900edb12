//! A CA of the site's, imported: in every notation, as a root and as an intermediate, and in place of another.

use rcgen::{BasicConstraints, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384};
use xtask::certs;

use crate::pki::{authority, authority_with, openssl};
use crate::{Folder, LAN, common, openssl_is_here, openssl_verifies, webpki_verifies};

const NAMES: &[&str] = &["mattermost.cicd.local", "192.168.1.10", "localhost"];
const PASSPHRASE: &str = "pass:correct horse battery staple";

/// What every imported CA has to lead to: leaves that clients take which trust the root alone.
fn assert_issues(folder: &Folder, what: &str) {
    assert_eq!(folder.ensure(&[LAN]).len(), 2, "{what}: the leaves, and no CA");
    let (root, leaf) = (folder.read("ca.crt"), folder.read("mattermost/tls.crt"));
    for name in NAMES {
        assert_eq!(webpki_verifies(&root, &leaf, name), Ok(()), "{what}: {name}");
    }
    let postgres = folder.read("postgres/tls.crt");
    assert_eq!(webpki_verifies(&root, &postgres, "postgres.cicd.local"), Ok(()), "{what}");
    if openssl_is_here("chains of an imported CA") {
        let leaf = folder.path("mattermost/tls.crt");
        assert_eq!(openssl_verifies(&folder.path("ca.crt"), &leaf, "192.168.1.10"), Ok(()), "{what}");
    }
    assert_eq!(folder.ensure(&[LAN]), Vec::<String>::new(), "{what}: a second run changes nothing");
}

#[test]
fn a_root_issues_from_then_on() {
    let folder = Folder::new();
    let root = authority("Site Root", None, |_| {});
    let imported = folder.import_ca(&root.certificate, &root.key, &[], false).expect("a good CA");
    assert_eq!(imported.warnings, Vec::<String>::new());
    assert_eq!(folder.read("ca.crt").trim(), root.certificate.trim());
    assert_eq!(xtask::drivers::files::mode(&folder.path("ca.key")), Some(0o600));
    assert_issues(&folder, "a root");
}

#[test]
fn a_key_is_taken_in_every_notation() {
    if !openssl_is_here("the notations of keys") {
        return;
    }
    let p256 = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let p384 = ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let rsa = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let encrypted = ["pkcs8", "-topk8", "-passout", PASSPHRASE];
    for (kind, algorithm) in [("P-256", p256), ("P-384", p384), ("RSA", rsa)] {
        let files = Folder::new();
        let key = files.given("site.key", "");
        let made = std::process::Command::new("openssl")
            .args([&["genpkey", "-algorithm"][..], &algorithm, &["-out"]].concat())
            .arg(&key)
            .output()
            .expect("openssl starts");
        assert!(made.status.success(), "{kind}");
        let certificate = certificate_of(&key);
        let traditional = if kind == "RSA" { ["rsa", "-traditional"] } else { ["ec", "-conv_form=uncompressed"] };
        let traditional: Vec<&str> = if kind == "RSA" { traditional.to_vec() } else { vec![traditional[0]] };
        let mut notations = vec![
            ("PKCS#8 in PEM", std::fs::read(&key).expect("it was made")),
            ("PKCS#8 in DER", openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &key)),
            ("the traditional one", openssl(&traditional, &key)),
            ("encrypted, PBKDF2", openssl(&[&encrypted[..], &["-v2", "aes-256-cbc"]].concat(), &key)),
            (
                "encrypted, PBKDF2 with SHA-1",
                openssl(&[&encrypted[..], &["-v2", "aes128", "-v2prf", "hmacWithSHA1"]].concat(), &key),
            ),
            ("encrypted, 3DES", openssl(&[&encrypted[..], &["-v2", "des3"]].concat(), &key)),
            ("encrypted, scrypt", openssl(&[&encrypted[..], &["-scrypt"]].concat(), &key)),
            ("encrypted, in DER", openssl(&[&encrypted[..], &["-outform", "DER"]].concat(), &key)),
        ];
        if kind != "RSA" {
            // As Java writes them.
            notations.push(("without a public part", openssl(&["ec", "-no_public"], &key)));
            let curve = std::process::Command::new("openssl")
                .args(["ecparam", "-name", if kind == "P-256" { "prime256v1" } else { "secp384r1" }])
                .output()
                .expect("openssl starts")
                .stdout;
            notations.push(("after its parameters", [curve, openssl(&["ec"], &key)].concat()));
        }
        for (notation, bytes) in notations {
            let folder = Folder::new();
            let what = format!("{kind}, {notation}");
            folder.import_ca(&certificate, bytes, &[], false).unwrap_or_else(|error| panic!("{what}: {error:#}"));
            assert!(folder.read("ca.key").starts_with("-----BEGIN PRIVATE KEY-----"), "{what}");
            assert_issues(&folder, &what);
        }
    }
}

fn certificate_of(key: &std::path::Path) -> String {
    let arguments = [
        "req",
        "-x509",
        "-new",
        "-days",
        "3650",
        "-subj",
        "/CN=Site CA",
        "-addext",
        "keyUsage=critical,keyCertSign",
        "-key",
    ];
    common::stdout_of(std::process::Command::new("openssl").args(arguments).arg(key))
}

/// The root's key is not here. Servers present what is between their leaf and the root, in order, whatever order it came in.
#[test]
fn an_intermediate_issues_and_its_chain_is_presented() {
    let root = authority("Site Root", None, |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(2)));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let upper =
        authority_with("Upper CA", key, Some(&root), |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    let lower = authority("Lower CA", Some(&upper), |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let in_one_file = format!("{}{}{}", root.certificate, lower.certificate, upper.certificate);
    for (certificate, chain) in [
        (lower.certificate.as_str(), &[root.certificate.as_str(), &upper.certificate][..]),
        (&lower.certificate, &[&upper.certificate, &root.certificate]),
        (&in_one_file, &[]),
    ] {
        let folder = Folder::new();
        folder.import_ca(certificate, &lower.key, chain, false).expect("a good chain");
        assert_eq!(folder.read("ca.crt"), root.certificate.replace("\r\n", "\n"), "clients trust the root");
        assert!(!folder.has("ca.key"));
        assert_eq!(xtask::drivers::files::mode(&folder.path("issuer.key")), Some(0o600));
        assert_issues(&folder, "an intermediate");
        let presented = folder.read("mattermost/tls.crt");
        assert_eq!(presented.matches("BEGIN CERTIFICATE").count(), 3, "leaf, lower, upper");
        assert!(presented.ends_with(&format!("{}{}", lower.certificate, upper.certificate).replace("\r\n", "\n")));
        assert_eq!(certs::sans(&presented).expect("the leaf comes first").len(), 4);
        let (_, changes) = folder.try_ensure(&[LAN], true).expect("a renewal");
        assert_eq!(changes.len(), 2);
        assert_ne!(folder.read("mattermost/tls.crt"), presented);
        let leaf = folder.read("mattermost/tls.crt");
        assert_eq!(webpki_verifies(&folder.read("ca.crt"), &leaf, "192.168.1.10"), Ok(()));
    }
}

/// The intermediate is renewed with the same key: leaves stay good, but what is presented with them has changed.
#[test]
fn a_renewed_intermediate_is_presented() {
    let root = authority("Site Root", None, |_| {});
    let first = authority("Site CA", Some(&root), |_| {});
    let folder = Folder::new();
    folder.import_ca(&first.certificate, &first.key, &[&root.certificate], false).expect("a good chain");
    folder.ensure(&[LAN]);
    folder.rendered();
    let key = KeyPair::from_pem(&first.key).expect("a key");
    let second = authority_with("Site CA", key, Some(&root), |_| {});
    let imported = folder.import_ca(&second.certificate, &second.key, &[&root.certificate], false);
    assert!(!imported.expect("the root stays, so phones need not enrol").is_other_ca);
    let changes = folder.ensure(&[LAN]);
    assert!(changes.iter().all(|change| change.contains("its chain to the root had changed")), "{changes:?}");
    assert_eq!(changes.len(), 2);
    assert!(folder.read("mattermost/tls.crt").ends_with(&second.certificate.replace("\r\n", "\n")));
}

/// Phones have enrolled it: another one comes only when that is said, and nothing is lost.
#[test]
fn another_ca_is_replaced_only_when_asked_to() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let (own, own_key) = (folder.read("ca.crt"), folder.read("ca.key"));
    let root = authority("Site Root", None, |_| {});
    folder.rendered();
    let refused = folder.refused(|it| it.import_ca(&root.certificate, &root.key, &[], false));
    assert_eq!(
        refused,
        "certs/ca.crt is another CA, and clients may trust it already\n\
         hint: with --replace the new one takes its place; every phone has to enrol again, and every tool has to trust the new one\n"
    );
    assert!(folder.import_ca(&root.certificate, &root.key, &[], true).expect("it was asked for").is_other_ca);
    assert_eq!(folder.old(), ["ca.crt", "ca.key"]);
    let old = std::fs::read_dir(folder.path("old")).expect("a folder").flatten().next().expect("one").path();
    assert_eq!(std::fs::read_to_string(old.join("ca.crt")).expect("it was kept"), own);
    assert_eq!(std::fs::read_to_string(old.join("ca.key")).expect("it was kept"), own_key);
    assert_eq!(xtask::drivers::files::mode(&old.join("ca.key")), Some(0o600));
    let changes = folder.ensure(&[LAN]);
    assert!(changes.iter().all(|change| change.contains("another CA had signed it")), "{changes:?}");

    // An intermediate below the same root: its key takes the place of the root's.
    let below = authority("Site CA", Some(&root), |_| {});
    let imported = folder.import_ca(&below.certificate, &below.key, &[&root.certificate], false);
    assert!(!imported.expect("the root stays").is_other_ca);
    assert!(!folder.has("ca.key") && folder.has("issuer.key"));
    assert_issues(&folder, "an intermediate in place of a root");
    folder.import_ca(&root.certificate, &root.key, &[], false).expect("and back");
    assert!(folder.has("ca.key") && !folder.has("issuer.key") && !folder.has("issuer.crt"));
    assert_issues(&folder, "a root in place of an intermediate");
}

/// Before the stack was rendered nobody can have met its CA.
#[test]
fn a_ca_that_nobody_met_is_replaced_without_being_asked_to() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let root = authority("Site Root", None, |_| {});
    folder.import_ca(&root.certificate, &root.key, &[], false).expect("nobody met the other one");
    assert_eq!(folder.old(), ["ca.crt", "ca.key"]);
}

/// Whatever a crash in the middle of an import leaves is an error, and the import can be run again.
#[test]
fn half_an_import_is_an_error_until_it_is_done_again() {
    let root = authority("Site Root", None, |_| {});
    let below = authority("Site CA", Some(&root), |_| {});
    let import = |folder: &Folder| {
        folder.import_ca(&below.certificate, &below.key, &[&root.certificate], true).expect("a good chain");
    };
    let whole = Folder::new();
    import(&whole);
    let order = ["issuer.key", "issuer.crt", "ca.crt"];
    for written in 1..order.len() {
        let folder = Folder::new();
        folder.ensure(&[LAN]);
        for name in &order[..written] {
            folder.write(name, &whole.read(name));
        }
        let refusal = folder.refusal(&[LAN]);
        assert!(refusal.contains("issuer.crt"), "{refusal}");
        import(&folder);
        assert_issues(&folder, "the import again");
    }
}

/// iOS lists roots by their common name.
#[test]
fn a_root_without_a_common_name_is_a_warning() {
    let folder = Folder::new();
    let root = authority("", None, |it| {
        it.distinguished_name = rcgen::DistinguishedName::new();
        it.distinguished_name.push(rcgen::DnType::OrganizationName, "Site");
    });
    let imported = folder.import_ca(&root.certificate, &root.key, &[], false).expect("it works");
    assert!(imported.warnings[0].contains("O=Site has no common name: iPhones do not list it"), "{imported:?}");
    assert_issues(&folder, "a root without a common name");
}
