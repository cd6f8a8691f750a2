//! The packages for Debian, and their life in a system that runs systemd.
//!
//! There are two, which differ in the unit: systemd waits for the end of a reload since its version
//! 253, and the unit that asks for that is misunderstood by one before. The trial is that of an
//! administrator: a fresh system is booted in namespaces of its own, with systemd as its first
//! process, and `trial.sh` does there what he would do.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    copy, is_root, place, release,
    stage::{self, Systemd},
    system::{self, Init, System},
    tools, version, write,
};
use crate::{Outcome, cargo, output, root, run as run_command};

const TRIAL: &str = include_str!("deb/trial.sh");

/// A package, and the Debian that it is tried in.
struct Flavour {
    systemd: Systemd,
    /// What its version ends with. The one for the older system is the lower one, so that an upgrade
    /// of the system brings the other.
    revision: &'static str,
    /// Of the metadata in the manifest.
    variant: Option<&'static str>,
    suite: &'static str,
    /// What its unit has to say there.
    kind: &'static str,
}

const FLAVOURS: [Flavour; 2] = [
    Flavour {
        systemd: Systemd::NotifyReload,
        revision: "1",
        variant: None,
        suite: "trixie",
        kind: "notify-reload",
    },
    Flavour {
        systemd: Systemd::Older,
        revision: "1~deb12",
        variant: Some("older-systemd"),
        suite: "bookworm",
        kind: "notify",
    },
];

/// Builds and tries them.
pub(super) fn run() -> Outcome {
    tools::need("dpkg-shlibdeps", "apt-get install dpkg-dev")?;
    stage::fill(&release()?)?;
    let mut packages = Vec::new();
    for flavour in &FLAVOURS {
        let package = build(flavour)?;
        println!("built {}", package.display());
        packages.push((flavour, package));
    }
    if !is_root() {
        println!("skipped: the trials of the packages, because only root can install them");
        return Ok(());
    }
    for (flavour, package) in packages {
        try_in(flavour, &package).map_err(|error| format!("{}: {error}", flavour.suite))?;
    }
    Ok(())
}

fn build(flavour: &Flavour) -> Result<PathBuf, String> {
    stage::unit(flavour.systemd)?;
    let machine = output(Command::new("dpkg").arg("--print-architecture"))?;
    let name = format!("pyinotifyd_{}-{}_{}.deb", version()?, flavour.revision, machine.trim());
    let package = place().join(name);
    let mut command = tools::cargo_deb()?;
    // Quiet: it warns that what is staged is not built by it.
    command.args(["--quiet", "--package", "pyinotifyd", "--no-build"]);
    command.args(["--deb-revision", flavour.revision]);
    command.args(flavour.variant.iter().flat_map(|it| ["--variant", it]));
    command.arg("--output").arg(&package).current_dir(root());
    run_command(&mut command)?;
    Ok(package)
}

/// Sees whether each file that the manifest names is there or made, and whether the shell takes the
/// scripts.
pub(super) fn check_assets() -> Outcome {
    let said = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let said: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
    let packages = said["packages"].as_array().into_iter().flatten();
    let package = packages.into_iter().find(|it| it["name"] == "pyinotifyd");
    let deb = &package.ok_or("cargo knows no package pyinotifyd")?["metadata"]["deb"];
    let folder = root().join("crates/pyinotifyd");
    let mut sources: Vec<&str> = vec![deb["systemd-units"]["unit-scripts"].as_str().unwrap_or("-")];
    let assets = deb["assets"].as_array().ok_or("the manifest has no assets for a package")?;
    sources.extend(assets.iter().filter_map(|it| it[0].as_str()));
    // That is cargo's own, and the only one that may not have been built.
    for source in sources.into_iter().filter(|it| *it != "target/release/pyinotifyd") {
        let file = folder.join(source.strip_suffix("/*.1").unwrap_or(source));
        if !file.exists() {
            return Err(format!("the package for Debian would lack {source}"));
        }
    }
    for script in ["postinst", "postrm"] {
        run_command(Command::new("sh").arg("-n").arg(folder.join("dist/deb").join(script)))?;
    }
    Ok(())
}

/// Boots a copy of a system, in which an administrator tries the package.
fn try_in(flavour: &Flavour, package: &Path) -> Outcome {
    let root = System { suite: flavour.suite, init: Init::Systemd }.copy()?;
    copy(package, &root.join("pyinotifyd.deb"))?;
    write(&root.join("trial.sh"), TRIAL)?;
    write(
        &root.join("etc/systemd/system/trial.service"),
        format!(
            "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\n\
             Environment=KIND={} LC_ALL=C\nExecStart=/bin/sh /trial.sh\n\
             StandardOutput=file:/trial.log\nStandardError=inherit\n\
             ExecStopPost=/bin/systemctl exit\nTimeoutStartSec=5min\n",
            flavour.kind
        ),
    )?;
    system::boot(
        &root,
        &[
            "/lib/systemd/systemd",
            "--system",
            "--unit=trial.service",
            "--log-target=null",
            "--show-status=no",
        ],
    )
}
