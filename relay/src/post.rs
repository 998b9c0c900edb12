//! Takes what waits in the spool to Mattermost, the oldest first.
//!
//! One at a time: when the relay is killed between Mattermost's answer and the mark in the spool, one message appears
//! twice, and with several in flight it would be several. One connection carries hundreds of posts a second, more than
//! SonarQube has analyses in an hour.

mod backoff;
mod client;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Hooks;
use crate::delivery::{Delivery, Outcome};
use crate::log;
use crate::message::render;
use crate::metrics::{Metrics, Post, PostFailure};
use crate::spool::Spool;
use crate::spool::journal::Entry;

use self::backoff::Backoff;
pub use self::client::Client;
use self::client::Failure;

/// How long what Mattermost refuses rests before it is tried again.
const REST: Duration = Duration::from_secs(60);

/// A server error that only one message meets must not hold up the others. After so many attempts, which take two
/// minutes, it is set aside like a refused one.
const ATTEMPTS_AT_500: u32 = 10;

pub struct Poster {
    pub client: Client,
    pub hooks: Hooks,
    pub spool: Spool,
    pub metrics: Arc<Metrics>,
}

/// What one delivery came to.
enum End {
    Posted,
    /// Mattermost has answered, and a repetition would get the same answer.
    Refused(String),
    Stopped,
}

/// What Mattermost refuses, of one outcome.
#[derive(Default)]
struct Aside {
    entries: VecDeque<Entry>,
    /// Set when there are any.
    again: Option<Instant>,
}

impl Poster {
    /// Posts until `stop` changes. A post that is under way is finished: Mattermost may have it already.
    pub async fn run(mut self, mut waiting: UnboundedReceiver<Entry>, mut stop: watch::Receiver<bool>) {
        let mut asides = [Aside::default(), Aside::default()];
        loop {
            let entry = tokio::select! {
                biased;
                _ = stop.wait_for(|it| *it) => return,
                entry = due(&mut asides) => entry,
                Some(entry) = waiting.recv() => entry,
            };
            match self.bring(entry, &mut stop).await {
                End::Posted => {}
                End::Refused(why) => {
                    self.metrics.posts.count(Post::Refused);
                    let aside = &mut asides[entry.outcome as usize];
                    set_aside(aside, entry, &why);
                }
                End::Stopped => return,
            }
            let count = asides.iter().map(|it| it.entries.len() as u64).sum();
            self.metrics.set_aside.store(count, Relaxed);
        }
    }

    async fn bring(&mut self, entry: Entry, stop: &mut watch::Receiver<bool>) -> End {
        // The settings may have changed since it was accepted.
        let Some(path) = self.hooks.of(entry.outcome).map(|it| it.path()) else {
            self.metrics.posts.count(Post::Ignored);
            return self.done(entry, stop).await;
        };
        let message = match self.message(entry).await {
            Ok(it) => it,
            Err(error) => return End::Refused(format!("the spool cannot give it: {error}")),
        };
        let mut backoff = Backoff::new();
        loop {
            match self.client.post(&path, message.clone()).await.map_err(Attempt::Failed).and_then(judge) {
                Ok(()) => {
                    if backoff.attempts() > 0 {
                        log::info(format_args!("Mattermost answers again, after {} attempts", backoff.attempts()));
                    }
                    self.metrics.posts.count(Post::Posted);
                    return self.done(entry, stop).await;
                }
                Err(Attempt::Refused(why)) => return End::Refused(why),
                Err(Attempt::Failed(failure)) => {
                    self.metrics.post_failures.count(failure.reason);
                    if failure.reason == PostFailure::ServerError
                        && failure.detail == "500"
                        && backoff.attempts() >= ATTEMPTS_AT_500
                    {
                        return End::Refused("Mattermost answers 500".into());
                    }
                    // The first says what is wrong; every minute or so one says that it still is.
                    if backoff.attempts() == 0 || backoff.attempts().is_multiple_of(10) {
                        let Failure { reason, detail } = &failure;
                        log::warning(format_args!("a post failed and is tried again ({reason:?}: {detail})"));
                    }
                    tokio::select! {
                        () = sleep(backoff.next()) => {}
                        _ = stop.wait_for(|it| *it) => return End::Stopped,
                    }
                }
            }
        }
    }

    async fn message(&self, entry: Entry) -> Result<Bytes, String> {
        let body = self.spool.body(entry).await?;
        let delivery = Delivery::parse(&body).map_err(|it| format!("{it:?}"))?;
        serde_json::to_vec(&render(&delivery)).map(Bytes::from).map_err(|it| it.to_string())
    }

    /// The next post waits for the mark, so that a kill can repeat no more than one.
    async fn done(&self, entry: Entry, stop: &mut watch::Receiver<bool>) -> End {
        while self.spool.posted(entry).await.is_err() {
            tokio::select! {
                () = sleep(Duration::from_secs(1)) => {}
                _ = stop.wait_for(|it| *it) => return End::Stopped,
            }
        }
        End::Posted
    }
}

/// Why an attempt was none.
enum Attempt {
    /// Mattermost is away, or wants to be left alone for now.
    Failed(Failure),
    /// It is there and does not want this.
    Refused(String),
}

/// Recorded in tests/recorded/hooks.jsonl: 200 for a post; 400 for an unknown hook, a deleted one and a payload that it
/// does not like; 403 for a channel that the hook may not post to; 404 for a channel that is gone.
fn judge(status: StatusCode) -> Result<(), Attempt> {
    let failed = |reason| Err(Attempt::Failed(Failure { reason, detail: status.as_str().to_owned() }));
    match status.as_u16() {
        200 => Ok(()),
        429 => failed(PostFailure::RateLimited),
        408 => failed(PostFailure::Timeout),
        500..=599 => failed(PostFailure::ServerError),
        other => Err(Attempt::Refused(format!("Mattermost answers {other}"))),
    }
}

/// The next that has rested enough.
async fn due(asides: &mut [Aside; 2]) -> Entry {
    let next = asides.iter_mut().filter(|it| !it.entries.is_empty()).min_by_key(|it| it.again);
    let Some((aside, again)) = next.and_then(|it| it.again.map(|again| (it, again))) else { return pending().await };
    sleep_until(again).await;
    match aside.entries.pop_front() {
        Some(it) => it,
        None => pending().await,
    }
}

/// One refusal is enough for now: the others of its kind rest as well. It goes to their end, so that one bad message
/// does not keep the good ones behind it for ever.
fn set_aside(aside: &mut Aside, entry: Entry, why: &str) {
    let now = Instant::now();
    let first = aside.entries.is_empty();
    aside.entries.push_back(entry);
    // New ones that are refused too must not put the repetition off again and again.
    if first || aside.again.is_none_or(|it| it <= now) {
        aside.again = Some(now + REST);
        let hook = match entry.outcome {
            Outcome::Passed => "passed_hook",
            Outcome::Failed => "failed_hook",
        };
        log::error(format_args!(
            "a message to {hook} is refused ({why}); it is kept and tried every {} s. If the hook is gone or locked, run \
             cargo xtask wire, then cargo xtask up",
            REST.as_secs()
        ));
    }
}
