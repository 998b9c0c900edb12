//! The CA and the leaf certificates, looked at from outside: with openssl, with webpki and with an X.509 parser.

#[path = "../common/mod.rs"]
mod common;

mod authority;
mod chains;
mod external;
mod files;
mod import;
mod pki;
mod refused;
mod renewal;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use time::{Duration, OffsetDateTime};
use xtask::certs::{self, Certificates};
use xtask::settings::Settings;

const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);

/// A stack's folder with nothing but certificates in it.
struct Folder {
    folder: tempfile::TempDir,
    settings: Settings,
}

impl Folder {
    fn new() -> Folder {
        Folder::with(common::settings(&common::shipped()))
    }

    fn with(settings: Settings) -> Folder {
        Folder { folder: tempfile::tempdir().expect("a temporary folder"), settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("certs").join(name)
    }

    fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a temporary folder is writable");
        std::fs::write(path, text).expect("a temporary folder is writable");
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).expect("it is there");
    }

    fn try_ensure(&self, lan: &[Ipv4Addr], renew: bool) -> anyhow::Result<(Certificates, Vec<String>)> {
        let lan: Vec<_> = lan.iter().map(|address| common::lan_address(*address)).collect();
        certs::ensure(self.folder.path(), &self.settings, &lan, renew)
    }

    /// What was done.
    fn ensure(&self, lan: &[Ipv4Addr]) -> Vec<String> {
        self.try_ensure(lan, false).unwrap_or_else(|error| panic!("{error:#?}")).1
    }

    /// The error with its hint. A refusal must leave every file as it was.
    fn refusal(&self, lan: &[Ipv4Addr]) -> String {
        let before = self.every_file();
        let error = self.try_ensure(lan, false).expect_err("this should be refused");
        assert_eq!(self.every_file(), before, "a refusal leaves the files alone");
        format!("{error:#?}")
    }

    fn every_file(&self) -> Vec<(&'static str, Option<String>)> {
        const FILES: [&str; 8] = [
            "ca.crt",
            "ca.key",
            "issuer.crt",
            "issuer.key",
            "mattermost/tls.crt",
            "mattermost/tls.key",
            "postgres/tls.crt",
            "postgres/tls.key",
        ];
        FILES.iter().map(|name| (*name, std::fs::read_to_string(self.path(name)).ok())).collect()
    }

    fn issuer(&self) -> Issuer<'static, KeyPair> {
        let key = KeyPair::from_pem(&self.read("ca.key")).expect("the CA's key is PKCS#8");
        Issuer::from_ca_cert_pem(&self.read("ca.crt"), key).expect("the CA can issue")
    }
}

/// A leaf that the CA's key signs for whoever has it: certificate and key.
fn leaf(issuer: &Issuer<'static, KeyPair>, names: &[&str], days: i64) -> (String, String) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names and addresses");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "made by a test");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(days);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a signature");
    (certificate.pem(), key.serialize_pem())
}

fn openssl_is_here(test: &str) -> bool {
    let here = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("SKIPPED: {test}: there is no openssl on this machine");
    }
    here
}

/// Whether `openssl verify` takes the chain for this name or address, with nothing but the CA in trust.
fn openssl_verifies(ca: &Path, leaf: &Path, name: &str) -> Result<(), String> {
    let option = if name.parse::<Ipv4Addr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath", "-no-CAstore", "-CAfile"])
        .arg(ca)
        // What a server presents after its own certificate.
        .arg("-untrusted")
        .arg(leaf)
        .args([option, name])
        .arg(leaf)
        .output()
        .expect("openssl starts");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The same question for webpki, which Rust's TLS clients use. The leaf may be followed by intermediates.
fn webpki_verifies(ca_pem: &str, leaf_pem: &str, name: &str) -> Result<(), webpki::Error> {
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("the CA is PEM");
    let presented: Vec<_> =
        CertificateDer::pem_slice_iter(leaf_pem.as_bytes()).collect::<Result<_, _>>().expect("the leaf is PEM");
    let (leaf, intermediates) = presented.split_first().expect("a leaf");
    let anchor = webpki::anchor_from_trusted_cert(&ca).expect("the CA is a trust anchor");
    let entity = webpki::EndEntityCert::try_from(leaf)?;
    entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[anchor],
        intermediates,
        UnixTime::now(),
        webpki::KeyUsage::server_auth(),
        None,
        None,
    )?;
    entity.verify_is_valid_for_subject_name(&ServerName::try_from(name).expect("a name or an address"))
}
