//! The daemon killed again and again, for as long as one likes.
//!
//! CI does the same with fewer kills. The seed is told first, and gives the same writer and the same
//! lives of the daemon again; not the same race, since the kernel has a say in that.

use crate::{Outcome, cargo, run as run_command};

/// So many kills, unless asked otherwise: half an hour.
const KILLS: u64 = 2_000;

/// Runs the tests of the kill loop, with as many kills in each.
pub(crate) fn run(args: &[&str]) -> Outcome {
    let mut kills = KILLS;
    let mut seed = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let number = args.next().and_then(|it| it.parse::<u64>().ok());
        match *arg {
            "--kills" => kills = number.ok_or("--kills takes a number")?,
            "--seed" => seed = Some(number.ok_or("--seed takes a number")?),
            other => return Err(format!("{other}: kill takes --kills and --seed")),
        }
    }
    let mut command = cargo(&["test", "--release", "--quiet", "--package", "pyinotifyd"]);
    command.args(["--test", "kill_loop", "--", "--nocapture", "--test-threads=1"]);
    command.env("KILLS", kills.to_string());
    if let Some(seed) = seed {
        command.env("SEED", seed.to_string());
    }
    run_command(&mut command)
}
