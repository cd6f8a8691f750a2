//! Single values: their defaults and their ranges.

#![expect(clippy::ref_option, reason = "what comes in are the document's fields as they are")]

use std::{num::NonZeroUsize, time::Duration};

use pyinotifyd_core::{
    filter::{Filter, Matcher},
    path::{normalize, shown},
    plan::{Level, User},
};
use std::{os::unix::ffi::OsStrExt, path::Path, sync::Arc};

use super::Lower;
use crate::config::{
    diagnostic::Diagnostic,
    document::{At, DocAccount, DocDuration, DocMatcher, DocMode, Maybe, Place, Source, Spot},
    environment::Account,
    keys::{Key, Kind, LEVELS, SectionKeys},
    parts::{self, Fault},
    words::{self, DurationFault, did_you_mean, one_of},
};
use crate::errors::words;

/// A count that was checked to be positive.
pub(super) fn at_least_one(count: i64) -> NonZeroUsize {
    usize::try_from(count).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
}

const LEVEL_MEANINGS: [Level; 5] =
    [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];

impl Lower<'_> {
    /// The duration, or nothing if none is written or what is written is none.
    pub(super) fn duration(&mut self, maybe: &Maybe<DocDuration>) -> Option<Duration> {
        let spot = maybe.as_ref()?;
        let read = match &spot.value {
            DocDuration::Text(text) => words::duration(text),
            DocDuration::Seconds(number) if *number < 0.0 => Err(DurationFault::Negative),
            DocDuration::Seconds(number) if number.is_nan() => Err(DurationFault::Other),
            DocDuration::Seconds(number) => words::seconds(*number).ok_or(DurationFault::TooLong),
        };
        let written = match &spot.value {
            DocDuration::Text(text) => format!("`{}`", shown(text.as_bytes())),
            DocDuration::Seconds(_) => "this".to_owned(),
        };
        let mistake = |message: String| Diagnostic::error(&spot.place, message);
        let diagnostic = match read {
            Ok(duration) => return Some(duration),
            Err(DurationFault::Negative) => mistake(format!("{written} is negative")),
            Err(DurationFault::TooLong) => mistake(format!("{written} is too long")),
            Err(DurationFault::NoUnit) => mistake(format!("{written} has no unit")).hint(format!(
                "write seconds without quotes, or \"{}s\"",
                written.trim_matches('`')
            )),
            Err(DurationFault::Other) => mistake(format!("{written} is no duration"))
                .hint("write a number of seconds, or words such as \"1h30m\", \"30s\", \"250ms\""),
        };
        self.report(diagnostic);
        None
    }

    /// The duration, or the default.
    pub(super) fn duration_or<K: SectionKeys>(
        &mut self,
        maybe: &Maybe<DocDuration>,
        key: K,
    ) -> Duration {
        self.duration(maybe).unwrap_or_else(|| {
            words::duration(key.key().default).expect("the table's default is a duration")
        })
    }

    /// Whether it holds, or the default.
    pub(super) fn flag<K: SectionKeys>(maybe: &Maybe<bool>, key: K) -> bool {
        maybe.as_ref().map_or(key.key().default == "true", |it| it.value)
    }

    /// The count, if one is written that is in the key's range.
    pub(super) fn count<K: SectionKeys>(&mut self, maybe: &Maybe<i128>, key: K) -> Option<i64> {
        let spot = maybe.as_ref()?;
        let (min, max) = range(key.key());
        match i64::try_from(spot.value) {
            Ok(count) if (min..=max).contains(&count) => Some(count),
            _ => {
                let message = format!("{} is not between {min} and {max}", spot.value);
                self.report(Diagnostic::error(&spot.place, message));
                None
            }
        }
    }

    /// The count, or the default.
    pub(super) fn count_or<K: SectionKeys>(&mut self, maybe: &Maybe<i128>, key: K) -> i64 {
        self.count(maybe, key)
            .unwrap_or_else(|| key.key().default.parse().expect("the table's default is a number"))
    }

    /// What a word of a closed list means, or the default.
    pub(super) fn word_or<K: SectionKeys, T: Copy>(
        &mut self,
        maybe: &Maybe<String>,
        key: K,
        words: &[&str],
        meanings: &[T],
    ) -> T {
        self.word(maybe, words, meanings).unwrap_or_else(|| {
            let at = words.iter().position(|it| *it == key.key().default);
            meanings[at.expect("the table's default is one of the words")]
        })
    }

    /// What a word of a closed list means.
    pub(super) fn word<T: Copy>(
        &mut self,
        maybe: &Maybe<String>,
        words: &[&str],
        meanings: &[T],
    ) -> Option<T> {
        let spot = maybe.as_ref()?;
        let at = words.iter().position(|it| it.eq_ignore_ascii_case(&spot.value));
        if at.is_none() {
            let written = shown(spot.value.as_bytes());
            let message = format!("expected {}, found `{written}`", one_of(words.iter().copied()));
            let hint = did_you_mean(&spot.value, words.iter().copied());
            self.report(Diagnostic::error(&spot.place, message).maybe_hint(hint));
        }
        meanings.get(at?).copied()
    }

    /// A level of the log. `warn` is another word for `warning`.
    pub(super) fn level(&mut self, spot: &Spot<String>) -> Option<Level> {
        if spot.value.eq_ignore_ascii_case("warn") {
            return Some(Level::Warning);
        }
        self.word(&Some(spot.clone()), &LEVELS, &LEVEL_MEANINGS)
    }

    /// The level, or the default.
    pub(super) fn level_or<K: SectionKeys>(&mut self, maybe: &Maybe<String>, key: K) -> Level {
        maybe.as_ref().and_then(|it| self.level(it)).unwrap_or_else(|| {
            let at = LEVELS.iter().position(|it| *it == key.key().default);
            LEVEL_MEANINGS[at.expect("the table's default is a level")]
        })
    }

    /// Permission bits of at most `max`.
    pub(super) fn mode(&mut self, maybe: &Maybe<DocMode>, max: u32) -> Option<u32> {
        let spot = maybe.as_ref()?;
        let bits = match &spot.value {
            DocMode::Decimal(number) if *number > 7 => {
                let octal = words::octal(&number.to_string()).filter(|it| *it <= i128::from(max));
                let hint = octal.map(|_| format!("write \"0{number}\" or 0o{number}"));
                self.report(
                    Diagnostic::error(&spot.place, format!("{number} is a decimal number"))
                        .label("permission bits are octal")
                        .maybe_hint(hint),
                );
                return None;
            }
            // Up to 7 it is the same in octal.
            DocMode::Bits(bits) | DocMode::Decimal(bits) => Some(*bits),
            DocMode::Text(text) => words::octal(text),
        };
        match bits.and_then(|it| u32::try_from(it).ok()) {
            Some(bits) if bits <= max => Some(bits),
            _ => {
                let message = match &spot.value {
                    DocMode::Text(text) => {
                        format!("`{}` are no permission bits", shown(text.as_bytes()))
                    }
                    DocMode::Bits(_) | DocMode::Decimal(_) => {
                        "these are no permission bits".to_owned()
                    }
                };
                let hint = format!("write octal digits such as \"0644\", at most \"0{max:o}\"");
                self.report(Diagnostic::error(&spot.place, message).hint(hint));
                None
            }
        }
    }

    /// A user by name or id; with an id that has no entry, the id alone.
    pub(super) fn user(&mut self, spot: &Spot<DocAccount>) -> Option<Result<User, u32>> {
        let look_up = self.environment.user;
        self.account(spot, "user", look_up)
    }

    /// A group's id, by name or id.
    pub(super) fn group(&mut self, spot: &Spot<DocAccount>) -> Option<u32> {
        let look_up = self.environment.group;
        self.account(spot, "group", look_up).map(|it| it.unwrap_or_else(|id| id))
    }

    fn account<T>(
        &mut self,
        spot: &Spot<DocAccount>,
        what: &str,
        look_up: fn(Account<'_>) -> std::io::Result<Option<T>>,
    ) -> Option<Result<T, u32>> {
        let (account, written) = match &spot.value {
            DocAccount::Name(name) => {
                (Account::Name(name), format!("`{}`", shown(name.as_bytes())))
            }
            // The last id means "unchanged" to chown(2).
            DocAccount::Id(id) => match u32::try_from(*id) {
                Ok(id) if id != u32::MAX => (Account::Id(id), id.to_string()),
                _ => {
                    let message = format!("{id} is no {what} id");
                    self.report(Diagnostic::error(&spot.place, message));
                    return None;
                }
            },
        };
        // A NUL would end the name early in the C library.
        let valid =
            !matches!(account, Account::Name(name) if name.is_empty() || name.contains('\0'));
        let found = if valid { look_up(account) } else { Ok(None) };
        match (found, account) {
            (Ok(Some(found)), _) => Some(Ok(found)),
            (Ok(None), Account::Id(id)) => Some(Err(id)),
            (Ok(None), Account::Name(_)) => {
                let hint = format!(
                    "`getent {}` lists them",
                    if what == "user" { "passwd" } else { "group" }
                );
                self.report(
                    Diagnostic::error(&spot.place, format!("no {what} {written}")).hint(hint),
                );
                None
            }
            (Err(error), _) => {
                let message = format!("cannot look up {what} {written}: {}", words(&error));
                self.report(Diagnostic::error(&spot.place, message));
                None
            }
        }
    }

    /// Reports what only root can do; `what` is a verb.
    pub(super) fn needs_root(&mut self, place: &Place, what: &str) {
        if self.environment.uid != 0 {
            let message = format!("only root can {what}");
            let label = format!("we are user id {}", self.environment.uid);
            self.report(Diagnostic::error(place, message).label(label));
        }
    }

    /// An absolute path, normalized.
    pub(super) fn absolute(&mut self, spot: &Spot<Vec<u8>>) -> Option<Vec<u8>> {
        let written = shown(&spot.value);
        let message = match spot.value.as_slice() {
            path if path.contains(&0) => "a path cannot contain NUL".to_owned(),
            [b'/', ..] => return Some(normalize(b"/", &spot.value)),
            [] => "this path is empty".to_owned(),
            _ => format!("`{written}` is not absolute"),
        };
        let mut diagnostic = Diagnostic::error(&spot.place, message);
        if spot.value.starts_with(b"~") {
            diagnostic = diagnostic.label("`~` is a shell's word and is not replaced here");
        }
        self.report(diagnostic.hint("write the whole path, from /"));
        None
    }

    /// Reports names that would make a mess of the log, or of an environment.
    pub(super) fn printable(&mut self, spot: &Spot<String>, what: &str) {
        if spot.value.is_empty() {
            self.report(Diagnostic::error(&spot.place, format!("{what} cannot be empty")));
        } else if spot.value.chars().any(char::is_control) {
            let message = format!("{what} cannot contain control characters");
            self.report(Diagnostic::error(&spot.place, message));
        }
    }

    /// Reports what is wrong inside a text, at its own place if possible.
    pub(super) fn fault(&mut self, what: &str, place: &Place, text: &str, fault: Fault) {
        let place = narrow(place, text, fault.at, 1);
        let diagnostic = Diagnostic::error(&place, format!("{what} is wrong"));
        self.report(diagnostic.label(fault.message).maybe_hint(fault.hint));
    }

    /// A filter.
    pub(super) fn filter(
        &mut self,
        include: &[Spot<DocMatcher>],
        exclude: &[Spot<DocMatcher>],
    ) -> Filter {
        Filter { include: self.matchers(include), exclude: self.matchers(exclude) }
    }

    fn matchers(&mut self, spots: &[Spot<DocMatcher>]) -> Vec<Matcher> {
        let mut out = Vec::new();
        for spot in spots {
            match &spot.value {
                DocMatcher::Regex(text) => match self.regex_matcher(text) {
                    Ok(matcher) => out.push(matcher),
                    Err(fault) => self.fault("this pattern", &spot.place, text, fault),
                },
                DocMatcher::Glob(text) => match parts::glob_matcher(text) {
                    Ok(matcher) => out.push(matcher),
                    Err(fault) => self.fault("this glob", &spot.place, text, fault),
                },
                DocMatcher::File(path) => {
                    let path = Spot::new(path.clone(), spot.place.clone());
                    self.matchers_of_file(&path, &mut out);
                }
            }
        }
        out
    }

    /// A regular expression of a filter. Which directories are watched, and which events are for
    /// whom, is decided here and now, so there is nobody to ask what Python would match.
    fn regex_matcher(&self, text: &str) -> Result<Matcher, Fault> {
        let pattern = parts::pattern(text)?;
        if self.has_python && !pattern.matches_as_python() {
            return Err(Fault {
                message: "only Python itself can match it, and a filter cannot wait for that"
                    .into(),
                at: None,
                hint: Some("write it in another way, or look at the path in the task".into()),
            });
        }
        Ok(Matcher::Regex(pattern))
    }

    /// One regular expression a line. A line that begins with `#` is a comment, as in the
    /// original: within a pattern, `#` is a letter like any other.
    fn matchers_of_file(&mut self, spot: &Spot<Vec<u8>>, out: &mut Vec<Matcher>) {
        let Some(path) = self.absolute(spot) else { return };
        let name = shown(&path).to_string();
        let text = (self.environment.read)(Path::new(std::ffi::OsStr::from_bytes(&path)))
            .map_err(|error| words(&error))
            .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot read {name}: {error}");
                self.report(Diagnostic::error(&spot.place, message));
                return;
            }
        };
        let source = Arc::new(Source { name, text: Some(text) });
        let mut offset = 0;
        for raw in source.text.as_deref().unwrap_or_default().split_inclusive('\n') {
            let line = raw.trim();
            let start = offset + (raw.len() - raw.trim_start().len());
            offset += raw.len();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match self.regex_matcher(line) {
                Ok(matcher) => out.push(matcher),
                Err(fault) => {
                    let span = match fault.at {
                        Some(at) => start + at..start + at,
                        None => start..start + line.len(),
                    };
                    let diagnostic =
                        Diagnostic::error(&Place::span(&source, span), "this pattern is wrong");
                    self.report(diagnostic.label(fault.message).maybe_hint(fault.hint));
                }
            }
        }
    }

    /// Warns of words in braces that look like placeholders and are none.
    pub(super) fn placeholders(&mut self, spot: &Spot<String>) {
        for (at, word) in parts::odd_words(&spot.value) {
            let place = narrow(&spot.place, &spot.value, Some(at), word.len() + 2);
            let message = format!("`{{{word}}}` is no placeholder");
            let hint = words::nearest(word, parts::PLACEHOLDERS)
                .map(|it| format!("did you mean `{{{it}}}`?"));
            self.report(
                Diagnostic::warning(&place, message)
                    .label("it is left as it stands")
                    .maybe_hint(hint),
            );
        }
    }
}

fn range(key: &Key) -> (i64, i64) {
    match key.kind {
        Kind::Count { min, max } => (min, max),
        Kind::CountOr(section) => range(&section.keys[0]),
        _ => unreachable!("the table says that `{}` is a count", key.name),
    }
}

/// The place of `len` characters from a byte inside a text, if the file has the text just as it is: TOML's escapes move
/// what comes after them.
pub(super) fn narrow(place: &Place, text: &str, at: Option<usize>, len: usize) -> Place {
    let narrower = || {
        let at = at.filter(|at| text.is_char_boundary(*at))?;
        let At::Span(span) = &place.at else { return None };
        let raw = place.source.text.as_deref()?.get(span.clone())?;
        let quotes = if raw.starts_with("'''") || raw.starts_with("\"\"\"") { 3 } else { 1 };
        let mut skip = quotes.min(raw.len());
        // A line end right behind three quotes is no part of the text.
        if quotes == 3 {
            skip += ["\r\n", "\n"]
                .iter()
                .find(|it| raw.get(skip..).is_some_and(|raw| raw.starts_with(**it)))
                .map_or(0, |it| it.len());
        }
        raw.get(skip..)?.strip_prefix(text)?;
        let start = span.start + skip + at;
        let len = text[at..].chars().take(len).map(char::len_utf8).sum::<usize>();
        Some(Place::span(&place.source, start..start + len))
    };
    narrower().unwrap_or_else(|| place.clone())
}
