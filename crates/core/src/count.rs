//! Numbers of things, for people.

use std::fmt;

/// A number, and what it counts: one of them, and several.
#[derive(Clone, Copy, Debug)]
pub struct Count<N>(pub N, pub &'static str, pub &'static str);

impl<N: PartialEq + From<u8>> Count<N> {
    /// The word alone, for a number that is written in another way.
    pub fn word(&self) -> &'static str {
        let Self(number, one, many) = self;
        if *number == N::from(1) { one } else { many }
    }
}

impl<N: PartialEq + From<u8> + fmt::Display> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_others_are_many() {
        let said = [0, 1, 2, 11, 101].map(|it: usize| Count(it, "entry", "entries").to_string());
        assert_eq!(said, ["0 entries", "1 entry", "2 entries", "11 entries", "101 entries"]);
        assert_eq!(Count(1_u64, "entry", "entries").word(), "entry");
    }
}
