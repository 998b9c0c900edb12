//! Private keys in every notation that a PKI hands out, made into what rcgen and ring take: PKCS#8 with the public key in it.

use std::path::Path;

use anyhow::Context as _;
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::{AlgorithmIdentifierRef, EncryptedPrivateKeyInfo, ObjectIdentifier, PrivateKeyInfo};
use rcgen::KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sec1::{EcParameters, EcPrivateKey};
use x509_parser::pem::Pem;

use crate::error::{Hint as _, hinted};

/// Reads a key. The passphrase is asked for when the key is encrypted. `public_keys` are those of the certificates that it may
/// belong to: some programs leave the public part out of an ECDSA key.
pub fn read(
    path: &Path,
    passphrase: impl FnOnce(&str) -> anyhow::Result<String>,
    public_keys: &[Vec<u8>],
) -> anyhow::Result<KeyPair> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {file}")).hint("name a file that is there")?;
    let (kind, der) = undressed(bytes, &file)?;
    match kind {
        Kind::Pkcs8 => from_pkcs8(&der, &file, public_keys),
        Kind::Sec1 => from_sec1(&der, None, &file, public_keys),
        Kind::Pkcs1 => from_pkcs1(&der, &file),
        Kind::Encrypted => {
            let der = decrypted(&der, &file, passphrase)?;
            from_pkcs8(&der, &file, public_keys)
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Pkcs8,
    Encrypted,
    Sec1,
    Pkcs1,
}

/// The DER in a file, and what it is.
fn undressed(bytes: Vec<u8>, file: &str) -> anyhow::Result<(Kind, Vec<u8>)> {
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        let kind = if PrivateKeyInfo::from_der(&bytes).is_ok() {
            Kind::Pkcs8
        } else if EncryptedPrivateKeyInfo::from_der(&bytes).is_ok() {
            Kind::Encrypted
        } else if EcPrivateKey::from_der(&bytes).is_ok() {
            Kind::Sec1
        } else if pkcs1::RsaPrivateKey::from_der(&bytes).is_ok() {
            Kind::Pkcs1
        } else {
            return Err(hinted(
                anyhow::anyhow!("{file} is no private key: it is neither PEM nor PKCS#8 in DER"),
                format!("of a PKCS#12 file (.p12, .pfx), `openssl pkcs12 -in {file} -nocerts -out KEY.pem` makes one"),
            ));
        };
        return Ok((kind, bytes));
    }
    // Encrypted by PEM itself: one round of MD5 makes a key of the passphrase.
    if bytes.windows(PROC_TYPE.len()).any(|window| window == PROC_TYPE) {
        return Err(hinted(
            anyhow::anyhow!("{file} is encrypted in the old notation of PEM (Proc-Type: 4,ENCRYPTED), which is weak"),
            converting(file),
        ));
    }
    let mut others = Vec::new();
    for pem in Pem::iter_from_buffer(&bytes) {
        let pem =
            pem.map_err(|_| hinted(anyhow::anyhow!("{file} is broken PEM"), "copy the file again, as a whole"))?;
        let kind = match pem.label.as_str() {
            "PRIVATE KEY" => Kind::Pkcs8,
            "ENCRYPTED PRIVATE KEY" => Kind::Encrypted,
            "EC PRIVATE KEY" => Kind::Sec1,
            "RSA PRIVATE KEY" => Kind::Pkcs1,
            _ => {
                others.push(pem.label);
                continue;
            }
        };
        return Ok((kind, pem.contents));
    }
    let error = anyhow::anyhow!("{file} has no private key that can be used, but {}", others.join(", "));
    Err(hinted(error, "name the file of the key: PKCS#8, SEC 1 or PKCS#1 in PEM, or PKCS#8 in DER"))
}

const PROC_TYPE: &[u8] = b"Proc-Type: 4,ENCRYPTED";
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const USABLE: &str = "use RSA of 2048 to 4096 bits, ECDSA P-256 or P-384";

fn converting(file: &str) -> String {
    format!("`openssl pkcs8 -topk8 -v2 aes256 -in {file} -out KEY.pem` makes one that can be read, and is safer")
}

fn decrypted(
    der: &[u8],
    file: &str,
    passphrase: impl FnOnce(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Vec<u8>> {
    let unknown = || {
        let error =
            anyhow::anyhow!("{file} is encrypted in a way that is not known here: only PBES2 with AES or 3DES is");
        hinted(error, converting(file))
    };
    let encrypted = EncryptedPrivateKeyInfo::from_der(der).map_err(|_| unknown())?;
    let is_known = |scheme: &EncryptionScheme<'_>| match scheme {
        EncryptionScheme::Pbes2(parameters) => {
            let cipher = parameters.encryption.oid().to_string();
            cipher.starts_with(AES) || cipher == TRIPLE_DES
        }
        _ => false,
    };
    if !is_known(&encrypted.encryption_algorithm) {
        return Err(unknown());
    }
    let passphrase = passphrase(file)?;
    // A wrong one shows in the padding, or, once in 256 times, in what comes out.
    let wrong = || {
        hinted(anyhow::anyhow!("the passphrase does not open {file}"), "give the one that the key was encrypted with")
    };
    let opened = encrypted.decrypt(passphrase).map_err(|_| wrong())?;
    PrivateKeyInfo::from_der(opened.as_bytes()).map_err(|_| wrong())?;
    Ok(opened.as_bytes().to_vec())
}

/// Where NIST's object identifiers of AES begin.
const AES: &str = "2.16.840.1.101.3.4.1.";
/// What `openssl req -newkey` encrypts with, to this day.
const TRIPLE_DES: &str = "1.2.840.113549.3.7";

fn from_pkcs8(der: &[u8], file: &str, public_keys: &[Vec<u8>]) -> anyhow::Result<KeyPair> {
    let unreadable = || hinted(anyhow::anyhow!("{file} is no private key that can be read"), USABLE);
    let info = PrivateKeyInfo::from_der(der).map_err(|_| unreadable())?;
    match info.algorithm.oid {
        EC => {
            let curve = info.algorithm.parameters_oid().map_err(|_| unreadable())?;
            from_sec1(info.private_key, Some(curve), file, public_keys)
        }
        pkcs1::ALGORITHM_OID => from_pkcs1(info.private_key, file),
        ED25519 => Err(hinted(anyhow::anyhow!("{file} is an Ed25519 key, which iPhones do not take"), USABLE)),
        _ => Err(hinted(anyhow::anyhow!("{file} is a key of a kind that clients do not take"), USABLE)),
    }
}

fn from_sec1(
    der: &[u8],
    curve: Option<ObjectIdentifier>,
    file: &str,
    public_keys: &[Vec<u8>],
) -> anyhow::Result<KeyPair> {
    let unreadable = || hinted(anyhow::anyhow!("{file} is no private key that can be read"), USABLE);
    let key = EcPrivateKey::from_der(der).map_err(|_| unreadable())?;
    let curve = curve.or_else(|| key.parameters.and_then(EcParameters::named_curve)).ok_or_else(unreadable)?;
    if ![P256, P384].contains(&curve) {
        let error = anyhow::anyhow!("{file} is an ECDSA key on another curve than P-256 and P-384");
        return Err(hinted(error, USABLE));
    }
    let parameters = (&curve).into();
    let algorithm = AlgorithmIdentifierRef { oid: EC, parameters: Some(parameters) };
    let with = |public_key: &[u8]| {
        let key = EcPrivateKey { private_key: key.private_key, parameters: None, public_key: Some(public_key) };
        pair(PrivateKeyInfo::new(algorithm, &key.to_der().ok()?).to_der().ok()?)
    };
    match key.public_key {
        Some(public_key) => with(public_key).ok_or_else(unreadable),
        None => public_keys.iter().find_map(|public_key| with(public_key)).ok_or_else(|| {
            let error = anyhow::anyhow!("{file} has no public part, and belongs to none of the certificates given");
            hinted(error, "name the key that belongs to the certificate")
        }),
    }
}

fn from_pkcs1(der: &[u8], file: &str) -> anyhow::Result<KeyPair> {
    let key = pkcs1::RsaPrivateKey::from_der(der)
        .map_err(|_| hinted(anyhow::anyhow!("{file} is no private key that can be read"), USABLE))?;
    let modulus = key.modulus.as_bytes();
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    let info = PrivateKeyInfo::new(pkcs1::ALGORITHM_ID, der).to_der().ok();
    info.and_then(pair)
        .ok_or_else(|| hinted(anyhow::anyhow!("{file} is an RSA key of {bits} bits that cannot be used here"), USABLE))
}

fn pair(pkcs8: Vec<u8>) -> Option<KeyPair> {
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).ok()
}
