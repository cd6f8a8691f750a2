//! The kernel's queue made to overflow while the daemon is held up, again and again.
//!
//! CI does it with a shorter queue and fewer files. Only root may shorten the queue.

use crate::{Outcome, cargo, run as run_command};

/// So often, unless asked otherwise: some minutes.
const RUNS: u64 = 20;

/// Runs the test of 10,000 files, as many times.
pub(crate) fn run(args: &[&str]) -> Outcome {
    let runs = match args {
        [] => RUNS,
        ["--runs", number] => number.parse().map_err(|_| "--runs takes a number")?,
        [other, ..] => return Err(format!("{other}: overflow takes --runs")),
    };
    let mut command = cargo(&["test", "--release", "--quiet", "--package", "pyinotifyd"]);
    command.args(["--test", "daemon", "--", "after_overflows", "--nocapture"]);
    command.env("RUNS", runs.to_string());
    run_command(&mut command)
}
