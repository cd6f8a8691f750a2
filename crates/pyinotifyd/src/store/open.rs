//! Opening: the directory, its lock, the file, and what to do if that is no good store.
//!
//! A file of a newer version is never touched. A file that is none of ours, or broken, is set
//! aside, and a new one is begun: a daemon that does not start because its notes are unreadable
//! helps nobody, and one that deletes them does not either.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pyinotifyd_sys::disk;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, config::DbConfig,
};

use crate::errors::{shown_path, words};

use super::{
    Kept, SetAside,
    apply::{Known, key},
    fault::{Cause, Fault},
    history,
    journal::Journal,
    keeper::Start,
    room::Room,
    rows, schema,
};

/// The database.
pub(super) const FILE: &str = "state.sqlite";

/// How long the check of a whole file may take. What a larger file hides is found when it is read.
const CHECK: Duration = Duration::from_secs(2);

/// How long somebody else may write to it: an administrator with `sqlite3`.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something about the directory or a file in it failed.
    #[error("cannot {what} {}: {}", shown_path(path), words(source))]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory is none, or the database is no regular file.
    #[error("cannot keep state in {}: it is no {wanted}", shown_path(path))]
    Kind {
        /// What.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// Others can write in the directory.
    #[error("cannot keep state in {}: others can write in it (mode {mode:04o})", shown_path(path))]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The directory belongs to somebody else.
    #[error("cannot keep state in {}: it belongs to the user {uid}", shown_path(path))]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Another daemon has it.
    #[error("cannot use {}: another pyinotifyd has it{}", shown_path(path), process(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other daemon.
        pid: Option<u32>,
    },
    /// A newer version of this program has written it.
    #[error(
        "cannot use {}: it has version {found}, and this program knows {known}",
        shown_path(path)
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that can be read.
        known: i64,
    },
    /// There is no room.
    #[error("cannot use {}: there is no room on its disk", shown_path(path))]
    NoRoom {
        /// The database.
        path: PathBuf,
    },
    /// The file system cannot do what the database needs.
    #[error(
        "cannot use {}: its file system cannot share memory between processes",
        shown_path(path)
    )]
    Shared {
        /// The database.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot use {}: {error}", shown_path(path))]
    Database {
        /// The database.
        path: PathBuf,
        /// What it says.
        error: String,
    },
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Writable { .. } => Some("take the right from them: `chmod go-w`"),
            Self::Owner { .. } => Some("give it to root, or to the user that pyinotifyd runs as"),
            Self::Locked { .. } => Some("end the other one, or give this one another directory"),
            Self::Newer { .. } => {
                Some("run the newer pyinotifyd, or move the file away to begin anew")
            }
            Self::NoRoom { .. } => Some("make room; what was kept is still there"),
            Self::Shared { .. } => Some("keep the state on a local file system"),
            Self::Kind { wanted: "directory", .. } => {
                Some("name a directory; one that is not there is made")
            }
            Self::File { .. } | Self::Kind { .. } | Self::Database { .. } => None,
        }
    }
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::File { what, path: path.to_owned(), source }
}

/// A store that was opened.
pub(super) struct Found {
    pub(super) start: Start,
    pub(super) kept: Kept,
    pub(super) set_aside: Option<SetAside>,
    /// Nobody else opens it while this is open.
    pub(super) lock: File,
}

pub(super) fn open(dir: &Path) -> Result<Found, OpenError> {
    let dir = directory(dir)?;
    let lock = lock(&dir)?;
    let room = Room::new(&dir);
    let file = dir.join(FILE);
    let mut set_aside = None;
    loop {
        let fault = match load(&file) {
            Ok((connection, mut kept, known)) => {
                kept.clean &= set_aside.is_none();
                let journal = Journal::new(&kept.tasks);
                let start = Start { connection, file, room, known, journal };
                return Ok(Found { start, kept, set_aside, lock });
            }
            Err(Bad::Error(error)) => return Err(error),
            Err(Bad::Fault(fault)) => fault,
        };
        let full = || fault.cause == Cause::NoRoom || room.is_full();
        match fault.cause {
            Cause::Corrupt if set_aside.is_none() => {
                set_aside = Some(SetAside { path: put_aside(&file)?, error: fault.error });
            }
            Cause::NoRoom | Cause::PerhapsNoRoom if full() => {
                if !room.give() {
                    return Err(OpenError::NoRoom { path: file });
                }
            }
            Cause::NoRoom | Cause::PerhapsNoRoom | Cause::Held | Cause::Corrupt | Cause::Failed => {
                return Err(OpenError::Database { path: file, error: fault.error });
            }
        }
    }
}

/// The directory, as it is really called, made if it is missing.
fn directory(dir: &Path) -> Result<PathBuf, OpenError> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|it| !it.exists()).collect();
    if !missing.is_empty() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(failed("make the directory", dir))?;
        // Whatever is synced in a directory is lost with it, if that is not.
        for made in missing {
            let parent = made.parent().filter(|it| !it.as_os_str().is_empty());
            sync(parent.unwrap_or(Path::new(".")))?;
        }
    }
    let stat = fs::metadata(dir).map_err(failed("look at", dir))?;
    let path = dir.to_owned();
    if !stat.is_dir() {
        return Err(OpenError::Kind { path, wanted: "directory" });
    }
    if stat.mode() & 0o022 != 0 {
        return Err(OpenError::Writable { path, mode: stat.mode() & 0o7777 });
    }
    if stat.uid() != 0 && stat.uid() != nix::unistd::geteuid().as_raw() {
        return Err(OpenError::Owner { path, uid: stat.uid() });
    }
    fs::canonicalize(dir).map_err(failed("find", dir))
}

fn sync(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|it| it.sync_all()).map_err(failed("sync", dir))
}

/// How long it is waited for the lock of a daemon that has just ended, and how often it is tried.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(failed("open", &path))?;
    // A command that a killed daemon was starting has its files open until it is loaded.
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut locked = disk::lock(&file).map_err(failed("lock", &path))?;
    while !locked && Instant::now() < deadline {
        thread::sleep(LOCK_PAUSE);
        locked = disk::lock(&file).map_err(failed("lock", &path))?;
    }
    if !locked {
        let mut pid = String::new();
        // The number is for people, and another daemon may be about to write it.
        let _ = file.read_to_string(&mut pid);
        return Err(OpenError::Locked { path: dir.to_owned(), pid: pid.trim().parse().ok() });
    }
    // On a full disk it stays empty, and nothing else depends on it.
    let _ = file.set_len(0);
    let _ = writeln!(file, "{}", std::process::id());
    Ok(file)
}

/// Why a file is no store.
enum Bad {
    Error(OpenError),
    Fault(Fault),
}

impl From<OpenError> for Bad {
    fn from(error: OpenError) -> Self {
        Self::Error(error)
    }
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<rusqlite::Error> for Bad {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(error.into())
    }
}

fn load(file: &Path) -> Result<(Connection, Kept, Known), Bad> {
    let is_new = glance(file)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(PATIENCE)?;
    // Until it is known to be ours: closing it writes nothing either.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if is_new {
        connection.pragma_update(None, "application_id", schema::APPLICATION)?;
    }
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    verify_version(file, version)?;
    check(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    configure(&connection, file)?;
    schema::migrate(&mut connection)?;
    let (kept, known) = begin(&mut connection, is_new)?;
    Ok((connection, kept, known))
}

/// Looks at a file without the database: whether it is new, and not somebody else's. It is made
/// if it is missing.
fn glance(path: &Path) -> Result<bool, Bad> {
    match fs::symlink_metadata(path) {
        Ok(stat) if stat.is_file() => (),
        Ok(_) => {
            let path = path.to_owned();
            return Err(OpenError::Kind { path, wanted: "regular file" }.into());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            made.map_err(|error| no_room(error, "make", path))?;
            sync(path.parent().unwrap_or(Path::new("/")))?;
        }
        Err(error) => return Err(failed("look at", path)(error).into()),
    }
    // <https://www.sqlite.org/fileformat.html>, "The Database Header".
    let mut header = Vec::new();
    let file = File::open(path).map_err(failed("open", path))?;
    file.take(100).read_to_end(&mut header).map_err(failed("read", path))?;
    if header.is_empty() {
        return Ok(true);
    }
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(Fault::corrupt("it is no database").into());
    }
    let number =
        |at: usize| i32::from_be_bytes([0, 1, 2, 3].map(|offset: usize| header[at + offset]));
    if number(68) != schema::APPLICATION {
        return Err(Fault::corrupt("it is a database of another program").into());
    }
    verify_version(path, number(60).into())?;
    Ok(false)
}

fn no_room(error: io::Error, what: &'static str, path: &Path) -> Bad {
    if super::room::is_full(&error) {
        return Fault { cause: Cause::NoRoom, error: words(&error) }.into();
    }
    failed(what, path)(error).into()
}

fn verify_version(path: &Path, found: i64) -> Result<(), OpenError> {
    let known = schema::VERSION;
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// Asks the database whether it is whole, for as long as there is time for that.
fn check(connection: &Connection) -> Result<(), Fault> {
    let end = Instant::now() + CHECK;
    connection.progress_handler(10_000, Some(move || Instant::now() >= end))?;
    let answer = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .map(|answer| if answer == "ok" { None } else { Some(answer) });
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match answer {
        Ok(None) => Ok(()),
        Ok(Some(answer)) => Err(Fault::corrupt(answer)),
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.code == ErrorCode::OperationInterrupted =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn configure(connection: &Connection, path: &Path) -> Result<(), Bad> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::Shared { path: path.to_owned() }.into());
    }
    // A commit is on the disk when it is done, not only whole.
    connection.pragma_update(None, "synchronous", "full")?;
    // The thread does so itself, to hear of errors.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // After a first start with a large tree it need not stay that large.
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // `auto_vacuum` stays off: room in the file is used again, and a reserve on a full disk.
    Ok(())
}

/// Reads what is there, and notes that it is in use.
fn begin(connection: &mut Connection, is_new: bool) -> Result<(Kept, Known), Bad> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let before: Option<String> = rows::meta(&transaction, key::BOOT)?;
    let confirmed = rows::meta(&transaction, key::CONFIRMED)?.unwrap_or(0);
    let clean: Option<bool> = rows::meta(&transaction, key::CLEAN)?;
    let last: Option<u32> =
        transaction.query_row("SELECT max(id) FROM dir", [], |row| row.get(0))?;
    let rebooted = before.is_some_and(|it| it != boot.trim());
    if rebooted {
        rows::delete_leaders(&transaction)?;
    }
    let (history, rings) = history::read(&transaction)?;
    let kept = Kept {
        history,
        tasks: rows::read_tasks(&transaction)?,
        coverage: rows::meta(&transaction, key::COVERAGE)?,
        clean: is_new || clean == Some(true),
        rebooted,
    };
    discard(&transaction, confirmed)?;
    rows::put_meta(&transaction, key::CLEAN, false)?;
    rows::put_meta(&transaction, key::BOOT, boot.trim())?;
    transaction.commit()?;
    let next = last.unwrap_or(0).checked_add(1).unwrap_or(0);
    Ok((kept, Known { confirmed, unsure: false, next, rings }))
}

/// Deletes rows of the index that were never confirmed.
fn discard(transaction: &Transaction<'_>, confirmed: i64) -> rusqlite::Result<()> {
    // All rows have to be read for it, so it is noted whether there can be any.
    if rows::meta(transaction, key::UNSURE)? == Some(true) {
        transaction.execute("DELETE FROM entry WHERE gen > ?1", [confirmed])?;
        rows::put_meta(transaction, key::UNSURE, false)?;
    }
    Ok(())
}

/// Renames a file that is no store, with what belongs to it.
fn put_aside(file: &Path) -> Result<PathBuf, OpenError> {
    let with = |path: &Path, end: &str| {
        let mut path = path.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = (seconds..seconds + 1000)
        .map(|it| with(file, &format!(".corrupt-{it}")))
        .find(|it| fs::symlink_metadata(it).is_err())
        .unwrap_or_else(|| with(file, ".corrupt"));
    // The file first: what is left of a broken pair must not be taken for a good one.
    for end in ["", "-wal", "-shm", "-journal"] {
        let from = with(file, end);
        match fs::rename(&from, with(&aside, end)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !end.is_empty() => (),
            done => done.map_err(failed("set aside", &from))?,
        }
    }
    sync(file.parent().unwrap_or(Path::new("/")))?;
    Ok(aside)
}
