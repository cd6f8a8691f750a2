//! The kernel's limits on inotify, as `sysctl fs.inotify` shows them, and that on open files. They
//! are read when an error has to name them, and for `status`.

use std::fs;

/// What `/proc/sys/fs/inotify` says; `None` for what cannot be read.
///
/// In a user namespace `user.max_inotify_watches` and `user.max_inotify_instances` may be lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `max_user_watches`: watches a user, over all instances.
    pub watches: Option<u64>,
    /// `max_user_instances`: instances a user.
    pub instances: Option<u64>,
    /// `max_queued_events`: records an instance may have waiting before `IN_Q_OVERFLOW`.
    pub queued: Option<u64>,
}

impl Limits {
    /// Asks the kernel. Three small reads of procfs.
    pub fn read() -> Self {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok()
        };
        Self {
            watches: read("max_user_watches"),
            instances: read("max_user_instances"),
            queued: read("max_queued_events"),
        }
    }
}

/// How many files this process may have open at once; `None`: as many as it likes.
pub fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// ` (128)`, or nothing for a limit that could not be read: the end of an error's sentence.
pub(crate) fn shown(limit: Option<u64>) -> String {
    limit.map(|limit| format!(" ({limit})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_with_inotify_has_all_three() {
        let limits = Limits::read();
        for limit in [limits.watches, limits.instances, limits.queued] {
            assert!(limit.is_some_and(|limit| limit > 0), "{limits:?}");
        }
    }
}
