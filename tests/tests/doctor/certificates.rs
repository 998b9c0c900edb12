//! The CA, leaves and presented chains, of certificates made here.

use std::collections::BTreeSet;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use xtask::certs::{Leaf, San};
use xtask::doctor::certificates::{CA_MISSING, LEAF_MISSING, judge_ca, judge_external, judge_leaf, judge_presented};
use xtask::doctor::{Row, State};
use xtask::error::hinted;

struct Made {
    ca: String,
    leaf: String,
    chain: Vec<CertificateDer<'static>>,
}

/// A CA and a leaf for `mattermost.cicd.local`, each good for so many days from now.
fn make(ca_days: i64, leaf_days: i64) -> Made {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.not_before = now - Duration::days(4000);
    params.not_after = now + Duration::days(ca_days) + Duration::hours(1);
    let key = KeyPair::generate().expect("a key");
    let ca = params.self_signed(&key).expect("a CA").pem();
    let issuer = Issuer::from_ca_cert_pem(&ca, key).expect("an issuer");
    let mut params = CertificateParams::new(vec!["mattermost.cicd.local".to_owned()]).expect("names");
    // Subject and issuer of one name are a root's.
    params.distinguished_name = DistinguishedName::new();
    params.not_before = now - Duration::days(4000);
    params.not_after = now + Duration::days(leaf_days) + Duration::hours(1);
    let leaf = params.signed_by(&KeyPair::generate().expect("a key"), &issuer).expect("a leaf");
    Made { ca, leaf: leaf.pem(), chain: vec![leaf.der().clone()] }
}

fn wanted(names: &[&str]) -> Leaf {
    let sans = names.iter().map(|name| San::Dns((*name).to_owned()));
    Leaf { server: "mattermost", sans: BTreeSet::from_iter(sans) }
}

pub fn rows() -> Vec<Row> {
    let now = OffsetDateTime::now_utc();
    let good = make(3650, 397);
    let other = make(3650, 397);
    let leaf = wanted(&["mattermost.cicd.local"]);
    let on_disk = || judge_leaf(&leaf, &good.leaf, now);
    vec![
        CA_MISSING.found("there is no CA yet"),
        judge_ca(&make(200, 1).ca, now),
        judge_ca(&make(-2, -2).ca, now),
        LEAF_MISSING.found("there is no certs/mattermost/tls.crt"),
        judge_leaf(&leaf, "not a certificate", now),
        judge_leaf(&wanted(&["mattermost.cicd.local", "mattermost.other.local"]), &good.leaf, now),
        judge_leaf(&leaf, &make(3650, 20).leaf, now),
        judge_leaf(&leaf, &make(3650, -2).leaf, now),
        judge_external(Err(unfit())).expect("it says why"),
        judge_external(Ok(vec!["that of mattermost ends in 20 days".to_owned()])).expect("it warns"),
        judge_presented(
            "postgres",
            &good.leaf,
            &good.ca,
            Err(anyhow::anyhow!("172.18.0.2:5432 speaks no TLS")),
            on_disk(),
        ),
        judge_presented("mattermost", &good.leaf, &good.ca, Ok(other.chain.clone()), on_disk()),
        judge_presented("mattermost", &good.leaf, &other.ca, Ok(good.chain.clone()), on_disk()),
    ]
}

/// As `certs::check_external` says it.
fn unfit() -> anyhow::Error {
    let what =
        "certificates that your CA has to issue are missing or do not fit:\n  mattermost: certs/ca.crt is not there";
    hinted(anyhow::anyhow!(what), "that of mattermost must cover mattermost.cicd.local, 192.168.7.20")
}

#[test]
fn what_is_good_is_said_with_the_days_left() {
    let good = make(3650, 397);
    let now = OffsetDateTime::now_utc();
    assert_eq!(judge_ca(&good.ca, now).finding, "the CA is good for 10 years");
    let leaf = judge_leaf(&wanted(&["mattermost.cicd.local"]), &good.leaf, now);
    let row = judge_presented("mattermost", &good.leaf, &good.ca, Ok(good.chain.clone()), leaf);
    assert_eq!(row.state, State::Ok);
    let expected = "that of mattermost is good for 397 days and for every name and address, and mattermost presents it";
    assert_eq!(row.finding, expected);
}
