//! Whether what was there at the first start of a daemon counts as known.

use std::path::Path;

/// Asks the store of a daemon that runs. Before, a kill makes the next start the first once more.
pub(crate) fn is_known(state: &Path) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(state) = rusqlite::Connection::open_with_flags(state, flags) else { return false };
    let row = "SELECT 1 FROM meta WHERE key = 'coverage'";
    state.query_row(row, [], |_| Ok(())).is_ok()
}
