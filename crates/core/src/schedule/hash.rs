//! SipHash-1-3 (Aumasson and Bernstein), keyed by the schedule's seed.
//!
//! Whoever may create files chooses the paths, so a hash that they can predict would let them
//! turn every look-up into a walk through one chain. A fixed key would be as good as none; the
//! caller's seed makes it secret in the daemon and repeatable in a test.

/// A secret that hashes depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashKey(pub u64, pub u64);

impl HashKey {
    /// The hash of a path, in one of 65,536 families of hashes.
    pub(super) fn hash(self, family: u16, path: &[u8]) -> u64 {
        let Self(k0, k1) = Self(self.0 ^ u64::from(family), self.1);
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let absorb = |word: u64, v: &mut [u64; 4]| {
            v[3] ^= word;
            round(v);
            v[0] ^= word;
        };
        let (words, tail) = path.as_chunks::<8>();
        for word in words {
            absorb(u64::from_le_bytes(*word), &mut v);
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        absorb(u64::from_le_bytes(last) | (path.len() as u64) << 56, &mut v);
        v[2] ^= 0xff;
        for _ in 0..3 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    #[test]
    fn it_agrees_with_the_standard_library() {
        let path: Vec<u8> = (0..=255).collect();
        for len in 0..path.len() {
            let mut hasher = DefaultHasher::new();
            hasher.write(&path[..len]);
            assert_eq!(HashKey(0, 0).hash(0, &path[..len]), hasher.finish(), "{len}");
        }
    }
}
