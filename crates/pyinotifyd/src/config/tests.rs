//! What people write, and what they are told.

mod convert;
mod good;
mod mistakes;
mod pages;
mod random;
mod reference;

use std::{io, num::NonZeroUsize, path::Path};

use pyinotifyd_core::plan::User;

use super::{
    Loaded,
    diagnostic::{Diagnostic, render_all},
    environment::{Account, Environment},
    parse_str,
};

/// A machine with four CPUs, users root (0), alice (1000) and 7, groups root, staff (50), a file
/// /etc/patterns with a good pattern and /etc/bad with a bad one.
fn machine() -> Environment {
    Environment {
        cpus: NonZeroUsize::new(4).unwrap(),
        uid: 0,
        state_directory: None,
        user,
        group,
        read,
    }
}

fn user(account: Account<'_>) -> io::Result<Option<User>> {
    let make = |name: &str, uid, gid| User {
        name: name.into(),
        uid,
        gid,
        home: format!("/home/{name}").into_bytes().into(),
        shell: b"/bin/bash".as_slice().into(),
    };
    match account {
        Account::Name("root") | Account::Id(0) => Ok(Some(make("root", 0, 0))),
        Account::Name("alice") | Account::Id(1000) => Ok(Some(make("alice", 1000, 1000))),
        Account::Name("broken") => Err(io::Error::other("the directory service is down")),
        Account::Name(_) | Account::Id(_) => Ok(None),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the real one fails")]
fn group(account: Account<'_>) -> io::Result<Option<u32>> {
    match account {
        Account::Name("root") | Account::Id(0) => Ok(Some(0)),
        Account::Name("staff") | Account::Id(50) => Ok(Some(50)),
        Account::Name(_) | Account::Id(_) => Ok(None),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some("/etc/patterns") => {
            Ok(b"# what nobody needs\n\n  ^.*\\.tmp$  \r\n^/srv/#recycle\n".to_vec())
        }
        Some("/etc/bad") => Ok(b"^fine$\n^(open\n".to_vec()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

/// Everything that is said about a text, as `check` prints it.
fn said(text: &str) -> String {
    let diagnostics = match parse_str("config.toml", text, &machine()) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    };
    render_all(&diagnostics, "config.toml", false)
}

/// A text without mistakes.
fn loaded(text: &str) -> Loaded {
    parse_str("config.toml", text, &machine())
        .unwrap_or_else(|mistakes| panic!("{}", show(&mistakes)))
}

fn show(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|it| it.render(false) + "\n").collect()
}

/// A scheduler `x` with these lines, and a Watch that uses it.
fn scheduler(lines: &str) -> String {
    format!(
        "[scheduler.x]\n{lines}\n[[watch]]\npath = \"/w\"\nevent_map = {{ IN_CREATE = \"x\" }}\n"
    )
}

/// A Watch with these lines, and a scheduler `x`.
fn watch(lines: &str) -> String {
    format!("[[watch]]\n{lines}\n[scheduler.x]\nexec = [\"/bin/true\"]\n")
}

/// The example of the documentation.
const EXAMPLE: &str = include_str!("tests/example.toml");
