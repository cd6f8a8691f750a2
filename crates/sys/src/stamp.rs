//! The state of what is at a path, as `statx(2)` tells it.
//!
//! Two equal answers mean that nothing has happened in between, if the clock behind `ctime` counts
//! finely enough; [`is_fine`] tells where it does.

use std::{io, os::fd::BorrowedFd, sync::OnceLock};

use rustix::{
    fs::{AtFlags, CWD, FsWord, Statx, StatxFlags, StatxTimestamp},
    io::Errno,
    path::Arg,
};

use crate::enter::{self, Kind};

/// The first kernel whose file systems give every change that comes after a look another time.
const FINE_SINCE: (u32, u32) = (6, 13);

/// The file systems that do (`FS_MGTIME`): ext4, XFS, Btrfs, tmpfs; by `statfs(2)`.
const FINE: [FsWord; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];

/// What a [`Look`] is made of.
pub(crate) const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// What was found at a path. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What it is.
    pub kind: Kind,
    /// The device that it is on.
    pub dev: u64,
    /// Its inode number.
    pub ino: u64,
    /// When the inode was last changed.
    pub ctime: i64,
    /// When the content was last changed.
    pub mtime: i64,
    /// When it was made; 0 where the file system does not keep that.
    pub btime: i64,
    /// Its size in bytes.
    pub size: u64,
}

/// Looks at what is at a path. A symbolic link at its end is looked at itself, and nothing is
/// mounted for it.
///
/// # Errors
///
/// Those of `statx(2)`; the error does not name the path.
pub fn look(path: &[u8]) -> io::Result<Look> {
    Ok(look_in(CWD, path)?)
}

/// [`look`], from an open directory on.
pub(crate) fn look_in<P: Arg>(dir: BorrowedFd<'_>, name: P) -> Result<Look, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(dir, name, flags, WANTED).map(|it| of(&it))
}

/// What [`WANTED`] has given.
pub(crate) fn of(stat: &Statx) -> Look {
    Look {
        kind: enter::kind(stat),
        dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        ino: stat.stx_ino,
        ctime: nanos(stat.stx_ctime),
        mtime: nanos(stat.stx_mtime),
        btime: match stat.stx_mask & StatxFlags::BTIME.bits() {
            0 => 0,
            _ => nanos(stat.stx_btime),
        },
        size: stat.stx_size,
    }
}

/// Whether on the file system at this path a change always gives another `ctime` than the one that
/// was looked at before.
#[must_use]
pub fn is_fine(path: &[u8]) -> bool {
    static KERNEL: OnceLock<bool> = OnceLock::new();
    let kernel = KERNEL.get_or_init(|| {
        let release = rustix::system::uname();
        version(release.release().to_bytes()) >= FINE_SINCE
    });
    *kernel && rustix::fs::statfs(path).is_ok_and(|it| FINE.contains(&it.f_type))
}

fn version(release: &[u8]) -> (u32, u32) {
    let mut numbers = release.split(|it| !it.is_ascii_digit()).map(|digits| {
        digits
            .iter()
            .fold(0_u32, |sum, it| sum.saturating_mul(10).saturating_add(u32::from(it - b'0')))
    });
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn nanos(time: StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.into())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, symlink},
        },
    };

    use super::*;

    #[test]
    fn a_look_tells_what_the_standard_library_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f\u{fc}");
        fs::write(&file, b"12345").unwrap();
        let (look, stat) =
            (look(file.as_os_str().as_bytes()).unwrap(), fs::metadata(&file).unwrap());
        assert_eq!(
            (look.kind, look.ino, look.dev, look.size),
            (Kind::File, stat.ino(), stat.dev(), 5)
        );
        assert_eq!(look.ctime, stat.ctime() * 1_000_000_000 + stat.ctime_nsec());
        assert_eq!(look.mtime, stat.mtime() * 1_000_000_000 + stat.mtime_nsec());
    }

    #[test]
    fn links_are_not_followed_and_what_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("/", &link).unwrap();
        assert_eq!(look(link.as_os_str().as_bytes()).unwrap().kind, Kind::Other);
        let missing = dir.path().join("missing");
        let error = look(missing.as_os_str().as_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn where_time_is_fine_a_change_after_a_look_has_another_time() {
        let dir = tempfile::tempdir().unwrap();
        if !is_fine(dir.path().as_os_str().as_bytes()) {
            eprintln!("skipped: fine times, because this kernel or file system has none");
            return;
        }
        let file = dir.path().join("f");
        fs::write(&file, b"0").unwrap();
        let mut last = look(file.as_os_str().as_bytes()).unwrap();
        for _ in 0..10_000 {
            fs::write(&file, b"0").unwrap();
            let now = look(file.as_os_str().as_bytes()).unwrap();
            assert_ne!(now, last);
            last = now;
        }
    }

    #[test]
    fn a_release_is_two_numbers() {
        assert_eq!(version(b"6.13.0-rc1"), (6, 13));
        assert_eq!(version(b"6.18"), (6, 18));
        assert_eq!(version(b"7"), (7, 0));
        assert_eq!(version(b""), (0, 0));
    }
}
