//! Points in time, as the caller's clock counts them.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Nanoseconds since a start that the caller chose, on a clock that never goes back
/// (the daemon: `CLOCK_MONOTONIC`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the caller's clock.
    pub const ZERO: Self = Self(0);
    /// Later than any delay from any point; a timer that never fires.
    pub const FAR: Self = Self(u64::MAX);

    /// The point that many nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point that many milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long it is from `earlier` until this point; zero if it is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates at [`Instant::FAR`]: a delay of a thousand years is a delay, not a panic.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Shows a duration as people write one: `0s`, `1.5s`, `2m`, `1h30m`, `250ms`.
#[derive(Clone, Copy, Debug)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let millis = self.0.subsec_millis();
        if secs == 0 && millis > 0 {
            return write!(f, "{millis}ms");
        }
        if secs < 60 {
            return match millis {
                0 => write!(f, "{secs}s"),
                _ => write!(f, "{:.1}s", self.0.as_secs_f64()),
            };
        }
        let (days, hours, mins, secs) =
            (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60, secs % 60);
        for (count, unit) in [(days, "d"), (hours, "h"), (mins, "m"), (secs, "s")] {
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_past_the_end_of_time_saturates() {
        assert_eq!(Instant::from_millis(5) + Duration::MAX, Instant::FAR);
    }

    #[test]
    fn durations_read_as_people_write_them() {
        let shown = |millis| Human(Duration::from_millis(millis)).to_string();
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(250), "250ms");
        assert_eq!(shown(1_500), "1.5s");
        assert_eq!(shown(30_000), "30s");
        assert_eq!(shown(120_000), "2m");
        assert_eq!(shown(5_400_000), "1h30m");
    }
}
