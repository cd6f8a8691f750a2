//! Why a command could not be started, in words, and whether another attempt may go better.

use std::{
    ffi::CStr,
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use pyinotifyd_core::{path::shown, task::Outcome};
use pyinotifyd_sys::errno;

pub(crate) use crate::errors::words;

/// Reads command lines, and files that are no program.
pub(crate) const SH: &CStr = c"/bin/sh";

/// Why a command was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// For want of what all processes share: descriptors, memory, processes. It is not the command's.
    NoRoom(String),
    /// For want of something that may be there another time.
    Temporary(String),
    /// It would fail again.
    Permanent(String),
}

impl Failure {
    /// Of which kind the error is.
    #[must_use]
    pub(crate) fn of(error: &io::Error, text: String) -> Self {
        if is_permanent(error) {
            Self::Permanent(text)
        } else if is_want_of_room(error) {
            Self::NoRoom(text)
        } else {
            Self::Temporary(text)
        }
    }

    /// What failed, and why.
    #[must_use]
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::NoRoom(text) | Self::Temporary(text) | Self::Permanent(text) => text,
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoRoom(text) | Failure::Temporary(text) => Self::Failed(text),
            Failure::Permanent(text) => Self::Refused(text),
        }
    }
}

/// Whether the error is about the command itself and not about the moment. What is in neither
/// list (a file system that is away, memory) is of the moment: an attempt too many harms less than
/// one too few.
fn is_permanent(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::InvalidInput
            | Kind::InvalidFilename
            | Kind::ArgumentListTooLong
    ) || is_no_program(error)
        || matches!(error.raw_os_error(), Some(ELOOP | ELIBBAD))
}

/// Whether any command would be told this now: also that there may be no more processes.
fn is_want_of_room(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|it| it == EAGAIN || errno::is_want_of_room(it))
}

/// `errno(3)` numbers that `std` has no stable name for; the same on every architecture that Rust
/// supports but MIPS and SPARC, where the command is tried again for nothing.
const ENOEXEC: i32 = 8;
const EAGAIN: i32 = 11;
const ELOOP: i32 = 40;
const ELIBBAD: i32 = 80;

/// Whether the kernel found no way to run the file: neither a program nor `#!` at its start.
#[must_use]
pub(crate) fn is_no_program(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ENOEXEC)
}

/// The arguments with which `/bin/sh` runs that file, as `execvp(3)` and every shell do.
#[must_use]
pub(crate) fn as_script<'a>(program: &'a CStr, argv: &[&'a CStr]) -> Vec<&'a CStr> {
    [SH, program].into_iter().chain(argv.iter().skip(1).copied()).collect()
}

/// Why `program` could not be run. The kernel gives one number for many reasons, so the files are
/// looked at.
#[must_use]
pub(crate) fn explain(
    error: &io::Error,
    program: &[u8],
    cwd: Option<&CStr>,
    user: Option<&[u8]>,
) -> Failure {
    let who = user.map(|user| format!(" as {}", shown(user))).unwrap_or_default();
    let why = reason(error, program, cwd).unwrap_or_else(|| words(error));
    Failure::of(error, format!("cannot run {}{who}: {why}", shown(program)))
}

fn reason(error: &io::Error, program: &[u8], cwd: Option<&CStr>) -> Option<String> {
    if error.kind() == io::ErrorKind::ArgumentListTooLong {
        return Some("its arguments and environment are longer than the kernel takes".into());
    }
    if is_no_program(error) {
        return Some(
            "it is neither a program for this machine nor does its first line name an \
             interpreter (#!/bin/sh)"
                .into(),
        );
    }
    if let Some(cwd) = cwd {
        let dir = path(cwd.to_bytes());
        match fs::metadata(dir) {
            Ok(it) if it.is_dir() => (),
            Ok(_) => return Some(format!("{} is not a directory", shown(cwd.to_bytes()))),
            Err(error) => {
                return Some(format!("chdir {}: {}", shown(cwd.to_bytes()), words(&error)));
            }
        }
    }
    let base = cwd.map_or(Path::new(""), |cwd| path(cwd.to_bytes()));
    let file = base.join(path(program));
    let metadata = fs::metadata(&file).ok()?;
    match error.kind() {
        // Of anything but a file, opening may block.
        io::ErrorKind::NotFound if metadata.is_file() => Some(match interpreter(&file) {
            Some(name) => format!("its interpreter {} does not exist", shown(&name)),
            None => "the loader that it names does not exist".into(),
        }),
        io::ErrorKind::PermissionDenied if metadata.is_dir() => Some("it is a directory".into()),
        io::ErrorKind::PermissionDenied if metadata.permissions().mode() & 0o111 == 0 => {
            Some("permission denied (it is not executable)".into())
        }
        _ => None,
    }
}

/// The program that the first line of a script names.
fn interpreter(file: &Path) -> Option<Vec<u8>> {
    /// As much as the kernel reads of it (`BINPRM_BUF_SIZE`).
    const FIRST_LINE: u64 = 256;
    let mut start = Vec::new();
    fs::File::open(file).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii_start();
    let name = line.split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    Some(name.to_vec())
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(error: i32) -> io::Error {
        io::Error::from_raw_os_error(error)
    }

    /// The others, and how they come about, are in `tests/messages.rs`.
    #[test]
    fn a_program_that_is_there_and_cannot_be_run_is_told_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path.into_os_string().into_encoded_bytes()
        };
        let (elf, script) = (at("elf\n", "\x7fELF"), at("script", "#! /none/sh -e\n"));
        let cwd = std::ffi::CString::new(script.clone()).unwrap();
        let user = Some(&b"web\x1b"[..]);
        let told = [
            explain(&os(2), &elf, None, None),
            explain(&os(2), &script, None, user),
            explain(&os(2), b"/none", None, user),
            explain(&os(13), &elf, None, None),
            explain(&os(13), b"/", None, None),
            explain(&os(7), &elf, None, None),
            explain(&os(ENOEXEC), &elf, None, None),
            explain(&os(ELOOP), &elf, None, None),
            explain(&os(11), &elf, None, None),
            explain(&os(2), &elf, Some(&cwd), None),
            explain(&os(2), &elf, Some(c"/none"), None),
        ];
        let told = told.map(|it| format!("{it:?}")).join("\n");
        insta::assert_snapshot!("told", told.replace(dir.path().to_str().unwrap(), "@"));
    }

    #[test]
    fn errors_of_the_moment_are_tried_again() {
        // ETXTBSY, EIO, and for want of room EAGAIN, ENOMEM, ENFILE, EMFILE.
        for error in [26, 5, 11, 12, 23, 24] {
            let failure = Failure::of(&os(error), String::new());
            let for_room = matches!(failure, Failure::NoRoom(_));
            assert!(!is_permanent(&os(error)), "{error}");
            assert_eq!(for_room, ![26, 5].contains(&error), "{error}");
        }
        // ENOENT, E2BIG, EACCES.
        for error in [2, 7, 13, ENOEXEC, ELOOP, ELIBBAD] {
            assert!(is_permanent(&os(error)), "{error}");
        }
    }
}
