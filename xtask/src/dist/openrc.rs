//! The service that `--install` makes for `OpenRC`, and its life in a system that runs that.

use super::{
    copy, is_root, make, release,
    system::{self, Init, System},
    write,
};
use crate::Outcome;

const TRIAL: &str = include_str!("openrc/trial.sh");

/// Tries it with an older version and a newer one: 0.45 and 0.56.
pub(super) fn run() -> Outcome {
    let program = release()?;
    if !is_root() {
        println!("skipped: the trials with OpenRC, because only root can boot a system");
        return Ok(());
    }
    for suite in ["bookworm", "trixie"] {
        println!("--- {suite}");
        let root = System { suite, init: Init::OpenRc }.copy()?;
        make(&root.join("usr/local/bin"))?;
        copy(&program, &root.join("usr/local/bin/pyinotifyd"))?;
        write(&root.join("trial.sh"), TRIAL)?;
        system::boot(&root, &["/bin/sh", "-c", "exec /bin/sh /trial.sh >/trial.log 2>&1"])
            .map_err(|error| format!("{suite}: {error}"))?;
    }
    Ok(())
}
