//! What each Watch covers: which directories are watched for it, and which events are asked for.
//!
//! A Watch's path is a list of names, some of them globs; a directory is *on the trail* of a Watch
//! while names are left, it is the Watch's *root* when none is, and it is *below* the root after
//! that. Where a directory stands towards each Watch is its set of [`Spot`]s, and a child's spots
//! follow from its parent's and its name. There are few different sets, so they are kept once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::{
    event::{EventType, Mask},
    filter::Filter,
    plan::{NamePattern, PathPattern, WatchId},
};

/// What one Watch covers.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// Its paths.
    pub paths: Vec<PathPattern>,
    /// Whether directories that are there are watched with all that is below them.
    pub rec: bool,
    /// Whether directories that come later are watched with all that is below them.
    pub auto_add: bool,
    /// The event types that something is to happen for.
    pub mask: Mask,
    /// Directories that it prunes are not watched.
    pub filter: Filter,
}

/// What all Watches cover.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    watches: Vec<Coverage>,
    sets: Sets,
}

/// Where a directory stands towards one Watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The Watch.
    pub watch: WatchId,
    /// How far along its path.
    pub stage: Stage,
}

/// How far along a Watch's path a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// `names` of the Watch's path number `path` have been matched; at least one is left.
    Trail {
        /// Number of the path in the Watch.
        path: u16,
        /// How many of its names have been matched.
        names: u16,
    },
    /// The whole path is matched.
    Root,
    /// Below the root.
    Below,
}

/// Names a set of spots; [`SpotsId::NONE`] is the empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpotsId(u32);

impl SpotsId {
    /// No Watch is interested.
    pub const NONE: Self = Self(0);
}

/// How a directory came to be known, which decides whether a Watch takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was there when its Watch began: `rec` decides.
    Present,
    /// It was found in a directory that is itself new: `rec` or `auto_add`.
    Inside,
    /// It came into a directory that was watched: `auto_add` decides.
    Later,
    /// It was watched with these spots before and has been renamed, or the configuration has
    /// changed: what was watched for a Watch stays so.
    Known(SpotsId),
}

/// What follows from a set of spots.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own about the spots")]
pub struct Interest {
    /// The spots, sorted.
    pub spots: Box<[Spot]>,
    /// The Watches that see what happens here, in the order of the configuration.
    pub members: Box<[WatchId]>,
    /// The event types that any of them wants.
    pub wanted: Mask,
    /// Whether a directory that comes into this one may be taken.
    pub takes_later: bool,
    /// Whether directories that are in this one may be taken when it is entered.
    pub takes_present: bool,
    /// Whether any next name of a trail is a glob.
    pub globs: bool,
    /// Whether this is the root of any Watch.
    pub is_root: bool,
    /// Whether this is on the trail of any Watch.
    pub is_trail: bool,
}

#[derive(Clone, Debug)]
struct Sets {
    all: Vec<Arc<Interest>>,
    by_spots: FxHashMap<Box<[Spot]>, SpotsId>,
}

impl Default for Sets {
    fn default() -> Self {
        Self { all: vec![Arc::default()], by_spots: FxHashMap::default() }
    }
}

impl Scope {
    /// The scope of these Watches, in the order of the configuration.
    #[must_use]
    pub fn new(watches: Vec<Coverage>) -> Self {
        Self { watches, sets: Sets::default() }
    }

    /// What a Watch covers.
    #[must_use]
    pub fn coverage(&self, watch: WatchId) -> &Coverage {
        &self.watches[usize::from(watch.0)]
    }

    /// The Watches and what they cover.
    pub fn watches(&self) -> impl Iterator<Item = (WatchId, &Coverage)> {
        (0..).map(WatchId).zip(&self.watches)
    }

    /// What follows from a set of spots.
    #[must_use]
    pub fn interest(&self, spots: SpotsId) -> &Arc<Interest> {
        &self.sets.all[spots.0 as usize]
    }

    /// How many different sets there are; a [`SpotsId`] counts up to it.
    #[must_use]
    pub fn sets(&self) -> usize {
        self.sets.all.len()
    }

    /// The spots of `/`.
    pub fn top(&mut self) -> SpotsId {
        let mut spots = Vec::new();
        for (watch, coverage) in self.watches() {
            for (path, pattern) in (0..).zip(&coverage.paths) {
                let stage = match pattern.names.len() {
                    0 => Stage::Root,
                    _ => Stage::Trail { path, names: 0 },
                };
                spots.push(Spot { watch, stage });
            }
        }
        self.intern(spots)
    }

    /// The spots of an entry of a directory. Only directories are ever below a root; a file, or a
    /// link, can still be on a trail. `path` is the entry's path and how much of it a Watch's own
    /// path is, if [`Scope::filters_paths`] of the parent.
    pub fn child(
        &mut self,
        parent: SpotsId,
        name: &[u8],
        is_dir: bool,
        arrival: Arrival,
        path: Option<&(Vec<u8>, usize)>,
    ) -> SpotsId {
        let parent = Arc::clone(self.interest(parent));
        let mut spots = Vec::new();
        for spot in &parent.spots {
            let coverage = self.coverage(spot.watch);
            match spot.stage {
                Stage::Trail { path: number, names } => {
                    let pattern = &coverage.paths[usize::from(number)];
                    if !pattern.names[usize::from(names)].matches(name) {
                        continue;
                    }
                    let names = names + 1;
                    let stage = if usize::from(names) == pattern.names.len() {
                        Stage::Root
                    } else {
                        Stage::Trail { path: number, names }
                    };
                    spots.push(Spot { watch: spot.watch, stage });
                }
                Stage::Root | Stage::Below => {
                    let taken = match arrival {
                        Arrival::Present => coverage.rec,
                        Arrival::Inside => coverage.rec || coverage.auto_add,
                        Arrival::Later => coverage.auto_add,
                        Arrival::Known(old) => {
                            coverage.auto_add || self.interest(old).members.contains(&spot.watch)
                        }
                    };
                    if !taken || !is_dir {
                        continue;
                    }
                    // A pattern that gives up on a path does not hide what is below it.
                    let prunes = |(path, root_len): &(Vec<u8>, usize)| {
                        coverage.filter.prunes_below(path, *root_len).unwrap_or(false)
                    };
                    if path.is_some_and(prunes) {
                        continue;
                    }
                    spots.push(Spot { watch: spot.watch, stage: Stage::Below });
                }
            }
        }
        self.intern(spots)
    }

    /// The names that a directory's trails go on with, as far as they are no globs.
    pub fn literals(&self, spots: SpotsId) -> impl Iterator<Item = &[u8]> {
        self.next_names(spots).filter_map(|name| match name {
            NamePattern::Literal(name) => Some(&**name),
            NamePattern::Glob(_) => None,
        })
    }

    /// Whether a directory's path decides, besides its name, what is watched.
    #[must_use]
    pub fn filters_paths(&self, spots: SpotsId) -> bool {
        let members = &self.interest(spots).members;
        members.iter().any(|it| !self.coverage(*it).filter.exclude.is_empty())
    }

    /// Whether a trail goes on with this name.
    #[must_use]
    pub fn seeks(&self, spots: SpotsId, name: &[u8]) -> bool {
        self.next_names(spots).any(|it| it.matches(name))
    }

    fn next_names(&self, spots: SpotsId) -> impl Iterator<Item = &NamePattern> {
        self.interest(spots).spots.iter().filter_map(|spot| match spot.stage {
            Stage::Trail { path, names } => {
                Some(&self.coverage(spot.watch).paths[usize::from(path)].names[usize::from(names)])
            }
            Stage::Root | Stage::Below => None,
        })
    }

    /// The spots of this scope that stand for another scope's, where the Watches are the same.
    /// A Watch is the same if it has the same paths.
    pub fn translate(&mut self, old: &Self, spots: SpotsId) -> SpotsId {
        let same = |old: &Coverage, new: &Coverage| {
            old.paths.len() == new.paths.len()
                && old.paths.iter().zip(&new.paths).all(|(old, new)| old.source == new.source)
        };
        let mut translated = Vec::new();
        for spot in &old.interest(spots).spots {
            let before = old.coverage(spot.watch);
            translated.extend(
                self.watches()
                    .filter(|(_, coverage)| same(before, coverage))
                    .map(|(watch, _)| Spot { watch, stage: spot.stage }),
            );
        }
        self.intern(translated)
    }

    fn intern(&mut self, mut spots: Vec<Spot>) -> SpotsId {
        if spots.is_empty() {
            return SpotsId::NONE;
        }
        spots.sort_unstable();
        spots.dedup();
        let spots = spots.into_boxed_slice();
        if let Some(id) = self.sets.by_spots.get(&spots) {
            return *id;
        }
        let id = SpotsId(u32::try_from(self.sets.all.len()).expect("sets of spots are few"));
        let interest = self.derive(spots.clone());
        self.sets.all.push(Arc::new(interest));
        self.sets.by_spots.insert(spots, id);
        id
    }

    fn derive(&self, spots: Box<[Spot]>) -> Interest {
        let mut it = Interest::default();
        let mut members = Vec::new();
        for spot in &spots {
            let coverage = self.coverage(spot.watch);
            match spot.stage {
                Stage::Trail { path, names } => {
                    it.is_trail = true;
                    let next = &coverage.paths[usize::from(path)].names[usize::from(names)];
                    it.globs |= matches!(next, NamePattern::Glob(_));
                }
                stage @ (Stage::Root | Stage::Below) => {
                    it.is_root |= stage == Stage::Root;
                    it.wanted = it.wanted.with(coverage.mask);
                    it.takes_later |= coverage.auto_add;
                    it.takes_present |= coverage.rec;
                    members.push(spot.watch);
                }
            }
        }
        members.dedup();
        it.members = members.into_boxed_slice();
        it.spots = spots;
        it
    }
}

impl Interest {
    /// Whether entries of a new directory are to be told of.
    #[must_use]
    pub fn tells_entries(&self) -> bool {
        self.wanted.intersects(EventType::Create.mask().with(EventType::CloseWrite.mask()))
    }

    /// Whether anything that happens to entries is to be told of, so that it has to be known what
    /// they are.
    #[must_use]
    pub fn tells_changes(&self) -> bool {
        use EventType as T;
        let types =
            [T::Create, T::Modify, T::Attrib, T::CloseWrite, T::MovedFrom, T::MovedTo, T::Delete];
        self.wanted.intersects(types.into_iter().collect())
    }
}

impl NamePattern {
    /// Whether a name is meant.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => **literal == *name,
            Self::Glob(glob) => glob.matches_visible_name(name),
        }
    }
}
