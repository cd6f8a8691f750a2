//! Watches file system events and runs tasks.
//!
//! Here the command line is turned into one of the program's commands, and its end into an exit
//! status. What the commands do is theirs. This is no interface for other programs: [`main`] is the
//! program, and `fuzzing` is for the targets in `fuzz/`.

mod action;
mod cli;
mod config;
mod control;
mod daemon;
mod env;
mod errors;
mod explained;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod json;
mod log;
mod metrics;
#[cfg(test)]
mod reference;
mod runtime;
mod service;
#[doc(hidden)]
pub mod store;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use pyinotifyd_core::event::EventType;

use crate::{
    cli::{Command, terminal::print},
    errors::{Exit, Fatal},
};

/// The program, from its command line to its exit status.
pub fn main() -> ExitCode {
    action::exec_helper::main_if_asked();
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => {
            // Nobody is left to tell when this fails.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    match run(&command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            error.exit.into()
        }
    }
}

fn run(command: &Command) -> Result<Exit, Fatal> {
    match command {
        Command::Version => print(concat!("pyinotifyd (", env!("CARGO_PKG_VERSION"), ")\n")),
        Command::List => print(&EventType::ALL.map(|it| format!("{it}\n")).concat()),
        Command::Check(check) => cli::check::run(check),
        Command::Explain(explain) => cli::explain::run(explain),
        Command::Convert(convert) => cli::convert::run(convert),
        Command::Ask(ask) => cli::ask::run(ask),
        Command::Top(top) => cli::top::run(top),
        Command::Install(install) => cli::install::run(install),
        Command::Completions(shell) => print(&cli::pages::completions(*shell)),
        Command::Manual(folder) => cli::pages::write_manual(folder),
        Command::Schema => print(&cli::schema::text()),
        Command::Run(options) => daemon::run(options),
        Command::Watch(options) => daemon::watch(options),
        Command::Events(options) => daemon::events(options),
        // `main` has seen to it already, before anything else was looked at.
        Command::Exec(_) => Err(Fatal::text("this is not for people").exit(Exit::Usage)),
    }
}
