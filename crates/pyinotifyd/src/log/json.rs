//! The log as JSON, an object a line, for programs.
//!
//! `path` is the path itself where JSON can hold it. Where it is not UTF-8, `path` is what people
//! are shown, and `path_hex` has the bytes.

use std::io::Write;

use pyinotifyd_core::path::shown;

use super::{Record, push, stamp};
use crate::json::{hex, string};

/// Appends a record's line.
pub(crate) fn write(line: &mut Vec<u8>, record: &Record<'_>) {
    line.extend_from_slice(b"{\"time\":\"");
    stamp::rfc3339(line, record.at);
    line.push(b'"');
    field(line, "level", record.level.name());
    field(line, "logname", record.logname);
    if let Some(name) = record.name {
        field(line, "event", name);
    }
    if let Some(task) = record.task {
        field(line, "task", &task.to_string());
    }
    match record.path.map(|path| (path, str::from_utf8(path))) {
        None => (),
        Some((_, Ok(path))) => field(line, "path", path),
        Some((path, Err(_))) => {
            field(line, "path", &shown(path).to_string());
            field(line, "path_hex", &hex(path));
        }
    }
    let mut message = Vec::new();
    push(&mut message, record.message);
    field(line, "message", str::from_utf8(&message).expect("it was text"));
    line.extend_from_slice(b"}\n");
}

fn field(line: &mut Vec<u8>, name: &str, value: &str) {
    write!(line, ",\"{name}\":").expect("a Vec takes all");
    string(line, value);
}
