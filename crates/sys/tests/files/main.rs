//! The file manager's hands on real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attack;
mod basics;
mod mounts;
mod recovery;
mod trees;

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use pyinotifyd_sys::files::{self, Done, FileError, Options, Place, is_temporary};

pub(crate) static GO_ON: AtomicBool = AtomicBool::new(false);

pub(crate) fn options() -> Options<'static> {
    Options::new(&GO_ON)
}

pub(crate) fn tempdir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("files-").tempdir().unwrap()
}

/// A directory on another file system than [`tempdir`]'s, if there is one.
pub(crate) fn elsewhere(than: &Path) -> Option<tempfile::TempDir> {
    let other = tempfile::Builder::new().prefix("files-").tempdir_in("/dev/shm").ok()?;
    if other.path().metadata().unwrap().dev() == than.metadata().unwrap().dev() {
        return None;
    }
    Some(other)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A place whose directory `root` is the administrator's.
pub(crate) fn place<'a>(root: &Path, path: &'a Path) -> Place<'a> {
    Place { path: path.as_os_str().as_bytes(), root_len: root.as_os_str().len() }
}

/// Two directories, and what is done between them.
pub(crate) struct World {
    pub(crate) src: PathBuf,
    pub(crate) dst: PathBuf,
    dirs: Vec<tempfile::TempDir>,
}

impl World {
    /// Both on one file system.
    pub(crate) fn near() -> Self {
        let dir = tempdir();
        let mut world = Self::near_in(dir.path());
        world.dirs.push(dir);
        world
    }

    /// [`World::near`] in a directory that somebody else cleans up.
    pub(crate) fn near_in(dir: &Path) -> Self {
        let (src, dst) = (dir.join("src"), dir.join("dst"));
        fs::create_dir_all(&src).unwrap();
        fs::create_dir_all(&dst).unwrap();
        Self { src, dst, dirs: Vec::new() }
    }

    /// Those of somebody else, who cleans up.
    pub(crate) fn at(src: PathBuf, dst: PathBuf) -> Self {
        Self { src, dst, dirs: Vec::new() }
    }

    /// On two file systems.
    pub(crate) fn far() -> Option<Self> {
        let dir = tempdir();
        let Some(other) = elsewhere(dir.path()) else {
            eprintln!("skipped: /dev/shm is not another file system than the temporary directory");
            return None;
        };
        let (src, dst) = (dir.path().to_owned(), other.path().to_owned());
        Some(Self { src, dst, dirs: vec![dir, other] })
    }

    /// Both kinds that can be had here.
    pub(crate) fn all() -> Vec<Self> {
        [Some(Self::near()), Self::far()].into_iter().flatten().collect()
    }

    pub(crate) fn mv(
        &self,
        from: &str,
        to: &str,
        options: &Options<'_>,
    ) -> Result<Done, FileError> {
        let (from, to) = (self.src.join(from), self.dst.join(to));
        files::move_entry(place(&self.src, &from), place(&self.dst, &to), options)
    }

    pub(crate) fn cp(
        &self,
        from: &str,
        to: &str,
        options: &Options<'_>,
    ) -> Result<Done, FileError> {
        let (from, to) = (self.src.join(from), self.dst.join(to));
        files::copy_entry(place(&self.src, &from), place(&self.dst, &to), options)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.src.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Fails if anything is left of an operation.
    pub(crate) fn verify_clean(&self) {
        for dir in [&self.src, &self.dst] {
            let left: Vec<_> = names(dir).into_iter().filter(|n| is_temporary(n)).collect();
            assert!(left.is_empty(), "left in {}: {left:?}", dir.display());
        }
    }
}

pub(crate) fn rm(path: &Path, options: &Options<'_>) -> Result<Done, FileError> {
    files::delete_entry(place(path.parent().unwrap(), path), options)
}

pub(crate) fn names(dir: &Path) -> Vec<Vec<u8>> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .collect();
    names.sort();
    names
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}
