//! Which timer is next.
//!
//! A configuration has few distinct delays, and the clock never goes back: what waits equally long
//! falls due in the order in which it came. So there is one queue for each distinct delay, and to
//! put a timer off is to move it to its queue's end, in constant time however many wait. What falls
//! due at a point of its own (a wait cut short, a retry) is kept in a tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::slab::{Links, List, Slab};
use crate::time::Instant;

/// Timers that carry a `K` each.
#[derive(Debug)]
pub(super) struct Timers<K> {
    nodes: Slab<Node<K>>,
    queues: Vec<Queue>,
    by_delay: BTreeMap<Duration, u16>,
    /// The due time of each queue's front.
    fronts: BTreeSet<(Instant, u16)>,
    /// By due time, then in the order of coming.
    tree: BTreeMap<(Instant, u64), u32>,
    /// How many have ever come into the tree.
    came: u64,
}

#[derive(Debug)]
struct Node<K> {
    due: Instant,
    key: K,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Queue { queue: u16, links: Links },
    Tree { came: u64 },
}

#[derive(Debug)]
struct Queue {
    delay: Duration,
    list: List,
}

/// Names a timer until it is removed or falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerId(u32);

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            nodes: Slab::default(),
            queues: Vec::new(),
            by_delay: BTreeMap::new(),
            fronts: BTreeSet::new(),
            tree: BTreeMap::new(),
            came: 0,
        }
    }
}

impl<K: Copy> Timers<K> {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Adds a timer that falls due `delay` from now. `now` must not be earlier than it was before.
    pub(super) fn insert(&mut self, now: Instant, delay: Duration, key: K) -> TimerId {
        let Some(queue) = self.queue(delay) else { return self.insert_at(now + delay, key) };
        let place = Place::Queue { queue, links: Links::NONE };
        let id = self.nodes.insert(Node { due: now + delay, key, place });
        self.push(queue, id);
        TimerId(id)
    }

    /// Adds a timer that falls due at a point of its own.
    pub(super) fn insert_at(&mut self, due: Instant, key: K) -> TimerId {
        self.came += 1;
        let place = Place::Tree { came: self.came };
        let id = self.nodes.insert(Node { due, key, place });
        self.tree.insert((due, self.came), id);
        TimerId(id)
    }

    /// Removes a timer.
    pub(super) fn remove(&mut self, id: TimerId) {
        self.unplace(id.0);
        self.nodes.remove(id.0);
    }

    /// When a timer falls due.
    pub(super) fn due(&self, id: TimerId) -> Instant {
        self.nodes[id.0].due
    }

    /// What a timer carries.
    pub(super) fn key(&self, id: TimerId) -> K {
        self.nodes[id.0].key
    }

    /// When the next timer falls due.
    pub(super) fn first(&self) -> Option<Instant> {
        let queued = self.fronts.first().map(|(due, _)| *due);
        let placed = self.tree.first_key_value().map(|((due, _), _)| *due);
        queued.into_iter().chain(placed).min()
    }

    /// Removes the next timer that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        let due = self.first().filter(|due| *due <= now)?;
        let id = match self.fronts.first() {
            Some((front, queue)) if *front == due => {
                self.queues[usize::from(*queue)].list.front().expect("`fronts` names queues in use")
            }
            _ => *self.tree.first_entry().expect("the first timer is in the tree").get(),
        };
        self.unplace(id);
        Some(self.nodes.remove(id).key)
    }

    /// Forgets the delays that no timer uses.
    pub(super) fn forget_unused(&mut self) {
        if self.nodes.is_empty() {
            self.queues.clear();
            self.by_delay.clear();
        }
    }

    /// Panics unless the tables agree with each other.
    pub(super) fn verify_invariants(&self) {
        let mut queued = 0;
        for (number, queue) in (0..).zip(&self.queues) {
            assert_eq!(self.by_delay[&queue.delay], number);
            let mut last = Instant::ZERO;
            for id in queue.list.iter(&self.nodes, Node::links) {
                let node = &self.nodes[id];
                assert!(last <= node.due, "a queue is in the order of its due times");
                assert!(matches!(node.place, Place::Queue { queue, .. } if queue == number));
                last = node.due;
                queued += 1;
            }
            let front = queue.list.front().map(|id| (self.nodes[id].due, number));
            assert_eq!(self.fronts.iter().find(|(_, it)| *it == number).copied(), front);
        }
        for (at, id) in &self.tree {
            let node = &self.nodes[*id];
            assert!(matches!(node.place, Place::Tree { came } if (node.due, came) == *at));
        }
        assert_eq!(self.nodes.len(), queued + self.tree.len());
        assert!(self.fronts.len() <= self.queues.len());
    }

    /// The queue of a delay; `None` when there are too many distinct ones.
    fn queue(&mut self, delay: Duration) -> Option<u16> {
        if let Some(queue) = self.by_delay.get(&delay) {
            return Some(*queue);
        }
        let number = u16::try_from(self.queues.len()).ok()?;
        self.queues.push(Queue { delay, list: List::EMPTY });
        self.by_delay.insert(delay, number);
        Some(number)
    }

    fn push(&mut self, number: u16, id: u32) {
        let queue = &mut self.queues[usize::from(number)];
        if queue.list.is_empty() {
            self.fronts.insert((self.nodes[id].due, number));
        }
        debug_assert!(queue.list.back().is_none_or(|it| self.nodes[it].due <= self.nodes[id].due));
        queue.list.push_back(&mut self.nodes, id, Node::links_mut);
    }

    fn unplace(&mut self, id: u32) {
        let due = self.nodes[id].due;
        match self.nodes[id].place {
            Place::Tree { came } => {
                self.tree.remove(&(due, came));
            }
            Place::Queue { queue: number, .. } => {
                let list = &mut self.queues[usize::from(number)].list;
                let was_front = list.front() == Some(id);
                list.remove(&mut self.nodes, id, Node::links_mut);
                if was_front {
                    self.fronts.remove(&(due, number));
                    if let Some(front) = list.front() {
                        self.fronts.insert((self.nodes[front].due, number));
                    }
                }
            }
        }
    }
}

impl<K> Node<K> {
    fn links(&self) -> Links {
        match self.place {
            Place::Queue { links, .. } => links,
            Place::Tree { .. } => unreachable!("only a queue's timers are linked"),
        }
    }

    fn links_mut(&mut self) -> &mut Links {
        match &mut self.place {
            Place::Queue { links, .. } => links,
            Place::Tree { .. } => unreachable!("only a queue's timers are linked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn equal_delays_fall_due_in_the_order_of_coming() {
        let mut timers = Timers::default();
        let ids: Vec<TimerId> = (0..4).map(|it| timers.insert(at(0), ms(5), it)).collect();
        timers.remove(ids[1]);
        timers.insert(at(0), ms(5), 9);
        timers.insert_at(at(3), 7);
        timers.insert_at(at(3), 6);
        timers.verify_invariants();
        assert_eq!(timers.first(), Some(at(3)));
        let popped: Vec<i32> = std::iter::from_fn(|| timers.pop(at(5))).collect();
        assert_eq!(popped, [7, 6, 0, 2, 3, 9]);
        timers.verify_invariants();
        assert_eq!((timers.len(), timers.first()), (0, None));
    }

    #[test]
    fn a_timer_is_not_due_before_its_time() {
        let mut timers = Timers::default();
        timers.insert(at(0), ms(5), ());
        assert_eq!(timers.pop(at(4)), None);
        assert_eq!(timers.pop(at(5)), Some(()));
    }

    #[test]
    fn a_timer_takes_32_bytes() {
        assert_eq!(size_of::<Node<(u32, u32)>>(), 32);
    }
}
