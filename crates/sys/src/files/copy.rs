//! Copying one file or link under a temporary name, and publishing it when it is whole, finished
//! and still what the source is.

use std::os::fd::AsFd;

use rustix::{
    fs::{self, AtFlags, FileType},
    io::{Errno, retry_on_intr},
};

use super::{
    Change, Done, How, Options, Place,
    content::Content,
    delete::Manifest,
    error::{Fault, FileError},
    look::{Look, Purpose, finish, finish_link, reopen_error, verify_single},
    open::{BENEATH, Entry, Facts, Ident, Spot, Stamp},
    publish::{Temp, admit, publish_error},
    recover::finish_before,
    tree::copy_tree,
};

/// Copies a file, a symbolic link (as a link), or a directory with all that is in it.
///
/// The copy belongs to the daemon, as with `cp`, and has the permissions of its source without
/// setuid, setgid and sticky bits, unless the options say otherwise.
pub fn copy_entry(
    source: Place<'_>,
    target: Place<'_>,
    options: &Options<'_>,
) -> Result<Done, FileError> {
    if let Some(done) = finish_before(source, target, Purpose::Copy, options)? {
        return Ok(done);
    }
    let (source, entry) = open_source(source)?;
    let mut made = Vec::new();
    let target = Spot::target(target, options, &mut made)?;
    verify_apart(&source, &target)?;
    let copied = copy_to(&source, &entry, &target, Purpose::Copy, options)?;
    let mut changes: Vec<Change> = made.into_iter().map(Change::Created).collect();
    changes.extend(copied.changes(&target));
    Ok(Done { how: How::Copied, bytes: copied.bytes, entries: copied.entries, changes })
}

/// Takes hold of the source.
pub(super) fn open_source(place: Place<'_>) -> Result<(Spot, Entry), FileError> {
    let spot = Spot::source(place)?;
    match Entry::open(&spot.dir, &spot.name, BENEATH) {
        Ok(entry) => Ok((spot, entry)),
        Err(errno @ Errno::NOENT) => {
            Err(FileError::of(Fault::SourceGone, "openat2", &spot.path, errno))
        }
        Err(errno) => Err(FileError::system("openat2", &spot.path, errno)),
    }
}

/// Refuses to put something where it is.
pub(super) fn verify_apart(source: &Spot, target: &Spot) -> Result<(), FileError> {
    let dir = |spot: &Spot| {
        Facts::of_fd(&spot.dir).map_err(|errno| FileError::system("fstat", &spot.path, errno))
    };
    if source.name == target.name && dir(source)?.ident() == dir(target)?.ident() {
        return Err(FileError::found(Fault::SamePlace, "move or copy to", &target.path));
    }
    Ok(())
}

/// What has been published.
#[derive(Debug)]
pub(super) struct Copied {
    /// The new file.
    pub(super) ident: Ident,
    /// The source, as it was when all of it was copied.
    pub(super) stamp: Stamp,
    /// The files of a source tree; empty otherwise.
    pub(super) manifest: Manifest,
    pub(super) bytes: u64,
    pub(super) entries: u64,
    /// Which name it had before.
    pub(super) temporary: Vec<u8>,
}

impl Copied {
    /// What others saw of it.
    pub(super) fn changes(&self, target: &Spot) -> [Change; 2] {
        [
            Change::Created(self.temporary.clone()),
            Change::Renamed { from: self.temporary.clone(), to: target.path.clone() },
        ]
    }
}

/// Copies whatever it is, and publishes it.
pub(super) fn copy_to(
    source: &Spot,
    entry: &Entry,
    target: &Spot,
    purpose: Purpose,
    options: &Options<'_>,
) -> Result<Copied, FileError> {
    verify_single(&entry.facts, &source.path, options)?;
    // So that nothing is copied in vain; the rename looks again.
    admit(target, entry.facts.is_dir(), options.overwrite)
        .map_err(|errno| publish_error(target, errno))?;
    match entry.facts.kind {
        FileType::RegularFile => copy_file(source, entry, target, purpose, options),
        FileType::Symlink => copy_link(source, entry, target, purpose, options),
        FileType::Directory => copy_tree(source, entry, target, purpose, options),
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Err(FileError::found(Fault::Special, "copy", &source.path)),
    }
}

fn copy_file(
    source: &Spot,
    entry: &Entry,
    target: &Spot,
    purpose: Purpose,
    options: &Options<'_>,
) -> Result<Copied, FileError> {
    let from = entry
        .reopen(&source.dir, &source.name, BENEATH)
        .map_err(|errno| reopen_error(&source.path, errno))?;
    let facts = fstat(&from, &source.path)?;
    verify_single(&facts, &source.path, options)?;
    let mut temp = Temp::beside(target, options)?;
    let to = temp.file()?;
    let look = Look::of(&from, &facts, purpose, options);
    Content {
        from: &from,
        from_path: &source.path,
        to: &to,
        to_path: &target.path,
        size: facts.size,
        cancel: options.cancel,
        progress: options.progress,
    }
    .copy()?;
    finish(&to, &target.path, &from, &facts, &look)?;
    retry_on_intr(|| fs::fsync(&to))
        .map_err(|errno| FileError::system("fsync", &target.path, errno))?;
    verify_unchanged(source, facts.stamp, purpose)?;
    if fstat(&from, &source.path)?.stamp != facts.stamp {
        return Err(FileError::found(Fault::Changed, "copy", &source.path));
    }
    temp.link(&to)?;
    let ident = fstat(&to, &target.path)?.ident();
    let temporary = temp.spot.path.clone();
    temp.publish(target, ident, options.overwrite)?;
    Ok(Copied {
        ident,
        stamp: facts.stamp,
        manifest: Manifest::default(),
        bytes: facts.size,
        entries: 1,
        temporary,
    })
}

fn copy_link(
    source: &Spot,
    entry: &Entry,
    target: &Spot,
    purpose: Purpose,
    options: &Options<'_>,
) -> Result<Copied, FileError> {
    let facts = fstat(&entry.fd, &source.path)?;
    let mut temp = Temp::beside(target, options)?;
    let Spot { dir, name, path } = &temp.spot;
    make_link(&entry.fd, &source.path, dir, name, path)?;
    temp.made(FileType::Symlink);
    let look = Look::of(&entry.fd, &facts, purpose, options);
    finish_link(&temp.spot.dir, &temp.spot.name, &temp.spot.path, &facts, &look)?;
    verify_unchanged(source, facts.stamp, purpose)?;
    let Some(new) = temp.spot.facts()? else {
        return Err(FileError::found(Fault::Changed, "publish", &temp.spot.path));
    };
    let temporary = temp.spot.path.clone();
    temp.publish(target, new.ident(), options.overwrite)?;
    Ok(Copied {
        ident: new.ident(),
        stamp: facts.stamp,
        manifest: Manifest::default(),
        bytes: 0,
        entries: 1,
        temporary,
    })
}

/// Makes a link that says what the held one says.
pub(super) fn make_link(
    link: impl AsFd,
    link_path: &[u8],
    dir: impl AsFd,
    name: &[u8],
    path: &[u8],
) -> Result<(), FileError> {
    let to = fs::readlinkat(link, c"", Vec::new())
        .map_err(|errno| FileError::system("readlinkat", link_path, errno))?;
    fs::symlinkat(&to, dir, name).map_err(|errno| FileError::system("symlinkat", path, errno))
}

/// Whether a source that is moved still is what it was; a copy's source may be gone by now.
fn verify_unchanged(source: &Spot, stamp: Stamp, purpose: Purpose) -> Result<(), FileError> {
    match source.facts()? {
        Some(facts) if facts.stamp == stamp => Ok(()),
        None if purpose == Purpose::Copy => Ok(()),
        None => Err(FileError::found(Fault::SourceGone, "move", &source.path)),
        Some(_) => Err(FileError::found(Fault::Changed, "copy", &source.path)),
    }
}

/// Deletes the source of a move whose copy is published, if it still is what was copied.
///
/// `Ok(false)` if it has changed. That it is gone is as good.
pub(super) fn unlink_source(source: &Spot, stamp: Stamp) -> Result<bool, FileError> {
    match source.facts()? {
        None => return Ok(true),
        Some(facts) if facts.stamp == stamp => (),
        Some(_) => return Ok(false),
    }
    match fs::unlinkat(&source.dir, source.name.as_slice(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(FileError::system("unlinkat", &source.path, errno)),
    }
}

pub(super) fn fstat(fd: impl AsFd, path: &[u8]) -> Result<Facts, FileError> {
    Facts::of_fd(fd).map_err(|errno| FileError::system("fstat", path, errno))
}
