//! `pyinotifyd events PATH…`: events as they happen.
//!
//! Decides how an event reads, for people or as JSON; `docs/reference/events.md` says so to users.
//! [`plan`] is a plan that runs nothing: the loop hands each event that its Watch listens to over
//! to a [`Printer`], and calls [`Printer::flush`] when there is nothing more to print.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    time::Duration,
};

use pyinotifyd_core::{
    event::{Event, EventType, Origin},
    path::shown,
    plan::{EventMap, Plan},
};

use super::{
    Events, adhoc,
    terminal::{self, Look},
};
use crate::{
    errors::{Exit, Fatal},
    json,
    log::{DAEMON, stamp},
};

/// How much is kept before it is written.
const FULL: usize = 64 << 10;

/// What the command line means: one Watch that listens, and no scheduler.
///
/// # Errors
///
/// A path or pattern that means nothing (exit status 2), or there is no working directory.
pub(crate) fn plan(events: &Events) -> Result<Plan, Fatal> {
    let listen = adhoc::mask(&events.on);
    let watch =
        adhoc::watch(&events.paths, &events.exclude, !events.no_rec, EventMap::default(), listen)?;
    Ok(Plan {
        watches: vec![watch],
        schedulers: Vec::new(),
        shutdown_timeout: Duration::ZERO,
        slots: NonZeroUsize::MIN,
        logname: DAEMON.into(),
    })
}

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text {
        /// Whether event types have colours.
        colour: bool,
    },
    /// For programs: an object a line.
    Json,
}

impl Form {
    /// As asked for, with colours where they can be seen and are wanted.
    pub(crate) fn new(events: &Events, is_terminal: bool, look: &Look) -> Self {
        if events.json { Self::Json } else { Self::Text { colour: look.has_colours(is_terminal) } }
    }
}

/// Nothing more can be printed.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Nobody reads any more.
    ReaderGone,
    /// Writing failed.
    Failed(io::Error),
}

impl Ended {
    /// How the program ends: quietly if the reader has what he wants.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub(crate) fn exit(self) -> Result<Exit, Fatal> {
        match self {
            Self::ReaderGone => Ok(Exit::Success),
            Self::Failed(error) => Err(terminal::unwritable(&error)),
        }
    }
}

/// Writes events. What is printed is seen after [`Printer::flush`] at the latest.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    form: Form,
    buffer: Vec<u8>,
    stamp: Stamp,
}

impl<W: Write> Printer<W> {
    /// Prints to `out`, which need not be buffered.
    pub(crate) fn new(out: W, form: Form) -> Self {
        Self { out, form, buffer: Vec::with_capacity(FULL + 8192), stamp: Stamp::default() }
    }

    /// Prints an event that became known at `at`, since 1970 UTC.
    ///
    /// # Errors
    ///
    /// What was printed cannot be written.
    pub(crate) fn print(&mut self, at: Duration, event: &Event) -> Result<(), Ended> {
        self.stamp.set(at);
        match self.form {
            Form::Text { colour } => text(&mut self.buffer, self.stamp.clock(), event, colour),
            Form::Json => object(&mut self.buffer, self.stamp.whole(), event),
        }
        if self.buffer.len() >= FULL { self.flush() } else { Ok(()) }
    }

    /// Writes what was printed.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), Ended> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ended::ReaderGone,
            _ => Ended::Failed(error),
        })
    }
}

/// `12:34:56.789  IN_MOVED_TO       /to/a <- /from/a`.
fn text(out: &mut Vec<u8>, clock: &[u8], event: &Event, colour: bool) {
    const WIDTH: usize = "IN_CLOSE_NOWRITE".len();
    let (on, off) = if colour { (paint(event.event_type), "\x1b[0m") } else { ("", "") };
    let name = event.event_type.name();
    out.extend_from_slice(clock);
    for part in ["  ", on, name, off, &"                  "[..WIDTH + 2 - name.len()]] {
        out.extend_from_slice(part.as_bytes());
    }
    if event.pathname.is_empty() {
        out.extend_from_slice(event.event_type.meaning().as_bytes());
    } else {
        path(out, &event.pathname, event.is_dir);
    }
    if let Some(src) = &event.src_pathname {
        out.extend_from_slice(b" <- ");
        path(out, src, event.is_dir);
    }
    match event.origin {
        Origin::Live => (),
        origin @ (Origin::Scan | Origin::Recovered) => {
            out.extend_from_slice(b" (");
            out.extend_from_slice(origin.name().as_bytes());
            out.push(b')');
        }
    }
    out.push(b'\n');
}

fn path(out: &mut Vec<u8>, path: &[u8], is_dir: bool) {
    if is_plain(path) {
        out.extend_from_slice(path);
    } else {
        write!(out, "{}", shown(path)).expect("a Vec takes all");
    }
    if is_dir && path != b"/" {
        out.push(b'/');
    }
}

/// Whether this is the same in text, JSON and for people. Nearly every path is.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'"'))
}

/// What comes is green, what goes is red, what changes is yellow, and what is lost is bold.
fn paint(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Create | EventType::MovedTo => "\x1b[32m",
        EventType::Delete
        | EventType::MovedFrom
        | EventType::DeleteSelf
        | EventType::MoveSelf
        | EventType::Unmount => "\x1b[31m",
        EventType::Modify | EventType::CloseWrite | EventType::Attrib => "\x1b[33m",
        EventType::QOverflow => "\x1b[1;31m",
        EventType::Access | EventType::Open | EventType::CloseNowrite | EventType::Ignored => {
            "\x1b[2m"
        }
    }
}

fn object(out: &mut Vec<u8>, time: &[u8], event: &Event) {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(time);
    out.extend_from_slice(b"\",\"event\":\"");
    out.extend_from_slice(event.event_type.name().as_bytes());
    out.extend_from_slice(b"\",\"mask\":");
    number(out, event.mask.0);
    out.extend_from_slice(b",\"is_dir\":");
    out.extend_from_slice(if event.is_dir { b"true" } else { b"false" });
    field(out, "pathname", Some(&event.pathname));
    field(out, "src_pathname", event.src_pathname.as_deref());
    field(out, "name", Some(event.name()));
    out.extend_from_slice(b",\"wd\":");
    if event.wd.0 < 0 {
        out.push(b'-');
    }
    number(out, event.wd.0.unsigned_abs());
    out.extend_from_slice(b",\"cookie\":");
    number(out, event.cookie);
    out.extend_from_slice(b",\"origin\":\"");
    out.extend_from_slice(event.origin.name().as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// A path as text; one that is not UTF-8 as people are shown it, with its bytes in another field.
fn field(out: &mut Vec<u8>, name: &str, path: Option<&[u8]>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    let Some(path) = path else { return out.extend_from_slice(b"null") };
    match str::from_utf8(path) {
        _ if is_plain(path) => {
            out.push(b'"');
            out.extend_from_slice(path);
            out.push(b'"');
        }
        Ok(text) => json::string(out, text),
        Err(_) => {
            json::string(out, &shown(path).to_string());
            write!(out, ",\"{name}_hex\":\"").expect("a Vec takes all");
            for byte in path {
                write!(out, "{byte:02x}").expect("a Vec takes all");
            }
            out.push(b'"');
        }
    }
}

/// In decimal; `write!` takes longer than the whole rest of a line.
fn number(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The time of the last event as text. All but the milliseconds is made once a second.
#[derive(Debug, Default)]
struct Stamp {
    second: Option<u64>,
    /// RFC 3339.
    text: Vec<u8>,
    /// Where in it the point before the milliseconds is.
    point: usize,
}

impl Stamp {
    fn set(&mut self, at: Duration) {
        if self.second != Some(at.as_secs()) {
            self.second = Some(at.as_secs());
            self.text.clear();
            stamp::rfc3339(&mut self.text, at);
            let point = self.text.iter().position(|it| *it == b'.');
            self.point = point.expect("the log's stamps have milliseconds");
        }
        let millis = at.subsec_millis();
        let digit = |number: u32| b'0' + u8::try_from(number % 10).expect("a digit");
        self.text[self.point + 1..self.point + 4].copy_from_slice(&[
            digit(millis / 100),
            digit(millis / 10),
            digit(millis),
        ]);
    }

    fn whole(&self) -> &[u8] {
        &self.text
    }

    /// `12:34:56.789`.
    fn clock(&self) -> &[u8] {
        &self.text[self.point - 8..self.point + 4]
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use proptest::prelude::*;
    use pyinotifyd_core::path::is_invisible;
    use pyinotifyd_core::{event::Mask, record::Wd};
    use serde_json::Value;

    use super::*;
    use crate::cli::{Command, parse};

    const AT: Duration = Duration::from_millis(1_795_414_890_123);

    fn event(event_type: EventType, pathname: &[u8], name: &[u8]) -> Event {
        Event {
            event_type,
            mask: event_type.mask(),
            is_dir: false,
            pathname: pathname.into(),
            src_pathname: None,
            name_len: u16::try_from(name.len()).unwrap(),
            root_len: 2,
            wd: Wd(7),
            cookie: 0,
            origin: Origin::Live,
            subject: None,
        }
    }

    fn printed(form: Form, events: &[Event]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, form);
        for event in events {
            printer.print(AT, event).unwrap();
        }
        printer.flush().unwrap();
        out
    }

    /// Without the time, whose zone is the machine's.
    fn shown_without_time(form: Form, events: &[Event]) -> String {
        let text = String::from_utf8(printed(form, events)).unwrap();
        let lines = text.lines().map(|it| match form {
            Form::Text { .. } => format!("{}\n", &it[12..]),
            Form::Json => format!("{}\n", it.split_once(',').unwrap().1),
        });
        lines.collect()
    }

    fn examples() -> Vec<Event> {
        let dir = Mask::ISDIR;
        let mut moved = event(EventType::MovedTo, b"/w/b", b"b");
        moved.src_pathname = Some(b"/w/a".as_slice().into());
        moved.cookie = 4_294_967_295;
        let mut made = event(EventType::Create, b"/w/d", b"d");
        made.mask = made.mask.with(dir);
        made.is_dir = true;
        made.origin = Origin::Scan;
        let mut top = event(EventType::CloseNowrite, b"/", b"");
        top.mask = top.mask.with(dir);
        top.is_dir = true;
        let mut lost = event(EventType::QOverflow, b"", b"");
        lost.wd = Wd::NONE;
        vec![
            event(EventType::CloseWrite, b"/w/a b", b"a b"),
            moved,
            made,
            top,
            lost,
            event(EventType::Delete, b"/w/\xff\"\n\\", b"\xff\"\n\\"),
            event(EventType::Delete, "/w/\u{1b}[31m\u{9b}1m\u{202e}\u{e0041}ü".as_bytes(), b""),
        ]
    }

    #[test]
    fn events_read_well() {
        let all = [Form::Text { colour: false }, Form::Text { colour: true }, Form::Json]
            .map(|form| shown_without_time(form, &examples()));
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn the_time_is_that_of_the_log() {
        let mut stamp = Stamp::default();
        for at in [AT, AT + Duration::from_millis(1), AT + Duration::from_secs(86_399)] {
            stamp.set(at);
            let mut expected = Vec::new();
            stamp::rfc3339(&mut expected, at);
            assert_eq!(stamp.whole(), expected);
            assert_eq!(stamp.clock(), &expected[11..23]);
        }
    }

    #[test]
    fn a_reader_that_is_gone_ends_it_quietly() {
        struct Gone(io::ErrorKind);
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let end = |kind| {
            let mut printer = Printer::new(Gone(kind), Form::Json);
            printer.flush().expect("there is nothing to write");
            printer.print(AT, &event(EventType::Open, b"/w", b"")).expect("it is kept");
            printer.flush().expect_err("nobody takes it").exit()
        };
        assert_eq!(end(io::ErrorKind::BrokenPipe), Ok(Exit::Success));
        assert!(end(io::ErrorKind::StorageFull).is_err());
    }

    #[test]
    fn much_is_written_without_being_asked() {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Form::Json);
        for _ in 0..10_000 {
            printer.print(AT, &event(EventType::Open, b"/w/x", b"x")).unwrap();
        }
        let kept = printer.buffer.len();
        assert!(kept < FULL && out.len() > 10_000 * 100 - kept);
    }

    fn written(args: &[&str]) -> Events {
        let args = ["pyinotifyd", "events"].iter().chain(args).map(OsString::from);
        match parse(args) {
            Ok(Command::Events(events)) => events,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn json_has_no_colours() {
        let look = Look::of("xterm", None);
        assert_eq!(Form::new(&written(&["/w", "--json"]), true, &look), Form::Json);
        assert_eq!(Form::new(&written(&["/w"]), true, &look), Form::Text { colour: true });
    }

    #[test]
    fn the_plan_listens_and_runs_nothing() {
        let of = |args: &[&str]| plan(&written(args)).unwrap();
        let all = of(&["/w"]);
        assert!(all.schedulers.is_empty() && all.watches[0].map.mask() == Mask::NONE);
        assert_eq!(all.watches[0].wanted(), Mask::ALL_EVENTS);
        let some = of(&["/w", "--on", "create,open", "--no-rec"]);
        let wanted = EventType::Create.mask().with(EventType::Open.mask());
        assert_eq!((some.watches[0].listen, some.watches[0].rec), (wanted, false));
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_line_or_its_field(
            name in prop::collection::vec(any::<u8>().prop_filter("a name", |it| *it != b'/' && *it != 0), 1..20),
            src in prop::option::of("[a\u{1b}\u{9b}\u{202e}\u{2028}\u{e0041}\n\"\\\\ü日]{0,9}"),
        ) {
            let mut it = event(EventType::MovedTo, &[b"/w/", name.as_slice()].concat(), &name);
            it.src_pathname = src.as_ref().map(|it| it.as_bytes().into());
            let text = String::from_utf8(printed(Form::Text { colour: false }, &[it.clone()])).unwrap();
            prop_assert!(!text.trim_end_matches('\n').contains(|it: char| it.is_control() || is_invisible(it)));
            let line = String::from_utf8(printed(Form::Json, &[it.clone()])).unwrap();
            prop_assert!(!line.trim_end_matches('\n').contains(|it: char| it.is_control() || is_invisible(it)));
            let object: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(object["src_pathname"].as_str(), src.as_deref());
            prop_assert_eq!(object["cookie"].as_u64(), Some(0));
            match object["pathname_hex"].as_str() {
                None => prop_assert_eq!(object["pathname"].as_str().unwrap().as_bytes(), &*it.pathname),
                Some(hex) => {
                    let bytes: Vec<u8> = (0..hex.len() / 2)
                        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
                        .collect();
                    prop_assert_eq!(&bytes, &*it.pathname);
                    prop_assert!(str::from_utf8(&bytes).is_err());
                }
            }
        }
    }
}
