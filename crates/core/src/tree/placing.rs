//! Putting known directories where they are, and taking them out of the tree.

use std::sync::Arc;

use super::{DEPARTURES, Departure, NodeId, Notice, Otherwise, Todo, Tree, Why};
use crate::{
    path,
    scope::{Arrival, SpotsId},
};

impl Tree {
    /// The node at a path, or the last one on the way there and the name that it has not.
    pub(super) fn reach<'p>(&self, at: &'p [u8]) -> Option<(NodeId, Option<&'p [u8]>)> {
        let mut node = self.top?;
        for name in path::names(at) {
            match self.nodes.child(node, name) {
                Some(child) => node = child,
                None => return Some((node, Some(name))),
            }
        }
        Some((node, None))
    }

    pub(super) fn path(&self, node: NodeId) -> Vec<u8> {
        let mut path = Vec::new();
        self.push_path(node, &mut path);
        path
    }

    pub(super) fn place_path(&self, parent: Option<NodeId>, name: &[u8]) -> Vec<u8> {
        let Some(parent) = parent else { return b"/".to_vec() };
        let mut path = self.path(parent);
        path::push(&mut path, name);
        path
    }

    /// The path of an entry, or, with no name, of the node itself.
    pub(super) fn place_path_of(&self, node: NodeId, name: &[u8]) -> Vec<u8> {
        match name {
            b"" => self.path(node),
            name => self.place_path(Some(node), name),
        }
    }

    /// Puts a known node where it was found, which is not where it stood.
    pub(super) fn relocate(&mut self, node: NodeId, todo: &Todo) {
        let Some(parent) = todo.parent else { return };
        if self.nodes.is_within(parent, node) {
            // It cannot be inside itself: something above has moved and its record is to come.
            let path = self.place_path(Some(parent), &todo.name);
            self.notices.push_back(Notice::StartsOver(path.into()));
            let place = self.nodes.parent(node).map(|it| (it, self.nodes[node].name.clone()));
            self.forget(node);
            if let Some((parent, name)) = place {
                self.seek(Some(parent), &name, true, Arrival::Later);
            }
            return;
        }
        let src = self.path(node).into();
        self.keep_belief(node);
        if std::mem::take(&mut self.nodes[node].state.departed) {
            // The second half may still come, and wants to know where from.
            for departure in self.departures.iter_mut().filter(|it| it.node == Some(node)) {
                departure.node = None;
            }
        } else if let Some(old) = self.nodes.parent(node) {
            let name = self.nodes[node].name.clone();
            self.nodes.unlink(node);
            self.seek(Some(old), &name, true, Arrival::Later);
        }
        // In no place for a moment; should the victim be above it, it stays.
        self.nodes.unlink(node);
        if let Some(victim) = self.nodes.child(parent, &todo.name) {
            self.give_way(victim, todo.why);
        }
        let spots = self.child_spots(parent, &todo.name, node);
        if spots == SpotsId::NONE {
            return self.forget_unplaced(node);
        }
        self.nodes[node].epoch = self.epochs.number();
        self.nodes[node].state.doubtful = false;
        self.put(node, parent, &todo.name, spots);
        if self.nodes.contains(node) {
            self.note_moved(node, src);
        }
    }

    /// Something else was found where a node stands.
    pub(super) fn give_way(&mut self, node: NodeId, why: Why) {
        match why {
            // It has not gone: its records, and those of what was in it, are still to come.
            Why::Confirm(Otherwise::Left(cookie)) if self.departure(cookie).is_some() => {
                self.depart(node, cookie);
            }
            // Records of where it went may have been lost: it may be met there.
            _ if self.memory.lost_since.is_some() => self.depart_unseen(node),
            Why::Confirm(_)
            | Why::Mounts(_)
            | Why::Arrived(_)
            | Why::Refresh
            | Why::Resync
            | Why::Probe => self.forget(node),
        }
    }

    pub(super) fn put(&mut self, node: NodeId, parent: NodeId, name: &[u8], spots: SpotsId) {
        self.nodes.place(node, parent, name);
        self.respot(node, spots, false);
        self.seek_missed(node);
    }

    /// What was not found below a node may only have been sought while the node was elsewhere: it is
    /// sought again, now that the node is known to stand where it stands.
    pub(super) fn seek_missed(&mut self, node: NodeId) {
        let nodes = &self.nodes;
        let within = |it: NodeId| nodes.contains(node) && nodes.is_within(it, node);
        let missed = self
            .epochs
            .seek_again(|it| it.parent.is_some_and(|it| nodes.contains(it) && within(it)));
        self.todo.extend(missed);
    }

    /// Gives a node, and what is below it, the spots that follow from its place. With `anew` the
    /// scope itself has changed.
    pub(super) fn respot(&mut self, top: NodeId, spots: SpotsId, anew: bool) {
        let mut work = vec![(top, spots)];
        while let Some((node, spots)) = work.pop() {
            let old = std::mem::replace(&mut self.nodes[node].spots, spots);
            if old == spots && !anew && !self.scope.filters_paths(spots) {
                continue;
            }
            if spots == SpotsId::NONE {
                // Not of interest any more; `forget` wants what it was.
                self.nodes[node].spots = old;
                self.forget(node);
                continue;
            }
            let children: Vec<NodeId> = self.nodes.children(node).collect();
            for child in children {
                let name = self.nodes[child].name.clone();
                let spots = self.child_spots(node, &name, child);
                work.push((child, spots));
            }
            let before = Arc::clone(self.scope.interest(old));
            let after = Arc::clone(self.scope.interest(spots));
            let gained = after.members.iter().any(|it| !before.members.contains(it))
                || (after.takes_present && !before.takes_present);
            // A rename has made it part of a Watch's path.
            let leads = after.is_trail && old != spots;
            self.nodes[node].state.compared &= !gained;
            // The limit may have been raised since.
            let refused = anew && self.nodes[node].state.unwatched;
            if gained || refused || (anew && after.is_trail) || (leads && after.globs) {
                self.push_todo(node, Why::Arrived(Arrival::Present));
            }
            let mask = self.mask(spots, Some(node));
            if mask != self.nodes[node].mask || leads {
                self.push_todo(node, Why::Refresh);
            }
        }
    }

    /// Something was moved into the place where a node stands: either it is gone, or it is the
    /// other half of an exchange.
    pub(super) fn displace(&mut self, node: NodeId, certain: bool) {
        let Some(parent) = self.nodes.parent(node) else { return };
        let name = self.nodes[node].name.clone();
        let path = self.path(node).into();
        self.detach(node);
        self.nodes[node].state.departed = true;
        let displaced = Some((parent, name));
        self.remember(Departure {
            cookie: 0,
            path,
            node: Some(node),
            suspect: SpotsId::NONE,
            displaced,
            exchanged: certain && !self.epochs.is_settling(self.nodes[node].epoch),
            doubtful: true,
            until: None,
        });
    }

    pub(super) fn departure(&self, cookie: u32) -> Option<&Departure> {
        self.departures.iter().rev().find(|it| it.cookie == cookie && cookie != 0)
    }

    pub(super) fn remember(&mut self, departure: Departure) {
        self.departures.push_back(departure);
        if self.departures.len() > DEPARTURES
            && let Some(Departure { node: Some(node), .. }) = self.departures.pop_front()
            && self.nodes.contains(node)
        {
            self.forget_unplaced(node);
        }
    }

    /// Takes a node and what is below it out of the tree; their watches are left.
    pub(super) fn forget(&mut self, node: NodeId) {
        if self.nodes[node].state.departed {
            self.departures.retain(|it| it.node != Some(node));
        }
        self.forget_unplaced(node);
    }

    pub(super) fn forget_unplaced(&mut self, top: NodeId) {
        for node in self.nodes.subtree(top).into_iter().rev() {
            if self.scope.interest(self.nodes[node].spots).is_root {
                let path: Arc<[u8]> = self.path(node).into();
                self.waiting.insert(Arc::clone(&path));
                self.notices.push_back(Notice::Gone(path));
            }
            self.epochs.take_untold(node);
            self.beliefs.remove(&node);
            self.memory.differing.remove(&node);
            if self.nodes[node].state.file {
                // A file is known by its place: elsewhere it is an entry of a directory.
                self.unlist(node);
            }
            self.leaving.extend(self.nodes.wd(node));
            self.nodes.remove(node);
            if self.top == Some(node) {
                self.top = None;
            }
        }
    }
}
