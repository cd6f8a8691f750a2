//! What the words of the command line stand for.

use std::{ffi::OsStr, time::Duration};

use clap::{
    Arg, Command,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use pyinotifyd_core::{event::EventType, plan::Busy};

/// What takes the name of an event type. Shells complete it as it is listed.
#[derive(Clone, Copy)]
pub(super) struct EventName;

impl TypedValueParser for EventName {
    type Value = EventType;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<EventType, clap::Error> {
        let parser: fn(&str) -> Result<EventType, String> = event_type;
        parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(EventType::ALL.into_iter().map(|it| PossibleValue::new(it.name()))))
    }
}

/// An event type by its name, in any case, with or without `IN_`.
fn event_type(text: &str) -> Result<EventType, String> {
    let bare = bare(text);
    let all = EventType::ALL.into_iter();
    all.clone().find(|it| self::bare(it.name()) == bare).ok_or_else(|| {
        let near = all
            .map(|it| (strsim::normalized_damerau_levenshtein(&bare, &self::bare(it.name())), it))
            .chain(all_swapped(&bare))
            .filter(|(likeness, _)| *likeness >= 0.6)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        match near {
            Some((_, it)) => format!("no such event type; did you mean {it}?"),
            None => "no such event type; `pyinotifyd --list` lists them".into(),
        }
    })
}

/// `WRITE_CLOSE` is as near to `CLOSE_WRITE` as can be, whatever the edit distance says.
fn all_swapped(bare: &str) -> Option<(f64, EventType)> {
    let (head, tail) = bare.split_once('_')?;
    let swapped = format!("{tail}_{head}");
    EventType::ALL.into_iter().find(|it| self::bare(it.name()) == swapped).map(|it| (1.0, it))
}

fn bare(name: &str) -> String {
    let name = name.trim().to_ascii_uppercase();
    name.strip_prefix("IN_").map(str::to_owned).unwrap_or(name)
}

/// A time: seconds (`2`, `0.5`), or with units (`500ms`, `30s`, `1h30m`, `1d`).
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "a time is written 2, 0.5s, 500ms, 5m, 1h30m or 1d";
    let seconds = |number: &str| {
        let plain = number.bytes().all(|it| it.is_ascii_digit() || it == b'.');
        let number = number.parse::<f64>().ok().filter(|_| plain);
        number.ok_or_else(|| FORM.to_owned())
    };
    let length = |seconds: f64| {
        Duration::try_from_secs_f64(seconds).map_err(|_| "longer than time itself".to_owned())
    };
    let mut rest = text.trim();
    if !rest.ends_with(|it: char| it.is_ascii_alphabetic()) {
        return length(seconds(rest)?);
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| it.is_ascii_alphabetic()).ok_or(FORM)?;
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(FORM.into());
        }
        let unit_end = tail.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(format!("no such unit of time: {unit}; {FORM}")),
        };
        sum = sum.saturating_add(length(seconds(number)? * factor)?);
        rest = tail;
    }
    Ok(sum)
}

/// What an event does while its subject's task runs, with a line of help each.
pub(super) fn busy() -> impl TypedValueParser<Value = Busy> {
    PossibleValuesParser::new([
        PossibleValue::new("again").help("it runs once more afterwards"),
        PossibleValue::new("skip").help("the event is dropped"),
        PossibleValue::new("parallel").help("it runs beside itself"),
        PossibleValue::new("restart").help("it is stopped and started anew"),
    ])
    .map(|word| match word.as_str() {
        "again" => Busy::Again,
        "skip" => Busy::Skip,
        "parallel" => Busy::Parallel,
        "restart" => Busy::Restart,
        other => unreachable!("{other} is not a possible value"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_have_many_spellings() {
        for text in ["IN_CLOSE_WRITE", "close_write", "Close_Write", "in_close_write"] {
            assert_eq!(event_type(text), Ok(EventType::CloseWrite));
        }
        for it in EventType::ALL {
            assert_eq!(event_type(it.name()), Ok(it));
        }
    }

    #[test]
    fn a_near_miss_is_answered_with_what_was_meant() {
        let meant = |text| event_type(text).unwrap_err();
        assert!(meant("IN_WRITE_CLOSE").ends_with("did you mean IN_CLOSE_WRITE?"));
        assert!(meant("modfy").ends_with("did you mean IN_MODIFY?"));
        assert!(meant("moved").contains("did you mean IN_MOVED_TO?"));
        assert!(meant("xyzzy").ends_with("`pyinotifyd --list` lists them"));
    }

    #[test]
    fn times_are_written_as_people_do() {
        let millis = |text| duration(text).map(|it| it.as_millis());
        assert_eq!(millis("2"), Ok(2_000));
        assert_eq!(millis("0.25"), Ok(250));
        assert_eq!(millis("1.5s"), Ok(1_500));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("2d"), Ok(172_800_000));
        for text in ["", "-1", "s", "1x", "1s2", "inf", "nan", "1e9", "1e400d", "soon", "1 s"] {
            assert!(duration(text).is_err(), "{text:?}: {:?}", duration(text));
        }
        assert!(duration(&"9".repeat(40)).is_err());
    }
}
