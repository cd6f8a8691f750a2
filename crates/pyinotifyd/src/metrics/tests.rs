//! The page, its reference, and what asks for it.

mod dist;
#[path = "../../tests/support/exposition.rs"]
mod exposition;
mod reference;

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use pyinotifyd_core::{
    event::{EventType, Mask},
    path::shown,
    schedule::Counts,
    stats::{EventCounts, Histogram, Totals},
};
use pyinotifyd_sys::usage::{Memory, Usage};

use self::exposition::{count, parse};
use super::{
    page::render,
    snapshot::{OfPython, OfScheduler, OfStore, OfWatch, Reloads, Snapshot},
    table::TABLE,
};

fn watch(paths: &[&[u8]]) -> OfWatch {
    OfWatch {
        paths: paths.iter().map(|it| Arc::from(*it)).collect(),
        directories: 0,
        wanted: Mask::NONE,
        events: EventCounts::default(),
    }
}

fn scheduler(name: &str) -> OfScheduler {
    OfScheduler {
        name: name.into(),
        slots: None,
        is_paused: false,
        counts: Counts::default(),
        totals: Totals::default(),
    }
}

/// A daemon that has everything.
fn full() -> Snapshot {
    let mut events = EventCounts::default();
    for _ in 0..3 {
        events.add(EventType::CloseWrite);
    }
    let mut took = Histogram::default();
    for millis in [1, 2, 500, 7_200_000] {
        took.add(Duration::from_millis(millis));
    }
    let incoming = OfWatch {
        directories: 12,
        wanted: EventType::CloseWrite.mask().with(EventType::MovedTo.mask()),
        events,
        ..watch(&[b"/srv/in"])
    };
    let totals =
        Totals { scheduled: 9, cancelled: 1, done: 3, failed: 2, stopped: 1, retried: 4, took };
    let shell = OfScheduler {
        slots: Some(4),
        counts: Counts { waiting: 1, ready: 2, running: 3, runs: 2 },
        totals,
        ..scheduler("shell")
    };
    Snapshot {
        started: Duration::from_millis(1_795_414_890_250),
        is_ready: true,
        backlog: 4096,
        lag: Duration::from_millis(1500),
        overflows: 2,
        directories: 13,
        unwatched: 1,
        watches: vec![
            incoming,
            watch(&[b"/srv/in"]),
            watch(&[b"/srv/a", b"/srv/b", b"/srv/c"]),
            watch(&[b"/a \"name\" with \\ and\n, and \xff"]),
        ],
        schedulers: vec![shell, OfScheduler { is_paused: true, ..scheduler("archive") }],
        slots: 256,
        reloads: Reloads { good: 3, bad: 1, last_was_bad: true },
        python: Some(OfPython {
            pid: Some(7),
            restarts: 2,
            runs: 1,
            silent: Some(Duration::from_secs(3)),
        }),
        store: Some(OfStore { commits: 77, error: None }),
        log_dropped: 5,
        took: Duration::from_micros(250),
    }
}

fn usage() -> Usage {
    Usage {
        cpu: Duration::from_millis(1250),
        memory: Some(Memory { resident: 10 << 20, mapped: 30 << 20 }),
        open_files: Some(17),
        max_files: Some(1024),
    }
}

#[test]
fn the_page_is_as_prometheus_reads_it() {
    let page = render(&full(), &usage());
    parse(&page);
    insta::assert_snapshot!("page", page.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[test]
fn the_page_is_the_table_in_its_order() {
    let families = parse(&render(&full(), &usage()));
    let told: Vec<_> = families.iter().map(|it| (&*it.name, &*it.kind, &*it.help)).collect();
    let table: Vec<_> = TABLE.iter().map(|it| (it.name, it.kind.name(), it.help)).collect();
    assert_eq!(told, table);
    for (family, row) in families.iter().zip(TABLE) {
        for sample in &family.samples {
            let labels = sample.labels.iter().map(|it| it.0.as_str()).filter(|it| *it != "le");
            assert!(labels.eq(row.labels.iter().copied()), "{sample:?}");
        }
    }
}

#[test]
fn names_say_what_they_count_and_in_which_unit() {
    for row in TABLE {
        let name = row.name.strip_suffix("_total");
        assert_eq!(name.is_some(), row.kind == super::table::Kind::Counter, "{row:?}");
        let unit = name.unwrap_or(row.name).rsplit('_').next();
        let unit = unit.filter(|it| ["seconds", "bytes"].contains(it));
        assert_eq!(unit.unwrap_or(""), row.unit, "{row:?}");
        assert!(row.help.ends_with('.') && !row.help.contains('\n'), "{row:?}");
    }
}

#[test]
fn a_daemon_that_has_nothing_has_no_samples_of_it() {
    let page = render(&Snapshot::default(), &Usage::default());
    let families = parse(&page);
    let has = |name: &str| families.iter().any(|it| it.name == name);
    for name in ["pyinotifyd_python_up", "pyinotifyd_store_error", "pyinotifyd_events_total"] {
        assert!(!has(name), "{page}");
    }
    assert_eq!(count(&families, "pyinotifyd_last_reload_good", &[]), 1);
}

proptest! {
    /// Whatever paths and names there are, each has samples of its own, and they say which.
    #[test]
    fn any_name_is_told_apart(
        paths in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..6),
        names in prop::collection::vec("[a\\\\\"\n(2) é\u{202e}]{0,5}", 0..6),
    ) {
        let page = render(
            &Snapshot {
                watches: paths.iter().map(|it| watch(&[it])).collect(),
                schedulers: names.iter().map(|it| scheduler(it)).collect(),
                ..Snapshot::default()
            },
            &usage(),
        );
        let families = parse(&page);
        let told = |metric: &str, label: &str| -> Vec<String> {
            let family = families.iter().find(|it| it.name == metric);
            let samples = family.into_iter().flat_map(|it| &it.samples);
            samples.map(|it| it.label(label).unwrap().to_owned()).collect()
        };
        let watches = told("pyinotifyd_watch_directories", "watch");
        prop_assert_eq!(watches.len(), paths.len());
        for (told, path) in watches.iter().zip(&paths) {
            prop_assert!(told.starts_with(&shown(path).to_string()), "{}", told);
        }
        prop_assert_eq!(told("pyinotifyd_scheduler_paused", "scheduler").len(), names.len());
    }
}
