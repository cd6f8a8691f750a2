//! The tables, and how those of an older version become those of this one.

use rusqlite::{Connection, TransactionBehavior};

/// What tells our files from other databases: `pynd`.
pub(super) const APPLICATION: i32 = 0x7079_6e64;

/// From each version to the next, beginning at 0, which is an empty file. A step that was released
/// is never changed.
const STEPS: [&str; 2] = [
    "
    CREATE TABLE task (
        id BLOB NOT NULL PRIMARY KEY,
        scheduler TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        first_wall_ns INTEGER NOT NULL,
        due_wall_ns INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        mask INTEGER NOT NULL,
        is_dir INTEGER NOT NULL,
        pathname BLOB NOT NULL,
        src_pathname BLOB,
        name_len INTEGER NOT NULL,
        root_len INTEGER NOT NULL,
        wd INTEGER NOT NULL,
        cookie INTEGER NOT NULL,
        origin TEXT NOT NULL,
        subject BLOB,
        ino INTEGER,
        ctime INTEGER,
        mtime INTEGER,
        btime INTEGER,
        size INTEGER,
        done_round INTEGER,
        dir INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE dir (
        id INTEGER NOT NULL PRIMARY KEY,
        ino INTEGER NOT NULL,
        btime INTEGER NOT NULL,
        dev INTEGER NOT NULL,
        UNIQUE (ino, btime, dev)
    ) STRICT;
    CREATE TABLE entry (
        dir INTEGER NOT NULL,
        name BLOB NOT NULL,
        kind TEXT NOT NULL,
        ino INTEGER NOT NULL,
        ctime INTEGER NOT NULL,
        mtime INTEGER NOT NULL,
        btime INTEGER NOT NULL,
        size INTEGER NOT NULL,
        gen INTEGER NOT NULL,
        PRIMARY KEY (dir, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE meta (
        key TEXT NOT NULL PRIMARY KEY,
        value ANY NOT NULL
    ) STRICT, WITHOUT ROWID;
    ",
    "
    ALTER TABLE task ADD COLUMN leader_pid INTEGER;
    ALTER TABLE task ADD COLUMN leader_started INTEGER;
    ALTER TABLE task ADD COLUMN leader_task BLOB;
    CREATE TABLE history (
        slot INTEGER NOT NULL PRIMARY KEY,
        number INTEGER NOT NULL,
        task BLOB NOT NULL,
        scheduler TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        status INTEGER,
        words TEXT,
        took_ns INTEGER NOT NULL,
        ended_wall_ns INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        mask INTEGER NOT NULL,
        is_dir INTEGER NOT NULL,
        pathname BLOB NOT NULL,
        src_pathname BLOB,
        name_len INTEGER NOT NULL,
        root_len INTEGER NOT NULL,
        wd INTEGER NOT NULL,
        cookie INTEGER NOT NULL,
        origin TEXT NOT NULL,
        subject BLOB
    ) STRICT;
    ",
];

/// The version that this program writes.
pub(super) const VERSION: i64 = 2;

/// Brings the tables to [`VERSION`]. Each step is a transaction, so one that is interrupted has not
/// begun.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let behavior = TransactionBehavior::Immediate;
    for (step, next) in STEPS.iter().zip(1_i64..).skip(version(connection)?) {
        let transaction = connection.transaction_with_behavior(behavior)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", next)?;
        transaction.commit()?;
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_becomes_the_tables_of_this_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(version(&connection).unwrap(), 0);
        assert_eq!(usize::try_from(VERSION), Ok(STEPS.len()));
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), STEPS.len());
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(tables, ["dir", "entry", "history", "meta", "task"]);
    }

    #[test]
    fn tables_of_an_older_version_keep_what_is_in_them() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let words = "x'00000000000000000000000000000001', 'job', 'running', 3, 10, 20,
            'IN_CLOSE_WRITE', 8, 0, x'2f61', NULL, 1, 1, 1, 0, 'live', NULL, 7, 1, 2, 3, 4, NULL, 5";
        connection.execute(&format!("INSERT INTO task VALUES ({words})"), []).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), STEPS.len());
        let tasks = super::super::rows::read_tasks(&connection).unwrap();
        let [task] = &*tasks else { panic!("{tasks:?}") };
        assert_eq!((&*task.scheduler, task.attempt, task.leader), ("job", 3, None));
        assert_eq!(task.stamp.map(|it| it.size), Some(4));
        super::super::rows::put_task(&connection, task, None).unwrap();
        assert_eq!(super::super::rows::read_tasks(&connection).unwrap(), tasks);
    }

    #[test]
    fn tables_of_this_version_are_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.execute("INSERT INTO meta VALUES ('a', 1)", []).unwrap();
        migrate(&mut connection).unwrap();
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }
}
