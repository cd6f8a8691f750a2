//! How a moment reads in the log.
//!
//! The zone's rules are asked once a second at most, since that is what a time stamp costs.

use std::{cell::Cell, io::Write, time::Duration};

use pyinotifyd_sys::time::{Civil, local};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Appends the time as Python's `asctime`: `2026-11-23 06:21:30,123`.
pub(crate) fn asctime(line: &mut Vec<u8>, at: Duration) {
    date(line, &civil(at), b' ');
    put(line, format_args!(",{:03}", at.subsec_millis()));
}

/// Appends the time as RFC 3339 has it: `2026-11-23T06:21:30.123+01:00`.
pub(crate) fn rfc3339(line: &mut Vec<u8>, at: Duration) {
    let civil = civil(at);
    date(line, &civil, b'T');
    let (sign, east) = if civil.offset < 0 { ('-', -civil.offset) } else { ('+', civil.offset) };
    let (hours, minutes) = (east / 3600, east / 60 % 60);
    put(line, format_args!(".{:03}{sign}{hours:02}:{minutes:02}", at.subsec_millis()));
}

/// Appends the time as RFC 3164 has it: `Nov  3 06:21:30`.
pub(crate) fn rfc3164(line: &mut Vec<u8>, at: Duration) {
    let Civil { month, day, hour, minute, second, .. } = civil(at);
    let month = MONTHS[usize::from(month) - 1];
    put(line, format_args!("{month} {day:2} {hour:02}:{minute:02}:{second:02}"));
}

fn date(line: &mut Vec<u8>, civil: &Civil, between: u8) {
    // By hand: `format_args!` takes three times as long, on every line of the log.
    let two = |number: u8| [b'0' + number / 10 % 10, b'0' + number % 10];
    match (u8::try_from(civil.year / 100), u8::try_from(civil.year % 100)) {
        (Ok(century @ 0..=99), Ok(year)) => {
            line.extend(two(century));
            line.extend(two(year));
        }
        _ => put(line, format_args!("{}", civil.year)),
    }
    for (before, number) in [
        (b'-', civil.month),
        (b'-', civil.day),
        (between, civil.hour),
        (b':', civil.minute),
        (b':', civil.second),
    ] {
        line.push(before);
        line.extend(two(number));
    }
}

/// The local time; UTC's start where the machine's clock is beyond all calendars.
fn civil(at: Duration) -> Civil {
    const START: Civil =
        Civil { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, offset: 0 };
    thread_local! { static LAST: Cell<(u64, Civil)> = const { Cell::new((0, START)) } }
    let seconds = at.as_secs();
    let (last, civil) = LAST.get();
    if last == seconds && last != 0 {
        return civil;
    }
    let civil = i64::try_from(seconds).ok().and_then(local).unwrap_or(START);
    LAST.set((seconds, civil));
    civil
}

fn put(line: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    line.write_fmt(args).expect("a Vec takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_agree_with_each_other() {
        let at = Duration::from_millis(1_795_414_890_123);
        let stamped = |stamp: fn(&mut Vec<u8>, Duration)| {
            let mut line = Vec::new();
            stamp(&mut line, at);
            String::from_utf8(line).unwrap()
        };
        // Only what is the same in every zone; the CI's zone is not ours to choose.
        let asctime = stamped(asctime);
        assert_eq!(asctime.len(), "2026-11-23 06:21:30,123".len(), "{asctime}");
        assert!(asctime.starts_with("2026-11-2") && asctime.ends_with(":30,123"), "{asctime}");
        let rfc3339 = stamped(rfc3339);
        assert_eq!(asctime.replace(' ', "T").replace(',', "."), rfc3339[..23], "{rfc3339}");
        assert_eq!(rfc3339.len(), "2026-11-23T06:21:30.123+01:00".len(), "{rfc3339}");
        let rfc3164 = stamped(rfc3164);
        assert_eq!(rfc3164[6..], asctime[10..19], "{rfc3164}");
        assert_eq!(rfc3164[..4], *"Nov ");
    }

    #[test]
    fn a_clock_beyond_all_calendars_is_shown_all_the_same() {
        let mut line = Vec::new();
        asctime(&mut line, Duration::MAX);
        assert_eq!(line, b"1970-01-01 00:00:00,999");
    }
}
