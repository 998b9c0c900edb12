use std::io::Write as _;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const LIMIT: usize = 1000;

fn open(folder: &TempDir) -> Journal {
    Journal::open(folder.path(), LIMIT).expect("a journal")
}

fn accept(journal: &mut Journal, body: &[u8]) -> Entry {
    assert_eq!(journal.stage_delivery(Outcome::Failed, Identity::of(body), body), Verdict::Accepted);
    let accepted = journal.commit().expect("written").expect("something");
    let [entry] = accepted[..] else { panic!("{accepted:?}") };
    entry
}

fn posted(journal: &mut Journal, entry: Entry) {
    journal.stage_posted(entry);
    journal.commit().expect("written");
}

fn bodies(journal: &Journal) -> Vec<Vec<u8>> {
    journal.waiting().map(|it| journal.body(it).expect("a body")).collect()
}

fn append(folder: &TempDir, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(folder.path().join("journal")).expect("a file");
    file.write_all(bytes).expect("written");
}

#[test]
fn what_waits_is_there_again_and_what_is_posted_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = open(&folder);
    let first = accept(&mut journal, b"first");
    accept(&mut journal, b"second");
    posted(&mut journal, first);
    drop(journal);

    let mut journal = open(&folder);
    assert_eq!(bodies(&journal), [b"second"]);
    assert_eq!(journal.damaged_bytes(), 0);
    for body in [b"first".as_slice(), b"second"] {
        assert_eq!(journal.stage_delivery(Outcome::Failed, Identity::of(body), body), Verdict::Duplicate);
    }
    assert_eq!(journal.commit().expect("nothing to write"), None);
}

#[test]
fn one_batch_counts_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), 2).expect("a journal");
    let mut stage = |body: &[u8]| journal.stage_delivery(Outcome::Passed, Identity::of(body), body);
    assert_eq!([stage(b"a"), stage(b"a"), stage(b"b"), stage(b"c")], {
        use Verdict::{Accepted, Duplicate, Full};
        [Accepted, Duplicate, Accepted, Full]
    });
    assert_eq!(journal.commit().expect("written").expect("something").len(), 2);
    assert_eq!(bodies(&journal), [b"a", b"b"]);
}

#[test]
fn a_second_relay_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(&folder);
    let error = Journal::open(folder.path(), LIMIT).err().expect("refused");
    assert!(error.to_string().contains("another relay"), "{error}");
    drop(journal);
    open(&folder);
}

#[test]
fn damage_in_the_middle_costs_one_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = open(&folder);
    for body in [b"first", b"other", b"third"] {
        accept(&mut journal, body);
    }
    drop(journal);
    let path = folder.path().join("journal");
    let mut bytes = std::fs::read(&path).expect("bytes");
    let at = bytes.windows(5).position(|it| it == b"other").expect("the body");
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("written");

    let mut journal = open(&folder);
    assert_eq!(bodies(&journal), [b"first", b"third"]);
    assert_eq!(journal.damaged_bytes(), HEAD + BEFORE_BODY + 5);
    accept(&mut journal, b"other");
    drop(journal);
    assert_eq!(bodies(&open(&folder)), [b"first", b"third", b"other"]);
}

#[test]
fn a_failed_write_is_undone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = open(&folder);
    accept(&mut journal, b"first");
    let good = std::mem::replace(&mut journal.file, File::open(folder.path().join("journal")).expect("read-only"));
    assert_eq!(journal.stage_delivery(Outcome::Failed, Identity::of(b"lost"), b"lost"), Verdict::Accepted);
    journal.commit().expect_err("read-only");
    append(&folder, b"RLY1 and half of what was written");
    // As long as it cannot be undone, nothing else is written.
    assert_eq!(journal.stage_delivery(Outcome::Failed, Identity::of(b"lost"), b"lost"), Verdict::Accepted);
    journal.commit().expect_err("read-only");
    journal.file = good;
    accept(&mut journal, b"lost");
    drop(journal);
    let journal = open(&folder);
    assert_eq!(bodies(&journal), [b"first".as_slice(), b"lost"]);
    assert_eq!(journal.damaged_bytes(), 0);
}

#[test]
fn compaction_keeps_what_is_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = open(&folder);
    let mut kept = Vec::new();
    for number in 0..100 {
        let body = format!("{number}").repeat(100_000);
        let entry = accept(&mut journal, body.as_bytes());
        if number % 10 == 0 {
            kept.push(body.into_bytes());
        } else {
            posted(&mut journal, entry);
        }
        journal.compact_if_due().expect("rewritten");
    }
    assert!(journal.bytes() < 2 * journal.waiting_bytes + SLACK + 10_000, "{}", journal.bytes());
    assert_eq!(bodies(&journal), kept);
    accept(&mut journal, b"after");
    kept.push(b"after".to_vec());
    drop(journal);
    let mut journal = open(&folder);
    assert_eq!(bodies(&journal), kept);
    let body = "99".repeat(100_000);
    assert_eq!(journal.stage_delivery(Outcome::Failed, Identity::of(body.as_bytes()), b""), Verdict::Duplicate);
}

#[test]
fn the_memory_of_what_was_posted_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = open(&folder);
    let identity = |number: usize| Identity::of(&number.to_le_bytes());
    for number in 0..REMEMBERED + 10 {
        journal.remember(identity(number));
    }
    assert_eq!((journal.known.len(), journal.posted.len()), (REMEMBERED, REMEMBERED));
    assert!(!journal.known.contains(&identity(9)) && journal.known.contains(&identity(10)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a crash leaves of the last write, what was synced before it stays, and the journal goes on.
    #[test]
    fn any_torn_end_is_cut_off(garbage in proptest::collection::vec(any::<u8>(), 0..80), cut in 0_usize..60) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = open(&folder);
        accept(&mut journal, b"first");
        let synced = journal.bytes();
        drop(journal);
        let mut torn = Vec::new();
        record::write_delivery(&mut torn, Outcome::Failed, 1, b"a delivery whose write was cut off");
        // What follows is anything but the rest of it.
        let wrong = !torn[cut.min(torn.len() - 1)];
        torn.truncate(cut.min(torn.len() - 1));
        append(&folder, &[torn, vec![wrong], garbage].concat());

        let mut journal = open(&folder);
        prop_assert_eq!(bodies(&journal), [b"first"]);
        prop_assert_eq!(journal.bytes(), synced);
        accept(&mut journal, b"second");
        drop(journal);
        prop_assert_eq!(bodies(&open(&folder)), [b"first".as_slice(), b"second"]);
    }
}
