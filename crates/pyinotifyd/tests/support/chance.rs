//! What happens by chance, and can be made to happen again.

use std::{
    sync::mpsc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// `SplitMix64`.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % (to - from))
    }
}

/// Waits, unless the other side has gone.
pub(crate) struct Pace {
    _ticks: mpsc::Sender<()>,
    silence: mpsc::Receiver<()>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        let (ticks, silence) = mpsc::channel();
        Self { _ticks: ticks, silence }
    }

    pub(crate) fn wait(&self, time: Duration) {
        let _ = self.silence.recv_timeout(time);
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// `SEED`, or a new one; it is told.
pub(crate) fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("SEED", now.as_secs());
    eprintln!("seed {seed}");
    seed
}
