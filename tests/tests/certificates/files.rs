//! Files that hold something else than what is asked for, and keys that clients would refuse.

use std::process::Command;

use expect_test::{Expect, expect};
use rcgen::{KeyPair, PKCS_ED25519};

use crate::pki::{authority, authority_with, openssl};
use crate::{Folder, common, openssl_is_here};

#[test]
fn files_that_are_something_else() {
    let root = authority("Site Root", None, |_| {});
    let other = authority("Other Root", None, |_| {});
    let refused = |certificate: &str, key: &str, expected: Expect| {
        let folder = Folder::new();
        expected.assert_eq(&folder.refused(|it| it.import_ca(certificate, key, &[], false)));
    };
    refused(
        "hello",
        &root.key,
        expect![[r#"
            CA.pem has no certificate: it is neither PEM nor DER
            hint: of a PKCS#7 bundle, `openssl pkcs7 -inform der -print_certs -in CA.pem -out CA.pem.pem` makes PEM
        "#]],
    );
    refused(
        &root.key,
        &root.key,
        expect![[r#"
            CA.pem has no certificate, but PRIVATE KEY
            hint: name the file of the certificate
        "#]],
    );
    refused(
        &root.certificate.replace("CERTIFICATE", "PKCS7"),
        &root.key,
        expect![[r#"
            CA.pem is a PKCS#7 bundle
            hint: `openssl pkcs7 -print_certs -in CA.pem -out CA.pem.pem` makes one that can be read
        "#]],
    );
    refused(
        &root.certificate.replace("\nMI", "\n"),
        &root.key,
        expect![[r#"
            CA.pem has a certificate that is broken
            hint: copy the file again, as a whole
        "#]],
    );
    refused(
        &root.certificate,
        "hello",
        expect![[r#"
            CA.key is no private key: it is neither PEM nor PKCS#8 in DER
            hint: of a PKCS#12 file (.p12, .pfx), `openssl pkcs12 -in CA.key -nocerts -out KEY.pem` makes one
        "#]],
    );
    refused(
        &root.certificate,
        &root.certificate,
        expect![[r#"
            CA.key has no private key that can be used, but CERTIFICATE
            hint: name the file of the key: PKCS#8, SEC 1 or PKCS#1 in PEM, or PKCS#8 in DER
        "#]],
    );
    refused(
        &root.certificate,
        &root.key[..100],
        expect![[r#"
            CA.key is broken PEM
            hint: copy the file again, as a whole
        "#]],
    );
    refused(
        &root.certificate,
        &other.key,
        expect![[r#"
            CA.key does not belong to CA.pem
            hint: name the key that the certificate was made for
        "#]],
    );
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let made = authority_with("Site Root", ed25519, None, |_| {});
    refused(
        &made.certificate,
        &made.key,
        expect![[r#"
            CA.key is an Ed25519 key, which iPhones do not take
            hint: use RSA of 2048 to 4096 bits, ECDSA P-256 or P-384
        "#]],
    );
    let folder = Folder::new();
    let folder = folder.refused(|it| {
        let target = |target: &xtask::certs::import::Target<'_>| {
            let files = xtask::certs::import::AuthorityFiles {
                certificate: target.root.join("nowhere.pem"),
                key: target.root.join("nowhere.key"),
                chain: Vec::new(),
            };
            xtask::certs::import::authority(target, &files, |_| panic!("no passphrase is asked for"))
        };
        it.with_target(false, target)
    });
    expect![[r#"
        cannot read nowhere.pem: No such file or directory (os error 2)
        hint: name a file that is there
    "#]]
    .assert_eq(&folder);
}

/// What openssl makes and nobody should use, or what an old openssl made.
#[test]
fn keys_that_are_weak_or_of_an_odd_kind() {
    if !openssl_is_here("weak keys") {
        return;
    }
    let folder = Folder::new();
    let made = |name: &str, arguments: &[&str]| {
        let path = folder.given(name, "");
        let output = Command::new("openssl").args(arguments).arg("-out").arg(&path).output().expect("openssl starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        path
    };
    let certificate = |key: &std::path::Path, digest: &str| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-new", "-days", "3650", "-subj", "/CN=Site CA", digest, "-key"]).arg(key);
        common::stdout_of(&mut command)
    };
    let refused = |certificate: &str, key: &[u8], expected: Expect| {
        expected.assert_eq(&folder.refused(|it| it.import_ca(certificate, key, &[], false)));
    };
    let read = |path: &std::path::Path| std::fs::read(path).expect("it was made");
    let small = made("small.key", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    refused(
        &certificate(&small, "-sha256"),
        &read(&small),
        expect![[r#"
            CA.key is an RSA key of 1024 bits that cannot be used here
            hint: use RSA of 2048 to 4096 bits, ECDSA P-256 or P-384
        "#]],
    );
    let p521 = made("p521.key", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    refused(
        &certificate(&p521, "-sha256"),
        &read(&p521),
        expect![[r#"
            CA.key is an ECDSA key on another curve than P-256 and P-384
            hint: use RSA of 2048 to 4096 bits, ECDSA P-256 or P-384
        "#]],
    );
    let good = made("good.key", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let its_certificate = certificate(&good, "-sha256");
    let old = openssl(&["rsa", "-traditional", "-aes128", "-passout", "pass:x"], &good);
    refused(
        &its_certificate,
        &old,
        expect![[r#"
            CA.key is encrypted in the old notation of PEM (Proc-Type: 4,ENCRYPTED), which is weak
            hint: `openssl pkcs8 -topk8 -v2 aes256 -in CA.key -out KEY.pem` makes one that can be read, and is safer
        "#]],
    );
    let pbes1 = openssl(&["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-passout", "pass:x"], &good);
    refused(
        &its_certificate,
        &pbes1,
        expect![[r#"
            CA.key is encrypted in a way that is not known here: only PBES2 with AES or 3DES is
            hint: `openssl pkcs8 -topk8 -v2 aes256 -in CA.key -out KEY.pem` makes one that can be read, and is safer
        "#]],
    );
    let other_passphrase = openssl(&["pkcs8", "-topk8", "-passout", "pass:another"], &good);
    refused(
        &its_certificate,
        &other_passphrase,
        expect![[r#"
            the passphrase does not open CA.key
            hint: give the one that the key was encrypted with
        "#]],
    );

    // A root may be signed with SHA-1, nobody verifies that; what is below it may not.
    let sha1 = certificate(&good, "-sha1");
    Folder::new().import_ca(&sha1, read(&good), &[], false).expect("an old root is good");
    let root = folder.given("root.pem", &sha1);
    let extensions = folder.given("extensions", "basicConstraints=critical,CA:TRUE\n");
    let below = made("below.key", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let request = made("below.csr", &["req", "-new", "-subj", "/CN=Below", "-key", &below.to_string_lossy()]);
    let signed = openssl(
        &[
            "x509",
            "-req",
            "-sha1",
            "-days",
            "30",
            "-CA",
            &root.to_string_lossy(),
            "-CAkey",
            &good.to_string_lossy(),
            "-set_serial",
            "7",
            "-extfile",
            &extensions.to_string_lossy(),
        ],
        &request,
    );
    let refusal = folder.refused(|it| it.import_ca(&String::from_utf8_lossy(&signed), read(&below), &[&sha1], false));
    expect![[r#"
        CA.pem: CN=Below is signed with SHA-1 or MD5, which clients refuse
        hint: ask for one with SHA-256
    "#]]
    .assert_eq(&refusal);
}
