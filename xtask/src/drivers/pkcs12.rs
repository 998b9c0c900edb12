//! A PKCS#12 file of trusted certificates, as Java reads one.
//!
//! It holds public certificates only, so nothing is encrypted and there is no MAC: whoever can write the file could compute
//! one, as the password would be public. Java takes such a file with any password or none. What makes a certificate a
//! trusted entry, and not one that is merely there, is Oracle's attribute trustedKeyUsage (JDK-6789304,
//! sun.security.pkcs12.PKCS12KeyStore).

use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

/// RFC 2315, section 14.
const DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 1];
/// RFC 7292, section 4.2.3.
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113549, 1, 12, 10, 1, 3];
/// RFC 2985, section 5.5.1 and 5.6.1.
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113549, 1, 9, 20];
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113549, 1, 9, 22, 1];
const TRUSTED_KEY_USAGE: &[u64] = &[2, 16, 840, 1, 113894, 746875, 1, 1];
/// RFC 5280, section 4.2.1.12: anyExtendedKeyUsage.
const ANY_USAGE: &[u64] = &[2, 5, 29, 37, 0];

/// The file with these certificates (alias and DER). Of two with the same alias Java keeps one.
pub fn truststore(certificates: &[(String, &[u8])]) -> Vec<u8> {
    let bags = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for (alias, der) in certificates {
                bag(writer.next(), alias, der);
            }
        });
    });
    let contents = yasna::construct_der(|writer| writer.write_sequence(|writer| data(writer.next(), &bags)));
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(3);
            data(writer.next(), &contents);
        });
    })
}

/// A ContentInfo of unencrypted data.
fn data(writer: DERWriter<'_>, bytes: &[u8]) {
    writer.write_sequence(|writer| {
        oid(writer.next(), DATA);
        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(bytes));
    });
}

fn bag(writer: DERWriter<'_>, alias: &str, der: &[u8]) {
    writer.write_sequence(|writer| {
        oid(writer.next(), CERTIFICATE_BAG);
        writer.next().write_tagged(Tag::context(0), |writer| {
            writer.write_sequence(|writer| {
                oid(writer.next(), X509_CERTIFICATE);
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(der));
            });
        });
        writer.next().write_set_of(|writer| {
            attribute(writer.next(), FRIENDLY_NAME, |writer| writer.write_bmp_string(alias));
            attribute(writer.next(), TRUSTED_KEY_USAGE, |writer| oid(writer, ANY_USAGE));
        });
    });
}

fn attribute(writer: DERWriter<'_>, name: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        oid(writer.next(), name);
        writer.next().write_set(|writer| value(writer.next()));
    });
}

fn oid(writer: DERWriter<'_>, arcs: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(arcs));
}
