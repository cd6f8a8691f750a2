//! A place in a tree that moves one directory down or up, and holds one descriptor, however deep
//! it is. Down is `openat2` through no link and no mount; up is `..`, which must be the directory
//! that it came from.

use std::{mem::MaybeUninit, os::fd::OwnedFd};

use rustix::{
    fs::{self, FileType, Mode, RawDir, SeekFrom},
    io::{Errno, retry_on_intr},
};

use super::{
    error::{Fault, FileError},
    open::{BENEATH, DIR, Facts, IN_TREE, Ident, LIST, Spot, open_at},
};

/// An entry of a directory, with the type that the listing claims.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
}

/// Where in a tree we are.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) dir: OwnedFd,
    pub(super) here: Ident,
    pub(super) path: Vec<u8>,
    /// What `..` must be, and how long its path is.
    above: Vec<(Ident, usize)>,
}

impl Cursor {
    /// Begins in the directory that `spot` is in; the first [`Cursor::enter`] leads to its tree.
    pub(super) fn beside(spot: &Spot) -> Result<Self, FileError> {
        let mut path = spot.path[..spot.path.len() - spot.name.len()].to_vec();
        if path.len() > 1 {
            path.pop();
        }
        let failed = |call| {
            let path = &path;
            move |errno| FileError::system(call, path, errno)
        };
        let dir = open_at(&spot.dir, b".", DIR, BENEATH).map_err(failed("open"))?;
        let here = Facts::of_fd(&dir).map_err(failed("fstat"))?.ident();
        Ok(Self { dir, here, path, above: Vec::new() })
    }

    /// How many directories were entered.
    pub(super) fn depth(&self) -> usize {
        self.above.len()
    }

    /// The path of an entry.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        push(&mut path, name);
        path
    }

    /// Goes down. The errors say what is there instead: `LOOP` or `NOTDIR` no directory, `XDEV`
    /// another mount.
    pub(super) fn enter(&mut self, name: &[u8]) -> Result<(), Errno> {
        let dir = open_at(&self.dir, name, LIST, IN_TREE)?;
        let ident = Facts::of_fd(&dir)?.ident();
        // A subvolume is another file system without being a mount.
        if ident.dev != self.here.dev {
            return Err(Errno::XDEV);
        }
        self.above.push((self.here, self.path.len()));
        push(&mut self.path, name);
        self.dir = dir;
        self.here = ident;
        Ok(())
    }

    /// Goes up, to where it came from.
    pub(super) fn leave(&mut self) -> Result<(), FileError> {
        let (ident, len) = self.above.pop().expect("every leave has its enter");
        let failed = |errno| FileError::system("open", &self.path, errno);
        let dir = retry_on_intr(|| {
            // Only to pass through, at the top: listing it may not be permitted there.
            let flags = if self.above.is_empty() { DIR } else { LIST };
            fs::openat(&self.dir, c"..", flags, Mode::empty())
        })
        .map_err(failed)?;
        if Facts::of_fd(&dir).map_err(failed)?.ident() != ident {
            return Err(FileError::found(Fault::Changed, "walk", &self.path));
        }
        self.dir = dir;
        self.here = ident;
        self.path.truncate(len);
        Ok(())
    }

    pub(super) fn facts(&self) -> Result<Facts, FileError> {
        Facts::of_fd(&self.dir).map_err(|errno| FileError::system("fstat", &self.path, errno))
    }

    /// Goes through the entries from the first on, until `each` breaks off with a value.
    pub(super) fn list<T>(
        &self,
        mut each: impl FnMut(Listed) -> Result<Option<T>, FileError>,
    ) -> Result<Option<T>, FileError> {
        let failed = |errno| FileError::system("getdents", &self.path, errno);
        fs::seek(&self.dir, SeekFrom::Start(0)).map_err(failed)?;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 16 << 10];
        let mut entries = RawDir::new(&self.dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                // The directory itself was deleted, by somebody else.
                Err(Errno::NOENT) => return Ok(None),
                entry => entry.map_err(failed)?,
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let listed = Listed { name: name.to_vec(), kind: entry.file_type() };
            if let Some(value) = each(listed)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// All the names.
    pub(super) fn names(&self) -> Result<Vec<Vec<u8>>, FileError> {
        let mut names = Vec::new();
        self.list(|listed| {
            names.push(listed.name);
            Ok(None::<()>)
        })?;
        Ok(names)
    }
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
