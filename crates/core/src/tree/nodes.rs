//! The directories that the tree knows, and how they hang together.
//!
//! This decides nothing: it keeps nodes, their links, and the two ways to find one (by watch
//! descriptor, by parent and name) in step with each other. A path is computed from names, so
//! renaming a directory changes one field, whatever is below it.

use std::hash::{BuildHasher, BuildHasherDefault};

use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHasher};

use crate::{event::Mask, path, record::Wd, scope::SpotsId, stamp::IndexId, tree::DirId};

/// Names a node for as long as it lives, and never another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    index: u32,
    generation: u32,
}

const NIL: u32 = u32::MAX;

/// One known directory (or watched file).
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its name in its parent; empty for `/`.
    pub(super) name: Box<[u8]>,
    /// Which inode it is.
    pub(super) id: DirId,
    /// By which way it was reached; see [`super::Found::linked`].
    pub(super) anchor: u32,
    pub(super) mount: u32,
    /// Its number in the index of what was seen.
    pub(super) index: IndexId,
    /// How it stands towards the Watches.
    pub(super) spots: SpotsId,
    /// What the kernel was asked for here; other nodes of the same inode may ask for more.
    pub(super) mask: Mask,
    /// The last epoch in which it was entered; see [`super::settle`].
    pub(super) epoch: u32,
    pub(super) state: State,
    wd: i32,
    parent: u32,
    first_child: u32,
    next: u32,
    prev: u32,
    generation: u32,
}

/// What is special about a node; mostly nothing.
#[expect(clippy::struct_excessive_bools, reason = "a byte each, and any of them may be so")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// It has left its place and has not been seen to arrive elsewhere.
    pub(super) departed: bool,
    /// It has been moved by its parents' records; its own `IN_MOVE_SELF` will come.
    pub(super) moved: bool,
    /// Its own `IN_DELETE_SELF` has come; `IN_IGNORED` will.
    pub(super) deleted: bool,
    /// It is not a directory.
    pub(super) file: bool,
    /// It was reached through a symbolic link, so its parent has to be watched for that name.
    pub(super) linked: bool,
    /// A name that one of its trails goes on with does not exist, or may be replaced.
    pub(super) awaits: bool,
    /// It stands where a record put it of which it is not sure that it was about this node, or it was
    /// not where it stands when it was looked at.
    pub(super) doubtful: bool,
    /// The kernel refused to watch it, and that was told.
    pub(super) unwatched: bool,
    /// What was told of its entries.
    pub(super) told: Told,
    /// Whether its entries were held against the index for all Watches that it is of, so that what is
    /// new of them is told, however it came to its place.
    pub(super) compared: bool,
}

/// What was told of a directory's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing so far.
    #[default]
    Nothing,
    /// Nothing: a listing had the directory before any record did, and it was taken to have been
    /// there all along.
    Present,
    /// Something.
    Something,
}

/// All nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    slots: Vec<Node>,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    by_wd: FxHashMap<i32, u32>,
    /// Further nodes of a descriptor: one inode that is seen at several places.
    aliases: FxHashMap<i32, Vec<u32>>,
    live: usize,
    /// How many of them the kernel refused to watch.
    unwatched: usize,
}

fn hash(parent: u32, name: &[u8]) -> u64 {
    BuildHasherDefault::<FxHasher>::default().hash_one((parent, name))
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn unwatched(&self) -> usize {
        self.unwatched
    }

    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.slots.get(id.index as usize).is_some_and(|it| it.generation == id.generation)
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.slots.get(id.index as usize).filter(|it| it.generation == id.generation)
    }

    pub(super) fn wd(&self, id: NodeId) -> Option<Wd> {
        self.get(id).map(|it| Wd(it.wd)).filter(|it| *it != Wd::NONE)
    }

    pub(super) fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.id(self[id].parent)
    }

    pub(super) fn first_of(&self, wd: Wd) -> Option<NodeId> {
        self.id(*self.by_wd.get(&wd.0)?)
    }

    /// All nodes of a descriptor, the first one first.
    pub(super) fn of(&self, wd: Wd) -> impl Iterator<Item = NodeId> {
        let more = self.aliases.get(&wd.0).into_iter().flatten();
        self.by_wd.get(&wd.0).into_iter().chain(more).filter_map(|it| self.id(*it))
    }

    pub(super) fn is_shared(&self, wd: Wd) -> bool {
        self.aliases.contains_key(&wd.0)
    }

    pub(super) fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let slots = &self.slots;
        let found = self.by_name.find(hash(parent.index, name), |at| {
            let node = &slots[*at as usize];
            node.parent == parent.index && *node.name == *name
        });
        self.id(*found?)
    }

    pub(super) fn children(&self, parent: NodeId) -> impl Iterator<Item = NodeId> {
        let first = self.id(self[parent].first_child);
        std::iter::successors(first, |it| self.id(self[*it].next))
    }

    /// The node and all that are below it, parents first.
    pub(super) fn subtree(&self, top: NodeId) -> Vec<NodeId> {
        let mut all = vec![top];
        let mut at = 0;
        while let Some(node) = all.get(at).copied() {
            all.extend(self.children(node));
            at += 1;
        }
        all
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = NodeId> {
        (0..)
            .zip(&self.slots)
            .filter(|(_, it)| it.generation % 2 == 1)
            .map(|(index, it)| NodeId { index, generation: it.generation })
    }

    /// Appends the node's path, and gives it the top that the path starts from: `/`, or a node that
    /// is in no place. `stop` sees each node on the way up.
    pub(super) fn climb(&self, from: NodeId, mut see: impl FnMut(NodeId, &Node)) -> NodeId {
        let mut at = from;
        loop {
            let node = &self[at];
            see(at, node);
            match self.id(node.parent) {
                Some(parent) => at = parent,
                None => return at,
            }
        }
    }

    /// Whether `node` is `top` or below it.
    pub(super) fn is_within(&self, node: NodeId, top: NodeId) -> bool {
        let mut within = false;
        self.climb(node, |at, _| within |= at == top);
        within
    }

    /// Appends the names from below `top` down to `node`.
    pub(super) fn push_names(&self, node: NodeId, out: &mut Vec<u8>) {
        // A path is as deep as it is; most are not.
        let mut stack = [0u32; 32];
        let mut deep = Vec::new();
        let (mut at, mut depth) = (node.index, 0);
        while self.slots[at as usize].parent != NIL {
            match stack.get_mut(depth) {
                Some(slot) => *slot = at,
                None => deep.push(at),
            }
            depth += 1;
            at = self.slots[at as usize].parent;
        }
        let shallow = stack[..depth.min(stack.len())].iter().rev();
        for at in deep.iter().rev().chain(shallow) {
            path::push(out, &self.slots[*at as usize].name);
        }
    }

    /// Adds a node, in a place or, with no parent, in none.
    pub(super) fn insert(&mut self, parent: Option<NodeId>, wd: Option<Wd>, node: Node) -> NodeId {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 directories");
            self.slots.push(Node { generation: 0, ..node.clone() });
            index
        });
        let generation = self.slots[index as usize].generation + 1;
        self.unwatched += usize::from(node.state.unwatched);
        self.slots[index as usize] = Node { generation, ..node };
        self.live += 1;
        let id = NodeId { index, generation };
        self.set_wd(id, wd);
        if let Some(parent) = parent {
            self.link(id, parent);
        }
        id
    }

    /// Removes a node that has no children.
    pub(super) fn remove(&mut self, id: NodeId) -> Node {
        debug_assert_eq!(self[id].first_child, NIL, "children go first");
        self.unlink(id);
        self.set_wd(id, None);
        let slot = &mut self.slots[id.index as usize];
        slot.generation += 1;
        let node = Node { name: std::mem::take(&mut slot.name), ..slot.clone() };
        self.free.push(id.index);
        self.live -= 1;
        self.unwatched -= usize::from(node.state.unwatched);
        node
    }

    /// Puts a node that is in no place into one.
    pub(super) fn place(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        self.unlink(id);
        self[id].name = name.into();
        self.link(id, parent);
    }

    /// Takes a node out of its place; what is below it stays below it.
    pub(super) fn unlink(&mut self, id: NodeId) {
        let Node { parent, next, prev, .. } = self[id];
        if parent == NIL {
            return;
        }
        match prev {
            NIL => self.slots[parent as usize].first_child = next,
            prev => self.slots[prev as usize].next = next,
        }
        if next != NIL {
            self.slots[next as usize].prev = prev;
        }
        let node = &mut self.slots[id.index as usize];
        (node.parent, node.next, node.prev) = (NIL, NIL, NIL);
        let hash = hash(parent, &node.name);
        if let Ok(entry) = self.by_name.find_entry(hash, |at| *at == id.index) {
            entry.remove();
        }
    }

    fn link(&mut self, id: NodeId, parent: NodeId) {
        let next = self[parent].first_child;
        let node = &mut self[id];
        (node.parent, node.next, node.prev) = (parent.index, next, NIL);
        let hash_of = |slots: &[Node], at: u32| {
            let node = &slots[at as usize];
            hash(node.parent, &node.name)
        };
        if next != NIL {
            self.slots[next as usize].prev = id.index;
        }
        self[parent].first_child = id.index;
        let slots = &self.slots;
        self.by_name.insert_unique(hash_of(slots, id.index), id.index, |at| hash_of(slots, *at));
    }

    /// Says which watch a node has.
    pub(super) fn set_wd(&mut self, id: NodeId, wd: Option<Wd>) {
        let wd = wd.unwrap_or(Wd::NONE).0;
        let old = std::mem::replace(&mut self[id].wd, wd);
        if old == wd {
            return;
        }
        if old != Wd::NONE.0 {
            self.drop_wd(old, id.index);
        }
        if wd != Wd::NONE.0 {
            match self.by_wd.get(&wd) {
                None => {
                    self.by_wd.insert(wd, id.index);
                }
                Some(_) => self.aliases.entry(wd).or_default().push(id.index),
            }
        }
    }

    fn drop_wd(&mut self, wd: i32, index: u32) {
        let Some(more) = self.aliases.get_mut(&wd) else {
            self.by_wd.remove(&wd);
            return;
        };
        if self.by_wd[&wd] == index {
            self.by_wd.insert(wd, more.remove(0));
        } else {
            more.retain(|it| *it != index);
        }
        if more.is_empty() {
            self.aliases.remove(&wd);
        }
    }

    fn id(&self, index: u32) -> Option<NodeId> {
        if index == NIL {
            return None;
        }
        Some(NodeId { index, generation: self.slots[index as usize].generation })
    }

    pub(super) fn verify_invariants(&self) {
        let mut linked = 0;
        for id in self.iter() {
            let node = &self[id];
            if let Some(parent) = self.id(node.parent) {
                linked += 1;
                assert!(self.contains(parent), "a parent is alive");
                assert_eq!(self.child(parent, &node.name), Some(id), "a name names one node");
                assert!(self.children(parent).any(|it| it == id), "a parent knows its children");
            }
            let mut steps = 0;
            self.climb(id, |_, _| {
                steps += 1;
                assert!(steps <= self.live, "nothing is below itself");
            });
            if node.wd != Wd::NONE.0 {
                assert!(self.of(Wd(node.wd)).any(|it| it == id), "a watch knows its nodes");
            }
        }
        assert_eq!(self.by_name.len(), linked, "names are of linked nodes");
        let watched: usize = self.aliases.values().map(Vec::len).sum::<usize>() + self.by_wd.len();
        let held = self.iter().filter(|it| self[*it].wd != Wd::NONE.0).count();
        assert_eq!(watched, held, "descriptors are of live nodes");
        let refused = self.iter().filter(|it| self[*it].state.unwatched);
        assert_eq!(refused.count(), self.unwatched, "each is counted once");
    }
}

impl Node {
    pub(super) fn new(name: &[u8]) -> Self {
        Self {
            name: name.into(),
            id: DirId::default(),
            anchor: 0,
            mount: 0,
            index: IndexId::NONE,
            spots: SpotsId::NONE,
            mask: Mask::NONE,
            epoch: 0,
            state: State::default(),
            wd: Wd::NONE.0,
            parent: NIL,
            first_child: NIL,
            next: NIL,
            prev: NIL,
            generation: 0,
        }
    }
}

impl std::ops::Index<NodeId> for Nodes {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        debug_assert!(self.contains(id), "{id:?} is dead");
        &self.slots[id.index as usize]
    }
}

impl std::ops::IndexMut<NodeId> for Nodes {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        debug_assert!(self.contains(id), "{id:?} is dead");
        &mut self.slots[id.index as usize]
    }
}
