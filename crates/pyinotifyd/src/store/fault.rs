//! What an error of the database means for what comes next.

use rusqlite::{Error, ErrorCode, ffi};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no room: try again later, and set the ballast free.
    NoRoom,
    /// Perhaps there is no room: SQLite tells only `ENOSPC` apart, not `EDQUOT`, and neither when it
    /// cannot make a file.
    PerhapsNoRoom,
    /// Somebody else writes to the file, or memory is short: try again later.
    Held,
    /// The file is not what it should be.
    Corrupt,
    /// Anything else. Nobody knows what is on the disk: never try again.
    Failed,
}

/// An error with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) cause: Cause,
    pub(super) error: String,
}

impl Fault {
    pub(super) fn corrupt(error: impl Into<String>) -> Self {
        Self { cause: Cause::Corrupt, error: error.into() }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { cause: cause(&error), error: error.to_string() }
    }
}

fn cause(error: &Error) -> Cause {
    let Error::SqliteFailure(failure, _) = error else {
        // A column that is of another type than the schema says.
        return Cause::Corrupt;
    };
    match (failure.code, failure.extended_code) {
        (ErrorCode::DiskFull, _) => Cause::NoRoom,
        (
            ErrorCode::SystemIoFailure,
            ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMOPEN,
        )
        | (ErrorCode::CannotOpen, _) => Cause::PerhapsNoRoom,
        (ErrorCode::SystemIoFailure, ffi::SQLITE_IOERR_SHORT_READ)
        | (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)
        // Tables that are not those of the version that it claims.
        | (ErrorCode::Unknown, ffi::SQLITE_ERROR) => Cause::Corrupt,
        (ErrorCode::SystemIoFailure, ffi::SQLITE_IOERR_NOMEM)
        | (ErrorCode::OutOfMemory | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            Cause::Held
        }
        _ => Cause::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_sure_to_have_changed_nothing_is_tried_again() {
        let cause = |code| cause(&Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!(cause(ffi::SQLITE_FULL), Cause::NoRoom);
        assert_eq!(cause(ffi::SQLITE_IOERR_WRITE), Cause::PerhapsNoRoom);
        assert_eq!(cause(ffi::SQLITE_BUSY), Cause::Held);
        assert_eq!(cause(ffi::SQLITE_CORRUPT), Cause::Corrupt);
        assert_eq!(cause(ffi::SQLITE_NOTADB), Cause::Corrupt);
        for code in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_PERM,
        ] {
            assert_eq!(cause(code), Cause::Failed, "{code}");
        }
    }
}
