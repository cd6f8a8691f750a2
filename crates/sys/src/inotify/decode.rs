//! From the bytes of the kernel's queue to records. Total: any bytes give records, or one error
//! and then the end. What the bits of a mask mean is not asked here; unknown ones are kept.

use std::ffi::CStr;
use std::iter::FusedIterator;

/// The fixed part of `struct inotify_event` (`inotify(7)`).
const HEADER: usize = 16;

/// One record as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// The watch that it is for; −1 on `IN_Q_OVERFLOW`.
    pub wd: i32,
    /// What happened, unknown bits included.
    pub mask: u32,
    /// Joins the two halves of a move; 0 on everything else.
    pub cookie: u32,
    /// The name in the watched directory, without its NUL; empty when it is about the watched
    /// item itself.
    pub name: &'a [u8],
}

/// The bytes end within a record. `read(2)` on inotify gives whole records only, so this means
/// that the buffer was cut or spoilt on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at byte {at} needs {needs} bytes, but there are {has}")]
pub struct DecodeError {
    /// Where the record begins.
    pub at: usize,
    /// How long it says it is; 16 if not even its header is whole.
    pub needs: usize,
    /// What is left from there.
    pub has: usize,
}

/// The records of a buffer, in the kernel's order. Made by [`decode`].
#[derive(Clone, Debug)]
pub struct Decode<'a> {
    rest: &'a [u8],
    at: usize,
}

/// Reads `bytes` as the kernel wrote them; nothing is copied.
pub fn decode(bytes: &[u8]) -> Decode<'_> {
    Decode { rest: bytes, at: 0 }
}

impl<'a> Iterator for Decode<'a> {
    type Item = Result<RawRecord<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((header, rest)) = self.rest.split_first_chunk::<HEADER>() else {
            return Some(Err(self.broken(HEADER)));
        };
        let field = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let len = u32::from_ne_bytes(field(12)) as usize;
        let Some((padded, rest)) = rest.split_at_checked(len) else {
            return Some(Err(self.broken(HEADER.saturating_add(len))));
        };
        self.rest = rest;
        self.at += HEADER + len;
        Some(Ok(RawRecord {
            wd: i32::from_ne_bytes(field(0)),
            mask: u32::from_ne_bytes(field(4)),
            cookie: u32::from_ne_bytes(field(8)),
            name: CStr::from_bytes_until_nul(padded).map_or(padded, CStr::to_bytes),
        }))
    }
}

impl FusedIterator for Decode<'_> {}

impl Decode<'_> {
    /// How many bytes the records so far took: decoding can go on from there.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// Ends the iteration with an error about the record that comes next.
    fn broken(&mut self, needs: usize) -> DecodeError {
        let error = DecodeError { at: self.at, needs, has: self.rest.len() };
        self.rest = &[];
        error
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// As the kernel writes it: the name with at least one NUL, padded to 16.
    fn encode(into: &mut Vec<u8>, wd: i32, mask: u32, cookie: u32, name: &[u8]) {
        let len = if name.is_empty() { 0 } else { (name.len() + 1).next_multiple_of(16) };
        into.extend(wd.to_ne_bytes());
        into.extend(mask.to_ne_bytes());
        into.extend(cookie.to_ne_bytes());
        into.extend(u32::try_from(len).unwrap().to_ne_bytes());
        into.extend(name);
        into.resize(into.len() + len - name.len(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_bytes_give_records_then_at_most_one_error(bytes in vec(any::<u8>(), 0..400)) {
            let mut used = 0;
            let mut items = decode(&bytes);
            while let Some(item) = items.next() {
                match item {
                    Ok(record) => {
                        prop_assert!(!record.name.contains(&0));
                        used += HEADER + record.name.len();
                        prop_assert!(used <= bytes.len());
                    }
                    Err(error) => {
                        prop_assert!(error.at >= used && error.needs > error.has);
                        prop_assert_eq!(error.at + error.has, bytes.len());
                        prop_assert_eq!(items.next(), None);
                    }
                }
            }
            prop_assert_eq!(items.next(), None);
        }

        /// Random bytes seldom make a plausible length, so plant one.
        #[test]
        fn any_length_field_is_survived(len in any::<u32>(), tail in vec(any::<u8>(), 0..300)) {
            let mut bytes = vec![7; 12];
            bytes.extend(len.to_ne_bytes());
            bytes.extend(&tail);
            let first = decode(&bytes).next().unwrap();
            prop_assert_eq!(first.is_ok(), len as usize <= tail.len());
        }

        #[test]
        fn what_is_encoded_comes_back(
            records in vec((any::<i32>(), any::<u32>(), any::<u32>(), vec(1..=255u8, 0..=255)), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for (wd, mask, cookie, name) in &records {
                encode(&mut bytes, *wd, *mask, *cookie, name);
                ends.push(bytes.len());
            }
            let back: Vec<_> = decode(&bytes).map(Result::unwrap).collect();
            prop_assert_eq!(back.len(), records.len());
            for (got, (wd, mask, cookie, name)) in back.iter().zip(&records) {
                prop_assert_eq!(
                    (got.wd, got.mask, got.cookie, got.name),
                    (*wd, *mask, *cookie, name.as_slice())
                );
            }

            let cut = cut.index(bytes.len() + 1);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let items: Vec<_> = decode(&bytes[..cut]).collect();
            prop_assert_eq!(items.iter().filter(|item| item.is_ok()).count(), whole);
            prop_assert_eq!(items.len() - whole, usize::from(!ends.contains(&cut)));
        }
    }
}
