//! What a file is like just now: its size, its times, and whether somebody writes to it.

use super::{
    Place,
    error::{Fault, FileError},
    open::{BENEATH, Entry, Spot},
};
use crate::lease::{self, Closed};

use rustix::{fs::FileType, io::Errno};

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Gone,
    /// A directory.
    Directory,
    /// A regular file.
    File(State),
    /// A link, or something special.
    Other,
}

/// A regular file at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Its device and inode.
    pub file: (u64, u64),
    /// Its size.
    pub size: u64,
    /// When it was written to, in seconds and nanoseconds since 1970; whoever owns it can say so.
    pub mtime: (i64, i64),
    /// When anything of it was changed; the kernel says so.
    pub ctime: (i64, i64),
}

/// Looks at what is there, which no watcher of it notices.
///
/// # Errors
///
/// It cannot be looked at.
pub fn look(place: Place<'_>) -> Result<Seen, FileError> {
    Ok(match open(place)? {
        None => Seen::Gone,
        Some((_, entry)) if entry.facts.is_dir() => Seen::Directory,
        Some((_, entry)) if entry.facts.kind == FileType::RegularFile => {
            Seen::File(entry.facts.state())
        }
        Some(_) => Seen::Other,
    })
}

/// Whether somebody has the file there open for writing; see [`lease::is_closed`], also for what
/// its watchers notice. [`Closed::NotAsked`] if there is no regular file.
///
/// # Errors
///
/// It cannot be looked at.
pub fn is_closed(place: Place<'_>) -> Result<Closed, FileError> {
    Ok(open(place)?.map_or(Closed::NotAsked, |(_, entry)| lease::is_closed_at(&entry.fd)))
}

fn open(place: Place<'_>) -> Result<Option<(Spot, Entry)>, FileError> {
    let spot = match Spot::source(place) {
        Err(error) if error.kind == Fault::SourceGone => return Ok(None),
        spot => spot?,
    };
    match Entry::open(&spot.dir, &spot.name, BENEATH) {
        Ok(entry) => Ok(Some((spot, entry))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(FileError::system("openat2", &spot.path, errno)),
    }
}
