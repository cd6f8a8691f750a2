//! The rounds: which names are behind, and which states wait for their fence.
//!
//! All of it is in memory. After a crash, what was here is told again.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use pyinotifyd_core::{
    path,
    stamp::{IndexId, Stamp},
    tree::Kind,
};

/// The most names of one round: their states are read in one go, during which nothing is committed.
const ROUND: usize = 8192;

/// The most names that are remembered to be behind: some hundred bytes each.
const BOUND: usize = 1 << 20;

/// A name in a directory.
pub(super) type Key = (IndexId, Box<[u8]>);

/// The state of what a name stands for; `None`: it stands for nothing.
pub(super) type State = Option<(Kind, Stamp)>;

/// What a look at a path found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// This.
    Is(State),
    /// It was changed so lately that another change may not show, or its file system does not
    /// answer: look again later.
    Racy,
    /// Somebody has it open for writing: its state counts when it is closed, which is told.
    Open,
}

/// Where a name was when it was touched last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: Vec<u8>,
    /// Whether it may be open for writing.
    pub(super) probe: bool,
}

/// Names that are behind, and the round that brings some of them up to date.
#[derive(Debug)]
pub(super) struct Index {
    dirty: BTreeMap<Key, Place>,
    /// The next round begins behind this one, so that busy names do not keep out the others.
    cursor: Option<Key>,
    round: Option<Round>,
    /// The number of the last round that was begun.
    begun: u64,
    /// Of baselines that are written from now on.
    generation: i64,
    /// Directories whose baseline does not count yet.
    unconfirmed: BTreeMap<IndexId, i64>,
    /// Events were lost, and what they were about has not been compared yet.
    suspended: bool,
    /// Touches that found no room.
    forgotten: u64,
    bound: usize,
}

#[derive(Debug)]
struct Round {
    number: u64,
    generation: i64,
    seen: BTreeMap<Key, (Place, State)>,
}

/// What a round has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    /// Baselines up to this one count.
    pub(super) generation: i64,
    /// Names with their paths, and their states, which count.
    pub(super) rows: Vec<(Key, Vec<u8>, State)>,
    /// Whether all rows of the index count now.
    pub(super) all: bool,
}

impl Index {
    /// Nothing is behind, and baselines up to `confirmed` count.
    pub(super) fn new(confirmed: i64) -> Self {
        Self {
            dirty: BTreeMap::new(),
            cursor: None,
            round: None,
            begun: 0,
            generation: confirmed + 1,
            unconfirmed: BTreeMap::new(),
            suspended: false,
            forgotten: 0,
            bound: BOUND,
        }
    }

    #[cfg(test)]
    pub(super) fn with_bound(self, bound: usize) -> Self {
        Self { bound, ..self }
    }

    /// Something happened to a name. Gives back whether its row is of a baseline that does not count
    /// yet.
    pub(super) fn touch(&mut self, dir: IndexId, name: Box<[u8]>, place: Place) -> bool {
        let key = (dir, name);
        if let Some(round) = &mut self.round {
            round.seen.remove(&key);
        }
        self.remember(key, place);
        self.unconfirmed.contains_key(&dir)
    }

    fn remember(&mut self, key: Key, place: Place) {
        if self.dirty.len() < self.bound || self.dirty.contains_key(&key) {
            self.dirty.insert(key, place);
        } else {
            // Its row, if there is one, stays stale. That is no lie: it may be told again.
            self.forgotten += 1;
        }
    }

    /// Names that were touched below one path are below another now. What the open round has seen of
    /// them under the old path was of something else, or nothing.
    pub(super) fn renamed(&mut self, from: &[u8], to: &[u8]) {
        let follows = |place: &mut Place| match path::below(&place.path, from) {
            Some(rest) => {
                place.path = if rest.is_empty() { to.to_vec() } else { path::join(to, rest) };
                true
            }
            None => false,
        };
        for place in self.dirty.values_mut() {
            follows(place);
        }
        let Some(round) = &mut self.round else { return };
        let mut again = Vec::new();
        round.seen.retain(|key, (place, _)| {
            let moves = follows(place);
            if moves {
                again.push((key.clone(), place.clone()));
            }
            !moves
        });
        for (key, place) in again {
            self.remember(key, place);
        }
    }

    /// Events were lost: the open round may have seen what they were about, and so would the next
    /// ones, until [`Index::resume`].
    pub(super) fn suspend(&mut self) {
        self.suspended = true;
        for (key, (place, _)) in self.round.take().map(|it| it.seen).unwrap_or_default() {
            self.remember(key, place);
        }
    }

    /// Everything has been compared.
    pub(super) fn resume(&mut self) {
        self.suspended = false;
    }

    /// A directory is gone, and so are its names.
    pub(super) fn gone(&mut self, dir: IndexId) {
        let next = (IndexId(dir.0.saturating_add(1)), Box::default());
        let here: (IndexId, Box<[u8]>) = (dir, Box::default());
        let names: Vec<Key> =
            self.dirty.range(here.clone()..next.clone()).map(|it| it.0.clone()).collect();
        for name in names {
            self.dirty.remove(&name);
        }
        if let Some(round) = &mut self.round {
            let names: Vec<Key> = round.seen.range(here..next).map(|it| it.0.clone()).collect();
            for name in names {
                round.seen.remove(&name);
            }
        }
        self.unconfirmed.remove(&dir);
    }

    /// A baseline was written, with the generation that [`Index::generation`] gave.
    pub(super) fn written(&mut self, dir: IndexId, generation: i64) {
        self.unconfirmed.insert(dir, generation);
    }

    /// Whether a round has something to do and may begin.
    pub(super) fn wants_round(&self) -> bool {
        self.is_idle() && (!self.dirty.is_empty() || !self.unconfirmed.is_empty())
    }

    /// Whether a round may begin.
    pub(super) fn is_idle(&self) -> bool {
        self.round.is_none() && !self.suspended
    }

    /// Begins a round: looks at the names whose turn it is. `None`: there is nothing to put a fence
    /// behind.
    pub(super) fn begin(
        &mut self,
        wanted: bool,
        look: impl FnOnce(&[Place]) -> Vec<Looked>,
    ) -> Option<u64> {
        assert!(self.is_idle(), "one round at a time, and none in doubt");
        let mut seen = BTreeMap::new();
        let turn = self.turn();
        let places: Vec<Place> = turn.iter().map(|it| self.dirty[it].clone()).collect();
        for (key, looked) in turn.into_iter().zip(look(&places)) {
            let Some(place) = self.dirty.remove(&key) else { continue };
            match looked {
                Looked::Is(state) => {
                    seen.insert(key, (place, state));
                }
                Looked::Racy => {
                    self.dirty.insert(key, place);
                }
                Looked::Open => (),
            }
        }
        if seen.is_empty() && self.unconfirmed.is_empty() && !wanted {
            return None;
        }
        self.begun += 1;
        self.round = Some(Round { number: self.begun, generation: self.generation, seen });
        self.generation += 1;
        Some(self.begun)
    }

    /// The names whose turn it is: the next ones behind the last round's, around the end.
    fn turn(&mut self) -> Vec<Key> {
        let behind = match &self.cursor {
            Some(cursor) => self.dirty.range((Excluded(cursor.clone()), Unbounded)),
            None => self.dirty.range::<Key, _>(..),
        };
        let mut turn: Vec<Key> = behind.take(ROUND).map(|it| it.0.clone()).collect();
        if let Some(cursor) = &self.cursor {
            let left = ROUND - turn.len();
            turn.extend(self.dirty.range(..=cursor.clone()).take(left).map(|it| it.0.clone()));
        }
        self.cursor = turn.last().cloned();
        turn
    }

    /// The fence of a round has passed. `None`: that round is not open.
    pub(super) fn passed(&mut self, number: u64) -> Option<Confirmed> {
        let round = self.round.take_if(|round| round.number == number)?;
        self.unconfirmed.retain(|_, generation| *generation > round.generation);
        let seen = round.seen.into_iter();
        Some(Confirmed {
            generation: round.generation,
            rows: seen.map(|(key, (place, state))| (key, place.path, state)).collect(),
            all: self.dirty.is_empty() && self.unconfirmed.is_empty() && self.forgotten == 0,
        })
    }

    /// The generation of baselines that are written now.
    pub(super) fn generation(&self) -> i64 {
        self.generation
    }

    /// The number of the last round that was begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// How many names are behind.
    pub(super) fn behind(&self) -> usize {
        self.dirty.len() + self.round.as_ref().map_or(0, |it| it.seen.len())
    }

    /// Whether all baselines count.
    pub(super) fn is_confirmed(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    /// Whether no name is behind, those of the open round apart.
    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Touches that found no room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Panics where two facts contradict each other.
    #[cfg(test)]
    pub(super) fn verify_invariants(&self) {
        assert!(self.dirty.len() <= self.bound);
        if let Some(round) = &self.round {
            assert!(!self.suspended);
            assert_eq!(round.number, self.begun);
            assert!(round.generation < self.generation);
            assert!(
                round.seen.keys().all(|it| !self.dirty.contains_key(it)),
                "touched, and in the round"
            );
        }
        assert!(self.unconfirmed.values().all(|it| *it <= self.generation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: IndexId = IndexId(1);

    fn touch(index: &mut Index, name: &str) {
        index.touch(DIR, name.as_bytes().into(), at(name.as_bytes()));
        index.verify_invariants();
    }

    fn names(confirmed: Option<Confirmed>) -> Vec<String> {
        let rows = confirmed.unwrap().rows;
        rows.iter().map(|it| String::from_utf8_lossy(&it.1).into_owned()).collect()
    }

    fn at(path: &[u8]) -> Place {
        Place { path: path.into(), probe: false }
    }

    fn all(places: &[Place]) -> Vec<Looked> {
        vec![Looked::Is(None); places.len()]
    }

    #[test]
    fn what_a_round_has_sought_under_an_old_path_is_sought_again() {
        let mut index = Index::new(0);
        for path in [&b"/w/a/x"[..], b"/w/b/x"] {
            index.touch(DIR, path.into(), at(path));
        }
        index.begin(false, all);
        index.touch(DIR, b"y"[..].into(), at(b"/w/a/y"));
        index.renamed(b"/w/a", b"/w/c");
        index.verify_invariants();
        assert_eq!(names(index.passed(1)), ["/w/b/x"]);
        index.begin(false, all);
        assert_eq!(names(index.passed(2)), ["/w/c/x", "/w/c/y"]);
    }

    #[test]
    fn touches_of_one_name_are_one() {
        let mut index = Index::new(0);
        touch(&mut index, "a");
        touch(&mut index, "b");
        touch(&mut index, "a");
        assert_eq!(index.begin(false, all), Some(1));
        assert_eq!(names(index.passed(1)), ["a", "b"]);
        assert!(!index.wants_round());
    }

    #[test]
    fn what_is_touched_during_a_round_waits_for_the_next() {
        let mut index = Index::new(0);
        touch(&mut index, "a");
        touch(&mut index, "b");
        index.begin(false, all);
        touch(&mut index, "a");
        assert!(!index.wants_round(), "one is open");
        assert_eq!(index.passed(7), None, "of another time");
        assert_eq!(names(index.passed(1)), ["b"]);
        assert_eq!(index.passed(1), None);
        assert_eq!(index.begin(false, all), Some(2));
        assert_eq!(names(index.passed(2)), ["a"]);
    }

    #[test]
    fn what_may_have_changed_again_waits_and_alone_begins_no_round() {
        let mut index = Index::new(0);
        touch(&mut index, "a");
        assert_eq!(index.begin(false, |it| vec![Looked::Racy; it.len()]), None);
        assert!(index.wants_round());
        touch(&mut index, "b");
        index.begin(false, |it| {
            let look = |it: &Place| if it.path == b"a" { Looked::Racy } else { Looked::Is(None) };
            it.iter().map(look).collect()
        });
        let confirmed = index.passed(1);
        assert!(!confirmed.as_ref().unwrap().all);
        assert_eq!(names(confirmed), ["b"]);
    }

    #[test]
    fn a_baseline_counts_from_the_next_fence_on() {
        let mut index = Index::new(4);
        assert_eq!(index.generation(), 5);
        index.written(DIR, 5);
        assert!(index.wants_round(), "although nothing was touched");
        assert_eq!(index.begin(false, all), Some(1));
        let late = IndexId(2);
        index.written(late, index.generation());
        assert!(index.touch(DIR, b"x"[..].into(), at(b"x")));
        let confirmed = index.passed(1).unwrap();
        assert_eq!((confirmed.generation, confirmed.all), (5, false));
        assert!(!index.touch(DIR, b"x"[..].into(), at(b"x")));
        assert!(index.touch(late, b"x"[..].into(), at(b"x")));
    }

    #[test]
    fn when_events_were_lost_a_round_is_void_and_none_begins_until_all_is_compared() {
        let mut index = Index::new(0);
        touch(&mut index, "a");
        index.begin(false, all);
        index.suspend();
        index.verify_invariants();
        touch(&mut index, "b");
        assert_eq!(index.passed(1), None);
        assert!(!index.wants_round());
        index.resume();
        assert_eq!(index.begin(false, all), Some(2));
        assert_eq!(names(index.passed(2)), ["a", "b"]);
    }

    #[test]
    fn the_names_of_a_directory_go_with_it() {
        let mut index = Index::new(0);
        for dir in 1..4 {
            index.touch(IndexId(dir), b""[..].into(), at(b""));
            index.touch(IndexId(dir), [255; 255][..].into(), at(b""));
        }
        index.gone(IndexId(2));
        assert_eq!(index.behind(), 4);
        index.begin(false, all);
        index.gone(IndexId(1));
        index.verify_invariants();
        assert_eq!(index.passed(1).unwrap().rows.len(), 2);
    }

    #[test]
    fn busy_names_do_not_keep_out_the_others() {
        let mut index = Index::new(0);
        for number in 0..ROUND + 10 {
            touch(&mut index, &format!("{number:06}"));
        }
        index.begin(false, all);
        assert_eq!(index.passed(1).unwrap().rows.len(), ROUND);
        for number in 0..ROUND {
            touch(&mut index, &format!("{number:06}"));
        }
        index.begin(false, all);
        let rows = names(index.passed(2));
        assert!(rows.contains(&format!("{:06}", ROUND + 9)));
        assert_eq!(rows.len(), ROUND);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut index = Index::new(0).with_bound(2);
        for name in ["a", "b", "c", "a"] {
            touch(&mut index, name);
        }
        assert_eq!((index.behind(), index.forgotten()), (2, 1));
    }
}
