//! Moving: by a rename where that is possible, by a copy that is published before the source is
//! deleted where it is not.

use std::sync::atomic::Ordering;

use rustix::{
    fs::{self, Access, AtFlags},
    io::Errno,
};

use super::{
    Change, Done, How, Options, Place,
    copy::{copy_to, open_source, unlink_source, verify_apart},
    cursor::Cursor,
    delete::remove_tree,
    error::{Fault, FileError},
    look::{Dressed, Purpose, verify_single},
    open::{BENEATH, DIR, Entry, Facts, IN_TREE, Spot, open_at},
    publish::{admit, publish_error, rename_into, withdraw},
    recover::finish_before,
};

/// Moves whatever it is: by a rename, or by a copy if the destination is on another file system
/// (files, links, directories with all that is in them; not FIFOs, sockets and devices).
///
/// Mode and owner that are asked for are given to all that is moved, before it is: what is in a
/// directory keeps what it was given if that then fails.
pub fn move_entry(
    source: Place<'_>,
    target: Place<'_>,
    options: &Options<'_>,
) -> Result<Done, FileError> {
    if let Some(done) = finish_before(source, target, Purpose::Move, options)? {
        return Ok(done);
    }
    let (source, entry) = open_source(source)?;
    // Before any directory is made for it.
    verify_single(&entry.facts, &source.path, options)?;
    let mut made = Vec::new();
    let target = Spot::target(target, options, &mut made)?;
    verify_apart(&source, &target)?;
    let mut changes: Vec<Change> = made.into_iter().map(Change::Created).collect();
    if same_device(&source, &target)? && rename(&source, &entry, &target, options)? {
        changes.push(Change::Renamed { from: source.path, to: target.path });
        return Ok(Done { how: How::Renamed, bytes: 0, entries: 1, changes });
    }
    // Whether it can be deleted in the end, before much is copied in vain.
    fs::accessat(&source.dir, c".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|errno| FileError::system("unlinkat", &source.path, errno))?;
    let copied = copy_to(&source, &entry, &target, Purpose::Move, options)?;
    changes.extend(copied.changes(&target));
    if entry.facts.is_dir() {
        // From here on the destination is complete: going back is no option, and cancelling
        // would leave the tree in both places.
        let never = std::sync::atomic::AtomicBool::new(false);
        remove_tree(&source, &never, Some(&copied.manifest))
            .map_err(|error| FileError { kind: Fault::SourceKept, ..error })?;
    } else {
        let unlinked = unlink_source(&source, copied.stamp).and_then(|unlinked| {
            if unlinked {
                Ok(())
            } else {
                Err(FileError::found(Fault::Changed, "move", &source.path))
            }
        });
        if let Err(error) = unlinked {
            // What was there before is gone; what is there now is whole. And after an error of the
            // disk nobody knows whether the source is still there: the copy may be all there is.
            if options.overwrite || error.kind == Fault::System {
                return Err(FileError { kind: Fault::SourceKept, ..error });
            }
            withdraw(&target, copied.ident);
            return Err(error);
        }
    }
    changes.push(Change::Removed(source.path));
    Ok(Done { how: How::Copied, bytes: copied.bytes, entries: copied.entries, changes })
}

/// Whether a rename has a chance at all. The directories are asked, since the layers of an
/// overlay show their files' own devices.
fn same_device(source: &Spot, target: &Spot) -> Result<bool, FileError> {
    let device = |spot: &Spot| {
        Facts::of_fd(&spot.dir)
            .map(|facts| facts.ident().dev)
            .map_err(|errno| FileError::system("fstat", &spot.path, errno))
    };
    Ok(device(source)? == device(target)?)
}

/// `false` if the kernel says that these are two file systems.
fn rename(
    source: &Spot,
    entry: &Entry,
    target: &Spot,
    options: &Options<'_>,
) -> Result<bool, FileError> {
    let is_dir = entry.facts.is_dir();
    // So that a file is not dressed in vain; the rename looks again. (Where there is nothing to dress
    // and nothing to overwrite, that is look enough.)
    let there = if options.overwrite || options.changes_look_of(entry.facts.kind) {
        admit(target, is_dir, options.overwrite).map_err(|errno| publish_error(target, errno))?
    } else {
        None
    };
    if is_dir {
        dress_tree(source, options)?;
    }
    let dressed = Dressed::dress(source, entry, options)?;
    if there.is_some_and(|there| there.ident() == entry.facts.ident()) {
        // Two names of one file: rename(2) would leave both, and call it done.
        return unlink_source_name(source).map(|()| true);
    }
    match rename_into(source, target, is_dir, options.overwrite) {
        Ok(()) => (),
        Err(errno) => {
            if let Some(dressed) = dressed {
                dressed.undress();
            }
            return match errno {
                Errno::XDEV => Ok(false),
                errno => Err(rename_error(source, target, is_dir, errno)),
            };
        }
    }
    let Some(dressed) = dressed else { return Ok(true) };
    match target.facts() {
        // Not what was dressed: the name was given to another file in between. Back with it.
        Ok(Some(facts)) if facts.ident() != entry.facts.ident() => {
            let _ = rename_into(target, source, facts.is_dir(), false);
            dressed.undress();
            Err(FileError::found(Fault::Changed, "move", &source.path))
        }
        Ok(_) | Err(_) => Ok(true),
    }
}

/// Sets owner and mode of what is in a directory that is about to be moved, as a copy would.
fn dress_tree(source: &Spot, options: &Options<'_>) -> Result<(), FileError> {
    if !options.changes_look() && options.dirmode.is_none() {
        return Ok(());
    }
    let mut cursor = Cursor::beside(source)?;
    let enter = |cursor: &mut Cursor, name: &[u8]| {
        let path = cursor.path_of(name);
        cursor.enter(name).map_err(|errno| FileError::system("openat2", &path, errno))
    };
    enter(&mut cursor, &source.name)?;
    let mut levels = vec![(None, cursor.names()?.into_iter())];
    while let Some((_, left)) = levels.last_mut() {
        if options.cancel.load(Ordering::Relaxed) {
            return Err(FileError::found(Fault::Cancelled, "move", &cursor.path));
        }
        let Some(name) = left.next() else {
            cursor.leave()?;
            // Only now: its new mode may let nobody in.
            if let Some((Some(name), _)) = levels.pop() {
                dress_entry(&cursor, name, options)?;
            }
            continue;
        };
        if Facts::at(&cursor.dir, &name).is_ok_and(|it| it.is_some_and(|it| it.is_dir())) {
            enter(&mut cursor, &name)?;
            levels.push((Some(name), cursor.names()?.into_iter()));
        } else {
            dress_entry(&cursor, name, options)?;
        }
    }
    Ok(())
}

fn dress_entry(at: &Cursor, name: Vec<u8>, options: &Options<'_>) -> Result<(), FileError> {
    let path = at.path_of(&name);
    let failed = |call| {
        let path = &path;
        move |errno| FileError::system(call, path, errno)
    };
    let entry = match Entry::open(&at.dir, &name, IN_TREE) {
        // Somebody else has taken it away.
        Err(Errno::NOENT) => return Ok(()),
        entry => entry.map_err(failed("openat2"))?,
    };
    let dir = open_at(&at.dir, b".", DIR, BENEATH).map_err(failed("openat2"))?;
    match Dressed::dress(&Spot { dir, name, path: path.clone() }, &entry, options) {
        // No copy takes them along either; a rename does, as they are.
        Err(error) if error.kind == Fault::Special => Ok(()),
        dressed => dressed.map(drop),
    }
}

fn unlink_source_name(source: &Spot) -> Result<(), FileError> {
    fs::unlinkat(&source.dir, source.name.as_slice(), AtFlags::empty())
        .map_err(|errno| FileError::system("unlinkat", &source.path, errno))
}

fn rename_error(source: &Spot, target: &Spot, is_dir: bool, errno: Errno) -> FileError {
    match errno {
        Errno::INVAL if is_dir => {
            FileError::of(Fault::IntoItself, "renameat2", &target.path, errno)
        }
        Errno::NOENT if matches!(source.facts(), Ok(None)) => {
            FileError::of(Fault::SourceGone, "renameat2", &source.path, errno)
        }
        // The source is a mount point (rename(2)).
        Errno::BUSY => FileError::of(Fault::OtherFileSystem, "renameat2", &source.path, errno),
        errno => publish_error(target, errno),
    }
}
