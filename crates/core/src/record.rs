//! What the kernel said, as it said it.

use crate::event::Mask;

/// A watch descriptor: the kernel's name for one watched inode (`inotify(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wd(pub i32);

impl Wd {
    /// The descriptor of `IN_Q_OVERFLOW`, which belongs to no watch.
    pub const NONE: Self = Self(-1);
}

/// One record of the kernel's queue. Unknown mask bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The watch that it is for.
    pub wd: Wd,
    /// What happened.
    pub mask: Mask,
    /// Joins the two halves of a move; 0 on everything else.
    pub cookie: u32,
    /// The name in the watched directory; empty when it is about the watched item itself.
    pub name: &'a [u8],
}
