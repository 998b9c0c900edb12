//! CAs of others: what is taken, and what is refused with the key and a way out.

mod common;

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use time::{Duration, OffsetDateTime};
use xtask::trust;

/// A certificate that is good from a number of days on and for a number of days, from today.
fn certificate(is_ca: bool, from: i64, to: i64) -> (String, String) {
    let mut params = CertificateParams::default();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.not_before = OffsetDateTime::now_utc() + Duration::days(from);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(to);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

fn read(folder: &Path, files: &str) -> Result<trust::Trust, String> {
    let text = common::shipped_with(&[("extra_trust = []", &format!("extra_trust = {files}"))]);
    trust::read(&common::settings(&text), folder).map_err(|error| format!("{error}\nhint: {}", error.hint))
}

#[test]
fn certificates_of_every_file_are_taken_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [one, two, three] = [1, 2, 3].map(|_| certificate(true, -1, 1).0);
    let path = folder.path().join("two.pem");
    std::fs::write(folder.path().join("one.pem"), format!("# of GitLab\r\n{}", one.replace('\n', "\r\n")))
        .expect("written");
    std::fs::write(&path, format!("{two}\nsome words\n{three}")).expect("written");
    let taken = read(folder.path(), &format!("[\"one.pem\", {path:?}]")).expect("all are CAs");
    assert_eq!(taken.extra, format!("{one}{two}{three}").replace("\r\n", "\n"));
    assert_eq!(taken.postgres, None);
    assert_eq!(read(folder.path(), "[]").expect("nothing is named").extra, "");
}

#[test]
fn what_mattermost_could_not_use_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (good, key) = certificate(true, -1, 1);
    for (contents, expected) in [
        (
            None,
            "No such file or directory (os error 2)\nhint: name a PEM file; one without a leading / lies in the checkout",
        ),
        (Some("words".to_owned()), "holds no certificate\nhint: name a PEM file; `openssl x509 -inform der"),
        (Some(format!("{good}{key}")), "has a private key in it\nhint: name a file with the CA's certificate alone"),
        (Some(good.replacen("MII", "AAA", 1)), "has a certificate that is none\nhint: copy the file again"),
        (Some(good.replacen("-----END", "", 1)), "is broken PEM\nhint: copy the file again"),
        (
            Some(certificate(false, -1, 1).0),
            "CN=rcgen self signed cert is not a CA\nhint: name the file of the CA that signed it",
        ),
        (Some(certificate(true, -2, -1).0), "CN=rcgen self signed cert has run out: "),
        (Some(certificate(true, 1, 2).0), "CN=rcgen self signed cert begins later: "),
        // The second of two is looked at as well.
        (Some(format!("{good}{}", certificate(true, -2, -1).0)), "has run out: "),
    ] {
        let path = folder.path().join("ca.pem");
        std::fs::remove_file(&path).ok();
        if let Some(contents) = contents {
            std::fs::write(&path, contents).expect("written");
        }
        let error = read(folder.path(), "[\"ca.pem\"]").expect_err(expected);
        let expected = format!("stack.toml: certificates.extra_trust: {}: {expected}", path.display());
        let expected = if error.contains("has run out") { "has run out: " } else { &expected };
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}

#[test]
fn the_ca_of_an_existing_postgresql_is_looked_at_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = common::shipped_with(&[("external = \"\"", "external = \"db:5432\""), ("ca = \"\"", "ca = \"db.pem\"")]);
    let settings = common::settings(&text);
    let error = trust::read(&settings, folder.path()).expect_err("it is not there").to_string();
    assert!(error.starts_with("stack.toml: postgres.ca: "), "{error}");
    let (good, _) = certificate(true, -1, 1);
    std::fs::write(folder.path().join("db.pem"), &good).expect("written");
    let taken = trust::read(&settings, folder.path()).expect("a CA");
    assert_eq!(taken.postgres.map(|text| text.lines().count()), Some(good.lines().count()));
}
