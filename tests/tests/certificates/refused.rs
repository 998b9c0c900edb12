//! What cannot be imported, each with the whole message: what is wrong, and what would be right.

use std::net::Ipv4Addr;

use expect_test::{Expect, expect};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints,
};
use time::{Date, Duration, Month, OffsetDateTime};

use crate::pki::{Made, authority, authority_with};
use crate::{Folder, LAN, common};

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
