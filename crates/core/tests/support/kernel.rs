//! A kernel that is none.
//!
//! It has inodes, names, watches with masks, a queue with a limit that merges equal neighbours,
//! barriers, and one thing that makes life hard for the tree: entering a directory is not atomic.
//! Between opening it, watching it and listing it, anything may happen.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(dead_code, reason = "no test needs all of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pyinotifyd_core::{
    event::{EventType, Mask},
    path,
    record::Wd,
    stamp::{Identity, Stamp},
    tree::{Closed, DirId, Enter, EnterError, Entry, Found, Joined, Kind, Look, Ticket},
};

pub(crate) type Ino = usize;

#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) wd: Wd,
    pub(crate) mask: Mask,
    pub(crate) cookie: u32,
    pub(crate) name: String,
}

#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) dirs: BTreeMap<Ino, BTreeMap<String, (Ino, bool)>>,
    /// Files that somebody has open for writing.
    pub(crate) writing: BTreeSet<Ino>,
    pub(crate) watches: BTreeMap<Ino, (Wd, Mask)>,
    /// How often a directory is open: a deleted one lives on, and its watch with it, until it is not.
    pins: BTreeMap<Ino, usize>,
    /// Deleted and still open, and where they were.
    dying: BTreeMap<Ino, Ino>,
    pub(crate) queue: VecDeque<Queued>,
    pub(crate) limit: usize,
    last_ino: Ino,
    last_wd: i32,
    last_cookie: u32,
    /// Whether `/` may hold anything, not only what histories are about.
    free: bool,
    /// What a mount hides: by the mounted directory, the one below.
    hidden: BTreeMap<Ino, Ino>,
    /// What each inode's times are, by a clock of its own that never stands still.
    times: BTreeMap<Ino, Times>,
    pub(crate) clock: i64,
    /// When the queue was last empty.
    empty: i64,
    /// What happened before this has not been lost.
    pub(crate) lost_since: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    made: i64,
    written: i64,
    changed: i64,
}

impl Kernel {
    /// `/r` and `/o`: the first is mostly watched, the second mostly not.
    pub(crate) fn new(limit: usize) -> Self {
        let mut kernel = Self { limit, ..Self::default() };
        kernel.dirs.insert(0, BTreeMap::from([("r".into(), (1, true)), ("o".into(), (2, true))]));
        kernel.dirs.insert(1, BTreeMap::new());
        kernel.dirs.insert(2, BTreeMap::new());
        kernel.last_ino = 2;
        kernel
    }

    pub(crate) fn push(
        &mut self,
        ino: Ino,
        event_type: EventType,
        is_dir: bool,
        cookie: u32,
        name: &str,
    ) {
        let Some(&(wd, mask)) = self.watches.get(&ino) else { return };
        if mask.contains(event_type.mask()) {
            let kind = if is_dir { Mask::ISDIR } else { Mask::NONE };
            let mask = event_type.mask().with(kind);
            self.queue_up(Queued { wd, mask, cookie, name: name.into() });
        }
    }

    pub(crate) fn queue_up(&mut self, record: Queued) {
        if self.queue.is_empty() {
            self.empty = self.clock;
        }
        if self.queue.len() >= self.limit {
            // There is one overflow record at most.
            if !self.queue.iter().any(|it| it.wd == Wd::NONE) {
                self.overflow();
            }
            return;
        }
        let same = |last: &Queued| {
            (last.wd, last.mask, last.cookie, &last.name)
                == (record.wd, record.mask, record.cookie, &record.name)
        };
        if !self.queue.back().is_some_and(same) {
            self.queue.push_back(record);
        }
    }

    pub(crate) fn overflow(&mut self) {
        self.lost_since = self.empty;
        let mask = EventType::QOverflow.mask();
        self.queue.push_back(Queued { wd: Wd::NONE, mask, cookie: 0, name: String::new() });
    }

    pub(crate) fn resolve(&self, at: &[u8]) -> Option<(Ino, bool)> {
        let mut ino = (0, true);
        for name in path::names(at) {
            let entries = self.dirs.get(&ino.0).filter(|_| ino.1)?;
            ino = *entries.get(str::from_utf8(name).ok()?)?;
        }
        Some(ino)
    }

    pub(crate) fn below(&self, at: Ino, prefix: &str, out: &mut Vec<(String, Ino, bool)>) {
        for (name, (ino, is_dir)) in &self.dirs[&at] {
            let path = format!("{prefix}/{name}");
            out.push((path.clone(), *ino, *is_dir));
            if *is_dir {
                self.below(*ino, &path, out);
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<(String, Ino, bool)> {
        let mut out = Vec::new();
        self.below(0, "", &mut out);
        out
    }

    pub(crate) fn nth_dir(&self, n: usize) -> Ino {
        let dirs: Vec<Ino> = self.all().into_iter().filter(|it| it.2).map(|it| it.1).collect();
        dirs[n % dirs.len()]
    }

    /// By what a directory is known again.
    pub(crate) fn identity(&self, ino: Ino) -> Identity {
        Identity { ino: ino as u64, btime: self.stamp(ino).btime, dev: 0 }
    }

    /// An inode's state.
    pub(crate) fn stamp(&self, ino: Ino) -> Stamp {
        let Times { made, written, changed } = self.times.get(&ino).copied().unwrap_or_default();
        let ino = ino as u64;
        Stamp { ino, ctime: changed, mtime: written, btime: made, size: 0 }
    }

    /// Something of an inode changes, and its content if it is `written`.
    pub(crate) fn change(&mut self, ino: Ino, written: bool) {
        self.clock += 1;
        let now = self.clock;
        let times =
            self.times.entry(ino).or_insert(Times { made: now, written: now, changed: now });
        times.changed = now;
        if written {
            times.written = now;
        }
    }

    pub(crate) fn create(&mut self, dir: Ino, name: &str, is_dir: bool) -> Option<Ino> {
        // Nothing but `/r` and `/o` is in `/`, so that a history is about them.
        let strange = dir == 0 && !["r", "o"].contains(&name);
        if (strange && !self.free) || self.dirs[&dir].contains_key(name) {
            return None;
        }
        self.last_ino += 1;
        let ino = self.last_ino;
        self.change(ino, true);
        if is_dir {
            self.dirs.insert(ino, BTreeMap::new());
        } else {
            self.writing.insert(ino);
        }
        self.dirs.get_mut(&dir).unwrap().insert(name.into(), (ino, is_dir));
        self.push(dir, EventType::Create, is_dir, 0, name);
        Some(ino)
    }

    pub(crate) fn close(&mut self, dir: Ino, name: &str) {
        if let Some(&(ino, false)) = self.dirs[&dir].get(name)
            && self.writing.remove(&ino)
        {
            self.push(dir, EventType::CloseWrite, false, 0, name);
        }
    }

    pub(crate) fn remove(&mut self, dir: Ino, name: &str) {
        let Some(&(ino, is_dir)) = self.dirs[&dir].get(name) else { return };
        if (is_dir && !self.dirs[&ino].is_empty()) || (name == "o" && !self.free) {
            return;
        }
        self.dirs.get_mut(&dir).unwrap().remove(name);
        self.evict(ino, dir);
        self.push(dir, EventType::Delete, is_dir, 0, name);
    }

    pub(crate) fn evict(&mut self, ino: Ino, parent: Ino) {
        self.dirs.remove(&ino);
        self.writing.remove(&ino);
        self.dying.insert(ino, parent);
        self.bury(ino);
    }

    pub(crate) fn bury(&mut self, ino: Ino) {
        if self.pins.get(&ino).is_none_or(|it| *it == 0) && self.dying.remove(&ino).is_some() {
            self.push(ino, EventType::DeleteSelf, false, 0, "");
            self.unwatch(ino);
        }
    }

    pub(crate) fn pin(&mut self, ino: Ino) {
        *self.pins.entry(ino).or_default() += 1;
    }

    pub(crate) fn unpin(&mut self, ino: Ino) {
        *self.pins.get_mut(&ino).expect("it was pinned") -= 1;
        self.bury(ino);
    }

    pub(crate) fn rename(&mut self, from: Ino, a: &str, to: Ino, b: &str) {
        let Some(&(ino, is_dir)) = self.dirs[&from].get(a) else { return };
        let fixed = (from == 0 || to == 0) && !self.free;
        if (from, a) == (to, b) || fixed || (is_dir && self.inside(ino, to)) {
            return;
        }
        let victim = self.dirs[&to].get(b).copied();
        if let Some((old, old_dir)) = victim
            && (old_dir != is_dir || (old_dir && !self.dirs[&old].is_empty()))
        {
            return;
        }
        self.dirs.get_mut(&from).unwrap().remove(a);
        self.dirs.get_mut(&to).unwrap().insert(b.into(), (ino, is_dir));
        self.change(ino, false);
        self.moved((from, a), (to, b), ino, is_dir);
        if let Some((old, _)) = victim {
            self.evict(old, to);
        }
    }

    pub(crate) fn exchange(&mut self, from: Ino, a: &str, to: Ino, b: &str) {
        let one = self.dirs[&from].get(a).copied();
        let other = self.dirs[&to].get(b).copied();
        let (Some(one), Some(other)) = (one, other) else { return };
        let loops = (one.1 && self.inside(one.0, to)) || (other.1 && self.inside(other.0, from));
        if from == 0 || to == 0 || one == other || loops {
            return;
        }
        self.change(one.0, false);
        self.change(other.0, false);
        self.dirs.get_mut(&from).unwrap().insert(a.into(), other);
        self.dirs.get_mut(&to).unwrap().insert(b.into(), one);
        self.moved((from, a), (to, b), one.0, one.1);
        self.moved((to, b), (from, a), other.0, other.1);
    }

    pub(crate) fn moved(&mut self, from: (Ino, &str), to: (Ino, &str), ino: Ino, is_dir: bool) {
        self.last_cookie += 1;
        let cookie = self.last_cookie;
        self.push(from.0, EventType::MovedFrom, is_dir, cookie, from.1);
        self.push(to.0, EventType::MovedTo, is_dir, cookie, to.1);
        self.push(ino, EventType::MoveSelf, false, 0, "");
    }

    pub(crate) fn inside(&self, top: Ino, at: Ino) -> bool {
        top == at || self.dirs[&top].values().any(|(ino, dir)| *dir && self.inside(*ino, at))
    }

    pub(crate) fn unwatch(&mut self, ino: Ino) {
        if let Some((wd, _)) = self.watches.remove(&ino) {
            let mask = EventType::Ignored.mask();
            self.queue_up(Queued { wd, mask, cookie: 0, name: String::new() });
        }
    }

    pub(crate) fn watch(&mut self, ino: Ino, mask: Mask, add: bool) -> Wd {
        let (wd, old) = *self.watches.entry(ino).or_insert_with(|| {
            self.last_wd += 1;
            (Wd(self.last_wd), Mask::NONE)
        });
        self.watches.insert(ino, (wd, if add { old.with(mask) } else { mask }));
        wd
    }

    pub(crate) fn leave(&mut self, wd: Wd) {
        let found = self.watches.iter().find(|(_, it)| it.0 == wd).map(|(ino, _)| *ino);
        if let Some(ino) = found {
            self.unwatch(ino);
        }
    }

    pub(crate) fn barrier(&mut self) -> Wd {
        self.last_wd += 1;
        let (wd, mask) = (Wd(self.last_wd), EventType::Ignored.mask());
        self.queue_up(Queued { wd, mask, cookie: 0, name: String::new() });
        wd
    }

    /// Whoever watched ends: its watches and its queue are gone, and nothing is held open.
    pub(crate) fn let_go(&mut self) {
        self.watches.clear();
        self.queue.clear();
        self.pins.clear();
        self.dying.clear();
    }

    pub(crate) fn parent_of(&self, ino: Ino) -> Ino {
        if let Some(parent) = self.dying.get(&ino) {
            return *parent;
        }
        let holds = |it: &BTreeMap<String, (Ino, bool)>| it.values().any(|(at, _)| *at == ino);
        self.dirs.iter().find(|(_, it)| holds(it)).map_or(0, |(at, _)| *at)
    }
}

/// What scripts say, by paths.
impl Kernel {
    /// Nothing but `/`, where anything may be.
    pub(crate) fn free() -> Self {
        let dirs = BTreeMap::from([(0, BTreeMap::new())]);
        Self { limit: 16_384, free: true, dirs, ..Self::default() }
    }

    /// The directory that a path's last name is in, and that name.
    ///
    /// # Panics
    ///
    /// If that directory does not exist.
    pub(crate) fn split<'a>(&self, at: &'a str) -> (Ino, &'a str) {
        let (dir, name) = path::split(at.as_bytes()).expect("a path has a name");
        let found = self.resolve(dir).filter(|it| it.1);
        let (dir, _) = found.unwrap_or_else(|| panic!("{at}: no such directory"));
        (dir, str::from_utf8(name).expect("part of a text"))
    }

    /// The entry at a path: its directory, its name, what it is.
    ///
    /// # Panics
    ///
    /// If nothing is there.
    pub(crate) fn entry<'a>(&self, at: &'a str) -> (Ino, &'a str, Ino, bool) {
        let (dir, name) = self.split(at);
        let (ino, is_dir) =
            *self.dirs[&dir].get(name).unwrap_or_else(|| panic!("{at}: no such file or directory"));
        (dir, name, ino, is_dir)
    }

    /// Tells of something that happened to an entry: whoever watches its directory, and whoever
    /// watches the entry itself.
    pub(crate) fn tell(&mut self, dir: Ino, name: &str, event_type: EventType) {
        let Some(&(ino, is_dir)) = self.dirs[&dir].get(name) else { return };
        match event_type {
            EventType::Modify => self.change(ino, true),
            EventType::Attrib => self.change(ino, false),
            _ => (),
        }
        self.push(dir, event_type, is_dir, 0, name);
        self.push(ino, event_type, is_dir, 0, "");
    }

    /// Opens a file for writing, which makes it if it is not there, and writes to it.
    pub(crate) fn open_to_write(&mut self, dir: Ino, name: &str) {
        match self.dirs[&dir].get(name).copied() {
            Some((_, true)) => return,
            Some((ino, false)) => {
                self.writing.insert(ino);
            }
            None if self.create(dir, name, false).is_none() => return,
            None => (),
        }
        self.tell(dir, name, EventType::Open);
        self.tell(dir, name, EventType::Modify);
    }

    /// Closes a file that was open for writing.
    pub(crate) fn close_written(&mut self, dir: Ino, name: &str) -> bool {
        let Some(&(ino, false)) = self.dirs[&dir].get(name) else { return false };
        let was_open = self.writing.remove(&ino);
        if was_open {
            self.tell(dir, name, EventType::CloseWrite);
        }
        was_open
    }

    /// Removes a directory with all that is in it, or a file.
    pub(crate) fn remove_all(&mut self, dir: Ino, name: &str) {
        if let Some(&(ino, true)) = self.dirs[&dir].get(name) {
            let names: Vec<String> = self.dirs[&ino].keys().cloned().collect();
            for name in names {
                self.remove_all(ino, &name);
            }
        }
        self.remove(dir, name);
    }

    /// Mounts an empty file system over a directory.
    pub(crate) fn mount(&mut self, at: &str) {
        let (dir, name, old, _) = self.entry(at);
        self.last_ino += 1;
        let new = self.last_ino;
        self.dirs.insert(new, BTreeMap::new());
        self.dirs.get_mut(&dir).unwrap().insert(name.into(), (new, true));
        self.hidden.insert(new, old);
    }

    /// Takes a mounted file system away.
    ///
    /// # Panics
    ///
    /// If none is mounted there.
    pub(crate) fn unmount(&mut self, at: &str) {
        let mounted = self.detach(at);
        let mut inside = Vec::new();
        self.below(mounted, "", &mut inside);
        for ino in inside.into_iter().map(|it| it.1).chain([mounted]) {
            if let Some(&(wd, _)) = self.watches.get(&ino) {
                let mask = EventType::Unmount.mask();
                self.queue_up(Queued { wd, mask, cookie: 0, name: String::new() });
                self.unwatch(ino);
            }
            self.dirs.remove(&ino);
        }
    }

    /// Takes a mounted file system away that lives on.
    ///
    /// # Panics
    ///
    /// If none is mounted there.
    pub(crate) fn detach(&mut self, at: &str) -> Ino {
        let (dir, name, mounted, _) = self.entry(at);
        let old = self.hidden.remove(&mounted).unwrap_or_else(|| panic!("{at}: not mounted"));
        self.dirs.get_mut(&dir).unwrap().insert(name.into(), (old, true));
        mounted
    }
}

/// One Enter on its way: what has been done of it so far.
#[derive(Debug)]
pub(crate) enum Walk {
    Asked(Enter),
    Opened(Enter, Ino, bool),
    Watched(Enter, Ino, bool, Wd),
    Done(Ticket, Result<Found, EnterError>),
}

pub(crate) fn dir_id(ino: Ino) -> DirId {
    DirId { dev: 1, ino: ino as u64 }
}

impl Walk {
    pub(crate) fn step(self, kernel: &mut Kernel) -> Self {
        match self {
            Self::Asked(enter) => match kernel.resolve(&enter.path) {
                None => Self::Done(enter.ticket, Err(EnterError::Missing)),
                Some((_, false)) if enter.only_dir => {
                    Self::Done(enter.ticket, Err(EnterError::Missing))
                }
                Some((ino, is_dir)) => {
                    kernel.pin(ino);
                    Self::Opened(enter, ino, is_dir)
                }
            },
            Self::Opened(enter, ino, is_dir) => {
                let wd = kernel.watch(ino, enter.mask, enter.add);
                Self::Watched(enter, ino, is_dir, wd)
            }
            Self::Watched(enter, ino, is_dir, wd) => {
                let listed = kernel.dirs.get(&ino).cloned().unwrap_or_default();
                let probe = matches!(enter.look, Look::Everything { probe: true } | Look::Named);
                let entries = listed.into_iter().filter_map(|(name, (ino, is_dir))| {
                    let wanted = match enter.look {
                        Look::Nothing => false,
                        Look::Directories => is_dir,
                        Look::Everything { .. } => true,
                        Look::Named => enter.names.iter().any(|it| **it == *name.as_bytes()),
                    };
                    let kind = if is_dir { Kind::Directory } else { Kind::File };
                    let closed = match (probe && !is_dir, kernel.writing.contains(&ino)) {
                        (false, _) => Closed::NotAsked,
                        (true, true) => Closed::No,
                        (true, false) => Closed::Yes,
                    };
                    let stamp = enter.stamps.then(|| kernel.stamp(ino));
                    let name = name.into_bytes().into_boxed_slice();
                    wanted.then_some(Entry { name, kind, closed, stamp })
                });
                let found = Found {
                    wd: Ok(wd),
                    id: dir_id(ino),
                    parent: is_dir.then(|| dir_id(kernel.parent_of(ino))),
                    mount: 1,
                    linked: false,
                    kind: if is_dir { Kind::Directory } else { Kind::File },
                    closed: if kernel.writing.contains(&ino) { Closed::No } else { Closed::Yes },
                    entries: entries.collect(),
                    reads: 1,
                    opened: false,
                    identity: kernel.identity(ino),
                    stamp: enter.stamps.then(|| kernel.stamp(ino)),
                    joined: Joined::No,
                };
                kernel.unpin(ino);
                Self::Done(enter.ticket, Ok(found))
            }
            done @ Self::Done(..) => done,
        }
    }
}
