//! Whether a subject's task triggers itself.
//!
//! A streak is a number of runs of one subject in a row, each ordered while the one before ran or
//! right after. When another order would lengthen a full streak, the breaker trips: the subject
//! rests, runs once, and trips again at the very next such order. A run that was ordered at any
//! other time ends the streak.

use crate::{plan::Breaker, time::Instant};

/// What led to a task's next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// An order that no run of the same subject was near.
    Outside,
    /// An order while the subject ran, or right after.
    Itself,
    /// No order: the task has run before, and is tried again.
    Before,
}

/// A subject's runs in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streak {
    runs: u32,
    /// When the last run ended.
    ended: Instant,
    /// Until when orders are held back.
    pub(super) rests_until: Instant,
    /// Whether the breaker has tripped since the last run began.
    tripped: bool,
}

impl Streak {
    /// Takes in an order; whether the breaker trips over it is the second answer.
    pub(super) fn handle_order(
        &mut self,
        now: Instant,
        runs_now: bool,
        breaker: Breaker,
    ) -> (Trigger, bool) {
        let near = runs_now || self.runs > 0 && now.since(self.ended) <= breaker.within;
        let trips = near && !self.tripped && self.runs >= breaker.runs.max(1);
        if trips {
            self.tripped = true;
            self.rests_until = now + breaker.rest;
        }
        (if near { Trigger::Itself } else { Trigger::Outside }, trips)
    }

    /// Takes in that a run begins.
    pub(super) fn handle_start(&mut self, trigger: Trigger) {
        self.runs = match trigger {
            Trigger::Outside => 1,
            Trigger::Itself => self.runs.saturating_add(1),
            Trigger::Before => self.runs.max(1),
        };
        self.tripped = false;
    }

    /// Takes in that no run is left.
    pub(super) fn handle_end(&mut self, now: Instant) {
        self.ended = now;
    }

    /// How many runs in a row.
    pub(super) fn runs(&self) -> u32 {
        self.runs
    }

    /// The streak of two subjects that have become one.
    pub(super) fn merge(&mut self, other: Self) {
        self.runs = self.runs.max(other.runs);
        self.ended = self.ended.max(other.ended);
        self.rests_until = self.rests_until.max(other.rests_until);
        self.tripped |= other.tripped;
    }
}
