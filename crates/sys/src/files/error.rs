//! What went wrong with a file, and whether trying again can help.

use std::fmt;

use rustix::io::Errno;

use crate::errno;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// There is nothing at the source (any more).
    SourceGone,
    /// There is something at the destination.
    Exists,
    /// A directory of the destination is missing, and making it was not asked for.
    NoDirectory,
    /// A symbolic link stands where a directory must be.
    LinkInTheWay,
    /// The path is not absolute, contains `..`, or names nothing.
    BadPath,
    /// Source and destination are one.
    SamePlace,
    /// A directory was to be moved or copied into itself.
    IntoItself,
    /// A directory was to be deleted without its content, and has some.
    NotEmpty,
    /// The file has other names, so a new owner or mode would show elsewhere.
    HardLinked,
    /// A FIFO, a socket or a device, which cannot be copied or given a mode.
    Special,
    /// A mount point, or another file system, inside of a tree.
    OtherFileSystem,
    /// Somebody changed or replaced it during the operation.
    Changed,
    /// The destination is complete, but the source changed in between, so what is left of the
    /// source was kept; or it cannot be told whether it is gone.
    SourceKept,
    /// Somebody holds a lease on the file, or the like.
    Busy,
    /// The disk, the quota or the inodes are used up.
    NoSpace,
    /// Not permitted, or read-only.
    Denied,
    /// [`Options::cancel`](super::Options::cancel) was set.
    Cancelled,
    /// The system call failed for another reason, which [`FileError::errno`] tells.
    System,
}

/// Why a file operation failed. Whatever it is: unless it is [`Fault::SourceKept`], the source is
/// what and where it was, and the destination shows nothing partial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// What kind of failure.
    pub kind: Fault,
    /// The system call that found out; a plain word where it was none.
    pub call: &'static str,
    /// On what.
    pub path: Vec<u8>,
    /// What the kernel said, if it was the kernel.
    pub errno: Option<Errno>,
}

impl FileError {
    /// Whether the same operation may succeed later, with nothing done by the administrator that
    /// the daemon would be told of.
    pub fn is_temporary(&self) -> bool {
        match self.kind {
            Fault::Changed | Fault::Busy | Fault::NoSpace => true,
            Fault::System => matches!(
                self.errno,
                Some(
                    Errno::IO
                        | Errno::INTR
                        | Errno::MFILE
                        | Errno::NFILE
                        | Errno::NOMEM
                        | Errno::NOBUFS
                        | Errno::STALE
                        | Errno::TIMEDOUT
                )
            ),
            Fault::SourceGone
            | Fault::Exists
            | Fault::NoDirectory
            | Fault::LinkInTheWay
            | Fault::BadPath
            | Fault::SamePlace
            | Fault::IntoItself
            | Fault::NotEmpty
            | Fault::HardLinked
            | Fault::Special
            | Fault::OtherFileSystem
            | Fault::SourceKept
            | Fault::Denied
            | Fault::Cancelled => false,
        }
    }

    /// Whether it is for want of descriptors or memory, which is about the process and not the files.
    pub fn is_want_of_room(&self) -> bool {
        let is_room = |it: Errno| errno::is_want_of_room(it.raw_os_error());
        self.kind == Fault::System && self.errno.is_some_and(is_room)
    }

    /// Why, in words that need neither call nor path; `None` where the errno is the reason.
    pub fn reason(&self) -> Option<&'static str> {
        Some(match self.kind {
            Fault::SourceGone => "it is gone",
            Fault::Exists => "there is something at the destination",
            Fault::NoDirectory => "no such directory",
            Fault::LinkInTheWay => "a symbolic link is in the way",
            Fault::BadPath => "not an absolute path of plain names",
            Fault::SamePlace => "source and destination are the same",
            Fault::IntoItself => "a directory cannot be put into itself",
            Fault::NotEmpty => "the directory is not empty",
            Fault::HardLinked => {
                "the file has other hard links, which would get the owner, the mode or the content too"
            }
            Fault::Special => "not a file, a directory or a symbolic link",
            Fault::OtherFileSystem => "another file system begins here",
            Fault::Changed => "it was changed by somebody else meanwhile",
            Fault::SourceKept if self.errno.is_some() => {
                "the destination is complete, but the source could not be removed"
            }
            Fault::SourceKept => {
                "the destination is complete, but the source has changed meanwhile and is kept"
            }
            Fault::Cancelled => "stopped on request",
            Fault::Busy | Fault::NoSpace | Fault::Denied | Fault::System => return None,
        })
    }

    /// A failure that is our own finding, not the kernel's.
    pub(super) fn found(kind: Fault, call: &'static str, path: &[u8]) -> Self {
        Self { kind, call, path: path.to_vec(), errno: None }
    }

    /// A failure of a system call, by what its number means wherever it comes from.
    pub(super) fn system(call: &'static str, path: &[u8], errno: Errno) -> Self {
        let kind = match errno {
            Errno::AGAIN | Errno::TXTBSY => Fault::Busy,
            Errno::NOSPC | Errno::DQUOT => Fault::NoSpace,
            Errno::PERM | Errno::ACCESS | Errno::ROFS => Fault::Denied,
            Errno::EXIST => Fault::Exists,
            Errno::LOOP => Fault::LinkInTheWay,
            Errno::XDEV => Fault::OtherFileSystem,
            _ => Fault::System,
        };
        Self { kind, call, path: path.to_vec(), errno: Some(errno) }
    }

    /// [`FileError::system`], where the number means something in particular.
    pub(super) fn of(kind: Fault, call: &'static str, path: &[u8], errno: Errno) -> Self {
        Self { kind, call, path: path.to_vec(), errno: Some(errno) }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.call, Shown(&self.path))?;
        match (self.reason(), self.errno) {
            (Some(reason), _) => f.write_str(reason),
            (None, Some(errno)) => f.write_str(&errno::name(errno.raw_os_error())),
            (None, None) => f.write_str("failed"),
        }
    }
}

impl std::error::Error for FileError {}

/// A path for people: on one line, whatever its bytes.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '\'' | '"' => write!(f, "{char}")?,
                    char => write!(f, "{}", char.escape_debug())?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_call_path_and_reason_on_one_line() {
        let error = FileError::system("openat2", b"/a\n\x1b\xff'\xe2\x80\xae", Errno::ACCESS);
        assert_eq!(error.to_string(), "openat2 /a\\n\\u{1b}\\xff'\\u{202e}: permission denied");
        assert_eq!(error.kind, Fault::Denied);
    }

    #[test]
    fn only_what_may_pass_by_itself_is_temporary() {
        let temporary = |errno| FileError::system("write", b"/a", errno).is_temporary();
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::AGAIN, Errno::MFILE] {
            assert!(temporary(errno), "{errno}");
        }
        for errno in [Errno::EXIST, Errno::ACCESS, Errno::ROFS, Errno::LOOP, Errno::NAMETOOLONG] {
            assert!(!temporary(errno), "{errno}");
        }
    }
}
