//! The small languages inside values: durations, octal modes; and "did you mean".

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DurationFault {
    /// A number without a unit.
    NoUnit,
    /// A minus sign.
    Negative,
    /// Too long for any clock.
    TooLong,
    /// Anything else.
    Other,
}

/// The unit's words and its nanoseconds.
const UNITS: [(&[&str], f64); 7] = [
    (&["us", "usec"], 1e3),
    (&["ms", "msec", "millisecond", "milliseconds"], 1e6),
    (&["s", "sec", "secs", "second", "seconds"], 1e9),
    (&["m", "min", "mins", "minute", "minutes"], 60e9),
    (&["h", "hr", "hour", "hours"], 3600e9),
    (&["d", "day", "days"], 86_400e9),
    (&["w", "week", "weeks"], 604_800e9),
];

/// Reads `1h30m`, `250ms`, `2 min`, `1.5 h`.
pub(crate) fn duration(text: &str) -> Result<Duration, DurationFault> {
    let mut rest = text.trim();
    if rest.starts_with('-') {
        return Err(DurationFault::Negative);
    }
    if rest.is_empty() {
        return Err(DurationFault::Other);
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) =
            split_while(rest, |byte| byte.is_ascii_digit() || byte == b'.' || byte == b'_');
        let (unit, after) = split_while(after.trim_start(), |byte| byte.is_ascii_alphabetic());
        let number: f64 = number.parse().map_err(|_| DurationFault::Other)?;
        if unit.is_empty() {
            let at_end = after.is_empty() && sum.is_zero();
            return Err(if at_end { DurationFault::NoUnit } else { DurationFault::Other });
        }
        let (_, nanos) = UNITS
            .iter()
            .find(|(words, _)| words.iter().any(|word| word.eq_ignore_ascii_case(unit)))
            .ok_or(DurationFault::Other)?;
        sum = seconds(number * nanos / 1e9)
            .and_then(|it| sum.checked_add(it))
            .ok_or(DurationFault::TooLong)?;
        rest = after.trim_start();
    }
    Ok(sum)
}

/// A number of seconds, rounded to the nanosecond; `None` if it is negative, not a number, or too
/// large.
pub(crate) fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn split_while(text: &str, holds: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(|byte| !holds(byte)).unwrap_or(text.len()))
}

/// Reads octal digits, with or without `0o` before them.
pub(crate) fn octal(text: &str) -> Option<i128> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| i128::from_str_radix(digits, 8).ok())?
}

/// The candidate that was most likely meant.
///
/// Words in another order count as near: `IN_WRITE_CLOSE` means `IN_CLOSE_WRITE`.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A hostile name of a megabyte is not compared letter by letter.
    if written.is_empty() || written.len() > 100 {
        return None;
    }
    let (folded, sorted) = (fold(written), sort_words(written));
    candidates
        .into_iter()
        .map(|it| {
            let letters = strsim::normalized_damerau_levenshtein(&folded, &fold(it));
            let words = strsim::normalized_damerau_levenshtein(&sorted, &sort_words(it));
            let prefix = it.len() >= 3 && folded.len() >= 3 && {
                fold(it).starts_with(&folded) || folded.starts_with(&fold(it))
            };
            (letters.max(words * 0.99).max(if prefix { 0.7 } else { 0.0 }), it)
        })
        .filter(|(score, _)| *score >= 0.6)
        .max_by(|(a, x), (b, y)| a.total_cmp(b).then_with(|| y.cmp(x)))
        .map(|(_, it)| it)
}

/// ``did you mean `x`?``, if something is near.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(written, candidates).map(|it| format!("did you mean `{it}`?"))
}

fn fold(text: &str) -> String {
    text.to_lowercase().replace('-', "_")
}

fn sort_words(text: &str) -> String {
    let folded = fold(text);
    let mut words: Vec<&str> = folded.split('_').collect();
    words.sort_unstable();
    words.join("_")
}

/// `a`, `b` or `c`, as people enumerate.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|it| format!("`{it}`")).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [word] => word.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let millis = |text| duration(text).map(|it| it.as_millis());
        assert_eq!(millis("30s"), Ok(30_000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("1h 30 min"), Ok(5_400_000));
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("2 min"), Ok(120_000));
        assert_eq!(millis("1.5 h"), Ok(5_400_000));
        assert_eq!(millis("1d"), Ok(86_400_000));
        assert_eq!(millis("0s"), Ok(0));
    }

    #[test]
    fn what_is_no_duration_says_why() {
        assert_eq!(duration("30"), Err(DurationFault::NoUnit));
        assert_eq!(duration("-5s"), Err(DurationFault::Negative));
        assert_eq!(duration("99999999999999999999d"), Err(DurationFault::TooLong));
        for text in ["", "s", "1x", "1h30", "1.2.3s", "five", "1s,", "NaNs", "infs", "1é"] {
            assert_eq!(duration(text), Err(DurationFault::Other), "{text:?}");
        }
    }

    #[test]
    fn octal_is_octal() {
        assert_eq!(octal("0644"), Some(0o644));
        assert_eq!(octal("0o755"), Some(0o755));
        assert_eq!(octal("644"), Some(0o644));
        for text in [
            "",
            "0o",
            "0888",
            "-644",
            "+644",
            "rw-r--r--",
            "7777777777777777777777777777777777777777777777777",
        ] {
            assert_eq!(octal(text), None, "{text:?}");
        }
    }

    #[test]
    fn words_in_another_order_are_near() {
        let types = ["IN_CLOSE_WRITE", "IN_CLOSE_NOWRITE", "IN_CREATE", "IN_MODIFY"];
        assert_eq!(nearest("IN_WRITE_CLOSE", types), Some("IN_CLOSE_WRITE"));
        assert_eq!(nearest("in_modfy", types), Some("IN_MODIFY"));
        assert_eq!(nearest("CREATE", types), Some("IN_CREATE"));
        assert_eq!(nearest("banana", types), None);
        assert_eq!(nearest("", types), None);
    }
}
