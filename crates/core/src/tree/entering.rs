//! Looking at places: what is asked, and what follows from the answers.

use std::sync::Arc;

use super::{
    Closed, Enter, EnterError, Flight, Found, Join, Joined, Kind, Look, MountChange, NodeId,
    Notice, Otherwise, Sink, Ticket, Todo, Tree, WatchError, Why,
    nodes::{Node, State, Told},
    settle::Echo,
};
use crate::{
    event::{EventType, Mask},
    path,
    scope::{Arrival, SpotsId},
};

impl Tree {
    pub(super) fn seek(
        &mut self,
        parent: Option<NodeId>,
        name: &[u8],
        is_dir: bool,
        arrival: Arrival,
    ) {
        // What a rule makes is entered once it is whole and has its name: all that is in it is new.
        if is_dir && path::is_temporary(name) {
            return;
        }
        let why = Why::Arrived(arrival);
        self.todo.push(Todo { parent, name: name.into(), is_dir, why });
    }

    /// Looks for a name that is gone, if a trail goes on with it.
    pub(super) fn seek_trail(&mut self, parent: NodeId, name: &[u8]) {
        if self.nodes.contains(parent) && self.scope.seeks(self.nodes[parent].spots, name) {
            self.seek(Some(parent), name, false, Arrival::Later);
        }
    }

    pub(super) fn confirm(&mut self, node: NodeId, otherwise: Otherwise) {
        self.push_todo(node, Why::Confirm(otherwise));
    }

    pub(super) fn push_todo(&mut self, node: NodeId, why: Why) {
        let parent = self.nodes.parent(node);
        let name = self.nodes[node].name.clone();
        let is_dir = !self.nodes[node].state.file;
        self.todo.push(Todo { parent, name, is_dir, why });
    }

    pub(super) fn here(&self, todo: &Todo) -> Option<NodeId> {
        match todo.parent {
            None => self.top,
            Some(parent) => self.nodes.child(parent, &todo.name),
        }
    }

    /// Makes a question of a place, unless there is nothing to ask any more.
    pub(super) fn depart_flight(&mut self, mut todo: Todo) -> Option<Enter> {
        if todo.parent.is_some_and(|it| !self.nodes.contains(it)) {
            return None;
        }
        let here = self.here(&todo);
        if let (Why::Confirm(Otherwise::Told) | Why::Mounts(_), None) = (todo.why, here) {
            // What stood there has gone by its own record; what took its place has not been seen.
            todo.why = Why::Arrived(Arrival::Later);
        }
        let (mut names, mut stamps, mut join) = (Vec::new(), false, Join::No);
        let (spots, look, add) = match (todo.why, here) {
            (Why::Mounts(_), Some(node)) => {
                let spots = self.nodes[node].spots;
                (spots, self.look(spots, Arrival::Present), true)
            }
            (Why::Confirm(_), Some(node)) => (self.nodes[node].spots, Look::Nothing, true),
            (Why::Refresh, Some(node)) => (self.nodes[node].spots, Look::Nothing, false),
            (Why::Resync, Some(node)) => {
                let spots = self.nodes[node].spots;
                let mut look = self.look(spots, Arrival::Present);
                if self.memory.lost_since.is_some() && self.scope.interest(spots).tells_changes() {
                    (look, stamps) = (Look::Everything { probe: false }, true);
                    join = if self.memory.keeps { Join::Seen } else { Join::No };
                }
                (spots, look, true)
            }
            (Why::Probe, Some(node)) => {
                names = self.names_to_probe(node);
                stamps = true;
                (self.nodes[node].spots, Look::Named, true)
            }
            (Why::Confirm(_) | Why::Mounts(_) | Why::Refresh | Why::Resync | Why::Probe, None) => {
                return None;
            }
            (Why::Arrived(arrival), _) => {
                let spots = self.place_spots(&todo, arrival);
                let mut look = self.look(spots, arrival);
                if let Some(asked) = self.join(spots, arrival, here) {
                    (look, join) = asked;
                    stamps = matches!(join, Join::Seen | Join::Baseline);
                }
                (spots, look, true)
            }
        };
        if spots == SpotsId::NONE {
            return None;
        }
        let mut mask = self.mask(spots, here);
        if let (false, Some(wd)) = (add, here.and_then(|it| self.nodes.wd(it))) {
            for owner in self.nodes.of(wd) {
                mask = mask.with(self.mask(self.nodes[owner].spots, Some(owner)));
            }
        }
        let path = self.place_path(todo.parent, &todo.name);
        let interest = self.scope.interest(spots);
        let trusted = if interest.is_root || interest.is_trail {
            path.len()
        } else {
            todo.parent.map_or(0, |it| self.push_path(it, &mut Vec::new()))
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        // In the middle of a trail a file is no way on: it is not even watched for a moment.
        let only_dir = !self.scope.interest(spots).is_root;
        let path_too = path.clone();
        let enter = Enter {
            ticket,
            path: path_too,
            trusted,
            mask,
            add,
            only_dir,
            look,
            names,
            stamps,
            join,
        };
        self.in_flight.insert((todo.parent, todo.name.clone()));
        let blind = todo.parent.is_some_and(|it| !self.tells_of_names(it));
        let unasked = join == Join::No;
        self.flights.insert(ticket, Flight { todo, path, spots, mask, blind, unasked });
        Some(enter)
    }

    pub(super) fn place_spots(&mut self, todo: &Todo, arrival: Arrival) -> SpotsId {
        let Some(parent) = todo.parent else { return self.scope.top() };
        let path = self.filtered_path(parent, &todo.name);
        let spots = self.nodes[parent].spots;
        self.scope.child(spots, &todo.name, todo.is_dir, arrival, path.as_ref())
    }

    /// The spots that a known node has in a new place.
    pub(super) fn child_spots(&mut self, parent: NodeId, name: &[u8], node: NodeId) -> SpotsId {
        let path = self.filtered_path(parent, name);
        let Node { spots, state, .. } = self.nodes[node];
        let arrival = Arrival::Known(spots);
        self.scope.child(self.nodes[parent].spots, name, !state.file, arrival, path.as_ref())
    }

    /// The path of an entry, and how much of it a Watch's own path is, if a filter has to see it.
    pub(super) fn filtered_path(&self, parent: NodeId, name: &[u8]) -> Option<(Vec<u8>, usize)> {
        self.scope.filters_paths(self.nodes[parent].spots).then(|| {
            let mut path = Vec::new();
            let root_len = self.push_path(parent, &mut path);
            path::push(&mut path, name);
            (path, root_len)
        })
    }

    pub(super) fn look(&self, spots: SpotsId, arrival: Arrival) -> Look {
        let interest = self.scope.interest(spots);
        let new = arrival != Arrival::Present;
        let tells = new && interest.tells_entries();
        if tells || interest.globs {
            let probe = tells && interest.wanted.contains(EventType::CloseWrite.mask());
            Look::Everything { probe }
        } else if interest.takes_present || (new && interest.takes_later) {
            Look::Directories
        } else {
            Look::Nothing
        }
    }

    /// What to ask of the kernel for something with these spots: what the Watches want, and what
    /// keeps the tree right. The three types that the kernel always tells cannot be asked for.
    pub(super) fn mask(&self, spots: SpotsId, node: Option<NodeId>) -> Mask {
        use EventType as T;
        let always = [T::Unmount, T::QOverflow, T::Ignored].into_iter().collect();
        let interest = self.scope.interest(spots);
        let state = node.map(|it| self.nodes[it].state).unwrap_or_default();
        let moves = T::MovedFrom.mask().with(T::MovedTo.mask());
        let own = T::DeleteSelf.mask().with(T::MoveSelf.mask());
        let mut mask = interest.wanted.without(always).with(own);
        // By a move from its temporary name, what a rule has made comes to be there.
        let comes = T::Create.mask().with(T::CloseWrite.mask());
        if mask.intersects(moves.with(comes)) || interest.takes_present {
            mask = mask.with(moves);
        }
        if interest.takes_later {
            mask = mask.with(moves).with(T::Create.mask());
        }
        if self.memory.keeps && mask.intersects(T::Delete.mask().with(T::MovedFrom.mask())) {
            // What is to be missed has to be known of.
            mask = mask.with(moves).with(T::Create.mask());
        }
        if self.memory.keeps && interest.tells_changes() {
            // What is gone and was told of would be in the index for ever, and missed at each start.
            mask = mask.with(T::MovedFrom.mask()).with(T::Delete.mask());
        }
        if interest.is_trail && (interest.globs || state.awaits) {
            mask = mask.with(moves).with(T::Create.mask()).with(T::Delete.mask());
        }
        mask
    }

    /// Whether the kernel was asked to tell what leaves a directory.
    fn tells_of_names(&self, node: NodeId) -> bool {
        self.nodes[node].mask.contains(EventType::MovedFrom.mask())
    }

    /// Whether what was found can be what stands at that place: whether it is in the directory
    /// that the place is in. (The path may have led elsewhere because a directory above has moved.)
    pub(super) fn fits(&self, todo: &Todo, found: &Found) -> bool {
        let (Some(parent), Some(found_parent)) = (todo.parent, found.parent) else { return true };
        found.linked || self.nodes[parent].id == found_parent
    }

    /// Takes in what was found at a place, or that nothing was.
    pub(super) fn answer(
        &mut self,
        flight: Flight,
        answer: Result<Found, EnterError>,
        out: &mut Sink<'_>,
    ) {
        let Flight { todo, path, spots, mask, blind, unasked } = flight;
        if todo.parent.is_some_and(|it| !self.nodes.contains(it)) {
            return;
        }
        if self.place_path(todo.parent, &todo.name) != path {
            self.todo.push(todo);
            return;
        }
        match answer {
            // A directory has taken a file's place meanwhile, or it was not known to be one: Watches
            // that take directories have to be asked for it.
            Ok(found)
                if matches!(todo.why, Why::Arrived(_))
                    && !todo.is_dir
                    && !found.linked
                    && found.kind == Kind::Directory =>
            {
                if let Ok(wd) = found.wd {
                    // It was watched before it was closed, and will be before it is opened again.
                    let opens = u32::from(found.opened);
                    let looks = Echo { opens, reads: found.reads, closes: opens };
                    self.epochs.expect(wd, b"", mask, looks);
                }
                self.todo.push(Todo { is_dir: true, ..todo });
            }
            Ok(found) if self.fits(&todo, &found) => {
                if let (Why::Mounts(MountChange::Unmounted), Some(here)) =
                    (todo.why, self.here(&todo))
                    && found.wd.as_ref().is_ok_and(|it| self.nodes.wd(here) != Some(*it))
                {
                    self.tell_unmounted(here, out);
                }
                self.entered(todo, spots, mask, found, blind, unasked);
            }
            Ok(_) | Err(EnterError::Missing) => {
                self.refused.remove(&*path);
                self.absent(todo);
            }
            Err(EnterError::Failed(error)) => {
                self.absent(todo.clone());
                // Also of one that was known, and that cannot be found now.
                let path: Arc<[u8]> = path.into();
                if self.here(&todo).is_none() && self.refused.insert(Arc::clone(&path)) {
                    self.notices.push_back(Notice::Unwatched(path, error));
                }
            }
        }
    }

    pub(super) fn entered(
        &mut self,
        todo: Todo,
        spots: SpotsId,
        mask: Mask,
        found: Found,
        blind: bool,
        unasked: bool,
    ) {
        self.epochs.count_entered();
        let here = self.here(&todo);
        let anchor = match (todo.parent, here) {
            (_, Some(here)) if found.linked && self.nodes[here].state.linked => {
                self.nodes[here].anchor
            }
            (Some(parent), _) if !found.linked => self.nodes[parent].anchor,
            (None, _) => 0,
            _ => {
                self.anchors += 1;
                self.anchors
            }
        };
        let known = found.wd.as_ref().ok().and_then(|wd| {
            self.nodes.of(*wd).find(|it| {
                let node = &self.nodes[*it];
                Some(*it) == here
                    || (!node.state.file && (node.anchor, node.mount) == (anchor, found.mount))
            })
        });
        match (known, here) {
            (Some(known), Some(here)) if known == here => {
                self.nodes[here].state.doubtful = false;
                self.nodes[here].mask = mask;
                self.nodes[here].epoch = self.epochs.number();
                self.expect_echoes(here, &found, false);
                self.number(here, &found.joined);
                // It may have been away and have come back, with no record that moves it.
                self.seek_missed(here);
                match todo.why {
                    Why::Arrived(arrival) => self.list(here, arrival, found),
                    Why::Resync => self.resync(here, found),
                    Why::Probe => self.probed(here, found),
                    Why::Refresh => {
                        // What is told of by name only may have been replaced before names were
                        // asked for.
                        for child in self.nodes.children(here).collect::<Vec<_>>() {
                            let State { file, linked, .. } = self.nodes[child].state;
                            if file || linked {
                                self.confirm(child, Otherwise::Gone);
                            }
                        }
                        self.seek_literals(here, Arrival::Later);
                    }
                    Why::Mounts(change) => {
                        self.seek_unknown(here, &found);
                        for child in self.nodes.children(here).collect::<Vec<_>>() {
                            self.push_todo(child, Why::Mounts(change));
                        }
                    }
                    Why::Confirm(_) => (),
                }
            }
            (Some(known), _) => {
                self.relocate(known, &todo);
                if self.memory.lost_since.is_some() && self.nodes.contains(known) {
                    // What was sought below its old place is to be sought again.
                    self.look_at_all_below(known);
                }
            }
            (None, Some(here)) if found.wd.is_err() && self.nodes.wd(here).is_none() => {
                // It could not be watched before, and still cannot.
                if let Why::Arrived(arrival) = todo.why {
                    self.list(here, arrival, found);
                }
            }
            (None, here) => {
                if let Some(here) = here {
                    self.give_way(here, todo.why);
                }
                match todo.why {
                    // Something else stood there when it was asked about, which had a number.
                    Why::Arrived(arrival)
                        if unasked && self.join(spots, arrival, None).is_some() =>
                    {
                        self.todo.push(todo);
                    }
                    Why::Arrived(arrival) => {
                        self.insert(&todo, spots, mask, anchor, arrival, found);
                        if let Some(node) = self.here(&todo)
                            && (blind || todo.parent.is_some_and(|it| !self.tells_of_names(it)))
                        {
                            self.confirm(node, Otherwise::Gone);
                        }
                    }
                    Why::Confirm(_) | Why::Mounts(_) | Why::Refresh | Why::Resync | Why::Probe => {
                        self.todo.push(Todo { why: Why::Arrived(Arrival::Later), ..todo });
                    }
                }
            }
        }
    }

    /// Adds what was found to the tree.
    pub(super) fn insert(
        &mut self,
        todo: &Todo,
        spots: SpotsId,
        mask: Mask,
        anchor: u32,
        arrival: Arrival,
        found: Found,
    ) {
        let file = found.kind != Kind::Directory;
        let interest = Arc::clone(self.scope.interest(spots));
        let path: Arc<[u8]> = self.place_path(todo.parent, &todo.name).into();
        if file && !interest.is_root {
            return self.absent(todo.clone());
        }
        let mut node = Node::new(&todo.name);
        (node.id, node.anchor, node.mount) = (found.id, anchor, found.mount);
        (node.spots, node.mask, node.epoch) = (spots, mask, self.epochs.number());
        (node.state.file, node.state.linked) = (file, found.linked);
        if arrival == Arrival::Present {
            node.state.told = Told::Present;
        }
        match &found.wd {
            Ok(_) => (),
            Err(WatchError::Limit) => {
                node.state.unwatched = true;
                self.notices.push_back(Notice::Limit(path.clone()));
            }
            // On the way to a root it is enough to be able to pass.
            Err(WatchError::Failed(_)) if interest.members.is_empty() => (),
            Err(WatchError::Failed(error)) => {
                node.state.unwatched = true;
                self.notices.push_back(Notice::Unwatched(path.clone(), error.clone()));
            }
        }
        let id = self.nodes.insert(todo.parent, found.wd.as_ref().ok().copied(), node);
        match todo.parent {
            None => self.top = Some(id),
            // What the name stands for may be replaced without a record of its own.
            Some(parent) if (file || found.linked) && self.nodes[parent].state.awaits => (),
            Some(parent) if file || found.linked => self.set_awaits(parent, true),
            Some(parent) => self.check_awaits(parent),
        }
        self.waiting.remove(&path);
        self.refused.remove(&path);
        if interest.is_root {
            self.notices.push_back(Notice::Watches(path));
        }
        self.expect_echoes(id, &found, true);
        self.number(id, &found.joined);
        self.list(id, arrival, found);
    }

    /// Takes in the listing of a directory that has just been entered.
    pub(super) fn list(&mut self, node: NodeId, arrival: Arrival, mut found: Found) {
        let Node { spots, .. } = self.nodes[node];
        let interest = Arc::clone(self.scope.interest(spots));
        let new = arrival != Arrival::Present;
        let inside = if new { Arrival::Inside } else { Arrival::Present };
        let takes = interest.takes_present || (new && interest.takes_later);
        for entry in &found.entries {
            let is_dir = entry.kind == Kind::Directory;
            let sought = interest.is_trail && self.scope.seeks(spots, &entry.name);
            if (sought || (is_dir && takes)) && self.nodes.child(node, &entry.name).is_none() {
                self.seek(Some(node), &entry.name, is_dir, inside);
            }
            if new && let Some(child) = self.nodes.child(node, &entry.name) {
                self.is_new(child, inside);
            }
        }
        self.seek_literals(node, inside);
        let joined = std::mem::take(&mut found.joined);
        let entries = self.entries_of(node, found);
        match joined {
            Joined::Seen(..) | Joined::New(_) => self.compare(node, entries, joined),
            Joined::No | Joined::Number(_)
                if new && interest.tells_entries() && !self.nodes[node].state.compared =>
            {
                self.epochs.list(node, entries);
            }
            Joined::No | Joined::Number(_) => (),
        }
    }

    /// Takes in the listing of a known directory after records were lost: what it has and the tree
    /// has not is new, what the tree has is looked at on its own.
    pub(super) fn resync(&mut self, node: NodeId, mut found: Found) {
        self.seek_unknown(node, &found);
        let joined = std::mem::take(&mut found.joined);
        let entries = self.entries_of(node, found);
        self.compare_again(node, entries, joined);
    }

    /// Looks at what the listing of a known directory has and the tree has not.
    fn seek_unknown(&mut self, node: NodeId, found: &Found) {
        let interest = Arc::clone(self.scope.interest(self.nodes[node].spots));
        for entry in &found.entries {
            let is_dir = entry.kind == Kind::Directory;
            if self.nodes.child(node, &entry.name).is_none() && (is_dir || interest.is_trail) {
                self.seek(Some(node), &entry.name, is_dir, Arrival::Later);
            }
        }
        self.seek_literals(node, Arrival::Later);
    }

    /// Our own looking at a directory is seen by whoever watches it, or the directory that it is in.
    pub(super) fn expect_echoes(&mut self, node: NodeId, found: &Found, first: bool) {
        let opens = u32::from(found.opened);
        let above = Echo { opens, reads: found.reads, closes: opens };
        // What is entered for the first time was opened before it was watched.
        let own = Echo { opens: if first { 0 } else { opens }, ..above };
        let mask = self.nodes[node].mask;
        if let Some(wd) = self.nodes.wd(node) {
            self.epochs.expect(wd, b"", mask, own);
            for entry in found.entries.iter().filter(|it| it.closed != Closed::NotAsked) {
                let probe = Echo { opens: 1, reads: 0, closes: 1 };
                self.epochs.expect(wd, &entry.name, mask, probe);
            }
        }
        if let Some(parent) = self.nodes.parent(node)
            && let Some(wd) = self.nodes.wd(parent)
        {
            let mask = self.nodes[parent].mask;
            self.epochs.expect(wd, &self.nodes[node].name, mask, above);
        }
    }

    pub(super) fn seek_literals(&mut self, node: NodeId, arrival: Arrival) {
        let literals = self.scope.literals(self.nodes[node].spots);
        let lacking: Vec<Box<[u8]>> =
            literals.filter(|it| self.nodes.child(node, it).is_none()).map(Into::into).collect();
        for name in lacking {
            // A Watch's path may lead through links: whether it is a directory is seen on entering.
            self.seek(Some(node), &name, false, arrival);
        }
    }

    /// Nothing, or something else, is where a place was looked at.
    pub(super) fn absent(&mut self, todo: Todo) {
        let mut again = Arrival::Later;
        if let Some(here) = self.here(&todo) {
            match todo.why {
                // Records of its move may have been lost: it may be met elsewhere.
                Why::Resync if self.memory.lost_since.is_some() => {
                    again = Arrival::Known(self.nodes[here].spots);
                    self.depart_unseen(here);
                }
                Why::Confirm(Otherwise::Gone) | Why::Resync => {
                    again = Arrival::Known(self.nodes[here].spots);
                    self.forget(here);
                }
                Why::Confirm(Otherwise::Left(cookie)) => self.depart(here, cookie),
                // Something else may have come to its place, and gone on: what the next record of this
                // name is about is to be seen where that leads.
                Why::Confirm(Otherwise::Told) | Why::Mounts(_) => {
                    self.nodes[here].state.doubtful = true;
                }
                Why::Arrived(_) | Why::Refresh | Why::Probe => (),
            }
        }
        let Some(parent) = todo.parent else { return };
        if !self.nodes.contains(parent) {
            return;
        }
        // Names that only a glob wants are told of anyway.
        let sought = self.scope.literals(self.nodes[parent].spots).any(|it| *it == *todo.name);
        if sought && self.here(&todo).is_none() {
            let path: Arc<[u8]> = self.place_path(Some(parent), &todo.name).into();
            if !self.nodes[parent].state.awaits {
                self.set_awaits(parent, true);
            }
            if self.waiting.insert(Arc::clone(&path)) {
                self.notices.push_back(Notice::Waits(path));
            }
        }
        let why = match todo.why {
            Why::Arrived(arrival) => Why::Arrived(arrival),
            Why::Mounts(change) if self.here(&todo).is_some() => Why::Mounts(change),
            Why::Confirm(_) | Why::Refresh | Why::Resync | Why::Probe
                if self.here(&todo).is_some() =>
            {
                Why::Confirm(Otherwise::Told)
            }
            Why::Confirm(_) | Why::Mounts(_) | Why::Refresh | Why::Resync | Why::Probe => {
                Why::Arrived(again)
            }
        };
        self.epochs.miss(Todo { why, ..todo });
    }

    pub(super) fn set_awaits(&mut self, node: NodeId, awaits: bool) {
        self.nodes[node].state.awaits = awaits;
        self.push_todo(node, Why::Refresh);
    }

    /// Stops asking for names in a directory in which nothing is awaited any more.
    pub(super) fn check_awaits(&mut self, node: NodeId) {
        if !self.nodes[node].state.awaits {
            return;
        }
        let firm = |name: &[u8]| {
            let child = self.nodes.child(node, name).map(|it| self.nodes[it].state);
            child.is_some_and(|it| !it.file && !it.linked)
        };
        if self.scope.literals(self.nodes[node].spots).all(firm) {
            self.set_awaits(node, false);
        }
    }
}
