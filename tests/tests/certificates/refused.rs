//! What cannot be imported, each with the whole message: what is wrong, and what would be right.

use std::net::Ipv4Addr;
use std::process::Command;

use expect_test::{Expect, expect};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, PKCS_ED25519,
};
use time::{Date, Duration, Month, OffsetDateTime};

use crate::pki::{Made, authority, authority_with, openssl};
use crate::{Folder, LAN, common, openssl_is_here};

fn date(year: i32, month: Month, day: u8) -> OffsetDateTime {
    Date::from_calendar_date(year, month, day).expect("a date").midnight().assume_utc()
}

fn assert_refused(made: &Made, chain: &[&str], expected: Expect) {
    let folder = Folder::new();
    expected.assert_eq(&folder.refused(|it| it.import_ca(&made.certificate, &made.key, chain, false)));
}

#[test]
fn a_certificate_that_is_no_ca_for_servers() {
    let odd = |adjust: fn(&mut CertificateParams)| authority("Site CA", None, adjust);
    assert_refused(
        &odd(|it| it.is_ca = IsCa::ExplicitNoCa),
        &[],
        expect![[r#"
            CA.pem: CN=Site CA is not a CA: it has no CA:TRUE
            hint: name the certificate of a CA
        "#]],
    );
    assert_refused(
        &odd(|it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        &[],
        expect![[r#"
            CA.pem: CN=Site CA may not sign certificates: its key usage has no keyCertSign
            hint: it needs keyCertSign in its key usage: ask for a CA certificate
        "#]],
    );
    assert_refused(
        &odd(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]),
        &[],
        expect![[r#"
            CA.pem: CN=Site CA may not sign for servers: its extended key usage has no serverAuth
            hint: ask for a CA certificate without an extended key usage, or with serverAuth in it
        "#]],
    );
    assert_refused(
        &odd(|it| it.not_after = date(2024, Month::March, 1)),
        &[],
        expect![[r#"
            CA.pem: CN=Site CA has run out, on 2024-03-01
            hint: name the one that followed it
        "#]],
    );
    assert_refused(
        &odd(|it| (it.not_before, it.not_after) = (date(2090, Month::March, 1), date(2099, Month::March, 1))),
        &[],
        expect![[r#"
            CA.pem: CN=Site CA is not valid before 2090-03-01
            hint: look at this host's clock, or name the one that is in use today
        "#]],
    );
}

#[test]
fn a_chain_that_does_not_hold() {
    let root = authority("Site Root", None, |_| {});
    let other_root = authority("Site Root", None, |_| {});
    let middle = authority("Middle CA", Some(&root), |_| {});
    let below = authority("Site CA", Some(&middle), |_| {});
    assert_refused(
        &below,
        &[],
        expect![[r#"
            CA.pem: CN=Site CA: the certificate of its issuer is missing: CN=Middle CA
            hint: give that certificate too, and every one above it up to the root: in the same file, or for a CA with --chain
        "#]],
    );
    assert_refused(
        &below,
        &[&middle.certificate],
        expect![[r#"
            CHAIN0.pem: CN=Middle CA: the certificate of its issuer is missing: CN=Site Root
            hint: give that certificate too, and every one above it up to the root: in the same file, or for a CA with --chain
        "#]],
    );
    assert_refused(
        &below,
        &[&other_root.certificate, &middle.certificate],
        expect![[r#"
            CHAIN1.pem: CN=Middle CA: its signature is not of CN=Site Root in CHAIN0.pem
            hint: there is another CA of this name: name the file of the one that signed it
        "#]],
    );

    let narrow = authority("Site Root", None, |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = authority("Site CA", Some(&narrow), |_| {});
    assert_refused(
        &below,
        &[&narrow.certificate],
        expect![[r#"
            CHAIN0.pem: CN=Site Root allows 0 CAs below it (pathlen), and here it has 1
            hint: ask for a CA whose issuers allow it: pathlen counts the CAs below
        "#]],
    );

    // Two that sign each other lead nowhere.
    let first = authority("First", Some(&authority("Second", None, |_| {})), |_| {});
    let (key, first_key) = (KeyPair::generate().expect("a key"), KeyPair::from_pem(&first.key).expect("a key"));
    let second = authority_with("Second", key, Some(&first), |_| {});
    let first = authority_with("First", first_key, Some(&second), |_| {});
    assert_refused(
        &first,
        &[&second.certificate, &first.certificate],
        expect![[r#"
            CA.pem: CN=First: the chain does not end
            hint: leave out the certificates that sign each other
        "#]],
    );
}

/// What lies in force of any CA of the chain; clients refuse the leaf for it after a green run.
#[test]
fn names_that_a_ca_of_the_chain_may_not_sign_for() {
    let domain = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let network = |octets: [u8; 4], prefix: u8| GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(octets, prefix));
    let constrained = |permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>| {
        let constraints = NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded };
        authority("Site Root", None, move |it| it.name_constraints = Some(constraints))
    };
    let refused = |root: &Made, expected: Expect| {
        let below = authority("Site CA", Some(root), |_| {});
        assert_refused(&below, &[&root.certificate], expected);
    };
    refused(
        &constrained(Vec::new(), vec![domain("local")]),
        expect![[r#"
            mattermost.cicd.local lies outside of what CN=Site Root may sign for (CHAIN0.pem): it excludes local
            hint: that CA was made for another domain or network; import one that may (`cargo xtask certs import ca`), or move the CA's files in certs/ away for a new one, and enrol phones again
        "#]],
    );
    refused(
        &constrained(Vec::new(), vec![network([192, 168, 0, 0], 16)]),
        expect![[r#"
            192.168.1.10 lies outside of what CN=Site Root may sign for (CHAIN0.pem): it excludes 192.168.0.0/16
            hint: that CA was made for another domain or network; import one that may (`cargo xtask certs import ca`), or move the CA's files in certs/ away for a new one, and enrol phones again
        "#]],
    );
    refused(
        &constrained(vec![domain("example.org"), domain("localhost")], Vec::new()),
        expect![[r#"
            mattermost.cicd.local lies outside of what CN=Site Root may sign for (CHAIN0.pem): it permits example.org, localhost
            hint: that CA was made for another domain or network; import one that may (`cargo xtask certs import ca`), or move the CA's files in certs/ away for a new one, and enrol phones again
        "#]],
    );
    refused(
        &constrained(vec![network([127, 0, 0, 0], 8), network([10, 0, 0, 0], 8)], Vec::new()),
        expect![[r#"
            192.168.1.10 lies outside of what CN=Site Root may sign for (CHAIN0.pem): it permits 127.0.0.0/8, 10.0.0.0/8
            hint: that CA was made for another domain or network; import one that may (`cargo xtask certs import ca`), or move the CA's files in certs/ away for a new one, and enrol phones again
        "#]],
    );
    // Every way of permitting them.
    for permitted in [vec![domain("cicd.local"), domain("localhost")], vec![network([0, 0, 0, 0], 0)]] {
        let root = constrained(permitted, vec![domain("example.org"), network([192, 168, 2, 0], 24)]);
        let below = authority("Site CA", Some(&root), |_| {});
        let folder = Folder::new();
        folder.import_ca(&below.certificate, &below.key, &[&root.certificate], false).expect("it may sign for all");
        folder.ensure(&[LAN]);
        let (root, leaf) = (folder.read("ca.crt"), folder.read("mattermost/tls.crt"));
        assert_eq!(crate::webpki_verifies(&root, &leaf, "192.168.1.10"), Ok(()));
        let refusal = folder.refusal(&[LAN, Ipv4Addr::new(192, 168, 2, 7)]);
        assert!(refusal.contains("192.168.2.7 lies outside of what CN=Site Root may sign for"), "{refusal}");
    }
}

/// The notation with a leading dot means what is below a domain; ours must see it as clients do.
#[test]
fn a_domain_with_a_leading_dot_means_what_is_below_it() {
    let below =
        vec![GeneralSubtree::DnsName(".cicd.local".to_owned()), GeneralSubtree::DnsName("localhost".to_owned())];
    let constraints = NameConstraints { permitted_subtrees: below, excluded_subtrees: Vec::new() };
    let root = authority("Site Root", None, move |it| it.name_constraints = Some(constraints));
    let folder = Folder::new();
    folder.import_ca(&root.certificate, &root.key, &[], false).expect("it may sign for all");
    folder.ensure(&[LAN]);
    let leaf = folder.read("mattermost/tls.crt");
    assert_eq!(crate::webpki_verifies(&folder.read("ca.crt"), &leaf, "mattermost.cicd.local"), Ok(()));
}

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

/// A CA below an Active Directory may sign for subjects of its organisation only, and ours have none.
#[test]
fn a_ca_that_constrains_subjects() {
    let mut organisation = rcgen::DistinguishedName::new();
    organisation.push(rcgen::DnType::OrganizationName, "Site");
    let constraints = NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DirectoryName(organisation)],
        excluded_subtrees: Vec::new(),
    };
    let root = authority("Site Root", None, move |it| it.name_constraints = Some(constraints));
    assert_refused(
        &root,
        &[],
        expect![[r#"
            CA.pem: CN=Site Root may sign for certain subjects only (a directoryName in its name constraints)
            hint: certificates that are issued here have a common name for a subject: ask for a CA without that, or for ready-made leaves
        "#]],
    );
}

/// A leaf never outlives the first CA of its chain to end.
#[test]
fn the_first_ca_of_a_chain_to_end_ends_the_leaf() {
    let end = OffsetDateTime::now_utc() + Duration::days(100);
    let root = authority("Site Root", None, |it| it.not_after = end);
    let below = authority("Site CA", Some(&root), |_| {});
    let folder = Folder::new();
    folder.import_ca(&below.certificate, &below.key, &[&root.certificate], false).expect("a good chain");
    folder.ensure(&[LAN]);
    let ends = xtask::certs::not_after(&folder.read("mattermost/tls.crt")).expect("a certificate");
    assert!(ends <= end);
    assert_eq!(folder.ensure(&[LAN]), Vec::<String>::new());
}

/// The setting says that somebody else issues: a CA of our own would be a CA that nobody uses.
#[test]
fn a_ca_for_a_stack_whose_leaves_are_external() {
    let settings = common::shipped_with(&[("issuer = \"own\"", "issuer = \"external\"")]);
    let folder = Folder::with(common::settings(&settings));
    let root = authority("Site Root", None, |_| {});
    expect![[r#"
        certificates.issuer in stack.toml is "external"
        hint: set it to "own" to have certificates issued here, or import leaves: `cargo xtask certs import leaf`
    "#]]
    .assert_eq(&folder.refused(|it| it.import_ca(&root.certificate, &root.key, &[], false)));
}
