//! What a command prints: cut into lines as it comes, and the end of it kept.
//!
//! The bytes are the command's, unchanged: whoever writes them to a log escapes them. Memory is
//! bounded whatever comes.

use pyinotifyd_core::path::shown;

/// A line longer than this is given in pieces of this size.
const LINE: usize = 8 * 1024;
/// As much of the end is kept.
const TAIL: usize = 2 * 1024;
/// As many lines of the end are kept.
const TAIL_LINES: usize = 10;

/// Cuts what comes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not come; shorter than [`LINE`].
    partial: Vec<u8>,
    /// The end of all that has come; at most [`TAIL`] bytes, its first line perhaps cut.
    tail: Vec<u8>,
    /// Whether `tail` is not all that has come.
    cut: bool,
}

impl Lines {
    /// Takes bytes, and gives each line that is complete with them, without its end.
    pub(crate) fn handle_bytes(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        self.keep(bytes);
        while !bytes.is_empty() {
            let room = LINE - self.partial.len();
            let end = bytes[..bytes.len().min(room)].iter().position(|byte| *byte == b'\n');
            let (piece, rest, complete) = match end {
                Some(at) => (&bytes[..at], &bytes[at + 1..], true),
                None if bytes.len() >= room => (&bytes[..room], &bytes[room..], true),
                None => (bytes, &bytes[bytes.len()..], false),
            };
            bytes = rest;
            if complete && self.partial.is_empty() {
                line(piece);
                continue;
            }
            self.partial.extend_from_slice(piece);
            if complete {
                line(&self.partial);
                self.partial.clear();
            }
        }
    }

    /// Gives the last line, if nothing ended it.
    pub(crate) fn handle_end(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }

    /// The last lines, on one line and safe to show.
    #[must_use]
    pub(crate) fn tail(&self) -> String {
        let mut tail = self.tail.trim_ascii_end();
        let starts: Vec<usize> =
            (1..).zip(tail).filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        // Half a line says little, unless there is no other.
        let skip = starts.len().saturating_sub(TAIL_LINES - 1).max(usize::from(self.cut));
        if let Some(at) = skip.checked_sub(1).and_then(|last| starts.get(last)) {
            tail = &tail[*at..];
        }
        shown(tail).to_string()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = match bytes.len().checked_sub(TAIL) {
            Some(more) if more > 0 || !self.tail.is_empty() => {
                self.cut = true;
                self.tail.clear();
                &bytes[more..]
            }
            _ => bytes,
        };
        let over = (self.tail.len() + bytes.len()).saturating_sub(TAIL);
        if over > 0 {
            self.cut = true;
            self.tail.drain(..over);
        }
        self.tail.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[Vec<u8>]) -> (Vec<Vec<u8>>, String) {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.handle_bytes(piece, |line| seen.push(line.to_vec()));
            assert!(lines.partial.len() < LINE && lines.tail.len() <= TAIL);
        }
        lines.handle_end(|line| seen.push(line.to_vec()));
        (seen, lines.tail())
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let pieces = [&b"a"[..], b"b\n\nc", b"d\ne"].map(<[u8]>::to_vec);
        let (lines, tail) = cut(&pieces);
        assert_eq!(lines, [&b"ab"[..], b"", b"cd", b"e"]);
        assert_eq!(tail, "ab\\n\\ncd\\ne");
    }

    #[test]
    fn a_line_without_end_is_given_in_pieces() {
        let (lines, tail) = cut(&[vec![b'x'; 2 * LINE + 1]]);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [LINE, LINE, 1]);
        assert_eq!(tail.len(), TAIL);
    }

    #[test]
    fn the_tail_is_the_last_whole_lines() {
        let text: Vec<u8> = (0..1000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let want: Vec<_> = (990..1000).map(|n| format!("line {n}")).collect();
        assert_eq!(cut(&[text]).1, want.join("\\n"));
        let long = [vec![b'x'; 3000], b"\nlast words\n".to_vec()].concat();
        assert_eq!(cut(&[long]).1, "last words");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_however_it_comes(
            pieces in prop::collection::vec(prop::collection::vec(prop_oneof![
                4 => any::<u8>(), 1 => Just(b'\n')], 0..5000), 0..8)
        ) {
            let all = pieces.concat();
            let whole: Vec<_> = cut(std::slice::from_ref(&all)).0;
            prop_assert_eq!(&cut(&pieces).0, &whole);
            let lines = all.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
            let mut want: Vec<Vec<u8>> = Vec::new();
            for line in lines {
                let pieces = line.chunks(LINE).map(<[u8]>::to_vec).collect::<Vec<_>>();
                let full = line.len() % LINE == 0 && !line.is_empty();
                want.extend(if line.is_empty() { vec![Vec::new()] } else { pieces });
                // A full piece is given before its end is seen: the end is a line of its own.
                if full { want.push(Vec::new()); }
            }
            want.pop_if(|last| last.is_empty());
            prop_assert_eq!(whole, want);
        }
    }
}
