//! What a process keeps over `execve(2)`: limits, niceness, the file mode creation mask, and the
//! working directory.
//!
//! For a process that is about to become another program: each call changes the whole process.

use std::{ffi::CStr, io};

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit},
};

/// A limit of `getrlimit(2)` by its name in lower case.
#[must_use]
pub fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// Sets the soft and the hard limit; `u64::MAX` is no limit.
pub fn set_limit(resource: Resource, value: u64) -> io::Result<()> {
    let value = Some(value).filter(|value| *value != u64::MAX);
    Ok(rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })?)
}

/// Adds to the niceness; beyond -20 and 19 the kernel stops there.
pub fn add_niceness(add: i32) -> io::Result<()> {
    let now = rustix::process::getpriority_process(None)?;
    Ok(rustix::process::setpriority_process(None, now.saturating_add(add).clamp(-20, 19))?)
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
}

/// Changes the working directory.
pub fn enter(dir: &CStr) -> io::Result<()> {
    Ok(rustix::process::chdir(dir)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_known_by_their_names() {
        assert_eq!(resource("nofile"), Some(Resource::Nofile));
        assert_eq!(resource("NOFILE"), None);
    }
}
