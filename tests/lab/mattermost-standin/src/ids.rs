//! Mattermost's identifiers: 26 characters of z-base-32 over 16 random bytes.

use ring::rand::{SecureRandom, SystemRandom};

pub fn new_id() -> String {
    let mut bytes = [0; 16];
    // The kernel's generator fails only where a process could do nothing else either.
    SystemRandom::new().fill(&mut bytes).expect("the kernel gives random bytes");
    encode(&bytes)
}

fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
    let mut out = String::new();
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(ALPHABET[(buffer >> bits & 31) as usize] as char);
        }
    }
    if bits > 0 {
        out.push(ALPHABET[(buffer << (5 - bits) & 31) as usize] as char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_mattermosts_length() {
        assert_eq!(new_id().len(), 26);
        assert_ne!(new_id(), new_id());
        assert_eq!(encode(&[0; 16]), "y".repeat(26));
    }
}
