//! SonarQube's signature: `X-Sonar-Webhook-HMAC-SHA256`, the HMAC-SHA256 of the raw body in hexadecimal.

use ring::hmac;

/// The header, in the lower case in which hyper keeps names.
pub const HEADER: &str = "x-sonar-webhook-hmac-sha256";

/// The key that both sides hold. Debug does not show it.
pub struct Key(hmac::Key);

impl Key {
    pub fn new(secret: &str) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// Whether `signature` is the body's. ring compares in constant time, so the time tells nothing about the right one.
    pub fn verify(&self, body: &[u8], signature: &Signature) -> bool {
        hmac::verify(&self.0, body, &signature.0).is_ok()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

/// What a request claims.
pub struct Signature([u8; 32]);

impl Signature {
    /// 64 hexadecimal digits; anything else cannot be a signature, whatever the body is.
    pub fn parse(hex: &[u8]) -> Option<Signature> {
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|it| char::from(it).to_digit(16));
            *byte = u8::try_from(high? * 16 + low?).ok()?;
        }
        Some(Signature(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_signatures_verify_and_nothing_near_them() {
        let key = Key::new("sonar-webhook-secret-01");
        for delivery in crate::delivery::recorded() {
            let signature = delivery["headers"]["X-Sonar-Webhook-HMAC-SHA256"].as_str().expect("a header");
            let body = delivery["body"].as_str().expect("a body").as_bytes();
            let parsed = Signature::parse(signature.as_bytes()).expect("hexadecimal");
            assert!(key.verify(body, &parsed));
            assert!(!key.verify(&body[1..], &parsed));
            assert!(!Key::new("sonar-webhook-secret-02").verify(body, &parsed));
            let upper = signature.to_uppercase();
            assert!(key.verify(body, &Signature::parse(upper.as_bytes()).expect("hexadecimal")));
        }
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let zeros = "0".repeat(64);
        assert!(Signature::parse(zeros.as_bytes()).is_some());
        for wrong in ["", "00", &zeros[1..], &format!("{zeros}0"), &zeros.replacen('0', "g", 1), &"é".repeat(32)] {
            assert!(Signature::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_key_is_not_in_debug() {
        assert_eq!(format!("{:?}", Key::new("sonar-webhook-secret-01")), "Key(***)");
    }
}
