//! What random histories choose of plans, and how many there are.

#![allow(dead_code, reason = "no test needs all of it")]

use proptest::prelude::*;
use pyinotifyd_core::plan::Plan;

use super::notation;

macro_rules! trace {
    ($($arg:tt)*) => {
        if std::env::var_os("TRACE").is_some() {
            eprintln!($($arg)*);
        }
    };
}
pub(crate) use trace;

/// The scheduler that may lose nothing.
pub(crate) const SURE: &str = "sure";

/// What is chosen at random about a plan.
#[derive(Clone, Debug)]
pub(crate) struct PlanChoice {
    pub(crate) sure: (usize, usize, usize),
    pub(crate) others: [(usize, usize, usize); 2],
    pub(crate) second: usize,
    pub(crate) maps: usize,
}

/// Ways of a scheduler.
pub(crate) const WAYS: [&str; 9] = [
    "",
    "busy=restart kill_after=1s",
    "busy=parallel",
    "slots=1 tries=3 backoff=2s",
    "batch=2 slots=1",
    "timeout=2s kill_after=1s tries=2 backoff=1s",
    "breaker=2,1s,10s",
    "no-follow",
    "dirs",
];

pub(crate) fn plan(choice: &PlanChoice) -> Plan {
    let delay = |n: usize| ["", "delay=1s", "delay=5s", "delay=3s max_wait=4s"][n % 4];
    let odd = ["", "busy=skip", "singlejob", "exclude=c", "dirs no-files", "include=a"];
    let scheduler = |name: &str, (a, b, c): (usize, usize, usize), odd: &[&str]| {
        let odd = odd.get(c % odd.len().max(1)).copied().unwrap_or_default();
        format!("scheduler {name} {} {} {odd}", delay(a), WAYS[b % WAYS.len()])
    };
    let maps = [
        "  IN_CREATE -> other",
        "  IN_DELETE -> cancel sure, other",
        "  IN_MODIFY -> cancel other, mover",
        "  IN_MOVED_FROM -> cancel sure, other",
    ];
    let mut lines = vec![
        "daemon slots=3 shutdown_timeout=5s".to_owned(),
        scheduler(SURE, choice.sure, &[]),
        scheduler("other", choice.others[0], &odd),
        scheduler("mover", choice.others[1], &odd),
        "  move ^/r/a$ /r/d/a auto_create overwrite".into(),
        "  copy ^/r/(.*)/b$ /r/c/b auto_create overwrite".into(),
        "  delete ^/o/.*".into(),
        "watch /r".into(),
        "  IN_CLOSE_WRITE -> sure, mover".into(),
        "  IN_MOVED_TO -> mover, sure".into(),
    ];
    lines.extend((0..4).filter(|it| choice.maps >> it & 1 == 1).map(|it| maps[it].to_owned()));
    let second = [
        "watch /r/b",
        "watch /r/a /r/b/c",
        "watch /r/*/b no-rec",
        "watch /r no-auto_add",
        "watch /o",
        "watch /r/a /o/b",
    ];
    lines.push(second[choice.second].into());
    lines.push("  IN_CLOSE_WRITE -> other, sure".into());
    lines.push("  IN_Q_OVERFLOW -> other".into());
    lines.push("  IN_DELETE_SELF -> mover".into());
    notation::plan(lines.iter().map(String::as_str))
}

/// With 4 `seconds`, all that is watched is in `/r`: what was there before another Watch began, and
/// then moves from that Watch into this one, is not told of.
pub(crate) fn any_choice(seconds: usize) -> impl Strategy<Value = PlanChoice> {
    let one = || (0..4usize, 0..9usize, 0..6usize);
    (one(), [one(), one()], 0..seconds, 0..16usize)
        .prop_map(|(sure, others, second, maps)| PlanChoice { sure, others, second, maps })
}

#[expect(clippy::disallowed_methods, reason = "the number of histories is the caller's to choose")]
pub(crate) fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, max_shrink_iters: 4_000, ..ProptestConfig::default() }
}
