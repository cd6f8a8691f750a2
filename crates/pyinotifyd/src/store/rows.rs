//! Tasks and entries as rows, and back.
//!
//! SQLite's integers are signed, so a `u64` is kept as the `i64` with the same bits. Reading is
//! total: a row that no version of this program can have written is a broken file, not a panic.

use std::{collections::HashMap, sync::Arc};

use pyinotifyd_core::{
    event::{Event, EventType, Mask, Origin},
    record::Wd,
    stamp::{IndexId, Stamp},
    task::{Leader, TaskId},
    tree::{Kind, Seen},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{RowState, TaskRow, fault::Fault};

/// The parameters of a row that has the columns of an event, and some before and behind them.
/// [`read_event`] is the way back.
macro_rules! params_around {
    ([$($before:expr),* $(,)?], $event:expr, [$($behind:expr),* $(,)?]) => {
        rusqlite::params![
            $($before,)*
            $event.event_type.name(),
            $event.mask.0,
            $event.is_dir,
            &*$event.pathname,
            $event.src_pathname.as_deref(),
            $event.name_len,
            $event.root_len,
            $event.wd.0,
            $event.cookie,
            $event.origin.name(),
            $event.subject.as_deref(),
            $($behind,)*
        ]
    };
}
pub(super) use params_around;

const PUT_TASK: &str = "
    INSERT INTO task VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
        ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)
    ON CONFLICT (id) DO UPDATE SET
        scheduler = ?2, state = ?3, attempt = ?4, first_wall_ns = ?5, due_wall_ns = ?6,
        event_type = ?7, mask = ?8, is_dir = ?9, pathname = ?10, src_pathname = ?11,
        name_len = ?12, root_len = ?13, wd = ?14, cookie = ?15, origin = ?16, subject = ?17,
        ino = ?18, ctime = ?19, mtime = ?20, btime = ?21, size = ?22, done_round = ?23,
        dir = ?24, leader_pid = ?25, leader_started = ?26, leader_task = ?27";

/// Writes a task over whatever has its id. `done_round` is the round in which its run ended.
pub(super) fn put_task(
    connection: &Connection,
    row: &TaskRow,
    done_round: Option<u64>,
) -> rusqlite::Result<()> {
    let (event, stamp, leader) = (&*row.event, row.stamp, row.leader);
    connection.prepare_cached(PUT_TASK)?.execute(params_around![
        [
            &row.id.0.to_be_bytes()[..],
            &*row.scheduler,
            state_word(row.state),
            row.attempt,
            row.first,
            row.due,
        ],
        event,
        [
            stamp.map(|it| it.ino.cast_signed()),
            stamp.map(|it| it.ctime),
            stamp.map(|it| it.mtime),
            stamp.map(|it| it.btime),
            stamp.map(|it| it.size.cast_signed()),
            done_round.map(u64::cast_signed),
            row.dir.0,
            leader.map(|it| it.pid),
            leader.map(|it| it.since.cast_signed()),
            leader.map(|it| it.task.0.to_be_bytes()),
        ]
    ])?;
    Ok(())
}

/// Writes down as which process a task runs.
pub(super) fn put_leader(
    connection: &Connection,
    id: TaskId,
    leader: Leader,
) -> rusqlite::Result<()> {
    let Leader { pid, since, task } = leader;
    connection
        .prepare_cached(
            "UPDATE task SET leader_pid = ?2, leader_started = ?3, leader_task = ?4 WHERE id = ?1",
        )?
        .execute(params![id.0.to_be_bytes(), pid, since.cast_signed(), task.0.to_be_bytes()])?;
    Ok(())
}

/// Forgets as which processes tasks ran: those of an earlier boot say nothing.
pub(super) fn delete_leaders(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE task SET leader_pid = NULL, leader_started = NULL, leader_task = NULL
        WHERE leader_pid IS NOT NULL",
        [],
    )?;
    Ok(())
}

/// Turns a task into a memo.
pub(super) fn end_task(
    connection: &Connection,
    id: TaskId,
    done_round: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE task SET state = 'done', done_round = ?2 WHERE id = ?1")?
        .execute(params![&id.0.to_be_bytes()[..], done_round.cast_signed()])?;
    Ok(())
}

/// Deletes a task.
pub(super) fn delete_task(connection: &Connection, id: TaskId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM task WHERE id = ?1")?
        .execute([&id.0.to_be_bytes()[..]])?;
    Ok(())
}

/// All tasks, by id.
pub(super) fn read_tasks(connection: &Connection) -> Result<Vec<TaskRow>, Fault> {
    // In the order in which they lie in the file, which is not that of their ids.
    let mut statement = connection.prepare("SELECT * FROM task")?;
    let mut rows = statement.query([])?;
    // There are few schedulers and many tasks.
    let mut schedulers = HashMap::new();
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(read_task(row, &mut schedulers)?);
    }
    tasks.sort_unstable_by_key(|it| it.id);
    Ok(tasks)
}

fn read_task(row: &Row<'_>, schedulers: &mut HashMap<String, Arc<str>>) -> Result<TaskRow, Fault> {
    let broken = |what: &str| Fault::corrupt(format!("a row of the table task has {what}"));
    let id = read_id(row, 0)?;
    let name = text(row, 1)?;
    let scheduler = match schedulers.get(name) {
        Some(scheduler) => Arc::clone(scheduler),
        None => Arc::clone(schedulers.entry(name.to_owned()).or_insert_with(|| name.into())),
    };
    let state = match text(row, 2)? {
        "pending" => RowState::Pending,
        "running" => RowState::Running,
        "done" => RowState::Done,
        _ => return Err(broken("an unknown state")),
    };
    let event = read_event(row, 6)?;
    let ino: Option<i64> = row.get(17)?;
    let stamp = match ino {
        None => None,
        Some(ino) => Some(Stamp {
            ino: ino.cast_unsigned(),
            ctime: row.get(18)?,
            mtime: row.get(19)?,
            btime: row.get(20)?,
            size: row.get::<_, i64>(21)?.cast_unsigned(),
        }),
    };
    let pid: Option<u32> = row.get(24)?;
    let leader = match pid {
        None => None,
        Some(pid) => {
            let since = row.get::<_, i64>(25)?.cast_unsigned();
            Some(Leader { pid, since, task: read_id(row, 26)? })
        }
    };
    Ok(TaskRow {
        id,
        scheduler,
        event: Arc::new(event),
        attempt: row.get(3)?,
        first: row.get(4)?,
        due: row.get(5)?,
        dir: IndexId(row.get(23)?),
        state,
        stamp,
        leader,
    })
}

/// A task's id in that column.
pub(super) fn read_id(row: &Row<'_>, at: usize) -> Result<TaskId, Fault> {
    let id = row.get_ref(at)?.as_blob().ok().and_then(|it| <[u8; 16]>::try_from(it).ok());
    let id = id.ok_or_else(|| Fault::corrupt("a row of a task has no id"))?;
    Ok(TaskId(u128::from_be_bytes(id)))
}

/// The event in that column and those behind it.
pub(super) fn read_event(row: &Row<'_>, at: usize) -> Result<Event, Fault> {
    let broken = |what: &str| Fault::corrupt(format!("a row of a task has {what}"));
    let blob = |at| -> Result<Option<Arc<[u8]>>, Fault> {
        let bytes = row.get_ref(at)?.as_blob_or_null();
        Ok(bytes.map_err(|_| broken("no bytes where there should be"))?.map(Into::into))
    };
    let event = Event {
        event_type: text(row, at)?.parse().map_err(|_| broken("an unknown event type"))?,
        mask: Mask(row.get(at + 1)?),
        is_dir: row.get(at + 2)?,
        pathname: blob(at + 3)?.ok_or_else(|| broken("no path"))?,
        src_pathname: blob(at + 4)?,
        name_len: row.get(at + 5)?,
        root_len: row.get(at + 6)?,
        wd: Wd(row.get(at + 7)?),
        cookie: row.get(at + 8)?,
        origin: origin(text(row, at + 9)?).ok_or_else(|| broken("an unknown origin"))?,
        subject: blob(at + 10)?,
    };
    // What an event's functions rely on.
    let len = event.pathname.len();
    if usize::from(event.name_len) > len || event.root_len as usize > len {
        return Err(broken("a name that is longer than its path"));
    }
    Ok(event)
}

fn text<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, Fault> {
    row.get_ref(at)?.as_str().map_err(|_| Fault::corrupt("a row of the table task has no text"))
}

fn state_word(state: RowState) -> &'static str {
    match state {
        RowState::Pending => "pending",
        RowState::Running => "running",
        RowState::Done => "done",
    }
}

fn origin(word: &str) -> Option<Origin> {
    [Origin::Live, Origin::Scan, Origin::Recovered].into_iter().find(|it| it.name() == word)
}

const _: () = assert!(EventType::ALL.len() == 15, "types are kept by their names");

/// Writes the state of a name; `generation` is 0 if it counts already.
pub(super) fn put_entry(
    connection: &Connection,
    dir: IndexId,
    name: &[u8],
    (kind, stamp): (Kind, Stamp),
    generation: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute(params![
            dir.0,
            name,
            kind_word(kind),
            stamp.ino.cast_signed(),
            stamp.ctime,
            stamp.mtime,
            stamp.btime,
            stamp.size.cast_signed(),
            generation,
        ])?;
    Ok(())
}

/// Deletes a name.
pub(super) fn delete_entry(
    connection: &Connection,
    dir: IndexId,
    name: &[u8],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM entry WHERE dir = ?1 AND name = ?2")?
        .execute(params![dir.0, name])?;
    Ok(())
}

/// Makes the row of a name count for nothing, if it does not count yet.
pub(super) fn invalidate_entry(
    connection: &Connection,
    dir: IndexId,
    name: &[u8],
    confirmed: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE entry SET gen = ?4 WHERE dir = ?1 AND name = ?2 AND gen > ?3")?
        .execute(params![dir.0, name, confirmed, i64::MAX])?;
    Ok(())
}

/// The rows of a directory that count, by name.
pub(super) fn read_entries(
    connection: &Connection,
    dir: IndexId,
    confirmed: i64,
) -> Result<Vec<Seen>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT name, kind, ino, ctime, mtime, btime, size FROM entry
        WHERE dir = ?1 AND gen <= ?2",
    )?;
    let mut rows = statement.query(params![dir.0, confirmed])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let broken = |what: &str| Fault::corrupt(format!("a row of the table entry has {what}"));
        let kind = match row.get_ref(1)?.as_str() {
            Ok("dir") => Kind::Directory,
            Ok("file") => Kind::File,
            Ok("other") => Kind::Other,
            Ok(_) | Err(_) => return Err(broken("an unknown kind")),
        };
        entries.push(Seen {
            name: row.get_ref(0)?.as_blob().map_err(|_| broken("no name"))?.into(),
            kind,
            stamp: Stamp {
                ino: row.get::<_, i64>(2)?.cast_unsigned(),
                ctime: row.get(3)?,
                mtime: row.get(4)?,
                btime: row.get(5)?,
                size: row.get::<_, i64>(6)?.cast_unsigned(),
            },
        });
    }
    Ok(entries)
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Directory => "dir",
        Kind::File => "file",
        Kind::Other => "other",
    }
}

/// A value of the table `meta`.
pub(super) fn meta<T: rusqlite::types::FromSql>(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
}

/// Writes a value of the table `meta`.
pub(super) fn put_meta(
    connection: &Connection,
    key: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
        .execute(params![key, value])?;
    Ok(())
}
