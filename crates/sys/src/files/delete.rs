//! Deleting a file, or a tree with one descriptor, however deep it is. It stays on one file
//! system, and follows nothing.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{self, AtFlags, FileType},
    io::Errno,
};

use super::{
    Change, Done, How, Options, Place,
    cursor::{Cursor, Listed},
    error::{Fault, FileError},
    open::{Facts, Ident, Spot},
};

/// How often a directory is emptied again because others put files into it meanwhile.
const REFILLS: u32 = 8;

/// The files of a tree as they were when they were copied: only these may be deleted.
#[derive(Debug, Default)]
pub(super) struct Manifest(HashMap<Ident, Facts>);

impl Manifest {
    pub(super) fn insert(&mut self, facts: Facts) {
        self.0.insert(facts.ident(), facts);
    }

    /// Whether this is one of the files, and nothing about it has changed.
    pub(super) fn holds(&self, facts: &Facts) -> bool {
        self.0.get(&facts.ident()).is_some_and(|then| then.stamp == facts.stamp)
    }

    /// Whether this is one of the files and may be deleted. Deleting is what changes the times of
    /// a directory, and the ctime of a file that has another name in the tree.
    fn allows(&self, facts: &Facts) -> bool {
        self.0.get(&facts.ident()).is_some_and(|then| {
            facts.is_dir()
                || then.stamp == facts.stamp
                || then.links > 1 && then.size == facts.size && then.mtime == facts.mtime
        })
    }
}

/// Deletes a file, a link, a special file; a directory if it is empty, or with all that is in it
/// if [`Options::rec`] is set.
///
/// That nothing is there is no error, but [`How::Gone`].
pub fn delete_entry(place: Place<'_>, options: &Options<'_>) -> Result<Done, FileError> {
    let gone = || Ok(Done { how: How::Gone, bytes: 0, entries: 0, changes: Vec::new() });
    let spot = match Spot::source(place) {
        Err(error) if error.kind == Fault::SourceGone => return gone(),
        result => result?,
    };
    let Some(facts) = spot.facts()? else { return gone() };
    let entries = if !facts.is_dir() {
        match unlink(&spot, AtFlags::empty()) {
            Ok(()) => 1,
            Err(Errno::NOENT) => return gone(),
            Err(Errno::ISDIR) => {
                return Err(FileError::of(Fault::Changed, "unlinkat", &spot.path, Errno::ISDIR));
            }
            Err(errno) => return Err(FileError::system("unlinkat", &spot.path, errno)),
        }
    } else if options.rec {
        remove_tree(&spot, options.cancel, None)?
    } else {
        match unlink(&spot, AtFlags::REMOVEDIR) {
            Ok(()) => 1,
            Err(Errno::NOENT) => return gone(),
            Err(errno @ (Errno::NOTEMPTY | Errno::EXIST)) => {
                return Err(FileError::of(Fault::NotEmpty, "rmdir", &spot.path, errno));
            }
            Err(errno) => return Err(rmdir_error(&spot.path, errno)),
        }
    };
    let changes = vec![Change::Removed(spot.path)];
    Ok(Done { how: How::Removed, bytes: 0, entries, changes })
}

fn unlink(spot: &Spot, flags: AtFlags) -> Result<(), Errno> {
    fs::unlinkat(&spot.dir, spot.name.as_slice(), flags)
}

fn rmdir_error(path: &[u8], errno: Errno) -> FileError {
    match errno {
        // A mount point (rmdir(2)).
        Errno::BUSY => FileError::of(Fault::OtherFileSystem, "rmdir", path, errno),
        Errno::NOTDIR => FileError::of(Fault::Changed, "rmdir", path, errno),
        errno => FileError::system("rmdir", path, errno),
    }
}

/// Deletes a tree of our own that nobody shall see, as far as it goes.
pub(super) fn discard_tree(spot: &Spot) {
    let _ = remove_tree(spot, &AtomicBool::new(false), None);
}

/// What emptying a directory came upon.
enum Met {
    Dir(Vec<u8>),
}

/// Deletes a tree, and tells how many entries it had. With a manifest, only what is in it and has
/// not changed since.
pub(super) fn remove_tree(
    spot: &Spot,
    cancel: &AtomicBool,
    only: Option<&Manifest>,
) -> Result<u64, FileError> {
    let mut cursor = Cursor::beside(spot)?;
    let mut removed = 0;
    // The directories that we are in, and how often each was found full again.
    let mut names = vec![(spot.name.clone(), 0)];
    enter(&mut cursor, &spot.name)?;
    while let Some((name, refills)) = names.last_mut() {
        let met = cursor.list(|listed| {
            if cancel.load(Ordering::Relaxed) {
                return Err(FileError::found(Fault::Cancelled, "delete", &cursor.path));
            }
            let met = remove(&cursor, &listed, only)?;
            removed += u64::from(met.is_none());
            Ok(met)
        })?;
        if let Some(Met::Dir(name)) = met {
            match cursor.enter(&name) {
                Ok(()) => names.push((name, 0)),
                // Gone, or no directory any more: the next listing shows.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => (),
                Err(errno) => {
                    return Err(FileError::system("openat2", &cursor.path_of(&name), errno));
                }
            }
            continue;
        }
        cursor.leave()?;
        match fs::unlinkat(&cursor.dir, name.as_slice(), AtFlags::REMOVEDIR) {
            Ok(()) => removed += 1,
            Err(Errno::NOENT) => (),
            Err(errno @ (Errno::NOTEMPTY | Errno::EXIST)) => {
                *refills += 1;
                if *refills > REFILLS {
                    let path = cursor.path_of(name);
                    return Err(FileError::of(Fault::Changed, "rmdir", &path, errno));
                }
                enter(&mut cursor, name)?;
                continue;
            }
            Err(errno) => return Err(rmdir_error(&cursor.path_of(name), errno)),
        }
        names.pop();
    }
    Ok(removed)
}

fn enter(cursor: &mut Cursor, name: &[u8]) -> Result<(), FileError> {
    cursor.enter(name).map_err(|errno| {
        let path = cursor.path_of(name);
        match errno {
            Errno::NOENT | Errno::LOOP | Errno::NOTDIR => {
                FileError::of(Fault::Changed, "openat2", &path, errno)
            }
            errno => FileError::system("openat2", &path, errno),
        }
    })
}

/// Deletes one entry, unless it is a directory.
fn remove(
    cursor: &Cursor,
    listed: &Listed,
    only: Option<&Manifest>,
) -> Result<Option<Met>, FileError> {
    let name = listed.name.as_slice();
    let failed = |call, errno| FileError::system(call, &cursor.path_of(name), errno);
    // A listing only claims what it is, and `unlinkat` finds out by itself what is a directory;
    // but it may be a directory that a listing has called so, which saves the attempt.
    if only.is_some() || listed.kind == FileType::Directory {
        let facts = Facts::at(&cursor.dir, name).map_err(|errno| failed("stat", errno))?;
        let Some(facts) = facts else { return Ok(None) };
        if only.is_some_and(|manifest| !manifest.allows(&facts)) {
            return Err(FileError::found(Fault::Changed, "delete", &cursor.path_of(name)));
        }
        if facts.is_dir() {
            return Ok(Some(Met::Dir(name.to_vec())));
        }
    }
    match fs::unlinkat(&cursor.dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(None),
        Err(Errno::ISDIR) => Ok(Some(Met::Dir(name.to_vec()))),
        // A file that something is mounted on.
        Err(errno @ Errno::BUSY) => {
            Err(FileError::of(Fault::OtherFileSystem, "unlinkat", &cursor.path_of(name), errno))
        }
        Err(errno) => Err(failed("unlinkat", errno)),
    }
}
