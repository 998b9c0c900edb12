//! Files: written whole or not at all, and one writer at a time.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::error::hinted;

/// Replaces a file as a whole: a temporary file beside it, fsync, rename, fsync of the folder. A crash leaves the old
/// file or the new one, and a new file has its mode before it has its name.
pub fn write(path: &Path, contents: &[u8], mode: u32) -> anyhow::Result<()> {
    write_unsynced(path, contents, mode)?;
    sync_folder(path)
}

/// [`write`] without the fsync of the folder, for a caller that writes several files and then calls [`sync_folder`].
pub fn write_unsynced(path: &Path, contents: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    create_folder(folder)?;
    let attempt = || -> std::io::Result<()> {
        let mut file =
            tempfile::Builder::new().prefix(".xtask-").permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
        file.write_all(contents)?;
        // The umask may have narrowed the mode; containers of another user must be able to read public files.
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

/// Makes the renames in the folder of `path` durable.
pub fn sync_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    File::open(folder).and_then(|file| file.sync_all()).with_context(|| format!("cannot sync {}", folder.display()))
}

pub fn create_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// The permission bits of a file, or nothing when it does not exist.
pub fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o7777)
}

/// Held while a command changes a stack. The kernel releases it when the process and the last program that it started have
/// ended, however they end.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        *held_by_this_process() = None;
    }
}

/// Takes the lock of a stack's folder, or says who holds it.
pub fn lock(folder: &Path, command: &str) -> anyhow::Result<Lock> {
    let path: PathBuf = folder.join(".lock");
    create_folder(folder)?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let end = Instant::now() + LAST_CALL;
    let result = loop {
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) if Instant::now() < end && holder_is_dead(&path) => {
                std::thread::sleep(Duration::from_millis(50));
            }
            result => break result,
        }
    };
    match result {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok();
            let holder = if holder.trim().is_empty() { "another `cargo xtask`" } else { holder.trim() };
            return Err(hinted(
                anyhow::anyhow!("{holder} holds the lock {}", path.display()),
                "wait until it is done; the lock goes with the process",
            ));
        }
        Err(fs::TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    let note = format!("`cargo xtask {command}` (process {})\n", std::process::id());
    let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(note.as_bytes()));
    noted.with_context(|| format!("cannot write {}", path.display()))?;
    *held_by_this_process() = file.try_clone().ok();
    Ok(Lock { _file: file })
}

/// Another handle of the lock that this process holds, for a program that it starts: a command that is killed leaves the
/// call that it was making under way, and the next one must not look before that is done.
pub fn held() -> Option<File> {
    held_by_this_process().as_ref().and_then(|file| file.try_clone().ok())
}

static HELD: Mutex<Option<File>> = Mutex::new(None);

fn held_by_this_process() -> MutexGuard<'static, Option<File>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longer than any call of a command that was killed can take.
const LAST_CALL: Duration = Duration::from_secs(35);

/// Whether the process that the lock's note names is gone, and only what it started holds the lock.
fn holder_is_dead(path: &Path) -> bool {
    let note = fs::read_to_string(path).unwrap_or_default();
    let process = note.split_once("(process ").and_then(|(_, rest)| rest.split_once(')')).map(|(process, _)| process);
    process.is_some_and(|process| !Path::new("/proc").join(process).exists())
}
