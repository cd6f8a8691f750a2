//! Shell globs, on names and on whole paths.
//!
//! `*`, `?`, `[…]`, `[!…]`, `{a,b}` and a backslash before what is meant as it is. In a glob with
//! a slash `*` stays within a name and `**` does not. A bracket or brace that is not closed is
//! text, as in a shell. Braces are written out first, as in a shell; the rest becomes a regular
//! expression that matches in linear time, on [`crate::path::text`], so that `*` and `?` take
//! bytes that are not UTF-8.

use std::{fmt::Write, sync::Arc};

use regex::Regex;

use crate::path;

/// How many globs braces may stand for.
const MAX_ALTERNATIVES: usize = 256;
/// Bytes of the compiled form.
const SIZE_LIMIT: usize = 1 << 20;

/// A shell glob.
#[derive(Clone, Debug)]
pub struct Glob {
    source: Arc<str>,
    has_slash: bool,
    regex: Regex,
    /// The alternatives that begin with a dot; `None`: there are none.
    dotted: Option<Regex>,
}

/// Why a glob cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GlobError {
    /// What is wrong.
    pub message: String,
    /// Where in the source, in bytes, if known.
    pub at: Option<usize>,
}

impl Glob {
    /// Compiles a glob. Slashes at its end are dropped.
    pub fn new(source: &str) -> Result<Self, GlobError> {
        let fault = |message: &str, at| GlobError { message: message.to_owned(), at };
        if source.is_empty() {
            return Err(fault("the glob is empty", Some(0)));
        }
        // A backslash before the last slash would be left alone at the end.
        let text = match source.trim_end_matches('/') {
            text if text.is_empty() || text.ends_with('\\') => source,
            text => text,
        };
        let has_slash = text.contains('/');
        if has_slash && !text.starts_with(['/', '*', '?', '[', '{', '\\']) {
            let message = "a glob with a slash has to match the whole path: \
                           begin it with `/` or `**/`";
            return Err(fault(message, Some(0)));
        }
        if let Some(at) = dangling_backslash(text) {
            return Err(fault("a backslash at the end: write `\\\\`", Some(at)));
        }
        let mut alternatives = Vec::new();
        expand_braces(text, &mut alternatives)
            .map_err(|TooMany| fault("the braces stand for too many globs", None))?;
        let (mut all, mut dotted) = (String::new(), String::new());
        for alternative in &alternatives {
            // As names are read: what stands for their foreign bytes has no other meaning there.
            let alternative = &*path::text(alternative.as_bytes());
            let translated = translate(alternative, has_slash);
            push_alternative(&mut all, &translated);
            if alternative.trim_start_matches('\\').starts_with('.') {
                push_alternative(&mut dotted, &translated);
            }
        }
        let subtree = if has_slash { "(?s:/.*)?" } else { "" };
        let compile = |alternatives: &str| {
            regex::RegexBuilder::new(&format!("\\A(?:{alternatives}){subtree}\\z"))
                .size_limit(SIZE_LIMIT)
                .build()
                .map_err(|error| match error {
                    regex::Error::CompiledTooBig(_) => fault("the glob is too big", None),
                    error => fault(&error.to_string(), None),
                })
        };
        let dotted = if dotted.is_empty() { None } else { Some(compile(&dotted)?) };
        Ok(Self { source: source.into(), has_slash, regex: compile(&all)?, dotted })
    }

    /// What the user wrote.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether text is more than a plain name or path: whether it has an unescaped `*`, `?`, a
    /// closed `[…]`, or a closed `{…}` with a comma.
    pub fn has_magic(text: &str) -> bool {
        let mut at = 0;
        while let Some(char) = text[at..].chars().next() {
            let rest = &text[at..];
            match char {
                '*' | '?' => return true,
                '[' if class_len(rest).is_some() => return true,
                '{' if brace_parts(rest).is_some() => return true,
                '\\' => at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                char => at += char.len_utf8(),
            }
        }
        false
    }

    /// Whether it is matched against whole paths.
    pub fn has_slash(&self) -> bool {
        self.has_slash
    }

    /// Whether it matches an absolute path: without a slash, any of its names; with one, the path
    /// itself or a directory above it.
    pub fn is_match(&self, path: &[u8]) -> bool {
        if self.has_slash {
            self.regex.is_match(&path::text(path))
        } else {
            path::names(path).any(|name| self.matches_name(name))
        }
    }

    /// Whether it matches a name; a leading dot is a character like any other.
    pub fn matches_name(&self, name: &[u8]) -> bool {
        self.regex.is_match(&path::text(name))
    }

    /// Whether it matches a name as in a shell, where `*`, `?` and `[…]` at the start do not match
    /// a leading dot.
    pub fn matches_visible_name(&self, name: &[u8]) -> bool {
        match (name.first(), &self.dotted) {
            (Some(b'.'), None) => false,
            (Some(b'.'), Some(dotted)) => dotted.is_match(&path::text(name)),
            (Some(_) | None, _) => self.matches_name(name),
        }
    }
}

fn push_alternative(regex: &mut String, alternative: &str) {
    let bar = if regex.is_empty() { "" } else { "|" };
    // In a group of its own, so that an empty one counts as well.
    let _ = write!(regex, "{bar}(?:{alternative})");
}

fn dangling_backslash(text: &str) -> Option<usize> {
    let count = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
    (count % 2 == 1).then(|| text.len() - 1)
}

struct TooMany;

/// Writes out the first brace that has a comma, and what follows, until there is none.
fn expand_braces(text: &str, out: &mut Vec<String>) -> Result<(), TooMany> {
    let mut todo = vec![(String::new(), text.to_owned())];
    let mut steps = 0;
    while let Some((done, rest)) = todo.pop() {
        steps += 1;
        if out.len() + todo.len() > MAX_ALTERNATIVES || steps > 16 * MAX_ALTERNATIVES {
            return Err(TooMany);
        }
        let Some((at, parts, end)) = first_brace(&rest) else {
            out.push(done + &rest);
            continue;
        };
        let done = done + &rest[..at];
        // What is in a part may have braces, too; what is before it has none left.
        for part in parts.iter().rev() {
            todo.push((done.clone(), format!("{part}{}", &rest[end..])));
        }
    }
    Ok(())
}

/// Where the first brace with a comma is, its parts, and where it ends.
fn first_brace(text: &str) -> Option<(usize, Vec<&str>, usize)> {
    let mut at = 0;
    while let Some(char) = text[at..].chars().next() {
        let rest = &text[at..];
        at += match char {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' => class_len(rest).unwrap_or(1),
            '{' => match brace_parts(rest) {
                Some((parts, len)) => return Some((at, parts, at + len)),
                None => 1,
            },
            char => char.len_utf8(),
        };
    }
    None
}

/// The parts of the brace at the start of `text`, and its length; `None` if it has no comma or no
/// end.
fn brace_parts(text: &str) -> Option<(Vec<&str>, usize)> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut from = 1;
    let mut at = 0;
    while let Some(char) = text[at..].chars().next() {
        let rest = &text[at..];
        match char {
            '\\' => at += rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' => at += class_len(rest).unwrap_or(1) - 1,
            '{' => depth += 1,
            ',' if depth == 1 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            '}' if depth == 1 => {
                if parts.is_empty() {
                    return None;
                }
                parts.push(&text[from..at]);
                return Some((parts, at + 1));
            }
            '}' => depth -= 1,
            _ => (),
        }
        at += char.len_utf8();
    }
    None
}

/// The length of the class at the start of `text`; `None` if it is not closed or spans a slash.
fn class_len(text: &str) -> Option<usize> {
    let mut at = 1;
    if text[at..].starts_with(['!', '^']) {
        at += 1;
    }
    let first = at;
    loop {
        let rest = &text[at..];
        match rest.chars().next()? {
            ']' if at > first => return Some(at + 1),
            '/' => return None,
            '[' if posix_class(rest).is_some() => at += posix_class(rest)?.1,
            '\\' => at += 1 + rest[1..].chars().next()?.len_utf8(),
            char => at += char.len_utf8(),
        }
    }
}

/// `[:alpha:]` and its like at the start of `text`, and its length.
fn posix_class(text: &str) -> Option<(&str, usize)> {
    const NAMES: [&str; 12] = [
        "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "xdigit",
    ];
    let name = text.strip_prefix("[:")?.split_once(":]")?.0;
    NAMES.contains(&name).then(|| (&text[..name.len() + 4], name.len() + 4))
}

/// One glob without braces as a regular expression.
fn translate(glob: &str, whole_path: bool) -> String {
    let mut out = String::with_capacity(glob.len() * 2);
    let mut at = 0;
    while let Some(char) = glob[at..].chars().next() {
        let rest = &glob[at..];
        let at_name = at == 0 || glob[..at].ends_with('/');
        if whole_path && at_name && rest.starts_with("**/") {
            // Any number of directories, none as well.
            out.push_str("(?s:.*/)?");
            at += 3;
            continue;
        }
        at += match char {
            '*' if rest.starts_with("**") => {
                out.push_str(if whole_path { "(?s:.*)" } else { "[^/]*" });
                rest.bytes().take_while(|byte| *byte == b'*').count()
            }
            '*' => {
                out.push_str("[^/]*");
                1
            }
            '?' => {
                out.push_str("[^/]");
                1
            }
            '[' => {
                if let Some(len) = class_len(rest) {
                    translate_class(&rest[1..len - 1], &mut out);
                    len
                } else {
                    out.push_str("\\[");
                    1
                }
            }
            '\\' => {
                let literal = rest[1..].chars().next().expect("no backslash is the last one");
                push_literal(&mut out, literal);
                1 + literal.len_utf8()
            }
            char => {
                push_literal(&mut out, char);
                char.len_utf8()
            }
        };
    }
    out
}

/// The inside of a class. It never matches a slash.
fn translate_class(class: &str, out: &mut String) {
    let negated = class.starts_with(['!', '^']);
    let mut rest = &class[usize::from(negated)..];
    let next = |rest: &mut &str| {
        let char = rest.chars().next()?;
        *rest = &rest[char.len_utf8()..];
        if char != '\\' {
            return Some(char);
        }
        let literal = rest.chars().next().unwrap_or('\\');
        *rest = rest.get(literal.len_utf8()..).unwrap_or_default();
        Some(literal)
    };
    let (mut members, mut any) = (String::new(), false);
    while !rest.is_empty() {
        if let Some((posix, len)) = posix_class(rest) {
            members.push_str(posix);
            any = true;
            rest = &rest[len..];
            continue;
        }
        let Some(low) = next(&mut rest) else { break };
        let high = match rest.strip_prefix('-') {
            Some(after) if !after.is_empty() => {
                rest = after;
                next(&mut rest).unwrap_or(low)
            }
            Some(_) | None => low,
        };
        // As in a shell, a range that is the wrong way round is empty.
        if low <= high {
            let _ = write!(members, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(low), u32::from(high));
            any = true;
        }
    }
    match (negated, any) {
        (true, _) => {
            let _ = write!(out, "[^/{members}]");
        }
        (false, true) => {
            let _ = write!(out, "[{members}&&[^/]]");
        }
        // Nothing matches.
        (false, false) => out.push_str("[^\\x{0}-\\x{10ffff}]"),
    }
}

fn push_literal(out: &mut String, char: char) {
    out.push_str(&regex::escape(char.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(glob: &str, name: &str) -> bool {
        Glob::new(glob).unwrap().matches_name(name.as_bytes())
    }

    fn path(glob: &str, path: &str) -> bool {
        Glob::new(glob).unwrap().is_match(path.as_bytes())
    }

    #[test]
    fn names_match_as_in_a_shell() {
        for (glob, yes, no) in [
            ("*.tmp", "a.tmp", "a.tmpx"),
            ("*", "", "a/b"),
            ("a?c", "aüc", "ac"),
            ("[abc]", "b", "d"),
            ("[!abc]", "d", "b"),
            ("[^abc]", "d", "/"),
            ("[]-]", "]", "a"),
            ("[a-]", "-", "b"),
            ("[+--]", "-", "/"),
            ("[[:digit:]x]", "7", "a"),
            ("{a,b}.{c,d}", "b.c", "a.e"),
            ("{a,{b,c}d}", "cd", "d"),
            ("x{,y}", "x", "xz"),
            ("{a}", "{a}", "a"),
            ("{a,b", "{a,b", "a"),
            ("[a", "[a", "a"),
            (r"\*", "*", "a"),
            (r"\{a,b}", "{a,b}", "a"),
            (r"[\]]", "]", "\\"),
            ("{[,],x}", ",", "y"),
            ("a.c", "a.c", "abc"),
            ("(a|b)+^$", "(a|b)+^$", "a"),
            ("a**b", "axyb", "axy"),
            ("*", "\n", "/"),
        ] {
            assert!(name(glob, yes), "{glob} matches {yes:?}");
            assert!(!name(glob, no), "{glob} does not match {no:?}");
        }
        assert!(!name("[z-a]", "m"), "a range the wrong way round matches nothing");
    }

    #[test]
    fn a_glob_with_a_slash_matches_the_path_and_what_is_below_it() {
        for (glob, yes, no) in [
            ("/srv/*.d", "/srv/a.d", "/srv/x/a.d"),
            ("/srv/*.d", "/srv/a.d/x/y", "/srv/a"),
            ("/srv/**/old", "/srv/old", "/srv/older"),
            ("/srv/**/old", "/srv/a/b/old/c", "/srv/a/xold"),
            ("/srv/**", "/srv/a/b", "/srv"),
            ("/srv/", "/srv/a", "/srvx"),
            ("**/.git/config", "/a/.git/config", "/a/.git"),
            ("/{a,b}/c", "/b/c", "/c"),
            ("/a/**.bak", "/a/b/c.bak", "/a/b/c"),
            ("/a[!x]b", "/ayb", "/a/b"),
        ] {
            assert!(path(glob, yes), "{glob} matches {yes:?}");
            assert!(!path(glob, no), "{glob} does not match {no:?}");
        }
        assert!(path("node_modules/", "/a/node_modules/b"), "a slash at the end is no slash");
    }

    #[test]
    fn a_leading_dot_is_matched_by_a_dot_only_where_a_shell_would() {
        let visible =
            |glob: &str, name: &str| Glob::new(glob).unwrap().matches_visible_name(name.as_bytes());
        assert!(visible("*", "a") && !visible("*", ".a"));
        assert!(!visible("?a", ".a") && !visible("[.]a", ".a") && !visible("{*,?a}", ".a"));
        assert!(visible(".*", ".a") && visible(r"\.a", ".a") && visible("{.a,b}*", ".ab"));
        assert!(visible("*.x", "a.x") && !visible("*.x", ".x"));
        assert!(name("*", ".a"));
    }

    #[test]
    fn bytes_that_are_not_utf8_match() {
        let glob = Glob::new("a?*c").unwrap();
        assert!(glob.matches_name(b"a\xffc"));
        assert!(glob.matches_name(b"a\xff\xfe\xfdc"));
        assert!(Glob::new("[!a]").unwrap().matches_name(b"\xff"));
    }

    #[test]
    fn what_cannot_match_is_an_error() {
        assert_eq!(Glob::new("a/b").unwrap_err().at, Some(0));
        assert_eq!(Glob::new("a\\").unwrap_err().at, Some(1));
        let (bomb, long) = ("{a,b,c,d}".repeat(20), "?".repeat(1 << 20));
        let told = ["", "a/b", "a\\", &bomb, &long].map(|glob| {
            let error = Glob::new(glob).unwrap_err();
            format!("{}  {error}", &glob[..glob.len().min(40)])
        });
        insta::assert_snapshot!("refused", told.join("\n"));
    }

    #[test]
    fn a_character_that_stands_for_foreign_bytes_is_itself_in_a_glob() {
        let name = "\u{10ff00}a";
        assert!(Glob::new(name).unwrap().matches_name(name.as_bytes()));
        assert!(!Glob::new(name).unwrap().matches_name(b"a"));
    }

    #[test]
    fn magic_is_what_is_not_a_plain_name() {
        for magic in ["*", "a?", "[a]", "{a,b}", r"\\*", "x[!a]"] {
            assert!(Glob::has_magic(magic), "{magic}");
        }
        for plain in ["", "a", "[a", "{a}", "{a,b", r"\*", r"\[a]", "/srv/in", "a,b}", "\\"] {
            assert!(!Glob::has_magic(plain), "{plain}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_glob_or_an_error(
            source in r"(\*|\?|\[|\]|\{|\}|,|!|-|/|\\|\[:alpha:\]|.){0,16}",
            path: Vec<u8>,
        ) {
            let _ = Glob::has_magic(&source);
            if let Ok(glob) = Glob::new(&source) {
                let _ = glob.is_match(&path);
                let visible = glob.matches_visible_name(&path);
                prop_assert!(!visible || glob.matches_name(&path));
            }
        }

        #[test]
        fn what_has_no_magic_matches_itself(name in "[a-z.{}\\[,-]{1,8}") {
            prop_assume!(!Glob::has_magic(&name));
            let glob = Glob::new(&name).unwrap();
            prop_assert!(glob.matches_name(name.as_bytes()));
            prop_assert!(glob.matches_visible_name(name.as_bytes()));
        }

        #[test]
        fn an_escaped_name_matches_itself_only(a in "[^/]{1,6}", b in "[^/]{1,6}") {
            let escaped: String = a.chars().flat_map(|char| ['\\', char]).collect();
            let glob = Glob::new(&escaped).unwrap();
            prop_assert!(glob.matches_name(a.as_bytes()));
            prop_assert_eq!(glob.matches_name(b.as_bytes()), a == b);
        }
    }
}
