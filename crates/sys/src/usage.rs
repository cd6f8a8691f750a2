//! What this process has used so far, and what it may use.

use std::{fs, time::Duration};

use rustix::{
    param::page_size,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// What this process has used; `None` for what cannot be read. Processes that it has started are
/// not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of a CPU, over all threads (`CLOCK_PROCESS_CPUTIME_ID`).
    pub cpu: Duration,
    /// Bytes of memory that are in RAM, and that are mapped (`/proc/self/statm`).
    pub memory: Option<Memory>,
    /// Open files (`/proc/self/fd`).
    pub open_files: Option<u64>,
    /// The most open files (`RLIMIT_NOFILE`); `None`: no limit.
    pub max_files: Option<u64>,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In RAM.
    pub resident: u64,
    /// Mapped.
    pub mapped: u64,
}

impl Usage {
    /// Asks the kernel. It costs a system call for every hundred open files or so.
    #[must_use]
    pub fn read() -> Self {
        let cpu = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
        let statm = fs::read_to_string("/proc/self/statm").ok();
        // The directory itself is open while it is read.
        let files = fs::read_dir("/proc/self/fd").ok().map(|it| it.count().saturating_sub(1));
        Self {
            cpu,
            memory: statm.and_then(|it| memory(&it, page_size())),
            open_files: files.and_then(|it| u64::try_from(it).ok()),
            max_files: getrlimit(Resource::Nofile).current,
        }
    }
}

/// The first two numbers of `statm` are pages that are mapped, and pages that are in RAM.
fn memory(statm: &str, page: usize) -> Option<Memory> {
    let page = u64::try_from(page).ok()?;
    let mut bytes =
        statm.split_ascii_whitespace().map(|it| it.parse::<u64>().ok()?.checked_mul(page));
    let (mapped, resident) = (bytes.next()??, bytes.next()??);
    Some(Memory { resident, mapped })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statm_counts_pages() {
        let memory = |statm| memory(statm, 4096);
        let read = Some(Memory { mapped: 10 * 4096, resident: 3 * 4096 });
        assert_eq!(memory("10 3 2 1 0 4 0\n"), read);
        assert_eq!(memory("10"), None);
        assert_eq!(memory("10 x"), None);
        assert_eq!(memory("10 18446744073709551615"), None);
    }

    #[test]
    fn a_process_has_memory_and_open_files() {
        let before = Usage::read();
        let memory = before.memory.unwrap();
        assert!(0 < memory.resident && memory.resident <= memory.mapped, "{before:?}");
        // Other tests open and close files meanwhile: standard error stays.
        assert!(before.open_files.unwrap() > 0, "{before:?}");
        assert!(before.cpu > Duration::ZERO, "{before:?}");
    }
}
