//! What this machine can do at best: the bare system calls behind each of the daemon's works.
//!
//! `limits CASE [SIZE]` prints a figure a line, `name value unit [limit=name]`. Where the place
//! matters, it is below `$TMPDIR`.

mod events;
mod files;
mod processes;

use std::{process::ExitCode, time::Duration};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// What went wrong, for the person at the terminal.
type Fault = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let size = args.get(1).and_then(|it| it.parse().ok());
    let outcome = match args.first().map(String::as_str) {
        Some("drain") => events::drain(size.unwrap_or(16_000)),
        Some("live") => events::live(size.unwrap_or(200_000)),
        Some("move") => events::moves(size.unwrap_or(20_000)),
        Some("walk") => files::walk(size.unwrap_or(20_000)),
        Some("rename") => files::rename(size.unwrap_or(100_000)),
        Some("copy") => files::copy(size.unwrap_or(256 << 20)),
        Some("spawn") => processes::spawn(size.unwrap_or(2_000)),
        Some("latency") => processes::latency(size.unwrap_or(500)),
        Some(processes::STAMP) => processes::stamp(args.get(1).map(String::as_str)),
        Some(processes::NOTHING) => Ok(()),
        Some(_) | None => {
            eprintln!("limits drain|live|move|walk|rename|copy|spawn|latency [SIZE]");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a figure.
fn figure(name: &str, value: f64, unit: &str) {
    println!("{name} {value} {unit}");
}

/// A clock's time, as the kernel has it.
fn clock(id: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    let seconds = u64::try_from(tv_sec).expect("these clocks start at zero");
    let nanos = u32::try_from(tv_nsec).expect("less than a second");
    Duration::new(seconds, nanos)
}

/// Measures what a piece of work takes by a clock.
fn timed<T>(id: ClockId, work: impl FnOnce() -> Result<T, Fault>) -> Result<(Duration, T), Fault> {
    let start = clock(id);
    let done = work()?;
    Ok((clock(id).saturating_sub(start), done))
}

/// Microseconds each.
fn micros_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}
