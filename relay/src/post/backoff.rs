//! How long to wait for a server that is away.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// Doubles from 0.2 s up to 30 s. A random part of up to half is left out, so that relays that lost the same server do
/// not come back all at once.
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub fn new() -> Backoff {
        Backoff { attempts: 0 }
    }

    /// How many attempts have failed.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    pub fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.attempts.min(10)).min(LONGEST);
        self.attempts += 1;
        let mut byte = [0];
        // Without randomness the wait is just the longest.
        let _ = SystemRandom::new().fill(&mut byte);
        whole - whole.mul_f64(f64::from(byte[0]) / 512.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_half_a_minute() {
        let mut backoff = Backoff::new();
        let waits: Vec<Duration> = (0..100).map(|_| backoff.next()).collect();
        for (at, wait) in waits.iter().enumerate() {
            let whole = Duration::from_millis(200 << at.min(20)).min(LONGEST);
            assert!(*wait <= whole && *wait > whole / 2, "{at}: {wait:?}");
        }
        assert_eq!(backoff.attempts(), 100);
    }
}
