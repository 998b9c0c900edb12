//! The truststore, as Java reads it.

use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use xtask::connect::jenkins::files;

fn certificate(name: &str) -> Vec<u8> {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new([name.to_owned()]).expect("a name");
    parameters.self_signed(&key).expect("a certificate").der().to_vec()
}

#[test]
fn java_takes_every_certificate_for_a_trusted_one() {
    if Command::new("keytool").arg("-help").output().is_err() {
        eprintln!("SKIPPED: java_takes_every_certificate_for_a_trusted_one: there is no `keytool` on this machine");
        return;
    }
    let (ours, tool, system) = (certificate("ours"), certificate("tool"), certificate("system"));
    // One that is there twice is one entry.
    let file = files::truststore(&ours, std::slice::from_ref(&tool), &[system, tool.clone()]);
    assert!(files::is_ours("x.p12", &file.contents));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("truststore.p12");
    std::fs::write(&path, &file.contents).expect("writable");
    // The password is conventional: the file needs none.
    for password in [&["-storepass", "changeit"][..], &["-storepass", "anything"]] {
        let mut command = Command::new("keytool");
        command.args(["-list", "-storetype", "PKCS12", "-keystore"]).arg(&path).args(password);
        let text = crate::common::stdout_of(command.env("LC_ALL", "C"));
        assert_eq!(text.matches("trustedCertEntry").count(), 3, "{text}");
        for alias in ["command-center", "tool-0", "system-1"] {
            assert!(text.contains(&format!("{alias}, ")), "{alias} is not in {text}");
        }
    }
}

#[test]
fn it_is_the_same_for_the_same_certificates() {
    let none: [Vec<u8>; 0] = [];
    let ours = certificate("ours");
    assert_eq!(files::truststore(&ours, &none, &none), files::truststore(&ours, &none, &none));
    assert!(!files::is_ours("x.p12", b"somebody else's"));
}
