//! The tools that build packages, wherever they are; those that cargo or pip have are fetched into
//! [`place`].

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Outcome, cargo, run};

/// Where tools are put that are fetched.
fn place() -> PathBuf {
    super::place().join("tools")
}

/// A program that has to be here already.
pub(super) fn need(program: &str, how: &str) -> Outcome {
    if is_there(&mut Command::new(program)) {
        return Ok(());
    }
    Err(format!("{program} is missing: {how}"))
}

/// cargo-deb.
pub(super) fn cargo_deb() -> Result<Command, String> {
    let own = place().join("bin/cargo-deb");
    if is_there(&mut Command::new("cargo-deb")) {
        return Ok(Command::new("cargo-deb"));
    }
    if !own.exists() {
        println!("cargo-deb is missing: it is installed into {}", place().display());
        let mut command = cargo(&["install", "--locked", "cargo-deb", "--root"]);
        run(command.arg(place()))?;
    }
    Ok(Command::new(own))
}

/// maturin.
pub(super) fn maturin() -> Result<Command, String> {
    if is_there(&mut Command::new("maturin")) {
        return Ok(Command::new("maturin"));
    }
    let environment = place().join("python");
    let own = environment.join("bin/maturin");
    if !own.exists() {
        println!("maturin is missing: it is installed into {}", environment.display());
        self::environment(&environment)?;
        run(pip(&environment).args(["install", "--quiet", "maturin>=1.9,<2"]))?;
    }
    Ok(Command::new(own))
}

/// Makes a virtual environment.
pub(super) fn environment(folder: &Path) -> Outcome {
    need("python3", "install it, with its module venv")?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
}

/// The pip of an environment.
pub(super) fn pip(environment: &Path) -> Command {
    let mut command = Command::new(environment.join("bin/pip"));
    command.arg("--disable-pip-version-check");
    command
}

fn is_there(command: &mut Command) -> bool {
    let silent = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok()
}
