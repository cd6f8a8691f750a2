//! What an earlier attempt of the same operation has left, when it was killed: a temporary name is
//! removed, and what is whole at the destination is recognised.
//!
//! Between publishing a copy and deleting its source, both are there; and a tree's source may be
//! half gone. Then the destination has everything that is left of the source, byte for byte and with
//! its times, and all that is missing is the end. With anything else there, it is not ours to say
//! what it is: the operation goes its ordinary way, and finds the destination taken.

use rustix::{
    fs::{self, FileType},
    io::{Errno, pread, retry_on_intr},
};

use super::{
    Change, Done, How, Options, Place,
    copy::{fstat, unlink_source, verify_apart},
    cursor::Cursor,
    delete::{Manifest, remove_tree},
    error::{Fault, FileError},
    look::Purpose,
    open::{BENEATH, Entry, Facts, IN_TREE, Spot},
    publish::{Temp, sync_dir},
    tree::sync_all,
};

const BUFFER: usize = 256 << 10;

/// Ends what an earlier attempt has nearly done; `None`: there is no such thing, all is to be done.
pub(super) fn finish_before(
    source: Place<'_>,
    target: Place<'_>,
    purpose: Purpose,
    options: &Options<'_>,
) -> Result<Option<Done>, FileError> {
    if !options.again {
        return Ok(None);
    }
    // Nothing is made that is missing: then there is nothing left either.
    let only_look = Options { auto_create: false, ..*options };
    let target = match Spot::target(target, &only_look, &mut Vec::new()) {
        Err(error) if error.kind == Fault::NoDirectory => return Ok(None),
        target => target?,
    };
    if let Some(owner) = options.owner {
        Temp::clear(&target, owner)?;
    }
    let Some(there) = target.facts()? else { return Ok(None) };
    let done = |how, entries, changes| Ok(Some(Done { how, bytes: 0, entries, changes }));
    let source = match Spot::source(source) {
        // An earlier attempt has moved it, or somebody has taken it away.
        Err(error) if error.kind == Fault::SourceGone => return done(How::Gone, 0, Vec::new()),
        source => source?,
    };
    let Some(facts) = source.facts()? else { return done(How::Gone, 0, Vec::new()) };
    verify_apart(&source, &target)?;
    let finish_file = || {
        if unlink_source(&source, facts.stamp)? {
            return done(How::Finished, 1, vec![Change::Removed(source.path.clone())]);
        }
        Err(FileError::found(Fault::Changed, "move", &source.path))
    };
    if facts.ident() == there.ident() && purpose == Purpose::Move && !facts.is_dir() {
        // Where a rename that replaces nothing is a link and an unlink.
        return finish_file();
    }
    if facts.ident() == there.ident() || facts.kind != there.kind {
        return Ok(None);
    }
    let mut manifest = Manifest::default();
    if !is_equal(&source, &target, &mut manifest, options)? {
        return Ok(None);
    }
    if purpose == Purpose::Copy {
        return done(How::Finished, 0, Vec::new());
    }
    // What the earlier attempt had not made last over a power loss.
    sync(&target, &there)?;
    sync_dir(&target)?;
    if !facts.is_dir() {
        return finish_file();
    }
    let never = std::sync::atomic::AtomicBool::new(false);
    let entries = remove_tree(&source, &never, Some(&manifest))?;
    done(How::Finished, entries, vec![Change::Removed(source.path)])
}

fn sync(target: &Spot, facts: &Facts) -> Result<(), FileError> {
    let failed = |call| move |errno| FileError::system(call, &target.path, errno);
    if facts.is_dir() {
        let mut cursor = Cursor::beside(target)?;
        cursor.enter(&target.name).map_err(failed("openat2"))?;
        return sync_all(&cursor).map_err(failed("syncfs"));
    }
    if facts.kind != FileType::RegularFile {
        return Ok(());
    }
    let file = Entry::open(&target.dir, &target.name, BENEATH)
        .and_then(|it| it.reopen(&target.dir, &target.name, BENEATH))
        .map_err(failed("open"))?;
    retry_on_intr(|| fs::fsync(&file)).map_err(failed("fsync"))
}

/// Whether the target has all that is left of the source.
fn is_equal(
    source: &Spot,
    target: &Spot,
    manifest: &mut Manifest,
    options: &Options<'_>,
) -> Result<bool, FileError> {
    let (mut from, mut to) = (Cursor::beside(source)?, Cursor::beside(target)?);
    let names = (source.name.clone(), target.name.clone());
    let mut levels = vec![vec![names].into_iter()];
    while let Some(left) = levels.last_mut() {
        if options.cancel.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(FileError::found(Fault::Cancelled, "compare", &from.path));
        }
        let Some((name, counterpart)) = left.next() else {
            levels.pop();
            if from.depth() > 0 {
                from.leave()?;
                to.leave()?;
            }
            continue;
        };
        let Some(facts) = same(&from, &name, &to, &counterpart)? else { return Ok(false) };
        manifest.insert(facts);
        if facts.is_dir() {
            let down = |cursor: &mut Cursor, name: &[u8]| {
                cursor
                    .enter(name)
                    .map_err(|errno| FileError::system("openat2", &cursor.path_of(name), errno))
            };
            down(&mut from, &name)?;
            down(&mut to, &counterpart)?;
            let names = from.names()?.into_iter().map(|it| (it.clone(), it));
            levels.push(names.collect::<Vec<_>>().into_iter());
        }
    }
    Ok(true)
}

/// What the entry is, if its counterpart is the same. The times of a directory are not asked: what
/// was deleted in it has changed them.
fn same(
    from: &Cursor,
    name: &[u8],
    to: &Cursor,
    counterpart: &[u8],
) -> Result<Option<Facts>, FileError> {
    let open = |cursor: &Cursor, name: &[u8]| match Entry::open(&cursor.dir, name, IN_TREE) {
        Ok(entry) => Ok(Some(entry)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(FileError::system("openat2", &cursor.path_of(name), errno)),
    };
    let (Some(one), Some(other)) = (open(from, name)?, open(to, counterpart)?) else {
        return Ok(None);
    };
    let (facts, there) = (one.facts, other.facts);
    if facts.kind != there.kind {
        return Ok(None);
    }
    let same = match facts.kind {
        FileType::Directory => true,
        FileType::RegularFile => {
            (facts.size, facts.mtime) == (there.size, there.mtime)
                && same_content((from, name, &one), (to, counterpart, &other))?
        }
        FileType::Symlink => {
            let says = |entry: &Entry, cursor: &Cursor, name: &[u8]| {
                fs::readlinkat(&entry.fd, c"", Vec::new())
                    .map_err(|errno| FileError::system("readlinkat", &cursor.path_of(name), errno))
            };
            says(&one, from, name)? == says(&other, to, counterpart)?
        }
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => false,
    };
    Ok(same.then_some(facts))
}

fn same_content(
    (from, name, one): (&Cursor, &[u8], &Entry),
    (to, counterpart, other): (&Cursor, &[u8], &Entry),
) -> Result<bool, FileError> {
    let reopen = |entry: &Entry, cursor: &Cursor, name: &[u8]| {
        entry
            .reopen(&cursor.dir, name, IN_TREE)
            .map_err(|errno| FileError::system("open", &cursor.path_of(name), errno))
    };
    let (a, b) = (reopen(one, from, name)?, reopen(other, to, counterpart)?);
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut at = 0;
    loop {
        let count = retry_on_intr(|| pread(&a, &mut left[..], at))
            .map_err(|errno| FileError::system("pread", &from.path_of(name), errno))?;
        let mut filled = 0;
        while filled < count {
            let here = at + filled as u64;
            let read = retry_on_intr(|| pread(&b, &mut right[filled..count], here))
                .map_err(|errno| FileError::system("pread", &to.path_of(counterpart), errno))?;
            if read == 0 {
                return Ok(false);
            }
            filled += read;
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
        if count == 0 {
            // Nobody has written to it while it was read.
            return Ok(fstat(&a, &from.path_of(name))?.stamp == one.facts.stamp);
        }
        at += count as u64;
    }
}
