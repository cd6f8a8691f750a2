//! By what a file and a directory are known again: a state that differs is told, an equal one is
//! not.

/// Which state of a file is there: as long as nobody changes the file, its stamp stays the same.
///
/// The change time alone would say it on a kernel that counts finely enough (6.13 and later); the
/// other fields tell what kind of change it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Inode number.
    pub ino: u64,
    /// When the inode was last changed, in nanoseconds since 1970 (`stx_ctime` of `statx(2)`).
    pub ctime: i64,
    /// When the content was last changed; anybody may set it (`stx_mtime`).
    pub mtime: i64,
    /// When it was made; 0 where the file system does not keep that (`stx_btime`).
    pub btime: i64,
    /// Size in bytes.
    pub size: u64,
}

/// Which directory it is, over restarts and reboots: inode numbers are used again, and numbers of
/// devices may differ from one boot to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Inode number.
    pub ino: u64,
    /// When it was made, as in [`Stamp::btime`].
    pub btime: i64,
    /// The device, where `btime` is 0 and nothing else tells file systems apart; else 0.
    pub dev: u64,
}

/// The number of a directory in the index of what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexId(pub u32);

impl IndexId {
    /// Not in the index, or there is none.
    pub const NONE: Self = Self(0);
}
