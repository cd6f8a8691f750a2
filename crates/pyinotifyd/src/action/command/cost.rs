//! What a run costs beside a bare `posix_spawn(3)`: a measurement, not a test.
//!
//! `PYINOTIFYD_BENCH=1 cargo test --release -p pyinotifyd --lib cost -- --nocapture`

#![cfg(test)]

use std::{
    process::{Command as Bare, Stdio},
    time::{Duration, Instant},
};

use pyinotifyd_core::plan::{Output, Process};

use super::tests::{World, once};

const ROUNDS: usize = 20;
const RUNS: usize = 100;
const PROGRAM: &str = "/bin/true";

#[derive(Default)]
struct Cost {
    cpu: Duration,
    wall: Duration,
    each: Vec<Duration>,
}

impl Cost {
    fn take(&mut self, start: (Duration, Instant)) {
        self.cpu += cpu().saturating_sub(start.0);
        self.wall += start.1.elapsed();
    }

    fn median(&mut self) -> Duration {
        self.each.sort_unstable();
        self.each[self.each.len() / 2]
    }
}

/// Of this process and of all its children that were waited for.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks = fields.skip(11).take(4).map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

fn now() -> (Duration, Instant) {
    (cpu(), Instant::now())
}

#[tokio::test]
async fn cost_of_a_run() {
    if std::env::var_os("PYINOTIFYD_BENCH").is_none() {
        eprintln!("skipped: the cost of a run, because PYINOTIFYD_BENCH is not set");
        return;
    }
    let process = Process { output: Output::Discard, ..Process::default() };
    let words = once(&[PROGRAM]);
    let mut world = World::new();
    let bare = || {
        let mut command = Bare::new(PROGRAM);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_clear().spawn().unwrap()
    };
    let [mut alone, mut ours, mut two_alone, mut two_ours] =
        std::array::from_fn::<_, 4, _>(|_| Cost::default());
    for _ in 0..ROUNDS {
        let start = now();
        for _ in 0..RUNS {
            let begin = Instant::now();
            assert!(bare().wait().unwrap().success());
            alone.each.push(begin.elapsed());
        }
        alone.take(start);

        let start = now();
        for _ in 0..RUNS {
            let begin = Instant::now();
            world.start(&process, &words);
            assert!(world.end().await.1.is_done());
            ours.each.push(begin.elapsed());
        }
        ours.take(start);

        let start = now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    (0..RUNS / 2).for_each(|_| assert!(bare().wait().unwrap().success()));
                });
            }
        });
        two_alone.take(start);

        let start = now();
        world.start(&process, &words);
        for left in (0..RUNS).rev() {
            if left > 0 {
                world.start(&process, &words);
            }
            assert!(world.end().await.1.is_done());
        }
        two_ours.take(start);
    }
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    eprintln!(
        "one at a time: CPU {:.2} x, median {:.2} x ({:?} against {:?}); two: CPU {:.2} x, rate {:.2} x",
        ratio(ours.cpu, alone.cpu),
        ratio(ours.median(), alone.median()),
        ours.median(),
        alone.median(),
        ratio(two_ours.cpu, two_alone.cpu),
        ratio(two_alone.wall, two_ours.wall),
    );
}
