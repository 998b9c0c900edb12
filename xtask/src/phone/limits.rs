//! How much one visitor, and all of them, may ask for. Pure: the time is passed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    pub connections_of_one: usize,
    /// Requests a minute.
    pub requests: u32,
    pub requests_of_one: u32,
    pub header_bytes: usize,
    /// For the whole head of a request, and for taking the whole answer.
    pub reading: Duration,
    pub writing: Duration,
}

/// Generous for a team in one room that does it together, and little work for this host.
pub const LIMITS: Limits = Limits {
    connections: 32,
    connections_of_one: 8,
    requests: 600,
    requests_of_one: 60,
    header_bytes: 8 * 1024,
    reading: Duration::from_secs(5),
    writing: Duration::from_secs(10),
};

/// What is open and what was asked in this minute.
#[derive(Debug, Default)]
pub struct Usage {
    open: HashMap<IpAddr, usize>,
    minute: Option<Instant>,
    requests: HashMap<IpAddr, u32>,
}

impl Usage {
    /// Whether there is room for a connection, which is then taken until [`Usage::leave`].
    pub fn enter(&mut self, visitor: IpAddr, limits: &Limits) -> bool {
        let open: usize = self.open.values().sum();
        let own = self.open.get(&visitor).copied().unwrap_or_default();
        if open >= limits.connections || own >= limits.connections_of_one {
            return false;
        }
        self.open.insert(visitor, own + 1);
        true
    }

    pub fn leave(&mut self, visitor: IpAddr) {
        if let Some(own) = self.open.get_mut(&visitor) {
            *own -= 1;
            if *own == 0 {
                self.open.remove(&visitor);
            }
        }
    }

    /// Counts a request, or says for how long none more is answered. A refused one does not count, so nobody can use up
    /// what is everybody's.
    pub fn count(&mut self, visitor: IpAddr, now: Instant, limits: &Limits) -> Result<(), Duration> {
        let minute = self.minute.filter(|minute| now.duration_since(*minute) < MINUTE).unwrap_or_else(|| {
            self.requests.clear();
            now
        });
        self.minute = Some(minute);
        let all: u32 = self.requests.values().sum();
        let own = self.requests.get(&visitor).copied().unwrap_or_default();
        if all >= limits.requests || own >= limits.requests_of_one {
            return Err(MINUTE - now.duration_since(minute));
        }
        self.requests.insert(visitor, own + 1);
        Ok(())
    }
}

const MINUTE: Duration = Duration::from_secs(60);
