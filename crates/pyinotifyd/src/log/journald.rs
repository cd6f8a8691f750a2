//! Records for the systemd journal, with fields, by its native protocol.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>: a datagram of `NAME=value` lines; a value that
//! holds a newline is given as `NAME`, newline, its length as 64 bits little-endian, the value,
//! newline. A message longer than [`LONGEST`] is cut, which keeps every datagram below the limit
//! of the socket, and says so: the way around the limit, a sealed memfd, is not worth its weight
//! for lines of which nobody reads the rest.

use std::io::Write;

use pyinotifyd_core::plan::Level;

use super::{Record, push};

/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// The longest message in bytes. (A path adds 4 KiB at most to this; the kernel's default limit
/// of a datagram is 208 KiB.)
const LONGEST: usize = 64 << 10;

/// Appends a record's datagram.
pub(crate) fn write(datagram: &mut Vec<u8>, record: &Record<'_>) {
    datagram.extend_from_slice(b"MESSAGE=");
    let start = datagram.len();
    push(datagram, &record.logname);
    datagram.extend_from_slice(b": ");
    push(datagram, record.message);
    cut(datagram, start);
    let _ = write!(datagram, "\nPRIORITY={}\n", priority(record.level));
    datagram.extend_from_slice(b"SYSLOG_IDENTIFIER=pyinotifyd\nPYINOTIFYD_LOGNAME=");
    push(datagram, &record.logname);
    datagram.push(b'\n');
    if let Some(name) = record.name {
        field(datagram, "PYINOTIFYD_EVENT", name.as_bytes());
    }
    if let Some(task) = record.task {
        field(datagram, "PYINOTIFYD_TASK_ID", task.to_string().as_bytes());
    }
    if let Some(path) = record.path {
        field(datagram, "PYINOTIFYD_PATHNAME", path);
    }
}

/// What stands in for a datagram when the journal cannot be reached but its stream can: the
/// message behind its priority, `<6>daemon: ready` (sd-daemon(3)).
pub(crate) fn as_line(datagram: &[u8]) -> Vec<u8> {
    let field = |name: &[u8]| {
        datagram.split(|it| *it == b'\n').find_map(|it| it.strip_prefix(name)).unwrap_or_default()
    };
    [b"<", field(b"PRIORITY="), b">", field(b"MESSAGE="), b"\n"].concat()
}

/// The severity in syslog's numbers (syslog(3)).
pub(crate) fn priority(level: Level) -> u8 {
    match level {
        Level::Debug => 7,
        Level::Info => 6,
        Level::Warning => 4,
        Level::Error => 3,
        Level::Critical => 2,
    }
}

/// Cuts what was written since `start` to [`LONGEST`], at the end of a character.
pub(crate) fn cut(line: &mut Vec<u8>, start: usize) {
    let Some(over) = (line.len() - start).checked_sub(LONGEST + 1) else { return };
    let is_start = |at: &usize| line[*at] & 0b1100_0000 != 0b1000_0000;
    let end = (start..=start + LONGEST).rev().find(is_start).unwrap_or(start);
    line.truncate(end);
    let _ = write!(line, " … ({} KiB more)", over / 1024 + 1);
}

fn field(datagram: &mut Vec<u8>, name: &str, value: &[u8]) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value);
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let message = "ü".repeat(40_000);
        let mut datagram = Vec::new();
        let record = Record {
            at: Duration::ZERO,
            level: Level::Info,
            logname: "daemon",
            task: None,
            path: None,
            name: None,
            message: &message,
        };
        write(&mut datagram, &record);
        let text = String::from_utf8(datagram).unwrap();
        assert!(text.len() < LONGEST + 200);
        assert!(text.contains("ü … (15 KiB more)\nPRIORITY=6\n"), "{}", &text[text.len() - 200..]);
    }
}
