//! What CI checks, in the order in which a mistake is cheapest.
//!
//! The tests run last, so that the end of the output is the test runner's own summary.

use std::process::Command;

use crate::{Outcome, cargo, dist, fuzz, reference, root, run, soak, tidy};

/// A step and what it does.
type Step = (&'static str, fn() -> Outcome);

const STEPS: [Step; 9] = [
    ("tidy", tidy::run),
    ("format", || run(&mut cargo(&["fmt", "--all", "--check"]))),
    ("reference", reference::check),
    ("clippy", || {
        run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ]))
    }),
    ("doc", || {
        let args = ["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"];
        run(cargo(&args).env("RUSTDOCFLAGS", "--deny warnings"))
    }),
    // Building and trying the packages takes minutes, root, and a mirror of Debian.
    ("dist", dist::check),
    ("fuzz", fuzz::smoke),
    ("python", python),
    // One run of all, with the failures at the end of each binary.
    // A snapshot that differs fails: it is not written beside the one that is there.
    // What is random comes from one seed: it is the change that turns this red, not the day.
    ("test", || {
        let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
        run(command.env("INSTA_UPDATE", "no").env(soak::SEED, soak::SEED_OF_CI))
    }),
];

/// The tests of the package that a host runs.
fn python() -> Outcome {
    let found = Command::new("python3").arg("--version").output();
    if !found.is_ok_and(|it| it.status.success()) {
        println!("skipped: there is no python3 to try the host with");
        return Ok(());
    }
    let mut command = Command::new("python3");
    command.args(["-B", "-m", "unittest", "discover", "-s", "crates/pyinotifyd/python/tests"]);
    run(command.current_dir(root()))
}

/// Runs all steps, up to the first that fails.
pub(crate) fn run_all() -> Outcome {
    for (number, (name, step)) in STEPS.iter().enumerate() {
        println!("=== {}/{} {name}", number + 1, STEPS.len());
        step().map_err(|error| format!("ci stops at `{name}`: {error}"))?;
    }
    Ok(())
}
