//! Copying a directory with all that is in it: into a temporary directory that only we can enter,
//! one entry at a time, with a handful of descriptors however deep it is; then once more through
//! the source, whether it still is what was copied; then one rename.

use std::sync::atomic::Ordering;

use rustix::{
    fs::{self, FileType, Mode},
    io::Errno,
};

use super::{
    Options,
    content::Content,
    copy::{Copied, fstat, make_link},
    cursor::Cursor,
    delete::Manifest,
    error::{Fault, FileError},
    look::{Look, Purpose, finish, finish_link, reopen_error, verify_single},
    open::{Entry, Facts, IN_TREE, Ident, LIST, Spot, open_at},
    publish::{Temp, make_file},
};

/// One directory that we are in.
#[derive(Debug)]
struct Level {
    left: std::vec::IntoIter<Vec<u8>>,
    facts: Facts,
    look: Look,
}

/// A copy on its way.
#[derive(Debug)]
struct TreeCopy<'a> {
    from: Cursor,
    to: Cursor,
    levels: Vec<Level>,
    manifest: Manifest,
    bytes: u64,
    entries: u64,
    purpose: Purpose,
    options: &'a Options<'a>,
}

pub(super) fn copy_tree(
    source: &Spot,
    entry: &Entry,
    target: &Spot,
    purpose: Purpose,
    options: &Options<'_>,
) -> Result<Copied, FileError> {
    let mut temp = Temp::beside(target, options)?;
    let name = temp.spot.name.clone();
    fs::mkdirat(&temp.spot.dir, name.as_slice(), Mode::RWXU)
        .map_err(|errno| FileError::system("mkdirat", &temp.spot.path, errno))?;
    temp.made(FileType::Directory);
    let mut copy = TreeCopy {
        from: Cursor::beside(source)?,
        to: Cursor::beside(target)?,
        levels: Vec::new(),
        manifest: Manifest::default(),
        bytes: 0,
        entries: 0,
        purpose,
        options,
    };
    enter_new(&mut copy.to, &name)?;
    let top = copy.to.here;
    copy.enter(&source.name, &entry.facts)?;
    while let Some(level) = copy.levels.last_mut() {
        if options.cancel.load(Ordering::Relaxed) {
            return Err(FileError::found(Fault::Cancelled, "copy", &copy.from.path));
        }
        match level.left.next() {
            Some(name) => copy.entry(&name, top)?,
            None => copy.finish_level()?,
        }
    }
    // The content of all files at once, and of nothing else but them if the disk is idle; a
    // write that failed before is reported here (syncfs(2), Linux 5.8).
    sync_all(&copy.to).map_err(|errno| FileError::system("syncfs", &target.path, errno))?;
    verify_tree(source, &copy.manifest, options)?;
    let temporary = temp.spot.path.clone();
    temp.publish(target, top, false)?;
    Ok(Copied {
        ident: top,
        stamp: entry.facts.stamp,
        manifest: copy.manifest,
        bytes: copy.bytes,
        entries: copy.entries,
        temporary,
    })
}

/// The cursor stands on an `O_PATH` descriptor at the end, which `syncfs` refuses.
pub(super) fn sync_all(cursor: &Cursor) -> Result<(), Errno> {
    match open_at(&cursor.dir, b".", LIST, IN_TREE) {
        Ok(dir) => fs::syncfs(dir),
        Err(Errno::ACCESS) => {
            fs::sync();
            Ok(())
        }
        Err(errno) => Err(errno),
    }
}

impl TreeCopy<'_> {
    /// Goes down in the source; the copy is there already.
    fn enter(&mut self, name: &[u8], seen: &Facts) -> Result<(), FileError> {
        self.from.enter(name).map_err(|errno| changed(&self.from.path_of(name), errno))?;
        let facts = self.from.facts()?;
        if facts.ident() != seen.ident() {
            return Err(FileError::found(Fault::Changed, "copy", &self.from.path));
        }
        let purpose = self.purpose;
        let look = Look::of(&self.from.dir, &facts, purpose, self.options);
        let left = self.from.names()?.into_iter();
        self.manifest.insert(facts);
        self.levels.push(Level { left, facts, look });
        Ok(())
    }

    fn entry(&mut self, name: &[u8], top: Ident) -> Result<(), FileError> {
        let path = self.from.path_of(name);
        let entry =
            Entry::open(&self.from.dir, name, IN_TREE).map_err(|errno| changed(&path, errno))?;
        let facts = entry.facts;
        match facts.kind {
            FileType::RegularFile => self.file(name, &path, &entry),
            FileType::Symlink => self.link(name, &path, &entry),
            FileType::Directory if facts.ident() == top => {
                Err(FileError::found(Fault::IntoItself, "copy", &path))
            }
            FileType::Directory => {
                fs::mkdirat(&self.to.dir, name, Mode::RWXU)
                    .map_err(|errno| FileError::system("mkdirat", &self.to.path_of(name), errno))?;
                self.enter(name, &facts)?;
                enter_new(&mut self.to, name)
            }
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Err(FileError::found(Fault::Special, "copy", &path)),
        }
    }

    fn file(&mut self, name: &[u8], path: &[u8], entry: &Entry) -> Result<(), FileError> {
        let from = entry
            .reopen(&self.from.dir, name, IN_TREE)
            .map_err(|errno| reopen_error(path, errno))?;
        let facts = fstat(&from, path)?;
        let purpose = self.purpose;
        verify_single(&facts, path, self.options)?;
        let to_path = self.to.path_of(name);
        let to = make_file(&self.to.dir, name)
            .map_err(|errno| FileError::system("open", &to_path, errno))?;
        let look = Look::of(&from, &facts, purpose, self.options);
        Content {
            from: &from,
            from_path: path,
            to: &to,
            to_path: &to_path,
            size: facts.size,
            cancel: self.options.cancel,
            progress: self.options.progress,
        }
        .copy()?;
        finish(&to, &to_path, &from, &facts, &look)?;
        if fstat(&from, path)?.stamp != facts.stamp {
            return Err(FileError::found(Fault::Changed, "copy", path));
        }
        self.manifest.insert(facts);
        self.bytes += facts.size;
        self.entries += 1;
        Ok(())
    }

    fn link(&mut self, name: &[u8], path: &[u8], entry: &Entry) -> Result<(), FileError> {
        let to_path = self.to.path_of(name);
        make_link(&entry.fd, path, &self.to.dir, name, &to_path)?;
        let look = Look::of(&entry.fd, &entry.facts, self.purpose, self.options);
        finish_link(&self.to.dir, name, &to_path, &entry.facts, &look)?;
        self.manifest.insert(entry.facts);
        self.entries += 1;
        Ok(())
    }

    /// Everything in this directory is there: gives it its own look, and goes up in both trees.
    fn finish_level(&mut self) -> Result<(), FileError> {
        let level = self.levels.pop().expect("a level is being finished");
        finish(&self.to.dir, &self.to.path, &self.from.dir, &level.facts, &level.look)?;
        if self.from.facts()?.stamp != level.facts.stamp {
            return Err(FileError::found(Fault::Changed, "copy", &self.from.path));
        }
        self.entries += 1;
        self.from.leave()?;
        self.to.leave()
    }
}

/// Goes down into a directory that was just made.
fn enter_new(cursor: &mut Cursor, name: &[u8]) -> Result<(), FileError> {
    cursor.enter(name).map_err(|errno| changed(&cursor.path_of(name), errno))
}

/// What was seen a moment ago is not there, or not that, any more.
fn changed(path: &[u8], errno: Errno) -> FileError {
    match errno {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR => {
            FileError::of(Fault::Changed, "openat2", path, errno)
        }
        errno => FileError::system("openat2", path, errno),
    }
}

/// Whether everything is as it was copied, and nothing was added: a directory's times tell of
/// every name that comes or goes.
fn verify_tree(source: &Spot, manifest: &Manifest, options: &Options<'_>) -> Result<(), FileError> {
    let mut cursor = Cursor::beside(source)?;
    let mut levels = vec![vec![source.name.clone()].into_iter()];
    while let Some(left) = levels.last_mut() {
        if options.cancel.load(Ordering::Relaxed) {
            return Err(FileError::found(Fault::Cancelled, "copy", &cursor.path));
        }
        let Some(name) = left.next() else {
            levels.pop();
            if cursor.depth() > 0 {
                cursor.leave()?;
            }
            continue;
        };
        let path = cursor.path_of(&name);
        let differs = || FileError::found(Fault::Changed, "copy", &path);
        let facts = Facts::at(&cursor.dir, &name)
            .map_err(|errno| FileError::system("stat", &path, errno))?
            .ok_or_else(differs)?;
        if !manifest.holds(&facts) {
            return Err(differs());
        }
        if facts.is_dir() {
            cursor.enter(&name).map_err(|errno| changed(&path, errno))?;
            levels.push(cursor.names()?.into_iter());
        }
    }
    Ok(())
}
