//! Noise for what reads foreign bytes.
//!
//! The targets are plain functions in `fuzz/src/lib.rs`. With cargo-fuzz and a nightly compiler
//! libFuzzer drives them; with a stable one a small driver does, which has no eyes for coverage but
//! replays the seeds and the corpus and mutates them.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{Outcome, cargo, output, root, run as run_command};

/// Runs the named targets, or all, each for so many seconds.
pub(crate) fn run(args: &[&str]) -> Outcome {
    let mut seconds = 10_u32;
    let mut targets = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--seconds" => {
                let number = args.next().and_then(|it| it.parse().ok());
                seconds = number.ok_or("--seconds takes a number")?;
            }
            target => targets.push(target.to_owned()),
        }
    }
    if targets.is_empty() {
        targets = all()?;
    }
    let by_libfuzzer = has_cargo_fuzz();
    if !by_libfuzzer {
        println!("cargo-fuzz or a nightly compiler is missing: without coverage");
    }
    drive(&targets, seconds, by_libfuzzer)
}

/// Each target for two seconds: the seeds, and a little noise. Always by the driver for stable
/// compilers, since what it sees must not depend on what else is installed.
pub(crate) fn smoke() -> Outcome {
    drive(&all()?, 2, false)
}

fn all() -> Result<Vec<String>, String> {
    Ok(output(&mut driver(&["--list"]))?.lines().map(str::to_owned).collect())
}

fn drive(targets: &[String], seconds: u32, by_libfuzzer: bool) -> Outcome {
    for target in targets {
        println!("=== {target}, {seconds} s");
        let seconds = seconds.to_string();
        if by_libfuzzer {
            let limit = format!("-max_total_time={seconds}");
            let mut command = Command::new("cargo");
            command.args(["+nightly", "fuzz", "run", "--features", "libfuzzer", target]);
            // What is found goes to the first folder; the others are read only.
            let folders = ["corpus", "seeds"].map(|it| format!("fuzz/{it}/{target}"));
            fs::create_dir_all(root().join(&folders[0]))
                .map_err(|error| format!("cannot make {}: {error}", folders[0]))?;
            command.args(folders).args(["--", &limit]);
            run_command(command.current_dir(root()))?;
        } else {
            run_command(&mut driver(&[target, &seconds]))?;
        }
    }
    Ok(())
}

/// The driver for stable compilers.
fn driver(args: &[&str]) -> Command {
    let mut command = cargo(&["run", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml"]);
    command.args(["--bin", "noise", "--"]).args(args);
    command
}

fn has_cargo_fuzz() -> bool {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|it| it.success())
}
