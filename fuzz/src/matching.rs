//! Patterns, substitutions, globs and filters.

use pyinotifyd_core::{
    filter::{Filter, Glob, Matcher, Verdict, exclude_file_lines},
    pattern::{Pattern, Substitution},
};

use crate::source_and_path;

/// The lines of the source are a pattern and a substitution. Each is good or refused with a place;
/// good ones match any path or give up, and say the same when they are asked again.
pub fn pattern(data: &[u8]) {
    let Some((source, path)) = source_and_path(data) else { return };
    let (source, substitution) = source.split_once('\n').unwrap_or((source, r"\g<0>"));
    let pattern = match Pattern::new(source) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(error.at.is_none_or(|at| source.is_char_boundary(at)), "{error:?}");
            assert!(!error.message.is_empty());
            return;
        }
    };
    assert_eq!(pattern.source(), source);
    assert!(pattern.group_names().all(|(group, _)| group <= pattern.groups()));
    let at_start = pattern.is_match_at_start(path);
    let anywhere = pattern.is_match(path);
    if let (Ok(true), Ok(anywhere)) = (&at_start, &anywhere) {
        assert!(anywhere, "what matches at the start matches");
    }
    let whole = Substitution::parse(r"\g<0>", &pattern).expect("every pattern has group 0");
    if let Ok(Some(same)) = pattern.substitute(&whole, path) {
        assert_eq!(same, path, "a match in place of itself changes nothing");
    }
    match Substitution::parse(substitution, &pattern) {
        Ok(parsed) => {
            assert_eq!(parsed.source(), substitution);
            if let (Ok(given), Ok(at_start)) = (pattern.substitute(&parsed, path), &at_start) {
                assert_eq!(given.is_some(), *at_start);
            }
        }
        Err(error) => {
            assert!(substitution.is_char_boundary(error.at), "{error:?}");
            assert!(!error.message.is_empty());
        }
    }
}

/// The source is a file of excludes, one of them a glob if it is one. A filter judges any path, and
/// its shortcuts agree with its verdict.
pub fn filter(data: &[u8]) {
    let Some((source, path)) = source_and_path(data) else { return };
    let globs: Vec<Glob> =
        exclude_file_lines(source).filter_map(|(_, line)| glob(line, path)).collect();
    let matchers: Vec<Matcher> = globs.into_iter().map(Matcher::Glob).collect();
    let exclude = Filter { include: Vec::new(), exclude: matchers.clone() };
    let include = Filter { include: matchers, exclude: Vec::new() };
    let root_len = path.len() / 2;
    for filter in [&exclude, &include] {
        let verdict = filter.judge(path, root_len).expect("globs do not give up");
        let passes = matches!(verdict, Verdict::LetThrough);
        assert_eq!(filter.lets_through_below(path, root_len), Ok(passes));
        if let Verdict::Excluded(matcher) = verdict {
            assert!(!matcher.source().is_empty());
            assert_eq!(filter.prunes_below(path, root_len), Ok(true));
        }
        let name = path.rsplit(|it| *it == b'/').next().unwrap_or_default();
        if filter.lets_through_name(name).is_none() {
            assert!(filter.needs_path());
        }
    }
}

/// A good glob; a bad one is refused with a place in it.
fn glob(source: &str, path: &[u8]) -> Option<Glob> {
    let glob = match Glob::new(source) {
        Ok(glob) => glob,
        Err(error) => {
            assert!(error.at.is_none_or(|at| source.is_char_boundary(at)), "{error:?}");
            assert!(!error.message.is_empty());
            return None;
        }
    };
    assert_eq!(glob.source(), source);
    let name = path.rsplit(|it| *it == b'/').next().unwrap_or_default();
    assert!(!glob.matches_visible_name(name) || glob.matches_name(name));
    let plain = !Glob::has_magic(source) && !source.contains(['\\', '/']);
    if plain {
        assert_eq!(glob.matches_name(name), name == source.as_bytes(), "a plain name");
    }
    if !glob.has_slash() && !name.is_empty() && glob.matches_name(name) {
        assert!(glob.is_match(path));
    }
    Some(glob)
}
