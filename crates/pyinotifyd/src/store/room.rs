//! Room on the disk: the ballast, which is there to be given away.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use pyinotifyd_sys::disk;

/// How much is held back: enough for the last words of a busy store.
const BALLAST: u64 = 1 << 20;

/// The room that a store has for hard times.
#[derive(Debug)]
pub(super) struct Room {
    ballast: PathBuf,
    probe: PathBuf,
}

impl Room {
    pub(super) fn new(dir: &Path) -> Self {
        Self { ballast: dir.join("ballast"), probe: dir.join("ballast.new") }
    }

    /// Holds room back, if it is not held back already.
    pub(super) fn take(&self) -> io::Result<()> {
        let there = fs::symlink_metadata(&self.ballast);
        if there.is_ok_and(|it| it.is_file() && it.len() == BALLAST && it.blocks() * 512 >= BALLAST)
        {
            return Ok(());
        }
        // Not under its own name before it is whole: half a ballast looks like one.
        let made = self.fill().and_then(|()| fs::rename(&self.probe, &self.ballast));
        if made.is_err() {
            let _ = fs::remove_file(&self.probe);
        }
        made
    }

    /// Gives it away; whether there was any.
    pub(super) fn give(&self) -> bool {
        fs::remove_file(&self.ballast).is_ok()
    }

    /// Whether room is what is missing.
    pub(super) fn is_full(&self) -> bool {
        let filled = self.fill();
        let _ = fs::remove_file(&self.probe);
        filled.is_err_and(|error| is_full(&error))
    }

    fn fill(&self) -> io::Result<()> {
        let _ = fs::remove_file(&self.probe);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.probe)?;
        match disk::reserve(&file, BALLAST) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => write_all(&mut file)?,
            done => done?,
        }
        file.sync_all()
    }
}

/// Whether an error says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn write_all(file: &mut File) -> io::Result<()> {
    // What a file system that compresses cannot make small: the numbers of a simple generator.
    let mut state = 1_u64;
    let block: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()[7]
    })
    .take(1 << 16)
    .collect();
    (0..BALLAST >> 16).try_for_each(|_| file.write_all(&block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_is_taken_once_and_given_once() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::new(dir.path());
        room.take().unwrap();
        room.take().unwrap();
        assert_eq!(fs::metadata(dir.path().join("ballast")).unwrap().len(), BALLAST);
        assert!(!room.is_full());
        assert!(room.give());
        assert!(!room.give());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn ballast_can_be_written_where_it_cannot_be_reserved() {
        let mut file = tempfile::tempfile().unwrap();
        write_all(&mut file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), BALLAST);
    }
}
