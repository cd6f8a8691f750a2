//! What happened in a watched tree: a record with its path.

use std::{fmt, str::FromStr, sync::Arc};

use crate::record::Wd;

/// The 15 event types that an event map can name, in the kernel's order of bits (`inotify(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventType {
    /// A file was read or executed.
    Access,
    /// A file was written to or truncated.
    Modify,
    /// Metadata changed: mode, owner, times, extended attributes, link count.
    Attrib,
    /// A file that was open for writing was closed.
    CloseWrite,
    /// A file or directory that was not open for writing was closed.
    CloseNowrite,
    /// A file or directory was opened.
    Open,
    /// An entry was renamed: its old name.
    MovedFrom,
    /// An entry was renamed: its new name.
    MovedTo,
    /// An entry was created.
    Create,
    /// An entry was deleted.
    Delete,
    /// The watched item itself was deleted.
    DeleteSelf,
    /// The watched item itself was moved.
    MoveSelf,
    /// The file system of the watched item was unmounted.
    Unmount,
    /// The kernel's queue overflowed: events were lost.
    QOverflow,
    /// The watch is gone.
    Ignored,
}

impl EventType {
    /// All types, in the order of their bits.
    pub const ALL: [Self; 15] = [
        Self::Access,
        Self::Modify,
        Self::Attrib,
        Self::CloseWrite,
        Self::CloseNowrite,
        Self::Open,
        Self::MovedFrom,
        Self::MovedTo,
        Self::Create,
        Self::Delete,
        Self::DeleteSelf,
        Self::MoveSelf,
        Self::Unmount,
        Self::QOverflow,
        Self::Ignored,
    ];

    /// The name that users write and read: `IN_CLOSE_WRITE`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "IN_ACCESS",
            Self::Modify => "IN_MODIFY",
            Self::Attrib => "IN_ATTRIB",
            Self::CloseWrite => "IN_CLOSE_WRITE",
            Self::CloseNowrite => "IN_CLOSE_NOWRITE",
            Self::Open => "IN_OPEN",
            Self::MovedFrom => "IN_MOVED_FROM",
            Self::MovedTo => "IN_MOVED_TO",
            Self::Create => "IN_CREATE",
            Self::Delete => "IN_DELETE",
            Self::DeleteSelf => "IN_DELETE_SELF",
            Self::MoveSelf => "IN_MOVE_SELF",
            Self::Unmount => "IN_UNMOUNT",
            Self::QOverflow => "IN_Q_OVERFLOW",
            Self::Ignored => "IN_IGNORED",
        }
    }

    /// The kernel's bit.
    #[must_use]
    pub const fn mask(self) -> Mask {
        Mask(match self {
            Self::Access => 0x1,
            Self::Modify => 0x2,
            Self::Attrib => 0x4,
            Self::CloseWrite => 0x8,
            Self::CloseNowrite => 0x10,
            Self::Open => 0x20,
            Self::MovedFrom => 0x40,
            Self::MovedTo => 0x80,
            Self::Create => 0x100,
            Self::Delete => 0x200,
            Self::DeleteSelf => 0x400,
            Self::MoveSelf => 0x800,
            Self::Unmount => 0x2000,
            Self::QOverflow => 0x4000,
            Self::Ignored => 0x8000,
        })
    }

    /// Whether what it is about is there when it has happened, as far as it says.
    #[must_use]
    pub const fn leaves_something(self) -> bool {
        match self {
            Self::Access
            | Self::Modify
            | Self::Attrib
            | Self::CloseWrite
            | Self::CloseNowrite
            | Self::Open
            | Self::MovedTo
            | Self::Create => true,
            Self::MovedFrom
            | Self::Delete
            | Self::DeleteSelf
            | Self::MoveSelf
            | Self::Unmount
            | Self::QOverflow
            | Self::Ignored => false,
        }
    }

    /// What happens, in a few words, for lists and help.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Access => "a file was read or executed",
            Self::Modify => "a file was written to or truncated",
            Self::Attrib => "metadata changed",
            Self::CloseWrite => "a file opened for writing was closed",
            Self::CloseNowrite => "a file or directory not opened for writing was closed",
            Self::Open => "a file or directory was opened",
            Self::MovedFrom => "an entry was renamed: its old name",
            Self::MovedTo => "an entry was renamed: its new name",
            Self::Create => "an entry was created",
            Self::Delete => "an entry was deleted",
            Self::DeleteSelf => "the watched item itself was deleted",
            Self::MoveSelf => "the watched item itself was moved",
            Self::Unmount => "the file system of the watched item was unmounted",
            Self::QOverflow => "the kernel's queue overflowed: events were lost",
            Self::Ignored => "the watch is gone",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No event type has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such event type")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(name: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.into_iter().find(|it| it.name() == name).ok_or(UnknownEventType)
    }
}

/// A set of the kernel's bits. Unknown ones are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mask(pub u32);

impl Mask {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// `IN_ISDIR`: the subject is a directory.
    pub const ISDIR: Self = Self(0x4000_0000);
    /// The bits of all 15 event types.
    pub const ALL_EVENTS: Self = Self(0xefff);

    /// Whether all bits of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is in this set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the subject is a directory.
    #[must_use]
    pub const fn is_dir(self) -> bool {
        self.contains(Self::ISDIR)
    }

    /// The event type: that of the lowest known bit. The kernel sets one in each record; `None`
    /// means that it told of something that this program does not know.
    #[must_use]
    pub fn event_type(self) -> Option<EventType> {
        // Bit 12 is unused between IN_MOVE_SELF (bit 11) and IN_UNMOUNT (bit 13).
        match (self.0 & Self::ALL_EVENTS.0).trailing_zeros() {
            bit @ 0..=11 => Some(EventType::ALL[bit as usize]),
            bit @ 13..=15 => Some(EventType::ALL[bit as usize - 1]),
            _ => None,
        }
    }

    /// The event types in this set.
    pub fn event_types(self) -> impl Iterator<Item = EventType> {
        EventType::ALL.into_iter().filter(move |it| self.contains(it.mask()))
    }
}

impl From<EventType> for Mask {
    fn from(event_type: EventType) -> Self {
        event_type.mask()
    }
}

impl FromIterator<EventType> for Mask {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        types.into_iter().fold(Self::NONE, |mask, it| mask.with(it.mask()))
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// As users know it: `IN_CREATE|IN_ISDIR`; bits without a name follow in hex.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bar = "";
        for event_type in self.event_types() {
            write!(f, "{bar}{event_type}")?;
            bar = "|";
        }
        if self.is_dir() {
            write!(f, "{bar}IN_ISDIR")?;
            bar = "|";
        }
        match self.without(Self::ALL_EVENTS).without(Self::ISDIR).0 {
            0 if bar.is_empty() => f.write_str("0"),
            0 => Ok(()),
            rest => write!(f, "{bar}{rest:#x}"),
        }
    }
}

/// How an event became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The kernel told of it.
    Live,
    /// It was met when a new directory was listed.
    Scan,
    /// The rescan after lost events or a restart found it.
    Recovered,
}

impl Origin {
    /// The word that users read: `live`, `scan`, `recovered`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Scan => "scan",
            Self::Recovered => "recovered",
        }
    }
}

/// One change, with its path. What users' templates and tasks see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened; `mask` without it is at most `IN_ISDIR` and unknown bits.
    pub event_type: EventType,
    /// The kernel's bits.
    pub mask: Mask,
    /// Whether the subject is a directory. Nearly always `IN_ISDIR`, which the kernel does not
    /// set on `IN_DELETE_SELF` and `IN_MOVE_SELF`.
    pub is_dir: bool,
    /// Absolute path of the subject, as bytes; empty for `IN_Q_OVERFLOW`.
    pub pathname: Arc<[u8]>,
    /// Where the subject was before, on the second half of a move inside the watched trees.
    pub src_pathname: Option<Arc<[u8]>>,
    /// How long the name at the end of `pathname` is; 0 when the event is about the watched item
    /// itself.
    pub name_len: u16,
    /// How much of `pathname`, from its start, is a Watch's own path as configured. Symbolic links
    /// in that part were put there by whoever wrote the configuration; in the rest, none is
    /// followed.
    pub root_len: u32,
    /// The watch that told.
    pub wd: Wd,
    /// Joins the two halves of a move; 0 on everything else.
    pub cookie: u32,
    /// How it became known.
    pub origin: Origin,
    /// What it is about, when a config.py has its own mind of that (`taskindex`): events with the
    /// same subject are about the same task. Its scheduler must not have [`follow`] set: there is
    /// no path to go by.
    ///
    /// [`follow`]: crate::plan::Scheduler::follow
    pub subject: Option<Arc<[u8]>>,
}

impl Event {
    /// What it is about: its path, unless a subject of its own was given.
    #[must_use]
    pub fn subject(&self) -> &Arc<[u8]> {
        self.subject.as_ref().unwrap_or(&self.pathname)
    }

    /// The name in the watched directory; empty when the event is about the watched item itself.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.pathname[self.pathname.len() - usize::from(self.name_len)..]
    }

    /// The watched item: the directory that the subject is in, or the subject itself.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self.name_len {
            0 => &self.pathname,
            len => crate::path::trim_end(&self.pathname[..self.pathname.len() - usize::from(len)]),
        }
    }

    /// The event type with `|IN_ISDIR` for directories, as `maskname` shows it.
    #[must_use]
    pub fn maskname(&self) -> String {
        self.mask.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name_and_its_bit() {
        for event_type in EventType::ALL {
            assert_eq!(event_type.name().parse(), Ok(event_type));
            assert_eq!(event_type.mask().event_type(), Some(event_type));
            assert_eq!(event_type.mask().with(Mask::ISDIR).event_type(), Some(event_type));
        }
        assert_eq!("IN_WRITE_CLOSE".parse::<EventType>(), Err(UnknownEventType));
        assert_eq!(Mask(0x1000).event_type(), None);
        assert_eq!(Mask::NONE.event_type(), None);
    }

    /// What makes the kernel tell of it, by the manual pages of the calls.
    fn made_by(event_type: EventType) -> &'static str {
        match event_type {
            EventType::Access => "`read(2)`, `execve(2)`, `getdents(2)`",
            EventType::Modify => "`write(2)`, `truncate(2)`, `fallocate(2)`",
            EventType::Attrib => {
                "`chmod(2)`, `chown(2)`, `utimensat(2)`, `setxattr(2)`; `link(2)` and `unlink(2)` \
                 of another name"
            }
            EventType::CloseWrite | EventType::CloseNowrite => {
                "`close(2)` of the last descriptor, the end of a process"
            }
            EventType::Open => "`open(2)`, `execve(2)`, `opendir(3)`",
            EventType::MovedFrom | EventType::MovedTo => "`rename(2)`",
            EventType::Create => {
                "`open(2)` with `O_CREAT`, `mkdir(2)`, `link(2)`, `symlink(2)`, `mknod(2)`, \
                 `bind(2)` of a socket"
            }
            EventType::Delete => "`unlink(2)`, `rmdir(2)`",
            EventType::DeleteSelf => {
                "the same, once the item has no other name and nobody has it open"
            }
            EventType::MoveSelf => "`rename(2)` of the item itself",
            EventType::Unmount => {
                "`umount(2)`, also where the kernel is silent about it (`umount -l`, a bind mount); `IN_IGNORED` follows"
            }
            EventType::QOverflow => "more events than `fs.inotify.max_queued_events`",
            EventType::Ignored => "the item was deleted or unmounted, or is not watched any more",
        }
    }

    #[test]
    fn the_types_are_what_the_reference_shows() {
        let line = |it: EventType| {
            format!("{it} | {:#x} | {} | {}", it.mask().0, it.meaning(), made_by(it))
        };
        insta::assert_snapshot!("types", EventType::ALL.map(line).join("\n"));
    }

    #[test]
    fn a_mask_reads_as_users_know_it() {
        let create = EventType::Create.mask();
        assert_eq!(create.to_string(), "IN_CREATE");
        assert_eq!(create.with(Mask::ISDIR).to_string(), "IN_CREATE|IN_ISDIR");
        assert_eq!(Mask(0x1100).to_string(), "IN_CREATE|0x1000");
        assert_eq!(Mask::NONE.to_string(), "0");
    }

    #[test]
    fn path_and_name_are_parts_of_the_pathname() {
        let event = |pathname: &[u8], name_len| Event {
            event_type: EventType::Create,
            mask: EventType::Create.mask(),
            is_dir: false,
            pathname: pathname.into(),
            src_pathname: None,
            name_len,
            root_len: 2,
            wd: Wd(1),
            cookie: 0,
            origin: Origin::Live,
            subject: None,
        };
        let file = event(b"/w/f", 1);
        assert_eq!((file.path(), file.name()), (&b"/w"[..], &b"f"[..]));
        let own = event(b"/w", 0);
        assert_eq!((own.path(), own.name()), (&b"/w"[..], &b""[..]));
        let top = event(b"/f", 1);
        assert_eq!((top.path(), top.name()), (&b"/"[..], &b"f"[..]));
    }
}
