//! Whether, and when, a run that failed is tried again.

use std::time::Duration;

use crate::{plan::Retry, task::Outcome};

/// How long to wait before the run after `attempt`; `None`: there is none.
pub(super) fn backoff(retry: Retry, attempt: u32, outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Failed(_) | Outcome::Exited(..) | Outcome::Signalled(..) => (),
        Outcome::Done(_) | Outcome::Refused(_) | Outcome::Stopped => return None,
    }
    if attempt >= retry.tries {
        return None;
    }
    let doubled = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
    Some(retry.backoff.saturating_mul(doubled).min(retry.max_backoff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let [one, five] = [1, 5].map(Duration::from_secs);
        let retry = Retry { tries: u32::MAX, backoff: one, max_backoff: five };
        let failed = Outcome::Failed(String::new());
        let waits = [1, 2, 3, 4, 33, 4_000_000_000].map(|it| backoff(retry, it, &failed).unwrap());
        assert_eq!(waits.map(|it| it.as_secs()), [1, 2, 4, 5, 5, 5]);
    }

    #[test]
    fn what_would_fail_again_is_not_tried_again() {
        let retry = Retry { tries: 3, ..Retry::NONE };
        for outcome in [Outcome::Refused(String::new()), Outcome::Done(None), Outcome::Stopped] {
            assert_eq!(backoff(retry, 1, &outcome), None);
        }
        assert!(backoff(retry, 2, &Outcome::Exited(1, String::new())).is_some());
        assert_eq!(backoff(retry, 3, &Outcome::Exited(1, String::new())), None);
    }
}
