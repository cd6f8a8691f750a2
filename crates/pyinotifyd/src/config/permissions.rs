//! Who else could change the configuration: whoever can, decides what a daemon runs as root.

use std::{
    fs::Metadata,
    io,
    os::unix::{fs::MetadataExt, io::AsRawFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::errors::{shown_path, words};

use super::{
    diagnostic::Diagnostic,
    document::{Place, Source},
    environment::read_file,
};

/// Owner and mode of a file or of a directory above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// Which.
    pub(crate) path: PathBuf,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its type and permission bits, as in `st_mode`.
    pub(crate) mode: u32,
}

/// Warns of each that somebody else than root and we ourselves could change.
pub(crate) fn check_permissions(files: &[Ownership], our_uid: u32) -> Vec<Diagnostic> {
    const S_IFMT: u32 = 0o170_000;
    const S_IFDIR: u32 = 0o040_000;
    const STICKY: u32 = 0o1000;
    let mut out = Vec::new();
    for file in files {
        let path = shown_path(&file.path).to_string();
        let source = Arc::new(Source { name: path.clone(), text: None });
        let place = Place::file(&source);
        let directory = file.mode & S_IFMT == S_IFDIR;
        let harm = if directory {
            "can put another configuration in place"
        } else {
            "can change what this daemon runs"
        };
        if file.uid != 0 && file.uid != our_uid {
            let message = format!("the user with id {} owns {path} and {harm}", file.uid);
            out.push(Diagnostic::warning(&place, message).hint(format!("run `chown root {path}`")));
        }
        // In a sticky directory only an entry's owner can replace it, and owners are checked.
        let writable = if directory && file.mode & STICKY != 0 { 0 } else { file.mode & 0o022 };
        let (who, chmod) = match writable {
            0 => continue,
            0o020 => ("its group", "g-w"),
            0o002 => ("everybody", "o-w"),
            _ => ("everybody", "go-w"),
        };
        out.push(
            Diagnostic::warning(&place, format!("{who} can write to {path} and {harm}"))
                .hint(format!("run `chmod {chmod} {path}`")),
        );
    }
    out
}

/// Reads a file, and owner and mode of exactly what was read and of the directories above it: of
/// those in `path` and of those where it really is.
pub(super) fn read_checked(path: &Path) -> Result<(Vec<u8>, Vec<Ownership>), String> {
    let failed = |what: &str, error: &io::Error| {
        format!("cannot {what} {}: {}", shown_path(path), words(error))
    };
    let (bytes, file) = read_file(path).map_err(|error| failed("read", &error))?;
    let metadata = file.metadata().map_err(|error| failed("stat", &error))?;
    let mut found = vec![ownership(path.to_path_buf(), &metadata)];
    let mut starts = Vec::new();
    starts.extend(std::path::absolute(path));
    starts.extend(std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())));
    for start in starts {
        for dir in start.ancestors().skip(1) {
            if found.iter().any(|it| it.path == dir) {
                continue;
            }
            // A directory above that cannot be looked at now says nothing about who can write to
            // it; that the file could be opened is enough to go on.
            if let Ok(metadata) = std::fs::metadata(dir) {
                found.push(ownership(dir.to_path_buf(), &metadata));
            }
        }
    }
    Ok((bytes, found))
}

fn ownership(path: PathBuf, metadata: &Metadata) -> Ownership {
    Ownership { path, uid: metadata.uid(), mode: metadata.mode() }
}
