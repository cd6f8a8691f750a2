//! The tasks that have ended last, as rows, and back.
//!
//! Two rings of slots, as in [`History`](pyinotifyd_core::stats::History): one for all that end, and one
//! for those that failed, which a flood of what went well does not wash away. A slot is written over,
//! so nothing has to be deleted.

use std::{sync::Arc, time::Duration};

use pyinotifyd_core::{
    stats::REMEMBERED,
    task::{How, Outcome},
};
use rusqlite::{Connection, OptionalExtension};

use super::{EndedRow, fault::Fault, rows};

/// Slots of each ring.
#[expect(clippy::cast_possible_wrap, reason = "it is a thousand")]
const SLOTS: i64 = REMEMBERED as i64;

/// Where the rings go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rings {
    /// How many have ended.
    ended: i64,
    /// Which slot of the other ring the next failure takes.
    failed: i64,
}

/// Writes one down; gives back how many rows that took.
pub(super) fn put(
    connection: &Connection,
    rings: &mut Rings,
    row: &EndedRow,
) -> rusqlite::Result<u64> {
    let number = rings.ended;
    rings.ended += 1;
    put_in(connection, number % SLOTS, number, row)?;
    if row.outcome.how() != How::Failed {
        return Ok(1);
    }
    put_in(connection, SLOTS + rings.failed, number, row)?;
    rings.failed = (rings.failed + 1) % SLOTS;
    Ok(2)
}

fn put_in(connection: &Connection, slot: i64, number: i64, row: &EndedRow) -> rusqlite::Result<()> {
    let (outcome, status, words) = outcome_words(&row.outcome);
    let event = &*row.event;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
                ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        )?
        .execute(rows::params_around![
            [
                slot,
                number,
                row.id.0.to_be_bytes(),
                &*row.scheduler,
                row.attempt,
                outcome,
                status,
                words,
                i64::try_from(row.took.as_nanos()).unwrap_or(i64::MAX),
                row.at,
            ],
            event,
            []
        ])?;
    Ok(())
}

/// All that are there, oldest first, and where the rings go on.
pub(super) fn read(connection: &Connection) -> Result<(Vec<EndedRow>, Rings), Fault> {
    let broken = |what: &str| Fault::corrupt(format!("a row of the table history has {what}"));
    let mut statement = connection.prepare("SELECT * FROM history ORDER BY number, slot")?;
    let mut found = statement.query([])?;
    let (mut ended, mut rings, mut last) = (Vec::new(), Rings::default(), None);
    while let Some(row) = found.next()? {
        // A failure is in both rings for a while.
        let number: i64 = row.get(1)?;
        if last.replace(number) == Some(number) {
            continue;
        }
        let word = |at| row.get_ref(at)?.as_str().map_err(|_| broken("no text"));
        let outcome = outcome(word(5)?, row.get(6)?, row.get(7)?);
        ended.push(EndedRow {
            id: rows::read_id(row, 2)?,
            scheduler: Arc::from(word(3)?),
            event: Arc::new(rows::read_event(row, 10)?),
            attempt: row.get(4)?,
            outcome: outcome.ok_or_else(|| broken("an unknown outcome"))?,
            took: Duration::from_nanos(row.get::<_, i64>(8)?.try_into().unwrap_or(0)),
            at: row.get(9)?,
        });
        rings.ended = number.saturating_add(1);
    }
    let failures = "SELECT count(*) FROM history WHERE slot >= ?1";
    let count: i64 = connection.query_row(failures, [SLOTS], |row| row.get(0))?;
    let oldest = "SELECT slot FROM history WHERE slot >= ?1 ORDER BY number LIMIT 1";
    let oldest: Option<i64> = connection.query_row(oldest, [SLOTS], |row| row.get(0)).optional()?;
    rings.failed = match oldest {
        Some(slot) if count >= SLOTS => slot - SLOTS,
        Some(_) | None => count,
    };
    Ok((ended, rings))
}

fn outcome_words(outcome: &Outcome) -> (&'static str, Option<i32>, Option<&str>) {
    match outcome {
        Outcome::Done(note) => ("done", None, note.as_deref()),
        Outcome::Exited(status, tail) => ("exited", Some(*status), Some(tail)),
        Outcome::Signalled(signal, tail) => ("signalled", Some(*signal), Some(tail)),
        Outcome::Failed(error) => ("failed", None, Some(error)),
        Outcome::Refused(error) => ("refused", None, Some(error)),
        Outcome::Stopped => ("stopped", None, None),
    }
}

fn outcome(word: &str, status: Option<i32>, words: Option<String>) -> Option<Outcome> {
    Some(match word {
        "done" => Outcome::Done(words),
        "exited" => Outcome::Exited(status?, words?),
        "signalled" => Outcome::Signalled(status?, words?),
        "failed" => Outcome::Failed(words?),
        "refused" => Outcome::Refused(words?),
        "stopped" => Outcome::Stopped,
        _ => return None,
    })
}
