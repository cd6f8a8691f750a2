//! The file manager's rules: which file goes where.
//!
//! [`plan`] is pure: it decides by the path alone, and refuses destinations that no file system
//! should be asked for. Whether the file is there, and how it gets to its destination without
//! anybody's symbolic links, is for the program that carries the plan out.

use std::sync::Arc;

use crate::{
    path,
    pattern::{Pattern, PatternFault, Substitution},
};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileAction {
    /// The source is at the destination afterwards, and nowhere else.
    Move,
    /// The source's content is at the destination, too.
    Copy,
    /// The source is gone.
    Delete,
}

impl FileAction {
    /// The word that users write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Delete => "delete",
        }
    }
}

/// One rule of the file manager.
#[derive(Clone, Debug)]
pub struct FileRule {
    /// What to do.
    pub action: FileAction,
    /// Which paths it is for, and where they go.
    pub matching: Matching,
    /// Whether missing directories of the destination are made.
    pub auto_create: bool,
    /// Whether an existing destination is replaced.
    pub overwrite: bool,
    /// Whether a directory is deleted with all that is in it.
    pub rec: bool,
    /// Permission bits of files at the destination.
    pub filemode: Option<u32>,
    /// Permission bits of directories that are made.
    pub dirmode: Option<u32>,
    /// Owner of what is made at the destination.
    pub user: Option<u32>,
    /// Group of what is made at the destination.
    pub group: Option<u32>,
}

/// How a rule matches the start of a path, and where that goes; to nowhere for
/// [`FileAction::Delete`] only.
#[derive(Clone, Debug)]
pub enum Matching {
    /// Here.
    Own {
        /// Matches at the start of the path.
        src_re: Pattern,
        /// Where to.
        dst_re: Option<Substitution>,
    },
    /// In Python, for what may not mean the same here. Python has been asked whether it is right.
    Python {
        /// Matches at the start of the path.
        src_re: Arc<str>,
        /// Where to.
        dst_re: Option<Arc<str>>,
    },
}

/// What Python says about a path to each of the rules that it matches, in their order: where the
/// path goes (anything, if it goes nowhere), or `None` if the rule does not match.
pub type Answers = Vec<Option<Vec<u8>>>;

/// What Python has to be asked before [`plan`]: the patterns and substitutions of the rules that it
/// matches, in their order.
pub fn questions(rules: &[FileRule]) -> impl Iterator<Item = (&str, Option<&str>)> {
    rules.iter().filter_map(|it| match &it.matching {
        Matching::Own { .. } => None,
        Matching::Python { src_re, dst_re } => Some((&**src_re, dst_re.as_deref())),
    })
}

/// What is to be done with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlan {
    /// The number of the rule that matched, from 0.
    pub rule: usize,
    /// What to do.
    pub action: FileAction,
    /// With this.
    pub src: Vec<u8>,
    /// Where to; `None` for [`FileAction::Delete`] only.
    pub dst: Option<Destination>,
    /// See [`FileRule::auto_create`].
    pub auto_create: bool,
    /// See [`FileRule::overwrite`].
    pub overwrite: bool,
    /// See [`FileRule::rec`].
    pub rec: bool,
    /// See [`FileRule::filemode`].
    pub filemode: Option<u32>,
    /// See [`FileRule::dirmode`].
    pub dirmode: Option<u32>,
    /// See [`FileRule::user`].
    pub user: Option<u32>,
    /// See [`FileRule::group`].
    pub group: Option<u32>,
}

/// Where a file goes. Absolute, without empty names, NUL or a slash at its end; `.` and `..` are in its
/// root only.
///
/// What `dst_re` gives may have empty names (`/d//x`, from a group that begins with a slash): they
/// mean nothing, and are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The path.
    pub path: Vec<u8>,
    /// How much of the path, from its start, is a directory that the administrator wrote out:
    /// symbolic links in it are trusted, below it none is followed. At least 1, for `/`.
    pub root_len: usize,
}

impl Destination {
    /// The directory that is trusted.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.path[..self.root_len]
    }

    /// The path below that directory.
    #[must_use]
    pub fn below(&self) -> &[u8] {
        path::below(&self.path, self.root()).unwrap_or_default()
    }
}

/// Why a rule that matches cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Whether a rule matches could not be found out.
    #[error("rule {}: {fault}", .rule + 1)]
    Pattern {
        /// The rule's number, from 0.
        rule: usize,
        /// What happened.
        fault: PatternFault,
    },
    /// Only Python can match the rule, and has not been asked.
    #[error("rule {}: only Python can match `{}`", .rule + 1, path::shown(.src_re.as_bytes()))]
    Unasked {
        /// The rule's number, from 0.
        rule: usize,
        /// Its pattern.
        src_re: Arc<str>,
    },
    /// The rule moves or copies, but nowhere.
    #[error("rule {}: `{}` needs `dst_re`", .rule + 1, .action.name())]
    NoDestination {
        /// The rule's number, from 0.
        rule: usize,
        /// What it does.
        action: FileAction,
    },
    /// What `dst_re` gives is no place to put a file.
    #[error(
        "rule {}: cannot {} {} to `{}`: {problem}",
        .rule + 1, .action.name(), path::shown(.src), path::shown(.dst)
    )]
    Destination {
        /// The rule's number, from 0.
        rule: usize,
        /// What it does.
        action: FileAction,
        /// With this.
        src: Vec<u8>,
        /// What `dst_re` gave.
        dst: Vec<u8>,
        /// What is wrong with it.
        problem: DestinationProblem,
    },
}

/// What is wrong with a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum DestinationProblem {
    /// It is empty.
    #[error("the destination is empty")]
    Empty,
    /// It is relative.
    #[error("the destination is not an absolute path")]
    NotAbsolute,
    /// It has a NUL byte.
    #[error("the destination contains NUL")]
    Nul,
    /// It ends with a slash: a group was empty. Without the slash, the directory itself would be
    /// what a file replaces.
    #[error("the destination ends with a slash, so the file has no name there")]
    NoName,
    /// It has the name `.` or `..` behind the directory that the rule writes out.
    #[error("the destination has the name `.` or `..` in or behind a group")]
    DotName,
    /// It is the source.
    #[error("the destination is the source")]
    Same,
    /// It is below the source.
    #[error("the destination lies inside the source")]
    InsideSource,
}

/// What the first rule that matches says about a path; `None` if none does. `answers` are those to
/// the [`questions`] about this path.
pub fn plan(
    rules: &[FileRule],
    path: &[u8],
    answers: &[Option<Vec<u8>>],
) -> Result<Option<FilePlan>, PlanError> {
    let mut answers = answers.iter();
    for (index, rule) in rules.iter().enumerate() {
        let Some(found) = rule.find(index, path, &mut answers)? else { continue };
        let dst = match (rule.action, found) {
            (FileAction::Delete, _) => None,
            (FileAction::Move | FileAction::Copy, Some((prefix, dst))) => {
                Some(destination(prefix, path, dst).map_err(|(dst, problem)| {
                    let (action, src) = (rule.action, path.to_vec());
                    PlanError::Destination { rule: index, action, src, dst, problem }
                })?)
            }
            (action @ (FileAction::Move | FileAction::Copy), None) => {
                return Err(PlanError::NoDestination { rule: index, action });
            }
        };
        return Ok(Some(FilePlan {
            rule: index,
            action: rule.action,
            src: path.to_vec(),
            dst,
            auto_create: rule.auto_create,
            overwrite: rule.overwrite,
            rec: rule.rec,
            filemode: rule.filemode,
            dirmode: rule.dirmode,
            user: rule.user,
            group: rule.group,
        }));
    }
    Ok(None)
}

impl FileRule {
    /// `None` if it does not match, else where the path goes, if anywhere: the part of that which
    /// is no group's, and all of it.
    #[expect(clippy::type_complexity, reason = "it has two readers, and both take it apart")]
    fn find<'a>(
        &'a self,
        index: usize,
        path: &[u8],
        answers: &mut std::slice::Iter<'_, Option<Vec<u8>>>,
    ) -> Result<Option<Option<(&'a str, Vec<u8>)>>, PlanError> {
        let fault = |fault| PlanError::Pattern { rule: index, fault };
        match &self.matching {
            Matching::Own { src_re, dst_re: None } => {
                Ok(src_re.is_match_at_start(path).map_err(fault)?.then_some(None))
            }
            Matching::Own { src_re, dst_re: Some(dst_re) } => {
                let dst = src_re.substitute(dst_re, path).map_err(fault)?;
                Ok(dst.map(|it| Some((dst_re.literal_prefix(), it))))
            }
            Matching::Python { src_re, dst_re } => {
                let unasked = PlanError::Unasked { rule: index, src_re: Arc::clone(src_re) };
                let answer = answers.next().ok_or(unasked)?.clone();
                let dst_re = dst_re.as_deref();
                Ok(answer.map(|dst| dst_re.map(|it| (Substitution::surely_literal(it), dst))))
            }
        }
    }
}

fn destination(
    prefix: &str,
    src: &[u8],
    dst: Vec<u8>,
) -> Result<Destination, (Vec<u8>, DestinationProblem)> {
    let problem = if dst.is_empty() {
        Some(DestinationProblem::Empty)
    } else if dst[0] != b'/' {
        Some(DestinationProblem::NotAbsolute)
    } else if dst.contains(&0) {
        Some(DestinationProblem::Nul)
    } else if dst.ends_with(b"/") {
        Some(DestinationProblem::NoName)
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err((dst, problem));
    }
    let path = without_empty_names(&dst);
    // The first match is at the path's start, so the destination begins with the literal prefix.
    // Python's word is not taken for that.
    let prefix = without_empty_names(prefix.as_bytes());
    let root_len = if path.starts_with(&prefix) { trusted_len(&prefix) } else { 1 };
    // Where it goes up in what the administrator wrote, the kernel follows it as it would for anybody.
    if has_dot_name(&path[root_len..]) {
        return Err((dst, DestinationProblem::DotName));
    }
    match path::below(&path, src) {
        Some(b"") => return Err((dst, DestinationProblem::Same)),
        Some(_) => return Err((dst, DestinationProblem::InsideSource)),
        None => (),
    }
    Ok(Destination { path, root_len })
}

/// The length of the directory that a literal prefix names in full: up to its last slash, which
/// counts for `/` only. 1 if there is none, since the destination is absolute.
fn trusted_len(prefix: &[u8]) -> usize {
    prefix.iter().rposition(|byte| *byte == b'/').unwrap_or(0).max(1).min(prefix.len().max(1))
}

fn has_dot_name(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| matches!(name, b"." | b".."))
}

/// The path with one slash in place of several. One at its end stays.
fn without_empty_names(path: &[u8]) -> Vec<u8> {
    let mut plain = path.to_vec();
    plain.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(action: FileAction, src_re: &str, dst_re: Option<&str>) -> FileRule {
        let src_re = Pattern::new(src_re).unwrap();
        let dst_re = dst_re.map(|text| Substitution::parse(text, &src_re).unwrap());
        FileRule {
            action,
            matching: Matching::Own { src_re, dst_re },
            auto_create: false,
            overwrite: false,
            rec: false,
            filemode: None,
            dirmode: None,
            user: None,
            group: None,
        }
    }

    fn moved(src_re: &str, dst_re: &str, path: &str) -> Result<Destination, DestinationProblem> {
        let rules = [rule(FileAction::Move, src_re, Some(dst_re))];
        match plan(&rules, path.as_bytes(), &[]) {
            Ok(plan) => Ok(plan.expect("the rule matches").dst.unwrap()),
            Err(PlanError::Destination { problem, .. }) => Err(problem),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_reason_why_a_rule_cannot_apply_is_told() {
        use DestinationProblem::{DotName, Empty, InsideSource, NoName, NotAbsolute, Nul, Same};
        let (rule, action) = (1, FileAction::Move);
        let problems = [Empty, NotAbsolute, Nul, NoName, DotName, Same, InsideSource];
        let mut errors = problems
            .map(|problem| {
                let (src, dst) = (b"/in/a\n".to_vec(), b"to\0\x1b".to_vec());
                PlanError::Destination { rule, action, src, dst, problem }
            })
            .to_vec();
        let fault = PatternFault { pattern: "(a*)*b".into() };
        errors.extend([
            PlanError::Pattern { rule, fault },
            PlanError::Unasked { rule, src_re: "(?i)\u{17f}".into() },
            PlanError::NoDestination { rule, action },
        ]);
        // A new one belongs above.
        for error in &errors {
            match error {
                PlanError::Pattern { .. }
                | PlanError::Unasked { .. }
                | PlanError::NoDestination { .. }
                | PlanError::Destination {
                    problem: Empty | NotAbsolute | Nul | NoName | DotName | Same | InsideSource,
                    ..
                } => (),
            }
        }
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!("errors", told.join("\n"));
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let rules = [
            rule(FileAction::Move, r"^/s/(.*)\.mv$", Some(r"/d/\1")),
            rule(FileAction::Delete, "^/s/tmp", None),
            rule(FileAction::Copy, "^/s/(.*)", Some(r"/c/\1")),
        ];
        let plan = |path: &str| plan(&rules, path.as_bytes(), &[]).unwrap();
        let first = plan("/s/tmp.mv").unwrap();
        assert_eq!((first.rule, first.action), (0, FileAction::Move));
        assert_eq!(first.dst.unwrap().path, b"/d/tmp");
        let second = plan("/s/tmpfile").unwrap();
        assert_eq!((second.rule, second.action, second.dst), (1, FileAction::Delete, None));
        assert_eq!(plan("/s/x").unwrap().rule, 2);
        assert_eq!(plan("/t/s/x"), None);
    }

    #[test]
    fn only_the_directory_that_is_written_out_is_trusted() {
        let root = |dst_re: &str| {
            let dst = moved("^/s/(?P<a>.*)$", dst_re, "/s/x/y").unwrap();
            (String::from_utf8(dst.root().to_vec()).unwrap(), dst.below().to_vec())
        };
        assert_eq!(root(r"/d/\g<a>"), ("/d".into(), b"x/y".to_vec()));
        assert_eq!(root(r"/d/e_\g<a>"), ("/d".into(), b"e_x/y".to_vec()));
        assert_eq!(root(r"/d_\g<a>"), ("/".into(), b"d_x/y".to_vec()));
        assert_eq!(root("/d/e/f"), ("/d/e".into(), b"f".to_vec()));
        assert_eq!(root("/f"), ("/".into(), b"f".to_vec()));
        let dst = moved("^(.*)$", r"\1.bak", "/s/x").unwrap();
        assert_eq!((dst.root(), dst.below()), (&b"/"[..], &b"s/x.bak"[..]));
    }

    #[test]
    fn what_the_pattern_leaves_is_kept() {
        assert_eq!(moved("^/s/", "/d/", "/s/x").unwrap().path, b"/d/x");
    }

    /// Old rules are full of them: the group often begins with the slash.
    #[test]
    fn names_that_are_empty_are_left_out() {
        for (src_re, dst_re, path, want, root) in [
            ("^/s(.*)$", r"/d/\1", "/s/x/y", "/d/x/y", "/d"),
            ("^/s(.*)$", r"/d/e//\1", "/s/x", "/d/e/x", "/d/e"),
            ("^/s/(.*)_(.*)$", r"/d/\1/\2", "/s/_x", "/d/x", "/d"),
            ("^/s(.*)$", r"//\1", "/s/x", "/x", "/"),
            ("^/s(.*)$", r"//d///e/x", "/s/x", "/d/e/x", "/d/e"),
        ] {
            let dst = moved(src_re, dst_re, path).unwrap();
            assert_eq!((dst.path.as_slice(), dst.root()), (want.as_bytes(), root.as_bytes()));
        }
    }

    #[test]
    fn a_destination_that_no_name_should_lead_to_is_refused() {
        use DestinationProblem as P;
        for (src_re, dst_re, path, problem) in [
            ("^/s/(.*)$", r"/d/\1", "/s/../etc/passwd", P::DotName),
            ("^/s/(.*)$", r"/d/\1/x", "/s/.", P::DotName),
            ("^/s(.*)$", r"/d/\1", "/s/../x", P::DotName),
            ("^/s/(.*)$", r"/d/\1", "/s/", P::NoName),
            ("^/s/x(.*)$", r"/d/\1/\1", "/s/x", P::NoName),
            ("^/s/(.*)$", r"\1", "/s/x", P::NotAbsolute),
            ("^/s/x(.*)$", r"\1", "/s/x", P::Empty),
            ("^/s/x$", r"/d/\0", "/s/x", P::Nul),
            ("^/s/(.*)$", r"/s/\1", "/s/x", P::Same),
            ("^/s(.*)$", r"/s/\1", "/s/x", P::Same),
            ("^/s/(.*)$", r"/s/\1/y", "/s/x", P::InsideSource),
        ] {
            assert_eq!(moved(src_re, dst_re, path), Err(problem), "{src_re} {dst_re} {path}");
        }
        assert!(moved("^/s/(.*)$", r"/s/\1y", "/s/x").is_ok(), "beside the source is not in it");
        assert!(moved("^/s/(.*)$", r"/d/\1", "/s/...").is_ok(), "three dots are a name");
    }

    #[test]
    fn errors_say_which_rule_and_stay_on_their_line() {
        let rules = [
            rule(FileAction::Delete, "^/x", None),
            rule(FileAction::Move, "^/s(?s:.*)", Some("d")),
            rule(FileAction::Copy, "^/c", None),
        ];
        assert_eq!(
            plan(&rules, b"/s\n", &[]).unwrap_err().to_string(),
            "rule 2: cannot move /s\\n to `d`: the destination is not an absolute path"
        );
        assert_eq!(
            plan(&rules, b"/c", &[]).unwrap_err().to_string(),
            "rule 3: `copy` needs `dst_re`"
        );
    }

    #[test]
    fn where_the_administrator_goes_up_the_kernel_follows() {
        let rules = [rule(FileAction::Move, "^/s/(.*)$", Some(r"/d/../e/./\1"))];
        let dst = plan(&rules, b"/s/a/b", &[]).unwrap().unwrap().dst.unwrap();
        assert_eq!((&*dst.path, dst.root_len), (&b"/d/../e/./a/b"[..], 9));
    }

    fn python(action: FileAction, src_re: &str, dst_re: Option<&str>) -> FileRule {
        let matching = Matching::Python { src_re: src_re.into(), dst_re: dst_re.map(Into::into) };
        FileRule { matching, ..rule(action, "x", None) }
    }

    #[test]
    fn what_python_matches_is_planned_by_its_answers() {
        let rules = [
            python(FileAction::Delete, "a", None),
            rule(FileAction::Copy, "^/s/(.*)", Some(r"/c/\1")),
            python(FileAction::Move, "b", Some(r"/d/\1")),
        ];
        assert_eq!(questions(&rules).collect::<Vec<_>>(), [("a", None), ("b", Some(r"/d/\1"))]);
        let planned = |path: &str, answers: [Option<&[u8]>; 2]| {
            let answers = answers.map(|it| it.map(<[u8]>::to_vec));
            plan(&rules, path.as_bytes(), &answers)
        };
        let first = planned("/s/x", [Some(b""), Some(b"/d/x")]).unwrap().unwrap();
        assert_eq!((first.rule, first.dst), (0, None));
        assert_eq!(planned("/s/x", [None, Some(b"/d/x")]).unwrap().unwrap().rule, 1);
        let last = planned("/x", [None, Some(b"/d//\xff")]).unwrap().unwrap();
        let dst = last.dst.unwrap();
        assert_eq!((last.rule, &*dst.path, dst.root()), (2, &b"/d/\xff"[..], &b"/d"[..]));
        let elsewhere = planned("/x", [None, Some(b"/e/x")]).unwrap().unwrap().dst.unwrap();
        assert_eq!(elsewhere.root(), b"/", "no link on the way there is the administrator's own");
        assert_eq!(planned("/x", [None, None]), Ok(None));
        let error = planned("/x", [None, Some(b"/d/../x")]).unwrap_err().to_string();
        assert!(error.starts_with("rule 3: cannot move /x to `/d/../x`: "), "{error}");
        let error = plan(&rules, b"/x", &[None]).unwrap_err().to_string();
        assert_eq!(error, "rule 3: only Python can match `b`");
    }

    proptest! {
        /// Whatever the name: the destination is below what the administrator wrote, or there is
        /// none.
        #[test]
        fn no_name_leads_out_of_the_destination(name in r"(\.|/|a|\n|\x00|.){0,12}") {
            let rules = [rule(FileAction::Move, "(?s)^/s/(.*)$", Some(r"/d/e/\1"))];
            let path = format!("/s/{name}");
            if let Ok(Some(plan)) = plan(&rules, path.as_bytes(), &[]) {
                let dst = plan.dst.unwrap();
                prop_assert_eq!(dst.root(), b"/d/e");
                prop_assert_eq!(path::normalize(b"/", &dst.path), dst.path.clone());
                prop_assert!(!dst.below().is_empty());
            }
        }

        #[test]
        fn any_path_is_planned_or_refused(path: Vec<u8>) {
            let rules = [rule(FileAction::Copy, "(?s)(.)(.*)", Some(r"\1x\2"))];
            let _ = plan(&rules, &path, &[]);
        }
    }
}
