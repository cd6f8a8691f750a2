//! What has changed that no record told: listings held against what was seen before, or, without
//! an index, against the time since which records were lost.
//!
//! What differs is told once the directory has settled, like what is met in a new one: a record
//! that tells of the same name tells it better.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasher,
    sync::Arc,
};

use rustc_hash::{FxBuildHasher, FxHashSet};

use super::{
    Closed, Entry, Found, Join, Joined, Kind, Look, NodeId, Outdated, Seen, Touch, Tree, Why,
    nodes::Node, settle::UntoldEntry,
};
use crate::{
    event::{EventType, Mask},
    scope::{Arrival, SpotsId},
    stamp::{IndexId, Stamp},
};

/// What has become of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// It was not there, or was something else: it was made, or moved there.
    Came,
    /// It has other content.
    Changed,
    /// Something else about it has changed: its owner, its mode, its links.
    Retouched,
    /// As [`Difference::Retouched`], or it was moved there: nobody knows whether it was there.
    Shifted,
    /// It is as it was, but somebody had it open for writing then: a close changes nothing.
    Closed,
    /// It is not there any more: it was deleted, or moved away.
    Gone,
}

/// Files that were made or written to and have not been closed since, as far as records tell. Their
/// number is bounded: of those that stay open for ever the oldest are forgotten.
#[derive(Debug, Default)]
pub(super) struct Writing {
    young: FxHashSet<u64>,
    old: FxHashSet<u64>,
}

/// How many files may be in each half of [`Writing`].
const WRITING: usize = 32_768;

impl Writing {
    pub(super) fn opened(&mut self, node: NodeId, name: &[u8]) {
        if self.young.len() >= WRITING {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(Self::key(node, name));
    }

    pub(super) fn closed(&mut self, node: NodeId, name: &[u8]) {
        if self.young.is_empty() && self.old.is_empty() {
            return;
        }
        let key = Self::key(node, name);
        self.young.remove(&key);
        self.old.remove(&key);
    }

    fn has(&self, node: NodeId, name: &[u8]) -> bool {
        let key = Self::key(node, name);
        self.young.contains(&key) || self.old.contains(&key)
    }

    fn key(node: NodeId, name: &[u8]) -> u64 {
        FxBuildHasher.hash_one((node, name))
    }
}

impl Difference {
    /// The event types by which it would have been told. Who has asked for several of them for one
    /// scheduler is told once, by the first.
    pub(super) const fn event_types(self) -> &'static [EventType] {
        match self {
            Self::Came => &[EventType::Create, EventType::CloseWrite, EventType::MovedTo],
            Self::Changed => &[EventType::Modify, EventType::CloseWrite],
            Self::Retouched => &[EventType::Attrib],
            Self::Shifted => &[EventType::MovedTo, EventType::Attrib],
            Self::Closed => &[EventType::CloseWrite],
            Self::Gone => &[EventType::Delete, EventType::MovedFrom],
        }
    }

    /// Whether it is only told in full when the file is closed.
    fn may_be_open(self, entry: &Entry) -> bool {
        match self {
            Self::Came | Self::Changed | Self::Closed => entry.kind == Kind::File,
            Self::Retouched | Self::Shifted | Self::Gone => false,
        }
    }

    fn is_wanted(self, wanted: Mask) -> bool {
        self.event_types().iter().any(|it| wanted.contains(it.mask()))
    }
}

/// What differs between a listing and what was seen. What is as it was may be told all the same,
/// as if it had come.
fn against_seen(
    entries: Vec<Entry>,
    seen: Vec<Seen>,
    is_told: impl Fn(&[u8], Stamp) -> bool,
) -> Vec<(Entry, Difference)> {
    let mut seen: BTreeMap<Box<[u8]>, (Kind, Stamp)> =
        seen.into_iter().map(|it| (it.name, (it.kind, it.stamp))).collect();
    let mut differing = Vec::new();
    for entry in entries {
        let before = seen.remove(&entry.name);
        // What could not be looked at has gone since: its record is in the queue.
        let Some(now) = entry.stamp else { continue };
        let difference = match before {
            None => Difference::Came,
            Some((kind, _)) if kind != entry.kind => Difference::Came,
            Some((_, then)) if (then.ino, then.btime) != (now.ino, now.btime) => Difference::Came,
            Some((Kind::Directory, _)) => continue,
            Some((_, then)) if then == now && !is_told(&entry.name, now) => continue,
            Some((_, then)) if then == now => Difference::Came,
            Some((_, then)) if (then.mtime, then.size) != (now.mtime, now.size) => {
                Difference::Changed
            }
            Some(_) => Difference::Retouched,
        };
        differing.push((entry, difference));
    }
    differing.extend(seen.into_iter().map(|(name, (kind, _))| {
        (Entry { name, kind, closed: Closed::NotAsked, stamp: None }, Difference::Gone)
    }));
    differing
}

/// What of a listing may have changed since a point in time.
fn since(
    entries: Vec<Entry>,
    since: i64,
    is_known: impl Fn(&[u8]) -> bool,
) -> Vec<(Entry, Difference)> {
    let differs = |entry: &Entry| -> Option<Difference> {
        let now = entry.stamp?;
        if entry.kind == Kind::Directory {
            return (!is_known(&entry.name)).then_some(Difference::Came);
        }
        if now.btime >= since {
            Some(Difference::Came)
        } else if now.mtime >= since {
            Some(Difference::Changed)
        } else {
            (now.ctime >= since).then_some(Difference::Shifted)
        }
    };
    entries.into_iter().filter_map(|it| differs(&it).map(|difference| (it, difference))).collect()
}

impl Tree {
    /// Whether what happens to entries of such a directory is kept in the index.
    pub(super) fn indexes(&self, spots: SpotsId) -> bool {
        self.memory.keeps && self.scope.interest(spots).tells_changes()
    }

    /// What the index is asked about a place, and what is listed for it.
    pub(super) fn join(
        &self,
        spots: SpotsId,
        arrival: Arrival,
        here: Option<NodeId>,
    ) -> Option<(Look, Join)> {
        let numbered = here.is_some_and(|it| self.nodes[it].index != IndexId::NONE);
        if numbered || !self.indexes(spots) {
            return None;
        }
        let members = &self.scope.interest(spots).members;
        let everything = Look::Everything { probe: false };
        if members.iter().any(|it| self.memory.familiar.contains(it)) {
            // Also what has come just now: while the trees are read for the first time, it may be a
            // known directory that was moved ahead of the walk.
            Some((everything, Join::Seen))
        } else if arrival == Arrival::Present {
            Some((everything, Join::Baseline))
        } else {
            Some((self.look(spots, arrival), Join::Number))
        }
    }

    /// Notes a directory's number.
    pub(super) fn number(&mut self, node: NodeId, joined: &Joined) {
        match joined {
            Joined::No => (),
            Joined::Number(index) | Joined::Seen(index, _) | Joined::New(index) => {
                self.nodes[node].index = *index;
            }
        }
    }

    /// A node leaves for good, and all below it: the index is not to keep what it had of them.
    pub(super) fn unlist(&mut self, top: NodeId) {
        let left = self.nodes.subtree(top).into_iter().filter(|it| !self.stands_elsewhere(*it));
        let left = left.map(|it| self.nodes[it].index).filter(|it| *it != IndexId::NONE);
        let left: Vec<IndexId> = left.collect();
        self.memory.gone.extend(left);
    }

    /// Whether it is a file that has been met as another Watch's path as well: it has the same number
    /// there.
    fn stands_elsewhere(&self, node: NodeId) -> bool {
        let Node { index, state, .. } = self.nodes[node];
        let mut others = self.nodes.iter().filter(|it| *it != node);
        state.file && others.any(|it| self.nodes[it].index == index)
    }

    /// Takes in the listing of a directory that was entered for the first time since the start.
    pub(super) fn compare(&mut self, node: NodeId, entries: Vec<Entry>, joined: Joined) {
        let members = &self.scope.interest(self.nodes[node].spots).members;
        let is_familiar = members.iter().all(|it| self.memory.familiar.contains(it));
        // What cannot be watched may change without a record.
        self.nodes[node].state.compared = is_familiar && self.nodes.wd(node).is_some();
        let differing = match joined {
            Joined::No | Joined::Number(_) => return,
            Joined::Seen(_, seen) => {
                against_seen(entries, seen, |name, now| self.was_elsewhere(node, name, now))
            }
            Joined::New(_) => entries.into_iter().map(|it| (it, Difference::Came)).collect(),
        };
        self.differ(node, differing);
    }

    /// Whether something is left to do about a file where it was before, in a directory that has
    /// moved meanwhile: the index knows directories wherever they are.
    fn was_elsewhere(&self, node: NodeId, name: &[u8], now: Stamp) -> bool {
        let paths = self.memory.unfinished.get(&(now.ino, now.btime));
        paths.is_some_and(|it| {
            let here = self.place_path_of(node, name);
            it.iter().all(|it| **it != *here)
        })
    }

    /// Takes in the listing of a known directory after records were lost.
    pub(super) fn compare_again(&mut self, node: NodeId, entries: Vec<Entry>, joined: Joined) {
        let Some(lost_since) = self.memory.lost_since else { return };
        let is_known = |name: &[u8]| self.nodes.child(node, name).is_some();
        let is_open = |it: &Entry| it.kind == Kind::File && self.memory.writing.has(node, &it.name);
        let open: Vec<Entry> = entries.iter().filter(|it| is_open(it)).cloned().collect();
        let mut differing = match joined {
            Joined::Seen(_, seen) => {
                let mut differing = against_seen(entries, seen, |_, _| false);
                // The index lags behind: what has not changed since was told before.
                differing.retain(|(entry, _)| entry.stamp.is_none_or(|it| it.ctime >= lost_since));
                differing
            }
            Joined::No | Joined::Number(_) | Joined::New(_) => since(entries, lost_since, is_known),
        };
        let differs: BTreeSet<Box<[u8]>> =
            differing.iter().map(|(entry, _)| entry.name.clone()).collect();
        let closed = open.into_iter().filter(|it| !differs.contains(&it.name));
        differing.extend(closed.map(|it| (it, Difference::Closed)));
        self.differ(node, differing);
    }

    /// What differs is told at the end of the epoch; what may be open for writing is probed before.
    fn differ(&mut self, node: NodeId, mut differing: Vec<(Entry, Difference)>) {
        let wanted = self.scope.interest(self.nodes[node].spots).wanted;
        for (entry, _) in differing.extract_if(.., |(_, it)| !it.is_wanted(wanted)) {
            self.touch(node, &entry.name, entry.kind == Kind::File);
        }
        if wanted.contains(EventType::CloseWrite.mask()) {
            let files = differing.extract_if(.., |(entry, it)| it.may_be_open(entry));
            let files: Vec<_> = files.collect();
            if !files.is_empty() {
                self.memory.differing.insert(node, files);
                self.push_todo(node, Why::Probe);
            }
        }
        self.epochs.list_differing(node, differing);
    }

    /// The names that are to be probed.
    pub(super) fn names_to_probe(&self, node: NodeId) -> Vec<Box<[u8]>> {
        let differing = self.memory.differing.get(&node).into_iter().flatten();
        differing.map(|(entry, _)| entry.name.clone()).collect()
    }

    /// Takes in whether what differs is closed.
    pub(super) fn probed(&mut self, node: NodeId, found: Found) {
        let Some(mut differing) = self.memory.differing.remove(&node) else { return };
        let found: BTreeMap<Box<[u8]>, Entry> =
            self.entries_of(node, found).into_iter().map(|it| (it.name.clone(), it)).collect();
        differing.retain_mut(|(entry, _)| {
            // What is not there any more has gone since: its record is in the queue.
            let Some(now) = found.get(&entry.name) else { return false };
            entry.closed = now.closed;
            entry.stamp = now.stamp.or(entry.stamp);
            true
        });
        self.epochs.list_differing(node, differing);
    }

    /// What was to be probed, and could not be, because its directory was not there: it is taken
    /// to be closed.
    pub(super) fn give_up_probing(&mut self) {
        for (node, mut differing) in std::mem::take(&mut self.memory.differing) {
            if self.nodes.contains(node) {
                for (entry, _) in &mut differing {
                    entry.closed = Closed::Yes;
                }
                self.epochs.list_differing(node, differing);
            }
        }
    }

    /// The entries of what was found; a file is its own only one, and has no name.
    pub(super) fn entries_of(&self, node: NodeId, found: Found) -> Vec<Entry> {
        if !self.nodes[node].state.file {
            return found.entries;
        }
        let Found { kind, closed, stamp, .. } = found;
        vec![Entry { name: Box::default(), kind, closed, stamp }]
    }

    /// A record tells of a name: the index is to look at it anew, and it may have been opened for
    /// writing, or closed.
    pub(super) fn note(&mut self, node: NodeId, name: &[u8], event_type: EventType, is_dir: bool) {
        use EventType as T;
        let awaits_close = !is_dir && self.awaits_closes(node);
        match event_type {
            T::Create | T::Modify => {
                if awaits_close {
                    self.memory.writing.opened(node, name);
                }
                self.touch(node, name, awaits_close);
            }
            T::CloseWrite => {
                self.memory.writing.closed(node, name);
                self.touch_closed(node, name);
            }
            T::Delete | T::MovedFrom => {
                self.memory.writing.closed(node, name);
                self.note_left(node, name);
                self.touch(node, name, false);
            }
            T::Attrib | T::MovedTo => self.touch(node, name, awaits_close),
            T::Access
            | T::CloseNowrite
            | T::Open
            | T::DeleteSelf
            | T::MoveSelf
            | T::Unmount
            | T::QOverflow
            | T::Ignored => (),
        }
    }

    /// An entry of a listing has been told of.
    pub(super) fn note_told(&mut self, node: NodeId, entry: &UntoldEntry) {
        match entry.closed {
            // Its close will come, and be told.
            Closed::No => self.memory.writing.opened(node, &entry.name),
            Closed::Yes | Closed::Unknown | Closed::NotAsked => {
                self.memory.writing.closed(node, &entry.name);
                match entry.kind {
                    Kind::File => self.touch_closed(node, &entry.name),
                    Kind::Directory | Kind::Other => self.touch(node, &entry.name, false),
                }
            }
        }
    }

    /// A file was closed. It may be open again, and written to, when the index looks at it: that
    /// state is not what has been told of.
    fn touch_closed(&mut self, node: NodeId, name: &[u8]) {
        let is_seen = self.nodes[node].mask.intersects(looks());
        self.touch(node, name, self.awaits_closes(node) && !is_seen);
    }

    fn awaits_closes(&self, node: NodeId) -> bool {
        let interest = self.scope.interest(self.nodes[node].spots);
        interest.wanted.contains(EventType::CloseWrite.mask())
    }

    /// What the index has of a name is of yesterday. With `probe` it may be open for writing.
    fn touch(&mut self, node: NodeId, name: &[u8], probe: bool) {
        let Node { index, mask, .. } = self.nodes[node];
        if index == IndexId::NONE {
            return;
        }
        if probe && mask.intersects(looks()) {
            // A probe would be seen. Its close will come; if it does not, it is told twice.
            return;
        }
        if let Some(Outdated::Name(last)) = self.memory.outdated.back()
            && (last.index, &*last.name, last.probe) == (index, name, probe)
        {
            return;
        }
        let path = self.place_path_of(node, name);
        let touch = Touch { index, name: name.into(), path, probe };
        self.memory.outdated.push_back(Outdated::Name(touch));
    }

    fn note_left(&mut self, node: NodeId, name: &[u8]) {
        let index = self.nodes[node].index;
        if index != IndexId::NONE {
            self.memory.outdated.push_back(Outdated::Left { index, name: name.into() });
        }
    }

    /// What stands at `node` was at `from` before: so were paths that the index has been told.
    pub(super) fn note_moved(&mut self, node: NodeId, from: Arc<[u8]>) {
        if self.memory.keeps {
            let to = self.path(node).into();
            self.memory.outdated.push_back(Outdated::Paths { from, to });
        }
    }
}

/// The types by which a probe would be seen.
fn looks() -> Mask {
    EventType::Open.mask().with(EventType::CloseNowrite.mask())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ino: u64, ctime: i64, mtime: i64) -> Stamp {
        Stamp { ino, ctime, mtime, btime: 5, size: 9 }
    }

    fn entry(name: &str, kind: Kind, stamp: Stamp) -> Entry {
        Entry { name: name.as_bytes().into(), kind, closed: Closed::NotAsked, stamp: Some(stamp) }
    }

    fn seen(name: &str, kind: Kind, stamp: Stamp) -> Seen {
        Seen { name: name.as_bytes().into(), kind, stamp }
    }

    fn named(differing: Vec<(Entry, Difference)>) -> Vec<(String, Difference)> {
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        differing.into_iter().map(|(entry, it)| (text(&entry.name), it)).collect()
    }

    #[test]
    fn only_what_differs_is_told_and_how() {
        use Kind::{Directory, File};
        let entries = vec![
            entry("same", File, stamp(1, 10, 10)),
            entry("written", File, stamp(2, 20, 20)),
            entry("chmod", File, stamp(3, 20, 10)),
            entry("replaced", File, stamp(44, 20, 10)),
            entry("new", File, stamp(5, 20, 20)),
            entry("dir", Directory, stamp(6, 20, 20)),
            entry("other dir", Directory, stamp(77, 20, 20)),
            entry("was a file", Directory, stamp(8, 20, 20)),
        ];
        let then = vec![
            seen("same", File, stamp(1, 10, 10)),
            seen("written", File, stamp(2, 10, 10)),
            seen("chmod", File, stamp(3, 10, 10)),
            seen("replaced", File, stamp(4, 10, 10)),
            seen("dir", Directory, stamp(6, 10, 10)),
            seen("other dir", Directory, stamp(7, 10, 10)),
            seen("was a file", File, stamp(8, 10, 10)),
            seen("away", File, stamp(9, 10, 10)),
        ];
        let expected = [
            ("written", Difference::Changed),
            ("chmod", Difference::Retouched),
            ("replaced", Difference::Came),
            ("new", Difference::Came),
            ("other dir", Difference::Came),
            ("was a file", Difference::Came),
            ("away", Difference::Gone),
        ];
        let expected: Vec<_> = expected.map(|(name, it)| (name.to_owned(), it)).into();
        assert_eq!(named(against_seen(entries, then, |_, _| false)), expected);
    }

    #[test]
    fn without_an_index_times_tell() {
        let file = |name, ctime, mtime, btime| {
            entry(name, Kind::File, Stamp { ino: 1, ctime, mtime, btime, size: 0 })
        };
        let entries = vec![
            file("old", 9, 9, 1),
            file("made", 10, 10, 10),
            file("written", 11, 11, 1),
            file("moved or touched", 11, 9, 1),
            entry("known", Kind::Directory, stamp(2, 20, 20)),
            entry("unknown", Kind::Directory, stamp(3, 1, 1)),
        ];
        let expected = [
            ("made", Difference::Came),
            ("written", Difference::Changed),
            ("moved or touched", Difference::Shifted),
            ("unknown", Difference::Came),
        ];
        let expected: Vec<_> = expected.map(|(name, it)| (name.to_owned(), it)).into();
        assert_eq!(named(since(entries, 10, |it| it == b"known")), expected);
    }
}
