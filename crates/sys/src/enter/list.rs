//! Reading an open directory.

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

use super::{Entry, Kind, Look, Request, kind_of};
use crate::lease::{self, Closed, Probe, Writers};
use crate::stamp;

/// What one `getdents64(2)` may give: two thousand entries and more.
const READ: usize = 64 * 1024;

/// The entries, and what reading them was seen by the directory's watchers as.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    pub(super) reads: u32,
    pub(super) error: Option<Errno>,
}

/// Lists `dir`, then probes its files and looks at their states if that is asked. `buffer` is kept
/// for the next call.
pub(super) fn list(dir: BorrowedFd<'_>, request: &Request, buffer: &mut Vec<u8>) -> Listing {
    let mut listing = match request.look {
        Look::Named => named(dir, &request.names),
        Look::Nothing | Look::Directories | Look::Everything { .. } => {
            buffer.clear();
            buffer.reserve(READ);
            read(dir, request.look, buffer.spare_capacity_mut())
        }
    };
    match request.look {
        Look::Everything { probe: true } | Look::Named => probe(dir, &mut listing.entries),
        Look::Nothing | Look::Directories | Look::Everything { probe: false } => (),
    }
    if request.stamps {
        for entry in &mut listing.entries {
            entry.stamp = stamp::look_in(dir, &*entry.name).ok();
        }
    }
    listing
}

/// Those of some names that are there.
fn named(dir: BorrowedFd<'_>, names: &[Box<[u8]>]) -> Listing {
    let entry = |name: &[u8]| {
        let kind = stamp::look_in(dir, name).ok()?.kind;
        Some(Entry { name: name.into(), kind, closed: Closed::NotAsked, stamp: None })
    };
    let entries = names.iter().filter_map(|it| entry(it)).collect();
    Listing { entries, ..Listing::default() }
}

fn read(dir: BorrowedFd<'_>, look: Look, buffer: &mut [MaybeUninit<u8>]) -> Listing {
    let mut listing = Listing::default();
    let mut raw = RawDir::new(dir, buffer);
    loop {
        let reads_again = u32::from(raw.is_buffer_empty());
        let entry = match raw.next() {
            None => {
                listing.reads += reads_again;
                return listing;
            }
            Some(Ok(entry)) => entry,
            // It was removed: the kernel says so without a look at it, so no IN_ACCESS.
            Some(Err(Errno::NOENT)) => return listing,
            Some(Err(Errno::INTR)) => continue,
            Some(Err(errno)) => {
                listing.reads += reads_again;
                listing.error = Some(errno);
                return listing;
            }
        };
        listing.reads += reads_again;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                match rustix::fs::statat(
                    dir,
                    name,
                    AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
                ) {
                    Ok(stat) => super::kind_of(FileType::from_raw_mode(stat.st_mode)),
                    Err(Errno::NOENT) => continue,
                    Err(_) => Kind::Other,
                }
            }
            known => kind_of(known),
        };
        let wanted = match look {
            Look::Nothing => false,
            Look::Directories => kind == Kind::Directory,
            Look::Everything { .. } | Look::Named => true,
        };
        if wanted {
            listing.entries.push(Entry {
                name: name.to_bytes().into(),
                kind,
                closed: Closed::NotAsked,
                stamp: None,
            });
        }
    }
}

/// Asks of each regular file whether it has a writer. The look through `/proc`, where it is
/// needed, is made once for all.
fn probe(dir: BorrowedFd<'_>, entries: &mut [Entry]) {
    let mut refused = Vec::new();
    for (at, entry) in entries.iter_mut().enumerate() {
        match entry.kind {
            Kind::File => match lease::probe(dir, &entry.name) {
                Probe::Known(closed) => entry.closed = closed,
                Probe::Refused(file) => refused.push((at, file)),
            },
            Kind::Directory | Kind::Other => (),
        }
    }
    if !refused.is_empty() {
        let files: Vec<_> = refused.iter().map(|(_, file)| *file).collect();
        let writers = Writers::find(&files);
        for (at, file) in refused {
            entries[at].closed = writers.closed(file);
        }
    }
}
