//! `pyinotifyd --install` and `--uninstall`: the service, and a configuration to begin with.
//!
//! What is there already is somebody's: it is neither replaced nor removed unless it is, byte for
//! byte, what this program would write.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use pyinotifyd_core::path::shown;

use super::{config_file::DEFAULTS, terminal};
use crate::errors::{Exit, Fatal, words};

const CONFIG: &str = include_str!("../../dist/config.py");
const SYSTEMD: &str = include_str!("../../dist/pyinotifyd.service");
const OPENRC: &str = include_str!("../../dist/pyinotifyd.openrc");

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Install {
    /// Put the files in place.
    Install,
    /// Take them away.
    Uninstall,
}

/// Installs or uninstalls the service.
///
/// # Errors
///
/// We are not root (exit status 2), or a file cannot be written or removed.
pub(crate) fn run(install: Install) -> Result<Exit, Fatal> {
    if !nix::unistd::geteuid().is_root() {
        let what = match install {
            Install::Install => "install",
            Install::Uninstall => "uninstall",
        };
        let fatal = Fatal::text(format!("only root can {what} the service"));
        return Err(fatal.hint("run the same command as root, with sudo").exit(Exit::Usage));
    }
    let program = std::env::current_exe()
        .map_err(|error| Fatal::text(format!("cannot find this program: {}", words(&error))))?;
    let said = carry_out(install, Path::new("/"), &program)?;
    terminal::print(&said)
}

/// One file of the service.
struct Item {
    path: PathBuf,
    text: Vec<u8>,
    mode: u32,
}

/// Does it below `root`, and says what was done.
fn carry_out(install: Install, root: &Path, program: &Path) -> Result<String, Fatal> {
    let mut said = String::new();
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let services = services(root, program);
    if services.is_empty() {
        said.push_str("there is neither systemd nor OpenRC: no service\n");
    }
    for item in &services {
        said += &match install {
            Install::Install => put(item)?,
            Install::Uninstall => take(item)?,
        };
    }
    let [python, toml] = DEFAULTS.map(at);
    let config = Item { path: python, text: CONFIG.into(), mode: 0o644 };
    match install {
        Install::Install if toml.exists() => {
            said.push_str(&name(&toml));
            said.push_str(": kept\n");
        }
        Install::Install => {
            if let Some(dir) = config.path.parent() {
                fs::create_dir_all(dir).map_err(|error| failed("create", dir, &error))?;
            }
            said += &put(&config)?;
        }
        Install::Uninstall => {
            said += &take(&config)?;
            // Whatever else is in there is somebody's.
            if let Some(dir) = config.path.parent() {
                let _ = fs::remove_dir(dir);
            }
        }
    }
    if at("/lib/systemd/system").is_dir() {
        said += match install {
            Install::Install => {
                "next: edit the configuration, then `systemctl daemon-reload` and `systemctl \
                 enable --now pyinotifyd`\n"
            }
            Install::Uninstall => "next: `systemctl daemon-reload`\n",
        };
    }
    Ok(said)
}

/// The files of the service managers that there are.
fn services(root: &Path, program: &Path) -> Vec<Item> {
    let text = |template: &str| {
        let (before, after) = template.split_once("@PROGRAM@").expect("it is in the template");
        [before.as_bytes(), program.as_os_str().as_bytes(), after.as_bytes()].concat()
    };
    let systemd = root.join("lib/systemd/system");
    let mut items = Vec::new();
    if systemd.is_dir() {
        let path = systemd.join("pyinotifyd.service");
        items.push(Item { path, text: text(SYSTEMD), mode: 0o644 });
    }
    if root.join("sbin/openrc-run").exists() {
        let path = root.join("etc/init.d/pyinotifyd");
        items.push(Item { path, text: text(OPENRC), mode: 0o755 });
    }
    items
}

/// Writes a file where none is.
fn put(item: &Item) -> Result<String, Fatal> {
    let path = &item.path;
    // Not through a link, and never over anything.
    let file = OpenOptions::new().write(true).create_new(true).mode(item.mode).open(path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let why = if is_ours(item) { "is in place" } else { "kept, it is not ours" };
            return Ok(format!("{}: {why}\n", name(path)));
        }
        Err(error) => return Err(failed("create", path, &error)),
    };
    file.write_all(&item.text).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a file is worse than none.
        let _ = fs::remove_file(path);
        failed("write", path, &error)
    })?;
    Ok(format!("{}: installed\n", name(path)))
}

/// Removes a file that is as it was written.
fn take(item: &Item) -> Result<String, Fatal> {
    let path = &item.path;
    if path.symlink_metadata().is_err() {
        return Ok(format!("{}: is not there\n", name(path)));
    }
    if !is_ours(item) {
        return Ok(format!("{}: kept, it was changed\n", name(path)));
    }
    fs::remove_file(path).map_err(|error| failed("remove", path, &error))?;
    Ok(format!("{}: removed\n", name(path)))
}

fn is_ours(item: &Item) -> bool {
    item.path.symlink_metadata().is_ok_and(|it| it.is_file())
        && fs::read(&item.path).is_ok_and(|it| it == item.text)
}

fn name(path: &Path) -> String {
    shown(path.as_os_str().as_bytes()).to_string()
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Fatal {
    Fatal::text(format!("cannot {what} {}: {}", name(path), words(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in ["lib/systemd/system", "sbin", "etc/init.d"] {
                fs::create_dir_all(dir.path().join(name)).unwrap();
            }
            fs::write(dir.path().join("sbin/openrc-run"), "").unwrap();
            Self(dir)
        }

        fn run(&self, install: Install) -> String {
            let said = carry_out(install, self.0.path(), Path::new("/usr/bin/pyinotifyd")).unwrap();
            said.replace(self.0.path().to_str().unwrap(), "")
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.0.path().join(name)).ok()
        }
    }

    #[test]
    fn what_was_installed_is_uninstalled() {
        let world = World::new();
        let said = [
            world.run(Install::Install),
            world.run(Install::Install),
            world.run(Install::Uninstall),
            world.run(Install::Uninstall),
        ];
        insta::assert_snapshot!(said.join("\n"));
        assert!(!world.0.path().join("etc/pyinotifyd").exists());
    }

    #[test]
    fn the_service_starts_this_program() {
        let world = World::new();
        world.run(Install::Install);
        let unit = world.read("lib/systemd/system/pyinotifyd.service").unwrap();
        assert!(unit.contains("\nExecStart=/usr/bin/pyinotifyd\n"), "{unit}");
        let script = world.read("etc/init.d/pyinotifyd").unwrap();
        assert!(script.contains("\ncommand=\"/usr/bin/pyinotifyd\"\n"), "{script}");
    }

    #[test]
    fn what_was_changed_is_kept() {
        let world = World::new();
        let config = world.0.path().join("etc/pyinotifyd/config.py");
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        fs::write(&config, "# mine").unwrap();
        assert!(world.run(Install::Install).contains("/etc/pyinotifyd/config.py: kept"));
        assert!(world.run(Install::Uninstall).contains("/etc/pyinotifyd/config.py: kept"));
        assert_eq!(world.read("etc/pyinotifyd/config.py").unwrap(), "# mine");
        fs::rename(&config, config.with_extension("toml")).unwrap();
        assert!(world.run(Install::Install).contains("/etc/pyinotifyd/config.toml: kept"));
        assert!(!config.exists());
    }
}
