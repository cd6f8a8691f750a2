//! Making the missing directories of a destination, one step at a time, each with its mode and
//! owner before anybody but us can use it. What exists already is used as it is.

use std::{fs::read_to_string, os::fd::OwnedFd};

use rustix::{
    fs::{self, Gid, Mode, ResolveFlags, Uid},
    io::{Errno, retry_on_intr},
    process::geteuid,
};

use super::{
    Options,
    error::FileError,
    open::{BENEATH, Facts, LIST, open_at, open_dir},
};

/// Set on a directory: what is made in it gets its group.
const SETGID: u32 = 0o2000;

/// Walks `dirs` beneath `root`, making what is missing, and gives the last one.
pub(super) fn make_dirs(
    root: OwnedFd,
    root_path: &[u8],
    dirs: &[u8],
    options: &Options<'_>,
    made: &mut Vec<Vec<u8>>,
) -> Result<OwnedFd, FileError> {
    let mut dir = root;
    let mut path = root_path.to_vec();
    for name in dirs.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        path.push(b'/');
        path.extend_from_slice(name);
        dir = match open_dir(&dir, name) {
            Err(Errno::NOENT) => {
                let made_now = make_dir(&dir, name, options)
                    .map_err(|errno| FileError::system("mkdirat", &path, errno))?;
                if made_now {
                    made.push(path.clone());
                }
                open_dir(&dir, name)
            }
            result => result,
        }
        .map_err(|errno| FileError::system("open", &path, errno))?;
    }
    Ok(dir)
}

/// Makes one directory; `false` if somebody else was faster.
fn make_dir(dir: &OwnedFd, name: &[u8], options: &Options<'_>) -> Result<bool, Errno> {
    let owned = options.user.is_some() || options.group.is_some();
    let plain = !owned && options.dirmode.is_none();
    let first = if plain { 0o777 } else { 0o700 };
    match retry_on_intr(|| fs::mkdirat(dir, name, Mode::from_raw_mode(first))) {
        Ok(()) if plain => return Ok(true),
        Ok(()) => (),
        Err(Errno::EXIST) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    let fd = open_at(dir, name, LIST, BENEATH | ResolveFlags::NO_XDEV)?;
    let facts = Facts::of_fd(&fd)?;
    if facts.uid != geteuid().as_raw() || facts.mode & 0o777 & !0o700 != 0 {
        // Not the one that was just made: it was replaced, and others' directories are not ours
        // to change.
        return Ok(false);
    }
    if owned {
        let (uid, gid) = (options.user.map(Uid::from_raw), options.group.map(Gid::from_raw));
        fs::fchown(&fd, uid, gid)?;
    }
    let mode = options.dirmode.map_or_else(|| 0o777 & !umask(), |mode| mode & 0o3777);
    fs::fchmod(&fd, Mode::from_raw_mode(mode | facts.mode & SETGID))?;
    Ok(true)
}

/// The process's umask. `umask(2)` cannot be asked without setting it, for all threads.
fn umask() -> u32 {
    read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let value = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(value.trim(), 8).ok()
        })
        .unwrap_or(0o022)
}
