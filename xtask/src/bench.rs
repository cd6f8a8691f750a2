//! How fast it is, held against what the machine can do.
//!
//! A figure alone says little: machines differ, and the same one from day to day. So each case
//! measures the limit and the program in one run, and what counts is the ratio. The limits are the
//! programs of `benches/limits`, which do the bare work and nothing else.
//!
//! To add a case: a function that measures, and a line in [`CASES`].

mod daemon;
mod python;

use std::{path::PathBuf, process::Command};

use crate::{Outcome, cargo, output, run as run_command, target};

/// What is measured.
struct Case {
    name: &'static str,
    /// What the figures are about, in a line.
    about: &'static str,
    measure: fn(&Bench) -> Result<Vec<Figure>, String>,
}

const CASES: [Case; 14] = [
    Case {
        name: "drain",
        about: "a full queue of events that match a Watch and its map, and no scheduler takes",
        measure: |bench| bench.beside("drain", 16_000, 2_000, "drain", daemon::drain),
    },
    Case {
        name: "live",
        about: "the same while they are made",
        measure: |bench| bench.beside("live", 200_000, 10_000, "live", daemon::live),
    },
    Case {
        name: "walk",
        about: "list and watch a tree of directories",
        measure: |bench| bench.beside("walk", 100_000, 1_000, "list-watch-cpu", daemon::walk),
    },
    Case {
        name: "new-directories",
        about: "mkdir -p a/b/c/d and a file in it, so many times",
        measure: |bench| daemon::new_directories(bench, bench.size(2_000, 50)),
    },
    Case {
        name: "spawn",
        about: "a program for each file",
        measure: |bench| bench.beside("spawn", 5_000, 100, "two-at-once", daemon::spawn),
    },
    Case {
        name: "latency",
        about: "from close(2) of a watched file to the first instruction of a program",
        measure: |bench| bench.beside("latency", 500, 50, "p50", daemon::latency),
    },
    Case {
        name: "durable",
        about: "tasks, and the latency of a program, with `state_dir` and without",
        measure: |bench| daemon::durable(bench, bench.size(5_000, 500), bench.size(300, 20)),
    },
    Case {
        name: "python",
        about: "tasks in Python that do nothing, beside the original's",
        measure: |bench| python::tasks(bench, bench.size(10_000, 500), bench.size(1_000, 50)),
    },
    Case {
        name: "python-faults",
        about: "the latency of a program while Python blocks, aborts, leaks; beside one that is calm",
        measure: |bench| python::faults(bench, bench.size(300, 30)),
    },
    Case {
        name: "pending",
        about: "tasks that wait for their delay, and are put off",
        measure: |bench| daemon::pending(bench, bench.size(100_000, 1_000)),
    },
    Case {
        name: "idle",
        about: "nothing happens, with 10,000 directories watched",
        measure: |bench| daemon::idle(bench, bench.size(10_000, 100)),
    },
    Case {
        name: "move",
        about: "a file moved by a rule",
        measure: |bench| bench.beside("move", 20_000, 500, "read-and-rename", daemon::moves),
    },
    Case {
        name: "rename",
        about: "rename a file to and fro",
        measure: |bench| bench.limit("rename", &[bench.size(100_000, 5_000)]),
    },
    Case {
        name: "copy",
        about: "copy a file by copy_file_range(2)",
        measure: |bench| bench.limit("copy", &[bench.size(256 << 20, 16 << 20)]),
    },
];

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
    /// The name of the figure of the same case that this one is held against.
    limit: Option<String>,
}

/// How to measure.
struct Bench {
    /// Small sizes, to see that the cases work.
    quick: bool,
    limits: PathBuf,
    program: PathBuf,
}

impl Bench {
    /// A limit's figures, then ours at the same size; `against` is the limit's that counts.
    fn beside(
        &self,
        limit: &str,
        full: u64,
        quick: u64,
        against: &str,
        ours: fn(&Self, u64) -> Result<Vec<Figure>, String>,
    ) -> Result<Vec<Figure>, String> {
        let size = self.size(full, quick);
        let mut figures = self.limit(limit, &[size])?;
        let mut ours = ours(self, size)?;
        if let Some(first) = ours.first_mut() {
            first.limit = Some(against.to_owned());
        }
        figures.append(&mut ours);
        Ok(figures)
    }

    fn size(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// The figures that a limit program prints: `name value unit` a line.
    fn limit(&self, program: &str, args: &[u64]) -> Result<Vec<Figure>, String> {
        let mut command = Command::new(&self.limits);
        command.arg(program).args(args.iter().map(u64::to_string));
        output(&mut command)?.lines().map(Figure::parse).collect()
    }
}

impl Figure {
    fn new(name: &str, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned(), limit: None }
    }

    fn parse(line: &str) -> Result<Self, String> {
        let figure = || {
            let mut words = line.split_whitespace();
            Some(Self {
                name: words.next()?.to_owned(),
                value: words.next()?.parse().ok()?,
                unit: words.next()?.to_owned(),
                limit: words.next().and_then(|it| it.strip_prefix("limit=")).map(str::to_owned),
            })
        };
        figure().ok_or_else(|| format!("this is no figure: {line:?}"))
    }
}

/// Measures the named cases, or all.
pub(crate) fn run(args: &[&str]) -> Outcome {
    let quick = args.contains(&"--quick");
    let names: Vec<&str> = args.iter().copied().filter(|it| *it != "--quick").collect();
    if let Some(unknown) = names.iter().find(|it| !CASES.iter().any(|case| case.name == **it)) {
        let known: Vec<&str> = CASES.iter().map(|it| it.name).collect();
        return Err(format!("no such case: {unknown}; there are {}", known.join(", ")));
    }
    let packages = ["--package", "limits", "--package", "pyinotifyd"];
    run_command(cargo(&["build", "--release", "--quiet"]).args(packages))?;
    let bench = Bench {
        quick,
        limits: target().join("release/limits"),
        program: target().join("release/pyinotifyd"),
    };
    for case in CASES.iter().filter(|it| names.is_empty() || names.contains(&it.name)) {
        println!("{}: {}", case.name, case.about);
        let figures = (case.measure)(&bench).map_err(|error| format!("{}: {error}", case.name))?;
        for figure in &figures {
            println!("  {}", shown(figure, &figures));
        }
    }
    Ok(())
}

/// A figure, and its ratio to its limit.
fn shown(figure: &Figure, all: &[Figure]) -> String {
    let Figure { name, value, unit, limit } = figure;
    let line = format!("{name:<24} {value:>12.3} {unit}");
    let limit = limit.as_ref().and_then(|it| all.iter().find(|other| other.name == *it));
    match limit {
        Some(limit) => format!("{line:<48} {:>6.2} × {}", value / limit.value, limit.name),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_held_against_their_limits() {
        let raw = Figure::parse("raw 0.15 µs/event").unwrap();
        let ours = Figure::parse("ours 0.30 µs/event limit=raw").unwrap();
        assert!(shown(&ours, &[raw, ours.clone()]).ends_with("2.00 × raw"));
        assert!(Figure::parse("nonsense").is_err());
    }
}
