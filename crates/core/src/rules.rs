//! Which Watch, and which scheduler, an event is for.
//!
//! Each function answers one question from a plan and a path alone, so that the engine, which
//! acts, and [`crate::explain`], which tells, cannot come to different answers. What is really
//! watched, and since when, is the tree's to know; [`covers`] says what [`crate::scope`] makes of a
//! path when it is walked down name by name.

use crate::{
    filter::Filter,
    pattern::PatternFault,
    plan::{PathPattern, Scheduler, Watch},
};

/// Whether an event of this kind concerns a scheduler, before its path is known.
#[must_use]
pub const fn takes_kind(scheduler: &Scheduler, is_dir: bool) -> bool {
    if is_dir { scheduler.dirs } else { scheduler.files }
}

/// Whether a filter lets a path through, of which the first `root_len` bytes are a Watch's own path
/// ([`root_len`]).
///
/// # Errors
///
/// A pattern gave up on this path, so nobody knows.
pub fn passes(filter: &Filter, path: &[u8], root_len: usize) -> Result<bool, PatternFault> {
    if filter.is_empty() { Ok(true) } else { filter.lets_through_below(path, root_len) }
}

/// How many bytes of a normalized path are a Watch's own path: up to the topmost root that any of
/// the Watches has on it. `None` if it has none.
#[must_use]
pub fn root_len(watches: &[Watch], path: &[u8]) -> Option<usize> {
    let ends = name_ends(path);
    let patterns = watches.iter().flat_map(|it| &it.paths);
    let roots = patterns.filter(|it| it.names.len() <= ends.len() && leads_along(it, path));
    roots.map(|it| prefix_len(&ends, it.names.len())).min()
}

/// How a Watch stands towards an item, which is a directory or what one of its paths names.
///
/// A Watch that covers an item sees events about the item itself and, if that is a directory, those
/// about its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// None of its paths leads there.
    Elsewhere,
    /// One of its paths leads through it. It sees nothing there.
    Trail,
    /// One of its paths names it.
    Root,
    /// It is a directory below what one of its paths names.
    Below {
        /// How much of the item's path that path is; of several, the longest.
        root_len: usize,
        /// When the Watch takes it.
        taken: Taken,
    },
    /// It is, or is below, a directory that the Watch's filter excludes.
    Pruned {
        /// How much of the item's path is that directory.
        dir_len: usize,
    },
}

/// When a Watch takes directories below its own paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Always.
    Always,
    /// Those that are there when the watching begins: `rec` without `auto_add`.
    Present,
    /// Those that come later, with all that is in them: `auto_add` without `rec`.
    Later,
    /// Never.
    Never,
}

impl Taken {
    const fn of(watch: &Watch) -> Self {
        match (watch.rec, watch.auto_add) {
            (true, true) => Self::Always,
            (true, false) => Self::Present,
            (false, true) => Self::Later,
            (false, false) => Self::Never,
        }
    }
}

/// Whether a Watch covers an item, and as what. `path` is absolute and normalized; `root_len` is
/// that of [`root_len`], for the filter.
#[must_use]
pub fn covers(watch: &Watch, path: &[u8], root_len: usize) -> Cover {
    let ends = name_ends(path);
    let depth = ends.len();
    let along = watch.paths.iter().filter(|it| leads_along(it, path));
    // The fewer directories are between a root and the item, the fewer can be pruned.
    let root = along.clone().map(|it| it.names.len()).filter(|it| *it <= depth).max();
    let Some(root) = root else {
        return if along.count() == 0 { Cover::Elsewhere } else { Cover::Trail };
    };
    if root == depth {
        return Cover::Root;
    }
    for names in root + 1..=depth {
        let dir_len = prefix_len(&ends, names);
        // A pattern that gives up on a path does not hide what is below it.
        if watch.filter.prunes_below(&path[..dir_len], root_len).unwrap_or(false) {
            return Cover::Pruned { dir_len };
        }
    }
    Cover::Below { root_len: prefix_len(&ends, root), taken: Taken::of(watch) }
}

/// Whether the names that a pattern and a path both have are the same.
fn leads_along(pattern: &PathPattern, path: &[u8]) -> bool {
    pattern.names.iter().zip(crate::path::names(path)).all(|(pattern, name)| pattern.matches(name))
}

/// Where each name of a normalized path ends.
fn name_ends(path: &[u8]) -> Vec<usize> {
    let mut end = 0;
    let ends = crate::path::names(path).map(|name| {
        end += 1 + name.len();
        end
    });
    ends.collect()
}

/// The length of the path that the first `names` names make; of `/`, 1.
fn prefix_len(ends: &[usize], names: usize) -> usize {
    names.checked_sub(1).map_or(1, |last| ends[last])
}

#[cfg(test)]
pub(crate) use self::tests::watch as watch_on;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::Mask,
        filter::{Glob, Matcher},
        path::names,
        pattern::Pattern,
        plan::{EventMap, NamePattern, WatchId},
        scope::{Arrival, Coverage, Interest, Scope, SpotsId},
    };

    pub(crate) fn watch(paths: &[&str]) -> Watch {
        let name = |name: &[u8]| match str::from_utf8(name) {
            Ok(text) if Glob::has_magic(text) => NamePattern::Glob(Glob::new(text).unwrap()),
            _ => NamePattern::Literal(name.into()),
        };
        let pattern = |path: &&str| PathPattern {
            source: path.as_bytes().into(),
            names: names(path.as_bytes()).map(name).collect(),
        };
        Watch {
            paths: paths.iter().map(pattern).collect(),
            rec: true,
            auto_add: true,
            filter: Filter::default(),
            map: EventMap::default(),
            listen: Mask::NONE,
        }
    }

    fn covered(watch: &Watch, path: &str) -> Cover {
        let path = path.as_bytes();
        covers(watch, path, root_len(std::slice::from_ref(watch), path).unwrap_or(path.len()))
    }

    #[test]
    fn a_watch_covers_its_paths_and_what_is_below() {
        let it = watch(&["/srv/*/in", "/home"]);
        assert_eq!(covered(&it, "/"), Cover::Trail);
        assert_eq!(covered(&it, "/srv/x"), Cover::Trail);
        assert_eq!(covered(&it, "/srv/.x"), Cover::Elsewhere, "as in a shell");
        assert_eq!(covered(&it, "/srv/x/in"), Cover::Root);
        assert_eq!(covered(&it, "/homes"), Cover::Elsewhere);
        let below = Cover::Below { root_len: 5, taken: Taken::Always };
        assert_eq!(covered(&it, "/home/a/b"), below);
        assert_eq!(covered(&watch(&["/"]), "/"), Cover::Root);
    }

    #[test]
    fn the_nearest_of_several_roots_counts() {
        let mut it = watch(&["/w", "/w/tmp"]);
        it.filter.exclude.push(Matcher::Glob(Glob::new("tmp").unwrap()));
        assert_eq!(covered(&it, "/w/tmp"), Cover::Root);
        assert_eq!(covered(&it, "/w/x/tmp/y"), Cover::Pruned { dir_len: 8 });
        let it = watch(&["/w", "/w/a"]);
        let below = Cover::Below { root_len: 4, taken: Taken::Always };
        assert_eq!(covered(&it, "/w/a/b"), below);
        assert_eq!(root_len(&[it], b"/w/a/b"), Some(2), "the topmost one");
    }

    /// What the scope makes of a path, walked down with the same arrival for each name.
    fn walked(watch: &Watch, path: &[u8], arrival: Arrival) -> Arc<Interest> {
        let mut scope = Scope::new(vec![Coverage {
            paths: watch.paths.clone(),
            rec: watch.rec,
            auto_add: watch.auto_add,
            mask: watch.wanted(),
            filter: watch.filter.clone(),
        }]);
        let mut spots = scope.top();
        let mut at = b"/".to_vec();
        for name in names(path) {
            crate::path::push(&mut at, name);
            let root_len = root_len(std::slice::from_ref(watch), &at).unwrap_or(at.len());
            spots = scope.child(spots, name, true, arrival, Some(&(at.clone(), root_len)));
            if spots == SpotsId::NONE {
                break;
            }
        }
        Arc::clone(scope.interest(spots))
    }

    fn arbitrary_path() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", ".a"]), 0..5)
            .prop_map(|names| format!("/{}", names.join("/")))
    }

    fn arbitrary_watch() -> impl Strategy<Value = Watch> {
        let name = prop::sample::select(vec!["a", "b", "ab", "*", "a*", ".a", "{a,b}"]);
        let path = prop::collection::vec(name, 0..4).prop_map(|it| format!("/{}", it.join("/")));
        let exclude = prop::sample::select(vec![
            Matcher::Glob(Glob::new("b").unwrap()),
            Matcher::Glob(Glob::new("/a/*").unwrap()),
            Matcher::Regex(Pattern::new("^/a/b$").unwrap()),
            Matcher::Regex(Pattern::new(".*ab$").unwrap()),
        ]);
        let excludes = prop::collection::vec(exclude, 0..3);
        let paths = prop::collection::vec(path, 1..4);
        (paths, excludes, any::<bool>(), any::<bool>()).prop_map(
            |(paths, exclude, rec, auto_add)| {
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                let filter = Filter { exclude, ..Filter::default() };
                Watch { rec, auto_add, filter, ..watch(&paths) }
            },
        )
    }

    proptest! {
        #[test]
        fn the_scope_agrees(watch in arbitrary_watch(), path in arbitrary_path()) {
            let cover = covered(&watch, &path);
            for (arrival, when) in [(Arrival::Present, Taken::Present), (Arrival::Later, Taken::Later)] {
                let interest = walked(&watch, path.as_bytes(), arrival);
                let member = interest.members.contains(&WatchId(0));
                let expected = match cover {
                    Cover::Root => true,
                    Cover::Below { taken, .. } => taken == Taken::Always || taken == when,
                    Cover::Elsewhere | Cover::Trail | Cover::Pruned { .. } => false,
                };
                prop_assert_eq!(member, expected, "{:?} {:?}", cover, arrival);
                match cover {
                    Cover::Elsewhere => prop_assert!(!interest.is_trail),
                    Cover::Trail => prop_assert!(interest.is_trail),
                    Cover::Root => prop_assert!(interest.is_root),
                    Cover::Below { .. } | Cover::Pruned { .. } => prop_assert!(!interest.is_root),
                }
            }
        }
    }
}
