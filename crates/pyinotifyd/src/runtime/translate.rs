//! The same things in the words of `core` and in those of `sys`, which do not know each other.

use pyinotifyd_core::{
    record::Wd,
    stamp::{Identity, Stamp},
    tree::{
        self, Closed, DirId, Enter, EnterError, Entry, Found, Joined, Kind, Ticket, WatchError,
    },
};
use pyinotifyd_sys::{
    enter::{self as sys, Request},
    stamp::Look,
};

/// `ENOENT` (`errno(3)`).
const GONE: i32 = 2;

/// `IN_ONLYDIR` (`inotify(7)`).
const ONLYDIR: u32 = 0x0100_0000;

/// What the tree asks, as the walkers take it.
pub(super) fn request(enter: Enter) -> (Ticket, Request) {
    let Enter { ticket, path, trusted, mask, add, only_dir, look, names, stamps, .. } = enter;
    let look = match look {
        tree::Look::Nothing => sys::Look::Nothing,
        tree::Look::Directories => sys::Look::Directories,
        tree::Look::Everything { probe } => sys::Look::Everything { probe },
        tree::Look::Named => sys::Look::Named,
    };
    let mask = mask.0 | if only_dir { ONLYDIR } else { 0 };
    (ticket, Request { path, trusted, mask, add, look, names, stamps, barrier: false })
}

/// What a walker answers, as the tree takes it.
pub(super) fn answer(answer: Result<sys::Found, sys::EnterError>) -> Result<Found, EnterError> {
    answer.map(found).map_err(enter_error)
}

/// What was found, in the tree's words.
fn found(found: sys::Found) -> Found {
    let id = |it: sys::Id| DirId { dev: it.dev, ino: it.ino };
    Found {
        wd: match (found.wd, found.watch_error) {
            (Some(wd), _) => Ok(Wd(wd)),
            (None, Some(sys::WatchError::Limit)) => Err(WatchError::Limit),
            (None, Some(error)) => Err(WatchError::Failed(error.to_string())),
            (None, None) => Err(WatchError::Failed("it is not watched".into())),
        },
        id: id(found.id),
        parent: found.parent.map(id),
        // Numbers of mounts are small; two that differ by 2^32 do not live at once.
        mount: u32::try_from(found.mount & u64::from(u32::MAX)).expect("half of it is cut off"),
        linked: found.linked,
        kind: kind(found.kind),
        closed: closed(found.closed),
        entries: found
            .entries
            .into_iter()
            .map(|it| Entry {
                name: it.name,
                kind: kind(it.kind),
                closed: closed(it.closed),
                stamp: it.stamp.map(stamp),
            })
            .collect(),
        reads: found.reads,
        opened: found.opened,
        identity: identity(found.stamp),
        stamp: Some(stamp(found.stamp)),
        joined: Joined::No,
    }
}

/// A state, in the tree's words.
pub(super) fn stamp(it: Look) -> Stamp {
    let Look { ino, ctime, mtime, btime, size, .. } = it;
    Stamp { ino, ctime, mtime, btime, size }
}

fn identity(it: Look) -> Identity {
    let Look { ino, btime, dev, .. } = it;
    Identity { ino, btime, dev: if btime == 0 { dev } else { 0 } }
}

fn kind(kind: sys::Kind) -> Kind {
    match kind {
        sys::Kind::Directory => Kind::Directory,
        sys::Kind::File => Kind::File,
        sys::Kind::Other => Kind::Other,
    }
}

fn closed(closed: sys::Closed) -> Closed {
    match closed {
        sys::Closed::Yes => Closed::Yes,
        sys::Closed::No => Closed::No,
        // Gone already: its records tell, if there is anything to tell.
        sys::Closed::Unknown(doubt) if doubt.errno == GONE => Closed::NotAsked,
        sys::Closed::Unknown(_) => Closed::Unknown,
        sys::Closed::NotAsked => Closed::NotAsked,
    }
}

fn enter_error(error: sys::EnterError) -> EnterError {
    match error {
        sys::EnterError::Missing => EnterError::Missing,
        error @ (sys::EnterError::Denied(_) | sys::EnterError::Failed { .. }) => {
            EnterError::Failed(error.to_string())
        }
    }
}
