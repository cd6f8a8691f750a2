//! Fresh systems, booted in namespaces of their own, in which an administrator tries something.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{make, place, tools};
use crate::{Outcome, run as run_command};

const BOOT: &str = include_str!("boot.sh");

/// A Debian with an init system and little else.
#[derive(Clone, Copy)]
pub(super) struct System {
    pub suite: &'static str,
    pub init: Init,
}

/// What starts its services.
#[derive(Clone, Copy)]
pub(super) enum Init {
    Systemd,
    OpenRc,
}

impl Init {
    fn package(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "openrc",
        }
    }
}

impl System {
    /// A copy for one trial.
    pub(super) fn copy(self) -> Result<PathBuf, String> {
        let root = place().join("trial").join(self.name());
        let _ = fs::remove_dir_all(&root);
        make(&place().join("trial"))?;
        let mut command = Command::new("cp");
        run_command(command.args(["-a", "--reflink=auto"]).arg(self.pristine()?).arg(&root))?;
        Ok(root)
    }

    /// Made once and kept.
    fn pristine(self) -> Result<PathBuf, String> {
        let root = place().join("roots").join(self.name());
        if !root.exists() {
            tools::need("debootstrap", "apt-get install debootstrap")?;
            let half = root.with_extension("new");
            let _ = fs::remove_dir_all(&half);
            make(&half)?;
            let mut command = Command::new("debootstrap");
            command.args(["--variant=minbase", "--include", self.init.package(), self.suite]);
            run_command(command.arg(&half))?;
            fs::rename(&half, &root)
                .map_err(|error| format!("cannot keep {}: {error}", root.display()))?;
        }
        Ok(root)
    }

    fn name(self) -> String {
        format!("{}-{}", self.suite, self.init.package())
    }
}

/// Boots a copy with a command as its first process. What it has to say, and that all was well, it
/// writes to `/trial.log`. A copy in which all was well is removed.
pub(super) fn boot(root: &Path, first: &[&str]) -> Outcome {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "400", "unshare", "--mount", "--pid", "--fork", "--cgroup"]);
    command.args(["--uts", "--ipc", "--kill-child", "--propagation", "private"]);
    command.args(["sh", "-ec", BOOT]).arg(root).args(first);
    // How the first process itself ends says nothing of the trial.
    let booted = run_command(&mut command);
    let log = fs::read_to_string(root.join("trial.log")).unwrap_or_default();
    print!("{log}");
    if !log.ends_with("the trial is over, and all was well\n") {
        let why = booted.err().map(|it| format!(" ({it})")).unwrap_or_default();
        return Err(format!("the trial failed{why}; what is left of it is in {}", root.display()));
    }
    fs::remove_dir_all(root).map_err(|error| format!("cannot remove {}: {error}", root.display()))
}
