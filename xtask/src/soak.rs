//! The random tests with seeds that nobody has seen, for as long as one likes.
//!
//! CI runs them all from one seed, so that what turns it red is the change. What no change has
//! brought in is found here; the seed that found it is told, and gives it again.

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{Outcome, cargo, run as run_command};

/// Proptest's own variable for the seed of what it makes up.
pub(crate) const SEED: &str = "PROPTEST_RNG_SEED";

/// The seed of CI.
pub(crate) const SEED_OF_CI: &str = "1";

/// Proptest's own variable for how many cases a test tries. It beats what a test says of itself.
const CASES: &str = "PROPTEST_CASES";

/// Where random tests are, and how many cases of each of them a round tries.
const ROUND: [(&str, &[&str]); 3] = [
    ("100000", &["--package", "pyinotifyd-core", "--test", "tree"]),
    ("20000", &["--package", "pyinotifyd-core", "--test", "engine", "--test", "schedule"]),
    (
        "2000",
        &[
            "--package",
            "pyinotifyd-core",
            "--package",
            "pyinotifyd-sys",
            "--package",
            "pyinotifyd",
            "--lib",
            "--test",
            "shell",
            "--test",
            "python_re",
        ],
    ),
];

/// Runs rounds until the time is over, each with a seed of its own; with `--seed`, that one alone.
pub(crate) fn run(args: &[&str]) -> Outcome {
    let mut minutes = 10;
    let mut seed = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let number = args.next().and_then(|it| it.parse::<u64>().ok());
        match *arg {
            "--minutes" => minutes = number.ok_or("--minutes takes a number")?,
            "--seed" => seed = Some(number.ok_or("--seed takes a number")?),
            other => return Err(format!("{other}: soak takes --minutes and --seed")),
        }
    }
    if let Some(seed) = seed {
        return round(seed);
    }
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for seed in (start..).take_while(|_| Instant::now() < end) {
        round(seed)?;
    }
    Ok(())
}

fn round(seed: u64) -> Outcome {
    println!("=== seed {seed}");
    let asked = env::var(CASES).ok();
    for (cases, tests) in ROUND {
        let mut command = cargo(&["test", "--release", "--quiet", "--no-fail-fast"]);
        command
            .args(tests)
            .env(SEED, seed.to_string())
            .env(CASES, asked.as_deref().unwrap_or(cases));
        run_command(&mut command)
            .map_err(|error| format!("{error}; again with `cargo xtask soak --seed {seed}`"))?;
    }
    Ok(())
}
