//! A site's own PKI: first an intermediate that issues here, then leaves that are issued elsewhere.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use command_center_tests::{Stack, docker, run};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use xtask::secrets::POSTGRES_PASSWORD;

use crate::client;

#[test]
fn a_site_has_a_pki_of_its_own() {
    let stack = Stack::new("site-ca");
    let given = |name: &str, contents: &str| -> String {
        let path: PathBuf = stack.root.join(name);
        fs::write(&path, contents).expect("target/ can be written");
        path.display().to_string()
    };
    let root = authority("Site Root", 1, None);
    let below = authority("Site CA", 0, Some(&root));
    let root_file = given("root.pem", &root.certificate);
    let (certificate, key) = (given("sub.pem", &below.certificate), given("sub.key", &below.key));
    let import = ["certs", "import", "ca", "--certificate", &certificate, "--key", &key];
    stack.xtask(&import).exits(1).says("the certificate of its issuer is missing: CN=Site Root").says("--chain");
    stack.xtask(&[&import[..], &["--chain", &root_file]].concat()).exits(0).says("imported the CA CN=Site CA");

    // `up` proves verify-full of Mattermost to PostgreSQL, and HTTPS by name and by address with the root alone.
    stack.up();
    assert_eq!(stack.ca(), root.certificate.replace("\r\n", "\n"), "clients trust the root");
    assert_eq!(presented(&stack).len(), 2, "leaf and intermediate");
    assert_eq!(presented(&stack)[1], der(&below.certificate));
    verifies_postgres(&stack);
    stack.up().says("Nothing to change");

    // The same leaves are good for a stack that issues nothing: nothing is recreated.
    stack.edit("issuer = \"own\"", "issuer = \"external\"");
    let before = stack.ids();
    stack.up().says("Nothing to change");
    stack.xtask(&["certs", "--renew"]).exits(1).says("nothing can be renewed here");

    // A leaf of the root's own, for a key that never left: only Mattermost reads it.
    let request = stack.xtask(&["certs", "request", "mattermost"]).exits(0).stdout;
    let leaf = given("leaf.pem", &signed(&request, &root));
    stack
        .xtask(&["certs", "import", "leaf", "mattermost", "--certificate", &leaf])
        .exits(0)
        .says("issued by CN=Site Root");
    stack.xtask(&["certs"]).exits(0).says("recreated: ").says("mattermost").does_not_say("postgres");
    assert_eq!(presented(&stack), [der(&fs::read_to_string(&leaf).expect("it was written"))]);
    for ((service, id), (_, old)) in stack.ids().into_iter().zip(before) {
        assert_eq!(id == old, service != "mattermost", "{service}");
    }
    stack.up().says("Nothing to change");
    verifies_postgres(&stack);

    // One that misses an address is refused, by the import and, when it lies there all the same, by `up`; what runs goes on.
    let before = stack.ids();
    let (short, short_key) = server(&["mattermost.cicd.local"], &root);
    let lan = stack.lan().to_string();
    let (short_file, key) = (given("short.pem", &short), given("short.key", &short_key));
    let import = ["certs", "import", "leaf", "mattermost", "--certificate", &short_file, "--key", &key];
    stack.xtask(&import).exits(1).says("does not cover").says(&lan).says("it covers mattermost.cicd.local");
    stack.up().says("Nothing to change");
    fs::write(stack.root.join("certs/mattermost/tls.crt"), &short).expect("target/ can be written");
    fs::write(stack.root.join("certs/mattermost/tls.key"), &short_key).expect("target/ can be written");
    let refused =
        stack.try_up().exits(1).says("does not cover").says("that of mattermost must cover mattermost.cicd.local");
    refused.says(&lan).says("cargo xtask --stack e2e-site-ca certs request mattermost");
    assert_eq!(stack.ids(), before);
    stack.xtask(&["doctor"]).says("does not cover");
}

/// What the running server presents to a client that trusts the root alone, and comes by address.
fn presented(stack: &Stack) -> Vec<Vec<u8>> {
    let stream = client::connect(stack.address(), &stack.lan().to_string(), &[&stack.ca()]).expect("a good chain");
    stream.conn.peer_certificates().expect("a server presents a certificate").iter().map(|it| it.to_vec()).collect()
}

/// A client of PostgreSQL that trusts the root alone.
fn verifies_postgres(stack: &Stack) {
    let host = stack.inner().settings.postgres_host();
    let ca = format!("{}:/ca.crt:ro", xtask::certs::ca_path(&stack.root).display());
    let connection = format!(
        "host={host} user=mattermost dbname=mattermost sslmode=verify-full sslrootcert=/ca.crt connect_timeout=5"
    );
    let mut command = std::process::Command::new("docker");
    command.args(["run", "--rm", "--network", &format!("{}_database", stack.name), "--volume", &ca]);
    command.args([
        "--env",
        "PGPASSWORD",
        "--entrypoint",
        "psql",
        &stack.images().postgres,
        "-Atqc",
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    ]);
    command.arg(&connection).env("PGPASSWORD", stack.secret(POSTGRES_PASSWORD));
    let ran = run(&mut command, "", Duration::from_secs(60)).exits(0);
    assert_eq!(ran.stdout, "t\n");
    let read = docker(&["exec", &stack.container("postgres"), "cat", "/run/secrets/tls.crt"]).exits(0).stdout;
    assert_eq!(read.matches("BEGIN CERTIFICATE").count(), 2, "leaf and intermediate");
}

struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str, below: u8, above: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = above.is_some();
    let key = KeyPair::generate().expect("a key");
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer),
        None => params.self_signed(&key),
    };
    let certificate = certificate.expect("a signature").pem();
    Authority { certificate, key: key.serialize_pem(), issuer: Issuer::new(params, key) }
}

/// As a CA answers a request.
fn signed(request: &str, by: &Authority) -> String {
    let mut request = CertificateSigningRequestParams::from_pem(request).expect("a request");
    request.params.use_authority_key_identifier_extension = true;
    request.params.not_before = OffsetDateTime::now_utc() - time::Duration::hours(1);
    request.params.not_after = OffsetDateTime::now_utc() + time::Duration::days(300);
    request.signed_by(&by.issuer).expect("a signature").pem()
}

fn server(names: &[&str], by: &Authority) -> (String, String) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(300);
    let key = KeyPair::generate().expect("a key");
    (params.signed_by(&key, &by.issuer).expect("a signature").pem(), key.serialize_pem())
}

fn der(pem: &str) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM").1.contents
}
