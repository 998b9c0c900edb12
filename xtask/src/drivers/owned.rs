//! Files in a folder of somebody else's server: replaced whole, and owned by whom that server runs as.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use anyhow::Context as _;

use super::files;
use crate::error::{Hint as _, hinted};

/// User and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

/// The owner of a file or folder.
pub fn owner(path: &Path) -> anyhow::Result<Owner> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    Ok(Owner { uid: metadata.uid(), gid: metadata.gid() })
}

/// Replaces a file as [`files::write`] does, with this owner before it has its name. Its folder is made when it is missing,
/// for the owner alone when the file is.
///
/// # Errors
/// Also when the folder is a symbolic link: run as root, this would write wherever the folder's owner lets it point.
pub fn write(path: &Path, contents: &[u8], mode: u32, owner: Owner) -> anyhow::Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    if folder.is_symlink() {
        return Err(hinted(
            anyhow::anyhow!("{} is a symbolic link; nothing was written there", folder.display()),
            "name the folder that it points to, by --casc or --secrets",
        ));
    }
    let attempt = || -> std::io::Result<()> {
        if !folder.is_dir() {
            fs::create_dir(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(if mode & 0o077 == 0 { 0o700 } else { 0o755 }))?;
            give(folder, owner)?;
        }
        let mut file = tempfile::Builder::new()
            .prefix(".xtask-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        file.write_all(contents)?;
        give(file.path(), owner)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt()
        .with_context(|| format!("cannot write {} for its owner", path.display()))
        .hint("run this as root or as the user that the folder belongs to")?;
    files::sync_folder(path)
}

fn give(path: &Path, owner: Owner) -> std::io::Result<()> {
    let metadata = fs::metadata(path)?;
    if (metadata.uid(), metadata.gid()) == (owner.uid, owner.gid) {
        return Ok(());
    }
    chown(path, Some(owner.uid), Some(owner.gid))
}
