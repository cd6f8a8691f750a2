//! From a path to what it names, through symlinks only where the administrator put them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::TRIES;

/// The longest path of one system call: `PATH_MAX` without its NUL.
const LONGEST: usize = 4095;

/// No symlink anywhere, and none of procfs's magic links.
const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// Opens `path`, whose first `trusted` bytes may go through symlinks and the rest through none.
/// ELOOP from the rest is given as ENOTDIR, which it is for whoever asks for a directory; ELOOP
/// from the trusted part means a loop. EINVAL: the request is wrong.
pub(super) fn open(path: &[u8], trusted: usize, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (words, rest) = split(path, trusted)?;
    if rest.is_empty() {
        return in_steps(CWD, words, flags, ResolveFlags::empty());
    }
    let flags = flags | OFlags::NOFOLLOW;
    // Most trusted parts have no symlink either, and then one call does it all.
    if path.len() <= LONGEST {
        match one_step(CWD, path, flags, NO_LINKS) {
            Err(Errno::LOOP) => (),
            done => return done,
        }
    }
    let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = in_steps(CWD, words, place, ResolveFlags::empty())?;
    in_steps(base.as_fd(), rest, flags, NO_LINKS | ResolveFlags::BENEATH)
        .map_err(|errno| if errno == Errno::LOOP { Errno::NOTDIR } else { errno })
}

/// The trusted part, and the rest as a relative path, empty if there is none.
fn split(path: &[u8], trusted: usize) -> Result<(&[u8], &[u8]), Errno> {
    let (words, rest) = path.split_at_checked(trusted).ok_or(Errno::INVAL)?;
    let at_an_end = rest.is_empty() || words.ends_with(b"/") || rest.starts_with(b"/");
    let climbs = rest.split(|byte| *byte == b'/').any(|name| name == b"..");
    if !path.starts_with(b"/") || path.contains(&0) || !at_an_end && !words.is_empty() || climbs {
        return Err(Errno::INVAL);
    }
    let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
    Ok((if words.is_empty() { b"/" } else { words }, &rest[slashes..]))
}

/// Opens `path`, however long, in as few steps as `PATH_MAX` allows.
fn in_steps(
    from: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut held: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > LONGEST {
        let cut = rest[..=LONGEST].iter().rposition(|byte| *byte == b'/');
        let cut = cut.filter(|cut| *cut > 0).ok_or(Errno::NAMETOOLONG)?;
        let from = held.as_ref().map_or(from, AsFd::as_fd);
        let next = one_step(from, &rest[..cut], place, resolve)?;
        held = Some(next);
        let slashes = rest[cut..].iter().take_while(|byte| **byte == b'/').count();
        rest = &rest[cut + slashes..];
    }
    let from = held.as_ref().map_or(from, AsFd::as_fd);
    one_step(from, if rest.is_empty() { b"." } else { rest }, flags, resolve)
}

/// EAGAIN is what the kernel says when a rename crosses its way (`openat2(2)`).
fn one_step(
    from: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(from, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_where_a_component_ends() {
        let ok = |path: &'static [u8], trusted| split(path, trusted).unwrap();
        assert_eq!(ok(b"/a/b", 4), (&b"/a/b"[..], &b""[..]));
        assert_eq!(ok(b"/a/b", 2), (&b"/a"[..], &b"b"[..]));
        assert_eq!(ok(b"/a//b", 2), (&b"/a"[..], &b"b"[..]));
        assert_eq!(ok(b"/a/b", 1), (&b"/"[..], &b"a/b"[..]));
        assert_eq!(ok(b"/a/b", 0), (&b"/"[..], &b"a/b"[..]));
        assert_eq!(ok(b"/a/../b/c", 7), (&b"/a/../b"[..], &b"c"[..]));
    }

    #[test]
    fn a_wrong_request_is_refused() {
        for (path, trusted) in
            [(&b"/ab"[..], 2), (b"/a", 3), (b"a", 1), (b"", 0), (b"/a/../b", 2), (b"/a\0b", 4)]
        {
            assert_eq!(split(path, trusted), Err(Errno::INVAL), "{path:?} {trusted}");
        }
    }
}
