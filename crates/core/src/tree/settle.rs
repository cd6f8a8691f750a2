//! What is known of a directory between the moment it is entered and the moment when every record
//! that was queued by then has been read.
//!
//! A directory is watched first and listed second, so an entry may be both in the listing and told
//! of by a record. All directories that are entered together share one *epoch*. At its end the
//! caller puts a barrier into the kernel's queue: a record that comes behind everything queued so
//! far. Until the barrier is read the epoch's directories are *settling*: their records may speak
//! of times before the listing. Once it is read, what the listing found and no record told of is
//! told as an event of origin `scan`, once.

use std::{collections::VecDeque, hash::BuildHasher};

use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::{
    event::{EventType, Mask},
    record::Wd,
    stamp::Stamp,
    tree::{Closed, Entry, Kind, NodeId, Todo, compare::Difference},
};

/// The epochs whose barriers have not been read.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// The epoch that is being entered now, or will be next.
    current: Epoch,
    /// Barriers that are in the queue, oldest first.
    open: VecDeque<(Wd, Epoch)>,
    passed: u32,
    untold: FxHashMap<NodeId, Untold>,
}

/// What was entered together.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    /// How many directories were entered.
    entered: usize,
    /// Those with untold entries, in the order in which they were entered: parents first.
    pub(super) listed: Vec<NodeId>,
    /// What was not where it was sought, perhaps because a directory above has moved.
    missing: Vec<Todo>,
    /// Records that our own looking makes.
    echoes: FxHashMap<(Wd, Box<[u8]>), Echo>,
}

/// How many records of our own looking may still come for one name of one watch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Echo {
    pub(super) opens: u32,
    pub(super) reads: u32,
    pub(super) closes: u32,
}

/// The entries of a listing that no record has told of yet.
#[derive(Debug, Default)]
pub(super) struct Untold {
    entries: Vec<Option<UntoldEntry>>,
    by_name: HashTable<u32>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct UntoldEntry {
    pub(super) name: Box<[u8]>,
    pub(super) kind: Kind,
    pub(super) closed: Closed,
    pub(super) stamp: Option<Stamp>,
    /// What has become of it, if it is not new in a new directory.
    pub(super) difference: Option<Difference>,
    /// That it came has been told, because a record about it had to be.
    pub(super) came: bool,
}

impl Epochs {
    /// The number that nodes entered now are marked with.
    pub(super) fn number(&self) -> u32 {
        self.passed + u32::try_from(self.open.len()).expect("barriers are few") + 1
    }

    pub(super) fn is_settling(&self, epoch: u32) -> bool {
        epoch > self.passed
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.current.entered == 0
    }

    /// Whether a barrier has to be put.
    pub(super) fn needs_barrier(&self) -> bool {
        self.current.entered > 0
    }

    pub(super) fn count_entered(&mut self) {
        self.current.entered += 1;
    }

    pub(super) fn list(&mut self, node: NodeId, entries: Vec<Entry>) {
        if !entries.is_empty() {
            self.untold.insert(node, Untold::new(entries));
            self.current.listed.push(node);
        }
    }

    /// As [`Self::list`], for entries that differ from what was seen before.
    pub(super) fn list_differing(&mut self, node: NodeId, differing: Vec<(Entry, Difference)>) {
        if !differing.is_empty() {
            self.current.listed.push(node);
            let untold = self.untold.entry(node).or_default();
            for (entry, difference) in differing {
                untold.told(&entry.name);
                untold.add(entry, Some(difference));
            }
        }
    }

    pub(super) fn miss(&mut self, todo: Todo) {
        self.current.entered += 1;
        self.current.missing.push(todo);
    }

    /// Takes out what was missed and is to be sought again.
    pub(super) fn seek_again(&mut self, mut again: impl FnMut(&Todo) -> bool) -> Vec<Todo> {
        let open = self.open.iter_mut().map(|(_, epoch)| epoch);
        let mut found = Vec::new();
        for epoch in open.chain([&mut self.current]) {
            found.extend(epoch.missing.extract_if(.., |it| again(it)));
        }
        found
    }

    pub(super) fn missing_mut(&mut self) -> impl Iterator<Item = &mut Todo> {
        let open = self.open.iter_mut().map(|(_, epoch)| epoch);
        open.chain([&mut self.current]).flat_map(|it| &mut it.missing)
    }

    pub(super) fn expect(&mut self, wd: Wd, name: &[u8], asked: Mask, echo: Echo) {
        let bits = [EventType::Open, EventType::Access, EventType::CloseNowrite];
        if asked.intersects(bits.into_iter().collect()) {
            let it = self.current.echoes.entry((wd, name.into())).or_default();
            it.opens += echo.opens;
            it.reads += echo.reads;
            it.closes += echo.closes;
        }
    }

    /// Whether a record is one of our own looking; each is taken out once.
    pub(super) fn is_echo(&mut self, wd: Wd, event_type: EventType, name: &[u8]) -> bool {
        let open = self.open.iter_mut().map(|(_, epoch)| epoch);
        for epoch in open.chain([&mut self.current]) {
            if epoch.echoes.is_empty() {
                continue;
            }
            let Some(echo) = epoch.echoes.get_mut(&(wd, name.into())) else { continue };
            let left = match event_type {
                EventType::Open => &mut echo.opens,
                EventType::Access => &mut echo.reads,
                EventType::CloseNowrite => &mut echo.closes,
                _ => return false,
            };
            if *left > 0 {
                *left -= 1;
                return true;
            }
        }
        false
    }

    pub(super) fn untold(&mut self, node: NodeId) -> Option<&mut Untold> {
        self.untold.get_mut(&node)
    }

    pub(super) fn take_untold(&mut self, node: NodeId) -> Option<Untold> {
        self.untold.remove(&node)
    }

    /// Takes in that the barrier of all that has been entered is in the queue.
    pub(super) fn close(&mut self, barrier: Wd) {
        self.open.push_back((barrier, std::mem::take(&mut self.current)));
    }

    pub(super) fn is_barrier(&self, wd: Wd) -> bool {
        self.open.iter().any(|(barrier, _)| *barrier == wd)
    }

    /// Ends the oldest epoch whose barrier has been put.
    pub(super) fn pass(&mut self) -> Option<(Wd, Epoch)> {
        let passed = self.open.pop_front()?;
        self.passed += 1;
        Some(passed)
    }

    /// Ends the current epoch without a barrier.
    pub(super) fn abandon(&mut self) -> Epoch {
        self.passed += 1;
        std::mem::take(&mut self.current)
    }
}

impl Untold {
    fn new(entries: Vec<Entry>) -> Self {
        let mut it = Self {
            entries: Vec::with_capacity(entries.len()),
            by_name: HashTable::with_capacity(entries.len()),
        };
        for entry in entries {
            it.add(entry, None);
        }
        it
    }

    /// Adds an entry. There must be none of that name.
    fn add(&mut self, entry: Entry, difference: Option<Difference>) {
        let Entry { name, kind, closed, stamp } = entry;
        let at = u32::try_from(self.entries.len()).expect("entries of a directory are counted");
        let came = !matches!(difference, None | Some(Difference::Came));
        let entry = UntoldEntry { name, kind, closed, stamp, difference, came };
        self.entries.push(Some(entry));
        let entries = &self.entries;
        let hash_of = |at: u32| entries[at as usize].as_ref().map_or(0, |it| hash(&it.name));
        self.by_name.insert_unique(hash_of(at), at, |at| hash_of(*at));
    }

    pub(super) fn get(&mut self, name: &[u8]) -> Option<&mut UntoldEntry> {
        let entries = &self.entries;
        let at = *self.by_name.find(hash(name), |at| {
            entries[*at as usize].as_ref().is_some_and(|it| *it.name == *name)
        })?;
        self.entries[at as usize].as_mut()
    }

    /// A record has told all there is to tell of an entry.
    pub(super) fn told(&mut self, name: &[u8]) {
        let entries = &self.entries;
        let found = self.by_name.find_entry(hash(name), |at| {
            entries[*at as usize].as_ref().is_some_and(|it| *it.name == *name)
        });
        if let Ok(entry) = found {
            let (at, _) = entry.remove();
            self.entries[at as usize] = None;
        }
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = UntoldEntry> {
        self.entries.into_iter().flatten()
    }
}

fn hash(name: &[u8]) -> u64 {
    FxBuildHasher.hash_one(name)
}
