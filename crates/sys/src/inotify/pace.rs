//! When the kernel's queue is read: at once, or of a stream only now and then, so that one wake-up
//! serves many records.
//!
//! A rest is worth it only while records come by themselves. Where each comes only after the one
//! before has been handled (a program that waits for its answer), a rest brings nothing but delay,
//! and that cannot be known but by trying: what a rest brought is held against what a read brings
//! at once.

use std::time::{Duration, Instant};

/// So long it takes until one more read may follow at once, and the first rest of a stream. The
/// kernel's queue has room for what comes meanwhile, at any speed that was ever measured.
const REST: Duration = Duration::from_micros(500);

/// The longest rest of a stream that goes on.
const LONGEST: Duration = Duration::from_millis(2);

/// So many reads may follow at once after a quiet time: what one program does to a file, or a
/// dozen, is read as it comes.
const AT_ONCE: u32 = 16;

/// So many follow at once, at most, where rests were in vain.
const MOST: u32 = 1024;

/// With so many records a read, what a wake-up costs is no more to be seen.
const ENOUGH: u32 = 64;

#[derive(Debug)]
pub(super) struct Pace {
    /// How many reads may follow at once.
    left: u32,
    /// So many may, before a rest is tried.
    allowed: u32,
    /// Since when there is nothing to be added to `left`.
    since: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    AtOnce(Brought),
    /// Each read follows a rest.
    Resting {
        rest: Duration,
        /// What reads brought at once, before.
        at_once: Brought,
        /// What the last rest brought that was half as long.
        shorter: Option<u32>,
    },
}

/// What some reads at once brought.
#[derive(Clone, Copy, Debug, Default)]
struct Brought {
    reads: u64,
    records: u64,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let state = State::AtOnce(Brought::default());
        Self { left: AT_ONCE, allowed: AT_ONCE, since: now, state }
    }

    /// The next reads are at once.
    pub(super) fn hurry(&mut self) {
        self.left = self.left.max(AT_ONCE);
    }

    /// Takes in that there is something to read, and says how long it is better left for now.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Duration> {
        let quiet = now.saturating_duration_since(self.since).as_nanos() / REST.as_nanos();
        if quiet > 0 {
            let more = u32::try_from(quiet).unwrap_or(AT_ONCE);
            self.left = self.left.max(self.left.saturating_add(more).min(AT_ONCE));
            self.since = now;
        }
        if self.left > 0 {
            self.left -= 1;
            if !matches!(self.state, State::AtOnce(_)) {
                self.state = State::AtOnce(Brought::default());
            }
            return None;
        }
        let rest = match self.state {
            State::Resting { rest, .. } => rest,
            State::AtOnce(at_once) => {
                self.state = State::Resting { rest: REST, at_once, shorter: None };
                REST
            }
        };
        // The rest itself is no quiet time.
        self.since = now + rest;
        Some(rest)
    }

    /// Takes in how many records the read brought that followed.
    pub(super) fn brought(&mut self, count: u32) {
        match &mut self.state {
            State::AtOnce(Brought { reads, records }) => {
                *reads += 1;
                *records += u64::from(count);
            }
            // Twice as many as a read at once brings pay for the rest, and for what they waited.
            State::Resting { at_once, .. }
                if u64::from(count) * at_once.reads < 2 * at_once.records =>
            {
                self.allowed = self.allowed.saturating_mul(2).min(MOST);
                self.left = self.allowed;
            }
            State::Resting { rest, shorter, .. } => {
                self.allowed = AT_ONCE;
                let grows = shorter.is_none_or(|it| count >= it.saturating_add(it / 2));
                if !grows {
                    // Twice as long did not bring much more: all that may come has come before.
                    *rest = REST;
                    *shorter = Some(u32::MAX);
                } else if count < ENOUGH && *rest < LONGEST {
                    *rest *= 2;
                    *shorter = Some(count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads for a second. `came` says how many records a read brings at some time, and when the next
    /// one comes. The sum of the rests, and how many reads there were.
    fn second(
        pace: &mut Pace,
        start: Instant,
        mut came: impl FnMut(Duration) -> (u32, Duration),
    ) -> (Duration, u32) {
        let (mut now, mut rests, mut reads) = (Duration::ZERO, Duration::ZERO, 0);
        while now < Duration::from_secs(1) {
            if let Some(rest) = pace.rest(start + now) {
                now += rest;
                rests += rest;
            }
            let (count, next) = came(now);
            pace.brought(count);
            reads += 1;
            // What a read and a wake-up take.
            now = next.max(now + Duration::from_micros(20));
        }
        (rests, reads)
    }

    /// One record each so many microseconds, whatever is done with them.
    fn stream(each: u32) -> impl FnMut(Duration) -> (u32, Duration) {
        let each = Duration::from_micros(each.into());
        let mut next = Duration::ZERO;
        move |now| {
            let mut new = 0;
            while next <= now {
                new += 1;
                next += each;
            }
            (new, next)
        }
    }

    /// The next so many come when these have been handled.
    fn answers(records: u32) -> impl FnMut(Duration) -> (u32, Duration) {
        move |now| (records, now + Duration::from_micros(100))
    }

    #[test]
    fn a_read_of_a_stream_brings_many_records_or_rests_its_longest() {
        for each in [1, 10, 100, 300] {
            let start = Instant::now();
            let (_, reads) = second(&mut Pace::new(start), start, stream(each));
            let fewest = u128::from(ENOUGH).min(LONGEST.as_micros() / u128::from(each));
            let most = 1_000_000 / u128::from(each) / fewest;
            assert!(u128::from(reads) < most + most / 4, "{reads} reads of one each {each} µs");
        }
    }

    #[test]
    fn who_waits_for_its_answer_has_it_at_once() {
        for records in 1..5 {
            let start = Instant::now();
            let (rests, reads) = second(&mut Pace::new(start), start, answers(records));
            assert!(rests < Duration::from_millis(40), "{rests:?} for {records}");
            assert!(reads > 9_000, "{reads}");
        }
    }

    #[test]
    fn some_who_wait_are_not_kept_longer_than_it_helps() {
        // Four of them: each read at once finds one, and each rest all, however long it was.
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut last = Duration::ZERO;
        let (rests, reads) = second(&mut pace, start, |now| {
            let rested = now.saturating_sub(last) > Duration::from_micros(100);
            last = now;
            (if rested { 4 } else { 1 }, now + Duration::from_micros(20))
        });
        assert!(rests / reads <= REST, "{rests:?} in {reads} reads");
    }

    #[test]
    fn a_stream_that_ends_is_forgotten() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        second(&mut pace, start, stream(10));
        let (rests, _) = second(&mut pace, start + Duration::from_secs(1), answers(1));
        assert!(rests < Duration::from_millis(40), "{rests:?}");
        let (rests, _) = second(&mut pace, start + Duration::from_secs(2), stream(10));
        assert!(rests > Duration::from_millis(900), "{rests:?}");
    }

    #[test]
    fn what_comes_now_and_then_is_read_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!((0..20).filter(|_| pace.rest(start).is_none()).count(), 16);
        let at = |millis| start + Duration::from_millis(millis);
        assert!((1_001..1_100).all(|it| pace.rest(at(it)).is_none()));
        // Somebody waits for each of these.
        for _ in 0..1_000 {
            pace.hurry();
            assert_eq!(pace.rest(at(1_100)), None);
        }
    }
}
