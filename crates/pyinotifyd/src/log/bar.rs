//! A line below the log, on a terminal, that says how far it is what takes long.
//!
//! It is drawn by the thread that writes the log, between lines, so that none tears it. Here is what
//! it says, and the bytes that draw and clear it; the terminal itself is not known here.

use std::{
    ffi::OsStr,
    fmt::{self, Write as _},
    io, mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use pyinotifyd_core::{path::shown, time::Human};

/// Something that takes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) what: What,
    /// How much of it is done.
    pub(crate) done: u64,
    /// How much there is in all, where that is known.
    pub(crate) of: Option<u64>,
    /// How long it has gone on.
    pub(crate) took: Duration,
    /// How many others go on beside it.
    pub(crate) others: usize,
}

/// What it is that takes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Directories are read.
    Reading,
    /// Bytes are copied.
    Copying {
        /// The subject of the task that it is for.
        path: Arc<[u8]>,
    },
}

/// Whether a terminal of this kind, `$TERM`, can be drawn on.
pub(crate) fn can_draw(term: Option<&OsStr>) -> bool {
    term.is_some_and(|it| !it.is_empty() && it != "dumb")
}

impl Work {
    /// How much there is in all. A guess that has turned out to be too low is none.
    fn total(&self) -> Option<u64> {
        self.of.filter(|it| self.done <= *it)
    }

    /// How much of it is done in a second, from its beginning on.
    fn per_second(&self) -> u64 {
        let nanos = self.took.as_nanos().max(1);
        let rate = u128::from(self.done) * 1_000_000_000 / nanos;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// How long the rest takes at that pace.
    fn left(&self) -> Option<Duration> {
        let rest = self.total()?.checked_sub(self.done)?;
        rest.checked_div(self.per_second()).map(Duration::from_secs)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Reading => {
                write!(f, "reading directories: {}", self.done)?;
                if let Some(total) = self.total() {
                    write!(f, " of {total}")?;
                }
                write!(f, ", {} a second", self.per_second())?;
            }
            // What the kernel has taken is not on the disk yet.
            What::Copying { .. } if self.total() == Some(self.done) => {
                write!(f, "copied {}, now they are written out", BinaryBytes(self.done))?;
            }
            What::Copying { .. } => {
                write!(f, "copying: {}", BinaryBytes(self.done))?;
                if let Some(total) = self.total() {
                    write!(f, " of {}", BinaryBytes(total))?;
                }
                write!(f, ", {} a second", BinaryBytes(self.per_second()))?;
            }
        }
        if let Some(left) = self.left().filter(|it| !it.is_zero()) {
            write!(f, ", {} left", Human(left))?;
        }
        if self.others > 0 {
            write!(f, ", one of {}", self.others + 1)?;
        }
        // Last, since it is what a narrow terminal cuts off.
        match &self.what {
            What::Reading => Ok(()),
            What::Copying { path } => write!(f, ": {}", shown(path)),
        }
    }
}

/// Clears the line and all below it: that is where what is left of a wider one is after the
/// terminal was made narrower.
const CLEAR: &str = "\r\x1b[J";

/// On fewer columns nothing is drawn.
const NARROWEST: u16 = 40;

/// The line.
#[derive(Debug)]
pub(super) struct Bar {
    sheet: Sheet,
    line: ProgressBar,
    /// As it is drawn; empty if it is not.
    frame: Vec<u8>,
}

impl Bar {
    pub(super) fn new() -> Self {
        let sheet = Sheet::default();
        let target = ProgressDrawTarget::term_like(Box::new(sheet.clone()));
        Self { line: ProgressBar::with_draw_target(None, target), sheet, frame: Vec::new() }
    }

    /// Whether it is there.
    pub(super) fn is_drawn(&self) -> bool {
        !self.frame.is_empty()
    }

    /// The bytes that draw it in place of what it was, on a terminal of that width. Without one, or
    /// on one that is too narrow, it is not there, and nothing is touched.
    pub(super) fn draw(&mut self, work: &Work, columns: Option<u16>) -> &[u8] {
        self.frame.clear();
        let Some(columns) = columns.filter(|it| *it >= NARROWEST) else { return &self.frame };
        // In the last column, some terminals go on to the next line by themselves.
        self.sheet.0.columns.store(columns - 1, Ordering::Relaxed);
        let total = work.total();
        self.line.set_style(style(total.is_some()));
        self.line.set_message(work.to_string());
        // That has drawn it already, but not with all that is new.
        self.sheet.take();
        self.line.update(|state| {
            state.set_pos(work.done);
            state.set_len(total.unwrap_or_default());
        });
        self.frame = self.sheet.take();
        // What others write there, such as the keys that are typed, goes over it, not behind it.
        self.frame.push(b'\r');
        &self.frame
    }

    /// The bytes that draw it as it was.
    pub(super) fn draw_again(&self) -> &[u8] {
        &self.frame
    }

    /// The bytes that make room for other lines.
    pub(super) fn give_way(&self) -> &'static [u8] {
        if self.is_drawn() { CLEAR.as_bytes() } else { &[] }
    }

    /// The bytes that clear it for good.
    pub(super) fn clear(&mut self) -> &'static [u8] {
        let bytes = self.give_way();
        self.frame.clear();
        bytes
    }
}

/// In letters that every console has, and without colours.
fn style(has_total: bool) -> ProgressStyle {
    let template = if has_total { "[{bar:20}] {wide_msg}" } else { "{spinner} {wide_msg}" };
    let style = ProgressStyle::with_template(template).expect("it is written as it has to be");
    style.progress_chars("=> ").tick_chars("-\\|/-")
}

/// What a frame is written on, before the terminal gets all of it at once.
#[derive(Clone, Debug, Default)]
struct Sheet(Arc<Written>);

#[derive(Debug, Default)]
struct Written {
    columns: AtomicU16,
    text: Mutex<String>,
}

impl Sheet {
    fn take(&self) -> Vec<u8> {
        mem::take(&mut *self.0.text.lock().unwrap_or_else(PoisonError::into_inner)).into_bytes()
    }

    fn push(&self, text: fmt::Arguments<'_>) -> io::Result<()> {
        let mut all = self.0.text.lock().unwrap_or_else(PoisonError::into_inner);
        all.write_fmt(text).map_err(io::Error::other)
    }
}

impl TermLike for Sheet {
    fn width(&self) -> u16 {
        self.0.columns.load(Ordering::Relaxed)
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        if lines == 0 { Ok(()) } else { self.push(format_args!("\x1b[{lines}A")) }
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        if lines == 0 { Ok(()) } else { self.push(format_args!("\x1b[{lines}B")) }
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        if columns == 0 { Ok(()) } else { self.push(format_args!("\x1b[{columns}C")) }
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        if columns == 0 { Ok(()) } else { self.push(format_args!("\x1b[{columns}D")) }
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.push(format_args!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(format_args!("{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push(format_args!("{CLEAR}"))
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn reading(done: u64, of: Option<u64>) -> Work {
        Work { what: What::Reading, done, of, took: Duration::from_millis(2500), others: 0 }
    }

    fn copying(done: u64, of: Option<u64>) -> Work {
        Work { what: What::Copying { path: Arc::from(&b"/in/a\nb"[..]) }, ..reading(done, of) }
    }

    #[test]
    fn it_says_how_much_of_what_how_fast_and_how_long_it_still_takes() {
        let says = [
            (reading(100_000, None), "reading directories: 100000, 40000 a second"),
            (
                reading(100_000, Some(200_000)),
                "reading directories: 100000 of 200000, 40000 a second, 2s left",
            ),
            (
                copying(500 * MIB, Some(4096 * MIB)),
                r"copying: 500.00 MiB of 4.00 GiB, 200.00 MiB a second, 17s left: /in/a\nb",
            ),
            (copying(500 * MIB, None), r"copying: 500.00 MiB, 200.00 MiB a second: /in/a\nb"),
            (copying(MIB, Some(MIB)), r"copied 1.00 MiB, now they are written out: /in/a\nb"),
            (
                Work { others: 3, ..copying(0, Some(MIB)) },
                r"copying: 0 B of 1.00 MiB, 0 B a second, one of 4: /in/a\nb",
            ),
        ];
        for (work, text) in says {
            assert_eq!(work.to_string(), text);
        }
    }

    #[test]
    fn a_guess_that_was_too_low_is_not_shown() {
        let text = reading(100_000, Some(99_999)).to_string();
        assert_eq!(text, "reading directories: 100000, 40000 a second");
    }

    #[test]
    fn a_frame_is_one_line_that_never_reaches_the_last_column() {
        let mut bar = Bar::new();
        for columns in NARROWEST..200 {
            let frame = bar.draw(&copying(MIB, Some(4 * MIB)), Some(columns)).to_vec();
            let text = str::from_utf8(&frame).unwrap();
            let text = text.strip_prefix(CLEAR).and_then(|it| it.strip_suffix('\r')).unwrap();
            assert_eq!(text.len(), usize::from(columns) - 1, "{text:?}");
            assert!(text.bytes().all(|it| matches!(it, b' '..=b'~')), "{text:?}");
        }
    }

    #[test]
    fn without_a_total_something_turns() {
        let mut bar = Bar::new();
        let mut first = || {
            let frame = bar.draw(&reading(1, None), Some(80));
            frame[CLEAR.len()]
        };
        let turns: Vec<u8> = (0..8).map(|_| first()).collect();
        assert_eq!(turns.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn what_cannot_be_drawn_leaves_nothing_to_be_cleared() {
        let mut bar = Bar::new();
        assert_eq!(bar.clear(), b"");
        for columns in [None, Some(0), Some(NARROWEST - 1)] {
            bar.draw(&reading(1, None), Some(80));
            assert_eq!(bar.give_way(), CLEAR.as_bytes());
            assert_eq!(bar.draw(&reading(2, None), columns), b"");
            assert_eq!((bar.clear(), bar.draw_again()), (&b""[..], &b""[..]));
        }
    }

    #[test]
    fn terminals_that_cannot_clear_a_line_are_not_drawn_on() {
        assert!(can_draw(Some(OsStr::new("linux"))));
        for term in [None, Some(""), Some("dumb")] {
            assert!(!can_draw(term.map(OsStr::new)));
        }
    }
}
