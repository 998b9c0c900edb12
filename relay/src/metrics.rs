//! Counters, and the text that Prometheus reads (format 0.0.4).

use std::fmt::{Display, Write as _};
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything that is counted since the start. Relaxed everywhere: each number stands for itself.
#[derive(Default)]
pub struct Metrics {
    pub accepted: AtomicU64,
    pub duplicates: AtomicU64,
    pub posts: Counters<Post>,
    pub post_failures: Counters<PostFailure>,
    pub refused: Counters<Refusal>,
    pub connections: AtomicU64,
    /// Deliveries on disk that Mattermost does not have yet.
    pub queued: AtomicU64,
    /// When the oldest of them was accepted, in seconds since 1970; 0 without any.
    pub oldest: AtomicU64,
    /// Those of them that Mattermost refuses.
    pub set_aside: AtomicU64,
    pub journal_bytes: AtomicU64,
    pub damaged_bytes: AtomicU64,
}

/// What became of a delivery.
#[derive(Clone, Copy)]
pub enum Post {
    Posted,
    Refused,
    Ignored,
}

/// Why a post did not get to Mattermost; it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostFailure {
    Resolve,
    Connect,
    Tls,
    Timeout,
    BrokenConnection,
    RateLimited,
    ServerError,
}

/// Why a request got no 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unsigned,
    WrongSignature,
    Malformed,
    Unexpected,
    TooLarge,
    Slow,
    BrokenRequest,
    NotFound,
    Method,
    Full,
    Spool,
}

/// The values of one label.
pub trait Label: Copy + 'static {
    const ALL: &'static [(Self, &'static str)];

    fn index(self) -> usize;
}

impl Label for Post {
    const ALL: &'static [(Self, &'static str)] =
        &[(Post::Posted, "posted"), (Post::Refused, "refused"), (Post::Ignored, "ignored")];

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for PostFailure {
    const ALL: &'static [(Self, &'static str)] = &[
        (PostFailure::Resolve, "resolve"),
        (PostFailure::Connect, "connect"),
        (PostFailure::Tls, "tls"),
        (PostFailure::Timeout, "timeout"),
        (PostFailure::BrokenConnection, "broken_connection"),
        (PostFailure::RateLimited, "rate_limited"),
        (PostFailure::ServerError, "server_error"),
    ];

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Refusal {
    const ALL: &'static [(Self, &'static str)] = &[
        (Refusal::Unsigned, "unsigned"),
        (Refusal::WrongSignature, "wrong_signature"),
        (Refusal::Malformed, "malformed"),
        (Refusal::Unexpected, "unexpected"),
        (Refusal::TooLarge, "too_large"),
        (Refusal::Slow, "slow"),
        (Refusal::BrokenRequest, "broken_request"),
        (Refusal::NotFound, "not_found"),
        (Refusal::Method, "method"),
        (Refusal::Full, "full"),
        (Refusal::Spool, "spool"),
    ];

    fn index(self) -> usize {
        self as usize
    }
}

/// One counter a value of the label `L`.
pub struct Counters<L>(Box<[AtomicU64]>, PhantomData<L>);

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Counters(L::ALL.iter().map(|_| AtomicU64::new(0)).collect(), PhantomData)
    }
}

impl<L: Label> Counters<L> {
    /// Counts one more, and says how many there are now.
    pub fn count(&self, label: L) -> u64 {
        self.0[label.index()].fetch_add(1, Relaxed) + 1
    }
}

impl Metrics {
    /// How long the oldest delivery that was not posted has waited, in seconds; 0 when there is none.
    pub fn oldest_seconds(&self) -> u64 {
        match self.oldest.load(Relaxed) {
            0 => 0,
            oldest => now().saturating_sub(oldest),
        }
    }

    /// The whole text of `GET /metrics`.
    pub fn render(&self, limit: u64) -> String {
        let mut text = Text(String::with_capacity(4096));
        text.single("deliveries_accepted_total", "counter", "Deliveries on disk that got their 200.", &self.accepted);
        text.single("deliveries_duplicate_total", "counter", "Deliveries that were there already.", &self.duplicates);
        text.labelled("posts_total", "What became of deliveries.", "outcome", &self.posts);
        text.labelled("post_failures_total", "Posts that are tried again.", "reason", &self.post_failures);
        text.labelled("refused_total", "Requests that got no 200.", "reason", &self.refused);
        text.single("connections", "gauge", "Open connections.", &self.connections);
        text.single("queue_length", "gauge", "Deliveries that Mattermost does not have yet.", &self.queued);
        text.value("queue_limit", "gauge", "The setting `queue`.", limit);
        text.single("set_aside", "gauge", "Deliveries in the queue that Mattermost refuses.", &self.set_aside);
        text.value("oldest_seconds", "gauge", "Age of the oldest delivery in the queue.", self.oldest_seconds());
        text.single("journal_bytes", "gauge", "Size of the spool's file.", &self.journal_bytes);
        text.single("journal_damaged_bytes", "gauge", "Bytes that were unreadable at the start.", &self.damaged_bytes);
        text.0
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

struct Text(String);

impl Text {
    fn single(&mut self, name: &str, kind: &str, help: &str, value: &AtomicU64) {
        self.value(name, kind, help, value.load(Relaxed));
    }

    fn value(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(format_args!("relay_{name} {value}"));
    }

    fn labelled<L: Label>(&mut self, name: &str, help: &str, label: &str, counters: &Counters<L>) {
        self.head(name, "counter", help);
        for (value, (_, text)) in counters.0.iter().zip(L::ALL) {
            self.line(format_args!("relay_{name}{{{label}=\"{text}\"}} {}", value.load(Relaxed)));
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP relay_{name} {help}"));
        self.line(format_args!("# TYPE relay_{name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_has_its_own_place() {
        fn check<L: Label>() {
            for (at, (label, _)) in L::ALL.iter().enumerate() {
                assert_eq!(label.index(), at);
            }
        }
        check::<Post>();
        check::<PostFailure>();
        check::<Refusal>();
    }

    #[test]
    fn counts_show_in_the_text() {
        let metrics = Metrics::default();
        metrics.refused.count(Refusal::Slow);
        assert_eq!(metrics.refused.count(Refusal::Slow), 2);
        let text = metrics.render(10);
        assert!(text.contains("# TYPE relay_refused_total counter\n"), "{text}");
        assert!(text.contains("relay_refused_total{reason=\"slow\"} 2\n"), "{text}");
        assert!(text.contains("relay_queue_limit 10\n"), "{text}");
        assert!(text.contains("relay_oldest_seconds 0\n"), "{text}");
    }
}
