//! What those who are told believe, as far as it differs from what the tree knows.
//!
//! What is told of a directory's entries is told under the directory's path. Whoever is then told of
//! a move takes along all that was told under the old path; and the tree moves a node. At rest these
//! are the same. While anything is settling they may not be: a directory may be found where it is
//! before its records tell how it came there, and a record that is older than what was found may
//! take along, for who is told, what in truth has come since and stays.
//!
//! So nothing is concluded from paths. For each directory whose entries are believed to be elsewhere
//! it is noted where, and each move that is told moves that place as well. What follows is one rule:
//! **behind the barrier by which all that could explain it has been read, a directory is believed to
//! be where it is, or it is forgotten and found anew**, so that what is in it is told of once more,
//! rather twice than never. To that end
//!
//! * a directory that is found at a new place is told to have moved there when its parent's listing
//!   is told, or before anything is told of the place that it left;
//! * if something is told of a place where another directory's entries are believed to be, nobody
//!   can tell the two apart any more: that belief is *spoiled*, and such a directory is found anew
//!   wherever it turns out to be.
//!
//! One thing is known to be wrong, and left so: of two directories that were at rest and exchanged
//! their names in one step (`RENAME_EXCHANGE`), the two moves are told one after the other, and who
//! takes along by paths has mixed them up after the first.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{NodeId, Notice, Sink, Tree, nodes::Told};
use crate::{
    event::{EventType, Mask},
    path,
    scope::Arrival,
};

/// The directories whose entries are believed to be elsewhere.
pub(super) type Beliefs = FxHashMap<NodeId, Belief>;

/// Where the entries of a directory are believed to be.
#[derive(Debug)]
pub(super) struct Belief {
    path: Arc<[u8]>,
    /// Some of them may be believed to be elsewhere, or to be gone.
    spoiled: bool,
    /// That the directory itself came there was told, and may have been somebody else's coming.
    named: bool,
    /// It comes of an exchange, by which who is told mixes up both halves; see [`Tree::displace`].
    exchanged: bool,
    /// The epoch whose end nothing can explain it any more.
    until: u32,
}

/// Where a path leads to when another one has become `to`.
fn carry(rest: &[u8], to: &[u8]) -> Arc<[u8]> {
    if rest.is_empty() { to.into() } else { path::join(to, rest).into() }
}

impl Belief {
    /// Whether who is told of a move from there takes along this directory's entries, and no more.
    fn is_clear(&self) -> bool {
        !self.spoiled && !self.named
    }

    /// Whether an event that is told of a path is one of somebody else's in the same place. (That it
    /// left is how it went.)
    fn is_touched(&self, event_type: EventType, at: &[u8]) -> bool {
        match path::below(at, &self.path) {
            Some(b"") => event_type != EventType::MovedFrom,
            rest => rest.is_some(),
        }
    }
}

impl Tree {
    /// An event has been told of a node's entry. `src` is where it was told to come from, by a move
    /// that the tree takes to be that of `mover`.
    pub(super) fn told(
        &mut self,
        node: NodeId,
        event_type: EventType,
        name: &[u8],
        src: Option<&Arc<[u8]>>,
        mover: Option<NodeId>,
    ) {
        use EventType as T;
        if name.is_empty() {
            return;
        }
        self.nodes[node].state.told = Told::Something;
        let names = matches!(event_type, T::Create | T::Delete | T::MovedFrom | T::MovedTo);
        if !names || (self.epochs.is_idle() && self.beliefs.is_empty()) {
            return;
        }
        self.agree();
        let from = src.filter(|_| event_type == T::MovedTo);
        let at = match (self.beliefs.is_empty(), from) {
            (true, None) => Vec::new(),
            _ => self.place_path(Some(node), name),
        };
        for belief in self.beliefs.values_mut() {
            belief.spoiled |= !belief.exchanged && belief.is_touched(event_type, &at);
            belief.named &= event_type != T::MovedFrom || *belief.path != *at;
        }
        match event_type {
            T::Create | T::MovedTo => {
                let there = self.nodes.child(node, name);
                let carried = from.is_some_and(|from| self.carried(from, &at, mover));
                let settling = |it: &NodeId| self.epochs.is_settling(self.nodes[*it].epoch);
                if let Some(there) = there.filter(|it| !carried && settling(it)) {
                    // What was told of it was told of what stood there before.
                    self.spoil(there);
                }
            }
            // Something that has left, and of which it is told where it was.
            _ if self.nodes.climb(node, |_, _| ()) != self.top.unwrap_or(node) => {
                let dir = self.path(node);
                if let Some(there) = self.resolve(&dir) {
                    self.spoil(there);
                }
            }
            _ => (),
        }
        self.agree();
    }

    /// Those who are told take along what they believe to be below `from`. Whether that brings
    /// what is believed of the directory at `to` in step.
    fn carried(&mut self, from: &[u8], to: &[u8], mover: Option<NodeId>) -> bool {
        let until = self.epochs.number();
        let there = self.resolve(to);
        let mut arrives = false;
        for (node, belief) in &mut self.beliefs {
            let taken = path::below(&belief.path, from).map(|it| carry(it, to));
            if let Some(path) = taken {
                (belief.path, belief.until) = (path, until);
                belief.named |= *belief.path == *to;
                arrives |= Some(*node) == there;
            } else if path::below(from, &belief.path).is_some() {
                belief.spoiled = true;
            }
        }
        let departed = self.departures.iter().filter_map(|it| Some((it.node?, &it.path)));
        let exchanged = mover.is_some_and(|it| self.is_exchanged(it));
        let below =
            departed.filter_map(|(it, path)| Some((it, carry(path::below(path, from)?, to))));
        let stays = self.resolve(from).map(|it| (it, to.into()));
        for (node, path) in below.chain(stays).collect::<Vec<_>>() {
            if Some(node) == mover || !self.anything_told(node) {
                continue;
            }
            let beliefs = &mut self.beliefs;
            for (below, belief) in beliefs.iter_mut() {
                belief.spoiled |= self.nodes.is_within(*below, node);
            }
            beliefs.entry(node).or_insert(Belief {
                named: *path == *to,
                path,
                spoiled: false,
                exchanged,
                until,
            });
            self.epochs.count_entered();
        }
        arrives
    }

    /// Notes that some of what was told of a directory may have been told of another one.
    fn spoil(&mut self, node: NodeId) {
        if !self.anything_told(node) {
            return;
        }
        let path: Arc<[u8]> = self.path(node).into();
        let until = self.epochs.number();
        let belief = self.beliefs.entry(node).or_insert(Belief {
            path,
            spoiled: true,
            named: false,
            exchanged: false,
            until,
        });
        belief.spoiled = true;
        self.epochs.count_entered();
    }

    /// Whether anything was told of entries of a node, or of what is below it.
    fn anything_told(&self, node: NodeId) -> bool {
        let nodes = &self.nodes;
        nodes.subtree(node).iter().any(|it| nodes[*it].state.told == Told::Something)
    }

    /// Where the entries of a node are believed to be, and whether that is sure.
    fn believed(&self, node: NodeId) -> (Vec<u8>, bool) {
        let mut at = Some(node);
        while let Some(above) = at {
            if let Some(belief) = self.beliefs.get(&above) {
                let mut path = belief.path.to_vec();
                path.extend_from_slice(&self.path(node)[self.path(above).len()..]);
                return (path, belief.spoiled);
            }
            at = self.nodes.parent(above);
        }
        (self.path(node), false)
    }

    /// A node is about to leave its place without those who are told knowing.
    pub(super) fn keep_belief(&mut self, node: NodeId) {
        let (path, spoiled) = self.believed(node);
        let until = self.epochs.number();
        self.beliefs.insert(
            node,
            Belief { path: path.into(), spoiled, named: false, exchanged: false, until },
        );
        self.epochs.count_entered();
    }

    /// A node is about to leave its place. What is above it does not tell any more where its entries
    /// are believed to be.
    pub(super) fn detach(&mut self, node: NodeId) {
        if !self.beliefs.is_empty() && !self.beliefs.contains_key(&node) {
            self.keep_belief(node);
        }
        self.nodes.unlink(node);
    }

    /// From where an entry is to be told to have moved, if it is a directory that was known
    /// elsewhere before.
    pub(super) fn take_belief(&mut self, parent: NodeId, name: &[u8]) -> Option<Arc<[u8]>> {
        self.agree();
        let node = self.nodes.child(parent, name)?;
        self.beliefs.get(&node).filter(|it| it.is_clear())?;
        self.beliefs.remove(&node).map(|it| it.path)
    }

    pub(super) fn has_belief(&self, parent: NodeId, name: &[u8]) -> bool {
        let node = self.nodes.child(parent, name);
        node.and_then(|it| self.beliefs.get(&it)).is_some_and(Belief::is_clear)
    }

    /// Drops what has come to agree.
    fn agree(&mut self) {
        let mut beliefs = std::mem::take(&mut self.beliefs);
        beliefs.retain(|it, belief| belief.spoiled || *belief.path != *self.path(*it));
        self.beliefs = beliefs;
    }

    /// All records that could explain what is believed have been read: what still differs is found
    /// anew. With `tells`, what is about to be told to have moved is left for that.
    pub(super) fn resolve_beliefs(&mut self, tells: bool) {
        if self.beliefs.is_empty() {
            return;
        }
        self.agree();
        let over = self.beliefs.iter().filter(|(_, it)| !self.epochs.is_settling(it.until));
        let mut over: Vec<NodeId> = over.map(|(it, _)| *it).collect();
        over.sort_unstable();
        for node in over {
            if !self.nodes.contains(node) || (tells && self.is_to_be_told(node)) {
                continue;
            }
            let belief = self.beliefs.remove(&node);
            let matters = belief.is_some_and(|it| it.spoiled || self.follows(node, &it));
            if matters && self.anything_told(node) {
                self.start_over(node);
            }
        }
    }

    /// Whether anybody is told of moves to where a node stands, and so takes along what was told.
    fn follows(&self, node: NodeId, belief: &Belief) -> bool {
        let wanted = |it: NodeId| self.scope.interest(self.nodes[it].spots).wanted;
        let told = self.nodes.parent(node).map_or(Mask::NONE, wanted);
        !belief.exchanged && told.contains(EventType::MovedTo.mask())
    }

    /// An event is about to be told. What is believed to be at its place is told to have moved
    /// before, if it is known where to.
    pub(super) fn tell_moved_before(
        &mut self,
        node: NodeId,
        event_type: EventType,
        name: &[u8],
        out: &mut Sink<'_>,
    ) {
        let at = self.place_path_of(node, name);
        let touched = self.beliefs.iter().filter(|(_, it)| it.is_touched(event_type, &at));
        let mut touched: Vec<NodeId> = touched.map(|(it, _)| *it).collect();
        touched.sort_unstable();
        for moved in touched {
            if self.beliefs.contains_key(&moved) && self.is_to_be_told(moved) {
                self.tell_above(moved, out);
            }
        }
    }

    fn is_exchanged(&self, mover: NodeId) -> bool {
        self.departures.iter().any(|it| it.node == Some(mover) && it.exchanged)
    }

    /// Whether it is still to be told that a node has come to where it stands.
    fn is_to_be_told(&mut self, node: NodeId) -> bool {
        let Some(parent) = self.nodes.parent(node) else { return false };
        let name = &self.nodes[node].name;
        let entry = self.epochs.untold(parent).and_then(|it| it.get(name));
        entry.is_some_and(|it| !it.came) && self.beliefs[&node].is_clear()
    }

    /// Forgets a node, and what is below it, to find it anew.
    fn start_over(&mut self, node: NodeId) {
        let path: Arc<[u8]> = self.path(node).into();
        let spots = self.nodes[node].spots;
        let is_dir = !self.nodes[node].state.file;
        self.notices.push_back(Notice::StartsOver(path));
        let Some(parent) = self.nodes.parent(node) else {
            // The second half of its move may still come.
            for departure in self.departures.iter_mut().filter(|it| it.node == Some(node)) {
                (departure.node, departure.suspect) = (None, spots);
            }
            return self.forget_unplaced(node);
        };
        let name = self.nodes[node].name.clone();
        self.forget(node);
        self.seek(Some(parent), &name, is_dir, Arrival::Known(spots));
    }

    /// The node at a path.
    fn resolve(&self, at: &[u8]) -> Option<NodeId> {
        path::names(at).try_fold(self.top?, |node, name| self.nodes.child(node, name))
    }
}
