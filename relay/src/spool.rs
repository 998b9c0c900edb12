//! The deliveries that got their 200 and are not in Mattermost yet, and the memory of those that are.
//!
//! One thread owns the journal. It takes what has queued up while it was waiting for the disk, writes that at once,
//! syncs once, and answers all of it: under load a hundred deliveries share one fdatasync, alone one delivery waits for
//! nobody. A file a delivery would need a sync of each file and of the folder; a database would do what 300 lines do.

pub mod journal;
mod record;

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::delivery::Outcome;
use crate::log;
use crate::metrics::Metrics;

use self::journal::{Entry, Journal, Verdict};
pub use self::record::Identity;

/// At most so many commands share one sync.
const BATCH: usize = 256;
/// And so many bytes, so that the buffer stays small.
const BATCH_BYTES: usize = 256 * 1024;

/// A healthy disk is asked for proof no more often than this, whoever asks.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// The spool cannot be written at the moment; the log says why.
#[derive(Debug)]
pub struct Unwritable;

/// What tasks hold to talk to the thread.
#[derive(Clone)]
pub struct Spool(mpsc::Sender<Command>);

impl Spool {
    /// Opens the folder and starts the thread. What waits from earlier is sent to `waiting` at once, and from then on
    /// each new delivery, in the order of acceptance. The handle is joined after the last `Spool` has been dropped.
    pub fn start(
        folder: &Path,
        queue: usize,
        metrics: Arc<Metrics>,
        waiting: UnboundedSender<Entry>,
    ) -> Result<(Spool, JoinHandle<()>), String> {
        let journal = Journal::open(folder, queue).map_err(|it| {
            format!("spool: {}: {it}; it must be a folder that the relay's user can write to", folder.display())
        })?;
        metrics.damaged_bytes.store(journal.damaged_bytes(), Relaxed);
        for entry in journal.waiting() {
            // Without a receiver nobody posts: only tests do that.
            let _ = waiting.send(entry);
        }
        let (sender, commands) = mpsc::channel();
        let worker = Worker { journal, metrics, waiting, synced: Instant::now(), complained: false };
        worker.publish();
        let thread = std::thread::Builder::new().name("spool".into()).spawn(move || worker.run(&commands));
        Ok((Spool(sender), thread.map_err(|it| it.to_string())?))
    }

    /// Gives its verdict once the delivery is on disk.
    pub async fn accept(&self, outcome: Outcome, body: Vec<u8>) -> Result<Verdict, Unwritable> {
        let identity = Identity::of(&body);
        self.ask(|reply| Command::Accept { outcome, identity, body, reply }).await
    }

    /// Remembers, once it is on disk, that Mattermost has the delivery.
    pub async fn posted(&self, entry: Entry) -> Result<(), Unwritable> {
        self.ask(|reply| Command::Posted { entry, reply }).await
    }

    /// Reads a delivery that waits.
    pub async fn body(&self, entry: Entry) -> Result<Vec<u8>, String> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(Command::Read { entry, reply });
        sent.map_err(|_| "the spool has stopped")?;
        answer.await.map_err(|_| "the spool has stopped")?
    }

    /// Whether the spool can be written.
    pub async fn probe(&self) -> Result<(), Unwritable> {
        self.ask(|reply| Command::Probe { reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Unwritable> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).map_err(|_| Unwritable)?;
        answer.await.map_err(|_| Unwritable)?
    }
}

type Reply<T> = oneshot::Sender<Result<T, Unwritable>>;

enum Command {
    Accept { outcome: Outcome, identity: Identity, body: Vec<u8>, reply: Reply<Verdict> },
    Posted { entry: Entry, reply: Reply<()> },
    Read { entry: Entry, reply: oneshot::Sender<Result<Vec<u8>, String>> },
    Probe { reply: Reply<()> },
}

/// An answer that waits for the sync.
enum Answer {
    Accept(Reply<Verdict>, Verdict),
    Posted(Reply<()>),
    Probe(Reply<()>),
}

struct Worker {
    journal: Journal,
    metrics: Arc<Metrics>,
    waiting: UnboundedSender<Entry>,
    /// When the last sync succeeded.
    synced: Instant,
    /// Whether the log knows already that the disk does not take it.
    complained: bool,
}

impl Worker {
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        let mut answers = Vec::with_capacity(BATCH);
        while let Ok(first) = commands.recv() {
            self.stage(first, &mut answers);
            while answers.len() < BATCH && self.journal.staged_bytes() < BATCH_BYTES {
                let Ok(command) = commands.try_recv() else { break };
                self.stage(command, &mut answers);
            }
            if answers.is_empty() {
                continue;
            }
            let result = self.commit();
            // Before the answers: who has one finds his delivery in the metrics.
            self.publish();
            for answer in answers.drain(..) {
                let failed = result.is_err();
                // Who has gone away meanwhile does not read the answer; a delivery of his is kept all the same.
                match answer {
                    Answer::Accept(reply, verdict) => {
                        // A full queue is full whatever the disk does.
                        let refused = failed && verdict != Verdict::Full;
                        let _ = reply.send(if refused { Err(Unwritable) } else { Ok(verdict) });
                    }
                    Answer::Posted(reply) | Answer::Probe(reply) => {
                        let _ = reply.send(if failed { Err(Unwritable) } else { Ok(()) });
                    }
                }
            }
            if self.journal.compact_if_due().unwrap_or_else(|it| self.complain("rewriting the journal", &it)) {
                self.publish();
            }
        }
    }

    fn stage(&mut self, command: Command, answers: &mut Vec<Answer>) {
        match command {
            Command::Accept { outcome, identity, body, reply } => {
                let verdict = self.journal.stage_delivery(outcome, identity, &body);
                answers.push(Answer::Accept(reply, verdict));
            }
            Command::Posted { entry, reply } => {
                self.journal.stage_posted(entry);
                answers.push(Answer::Posted(reply));
            }
            Command::Read { entry, reply } => {
                let _ = reply.send(self.journal.body(entry));
            }
            Command::Probe { reply } => {
                if self.complained || self.synced.elapsed() > PROBE_EVERY {
                    self.journal.stage_probe(self.complained);
                }
                answers.push(Answer::Probe(reply));
            }
        }
    }

    fn commit(&mut self) -> Result<(), ()> {
        match self.journal.commit() {
            Ok(Some(accepted)) => {
                for entry in accepted {
                    let _ = self.waiting.send(entry);
                }
                self.synced = Instant::now();
                if self.complained {
                    log::info("the spool can be written again");
                    self.complained = false;
                }
                Ok(())
            }
            // Nothing was to be written: a probe soon after a sync, or only duplicates.
            Ok(None) => Ok(()),
            Err(error) => {
                self.complain("writing the journal", &error);
                Err(())
            }
        }
    }

    fn complain(&mut self, doing: &str, error: &std::io::Error) -> bool {
        if !self.complained {
            log::error(format_args!("{doing} failed: {error}; make room in the spool's volume, or make it writable"));
        }
        self.complained = true;
        false
    }

    fn publish(&self) {
        self.metrics.queued.store(self.journal.len() as u64, Relaxed);
        self.metrics.oldest.store(self.journal.oldest().unwrap_or(0), Relaxed);
        self.metrics.journal_bytes.store(self.journal.bytes(), Relaxed);
    }
}
