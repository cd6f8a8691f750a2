//! Where the configuration meets the core's little languages: patterns, globs, templates.
//!
//! Nothing else in `config` calls them, so this is the whole of what the two agree on.

use pyinotifyd_core::{
    filter::{Glob, Matcher},
    path::text,
    pattern::{Pattern, Substitution},
    template::{ShellTemplate, ShellTemplateError, Template, odd_braces},
};

/// What is wrong inside a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong.
    pub(crate) message: String,
    /// Where in the text, in bytes, if known.
    pub(crate) at: Option<usize>,
    /// What would help.
    pub(crate) hint: Option<String>,
}

/// The words that a template fills in.
pub(crate) const PLACEHOLDERS: [&str; 7] =
    ["basename", "dirname", "maskname", "pathname", "scheduler", "src_pathname", "task_id"];

/// A regular expression.
pub(crate) fn pattern(source: &str) -> Result<Pattern, Fault> {
    Pattern::new(source).map_err(|error| Fault {
        message: lower_first(&error.message),
        at: error.at.filter(|at| *at <= source.len()),
        hint: None,
    })
}

/// A `dst_re`.
pub(crate) fn substitution(source: &str, pattern: &Pattern) -> Result<Substitution, Fault> {
    Substitution::parse(source, pattern).map_err(|error| Fault {
        message: lower_first(&error.to_string()),
        at: Some(error.at).filter(|at| *at <= source.len()),
        hint: None,
    })
}

/// A glob on one name, or on a path.
pub(crate) fn glob(source: &str) -> Result<Glob, Fault> {
    Glob::new(source).map_err(|error| Fault {
        message: lower_first(&error.message),
        at: error.at.filter(|at| *at <= source.len()),
        hint: None,
    })
}

/// Whether a name is a glob rather than a name. With a backslash it is one, too: it stands for the
/// character behind it.
pub(crate) fn is_glob(name: &[u8]) -> bool {
    name.contains(&b'\\') || Glob::has_magic(&text(name))
}

/// A condition of a filter.
pub(crate) fn glob_matcher(source: &str) -> Result<Matcher, Fault> {
    glob(source).map(Matcher::Glob)
}

/// An argument of `exec`, or a line for the log.
pub(crate) fn template(source: &str) -> Template {
    Template::parse(source)
}

/// A command line. In one of the original's, something may read a value as text: that is a fault
/// beside the command then.
pub(crate) fn shell_template(
    source: &str,
    is_original: bool,
) -> Result<(ShellTemplate, Option<Fault>), Fault> {
    let fault = |error: ShellTemplateError| Fault {
        message: lower_first(&error.message),
        at: Some(error.at).filter(|at| *at <= source.len()),
        hint: Some(error.hint).filter(|it| !it.is_empty()),
    };
    if !is_original {
        return Ok((ShellTemplate::parse(source).map_err(fault)?, None));
    }
    let template = ShellTemplate::parse_with_reread(source).map_err(fault)?;
    let reread = template.reread().cloned().map(fault);
    Ok((template, reread))
}

/// Words in braces that look like placeholders and are none, with where they begin.
pub(crate) fn odd_words(source: &str) -> Vec<(usize, &str)> {
    odd_braces(source).map(|it| (it.at, it.word)).collect()
}

/// Whether a template has this placeholder.
pub(crate) fn mentions(source: &str, placeholder: &str) -> bool {
    brace_words(source).any(|(_, word)| word == placeholder)
}

/// `{word}` with only lower-case letters and `_`: neither `{}` nor `{print $1}` nor `${x}`.
fn brace_words(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source.match_indices('{').filter_map(|(at, _)| {
        let word = source[at + 1..].split_once('}')?.0;
        let plain =
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (plain && !source[..at].ends_with('$')).then_some((at, word))
    })
}

/// Libraries begin their messages as they like. What is no word, such as `U+110000`, stays.
fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next();
    match first {
        Some(first) if chars.clone().next().is_some_and(char::is_alphabetic) => {
            first.to_lowercase().chain(chars).collect()
        }
        Some(_) | None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_placeholder_is_odd() {
        assert_eq!(odd_words("x {pathnam} {pathname}"), [(2, "pathnam")]);
        assert!(odd_words("find {} -name '{a,b}' ${var} {print $1} {").is_empty());
        assert!(mentions("a{pathname}b", "pathname"));
        assert!(!mentions("{src_pathname}", "pathname"));
    }
}
