//! The civil time of the machine's time zone, and the clock that service managers compare.
//!
//! Which moment is shown is the caller's; how it reads in the local zone (`$TZ`, else
//! `/etc/localtime`) is the C library's to say.

use std::{mem::MaybeUninit, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// A moment as a calendar and a clock on the wall show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Of the common era.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60: leap seconds exist in the zones named `right/…`.
    pub second: u8,
    /// Seconds east of UTC.
    pub offset: i32,
}

/// `CLOCK_MONOTONIC` (`clock_gettime(2)`), which is the same for all processes.
#[must_use]
pub fn monotonic() -> Duration {
    // The kernel's clock is neither before the boot nor past its own end.
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// `CLOCK_REALTIME` (`clock_gettime(2)`) in nanoseconds since 1970.
#[must_use]
pub fn now() -> i64 {
    nanos(ClockId::Realtime)
}

/// `CLOCK_REALTIME_COARSE`, likewise: what changes from now on has this time or a later one. (Times
/// of files are taken from this clock, or since Linux 6.13 from the fine one, which is ahead of it.)
#[must_use]
pub fn tick() -> i64 {
    nanos(ClockId::RealtimeCoarse)
}

fn nanos(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// The local time of a moment, in seconds since 1970-01-01 00:00 UTC; `None` where the year does
/// not fit (`localtime_r(3)`: `EOVERFLOW`).
#[must_use]
pub fn local(seconds: i64) -> Option<Civil> {
    let mut civil = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call, `localtime_r` writes nothing but the `tm`, and
    // it takes the C library's lock on the zone. The environment, which it may read, is never
    // changed by this program.
    let answer = unsafe { libc::localtime_r(&raw const seconds, civil.as_mut_ptr()) };
    if answer.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so all fields are set.
    let civil = unsafe { civil.assume_init() };
    let byte = |value: libc::c_int| u8::try_from(value).ok();
    Some(Civil {
        year: i64::from(civil.tm_year) + 1900,
        month: byte(civil.tm_mon + 1)?,
        day: byte(civil.tm_mday)?,
        hour: byte(civil.tm_hour)?,
        minute: byte(civil.tm_min)?,
        second: byte(civil.tm_sec)?,
        offset: i32::try_from(civil.tm_gmtoff).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_is_utc_plus_its_offset() {
        // 2026-11-23 06:21:30 UTC; the zone is the machine's, so only what holds in all is asked.
        let at = 1_795_414_890;
        let civil = local(at).unwrap();
        let day = (at + i64::from(civil.offset)).rem_euclid(86_400);
        let shown = i64::from(civil.hour) * 3600 + i64::from(civil.minute) * 60;
        assert_eq!(shown + i64::from(civil.second), day);
        assert_eq!((civil.year, civil.month), (2026, 11));
        assert!((22..=24).contains(&civil.day));
    }

    #[test]
    fn a_year_that_does_not_fit_is_none() {
        assert_eq!(local(i64::MAX), None);
    }
}
