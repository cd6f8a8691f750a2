//! Plans and events for the tests of the schedule.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use pyinotifyd_core::{
    event::{Event, EventType, Origin},
    filter::Filter,
    plan::{Action, Breaker, Busy, OnCrash, Plan, Retry, Scheduler, SchedulerId},
    record::Wd,
    task::{Order, OrderKind},
    time::Instant,
};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

pub(crate) fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// Starts at once, has slots enough, and follows renames.
pub(crate) fn scheduler(name: &str) -> Scheduler {
    Scheduler {
        name: name.into(),
        logname: format!("log-{name}").into(),
        files: true,
        dirs: true,
        filter: Filter::default(),
        delay: Duration::ZERO,
        max_wait: None,
        singlejob: false,
        busy: Busy::Again,
        slots: count(100),
        timeout: None,
        kill_after: ms(10),
        retry: Retry::NONE,
        follow: true,
        breaker: None,
        batch: None,
        on_crash: OnCrash::Rerun,
        ready: Vec::new(),
        action: Action::Rules(Vec::new()),
    }
}

pub(crate) fn retry(tries: u32, backoff: u64) -> Retry {
    Retry { tries, backoff: ms(backoff), max_backoff: ms(backoff * 3) }
}

pub(crate) fn breaker(runs: u32, within: u64, rest: u64) -> Breaker {
    Breaker { runs, within: ms(within), rest: ms(rest) }
}

pub(crate) fn plan(slots: usize, schedulers: Vec<Scheduler>) -> Plan {
    Plan {
        watches: Vec::new(),
        schedulers,
        shutdown_timeout: ms(1000),
        slots: count(slots),
        logname: "daemon".into(),
    }
}

/// The cookie tells events apart.
pub(crate) fn event(path: &str, cookie: u32) -> Arc<Event> {
    let name = path.rsplit('/').next().unwrap();
    Arc::new(Event {
        event_type: EventType::CloseWrite,
        mask: EventType::CloseWrite.mask(),
        is_dir: false,
        pathname: path.as_bytes().into(),
        src_pathname: None,
        name_len: u16::try_from(name.len()).unwrap(),
        root_len: 1,
        wd: Wd(1),
        cookie,
        origin: Origin::Live,
        subject: None,
    })
}

pub(crate) fn order(kind: OrderKind, scheduler: u16, event: Arc<Event>) -> Order {
    Order { kind, scheduler: SchedulerId(scheduler), event }
}
