//! What a configuration speaks of and does not hold: users, groups, other files, the machine.

use std::{
    io::{self, Read},
    num::NonZeroUsize,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::unistd;
use pyinotifyd_core::plan::User;

/// How a user or group is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account<'a> {
    /// By name.
    Name(&'a str),
    /// By id.
    Id(u32),
}

/// The world that a configuration is checked against.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// CPUs that the process may use.
    pub(crate) cpus: NonZeroUsize,
    /// The process's effective user id.
    pub(crate) uid: u32,
    /// `$STATE_DIRECTORY`.
    pub(crate) state_directory: Option<PathBuf>,
    /// Looks a user up; `None`: there is none.
    pub(crate) user: fn(Account<'_>) -> io::Result<Option<User>>,
    /// Looks a group's id up; `None`: there is none.
    pub(crate) group: fn(Account<'_>) -> io::Result<Option<u32>>,
    /// Reads another file.
    pub(crate) read: fn(&Path) -> io::Result<Vec<u8>>,
}

impl Environment {
    /// The real one. `state_directory` is `$STATE_DIRECTORY`; of several that systemd names there,
    /// the first counts.
    pub(crate) fn new(state_directory: Option<&std::ffi::OsStr>) -> Self {
        let first = |dirs: &std::ffi::OsStr| {
            let first = dirs.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
            PathBuf::from(std::ffi::OsStr::from_bytes(first))
        };
        Self {
            cpus: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            uid: unistd::geteuid().as_raw(),
            state_directory: state_directory.map(first).filter(|dir| dir.is_absolute()),
            user: look_up_user,
            group: look_up_group,
            read: |path| read_file(path).map(|(bytes, _)| bytes),
        }
    }
}

fn look_up_user(account: Account<'_>) -> io::Result<Option<User>> {
    let found = match account {
        Account::Name(name) => unistd::User::from_name(name)?,
        Account::Id(uid) => unistd::User::from_uid(unistd::Uid::from_raw(uid))?,
    };
    Ok(found.map(|it| User {
        name: it.name.into(),
        uid: it.uid.as_raw(),
        gid: it.gid.as_raw(),
        home: it.dir.as_os_str().as_bytes().into(),
        shell: it.shell.as_os_str().as_bytes().into(),
    }))
}

fn look_up_group(account: Account<'_>) -> io::Result<Option<u32>> {
    let found = match account {
        Account::Name(name) => unistd::Group::from_name(name)?,
        Account::Id(gid) => unistd::Group::from_gid(unistd::Gid::from_raw(gid))?,
    };
    Ok(found.map(|it| it.gid.as_raw()))
}

/// No configuration is this large; `/dev/zero` is.
const MAX_BYTES: u64 = 4 << 20;

/// Reads a regular file of at most 4 MiB, and gives it still open.
pub(super) fn read_file(path: &Path) -> io::Result<(Vec<u8>, std::fs::File)> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        // A FIFO would block until somebody writes, a terminal would become ours.
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    (&file).take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok((bytes, file))
}
