//! The log as text: `2026-11-23 06:21:30,123 - pyinotifyd/daemon - INFO - ready`.
//!
//! This is the original's form, to the letter: people have filters for it.

use super::{Record, push, stamp};

/// Appends a record's line.
pub(crate) fn write(line: &mut Vec<u8>, record: &Record<'_>) {
    stamp::asctime(line, record.at);
    line.extend_from_slice(b" - pyinotifyd/");
    push(line, &record.logname);
    line.extend_from_slice(b" - ");
    line.extend_from_slice(record.level.name().as_bytes());
    line.extend_from_slice(b" - ");
    push(line, record.message);
    line.push(b'\n');
}
