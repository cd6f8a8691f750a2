//! The daemon of a folder, whose log goes on over many starts.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Starts the daemon with a folder's `config.toml`. What it says goes to the end of `log`.
pub(crate) fn start(folder: &Path) -> Child {
    let log = fs::OpenOptions::new().append(true).create(true).open(folder.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_pyinotifyd"))
        .args(["run", "-c"])
        .arg(folder.join("config.toml"))
        .env("RUNTIME_DIRECTORY", folder.join("run"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
