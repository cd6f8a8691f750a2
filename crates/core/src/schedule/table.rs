//! What the schedule knows of each subject of each scheduler, found by its path or by a directory
//! above it.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::BTreeMap,
    ops::{Bound, Index},
    sync::Arc,
};

use hashbrown::HashTable;

use super::{
    hash::HashKey,
    slab::{Links, List, NIL, Slab},
};
use crate::path;

/// The number of a scheduler, kept over a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneId(pub u16);

/// What a [`Table`] holds: at most one value for each subject of a lane.
pub(super) trait Entry {
    /// Of which scheduler it is.
    fn lane(&self) -> LaneId;
    /// The subject's path; empty when the scheduler has one subject for all.
    fn subject(&self) -> &[u8];
    /// The path that is followed when it is renamed.
    fn path(&self) -> &Arc<[u8]>;
    /// Where it is in the table.
    fn spot(&self) -> &Spot;
    /// Where it is in the table.
    fn spot_mut(&mut self) -> &mut Spot;
}

/// Where an entry is in its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    hash: u64,
    /// The directory under which it is found; `NIL`: under none.
    dir: u32,
    links: Links,
}

impl Spot {
    /// In no table.
    pub(super) const NONE: Self = Self { hash: 0, dir: NIL, links: Links::NONE };
}

/// Entries by key, by subject, and by the directory that their path is in.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Slab<T>,
    by_subject: HashTable<u32>,
    dirs: Slab<Dir>,
    by_dir: BTreeMap<DirPath, u32>,
    hash_key: HashKey,
}

/// A directory whose own entries are listed; never without any.
#[derive(Debug)]
struct Dir {
    path: DirPath,
    entries: List,
}

/// The path of a directory, as the beginning of a path in it: no copy is made.
#[derive(Clone, Debug)]
struct DirPath {
    path: Arc<[u8]>,
    len: usize,
}

impl<T: Entry> Table<T> {
    pub(super) fn new(hash_key: HashKey) -> Self {
        Self {
            entries: Slab::default(),
            by_subject: HashTable::new(),
            dirs: Slab::default(),
            by_dir: BTreeMap::new(),
            hash_key,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, key: u32) -> bool {
        self.entries.contains(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries.iter()
    }

    /// The keys that are taken now.
    pub(super) fn keys(&self) -> Vec<u32> {
        self.entries.keys()
    }

    /// The entry of a subject.
    pub(super) fn find(&self, lane: LaneId, subject: &[u8]) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let hash = self.hash_key.hash(lane.0, subject);
        let is_it = |key: &u32| {
            let entry = &self.entries[*key];
            entry.spot().hash == hash && entry.lane() == lane && entry.subject() == subject
        };
        self.by_subject.find(hash, is_it).copied()
    }

    /// Adds an entry. Its subject must have none.
    pub(super) fn insert(&mut self, mut entry: T, follow: bool) -> u32 {
        debug_assert_eq!(self.find(entry.lane(), entry.subject()), None);
        let hash = self.hash_key.hash(entry.lane().0, entry.subject());
        *entry.spot_mut() = Spot { hash, ..Spot::NONE };
        let key = self.entries.insert(entry);
        self.hash(key, hash);
        self.follow(key, follow);
        key
    }

    /// Takes an entry out. When it was the last, the memory of a flood is given back.
    pub(super) fn remove(&mut self, key: u32) -> T {
        self.follow(key, false);
        self.unhash(key, self.entries[key].spot().hash);
        if self.by_subject.is_empty() && self.by_subject.capacity() > 1024 {
            self.by_subject = HashTable::new();
        }
        self.entries.remove(key)
    }

    /// An entry, to change what is not part of its subject and path.
    pub(super) fn get_mut(&mut self, key: u32) -> &mut T {
        &mut self.entries[key]
    }

    /// The slab, for the lists that run through it.
    pub(super) fn slab_mut(&mut self) -> &mut Slab<T> {
        &mut self.entries
    }

    /// The slab, to read the lists that run through it.
    pub(super) fn slab(&self) -> &Slab<T> {
        &self.entries
    }

    /// Changes an entry's path or subject. The new subject must have no other entry. Whether it is
    /// followed cannot be read off the old path: an empty one is in no directory.
    pub(super) fn rename(&mut self, key: u32, follow: bool, change: impl FnOnce(&mut T)) {
        let Spot { hash: old, .. } = *self.entries[key].spot();
        self.follow(key, false);
        change(&mut self.entries[key]);
        let entry = &self.entries[key];
        let hash = self.hash_key.hash(entry.lane().0, entry.subject());
        if hash != old {
            self.unhash(key, old);
            self.entries[key].spot_mut().hash = hash;
            self.hash(key, hash);
        }
        self.follow(key, follow);
    }

    /// Has the entry found by [`Table::below`], or no longer.
    pub(super) fn follow(&mut self, key: u32, follow: bool) {
        let old = self.entries[key].spot().dir;
        if follow == (old != NIL) {
            return;
        }
        if follow {
            let Some(path) = DirPath::above(self.entries[key].path()) else { return };
            let known = self.by_dir.get(path.as_bytes()).copied();
            let dir = known.unwrap_or_else(|| {
                let dir = self.dirs.insert(Dir { path: path.clone(), entries: List::EMPTY });
                self.by_dir.insert(path, dir);
                dir
            });
            self.entries[key].spot_mut().dir = dir;
            self.dirs[dir].entries.push_back(&mut self.entries, key, Self::links);
        } else {
            self.dirs[old].entries.remove(&mut self.entries, key, Self::links);
            self.entries[key].spot_mut().dir = NIL;
            if self.dirs[old].entries.is_empty() {
                let dir = self.dirs.remove(old);
                self.by_dir.remove(dir.path.as_bytes());
            }
        }
    }

    /// The followed entries in `dir` and below it. Costs by how many those are.
    pub(super) fn below(&self, dir: &[u8]) -> Vec<u32> {
        // Between `/a` and `/a/b`, `/a!` may lie; between `/a/` and `/a0` nothing else does.
        let [mut first, mut last] = [dir.to_vec(), dir.to_vec()];
        if dir == b"/" {
            last[0] += 1;
        } else {
            first.push(b'/');
            last.push(b'/' + 1);
        }
        let own = self.by_dir.get(dir).filter(|_| dir != b"/");
        let range = (Bound::Included(&first[..]), Bound::Excluded(&last[..]));
        let rest = self.by_dir.range::<[u8], _>(range).map(|(_, dir)| dir);
        own.into_iter()
            .chain(rest)
            .flat_map(|dir| self.dirs[*dir].entries.iter(&self.entries, |it| it.spot().links))
            .collect()
    }

    /// Panics unless the tables agree with each other.
    pub(super) fn verify_invariants(&self, follows: impl Fn(LaneId) -> bool) {
        assert_eq!(self.by_subject.len(), self.entries.len());
        let mut followed = 0;
        for (key, entry) in self.entries.iter() {
            assert_eq!(self.find(entry.lane(), entry.subject()), Some(key));
            let above = DirPath::above(entry.path());
            if follows(entry.lane())
                && let Some(above) = above
            {
                let dir = self.by_dir[above.as_bytes()];
                assert_eq!(entry.spot().dir, dir);
                followed += 1;
            } else {
                assert_eq!(entry.spot().dir, NIL);
            }
        }
        assert_eq!(self.by_dir.len(), self.dirs.len());
        let mut listed = 0;
        for (path, dir) in &self.by_dir {
            let dir = &self.dirs[*dir];
            assert_eq!(dir.path.as_bytes(), path.as_bytes());
            assert!(!dir.entries.is_empty(), "a directory without entries is forgotten");
            listed += dir.entries.iter(&self.entries, |it| it.spot().links).count();
        }
        assert_eq!(listed, followed);
    }

    fn hash(&mut self, key: u32, hash: u64) {
        let entries = &self.entries;
        self.by_subject.insert_unique(hash, key, |key| entries[*key].spot().hash);
    }

    fn unhash(&mut self, key: u32, hash: u64) {
        match self.by_subject.find_entry(hash, |it| *it == key) {
            Ok(found) => found.remove(),
            Err(_) => unreachable!("an entry is found by its subject"),
        };
    }

    fn links(entry: &mut T) -> &mut Links {
        &mut entry.spot_mut().links
    }
}

impl<T> Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, key: u32) -> &T {
        &self.entries[key]
    }
}

impl DirPath {
    /// The directory that a path's last name is in.
    fn above(path: &Arc<[u8]>) -> Option<Self> {
        let (dir, _) = path::split(path)?;
        Some(Self { len: dir.len(), path: Arc::clone(path) })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.path[..self.len]
    }
}

impl Borrow<[u8]> for DirPath {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for DirPath {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for DirPath {}

impl PartialOrd for DirPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DirPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}
