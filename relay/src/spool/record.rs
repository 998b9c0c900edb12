//! How the journal writes one thing down.
//!
//! A record is `RLY1`, the length of the payload (4 bytes, little-endian), the first 8 bytes of the payload's SHA-256, and
//! the payload, which starts with a kind:
//!
//! - `P` or `F`: a delivery whose gate passed or failed: when it was accepted (8 bytes, seconds since 1970), and the body.
//! - `D`: Mattermost has the delivery with this identity (16 bytes).
//! - `-`: nothing (any bytes), written to see whether the disk takes it.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};

use ring::digest::{SHA256, digest};

use crate::delivery::Outcome;

/// The marker lets a reader find the next record behind a damaged one.
const MARKER: &[u8; 4] = b"RLY1";
/// Marker, length, checksum.
pub const HEAD: u64 = 16;
/// What stands before the body in the payload of a delivery.
pub const BEFORE_BODY: u64 = 9;
/// The largest body is 1 MiB; a length beyond is damage.
const LONGEST: u64 = 1024 * 1024 + BEFORE_BODY;

/// The first half of the SHA-256 of a body: what makes two deliveries the same. Only who knows the secret could look for
/// a collision, and 128 bits are enough even then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    pub fn of(body: &[u8]) -> Identity {
        let mut half = [0; 16];
        half.copy_from_slice(&digest(&SHA256, body).as_ref()[..16]);
        Identity(half)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    Delivery { outcome: Outcome, accepted: u64, identity: Identity },
    Posted(Identity),
    Nothing,
}

pub fn write_delivery(buffer: &mut Vec<u8>, outcome: Outcome, accepted: u64, body: &[u8]) {
    let kind = match outcome {
        Outcome::Passed => b'P',
        Outcome::Failed => b'F',
    };
    write(buffer, &[&[kind], &accepted.to_le_bytes(), body]);
}

pub fn write_posted(buffer: &mut Vec<u8>, identity: Identity) {
    write(buffer, &[b"D", &identity.0]);
}

pub fn write_nothing(buffer: &mut Vec<u8>, filler: &[u8]) {
    write(buffer, &[b"-", filler]);
}

fn write(buffer: &mut Vec<u8>, payload: &[&[u8]]) {
    let mut hash = ring::digest::Context::new(&SHA256);
    let mut length = 0;
    for part in payload {
        hash.update(part);
        length += part.len();
    }
    // Exact, because doubling a buffer that holds a large body is the most memory that the relay ever takes.
    if length > 64 * 1024 {
        buffer.reserve_exact(HEAD as usize + length);
    }
    buffer.extend_from_slice(MARKER);
    // A payload is at most LONGEST.
    buffer.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    buffer.extend_from_slice(&hash.finish().as_ref()[..8]);
    payload.iter().for_each(|it| buffer.extend_from_slice(it));
}

/// Checks a payload against its checksum and takes it apart.
pub fn read(head: &[u8; HEAD as usize], payload: &[u8]) -> Option<Record> {
    if head[8..] != digest(&SHA256, payload).as_ref()[..8] {
        return None;
    }
    match payload.split_first()? {
        (b'D', identity) => Some(Record::Posted(Identity(identity.try_into().ok()?))),
        (b'-', _) => Some(Record::Nothing),
        (kind @ (b'P' | b'F'), rest) => {
            let (accepted, body) = rest.split_first_chunk()?;
            let outcome = if *kind == b'P' { Outcome::Passed } else { Outcome::Failed };
            let accepted = u64::from_le_bytes(*accepted);
            Some(Record::Delivery { outcome, accepted, identity: Identity::of(body) })
        }
        _ => None,
    }
}

/// Reads a whole file, one record after the other.
pub struct Scanner {
    file: BufReader<File>,
    at: u64,
    end: u64,
    payload: Vec<u8>,
    /// The bytes between records that were none.
    pub damaged: u64,
    /// Behind the last good record.
    pub good_end: u64,
}

impl Scanner {
    pub fn new(file: File) -> io::Result<Scanner> {
        let end = file.metadata()?.len();
        let file = BufReader::with_capacity(64 * 1024, file);
        Ok(Scanner { file, at: 0, end, payload: Vec::new(), damaged: 0, good_end: 0 })
    }

    /// The next good record, where it starts, and how long it is as a whole. Damage before it is skipped and counted.
    pub fn read_next(&mut self) -> io::Result<Option<(u64, u64, Record)>> {
        while self.at < self.end {
            if let Some((length, record)) = self.at_this_place()? {
                let start = self.at;
                self.damaged += start - self.good_end;
                self.at += length;
                self.good_end = self.at;
                return Ok(Some((start, length, record)));
            }
            self.at = self.next_marker(self.at + 1)?;
        }
        Ok(None)
    }

    fn at_this_place(&mut self) -> io::Result<Option<(u64, Record)>> {
        if self.end - self.at < HEAD {
            return Ok(None);
        }
        self.go_to(self.at)?;
        let mut head = [0; HEAD as usize];
        self.file.read_exact(&mut head)?;
        let length = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        if &head[..4] != MARKER || length > LONGEST || length > self.end - self.at - HEAD {
            return Ok(None);
        }
        self.payload.resize(usize::try_from(length).unwrap_or(0), 0);
        self.file.read_exact(&mut self.payload)?;
        Ok(read(&head, &self.payload).map(|it| (HEAD + length, it)))
    }

    /// The first place at or behind `from` where a marker starts; the end of the file without one.
    fn next_marker(&mut self, from: u64) -> io::Result<u64> {
        self.go_to(from)?;
        let mut at = from;
        let mut last = [0; 4];
        for byte in self.file.by_ref().bytes() {
            last.rotate_left(1);
            last[3] = byte?;
            at += 1;
            if &last == MARKER {
                return Ok(at - 4);
            }
        }
        Ok(self.end)
    }

    /// Keeps the buffer when it can.
    fn go_to(&mut self, place: u64) -> io::Result<()> {
        let here = self.file.stream_position()?;
        match i64::try_from(i128::from(place) - i128::from(here)) {
            Ok(distance) => self.file.seek_relative(distance),
            Err(_) => self.file.seek(SeekFrom::Start(place)).map(drop),
        }
    }
}
