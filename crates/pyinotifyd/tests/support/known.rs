//! What the store of a daemon that runs knows by now.

use std::path::Path;

/// Whether what was there at the first start counts as known. Before, a kill makes the next start
/// the first once more.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn is_known(state: &Path) -> bool {
    holds(state, "EXISTS (SELECT 1 FROM meta WHERE key = 'coverage')")
}

/// Whether nothing is left of tasks that have ended but what the index has.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn is_indexed(state: &Path) -> bool {
    holds(state, "NOT EXISTS (SELECT 1 FROM task WHERE state = 'done')")
}

/// Whether it is written down as which process anything runs.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn is_spawned(state: &Path) -> bool {
    holds(state, "EXISTS (SELECT 1 FROM task WHERE leader_pid IS NOT NULL)")
}

fn holds(state: &Path, condition: &str) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(state) = rusqlite::Connection::open_with_flags(state, flags) else { return false };
    state.query_row(&format!("SELECT {condition}"), [], |row| row.get(0)).unwrap_or(false)
}
