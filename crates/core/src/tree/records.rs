//! What each record says about places: what came, left, moved, and is gone.
//!
//! Decides which records are the truth, and which only a reason to look. What is told of them is
//! told before anything changes, so that paths are those of the moment.

use std::sync::Arc;

use super::{Departure, NodeId, Notice, Otherwise, Sighting, Sink, Tree, Why, nodes::Told};
use crate::{
    event::{EventType, Mask, Origin},
    path,
    plan::WatchId,
    record::{Record, Wd},
    scope::{Arrival, SpotsId},
};

impl Tree {
    pub(super) fn record_at(
        &mut self,
        node: NodeId,
        event_type: EventType,
        record: &Record<'_>,
        seen_by: &[WatchId],
        out: &mut Sink<'_>,
    ) {
        let settling = self.epochs.is_settling(self.nodes[node].epoch);
        // Our own looking at a name is counted in the epoch in which it was done, which may be
        // later than that of the directory that the name is in.
        let looks =
            matches!(event_type, EventType::Open | EventType::Access | EventType::CloseNowrite);
        if looks
            && !self.epochs.is_idle()
            && self.epochs.is_echo(record.wd, event_type, record.name)
        {
            return;
        }
        if !self.beliefs.is_empty() && !record.name.is_empty() {
            self.tell_moved_before(node, event_type, record.name, out);
        }
        if settling {
            self.tell_before(node, event_type, record.name, out);
        }
        let src = match event_type {
            EventType::MovedTo => self.departure(record.cookie).map(|it| it.path.clone()),
            _ => None,
        };
        let spots = self.nodes[node].spots;
        let temporary =
            |src: &Arc<[u8]>| path::split(src).is_some_and(|it| path::is_temporary(it.1));
        if src.as_ref().is_some_and(temporary) {
            self.tell_grown(record, node, seen_by, out);
        } else if self.scope.interest(spots).wanted.contains(event_type.mask()) {
            let Record { wd, mask, cookie, name } = *record;
            let sighting = Sighting {
                node,
                spots,
                seen_by,
                event_type,
                mask,
                is_dir: match event_type {
                    EventType::DeleteSelf | EventType::MoveSelf => !self.nodes[node].state.file,
                    _ => mask.is_dir(),
                },
                cookie,
                wd,
                name,
                src,
                grown: false,
                origin: Origin::Live,
                stamp: None,
            };
            let from = sighting.src.clone();
            out(self, sighting);
            let mover = from.as_ref().and_then(|_| self.departure(cookie)?.node);
            self.told(node, event_type, name, from.as_ref(), mover);
        }
        let (name, is_dir) = (record.name, record.mask.is_dir());
        self.note(node, name, event_type, is_dir);
        match event_type {
            EventType::Create => self.arrived(node, name, is_dir),
            EventType::MovedFrom => self.moved_from(node, name, is_dir, record.cookie),
            EventType::MovedTo => self.moved_to(node, name, is_dir, record.cookie),
            EventType::Delete => self.deleted(node, name),
            EventType::DeleteSelf => self.nodes[node].state.deleted = true,
            EventType::MoveSelf => self.moved_self(node),
            EventType::Ignored => self.ignored(node),
            EventType::Access
            | EventType::Modify
            | EventType::Attrib
            | EventType::CloseWrite
            | EventType::CloseNowrite
            | EventType::Open
            | EventType::Unmount
            | EventType::QOverflow => (),
        }
    }

    /// Tells of what a rule has made: it has its name now, and for everybody it has been written
    /// there, as it would have been by any other program.
    fn tell_grown(
        &mut self,
        record: &Record<'_>,
        node: NodeId,
        seen_by: &[WatchId],
        out: &mut Sink<'_>,
    ) {
        let Record { wd, mask, name, .. } = *record;
        let is_dir = mask.is_dir();
        for event_type in [EventType::Create, EventType::CloseWrite] {
            let spots = self.nodes[node].spots;
            let is_wanted = self.scope.interest(spots).wanted.contains(event_type.mask());
            if !is_wanted || is_dir && event_type == EventType::CloseWrite {
                continue;
            }
            let kind = if is_dir { Mask::ISDIR } else { Mask::NONE };
            let sighting = Sighting {
                node,
                spots,
                seen_by,
                event_type,
                mask: event_type.mask().with(kind),
                is_dir,
                cookie: 0,
                wd,
                name,
                src: None,
                grown: true,
                origin: Origin::Live,
                stamp: None,
            };
            out(self, sighting);
            self.told(node, event_type, name, None, None);
        }
    }

    /// A name came into a directory, by its record.
    pub(super) fn arrived(&mut self, parent: NodeId, name: &[u8], is_dir: bool) {
        match self.nodes.child(parent, name) {
            // The listing was faster than the record.
            Some(child) if self.epochs.is_settling(self.nodes[child].epoch) => {
                self.is_new(child, Arrival::Later);
            }
            Some(child) => self.confirm(child, Otherwise::Told),
            None => self.seek(Some(parent), name, is_dir, Arrival::Later),
        }
    }

    /// What was taken to have been there all along has come just now: what is in it is new as well.
    pub(super) fn is_new(&mut self, node: NodeId, arrival: Arrival) {
        let told = &mut self.nodes[node].state.told;
        if *told == Told::Present {
            *told = Told::Nothing;
            self.push_todo(node, Why::Arrived(arrival));
        }
    }

    pub(super) fn moved_from(&mut self, parent: NodeId, name: &[u8], is_dir: bool, cookie: u32) {
        let path: Arc<[u8]> = self.place_path(Some(parent), name).into();
        let displaced = |it: &Departure| {
            it.node.is_some_and(|node| self.is_of_kind(node, is_dir))
                && it.displaced.as_ref().is_some_and(|(node, at)| *node == parent && **at == *name)
        };
        if let Some(at) = self.departures.iter().position(displaced) {
            // The other half of an exchange: what stood here leaves, what came stays.
            let mut departure = self.departures.remove(at).expect("just found");
            departure.displaced = None;
            departure.doubtful = true;
            self.remember(Departure { cookie, path, ..departure });
            return;
        }
        // What is of another kind is not what left: it stands there since.
        let of_kind = |it: &NodeId| self.is_of_kind(*it, is_dir);
        let mut node = self.nodes.child(parent, name).filter(of_kind);
        let mut suspect = SpotsId::NONE;
        if let Some(child) = node {
            if self.epochs.is_settling(self.nodes[child].epoch) {
                suspect = self.nodes[child].spots;
                self.confirm(child, Otherwise::Left(cookie));
                node = None;
            } else {
                self.detach(child);
                self.nodes[child].state.departed = true;
            }
        }
        self.remember(Departure {
            cookie,
            path,
            node,
            suspect,
            displaced: None,
            exchanged: false,
            doubtful: node.is_some_and(|it| self.nodes[it].state.doubtful),
            until: None,
        });
        self.seek_trail(parent, name);
    }

    pub(super) fn moved_to(&mut self, parent: NodeId, name: &[u8], is_dir: bool, cookie: u32) {
        let at = self.departures.iter().position(|it| it.cookie == cookie && cookie != 0);
        let departure = at.and_then(|at| self.departures.remove(at));
        let victim = self.nodes.child(parent, name);
        let suspect = departure.as_ref().map_or(SpotsId::NONE, |it| it.suspect);
        let Some((node, departure)) = departure.and_then(|it| Some((it.node?, it))) else {
            match victim {
                Some(victim) => {
                    // The listing may have been faster than the record.
                    let met = self.epochs.is_settling(self.nodes[victim].epoch);
                    if met && suspect == SpotsId::NONE {
                        self.is_new(victim, Arrival::Later);
                    }
                    self.confirm(victim, Otherwise::Told);
                }
                None if suspect == SpotsId::NONE => {
                    self.seek(Some(parent), name, is_dir, Arrival::Later);
                }
                None => self.seek(Some(parent), name, is_dir, Arrival::Known(suspect)),
            }
            return;
        };
        if self.nodes.is_within(parent, node) {
            // Nothing moves into itself: it was something else that left by this name.
            self.notices.push_back(Notice::StartsOver(self.place_path(Some(parent), name).into()));
            self.forget_unplaced(node);
            return self.look_at_all();
        }
        let spots = self.child_spots(parent, name, node);
        if spots == SpotsId::NONE {
            // Nobody watches there. Its own IN_MOVE_SELF, which somebody may want, is still to come.
            self.remember(departure);
            if let Some(victim) = victim {
                self.confirm(victim, Otherwise::Told);
            }
            return;
        }
        if let Some(victim) = victim {
            self.displace(victim, !departure.doubtful);
        }
        self.nodes[node].state.departed = false;
        self.nodes[node].state.moved = true;
        self.nodes[node].state.doubtful = departure.doubtful;
        self.put(node, parent, name, spots);
        if self.nodes.contains(node) {
            self.note_moved(node, departure.path);
        }
        if departure.doubtful || victim.is_some() {
            self.confirm(node, Otherwise::Told);
        }
    }

    /// Whether a record about a directory, or about something else, can be about a node. What was
    /// reached through a link is told of as that link.
    pub(super) fn is_of_kind(&self, node: NodeId, is_dir: bool) -> bool {
        self.nodes.get(node).is_some_and(|it| it.state.linked || it.state.file != is_dir)
    }

    /// A node that may have left by a move has left.
    pub(super) fn depart(&mut self, node: NodeId, cookie: u32) {
        let number = self.epochs.number();
        let Some(departure) = self.departures.iter_mut().rev().find(|it| it.cookie == cookie)
        else {
            return;
        };
        departure.node = Some(node);
        departure.doubtful = true;
        // If it was watched only after it had moved, its own IN_MOVE_SELF will not come.
        departure.until = Some(number);
        self.detach(node);
        self.nodes[node].state.departed = true;
    }

    pub(super) fn deleted(&mut self, parent: NodeId, name: &[u8]) {
        if let Some(child) = self.nodes.child(parent, name) {
            if self.epochs.is_settling(self.nodes[child].epoch) {
                self.confirm(child, Otherwise::Told);
            } else {
                self.unlist(child);
                // Somebody holds it open, or it is a file with other links: its own record is late.
                self.forget(child);
            }
        }
        self.seek_trail(parent, name);
    }

    pub(super) fn moved_self(&mut self, node: NodeId) {
        let state = &mut self.nodes[node].state;
        if state.departed {
            self.unlist(node);
            self.forget(node);
        } else if state.moved {
            state.moved = false;
        } else {
            self.confirm(node, Otherwise::Gone);
        }
    }

    pub(super) fn ignored(&mut self, node: NodeId) {
        self.nodes.set_wd(node, None);
        // Its children's own IN_IGNORED are still to come, and may be wanted.
        let mut at = node;
        while self.nodes.wd(at).is_none() && self.nodes.children(at).next().is_none() {
            let place = self.nodes.parent(at).map(|it| (it, self.nodes[at].name.clone()));
            // What was opened may have been deleted, and its name taken anew, before it was watched.
            let known = !self.epochs.is_settling(self.nodes[at].epoch);
            let deleted = self.nodes[at].state.deleted && known;
            if Some(at) == self.top {
                break;
            }
            self.forget(at);
            let Some((parent, name)) = place else { break };
            self.seek_trail(parent, &name);
            if !deleted {
                // Or it was unmounted: what the mount covered is there now.
                self.seek(Some(parent), &name, true, Arrival::Later);
            }
            at = parent;
        }
    }

    pub(super) fn handle_overflow(&mut self, record: &Record<'_>, out: &mut Sink<'_>) {
        let wanting: Vec<WatchId> = self
            .scope
            .watches()
            .filter(|(_, it)| it.mask.contains(EventType::QOverflow.mask()))
            .map(|(watch, _)| watch)
            .collect();
        if let (Some(top), false) = (self.top, wanting.is_empty()) {
            let sighting = Sighting {
                node: top,
                spots: SpotsId::NONE,
                seen_by: &[],
                event_type: EventType::QOverflow,
                mask: record.mask,
                is_dir: false,
                cookie: 0,
                wd: Wd::NONE,
                name: b"",
                src: None,
                grown: false,
                origin: Origin::Live,
                stamp: None,
            };
            out(self, sighting);
        }
        // Barriers, second halves of moves and IN_IGNORED may be among what was lost.
        self.handle_barrier(None, out);
        for departure in std::mem::take(&mut self.departures) {
            if let Some(node) = departure.node.filter(|it| self.nodes.contains(*it)) {
                self.nodes[node].state.departed = false;
                self.forget_unplaced(node);
            }
        }
        self.look_at_all();
    }

    /// Lists all directories anew: what is in them and not in the tree is new.
    fn look_at_all(&mut self) {
        if let Some(top) = self.top {
            self.look_at_all_below(top);
        }
    }

    pub(super) fn look_at_all_below(&mut self, top: NodeId) {
        for node in self.nodes.subtree(top) {
            self.nodes[node].state.moved = false;
            self.push_todo(node, Why::Resync);
        }
    }

    /// A node is not where it stands, and no record tells where it went. Until the end of the epoch
    /// it may be met elsewhere.
    pub(super) fn depart_unseen(&mut self, node: NodeId) {
        let top = self.nodes.climb(node, |_, _| ());
        if Some(top) != self.top || Some(node) == self.top {
            // Something above it has gone, and it may still be below that.
            return;
        }
        let path = self.path(node).into();
        self.detach(node);
        self.nodes[node].state.departed = true;
        self.remember(Departure {
            cookie: 0,
            path,
            node: Some(node),
            suspect: SpotsId::NONE,
            displaced: None,
            exchanged: false,
            doubtful: true,
            until: Some(self.epochs.number()),
        });
    }
}
