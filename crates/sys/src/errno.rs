//! The kernel's errors: what people are told of them, and what is meant by them.

use std::io;

/// An error of the system as the end of a sentence: `permission denied`.
#[must_use]
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The same, by its number.
pub(crate) fn name(errno: i32) -> String {
    words(&io::Error::from_raw_os_error(errno))
}

/// Whether it is for want of a descriptor or of memory: anybody would be told this now, whatever was
/// asked for.
#[must_use]
pub fn is_want_of_room(errno: i32) -> bool {
    [libc::EMFILE, libc::ENFILE, libc::ENOMEM].contains(&errno)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use rustix::io::Errno;

    use super::*;
    use crate::{
        enter::{EnterError, WatchError},
        files::{Fault, FileError},
        inotify::{self, InitError},
        lease::Doubt,
        process::{SpawnError, identity::IdentityError},
    };

    #[test]
    fn an_error_of_the_system_reads_as_the_end_of_a_sentence() {
        assert_eq!(name(libc::ENOENT), "no such file or directory");
        assert_eq!(words(&io::Error::other("Not this")), "not this");
    }

    /// Those of files have their words in [`files::FileError`], and `action::files` shows them.
    #[test]
    fn every_error_says_which_call_failed_and_why() {
        let errno = io::Error::from_raw_os_error;
        let call = "statx";
        let doubt = Doubt { call: "fcntl(F_SETLEASE)", errno: libc::EPERM, opened: true };
        let file = |kind| FileError { kind, call: "open", path: b"/a".into(), errno: None };
        let errors: [&dyn Error; 18] = [
            &InitError::InstanceLimit { limit: Some(128) },
            &InitError::InstanceLimit { limit: None },
            &InitError::DescriptorLimit(errno(libc::EMFILE)),
            &InitError::Failed(errno(libc::ENOMEM)),
            &WatchError::Limit,
            &WatchError::NoMemory,
            &WatchError::Denied(libc::EACCES),
            &WatchError::Failed { call: "inotify_add_watch", errno: libc::EINVAL },
            &EnterError::Missing,
            &EnterError::Denied(libc::EACCES),
            &EnterError::Failed { call, errno: libc::EIO },
            &SpawnError::Spawn(errno(libc::ENOEXEC)),
            &SpawnError::Watch(errno(libc::EMFILE)),
            &IdentityError { call: "setgroups", source: errno(libc::EPERM) },
            &doubt,
            &inotify::decode(&[0; 20]).last().unwrap().unwrap_err(),
            &file(Fault::BadPath),
            &FileError { errno: Some(Errno::TXTBSY), ..file(Fault::Busy) },
        ];
        let told = errors.map(|it| {
            let cause = it.source().map(|it| format!(" ({it})")).unwrap_or_default();
            format!("{it}{cause}")
        });
        insta::assert_snapshot!("errors", told.join("\n"));
    }
}
