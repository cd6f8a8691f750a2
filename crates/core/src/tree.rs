//! Which directory each watch descriptor stands for.
//!
//! inotify watches one directory, not what is below it, and tells of names, not of paths. The
//! [`Tree`] makes up for both. It takes in the kernel's records, asks its caller to enter
//! directories (watch, then list), and gives out what happened with its place.
//!
//! # Theory of operation
//!
//! There is one tree for all Watches, from `/` down. Its nodes are the directories on the way to
//! the Watches' roots, the roots, and what is watched below them; [`crate::scope`] says which. A
//! node is *known* by its watch descriptor, which the kernel never gives to another inode while it
//! lives, and *placed* by its parent and its name. Paths are computed. So a rename changes one
//! field, and an answer for a path that has gone stale meanwhile can be seen to be stale: its
//! descriptor is that of a node which stands elsewhere, or its parent is not the expected one.
//!
//! The caller hands over no record between an [`Ask::Enter`] and its answer, and puts a barrier into
//! the queue when all have been answered (see `tree::settle`). While a node is settling, records about
//! its place may be older than the node: they are answered by entering the place again, which
//! tells the truth. Once it has settled, records are the truth.
//!
//! Who is told of events takes along, with each move, what was told before. That is held against the
//! tree as well, and what is not believed to be where it is is told of again (see `tree::beliefs`): so
//! nothing is lost by records and listings that contradict each other.
//!
//! A directory that leaves its place by `IN_MOVED_FROM` is in no place until `IN_MOVED_TO` puts it into
//! one. Its own `IN_MOVE_SELF` comes behind both, so if it is still in no place then, it has left the
//! watched area; no timer is needed.
//!
//! The same inode may be seen at several places (bind mounts, symbolic links in a Watch's path, hard
//! links of watched files). Two places of one inode in the same mount, reached without links, can
//! only be a directory that has moved; otherwise it is shared, and each place has its own node.

mod beliefs;
mod compare;
mod entering;
mod nodes;
mod placing;
mod records;
mod settle;
mod settling;
mod watched;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use rustc_hash::{FxHashMap, FxHashSet};

pub use self::nodes::NodeId;
use self::{
    beliefs::Beliefs,
    compare::{Difference, Writing},
    nodes::Nodes,
    settle::Epochs,
};
use crate::{
    event::{EventType, Mask, Origin},
    path,
    plan::WatchId,
    record::{Record, Wd},
    scope::{Arrival, Scope, SpotsId},
    stamp::{Identity, IndexId, Stamp},
};

/// How many departures without a second half are remembered. Pairs were measured at most 42 events
/// apart (Linux 6.18, two cores).
const DEPARTURES: usize = 4096;

/// How many directories are entered at once: enough to keep walkers busy, and few enough not to
/// matter.
const FLIGHTS: usize = 256;

/// Which inode something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// Joins an answer to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Open, watch and list what is at a path; answer with [`Tree::handle_entered`]. No record may
    /// be handled before that.
    Enter(Enter),
    /// Remove this watch.
    Leave(Wd),
    /// Put a record behind everything that is in the queue; answer with [`Tree::handle_barrier`].
    Barrier,
}

/// See [`Ask::Enter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enter {
    /// To be given back with the answer.
    pub ticket: Ticket,
    /// Absolute. May be longer than `PATH_MAX`.
    pub path: Vec<u8>,
    /// How many bytes of the path may go through symbolic links: what the configuration names.
    pub trusted: usize,
    /// What to ask of the kernel.
    pub mask: Mask,
    /// Whether `mask` is added to what the inode's watch already asks for (`IN_MASK_ADD`).
    pub add: bool,
    /// Whether anything but a directory is as good as nothing.
    pub only_dir: bool,
    /// What to list.
    pub look: Look,
    /// Of which entries to tell more, for [`Look::Named`]; else empty.
    pub names: Vec<Box<[u8]>>,
    /// Whether each entry's stamp is wanted.
    pub stamps: bool,
    /// Whether it is looked up in the index of what was seen.
    pub join: Join,
}

/// What the index is asked about a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Nothing: there is none, or its number is known.
    No,
    /// Its number, and what was seen in it.
    Seen,
    /// Its number: all that is in it is told of.
    Number,
    /// Its number: what is in it has been there all along, and counts as seen.
    Baseline,
}

/// The index's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Joined {
    /// It was not asked, or could not answer.
    #[default]
    No,
    /// The directory's number.
    Number(IndexId),
    /// The directory's number, and what was seen in it.
    Seen(IndexId, Vec<Seen>),
    /// The number of a directory that was never seen.
    New(IndexId),
}

/// Which entries of a directory are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// None.
    Nothing,
    /// The directories.
    Directories,
    /// All; with `probe`, and whether each file is closed.
    Everything {
        /// Test whether anybody has a file open for writing.
        probe: bool,
    },
    /// Those of [`Enter::names`] that are there, and whether each file is closed.
    Named,
}

/// What was found at a path, all of it asked of one open file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The watch, or why there is none.
    pub wd: Result<Wd, WatchError>,
    /// What it is.
    pub id: DirId,
    /// The directory that it is in; `None` for what is not a directory.
    pub parent: Option<DirId>,
    /// The mount that it is in (`stx_mnt_id`, `statx(2)`).
    pub mount: u32,
    /// Whether the last name of the path is a symbolic link.
    pub linked: bool,
    /// Of what kind it is.
    pub kind: Kind,
    /// If it is a file and a probe was asked for: whether it is closed.
    pub closed: Closed,
    /// What was in it, listed after it was watched.
    pub entries: Vec<Entry>,
    /// How often `getdents64(2)` was called, which gives an `IN_ACCESS` each.
    pub reads: u32,
    /// Whether it was opened for reading, which gives `IN_OPEN` and `IN_CLOSE_NOWRITE`.
    pub opened: bool,
    /// By what it is known again.
    pub identity: Identity,
    /// If it is a file and stamps were asked for: its own.
    pub stamp: Option<Stamp>,
    /// What the index knows of it, if that was asked.
    pub joined: Joined,
}

/// One entry of a listed directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Box<[u8]>,
    /// Of what kind it is.
    pub kind: Kind,
    /// Whether it is closed.
    pub closed: Closed,
    /// Its state, if that was asked and could be had.
    pub stamp: Option<Stamp>,
}

/// What was seen under a name before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The name.
    pub name: Box<[u8]>,
    /// Of what kind it was.
    pub kind: Kind,
    /// Its state. Of a directory only `ino` and `btime` count: the rest changes with what is in it.
    pub stamp: Stamp,
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// Anything else.
    Other,
}

/// Whether anybody has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody has.
    Yes,
    /// Somebody has: an `IN_CLOSE_WRITE` will come.
    No,
    /// It cannot be known.
    Unknown,
    /// Nobody asked, or it is no regular file.
    NotAsked,
}

/// Why nothing was found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnterError {
    /// Nothing is there, or it is behind a link that must not be followed.
    Missing,
    /// Anything else, in words.
    Failed(String),
}

/// Why something that was found is not watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchError {
    /// The kernel's limit of watches is reached.
    Limit,
    /// Anything else, in words.
    Failed(String),
}

/// Something happened at a node.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// The watched item.
    pub node: NodeId,
    /// How it stands towards the Watches.
    pub spots: SpotsId,
    /// Watches that have seen it at another place of the same inode.
    pub seen_by: &'a [WatchId],
    /// What happened.
    pub event_type: EventType,
    /// The kernel's bits.
    pub mask: Mask,
    /// Whether it is about a directory. The kernel does not say so of the watched item itself.
    pub is_dir: bool,
    /// Joins the halves of a move.
    pub cookie: u32,
    /// The watch.
    pub wd: Wd,
    /// The name in the watched directory; empty if it is about the watched item itself.
    pub name: &'a [u8],
    /// Where it was before, on the second half of a move.
    pub src: Option<Arc<[u8]>>,
    /// Whether a rule has made it: it grew under a name of its own, and is whole now.
    pub grown: bool,
    /// How it became known.
    pub origin: Origin,
    /// If it is recovered, and there: the state in which it was found.
    pub stamp: Option<Stamp>,
}

/// What has happened to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountChange {
    /// It was made, and hides what was at its place.
    Mounted,
    /// It was removed. The kernel tells who watches it only once nothing uses its file system any
    /// more, which may be much later (`umount -l`, data that is still to be written), or never (it is
    /// mounted elsewhere, too).
    Unmounted,
}

/// Something happened to a name, so what the index has of it is of yesterday.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The directory.
    pub index: IndexId,
    /// The name in it; empty: the watched file itself.
    pub name: Box<[u8]>,
    /// The path of both.
    pub path: Vec<u8>,
    /// Whether somebody may have it open for writing. As long as somebody has, its state does not
    /// count: the close is still to come, and does not change it.
    pub probe: bool,
}

/// What somebody who keeps an index has to hear of, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// A name has left a directory: what was known of it does not count any more, since what there
    /// was to do about it may be given up for that.
    Left {
        /// The directory.
        index: IndexId,
        /// The name in it.
        name: Box<[u8]>,
    },
    /// Something happened to a name.
    Name(Touch),
    /// All that was said to be below one path is below another now.
    Paths {
        /// The old path.
        from: Arc<[u8]>,
        /// The new one.
        to: Arc<[u8]>,
    },
}

/// Something that an administrator wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A Watch's path does not exist beyond this.
    Waits(Arc<[u8]>),
    /// A Watch's root is watched.
    Watches(Arc<[u8]>),
    /// A Watch's root is gone.
    Gone(Arc<[u8]>),
    /// This cannot be watched.
    Unwatched(Arc<[u8]>, String),
    /// This cannot be watched because the limit is reached.
    Limit(Arc<[u8]>),
    /// Nobody can tell whether this file is closed; it is taken to be.
    Unprobed(Arc<[u8]>),
    /// What was believed contradicts itself; this is read anew.
    StartsOver(Arc<[u8]>),
}

impl Found {
    /// What is seen of it: its entries, or, if it is no directory, itself.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        let itself = self.stamp.filter(|_| self.kind != Kind::Directory);
        let itself = itself.map(|stamp| Seen { name: Box::default(), kind: self.kind, stamp });
        let entries = self
            .entries
            .iter()
            .filter_map(|it| Some(Seen { name: it.name.clone(), kind: it.kind, stamp: it.stamp? }));
        entries.chain(itself).collect()
    }
}

/// Where sightings go.
pub type Sink<'s> = dyn FnMut(&Tree, Sighting<'_>) + 's;

/// A place to be looked at, and why.
#[derive(Clone, Debug)]
pub(crate) struct Todo {
    parent: Option<NodeId>,
    name: Box<[u8]>,
    is_dir: bool,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Something unknown is there.
    Arrived(Arrival),
    /// Whether the node that stands there is there.
    Confirm(Otherwise),
    /// As for [`Otherwise::Told`], after a mount or an unmount there or above: the directories that
    /// came into it while something else was seen at its place were sought in vain.
    Mounts(MountChange),
    /// Ask the kernel for what the node needs now.
    Refresh,
    /// Records were lost: read it anew.
    Resync,
    /// Entries were found to differ: whether they are closed.
    Probe,
}

/// What it means if a node is not where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Otherwise {
    /// Its records will tell.
    Told,
    /// It is not coming back.
    Gone,
    /// It is what left by the move of this cookie.
    Left(u32),
}

#[derive(Debug)]
struct Flight {
    todo: Todo,
    path: Vec<u8>,
    spots: SpotsId,
    mask: Mask,
    /// Whether nobody told of the place's name when it was asked about: what was opened there may
    /// have left before it was watched, and no record says so.
    blind: bool,
    /// Whether the index was not asked.
    unasked: bool,
}

#[derive(Debug)]
struct Departure {
    cookie: u32,
    path: Arc<[u8]>,
    node: Option<NodeId>,
    /// The spots of a settling node that may be what left.
    suspect: SpotsId,
    /// The place that something else was moved into while this stood there.
    displaced: Option<(NodeId, Box<[u8]>)>,
    /// Whether both it and what was moved there were at rest: if it was not replaced, the two were
    /// exchanged.
    exchanged: bool,
    /// Whether the node is only taken to be what left.
    doubtful: bool,
    /// The epoch by whose end the node has arrived somewhere, or is gone.
    until: Option<u32>,
}

/// The directories of all Watches, and their watches.
#[derive(Debug)]
pub struct Tree {
    scope: Scope,
    nodes: Nodes,
    top: Option<NodeId>,
    /// The last one is next: going deep first keeps it short.
    todo: Vec<Todo>,
    flights: FxHashMap<Ticket, Flight>,
    /// What is being looked at now: two answers about one place could come in the wrong order.
    in_flight: FxHashSet<(Option<NodeId>, Box<[u8]>)>,
    /// What is to be looked at again once it is not.
    parked: Vec<Todo>,
    tickets: u64,
    anchors: u32,
    leaving: Vec<Wd>,
    barrier_asked: bool,
    departures: VecDeque<Departure>,
    epochs: Epochs,
    beliefs: Beliefs,
    notices: VecDeque<Notice>,
    /// Paths of Watches that are waited for, each told of once.
    waiting: BTreeSet<Arc<[u8]>>,
    /// What could not even be looked at, each told of once.
    refused: BTreeSet<Arc<[u8]>>,
    memory: Memory,
}

/// The paths of files about which something was left to do when an earlier process ended, by their
/// inode numbers and the times when they were made.
pub type Unfinished = FxHashMap<(u64, i64), Vec<Arc<[u8]>>>;

/// What the tree has to go by when it looks for what nobody told it.
#[derive(Debug, Default)]
struct Memory {
    /// Whether there is an index of what was seen.
    keeps: bool,
    /// The Watches that covered the same before the process began: until all is known, what the
    /// index has not is new for them, and for others it was there all along.
    familiar: Vec<WatchId>,
    /// See [`Tree::keeping`].
    unfinished: Unfinished,
    /// Records were lost, but of nothing that happened before this point (`CLOCK_REALTIME`).
    lost_since: Option<i64>,
    /// Entries that differ, until it is known whether they are closed.
    differing: FxHashMap<NodeId, Vec<(Entry, Difference)>>,
    writing: Writing,
    outdated: VecDeque<Outdated>,
    /// Directories that are gone for good.
    gone: Vec<IndexId>,
}

impl Tree {
    /// A tree that knows nothing yet and asks for `/`.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        let mut tree = Self {
            scope,
            nodes: Nodes::default(),
            top: None,
            todo: Vec::new(),
            flights: FxHashMap::default(),
            in_flight: FxHashSet::default(),
            parked: Vec::new(),
            tickets: 0,
            anchors: 0,
            leaving: Vec::new(),
            barrier_asked: false,
            departures: VecDeque::new(),
            epochs: Epochs::default(),
            beliefs: Beliefs::default(),
            notices: VecDeque::new(),
            waiting: BTreeSet::new(),
            refused: BTreeSet::new(),
            memory: Memory::default(),
        };
        tree.seek(None, b"", true, Arrival::Present);
        tree
    }

    /// A tree that has an index of what was seen. What differs from it when the tree is read for
    /// the first time is told, to the Watches that are `familiar`: that covered the same before. So
    /// is what is `unfinished` and now elsewhere.
    #[must_use]
    pub fn keeping(scope: Scope, familiar: Vec<WatchId>, unfinished: Unfinished) -> Self {
        let mut tree = Self::new(scope);
        tree.memory.keeps = true;
        tree.memory.familiar = familiar;
        tree.memory.unfinished = unfinished;
        tree
    }

    // -- in --

    /// Takes in one record. Only when [`Tree::wants_records`].
    pub fn handle_record(&mut self, record: &Record<'_>, out: &mut Sink<'_>) {
        let Some(event_type) = record.mask.event_type() else { return };
        if event_type == EventType::QOverflow {
            return self.handle_overflow(record, out);
        }
        let Some(first) = self.nodes.first_of(record.wd) else {
            if event_type == EventType::Ignored && self.epochs.is_barrier(record.wd) {
                self.pass_barrier(record.wd, out);
            }
            return;
        };
        if !self.nodes.is_shared(record.wd) {
            return self.record_at(first, event_type, record, &[], out);
        }
        let owners: Vec<NodeId> = self.nodes.of(record.wd).collect();
        let mut seen_by = Vec::new();
        for node in owners {
            if self.nodes.contains(node) {
                let members = Arc::clone(self.scope.interest(self.nodes[node].spots));
                self.record_at(node, event_type, record, &seen_by, out);
                seen_by.extend_from_slice(&members.members);
            }
        }
    }

    /// Takes in the answer to [`Ask::Enter`].
    pub fn handle_entered(
        &mut self,
        ticket: Ticket,
        answer: Result<Found, EnterError>,
        out: &mut Sink<'_>,
    ) {
        let Some(flight) = self.flights.remove(&ticket) else { return };
        self.in_flight.remove(&(flight.todo.parent, flight.todo.name.clone()));
        self.todo.append(&mut self.parked);
        let wd = answer.as_ref().ok().and_then(|it| it.wd.as_ref().ok()).copied();
        self.answer(flight, answer, out);
        // What was watched for this answer is left again unless something stands for it. (Another
        // answer may still come to stand for it: `poll_ask` looks again.)
        self.leaving.extend(wd.filter(|it| self.nodes.first_of(*it).is_none()));
    }

    /// Takes in the answer to [`Ask::Barrier`]: the watch whose `IN_IGNORED` is the barrier. Without
    /// one, everything is taken to have settled, at the risk of telling something twice.
    pub fn handle_barrier(&mut self, barrier: Option<Wd>, out: &mut Sink<'_>) {
        self.barrier_asked = false;
        if let Some(wd) = barrier {
            self.epochs.close(wd);
        } else {
            while let Some((_, epoch)) = self.epochs.pass() {
                self.settle(&epoch.listed, out);
            }
            let epoch = self.epochs.abandon();
            self.settle(&epoch.listed, out);
            self.resolve_beliefs(false);
        }
    }

    /// Takes in that something was mounted at, or unmounted from, this path.
    pub fn handle_mount(&mut self, at: &[u8], change: MountChange) {
        match self.reach(at) {
            Some((node, None)) => self.push_todo(node, Why::Mounts(change)),
            // What stood there may have been deleted behind its other place: of that, nothing is
            // told here.
            Some((node, Some(name))) => self.seek(Some(node), name, true, Arrival::Later),
            None => (),
        }
    }

    /// Takes in what the Watches cover now. A Watch with the same paths as before keeps what is
    /// watched for it.
    pub fn handle_scope(&mut self, mut scope: Scope) {
        let mut known = FxHashMap::default();
        let mut translate = |spots: &mut SpotsId| {
            let old = *spots;
            *spots = *known.entry(old).or_insert_with(|| scope.translate(&self.scope, old));
        };
        for node in self.nodes.iter().collect::<Vec<_>>() {
            translate(&mut self.nodes[node].spots);
        }
        for departure in &mut self.departures {
            translate(&mut departure.suspect);
        }
        let flying = self.flights.values_mut().map(|flight| {
            // Asked under the old scope: whatever the answer, it is asked again.
            flight.path.clear();
            &mut flight.todo
        });
        let missed = self.epochs.missing_mut();
        for todo in self.todo.iter_mut().chain(&mut self.parked).chain(flying).chain(missed) {
            if let Why::Arrived(Arrival::Known(spots)) = &mut todo.why {
                translate(spots);
            }
        }
        self.scope = scope;
        // What is on its way between two places is entered anew where it arrives.
        let departed = self.departures.iter().filter_map(|it| it.node);
        for node in departed.collect::<Vec<_>>() {
            self.forget(node);
        }
        if let Some(top) = self.top {
            let spots = self.scope.top();
            self.respot(top, spots, true);
        }
        // Whoever has it read the configuration anew may have mended what was wrong.
        for at in std::mem::take(&mut self.refused) {
            if let Some((node, Some(name))) = self.reach(&at) {
                self.seek(Some(node), name, true, Arrival::Present);
            }
        }
    }

    /// Takes in that the next overflow has lost nothing of what happened before this point, in
    /// nanoseconds of `CLOCK_REALTIME`.
    pub fn handle_lost_since(&mut self, since: i64) {
        let old = self.memory.lost_since.unwrap_or(since);
        self.memory.lost_since = Some(old.min(since));
    }

    /// Takes in that all that differs has been told.
    pub fn handle_in_step(&mut self) {
        self.memory.familiar = Vec::new();
        self.memory.unfinished = Unfinished::default();
        self.memory.lost_since = None;
    }

    /// Takes in all watches that the kernel has, outside of any question to it. Those that no
    /// directory stands for are left; gives back how many there were. One that is missing is no
    /// sign: the record of its end may be in the queue.
    pub fn handle_watches(&mut self, watches: &[Wd]) -> usize {
        if !self.is_settled() {
            return 0;
        }
        let stray = watches.iter().filter(|it| self.nodes.first_of(**it).is_none());
        let before = self.leaving.len();
        self.leaving.extend(stray);
        self.leaving.len() - before
    }

    // -- out --

    /// The next thing that the index has to hear of.
    pub fn poll_outdated(&mut self) -> Option<Outdated> {
        self.memory.outdated.pop_front()
    }

    /// The next directory that the index may forget.
    pub fn poll_gone(&mut self) -> Option<IndexId> {
        self.memory.gone.pop()
    }

    /// The next thing for the caller to do.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        while self.flights.len() < FLIGHTS
            && let Some(todo) = self.todo.pop()
        {
            if self.in_flight.contains(&(todo.parent, todo.name.clone())) {
                self.parked.push(todo);
            } else if let Some(enter) = self.depart_flight(todo) {
                return Some(Ask::Enter(enter));
            }
        }
        if !self.flights.is_empty() || self.barrier_asked {
            return None;
        }
        // A walk through a large tree leaves nothing behind.
        self.todo.shrink_to(FLIGHTS);
        while let Some(wd) = self.leaving.pop() {
            if self.nodes.first_of(wd).is_none() {
                return Some(Ask::Leave(wd));
            }
        }
        self.give_up_probing();
        if self.epochs.needs_barrier() {
            self.barrier_asked = true;
            return Some(Ask::Barrier);
        }
        None
    }

    /// Whether the next record may be handled: everything asked for has been answered.
    #[must_use]
    pub fn wants_records(&self) -> bool {
        self.todo.is_empty()
            && self.flights.is_empty()
            && self.leaving.is_empty()
            && !self.barrier_asked
            && !self.epochs.needs_barrier()
    }

    /// Whether nothing is asked for and no barrier is in the queue.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.wants_records() && self.epochs.is_idle()
    }

    /// The next thing that an administrator wants to know.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// What the Watches cover.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How many directories and files are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 0
    }

    /// The number of a node in the index of what was seen.
    #[must_use]
    pub fn index(&self, node: NodeId) -> IndexId {
        self.nodes[node].index
    }

    /// The number of the directory at a path.
    #[must_use]
    pub fn index_at(&self, path: &[u8]) -> IndexId {
        let Some(top) = self.top else { return IndexId::NONE };
        let mut names = path::names(path);
        let found = names.try_fold(top, |node, name| self.nodes.child(node, name));
        found.map_or(IndexId::NONE, |it| self.nodes[it].index)
    }

    /// The directories that have a number, and where they are.
    pub fn indexed(&self) -> impl Iterator<Item = (IndexId, Vec<u8>)> {
        let numbered = self.nodes.iter().filter(|it| self.nodes[*it].index != IndexId::NONE);
        numbered.map(|it| (self.nodes[it].index, self.path(it)))
    }

    /// Asks for a barrier behind everything that is in the queue by now. Gives back the number
    /// with which [`Tree::has_passed`] tells that it has been read.
    pub fn fence(&mut self) -> u32 {
        self.epochs.count_entered();
        self.epochs.number()
    }

    /// Whether the barrier of that number has been read.
    #[must_use]
    pub fn has_passed(&self, fence: u32) -> bool {
        !self.epochs.is_settling(fence)
    }

    /// How many directories could not be watched.
    #[must_use]
    pub fn unwatched(&self) -> usize {
        self.nodes.unwatched() + self.refused.len()
    }

    /// Appends a node's path. Gives back how many of its bytes a Watch's configuration names: up to
    /// the topmost root.
    pub fn push_path(&self, node: NodeId, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        let (mut below, mut below_root) = (0, 0);
        let top = self.nodes.climb(node, |_, it| {
            if self.scope.interest(it.spots).is_root {
                below_root = below;
            }
            below += it.name.len() + 1;
        });
        if let Some(departure) = self.departures.iter().find(|it| it.node == Some(top)) {
            out.extend_from_slice(&departure.path);
        }
        self.nodes.push_names(node, out);
        if out.len() == start {
            out.push(b'/');
        }
        (out.len() - start).saturating_sub(below_root).max(1)
    }

    /// Panics unless the tables agree with each other.
    ///
    /// # Panics
    ///
    /// See above.
    pub fn verify_invariants(&self) {
        self.nodes.verify_invariants();
        for id in self.nodes.iter() {
            let departures = self.departures.iter().filter(|it| it.node == Some(id)).count();
            let departed = self.nodes[id].state.departed;
            assert_eq!(departures, usize::from(departed), "what has departed is remembered, once");
            let unplaced = self.nodes.parent(id).is_none();
            assert_eq!(unplaced, departed || Some(id) == self.top, "only they are in no place");
            assert_ne!(self.nodes[id].spots, SpotsId::NONE, "what is known is of interest");
        }
    }
}
