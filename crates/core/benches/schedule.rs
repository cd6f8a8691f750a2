//! What an order costs while many tasks wait.

use std::{hint::black_box, num::NonZeroUsize, sync::Arc, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pyinotifyd_core::{
    event::{Event, EventType, Origin},
    filter::Filter,
    plan::{Action, Busy, Plan, Retry, Scheduler, SchedulerId},
    record::Wd,
    schedule::Schedule,
    task::{Order, OrderKind},
    time::Instant,
};

fn plan() -> Plan {
    let many = NonZeroUsize::new(64).expect("64 is not 0");
    let scheduler = Scheduler {
        name: "bench".into(),
        logname: "bench".into(),
        files: true,
        dirs: true,
        filter: Filter::default(),
        delay: Duration::from_secs(30),
        max_wait: None,
        singlejob: false,
        busy: Busy::Again,
        slots: many,
        timeout: None,
        kill_after: Duration::from_secs(10),
        retry: Retry::NONE,
        follow: true,
        breaker: None,
        batch: None,
        on_crash: pyinotifyd_core::plan::OnCrash::Rerun,
        ready: Vec::new(),
        action: Action::Rules(Vec::new()),
    };
    Plan {
        watches: Vec::new(),
        schedulers: vec![scheduler],
        shutdown_timeout: Duration::from_secs(30),
        slots: many,
        logname: "daemon".into(),
    }
}

/// A hundred files to a directory.
fn event(number: usize) -> Arc<Event> {
    Arc::new(Event {
        event_type: EventType::CloseWrite,
        mask: EventType::CloseWrite.mask(),
        is_dir: false,
        pathname: format!("/srv/upload/dir-{:06}/file-{number:07}", number / 100).as_bytes().into(),
        src_pathname: None,
        name_len: 12,
        root_len: 11,
        wd: Wd(1),
        cookie: 0,
        origin: Origin::Live,
        subject: None,
    })
}

fn order(kind: OrderKind, event: &Arc<Event>) -> Order {
    Order { kind, scheduler: SchedulerId(0), event: Arc::clone(event) }
}

fn said(schedule: &mut Schedule) {
    while let Some(report) = schedule.poll_report() {
        black_box(report);
    }
}

fn orders(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    for pending in [100_000, 1_000_000] {
        let events: Vec<Arc<Event>> = (0..pending + 1000).map(event).collect();
        let (waiting, new) = events.split_at(pending);
        let mut schedule = Schedule::new(&plan(), 1);
        let mut now = Instant::ZERO;
        for event in waiting {
            schedule.handle_order(now, order(OrderKind::Schedule, event));
            said(&mut schedule);
        }

        group.bench_function(BenchmarkId::new("re-schedule", pending), |bencher| {
            // A stride that meets every task, none of them twice in a row of caches.
            let mut at = 0;
            bencher.iter(|| {
                at = (at + 7919) % pending;
                now = now + Duration::from_nanos(1);
                schedule.handle_order(now, order(OrderKind::Schedule, &waiting[at]));
                said(&mut schedule);
            });
        });
        group.bench_function(BenchmarkId::new("insert and cancel 1000", pending), |bencher| {
            bencher.iter_batched(
                || (),
                |()| {
                    for event in new {
                        schedule.handle_order(now, order(OrderKind::Schedule, event));
                    }
                    for event in new {
                        schedule.handle_order(now, order(OrderKind::Cancel, event));
                    }
                    said(&mut schedule);
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("rename 100 of", pending), |bencher| {
            let (from, to) = (&b"/srv/upload/dir-000500"[..], &b"/srv/upload/other"[..]);
            bencher.iter(|| {
                schedule.handle_moved(from, to, true, &|_| false);
                schedule.handle_moved(to, from, true, &|_| false);
                said(&mut schedule);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, orders);
criterion_main!(benches);
