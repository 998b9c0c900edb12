//! One append-only file, and an index of it in memory: places, not bodies, so that a long queue costs little.
//!
//! The order of events makes it safe: records are written behind the last synced byte, then synced, and only then do they
//! count. When a write or a sync fails, the file is cut back to the last synced byte before anything else is written;
//! whatever the failed sync left behind has never been acknowledged. When little of a large file is still needed, what is
//! needed is copied to a new file, which takes the old one's name once it is synced.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::delivery::Outcome;
use crate::log;
use crate::metrics::now;

use super::record::{self, BEFORE_BODY, HEAD, Identity, Record, Scanner};

/// So many posted deliveries are remembered: weeks of a busy SonarQube, 4 MB in memory and on disk.
const REMEMBERED: usize = 100_000;
/// What waits may not be larger than this on disk, in bytes, however few deliveries it is.
const MOST_BYTES: u64 = 512 * 1024 * 1024;
/// A file is not rewritten before it has so many bytes that nobody needs.
const SLACK: u64 = 16 * 1024 * 1024;
/// A buffer that has grown larger than this is given back.
const KEPT_BUFFER: usize = 256 * 1024;

/// A delivery that waits to be posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Grows from one delivery to the next; starts anew with the process.
    pub number: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Duplicate,
    Full,
}

/// Where a delivery's record lies.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    length: u64,
    outcome: Outcome,
    accepted: u64,
    identity: Identity,
}

pub struct Journal {
    folder: PathBuf,
    /// Held for as long as the journal is open, so that no second relay writes to it.
    _lock: File,
    file: File,
    /// Everything before is synced.
    end: u64,
    /// A write or a sync has failed: there may be something behind `end`.
    torn: bool,
    damaged: u64,
    limit: usize,
    next: u64,
    waiting: BTreeMap<u64, Place>,
    waiting_bytes: u64,
    /// Of all that wait and all that are remembered.
    known: HashSet<Identity>,
    posted: VecDeque<Identity>,
    buffer: Vec<u8>,
    staged: Vec<Place>,
    staged_posted: Vec<Entry>,
}

impl Journal {
    /// Reads what is there. Damage is skipped and a torn end cut off, both with a line in the log.
    pub fn open(folder: &Path, limit: usize) -> io::Result<Journal> {
        let lock = options().open(folder.join("lock"))?;
        lock.try_lock().map_err(|it| io::Error::other(format!("is used by another relay ({it})")))?;
        let path = folder.join("journal");
        let file = options().open(&path)?;
        File::open(folder)?.sync_all()?;
        let mut journal = Journal {
            folder: folder.to_owned(),
            _lock: lock,
            file: file.try_clone()?,
            end: 0,
            torn: false,
            damaged: 0,
            limit,
            next: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            known: HashSet::new(),
            posted: VecDeque::new(),
            buffer: Vec::new(),
            staged: Vec::new(),
            staged_posted: Vec::new(),
        };
        journal.recover(Scanner::new(file)?)?;
        Ok(journal)
    }

    fn recover(&mut self, mut scanner: Scanner) -> io::Result<()> {
        let mut numbers = HashMap::new();
        while let Some((start, length, record)) = scanner.read_next()? {
            match record {
                Record::Delivery { outcome, accepted, identity } => {
                    numbers.insert(identity, self.next);
                    self.insert(Place { start, length, outcome, accepted, identity });
                }
                Record::Posted(identity) => {
                    if let Some(number) = numbers.remove(&identity) {
                        self.remove(number);
                    }
                    self.remember(identity);
                }
                Record::Nothing => {}
            }
        }
        let size = self.file.metadata()?.len();
        self.damaged = scanner.damaged + (size - scanner.good_end);
        if scanner.damaged > 0 {
            log::warning(format_args!("the journal has {} damaged bytes; what follows them is kept", scanner.damaged));
        }
        if size > scanner.good_end {
            let torn = size - scanner.good_end;
            log::warning(format_args!("the journal's last {torn} bytes are torn and cut off; they had got no 200"));
            self.file.set_len(scanner.good_end)?;
        }
        // A record that was read may never have been synced: it counts from now on.
        self.file.sync_all()?;
        self.end = scanner.good_end;
        Ok(())
    }

    /// What waits, the oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = Entry> {
        self.waiting.iter().map(|(&number, place)| Entry { number, outcome: place.outcome })
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the oldest that waits was accepted, in seconds since 1970.
    pub fn oldest(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(_, place)| place.accepted)
    }

    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// What the next commit writes.
    pub fn staged_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What was unreadable when the journal was opened.
    pub fn damaged_bytes(&self) -> u64 {
        self.damaged
    }

    /// The verdict holds once `commit` has succeeded.
    pub fn stage_delivery(&mut self, outcome: Outcome, identity: Identity, body: &[u8]) -> Verdict {
        if self.known.contains(&identity) || self.staged.iter().any(|it| it.identity == identity) {
            return Verdict::Duplicate;
        }
        let length = HEAD + BEFORE_BODY + body.len() as u64;
        let staged: u64 = self.staged.iter().map(|it| it.length).sum();
        let full = self.waiting.len() + self.staged.len() >= self.limit;
        if full || self.waiting_bytes + staged + length > MOST_BYTES {
            return Verdict::Full;
        }
        let (start, accepted) = (self.end + self.buffer.len() as u64, now());
        record::write_delivery(&mut self.buffer, outcome, accepted, body);
        self.staged.push(Place { start, length, outcome, accepted, identity });
        Verdict::Accepted
    }

    pub fn stage_posted(&mut self, entry: Entry) {
        if let Some(place) = self.waiting.get(&entry.number) {
            record::write_posted(&mut self.buffer, place.identity);
            self.staged_posted.push(entry);
        }
    }

    /// Makes the next commit write something. After an error that is as much as a large delivery: a full disk often has
    /// room for a few bytes.
    pub fn stage_probe(&mut self, after_error: bool) {
        record::write_nothing(&mut self.buffer, if after_error { &[0; 8192] } else { &[] });
    }

    /// Writes and syncs what is staged, and gives the deliveries that wait from now on; `None` when nothing was staged.
    /// After an error nothing of it counts.
    pub fn commit(&mut self) -> io::Result<Option<Vec<Entry>>> {
        let written = self.write();
        let (staged, posted) = (std::mem::take(&mut self.staged), std::mem::take(&mut self.staged_posted));
        let length = self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER);
        if let Err(error) = written {
            self.torn = true;
            // At once, if it can be; else before the next write.
            let _ = self.undo();
            return Err(error);
        }
        if length == 0 {
            return Ok(None);
        }
        self.end += length;
        for entry in posted {
            if let Some(place) = self.remove(entry.number) {
                self.remember(place.identity);
            }
        }
        Ok(Some(staged.into_iter().map(|it| self.insert(it)).collect()))
    }

    /// Takes back what a failed write or sync may have left.
    fn undo(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.end)?;
            self.file.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
            self.torn = false;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.undo()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.buffer, self.end)?;
        // The size is synced too: without it the data could not be read back.
        self.file.sync_data()
    }

    /// Reads the body of a delivery that waits.
    pub fn body(&self, entry: Entry) -> Result<Vec<u8>, String> {
        let place = self.waiting.get(&entry.number).ok_or("it is not in the spool")?;
        let mut head = [0; HEAD as usize];
        let mut payload = vec![0; usize::try_from(place.length - HEAD).map_err(|it| it.to_string())?];
        self.file.read_exact_at(&mut head, place.start).map_err(|it| it.to_string())?;
        self.file.read_exact_at(&mut payload, place.start + HEAD).map_err(|it| it.to_string())?;
        record::read(&head, &payload).ok_or("its bytes have changed on disk")?;
        Ok(payload.split_off(BEFORE_BODY as usize))
    }

    /// Rewrites the file when more of it is waste than is needed. Gives whether it did.
    pub fn compact_if_due(&mut self) -> io::Result<bool> {
        let needed = self.waiting_bytes + self.posted.len() as u64 * (HEAD + 17);
        if self.torn || self.end < 2 * needed + SLACK {
            return Ok(false);
        }
        self.compact()?;
        Ok(true)
    }

    fn compact(&mut self) -> io::Result<()> {
        let path = self.folder.join("journal.new");
        let file = options().truncate(true).open(&path)?;
        let mut places = BTreeMap::new();
        let (mut end, mut buffer) = (0, Vec::new());
        for &identity in &self.posted {
            record::write_posted(&mut buffer, identity);
            flush_at(&file, &mut buffer, &mut end, KEPT_BUFFER)?;
        }
        for (&number, place) in &self.waiting {
            let (before, length) = (buffer.len(), usize::try_from(place.length).unwrap_or(0));
            places.insert(number, Place { start: end + before as u64, ..*place });
            buffer.resize(before + length, 0);
            self.file.read_exact_at(&mut buffer[before..], place.start)?;
            flush_at(&file, &mut buffer, &mut end, KEPT_BUFFER)?;
        }
        flush_at(&file, &mut buffer, &mut end, 0)?;
        file.sync_all()?;
        std::fs::rename(&path, self.folder.join("journal"))?;
        // From here on the new file is the journal, whatever the sync of the folder says; if that fails and the machine
        // with it, the old file is there again, and misses what was written since. So nothing is written before.
        (self.file, self.end, self.waiting) = (file, end, places);
        self.torn = true;
        File::open(&self.folder)?.sync_all()?;
        self.torn = false;
        Ok(())
    }

    fn insert(&mut self, place: Place) -> Entry {
        let entry = Entry { number: self.next, outcome: place.outcome };
        self.next += 1;
        self.known.insert(place.identity);
        self.waiting_bytes += place.length;
        self.waiting.insert(entry.number, place);
        entry
    }

    fn remove(&mut self, number: u64) -> Option<Place> {
        let place = self.waiting.remove(&number)?;
        self.waiting_bytes -= place.length;
        Some(place)
    }

    fn remember(&mut self, identity: Identity) {
        self.known.insert(identity);
        self.posted.push_back(identity);
        if self.posted.len() > REMEMBERED
            && let Some(oldest) = self.posted.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn flush_at(file: &File, buffer: &mut Vec<u8>, end: &mut u64, above: usize) -> io::Result<()> {
    if buffer.len() > above {
        file.write_all_at(buffer, *end)?;
        *end += buffer.len() as u64;
        buffer.clear();
    }
    Ok(())
}

/// Deliveries are nobody else's business.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests;
