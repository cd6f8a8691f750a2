//! What is watched, for whoever asks.

use std::collections::BTreeMap;

use super::{NodeId, Tree};
use crate::{plan::WatchId, record::Wd, scope::SpotsId};

impl Tree {
    /// How many watched items a Watch sees, less what is only on the way to one.
    #[must_use]
    pub fn watched_len(&self) -> usize {
        self.watched_nodes().count()
    }

    /// The same, and how many of them each Watch sees, by its number.
    #[must_use]
    pub fn watched_by_watch(&self) -> (usize, BTreeMap<WatchId, usize>) {
        // Of a million items, only few differ in who sees them.
        let mut by_spots: BTreeMap<SpotsId, usize> = BTreeMap::new();
        for node in self.watched_nodes() {
            *by_spots.entry(self.nodes[node].spots).or_default() += 1;
        }
        let (all, mut by_watch) = (by_spots.values().sum(), BTreeMap::new());
        for (spots, count) in by_spots {
            for watch in &self.scope.interest(spots).members {
                *by_watch.entry(*watch).or_default() += count;
            }
        }
        (all, by_watch)
    }

    /// The watched items that any Watch sees, their watches and paths; not what is only on the way
    /// to one.
    pub fn watched(&self) -> impl Iterator<Item = (Wd, Vec<u8>)> {
        self.watched_nodes().filter_map(|it| Some((self.nodes.wd(it)?, self.path(it))))
    }

    fn watched_nodes(&self) -> impl Iterator<Item = NodeId> {
        let placed = self.nodes.iter().filter(|it| !self.nodes[*it].state.departed);
        let seen =
            placed.filter(|it| !self.scope.interest(self.nodes[*it].spots).members.is_empty());
        seen.filter(|it| self.nodes.wd(*it).is_some())
    }

    /// All watches that are held.
    pub fn watches(&self) -> impl Iterator<Item = Wd> {
        self.nodes.iter().filter_map(|it| self.nodes.wd(it))
    }
}
