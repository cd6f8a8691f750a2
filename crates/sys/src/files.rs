//! The file manager's hands: move, copy and delete, so that no name and no race leads them astray.
//!
//! The daemon is root and works in directories that others can write in. So nothing here acts on a
//! path. Every step beneath the administrator's own directory is an `openat2` that follows no
//! link; what is found is identified by its descriptor; what is changed is the open file or a name
//! in an open directory. Files are opened without blocking, whatever FIFO, device or lease was put
//! in their place.
//!
//! At the destination nothing partial ever has the final name: what cannot be renamed there is
//! copied aside, finished, synced, compared with its source once more, and then renamed. The
//! source goes last. On an error the source is as it was, and what was made aside is removed;
//! directories made on request stay. Who was killed in between says so with [`Options::again`], and
//! what had been done is recognised.
//!
//! Two limits that no program can remove: who can write in a directory can put another file under
//! a name between our last look and the rename or unlink of that name, so the *names* of such a
//! directory are theirs; and a moved file may still be open for writing by others.
//!
//! Which file goes where is the rules' business, what is said about it the caller's.

mod content;
mod copy;
mod create;
mod cursor;
mod delete;
mod error;
mod look;
mod open;
mod publish;
mod recover;
mod relocate;
mod state;
mod tree;

use std::sync::atomic::{AtomicBool, AtomicU64};

use rustix::fs::FileType;

pub use self::{
    copy::copy_entry,
    delete::delete_entry,
    error::{Fault, FileError},
    publish::is_temporary,
    relocate::move_entry,
    state::{Seen, State, is_closed, look},
};

/// Where something is, or shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// An absolute path. Its last name is never followed.
    pub path: &'a [u8],
    /// How many of its bytes are the administrator's own words: symbolic links among these are
    /// followed. If it ends within a name, or takes in the last one, that name is not part of it.
    pub root_len: usize,
}

/// How it shall be done.
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the rules' language")]
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// A file or link may replace a file or link at the destination. Directories, and what is
    /// neither, are never replaced.
    pub overwrite: bool,
    /// Missing directories of the destination are made, with `dirmode`, `user` and `group`.
    pub auto_create: bool,
    /// A directory is deleted with all that is in it.
    pub rec: bool,
    /// Files with more than one hard link may be given another owner or mode. Only for places
    /// where nobody else can make links: the other name may be somebody else's file.
    pub allow_hard_links: bool,
    /// Permissions of files at the destination, at most `0o777`: other bits are ignored.
    pub filemode: Option<u32>,
    /// Permissions of directories that are made or moved, at most `0o3777`.
    pub dirmode: Option<u32>,
    /// Owner of what is made or moved.
    pub user: Option<u32>,
    /// Group of what is made or moved.
    pub group: Option<u32>,
    /// Whose operation it is: temporary names are made of it, so that another attempt finds what an
    /// earlier one left behind. No two operations at once may have the same.
    pub owner: Option<u64>,
    /// The owner has tried before, and may have been killed at any point: what it left is removed,
    /// and what it had nearly done is brought to its end. See [`How::Finished`].
    pub again: bool,
    /// Looked at between any two entries of a tree and every few megabytes of a file: once it is
    /// set, the operation ends with [`Fault::Cancelled`] and nothing done, but for entries of a
    /// tree that are deleted already.
    pub cancel: &'a AtomicBool,
    /// Told how far copies are.
    pub progress: Option<&'a Progress>,
}

/// How far copies are, for those who look on from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many bytes files have that were begun with.
    pub begun: AtomicU64,
    /// How many bytes of them have been copied. Holes are skipped, and what the file system shares
    /// is not copied.
    pub copied: AtomicU64,
}

impl<'a> Options<'a> {
    /// Nothing is replaced, nothing is made, nothing is changed.
    pub fn new(cancel: &'a AtomicBool) -> Self {
        Self {
            overwrite: false,
            auto_create: false,
            rec: false,
            allow_hard_links: false,
            filemode: None,
            dirmode: None,
            user: None,
            group: None,
            owner: None,
            again: false,
            cancel,
            progress: None,
        }
    }

    /// The mode that is asked for something of this type. setuid and setgid are never given to
    /// files here; on a directory, setgid and sticky mean something harmless and useful.
    fn mode(&self, kind: FileType) -> Option<u32> {
        match kind {
            FileType::Directory => self.dirmode.map(|mode| mode & 0o3777),
            FileType::Symlink => None,
            FileType::RegularFile
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => self.filemode.map(|mode| mode & 0o777),
        }
    }

    /// Whether something of this type gets another owner or mode than it had.
    fn changes_look_of(&self, kind: FileType) -> bool {
        self.mode(kind).is_some() || self.user.is_some() || self.group.is_some()
    }

    /// Whether files get another owner or mode than they had.
    fn changes_look(&self) -> bool {
        self.filemode.is_some() || self.user.is_some() || self.group.is_some()
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// In which way.
    pub how: How,
    /// Bytes of files that were copied, holes included.
    pub bytes: u64,
    /// How many files, links and directories were copied or deleted; 1 for a rename.
    pub entries: u64,
    /// What a watcher of the directories saw of it, in order, without the single entries of a
    /// tree: what is beneath one of these paths belongs to it.
    pub changes: Vec<Change>,
}

/// The way something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// Moved by a rename: the file is the same one.
    Renamed,
    /// Copied; for a move, the source was deleted then.
    Copied,
    /// Deleted.
    Removed,
    /// There was nothing to delete.
    Gone,
    /// An earlier attempt had put it there; for a move, what was left of the source was deleted.
    Finished,
}

/// A change to a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Something new has this path.
    Created(Vec<u8>),
    /// It has another path.
    Renamed {
        /// The path that it had.
        from: Vec<u8>,
        /// The path that it has.
        to: Vec<u8>,
    },
    /// Nothing has this path any more.
    Removed(Vec<u8>),
}
