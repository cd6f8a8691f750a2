//! What is told of directories that have just been entered, and when; see [`super::settle`].

use std::sync::Arc;

use super::{
    Closed, Departure, Kind, NodeId, Notice, Sighting, Sink, Tree, compare::Difference,
    settle::UntoldEntry,
};
use crate::{
    event::{EventType, Mask, Origin},
    record::Wd,
    stamp::Stamp,
};

impl Tree {
    pub(super) fn pass_barrier(&mut self, barrier: Wd, out: &mut Sink<'_>) {
        while let Some((wd, epoch)) = self.epochs.pass() {
            self.resolve_beliefs(true);
            self.settle(&epoch.listed, out);
            self.resolve_beliefs(false);
            if wd == barrier {
                break;
            }
        }
        let epochs = &self.epochs;
        let over = |it: &&Departure| it.until.is_some_and(|it| !epochs.is_settling(it));
        let gone: Vec<NodeId> =
            self.departures.iter().filter(over).filter_map(|it| it.node).collect();
        for node in gone {
            self.unlist(node);
            self.forget(node);
        }
    }

    pub(super) fn settle(&mut self, listed: &[NodeId], out: &mut Sink<'_>) {
        for node in listed {
            let Some(untold) = self.epochs.take_untold(*node) else { continue };
            if !self.nodes.contains(*node) {
                continue;
            }
            self.tell_above(*node, out);
            for entry in untold.into_entries() {
                if entry.closed == Closed::Unknown {
                    let path = self.place_path_of(*node, &entry.name);
                    self.notices.push_back(Notice::Unprobed(path.into()));
                }
                let is_closed = matches!(entry.closed, Closed::Yes | Closed::Unknown);
                if let Some(difference) = entry.difference
                    && !self.has_belief(*node, &entry.name)
                {
                    self.tell_difference(*node, &entry, difference, is_closed, out);
                    self.note_told(*node, &entry);
                    continue;
                }
                if !entry.came {
                    self.tell_came(*node, &entry.name, entry.kind, out);
                }
                if is_closed {
                    self.tell(*node, EventType::CloseWrite, &entry.name, false, None, out);
                }
                self.note_told(*node, &entry);
            }
        }
    }

    /// Tells of what no record told: by each of the types by which one would have.
    fn tell_difference(
        &mut self,
        node: NodeId,
        entry: &UntoldEntry,
        difference: Difference,
        is_closed: bool,
        out: &mut Sink<'_>,
    ) {
        let is_dir = entry.kind == Kind::Directory;
        for event_type in difference.event_types() {
            let is_told = match event_type {
                EventType::Create | EventType::MovedTo => {
                    !(entry.came && difference == Difference::Came)
                }
                EventType::CloseWrite => is_closed,
                _ => true,
            };
            if is_told {
                let stamp = entry.stamp;
                let origin = Origin::Recovered;
                self.tell_as(node, *event_type, &entry.name, is_dir, origin, stamp, None, out);
            }
        }
    }

    /// A record of a settling directory is about to be told: what has to be told before it?
    pub(super) fn tell_before(
        &mut self,
        node: NodeId,
        event_type: EventType,
        name: &[u8],
        out: &mut Sink<'_>,
    ) {
        self.tell_above(node, out);
        let Some(untold) = self.epochs.untold(node) else { return };
        let Some(entry) = untold.get(name) else { return };
        let kind = entry.kind;
        let content = matches!(
            entry.difference,
            None | Some(Difference::Came | Difference::Changed | Difference::Closed)
        );
        let closed = content && entry.closed == Closed::Yes && event_type == EventType::MovedFrom;
        let came = std::mem::replace(&mut entry.came, true);
        // Behind a loss there may be further ones: what was listed may have come about by what no
        // record tells. It is told all the same, rather twice than never.
        let is_gone = entry.difference == Some(Difference::Gone);
        let is_whole = self.memory.lost_since.is_none();
        let all_told = match event_type {
            EventType::Create | EventType::MovedTo if is_whole || is_gone => {
                return untold.told(name);
            }
            EventType::Create | EventType::MovedTo => return,
            _ if !is_whole => false,
            EventType::CloseWrite | EventType::Delete | EventType::MovedFrom => true,
            _ => false,
        };
        if all_told {
            untold.told(name);
        }
        if !came {
            self.tell_came(node, name, kind, out);
        }
        if closed {
            self.tell(node, EventType::CloseWrite, name, false, None, out);
        }
    }

    /// Tells of the directories above, and of the node itself, what is still untold: an event in a
    /// directory never comes before the directory's own.
    pub(super) fn tell_above(&mut self, node: NodeId, out: &mut Sink<'_>) {
        let mut above = Vec::new();
        let mut at = node;
        while let Some(parent) = self.nodes.parent(at) {
            if !self.epochs.is_settling(self.nodes[parent].epoch) {
                break;
            }
            above.push((parent, at));
            at = parent;
        }
        for (parent, child) in above.into_iter().rev() {
            let Some(untold) = self.epochs.untold(parent) else { continue };
            let name = self.nodes[child].name.clone();
            let Some(entry) = untold.get(&name) else { continue };
            if !std::mem::replace(&mut entry.came, true) {
                let kind = entry.kind;
                self.tell_came(parent, &name, kind, out);
            }
        }
    }

    /// Tells that something met in a listing has come: made there, or moved from a known place.
    pub(super) fn tell_came(&mut self, node: NodeId, name: &[u8], kind: Kind, out: &mut Sink<'_>) {
        let src = self.take_belief(node, name);
        let event_type = if src.is_some() { EventType::MovedTo } else { EventType::Create };
        self.tell(node, event_type, name, kind == Kind::Directory, src.as_ref(), out);
    }

    /// Tells of what stands at a place, and of all that is watched below it, what the kernel tells when
    /// a file system ends. What it has told this of has no descriptor any more.
    pub(super) fn tell_unmounted(&mut self, node: NodeId, out: &mut Sink<'_>) {
        for node in self.nodes.subtree(node) {
            if self.nodes.contains(node) && self.nodes.wd(node).is_some() {
                self.tell(node, EventType::Unmount, b"", false, None, out);
                self.tell(node, EventType::Ignored, b"", false, None, out);
            }
        }
    }

    pub(super) fn tell(
        &mut self,
        node: NodeId,
        event_type: EventType,
        name: &[u8],
        is_dir: bool,
        src: Option<&Arc<[u8]>>,
        out: &mut Sink<'_>,
    ) {
        self.tell_as(node, event_type, name, is_dir, Origin::Scan, None, src, out);
    }

    #[expect(clippy::too_many_arguments, reason = "they are what is told")]
    fn tell_as(
        &mut self,
        node: NodeId,
        event_type: EventType,
        name: &[u8],
        is_dir: bool,
        origin: Origin,
        stamp: Option<Stamp>,
        src: Option<&Arc<[u8]>>,
        out: &mut Sink<'_>,
    ) {
        let spots = self.nodes[node].spots;
        if !self.scope.interest(spots).wanted.contains(event_type.mask()) {
            return;
        }
        let kind = if is_dir { Mask::ISDIR } else { Mask::NONE };
        let sighting = Sighting {
            node,
            spots,
            seen_by: &[],
            event_type,
            mask: event_type.mask().with(kind),
            is_dir,
            cookie: 0,
            wd: self.nodes.wd(node).unwrap_or(Wd::NONE),
            name,
            src: src.cloned(),
            grown: false,
            origin,
            stamp,
        };
        out(self, sighting);
        self.told(node, event_type, name, src, None);
    }
}
