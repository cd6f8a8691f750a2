//! The wheel, which brings the program into a virtual environment.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Job, emptied, make, place, tools, try_here, version, write};
use crate::{Outcome, root, run as run_command};

/// Builds and tries it.
pub(super) fn run() -> Outcome {
    let folder = emptied(place().join("wheel"))?;
    let mut command = tools::maturin()?;
    command.args([
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        "crates/pyinotifyd/Cargo.toml",
    ]);
    command.arg("--out").arg(&folder).current_dir(root());
    run_command(&mut command)?;
    let wheel = only_file(&folder)?;
    println!("built {}", wheel.display());
    let environment = place().join("trial/wheel");
    tools::environment(&environment)?;
    let before = files(&environment)?;
    run_command(tools::pip(&environment).args(["install", "--quiet", "--no-index"]).arg(&wheel))?;
    let program = environment.join("bin/pyinotifyd");
    try_here(&program, &environment)?;
    try_python(&program, &environment)?;
    run_command(tools::pip(&environment).args(["uninstall", "--quiet", "--yes", "pyinotifyd"]))?;
    let left: Vec<_> = files(&environment)?.difference(&before).cloned().collect();
    if !left.is_empty() {
        return Err(format!("of version {} there is left: {left:?}", version()?));
    }
    fs::remove_dir_all(&environment)
        .map_err(|error| format!("cannot remove {}: {error}", environment.display()))
}

/// A config.py: its Python is that of the environment.
fn try_python(program: &Path, environment: &Path) -> Outcome {
    let watched = environment.join("python-in");
    make(&watched)?;
    let config = environment.join("config.py");
    let text = format!(
        "async def task(event, task_id):\n    logging.warning(f\"{{sys.prefix}} got {{event.name}}\")\n\
         pyinotifyd = Pyinotifyd([Watch({:?}, {{\"IN_CLOSE_WRITE\": TaskScheduler(task)}})])\n",
        watched.display().to_string()
    );
    write(&config, text)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&config).env("PYTHONDONTWRITEBYTECODE", "1");
    for name in ["PYINOTIFYD_PYTHON", "VIRTUAL_ENV"] {
        command.env_remove(name);
    }
    let said = format!("{} got dropped", environment.display());
    Job { command, folder: &watched, lines: &[&said] }.run()?;
    let removed = fs::remove_file(&config).and_then(|()| fs::remove_dir_all(&watched));
    removed.map_err(|error| format!("cannot clean {}: {error}", environment.display()))
}

fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let mut files = files(folder)?.into_iter();
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        _ => Err(format!("there is not one file in {}", folder.display())),
    }
}

/// All files below a folder, but for what Python compiles for itself.
fn files(folder: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| format!("cannot list {}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_folder = entry.file_type().map_err(failed)?.is_dir();
            match is_folder {
                true if entry.file_name() == "__pycache__" => (),
                true => folders.push(entry.path()),
                false => drop(files.insert(entry.path())),
            }
        }
    }
    Ok(files)
}
