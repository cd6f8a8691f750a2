//! Giving something its final name, whole and at once: a new file grows without a name, or under a
//! temporary one, and is renamed when nothing is missing; never over something else unasked.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::{
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags},
    io::{Errno, retry_on_intr},
    rand::{GetRandomFlags, getrandom},
};

use super::{
    Options,
    delete::discard_tree,
    error::{Fault, FileError},
    open::{BENEATH, Facts, Ident, LIST, Spot, open_at},
};

const PREFIX: &[u8] = b".pyinotifyd-";
const SUFFIX: &[u8] = b".tmp";
const DIGITS: usize = 16;

/// How often the destination may change between a look and the rename that follows.
const TRIES: u32 = 8;

/// Whether this is the name of a file that is not finished: `.pyinotifyd-`, 16 hexadecimal
/// digits, `.tmp`. One that is older than the daemon was left by a crash.
pub fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX))
        .is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

fn temporary_name(owner: Option<u64>) -> Result<Vec<u8>, Errno> {
    let mut bytes = [0; DIGITS / 2];
    match owner {
        Some(owner) => bytes = owner.to_be_bytes(),
        None => drop(retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))?),
    }
    let mut name = PREFIX.to_vec();
    for byte in bytes {
        name.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    name.extend_from_slice(SUFFIX);
    Ok(name)
}

/// A name beside a destination that shows nothing yet. Whatever has it, is removed when this is
/// dropped before [`Temp::publish`].
#[derive(Debug)]
pub(super) struct Temp {
    pub(super) spot: Spot,
    kind: Option<FileType>,
}

impl Temp {
    /// Chooses a name beside `target`. Nothing is made.
    pub(super) fn beside(target: &Spot, options: &Options<'_>) -> Result<Self, FileError> {
        let spot = Self::spot(target, options.owner)?;
        // Somebody else has it: nobody shall be able to keep us from working by that.
        let taken = options.owner.is_some() && spot.facts()?.is_some();
        let spot = if taken { Self::spot(target, None)? } else { spot };
        Ok(Self { spot, kind: None })
    }

    fn spot(target: &Spot, owner: Option<u64>) -> Result<Spot, FileError> {
        let name = temporary_name(owner)
            .map_err(|errno| FileError::system("getrandom", &target.path, errno))?;
        target.sibling(name)
    }

    /// Removes what an earlier attempt of this owner has left beside `target`.
    pub(super) fn clear(target: &Spot, owner: u64) -> Result<(), FileError> {
        let spot = Self::spot(target, Some(owner))?;
        let kind = spot.facts()?.map(|it| it.kind);
        drop(Self { spot, kind });
        Ok(())
    }

    /// Makes an empty file that only we can open: without a name where the file system can, so
    /// that nothing is left of it if we are killed.
    pub(super) fn file(&mut self) -> Result<OwnedFd, FileError> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match retry_on_intr(|| fs::openat(&self.spot.dir, c".", flags, Mode::RUSR | Mode::WUSR)) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => (),
            result => {
                return result.map_err(|errno| FileError::system("open", &self.spot.path, errno));
            }
        }
        let file = make_file(&self.spot.dir, &self.spot.name)
            .map_err(|errno| FileError::system("open", &self.spot.path, errno))?;
        self.kind = Some(FileType::RegularFile);
        Ok(file)
    }

    /// Gives a file made by [`Temp::file`] its name, if it has none yet.
    pub(super) fn link(&mut self, file: &OwnedFd) -> Result<(), FileError> {
        if self.kind.is_some() {
            return Ok(());
        }
        let Spot { dir, name, path } = &self.spot;
        let linked = match fs::linkat(file, c"", dir, name.as_slice(), AtFlags::EMPTY_PATH) {
            // Older kernels ask for CAP_DAC_READ_SEARCH there, not here (open(2), O_TMPFILE).
            Err(Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
                let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                fs::linkat(CWD, own, dir, name.as_slice(), AtFlags::SYMLINK_FOLLOW)
            }
            result => result,
        };
        linked.map_err(|errno| FileError::system("linkat", path, errno))?;
        self.kind = Some(FileType::RegularFile);
        Ok(())
    }

    /// Tells that something of this kind has the name now.
    pub(super) fn made(&mut self, kind: FileType) {
        self.kind = Some(kind);
    }

    /// Renames it to its destination, and makes that last.
    pub(super) fn publish(
        mut self,
        target: &Spot,
        ident: Ident,
        overwrite: bool,
    ) -> Result<(), FileError> {
        // Who can write in the directory can put something else under the temporary name.
        if self.spot.facts()?.map(|facts| facts.ident()) != Some(ident) {
            self.kind = None;
            return Err(FileError::found(Fault::Changed, "publish", &self.spot.path));
        }
        let is_dir = self.kind == Some(FileType::Directory);
        rename_into(&self.spot, target, is_dir, overwrite)
            .map_err(|errno| publish_error(target, errno))?;
        self.kind = None;
        sync_dir(target).inspect_err(|_| {
            if !overwrite {
                withdraw(target, ident);
            }
        })
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        match self.kind.take() {
            None => (),
            Some(FileType::Directory) => discard_tree(&self.spot),
            Some(_) => {
                let _ = fs::unlinkat(&self.spot.dir, self.spot.name.as_slice(), AtFlags::empty());
            }
        }
    }
}

/// Makes an empty file under a name that nothing has.
pub(super) fn make_file(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let dir = dir.as_fd();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR))
}

/// What an error of [`rename_into`] means for somebody who has the source in hand.
pub(super) fn publish_error(target: &Spot, errno: Errno) -> FileError {
    let kind = match errno {
        Errno::EXIST => Fault::Exists,
        // The name was there a moment ago: its directory has been removed.
        Errno::NOENT => Fault::NoDirectory,
        errno => return FileError::system("renameat2", &target.path, errno),
    };
    FileError::of(kind, "renameat2", &target.path, errno)
}

/// Takes away again what was published, unless somebody else has taken the name since.
pub(super) fn withdraw(target: &Spot, ident: Ident) {
    match target.facts() {
        Ok(Some(facts)) if facts.ident() == ident => {
            if facts.is_dir() {
                discard_tree(target);
            } else {
                let _ = fs::unlinkat(&target.dir, target.name.as_slice(), AtFlags::empty());
            }
        }
        Ok(_) | Err(_) => (),
    }
}

/// Whether something may be renamed to `target`: `EXIST` if not.
pub(super) fn admit(target: &Spot, is_dir: bool, overwrite: bool) -> Result<Option<Facts>, Errno> {
    let Some(facts) = Facts::at(&target.dir, &target.name)? else { return Ok(None) };
    let replaceable = matches!(facts.kind, FileType::RegularFile | FileType::Symlink);
    if overwrite && !is_dir && replaceable { Ok(Some(facts)) } else { Err(Errno::EXIST) }
}

/// Renames. `EXIST` if there is something at the target, other than a file or link that may be
/// overwritten by one.
pub(super) fn rename_into(
    from: &Spot,
    to: &Spot,
    is_dir: bool,
    overwrite: bool,
) -> Result<(), Errno> {
    for _ in 0..TRIES {
        if overwrite && !is_dir && admit(to, is_dir, overwrite)?.is_some() {
            let (old, new) = (from.name.as_slice(), to.name.as_slice());
            return match fs::renameat(&from.dir, old, &to.dir, new) {
                Err(Errno::ISDIR) => Err(Errno::EXIST),
                result => result,
            };
        }
        match rename_noreplace(from, to, is_dir) {
            Err(Errno::EXIST) if overwrite => (),
            result => return result,
        }
    }
    Err(Errno::EXIST)
}

fn rename_noreplace(from: &Spot, to: &Spot, is_dir: bool) -> Result<(), Errno> {
    let (old, new) = (from.name.as_slice(), to.name.as_slice());
    match fs::renameat_with(&from.dir, old, &to.dir, new, RenameFlags::NOREPLACE) {
        // The file system may not know the flag (renameat2(2)).
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => without_flag(from, to, is_dir),
        result => result,
    }
}

/// As far as a file system without `RENAME_NOREPLACE` lets anyone.
fn without_flag(from: &Spot, to: &Spot, is_dir: bool) -> Result<(), Errno> {
    let (old, new) = (from.name.as_slice(), to.name.as_slice());
    let rename_checked = || match Facts::at(&to.dir, new)? {
        // A directory that comes after this look is replaced only if it is empty; a file only
        // on file systems without hard links, which is the best that can be had there.
        Some(_) => Err(Errno::EXIST),
        None => fs::renameat(&from.dir, old, &to.dir, new),
    };
    if is_dir {
        return rename_checked();
    }
    match fs::linkat(&from.dir, old, &to.dir, new, AtFlags::empty()) {
        Ok(()) => (),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            return rename_checked();
        }
        Err(errno) => return Err(errno),
    }
    // Both names are one file now: only then may the old one go.
    let same = Facts::at(&to.dir, new)?.map(|facts| facts.ident())
        == Facts::at(&from.dir, old)?.map(|facts| facts.ident());
    if !same {
        return Ok(());
    }
    fs::unlinkat(&from.dir, old, AtFlags::empty()).inspect_err(|_| {
        let _ = fs::unlinkat(&to.dir, new, AtFlags::empty());
    })
}

/// Makes the names in a spot's directory last over a power loss.
pub(super) fn sync_dir(spot: &Spot) -> Result<(), FileError> {
    let dir = match open_at(&spot.dir, b".", LIST, BENEATH) {
        Ok(dir) => dir,
        // We may write there, but not list it: no way to ask for it.
        Err(Errno::ACCESS) => return Ok(()),
        Err(errno) => return Err(FileError::system("open", &spot.path, errno)),
    };
    match retry_on_intr(|| fs::fsync(&dir)) {
        Ok(()) | Err(Errno::INVAL) => (),
        Err(errno) => return Err(FileError::system("fsync", &spot.path, errno)),
    }
    // An XFS that has shut itself down has nothing to write any more, and says of a directory that
    // all is well; of what is looked at, that there was an error (seen on Linux 6.18). A name that
    // never came to the disk must not cost its source.
    Facts::of_fd(&dir).map(drop).map_err(|errno| FileError::system("fstat", &spot.path, errno))
}

#[cfg(test)]
mod tests {
    use std::{fs as std_fs, os::unix::ffi::OsStrExt, path::Path};

    use super::*;
    use crate::files::Place;

    fn spot(dir: &Path, name: &str) -> Spot {
        let path = dir.join(name);
        Spot::source(Place { path: path.as_os_str().as_bytes(), root_len: usize::MAX }).unwrap()
    }

    #[test]
    fn a_temporary_name_is_recognised_and_no_other() {
        let name = temporary_name(None).unwrap();
        assert!(is_temporary(&name));
        assert_ne!(name, temporary_name(None).unwrap());
        assert_eq!(temporary_name(Some(0xab)).unwrap(), b".pyinotifyd-00000000000000ab.tmp");
        for other in ["", ".pyinotifyd-.tmp", ".pyinotifyd-0123456789abcdeg.tmp", "a.tmp"] {
            assert!(!is_temporary(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn without_the_flag_nothing_is_overwritten_either() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        for name in ["a", "b"] {
            std_fs::write(path.join(name), name).unwrap();
            std_fs::create_dir(path.join(format!("{name}-dir"))).unwrap();
        }
        let (a, b, c) = (spot(path, "a"), spot(path, "b"), spot(path, "c"));
        assert_eq!(without_flag(&a, &b, false), Err(Errno::EXIST));
        assert_eq!(std_fs::read(path.join("b")).unwrap(), b"b");
        without_flag(&a, &c, false).unwrap();
        assert!(!path.join("a").exists());
        assert_eq!(std_fs::read(path.join("c")).unwrap(), b"a");

        let (a, b, c) = (spot(path, "a-dir"), spot(path, "b-dir"), spot(path, "c-dir"));
        assert_eq!(without_flag(&a, &b, true), Err(Errno::EXIST));
        without_flag(&a, &c, true).unwrap();
        assert!(path.join("c-dir").is_dir() && !path.join("a-dir").exists());
    }

    #[test]
    fn what_is_not_published_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = spot(dir.path(), "t");
        let mut temp = Temp::beside(&target, &Options::new(&false.into())).unwrap();
        let file = temp.file().unwrap();
        temp.link(&file).unwrap();
        assert_eq!(std_fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(temp);
        assert_eq!(std_fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
