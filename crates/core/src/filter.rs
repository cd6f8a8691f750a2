//! Which paths a Watch or a scheduler takes.
//!
//! Decides by regular expressions on the whole path and by globs on names or paths. What a filter
//! excludes, it excludes with all that is below it; whether an excluded directory is watched at
//! all is for the tree to decide, which asks [`Filter::prunes`].

mod glob;

pub use self::glob::{Glob, GlobError};
use crate::{
    path,
    pattern::{Pattern, PatternFault},
};

/// What is let through: everything that matches one of `include` (if there is any) and none of
/// `exclude`.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// If not empty, one of these has to match. Directories are never pruned by it. A glob on the
    /// name has to match the path's own name.
    pub include: Vec<Matcher>,
    /// None of these may match. A glob on the name may match no name on the way either, so that
    /// `.git` excludes all that is below it.
    pub exclude: Vec<Matcher>,
}

/// One condition on a path.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// Matches at the start of the whole path, like Python's `re.match`.
    Regex(Pattern),
    /// A glob on the name, or, if it has a slash, on the whole path.
    Glob(Glob),
}

/// What a [`Filter`] says of a path.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// It may pass.
    LetThrough,
    /// This is the first of `exclude` that matches.
    Excluded(&'a Matcher),
    /// None of `include` matches.
    NotIncluded,
}

impl Filter {
    /// Whether the filter lets everything through.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a path is let through. Globs on names look at all names of the path; see
    /// [`Self::lets_through_below`].
    pub fn lets_through(&self, path: &[u8]) -> Result<bool, PatternFault> {
        self.lets_through_below(path, 0)
    }

    /// Whether a path is let through, of which the first `root_len` bytes are a Watch's own path:
    /// globs on names do not look at the names in it, so that excluding `tmp` does not silence a
    /// Watch on `/tmp/in`.
    pub fn lets_through_below(&self, path: &[u8], root_len: usize) -> Result<bool, PatternFault> {
        Ok(matches!(self.judge(path, root_len)?, Verdict::LetThrough))
    }

    /// [`Self::lets_through_below`], with the reason.
    pub fn judge(&self, path: &[u8], root_len: usize) -> Result<Verdict<'_>, PatternFault> {
        let below = path.get(root_len..).unwrap_or_default();
        if let Some(matcher) = self.excluder(path, below)? {
            return Ok(Verdict::Excluded(matcher));
        }
        for matcher in &self.include {
            if matcher.includes(path, below)? {
                return Ok(Verdict::LetThrough);
            }
        }
        Ok(if self.include.is_empty() { Verdict::LetThrough } else { Verdict::NotIncluded })
    }

    /// Whether a directory is not to be watched at all, and nothing below it: whether it is
    /// excluded. All its names are looked at; for a directory that is entered from its parent,
    /// which was not pruned, that is the same as looking at its own name.
    pub fn prunes(&self, dir: &[u8]) -> Result<bool, PatternFault> {
        self.prunes_below(dir, 0)
    }

    /// [`Self::prunes`] for a directory of which the first `root_len` bytes are a Watch's own path.
    pub fn prunes_below(&self, dir: &[u8], root_len: usize) -> Result<bool, PatternFault> {
        Ok(self.excluder(dir, dir.get(root_len..).unwrap_or_default())?.is_some())
    }

    fn excluder(&self, path: &[u8], below: &[u8]) -> Result<Option<&Matcher>, PatternFault> {
        for matcher in &self.exclude {
            if matcher.excludes(path, below)? {
                return Ok(Some(matcher));
            }
        }
        Ok(None)
    }

    /// Whether the name alone does not always decide: there is a regular expression or a glob on
    /// the whole path.
    pub fn needs_path(&self) -> bool {
        self.include.iter().chain(&self.exclude).any(Matcher::needs_path)
    }

    /// What the name alone decides about an entry of a directory that is not pruned: `None` if the
    /// path has to be asked, which does not happen unless [`Self::needs_path`]. Costs no
    /// allocation.
    pub fn lets_through_name(&self, name: &[u8]) -> Option<bool> {
        let hit = |matchers: &[Matcher]| matchers.iter().any(|it| it.matches_name(name));
        let open = |matchers: &[Matcher]| matchers.iter().any(Matcher::needs_path);
        if hit(&self.exclude) {
            return Some(false);
        }
        if open(&self.exclude) {
            return None;
        }
        if self.include.is_empty() || hit(&self.include) {
            return Some(true);
        }
        if open(&self.include) { None } else { Some(false) }
    }
}

impl Matcher {
    /// `below`: the end of the path that globs on names look at.
    fn excludes(&self, path: &[u8], below: &[u8]) -> Result<bool, PatternFault> {
        match self {
            Self::Regex(pattern) => pattern.is_match_at_start(path),
            Self::Glob(glob) if glob.has_slash() => Ok(glob.is_match(path)),
            Self::Glob(glob) => Ok(path::names(below).any(|name| glob.matches_name(name))),
        }
    }

    fn includes(&self, path: &[u8], below: &[u8]) -> Result<bool, PatternFault> {
        match self {
            Self::Regex(pattern) => pattern.is_match_at_start(path),
            Self::Glob(glob) if glob.has_slash() => Ok(glob.is_match(path)),
            Self::Glob(glob) => {
                Ok(path::names(below).next_back().is_some_and(|name| glob.matches_name(name)))
            }
        }
    }

    /// What the user wrote.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Regex(pattern) => pattern.source(),
            Self::Glob(glob) => glob.source(),
        }
    }

    fn matches_name(&self, name: &[u8]) -> bool {
        match self {
            Self::Regex(_) => false,
            Self::Glob(glob) => !glob.has_slash() && glob.matches_name(name),
        }
    }

    fn needs_path(&self) -> bool {
        match self {
            Self::Regex(_) => true,
            Self::Glob(glob) => glob.has_slash(),
        }
    }
}

/// The regular expressions of an exclude file, with their line numbers from 1: one a line, without
/// blanks around it; empty lines and those that begin with `#` are skipped.
pub fn exclude_file_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn globs(texts: &[&str]) -> Vec<Matcher> {
        texts.iter().map(|text| Matcher::Glob(Glob::new(text).unwrap())).collect()
    }

    fn regexes(texts: &[&str]) -> Vec<Matcher> {
        texts.iter().map(|text| Matcher::Regex(Pattern::new(text).unwrap())).collect()
    }

    fn lets_through(filter: &Filter, path: &str) -> bool {
        filter.lets_through(path.as_bytes()).unwrap()
    }

    #[test]
    fn an_excluded_name_takes_its_subtree() {
        let filter = Filter { exclude: globs(&["node_modules", "*.tmp"]), ..Filter::default() };
        assert!(!lets_through(&filter, "/w/node_modules"));
        assert!(!lets_through(&filter, "/w/node_modules/x/y.js"));
        assert!(!lets_through(&filter, "/w/a.tmp"));
        assert!(lets_through(&filter, "/w/node_modules2"));
        assert!(filter.prunes(b"/w/node_modules").unwrap());
        assert!(!filter.prunes(b"/w").unwrap());
    }

    #[test]
    fn an_included_name_is_the_paths_own() {
        let filter = Filter { include: globs(&["*.jpg"]), ..Filter::default() };
        assert!(lets_through(&filter, "/w/a.jpg"));
        assert!(!lets_through(&filter, "/w/a.jpg/notes"));
        assert!(!lets_through(&filter, "/"));
        assert!(!filter.prunes(b"/w/dir").unwrap(), "an include list never prunes");
    }

    #[test]
    fn exclude_beats_include() {
        let filter = Filter { include: globs(&["*.jpg"]), exclude: regexes(&["^/w/old/"]) };
        assert!(lets_through(&filter, "/w/a.jpg"));
        assert!(!lets_through(&filter, "/w/old/a.jpg"));
        assert!(lets_through(&filter, "/x/w/old/a.jpg"), "a regex matches at the start");
        assert!(!lets_through(&filter, "/w/a.png"));
    }

    #[test]
    fn names_of_the_watchs_own_path_do_not_count() {
        let filter = Filter { exclude: globs(&["tmp"]), ..Filter::default() };
        assert!(!filter.lets_through(b"/tmp/in/x").unwrap());
        assert!(filter.lets_through_below(b"/tmp/in/x", b"/tmp/in".len()).unwrap());
        assert!(!filter.lets_through_below(b"/tmp/in/tmp", b"/tmp/in".len()).unwrap());
        assert!(!filter.prunes_below(b"/tmp", 4).unwrap());
        assert!(filter.prunes_below(b"/tmp/tmp", 4).unwrap());
    }

    #[test]
    fn the_name_decides_when_it_can() {
        let filter = Filter { include: globs(&["*.jpg"]), exclude: globs(&[".*"]) };
        assert!(!filter.needs_path());
        assert_eq!(filter.lets_through_name(b"a.jpg"), Some(true));
        assert_eq!(filter.lets_through_name(b"a.png"), Some(false));
        assert_eq!(filter.lets_through_name(b".a.jpg"), Some(false));

        let filter = Filter { include: globs(&["*.jpg", "/w/**"]), exclude: globs(&["*.tmp"]) };
        assert!(filter.needs_path());
        assert_eq!(filter.lets_through_name(b"a.tmp"), Some(false));
        assert_eq!(filter.lets_through_name(b"a.jpg"), Some(true));
        assert_eq!(filter.lets_through_name(b"a"), None);

        let filter = Filter { include: globs(&["*.jpg"]), exclude: regexes(&["/x"]) };
        assert_eq!(filter.lets_through_name(b"a.jpg"), None);
        assert_eq!(Filter::default().lets_through_name(b"a"), Some(true));
    }

    #[test]
    fn a_pattern_that_gives_up_is_reported() {
        let evil = regexes(&["/(?:(?!b)a|(?!c)a)*$"]);
        let filter = Filter { exclude: evil, ..Filter::default() };
        let path = format!("/{}!", "a".repeat(200));
        assert!(filter.lets_through(path.as_bytes()).is_err());
        assert!(filter.prunes(path.as_bytes()).is_err());
    }

    #[test]
    fn an_exclude_file_has_one_regex_a_line() {
        let text = "\u{feff}# all\n\n^/a\r\n  ^/b  \n #x\n^/c#d";
        let lines: Vec<_> = exclude_file_lines(text).collect();
        assert_eq!(lines, [(3, "^/a"), (4, "^/b"), (6, "^/c#d")]);
    }

    proptest! {
        /// In a directory that is not excluded, the name alone never contradicts the path.
        #[test]
        fn the_name_never_contradicts_the_path(
            include in prop::collection::vec(prop::sample::select(vec!["a*", "*b", "/w/a*", "?"]), 0..3),
            exclude in prop::collection::vec(prop::sample::select(vec!["ab", "*c", "/w/*b", "[!a]"]), 0..3),
            name in "[abc]{1,3}",
        ) {
            let filter = Filter { include: globs(&include), exclude: globs(&exclude) };
            let path = format!("/w/{name}");
            if let Some(verdict) = filter.lets_through_name(name.as_bytes()) {
                prop_assert_eq!(verdict, filter.lets_through_below(path.as_bytes(), 2).unwrap());
            } else {
                prop_assert!(filter.needs_path());
            }
        }

        #[test]
        fn any_exclude_file_gives_lines(text in "(.|\n|\r){0,60}") {
            for (number, line) in exclude_file_lines(&text) {
                prop_assert!(number >= 1 && !line.is_empty());
            }
        }
    }
}
