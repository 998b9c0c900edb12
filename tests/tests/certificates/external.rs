//! Leaves that the site's CA issued, whose key never came here.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use expect_test::{Expect, expect};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints,
};
use time::{Duration, OffsetDateTime};
use xtask::certs::{self, import};

use crate::pki::{Made, authority, leaf, self_signed};
use crate::{Folder, LAN, common, webpki_verifies};

const NAMES: &[&str] = &["mattermost.cicd.local", "192.168.1.10"];

fn folder() -> Folder {
    Folder::with(common::settings(&common::shipped_with(&[("issuer = \"own\"", "issuer = \"external\"")])))
}

/// Root, issuer, and a folder with the leaf of PostgreSQL in it.
fn site() -> (Folder, Made, Made) {
    let root = authority("Site Root", None, |_| {});
    let issuer = authority("Site CA", Some(&root), |_| {});
    let postgres = leaf(&["postgres.cicd.local"], &issuer, |_| {});
    let folder = folder();
    let chain = format!("{}{}", postgres.certificate, issuer.certificate);
    folder.import_leaf("postgres", &chain, Some(&postgres.key), Some(&root.certificate), false).expect("a good leaf");
    (folder, root, issuer)
}

#[test]
fn an_imported_leaf_is_presented_with_its_chain() {
    let (folder, root, issuer) = site();
    let made = leaf(NAMES, &issuer, |_| {});
    // In any order, and with a root that no server has to present.
    let bundle = format!("{}{}{}", root.certificate, issuer.certificate, made.certificate);
    folder.import_leaf("mattermost", &bundle, Some(&made.key), None, false).expect("a good leaf");
    let (certificates, changes) = folder.try_ensure(&[LAN], false).expect("everything is there");
    assert_eq!(changes, Vec::<String>::new(), "nothing is ever issued");
    assert_eq!(certificates.mattermost.matches("BEGIN CERTIFICATE").count(), 2, "leaf and issuer");
    assert_eq!(xtask::drivers::files::mode(&folder.path("mattermost/tls.key")), Some(0o600));
    assert!(!folder.has("ca.key") && !folder.has("issuer.key"));
    for name in NAMES {
        assert_eq!(webpki_verifies(&certificates.ca, &certificates.mattermost, name), Ok(()), "{name}");
    }
}

/// A wildcard covers one label. Clients take it, so it is taken here.
#[test]
fn a_wildcard_covers_a_name() {
    let (folder, _, issuer) = site();
    let made = leaf(&["*.cicd.local", "192.168.1.10"], &issuer, |_| {});
    let bundle = format!("{}{}", made.certificate, issuer.certificate);
    folder.import_leaf("mattermost", &bundle, Some(&made.key), None, false).expect("a good leaf");
    folder.try_ensure(&[LAN], false).expect("everything is there");
    let wanted = |name: &str| BTreeSet::from([certs::San::Dns(name.to_owned())]);
    let covered = wanted("*.cicd.local");
    assert!(certs::uncovered(&wanted("a.cicd.local"), &covered).is_empty());
    for name in ["cicd.local", "a.b.cicd.local", "a.other.local"] {
        assert_eq!(certs::uncovered(&wanted(name), &covered), wanted(name), "{name}");
    }
}

/// `up` says all of it at once: which are missing, and what each must cover.
#[test]
fn what_is_missing_is_said_with_every_name() {
    let nothing = folder();
    let shown = |folder: &Folder, lan: &[Ipv4Addr], renew: bool| {
        let before = folder.every_file();
        let error = folder.try_ensure(lan, renew).expect_err("a leaf is missing");
        assert_eq!(folder.every_file(), before, "nothing is issued");
        folder.shown(&error)
    };
    expect![[r#"
        certificates that your CA has to issue are missing or do not fit:
          mattermost: certs/ca.crt is not there
          postgres: certs/ca.crt is not there
        hint: that of mattermost must cover mattermost.cicd.local, 192.168.1.10 (`cargo xtask certs request mattermost` writes a request for your CA, `cargo xtask certs import leaf mattermost` brings in its answer); that of postgres must cover postgres.cicd.local (`cargo xtask certs request postgres` writes a request for your CA, `cargo xtask certs import leaf postgres` brings in its answer)
    "#]]
    .assert_eq(&shown(&nothing, &[LAN], false));

    let (folder, _, issuer) = site();
    let made = leaf(NAMES, &issuer, |_| {});
    let bundle = format!("{}{}", made.certificate, issuer.certificate);
    folder.import_leaf("mattermost", &bundle, Some(&made.key), None, false).expect("a good leaf");
    // The host got another address.
    expect![[r#"
        certificates that your CA has to issue are missing or do not fit:
          mattermost: certs/mattermost/tls.crt: CN=a server of the site does not cover 192.168.1.11; it covers mattermost.cicd.local, 192.168.1.10
        hint: that of mattermost must cover mattermost.cicd.local, 192.168.1.10, 192.168.1.11 (`cargo xtask certs request mattermost` writes a request for your CA, `cargo xtask certs import leaf mattermost` brings in its answer)
    "#]]
    .assert_eq(&shown(&folder, &[LAN, Ipv4Addr::new(192, 168, 1, 11)], false));
    expect![[r#"
        nothing can be renewed here: certificates.issuer in stack.toml is "external"
        hint: `cargo xtask certs request mattermost` or `postgres` writes a request for your CA; `cargo xtask certs import leaf` brings in the answer
    "#]]
    .assert_eq(&shown(&folder, &[LAN], true));
    let key = folder.read("mattermost/tls.key");
    folder.write("mattermost/tls.key", &folder.read("postgres/tls.key"));
    expect![[r#"
        certificates that your CA has to issue are missing or do not fit:
          mattermost: certs/mattermost/tls.key does not belong to certs/mattermost/tls.crt
        hint: that of mattermost must cover mattermost.cicd.local, 192.168.1.10 (`cargo xtask certs request mattermost` writes a request for your CA, `cargo xtask certs import leaf mattermost` brings in its answer)
    "#]]
    .assert_eq(&shown(&folder, &[LAN], false));
    folder.write("mattermost/tls.key", &key);
    folder.write("ca.crt", &authority("Site Root", None, |_| {}).certificate);
    expect![[r#"
        certificates that your CA has to issue are missing or do not fit:
          mattermost: certs/mattermost/tls.crt: CN=Site CA: its signature is not of CN=Site Root in certs/ca.crt
          postgres: certs/postgres/tls.crt: CN=Site CA: its signature is not of CN=Site Root in certs/ca.crt
        hint: that of mattermost must cover mattermost.cicd.local, 192.168.1.10 (`cargo xtask certs request mattermost` writes a request for your CA, `cargo xtask certs import leaf mattermost` brings in its answer); that of postgres must cover postgres.cicd.local (`cargo xtask certs request postgres` writes a request for your CA, `cargo xtask certs import leaf postgres` brings in its answer)
    "#]]
    .assert_eq(&shown(&folder, &[LAN], false));
}

fn assert_refused(made: &Made, with: &[&Made], expected: Expect) {
    let (folder, _, _) = site();
    let bundle: String = [made].iter().chain(with).map(|it| it.certificate.as_str()).collect();
    expected.assert_eq(&folder.refused(|it| it.import_leaf("mattermost", &bundle, Some(&made.key), None, false)));
}

#[test]
fn a_leaf_that_clients_would_refuse() {
    // Every one of these is below the root that `folder` trusts.
    let (folder, _, issuer) = site();
    let refused = |names: &[&str], adjust: fn(&mut CertificateParams), expected: Expect| {
        let made = leaf(names, &issuer, adjust);
        let bundle = format!("{}{}", made.certificate, issuer.certificate);
        expected.assert_eq(&folder.refused(|it| it.import_leaf("mattermost", &bundle, Some(&made.key), None, false)));
    };
    refused(
        &["mattermost.cicd.local", "192.168.1.9"],
        |_| {},
        expect![[r#"
        LEAF.pem: CN=a server of the site does not cover 192.168.1.10; it covers mattermost.cicd.local, 192.168.1.9
        hint: ask your CA for one with the SANs mattermost.cicd.local, 192.168.1.10
    "#]],
    );
    refused(
        &[],
        |_| {},
        expect![[r#"
        LEAF.pem: CN=a server of the site does not cover mattermost.cicd.local, 192.168.1.10; it covers no name at all
        hint: ask your CA for one with the SANs mattermost.cicd.local, 192.168.1.10
    "#]],
    );
    refused(
        NAMES,
        |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        expect![[r#"
        LEAF.pem: CN=a server of the site is not for servers: its extended key usage has no serverAuth
        hint: ask your CA for a certificate of a TLS server, with serverAuth in its extended key usage
    "#]],
    );
    refused(
        NAMES,
        |it| it.extended_key_usages.clear(),
        expect![[r#"
        LEAF.pem: CN=a server of the site is not for servers: its extended key usage has no serverAuth
        hint: ask your CA for a certificate of a TLS server, with serverAuth in its extended key usage
    "#]],
    );
    refused(
        NAMES,
        |it| it.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
        expect![[r#"
        LEAF.pem: CN=a server of the site cannot be used for TLS: its key usage has no digitalSignature
        hint: ask your CA for a certificate of a TLS server, with digitalSignature in its key usage
    "#]],
    );
    refused(
        NAMES,
        |it| it.not_after = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000),
        expect![[r#"
        LEAF.pem: CN=a server of the site has run out, on 2024-10-04
        hint: name the one that followed it
    "#]],
    );
    refused(
        NAMES,
        |it| it.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
        expect![[r#"
        LEAF.pem has no server's certificate, only those of CAs
        hint: name the file with the leaf in it
    "#]],
    );
}

#[test]
fn a_leaf_whose_chain_does_not_hold() {
    let other = authority("Other Root", None, |_| {});
    assert_refused(
        &leaf(NAMES, &other, |_| {}),
        &[],
        expect![[r#"
        LEAF.pem: CN=a server of the site: the certificate of its issuer is missing: CN=Other Root
        hint: give that certificate too, and every one above it up to the root: in the same file, or for a CA with --chain
    "#]],
    );
    assert_refused(
        &leaf(NAMES, &other, |_| {}),
        &[&other],
        expect![[r#"
        LEAF.pem: CN=a server of the site leads to CN=Other Root, which is not the CA in certs/ca.crt
        hint: name the root that it leads to with --ca ROOT.pem, or ask for a certificate of the right CA
    "#]],
    );

    let constraints = NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
    };
    let narrow = authority("Narrow Root", None, move |it| it.name_constraints = Some(constraints));
    let made = leaf(&[NAMES, &["www.example.org"]].concat(), &narrow, |_| {});
    let folder = folder();
    let refusal = folder.refused(|it| {
        it.import_leaf("mattermost", &made.certificate, Some(&made.key), Some(&narrow.certificate), false)
    });
    expect![[r#"
        LEAF.pem: www.example.org lies outside of what CN=Narrow Root may sign for (ROOT.pem): it excludes example.org
        hint: ask for one from a CA that may sign for it
    "#]]
    .assert_eq(&refusal);
}

#[test]
fn a_leaf_that_signs_itself() {
    let made = self_signed(NAMES);
    let refusal = folder()
        .refused(|it| it.import_leaf("mattermost", &made.certificate, Some(&made.key), Some(&made.certificate), false));
    expect![[r#"
        LEAF.pem: CN=a server of the site signs itself
        hint: phones take no certificate that is its own issuer: have a CA sign it
    "#]]
    .assert_eq(&refusal);
}

#[test]
fn a_leaf_whose_key_is_another() {
    let (folder, _, issuer) = site();
    let (made, other) = (leaf(NAMES, &issuer, |_| {}), leaf(NAMES, &issuer, |_| {}));
    let bundle = format!("{}{}", made.certificate, issuer.certificate);
    expect![[r#"
        LEAF.key does not belong to LEAF.pem
        hint: name the key that the certificate was made for
    "#]]
    .assert_eq(&folder.refused(|it| it.import_leaf("mattermost", &bundle, Some(&other.key), None, false)));
    expect![[r#"
        LEAF.pem: CN=a server of the site is for another key than those that are kept here
        hint: name its key with --key, or let your CA sign what `cargo xtask certs request mattermost` writes
    "#]]
    .assert_eq(&folder.refused(|it| it.import_leaf("mattermost", &bundle, None, None, false)));
    expect![[r#"
        there is no certs/ca.crt yet
        hint: name the root that your clients trust with --ca ROOT.pem
    "#]]
    .assert_eq(&self::folder().refused(|it| it.import_leaf("mattermost", &bundle, Some(&made.key), None, false)));
}

#[test]
fn what_clients_may_dislike_is_a_warning() {
    let root = authority("Site Root", None, |it| it.not_after = OffsetDateTime::now_utc() + Duration::days(5000));
    let folder = folder();
    let long = leaf(NAMES, &root, |it| it.not_after = OffsetDateTime::now_utc() + Duration::days(900));
    let imported = folder.import_leaf("mattermost", &long.certificate, Some(&long.key), Some(&root.certificate), false);
    let warnings = imported.expect("a good leaf").warnings;
    assert_eq!(
        warnings,
        [format!(
            "{}: CN=a server of the site is good for 901 days; iPhones refuse more than 825",
            folder.folder.path().join("LEAF.pem").display()
        )]
    );
    let short =
        leaf(NAMES, &root, |it| it.not_after = OffsetDateTime::now_utc() + Duration::days(10) + Duration::hours(1));
    let imported = folder.import_leaf("mattermost", &short.certificate, Some(&short.key), None, false);
    let warnings = imported.expect("a good leaf").warnings;
    assert!(warnings[0].contains("runs out in 10 days: `cargo xtask certs request mattermost`"), "{warnings:?}");
}

/// The key never leaves the host, and stays the same until the answer is there: an earlier request may be with the CA.
#[test]
fn a_request_has_every_name_and_its_answer_needs_no_key() {
    let (folder, _, issuer) = site();
    let request = |folder: &Folder| {
        folder.with_target(false, |target| {
            let wanted = import::wanted(target, "mattermost").expect("this stack has one");
            certs::request(target.root, wanted).expect("a request")
        })
    };
    let first = request(&folder);
    assert_eq!(first.names(), "mattermost.cicd.local, 192.168.1.10");
    assert_eq!(folder.read("mattermost/tls.csr"), first.pem);
    assert_eq!(xtask::drivers::files::mode(&folder.path("mattermost/request.key")), Some(0o600));
    let key = folder.read("mattermost/request.key");
    let second = request(&folder);
    assert_eq!(folder.read("mattermost/request.key"), key);

    // A certificate for another key in the meantime: the request may still be answered.
    let other = leaf(NAMES, &issuer, |_| {});
    let bundle = format!("{}{}", other.certificate, issuer.certificate);
    folder.import_leaf("mattermost", &bundle, Some(&other.key), None, false).expect("a good leaf");
    assert_eq!(folder.read("mattermost/request.key"), key);

    // As a CA does: the names of the request, and what it knows of servers.
    let params = CertificateSigningRequestParams::from_pem(&second.pem).expect("a request with its own signature");
    let mut params = params;
    assert_eq!(params.params.subject_alt_names.len(), 2);
    params.params.not_after = OffsetDateTime::now_utc() + Duration::days(90);
    let answer = params.signed_by(&issuer.issuer).expect("a signature").pem();
    let bundle = format!("{answer}{}", issuer.certificate);
    folder.import_leaf("mattermost", &bundle, None, None, false).expect("the key is the kept one");
    assert_eq!(folder.read("mattermost/tls.key"), key);
    assert!(!folder.has("mattermost/request.key") && !folder.has("mattermost/tls.csr"));
    folder.try_ensure(&[LAN], false).expect("everything is there");

    // A certificate that follows for the key in use.
    folder.import_leaf("mattermost", &bundle, None, None, false).expect("the key is the one in use");
    assert_eq!(folder.read("mattermost/tls.key"), key);
}

/// Where leaves are issued here, an imported one would be gone with the next run.
#[test]
fn a_leaf_for_a_stack_that_issues_its_own() {
    let root = authority("Site Root", None, |_| {});
    let made = leaf(NAMES, &root, |_| {});
    expect![[r#"
        certificates.issuer in stack.toml is "own"
        hint: set it to "external" first: what is imported would be issued again here
    "#]]
    .assert_eq(&Folder::new().refused(|it| {
        it.import_leaf("mattermost", &made.certificate, Some(&made.key), Some(&root.certificate), false)
    }));
}

/// From a CA of our own to the site's: clients have to trust another one, and what was there is kept.
#[test]
fn another_root_comes_only_when_asked_to() {
    let own = Folder::new();
    own.ensure(&[LAN]);
    own.rendered();
    let folder = Folder { settings: folder().settings, ..own };
    let root = authority("Site Root", None, |_| {});
    let made = leaf(NAMES, &root, |_| {});
    let import = |it: &Folder, replace: bool| {
        it.import_leaf("mattermost", &made.certificate, Some(&made.key), Some(&root.certificate), replace)
    };
    let refusal = folder.refused(|it| import(it, false));
    assert!(refusal.starts_with("certs/ca.crt is another CA"), "{refusal}");
    assert!(import(&folder, true).expect("it was asked for").is_other_ca);
    assert!(!folder.has("ca.key"));
    assert_eq!(folder.old(), ["ca.crt", "ca.key", "mattermost"]);
    let postgres = leaf(&["postgres.cicd.local"], &root, |_| {});
    let imported =
        folder.import_leaf("postgres", &postgres.certificate, Some(&postgres.key), Some(&root.certificate), false);
    assert!(!imported.expect("the root is the same now").is_other_ca);
    folder.try_ensure(&[LAN], false).expect("everything is there");
}
