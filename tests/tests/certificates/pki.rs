//! The PKI of a site, as somebody else runs it: roots, intermediates and leaves in files.

use std::path::PathBuf;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use xtask::certs::import::{self, AuthorityFiles, Imported, LeafFiles, Target};

use crate::{Folder, LAN, common};

/// A certificate and its key.
pub struct Made {
    pub certificate: String,
    pub key: String,
    pub issuer: Issuer<'static, KeyPair>,
}

/// A CA without a limit on what is below it. `adjust` makes it odd.
pub fn authority(name: &str, above: Option<&Made>, adjust: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().expect("a key");
    authority_with(name, key, above, adjust)
}

pub fn authority_with(
    name: &str,
    key: KeyPair,
    above: Option<&Made>,
    adjust: impl FnOnce(&mut CertificateParams),
) -> Made {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    made(params, key, above, adjust)
}

/// A server's certificate for these names.
pub fn leaf(names: &[&str], above: &Made, adjust: impl FnOnce(&mut CertificateParams)) -> Made {
    let mut params = params("a server of the site");
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    params.subject_alt_names = CertificateParams::new(names).expect("names and addresses").subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    made(params, KeyPair::generate().expect("a key"), Some(above), adjust)
}

/// A server's certificate that nobody signed but itself.
pub fn self_signed(names: &[&str]) -> Made {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = params("a server of the site");
    params.subject_alt_names = CertificateParams::new(names).expect("names and addresses").subject_alt_names;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    made(params, KeyPair::generate().expect("a key"), None, |_| {})
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(1), now + Duration::days(364));
    params
}

fn made(
    mut params: CertificateParams,
    key: KeyPair,
    above: Option<&Made>,
    adjust: impl FnOnce(&mut CertificateParams),
) -> Made {
    params.use_authority_key_identifier_extension = above.is_some();
    adjust(&mut params);
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer),
        None => params.self_signed(&key),
    };
    let certificate = certificate.expect("a signature").pem();
    Made { certificate, key: key.serialize_pem(), issuer: Issuer::new(params, key) }
}

/// Where the PKI's files lie, beside a stack's.
impl Folder {
    pub fn given(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, contents).expect("a temporary folder is writable");
        path
    }

    /// Clients may have met the CA from here on.
    pub fn rendered(&self) {
        std::fs::create_dir_all(self.folder.path().join("compose")).expect("a temporary folder is writable");
        self.given("compose/.env", "");
    }

    pub fn import_ca(
        &self,
        certificate: &str,
        key: impl AsRef<[u8]>,
        chain: &[&str],
        replace: bool,
    ) -> anyhow::Result<Imported> {
        let files = AuthorityFiles {
            certificate: self.given("CA.pem", certificate),
            key: self.given("CA.key", key),
            chain: chain.iter().enumerate().map(|(n, pem)| self.given(&format!("CHAIN{n}.pem"), pem)).collect(),
        };
        self.with_target(replace, |target| {
            import::authority(target, &files, |_| Ok("correct horse battery staple".to_owned()))
        })
    }

    pub fn import_leaf(
        &self,
        server: &str,
        certificate: &str,
        key: Option<&str>,
        ca: Option<&str>,
        replace: bool,
    ) -> anyhow::Result<Imported> {
        let files = LeafFiles {
            certificate: self.given("LEAF.pem", certificate),
            key: key.map(|key| self.given("LEAF.key", key)),
            ca: ca.map(|ca| self.given("ROOT.pem", ca)),
        };
        self.with_target(replace, |target| import::leaf(target, server, &files, |_| Ok(String::new())))
    }

    pub fn with_target<T>(&self, replace: bool, act: impl FnOnce(&Target<'_>) -> T) -> T {
        let lan = [common::lan_address(LAN)];
        act(&Target { root: self.folder.path(), settings: &self.settings, lan: &lan, replace })
    }

    /// The error as it is shown. It must leave every file as it was.
    pub fn refused(&self, act: impl FnOnce(&Folder) -> anyhow::Result<Imported>) -> String {
        let before = self.every_file();
        let error = act(self).expect_err("this should be refused");
        assert_eq!(self.every_file(), before, "a refusal leaves the files alone");
        self.shown(&error)
    }

    pub fn shown(&self, error: &anyhow::Error) -> String {
        let hint = xtask::error::hint_of(error).expect("an error says what to do");
        let folder = format!("{}/", self.folder.path().display());
        format!("{error:#}\nhint: {hint}\n").replace(&folder, "")
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// What was kept of the files that an import replaced.
    pub fn old(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in std::fs::read_dir(self.path("old")).into_iter().flatten().flatten() {
            for entry in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        found.sort();
        found
    }
}

/// What openssl makes of a key, in bytes.
pub fn openssl(arguments: &[&str], key: &std::path::Path) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).arg("-in").arg(key).output().expect("openssl starts");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
