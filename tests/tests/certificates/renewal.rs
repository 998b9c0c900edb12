//! When a leaf is issued again, and that nothing else is.

use std::net::Ipv4Addr;

use crate::{Folder, LAN, leaf, webpki_verifies};

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 11);
const NAMES: &[&str] = &["mattermost.cicd.local", "localhost", "127.0.0.1", "192.168.1.10"];

/// Each reissue restarts a server, so a run over files that fit does nothing at all.
#[test]
fn a_second_run_changes_nothing() {
    let folder = Folder::new();
    let made = folder.ensure(&[LAN]);
    assert_eq!(made.len(), 3, "the CA and two leaves: {made:?}");
    let before = folder.every_file();
    assert_eq!(folder.ensure(&[LAN]), Vec::<String>::new());
    assert_eq!(folder.every_file(), before);
    // An address that went away is no reason: the certificate still covers those that are there.
    folder.ensure(&[LAN, OTHER]);
    assert_eq!(folder.ensure(&[LAN]), Vec::<String>::new());
}

/// The host got another address. PostgreSQL's certificate has none, so it stays, and the database is not restarted.
#[test]
fn a_new_address_reissues_the_certificate_of_mattermost_alone() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let before = folder.every_file();
    let changes = folder.ensure(&[LAN, OTHER]);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].contains("mattermost") && changes[0].contains("did not cover 192.168.1.11"), "{changes:?}");
    assert_only_changed(&folder, &before, &["mattermost/tls.crt", "mattermost/tls.key"]);
    assert_good(&folder, "192.168.1.11");
}

#[test]
fn a_certificate_is_reissued_when_less_than_thirty_days_are_left() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let put = |days: i64| {
        let (certificate, key) = leaf(&folder.issuer(), NAMES, days);
        folder.write("mattermost/tls.crt", &certificate);
        folder.write("mattermost/tls.key", &key);
    };
    put(31);
    assert_eq!(folder.ensure(&[LAN]), Vec::<String>::new(), "31 days are enough");
    put(29);
    let before = folder.every_file();
    let changes = folder.ensure(&[LAN]);
    assert!(changes.len() == 1 && changes[0].contains("days were left"), "{changes:?}");
    assert_only_changed(&folder, &before, &["mattermost/tls.crt", "mattermost/tls.key"]);
    assert_good(&folder, "mattermost.cicd.local");
    assert_eq!(folder.ensure(&[LAN]), Vec::<String>::new());
}

/// A crash between the two files, or a hand that copied one of them: the server would not start with the pair.
#[test]
fn a_pair_that_does_not_fit_is_reissued() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let (_, stray_key) = leaf(&folder.issuer(), NAMES, 300);
    let spoil: [(&str, &dyn Fn()); 5] = [
        ("its key did not match", &|| folder.write("mattermost/tls.key", &stray_key)),
        ("its key was missing", &|| folder.remove("mattermost/tls.key")),
        ("its key did not match", &|| folder.write("mattermost/tls.key", "")),
        ("it was unreadable", &|| folder.write("mattermost/tls.crt", "-----BEGIN CERTIFICATE-----\nhalf")),
        ("there was none", &|| folder.remove("mattermost/tls.crt")),
    ];
    for (reason, spoil) in spoil {
        spoil();
        let before = folder.every_file();
        let changes = folder.ensure(&[LAN]);
        assert!(changes.len() == 1 && changes[0].contains(reason), "{reason}: {changes:?}");
        assert_only_changed(&folder, &before, &["mattermost/tls.crt", "mattermost/tls.key"]);
        assert_good(&folder, "192.168.1.10");
    }
}

/// After a restore the leaves may be of another CA, which no client trusts any more.
#[test]
fn a_certificate_of_another_ca_is_reissued() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.ensure(&[LAN]);
    other.ensure(&[LAN]);
    for file in ["mattermost/tls.crt", "mattermost/tls.key"] {
        folder.write(file, &other.read(file));
    }
    let changes = folder.ensure(&[LAN]);
    assert!(changes.len() == 1 && changes[0].contains("another CA"), "{changes:?}");
    assert_good(&folder, "192.168.1.10");
}

/// Phones have enrolled the CA: whatever is asked for, it stays.
#[test]
fn the_ca_is_never_replaced() {
    let folder = Folder::new();
    folder.ensure(&[LAN]);
    let ca = (folder.read("ca.crt"), folder.read("ca.key"));
    let before = folder.every_file();
    let (certificates, changes) = folder.try_ensure(&[LAN], true).expect("a renewal is asked for");
    assert_eq!(changes.len(), 2, "both leaves: {changes:?}");
    let leaves = ["mattermost/tls.crt", "mattermost/tls.key", "postgres/tls.crt", "postgres/tls.key"];
    assert_only_changed(&folder, &before, &leaves);
    assert_eq!(certificates.mattermost, folder.read("mattermost/tls.crt"), "the renderer gets what is on disk");
    folder.ensure(&[LAN, OTHER]);
    assert_eq!((folder.read("ca.crt"), folder.read("ca.key")), ca);
}

fn assert_good(folder: &Folder, name: &str) {
    let leaf = folder.read("mattermost/tls.crt");
    assert_eq!(webpki_verifies(&folder.read("ca.crt"), &leaf, name), Ok(()), "{name}");
}

fn assert_only_changed(folder: &Folder, before: &[(&str, Option<String>)], expected: &[&str]) {
    let after = folder.every_file();
    let changed = before.iter().zip(&after).filter(|(before, after)| before.1 != after.1).map(|(before, _)| before.0);
    assert_eq!(changed.collect::<Vec<_>>(), expected);
}
