//! What of the program reads or shows the bytes of others, as functions for the targets in
//! `fuzz/`. Each takes any bytes, touches nothing but them, and panics when a promise is broken.

use std::{io, num::NonZeroUsize, path::Path, time::Duration};

use pyinotifyd_core::{
    path::{OneLine, is_invisible, text},
    plan::{Level, User},
    task::TaskId,
};

use crate::{
    config::{
        Loaded, PythonFile,
        diagnostic::{Diagnostic, render_all},
        document::At,
        environment::{Account, Environment},
        parse_bytes,
    },
    control::{self as socket, words::Reply},
    host::wire::{Decoder, FromHost},
    json as words,
    log::{Facility, Record, journald, json, stderr, syslog},
};

/// Reads bytes as a config.toml: it is good, or it is said what is wrong, about places that are
/// there, in words that stay on their lines.
///
/// # Panics
///
/// A promise is broken.
pub fn config(bytes: &[u8]) {
    let environment =
        Environment { cpus: NonZeroUsize::MIN, uid: 0, state_directory: None, user, group, read };
    config_on(&environment, bytes);
}

/// [`config`] on another machine.
pub(crate) fn config_on(environment: &Environment, bytes: &[u8]) {
    diagnosed(parse_bytes("c.toml", bytes.to_vec(), environment));
}

/// Hears bytes as a frame of a host: it is messages, or it is said that it cannot be understood.
/// What a message says that config.py built is good, or it is said what is wrong, as in
/// [`config`].
///
/// # Panics
///
/// A promise is broken.
pub fn host(bytes: &[u8]) {
    const TEXT: &str = "import this\n\npyinotifyd = Pyinotifyd({\"IN_OPEN\": s})\n";
    let environment =
        Environment { cpus: NonZeroUsize::MIN, uid: 0, state_directory: None, user, group, read };
    let file = PythonFile::of("c.py", TEXT);
    let Ok(length) = u32::try_from(bytes.len()) else { return };
    let mut decoder = Decoder::default();
    decoder.push(&length.to_le_bytes());
    decoder.push(bytes);
    let messages = decoder.frame().map(|it| it.expect("the frame is whole")).unwrap_or_default();
    for message in messages {
        match message {
            FromHost::Document(document) => {
                diagnosed(file.described(&document, Path::new("/"), &environment));
            }
            FromHost::Refused(said) if !said.is_empty() => {
                diagnosed(Err(file.refused(&said, &environment)));
            }
            _ => (),
        }
    }
}

/// Reads a line as the control socket does. What is understood means the same once it has been
/// written by a client of ours, as does the answer that it could not be.
///
/// # Panics
///
/// A promise is broken.
pub fn control(bytes: &[u8]) {
    let line = match socket::server::understand(bytes) {
        Ok(request) => {
            let line = words::line(&request);
            assert_eq!(socket::server::understand(&line), Ok(request));
            line
        }
        Err(refused) => {
            let reply = Reply::Refused(refused);
            let line = words::line(&reply);
            assert_eq!(serde_json::from_slice::<Reply>(&line).ok(), Some(reply));
            line
        }
    };
    let text = str::from_utf8(&line).expect("a line is text");
    let paints = |it: char| it.is_control() && it != '\n' || is_invisible(it);
    assert!(!text.contains(paints), "a line could do something to a terminal");
}

fn diagnosed(read: Result<Loaded, Vec<Diagnostic>>) {
    let diagnostics = match read {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "refused without a reason");
            diagnostics
        }
    };
    for it in &diagnostics {
        if let At::Span(span) = &it.place.at {
            let text = it.place.source.text.as_deref().expect("spans come with their text");
            assert!(text.get(span.clone()).is_some(), "this is no place in it: {it:?}");
        }
        assert!(!it.one_line().contains('\n'), "{it:?}");
    }
    let all = render_all(&diagnostics, "c.toml", false);
    assert!(!all.chars().any(|it| it.is_control() && it != '\n'), "{all:?}");
}

/// Logs bytes as a message, a logname and a path: in every form it is one record, and programs
/// read the path back.
///
/// # Panics
///
/// A promise is broken.
pub fn log(bytes: &[u8]) {
    let said = String::from_utf8_lossy(bytes);
    let start = said.char_indices().map(|it| it.0).nth(said.len() / 8).unwrap_or(0);
    let (logname, message) = said.split_at(start);
    let record = Record {
        at: Duration::from_millis(1_795_414_890_123),
        level: Level::Warning,
        logname,
        task: Some(TaskId(7)),
        path: Some(bytes),
        name: Some("waits"),
        message: &message,
    };
    let form = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut line = Vec::new();
        write(&mut line);
        line
    };

    let line = form(&|line| stderr::write(line, &record));
    let line = one_line(line.strip_suffix(b"\n").expect("a line ends"));
    assert_eq!(OneLine(&line).to_string(), line, "what is shown is not escaped again");
    one_line(&form(&|line| syslog::write(line, &record, Facility(23), 1)));

    let line = form(&|line| json::write(line, &record));
    let line = one_line(line.strip_suffix(b"\n").expect("a line ends"));
    let value: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(value["logname"], logname);
    match value.get("path_hex") {
        None => assert_eq!(value["path"].as_str().map(str::as_bytes), Some(bytes)),
        Some(hex) => assert_eq!(from_hex(hex.as_str().expect("it is text")), bytes),
    }

    let datagram = form(&|line| journald::write(line, &record));
    let fields = journal_fields(&datagram);
    let found: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        found,
        [
            "MESSAGE",
            "PRIORITY",
            "SYSLOG_IDENTIFIER",
            "PYINOTIFYD_LOGNAME",
            "PYINOTIFYD_EVENT",
            "PYINOTIFYD_TASK_ID",
            "PYINOTIFYD_PATHNAME",
        ]
    );
    assert_eq!(fields[6].1, bytes);
    let line = journald::as_line(&datagram);
    one_line(line.strip_suffix(b"\n").expect("a line ends"));
}

/// Nothing in it ends the line or changes how the rest of it looks.
fn one_line(line: &[u8]) -> String {
    let line = str::from_utf8(line).expect("lines of the log are text");
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(!line.contains(pyinotifyd_core::path::is_invisible), "{line:?}");
    line.to_owned()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two hexadecimal digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Reads a datagram as the journal does.
fn journal_fields(mut rest: &[u8]) -> Vec<(&str, &[u8])> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|it| *it == b'\n').expect("every field ends");
        let (field, after) = (&rest[..end], &rest[end + 1..]);
        let name = field.split(|it| *it == b'=').next().unwrap_or_default();
        let value;
        if name.len() < field.len() {
            (value, rest) = (&field[name.len() + 1..], after);
        } else {
            let (length, after) = after.split_first_chunk().expect("its length follows");
            let length = usize::try_from(u64::from_le_bytes(*length)).expect("it is here");
            (value, rest) = after.split_at(length);
            rest = rest.strip_prefix(b"\n").expect("every field ends");
        }
        fields.push((str::from_utf8(name).expect("names are ASCII"), value));
    }
    fields
}

/// root is all there is.
fn user(account: Account<'_>) -> io::Result<Option<User>> {
    let root = User {
        name: "root".into(),
        uid: 0,
        gid: 0,
        home: b"/root".as_slice().into(),
        shell: b"/bin/sh".as_slice().into(),
    };
    match account {
        Account::Name("root") | Account::Id(0) => Ok(Some(root)),
        // The directory service is down.
        Account::Name("broken") => Err(io::ErrorKind::TimedOut.into()),
        Account::Name(_) | Account::Id(_) => Ok(None),
    }
}

fn group(account: Account<'_>) -> io::Result<Option<u32>> {
    Ok(user(account)?.map(|it| it.gid))
}

/// Every file holds its own name, a line for each part of it; but what has no parts is not there.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let text = text(path.as_os_str().as_encoded_bytes());
    match text.trim_matches('/') {
        "" => Err(io::ErrorKind::NotFound.into()),
        parts => Ok(parts.replace('/', "\n").into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_logged() {
        for bytes in [&b""[..], b"/in/a\nb\\\x1b[2J", b"\xff\n", b"a=b\n\0", b"\xe2\x80\xae\xc3"] {
            log(bytes);
        }
    }

    #[test]
    fn a_datagram_is_read_as_the_journal_does() {
        let datagram = b"A=1=2\nB\n\x02\0\0\0\0\0\0\0x\n\nC=\n";
        let expected: [(&str, &[u8]); 3] = [("A", b"1=2"), ("B", b"x\n"), ("C", b"")];
        assert_eq!(journal_fields(datagram), expected);
    }
}
