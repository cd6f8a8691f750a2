//! What packages hold beside the program: it writes all of it itself.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{copy, emptied, make, write};
use crate::{Outcome, output, root, run};

/// A systemd by what its units may hold.
#[derive(Clone, Copy)]
pub(super) enum Systemd {
    /// `Type=notify-reload`.
    NotifyReload,
    /// One that does not know it.
    Older,
}

/// Where it is put, also where cargo builds elsewhere: the manifest of the package for Debian names
/// it by this path.
pub(super) fn place() -> PathBuf {
    root().join("target/dist/stage")
}

/// Has this program write its manual and its completions; it stays there, for the units.
pub(super) fn fill(program: &Path) -> Outcome {
    let stage = emptied(place())?;
    for folder in ["man", "completions", "root/usr/bin"] {
        make(&stage.join(folder))?;
    }
    let staged = stage.join("root/usr/bin/pyinotifyd");
    copy(program, &staged)?;
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("cannot change {}: {error}", staged.display()))?;
    run(Command::new(&staged).arg("manual").arg(stage.join("man")))?;
    for (shell, file) in
        [("bash", "pyinotifyd"), ("zsh", "_pyinotifyd"), ("fish", "pyinotifyd.fish")]
    {
        let script = output(Command::new(&staged).args(["completions", shell]))?;
        write(&stage.join("completions").join(file), script)?;
    }
    Ok(())
}

/// Has the staged program install the unit for a systemd into a root of which it is `/usr/bin`.
pub(super) fn unit(systemd: Systemd) -> Outcome {
    let root = place().join("root");
    let units = root.join("lib/systemd/system");
    let _ = fs::remove_dir_all(root.join("lib"));
    make(&units)?;
    let library = match systemd {
        Systemd::NotifyReload => "libsystemd-shared-253.so",
        Systemd::Older => "libsystemd-shared-252.so",
    };
    write(&root.join("lib/systemd").join(library), "")?;
    let mut command = Command::new(root.join("usr/bin/pyinotifyd"));
    output(command.arg("--install").arg("--root").arg(&root))?;
    let folder = emptied(place().join("unit"))?;
    copy(&units.join("pyinotifyd.service"), &folder.join("pyinotifyd.service"))
}
