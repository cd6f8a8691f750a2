//! The tasks of this repository: `cargo xtask TASK`.
//!
//! Everything that a contributor or the CI runs is here, so that cargo is all one has to install.

mod bench;
mod ci;
mod dist;
mod fuzz;
mod kill;
mod overflow;
mod reference;
mod screenshots;
mod soak;
mod tidy;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const USAGE: &str = "\
cargo xtask TASK

  ci                     all that CI checks, the tests last
  tidy                   the repository's own rules
  reference [--check]    write the generated pages of docs/reference, or see if they are up to date
  schema                 write docs/reference/config.schema.json
  dist [--check | static|deb|wheel|install|openrc...]
                         build the packages into target/dist, and try each in a clean root, or see
                         if all that they are made of is there
  screenshots            write docs/images, with tmux
  fuzz [--seconds N] [TARGET...]
                         feed the decoders with noise; by libFuzzer where it is there
  soak [--minutes N] [--seed N]
                         the random tests, with seeds that nobody has seen
  kill [--kills N] [--seed N]
                         kill the daemon at random, and see that nothing is lost
  overflow [--runs N]    let the kernel's queue overflow, and see that nothing is lost
  bench [--quick] [CASE...]
                         measure, and hold it against the machine's limits
";

/// A task's end; the text says what was wrong.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.split_first() {
        Some((&"ci", [])) => ci::run_all(),
        Some((&"tidy", [])) => tidy::run(),
        Some((&"reference", [])) => reference::write(),
        Some((&"reference", ["--check"])) => reference::check(),
        Some((&"schema", [])) => reference::schema(),
        Some((&"dist", ["--check"])) => dist::check(),
        Some((&"dist", args)) => dist::run(args),
        Some((&"screenshots", [])) => screenshots::run(),
        Some((&"fuzz", args)) => fuzz::run(args),
        Some((&"soak", args)) => soak::run(args),
        Some((&"kill", args)) => kill::run(args),
        Some((&"overflow", args)) => overflow::run(args),
        Some((&"bench", args)) => bench::run(args),
        Some((&("help" | "-h" | "--help"), _)) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(_) | None => {
            eprint!("{USAGE}");
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

/// The repository's root.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask is a folder of the repository").to_owned()
}

/// Where cargo builds. A relative path is one in the root, since that is where it is run.
fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Cargo as it started this task, in the root.
fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs a command; an error names it.
fn run(command: &mut Command) -> Outcome {
    let shown = || {
        let args = command.get_args().map(|it| it.to_string_lossy().into_owned());
        let program = Path::new(command.get_program()).file_name().unwrap_or_default();
        [program.to_string_lossy().into_owned()]
            .into_iter()
            .chain(args)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let shown = shown();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed: {status}")),
        Err(error) => Err(format!("cannot run `{shown}`: {error}")),
    }
}

/// What a command writes to its standard output.
fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    match command.stderr(std::process::Stdio::inherit()).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8(output.stdout).map_err(|_| format!("{shown} wrote no UTF-8"))
        }
        Ok(output) => Err(format!("{shown} failed: {}", output.status)),
        Err(error) => Err(format!("cannot run {shown}: {error}")),
    }
}
