//! What reads bytes of others, as functions that panic when a promise is broken.
//!
//! libFuzzer drives them by `fuzz_targets/`, and the stable compiler by `src/bin/noise.rs`. A new
//! target is a function, a line in [`TARGETS`], a file in `fuzz_targets/`, its `[[bin]]`, and a few
//! inputs in `seeds/`.

mod matching;
mod records;
mod templates;

use pyinotifyd_core::{
    event::EventType,
    path::{OneLine, bytes, names, normalize, shown, text},
};

pub use self::{
    matching::{filter, pattern},
    records::records,
    templates::{shell, template},
};
pub use pyinotifyd::fuzzing::{config, control, host, log};

/// The targets by their names.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("records", records),
    ("path", path),
    ("event_type", event_type),
    ("config", config),
    ("template", template),
    ("shell", shell),
    ("pattern", pattern),
    ("filter", filter),
    ("log", log),
    ("host", host),
    ("control", control),
];

/// Any bytes are a path: they come back from text, stay on their line, and normalize to a path
/// that normalizes to itself.
pub fn path(data: &[u8]) {
    let as_text = text(data);
    assert_eq!(bytes(&as_text), data, "text gives every path back");
    for line in [shown(data).to_string(), OneLine(&as_text).to_string()] {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert_eq!(OneLine(&line).to_string(), line, "what is shown is not escaped again");
    }
    let normal = normalize(b"/cwd", data);
    assert_eq!(normal.first(), Some(&b'/'));
    assert!(names(&normal).all(|name| name != b"." && name != b".."));
    assert_eq!(normalize(b"/", &normal), normal);
}

/// Any text is an event type or an error, and an event type has one name.
pub fn event_type(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(found) = text.parse::<EventType>()
    {
        assert_eq!(found.name(), text);
    }
}

/// A source and a path out of one input: what is before the first NUL, if that is text, and what
/// is behind it. Neither paths nor sources have a NUL of their own.
fn source_and_path(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|it| *it == 0)?;
    let source = str::from_utf8(&data[..end]).ok()?;
    Some((source, data[end + 1..].split(|it| *it == 0).next().unwrap_or_default()))
}
