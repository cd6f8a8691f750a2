//! The service managers of a system: which there are, and what each is given.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{Item, Way, below};
use crate::errors::{Fatal, shown_path};

const UNIT: &str = include_str!("../../../dist/pyinotifyd.service");
const SCRIPT: &str = include_str!("../../../dist/pyinotifyd.openrc");

/// Where the unit of systemd is, as the original has it.
const UNIT_FILE: &str = "/lib/systemd/system/pyinotifyd.service";
const SCRIPT_FILE: &str = "/etc/init.d/pyinotifyd";

/// From this version on systemd knows `Type=notify-reload`, and waits for the end of a reload. One
/// before it ignores that line, does not wait for the daemon to be ready, and cannot reload it.
const NOTIFY_RELOAD: u32 = 253;

/// The service managers that there are.
pub(super) struct Services {
    systemd: Option<Systemd>,
    openrc: bool,
}

/// What a systemd understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Systemd {
    /// `Type=notify-reload`.
    NotifyReload,
    /// What every version in use does.
    Notify,
}

impl Services {
    /// Those that are installed below `root`, whether they run or not.
    pub(super) fn find(root: &Path) -> Self {
        let systemd = root.join("lib/systemd/system").is_dir().then(|| Systemd::find(root));
        Self { systemd, openrc: root.join("sbin/openrc-run").exists() }
    }

    /// What they are given.
    ///
    /// # Errors
    ///
    /// The name of the program cannot stand in these files, or a link leads out of the root.
    pub(super) fn items(&self, root: &Path, program: &Path) -> Result<Vec<Item>, Fatal> {
        let mut items = Vec::new();
        if self.systemd.is_none() && !self.openrc {
            return Ok(items);
        }
        let program = named(root, program)?;
        if let Some(systemd) = self.systemd {
            items.push(Item {
                path: below(root, UNIT_FILE)?,
                text: systemd.unit(&program),
                // It was another version that it was written for.
                others: vec![systemd.other().unit(&program)],
                mode: 0o644,
            });
        }
        if self.openrc {
            let text = with_program(SCRIPT, &program).into();
            let path = below(root, SCRIPT_FILE)?;
            items.push(Item { path, text, others: Vec::new(), mode: 0o755 });
        }
        Ok(items)
    }

    /// What is left to do for people.
    pub(super) fn next(&self, way: Way) -> Vec<&'static str> {
        let mut next = Vec::new();
        if self.systemd.is_some() {
            next.push(match way {
                Way::Install => {
                    "edit the configuration, then `systemctl daemon-reload` and `systemctl \
                     enable --now pyinotifyd`"
                }
                Way::Uninstall => "`systemctl stop pyinotifyd` and `systemctl daemon-reload`",
            });
        }
        if self.openrc {
            next.push(match way {
                Way::Install => {
                    "edit the configuration, then `rc-update add pyinotifyd` and `rc-service \
                     pyinotifyd start`"
                }
                Way::Uninstall => "end the daemon, if it runs",
            });
        }
        next
    }
}

/// Whether the unit is a package's. One that was removed, but for its configuration, has none.
pub(super) fn is_packaged(root: &Path) -> bool {
    let files = fs::read_to_string(root.join("var/lib/dpkg/info/pyinotifyd.list"));
    files.is_ok_and(|it| it.lines().any(|it| it.ends_with(UNIT_FILE)))
}

/// The links by which a service that is to go is enabled.
pub(super) fn links(root: &Path, file: &Path) -> Result<Vec<PathBuf>, Fatal> {
    let mut links = Vec::new();
    for folders in ["/etc/systemd/system/", "/etc/runlevels/"] {
        let entries = fs::read_dir(below(root, folders)?).into_iter().flatten().flatten();
        let link = |it: fs::DirEntry| it.path().join(file.file_name().unwrap_or_default());
        links.extend(entries.map(link).filter(|it| it.is_symlink()));
    }
    links.sort();
    Ok(links)
}

impl Systemd {
    /// By the name of its library, which has the version in it: so it is known of a system that
    /// does not run, too.
    fn find(root: &Path) -> Self {
        let mut folders = ["lib/systemd", "usr/lib/systemd", "usr/lib64/systemd"]
            .map(|it| root.join(it))
            .to_vec();
        // Debian's, by architecture.
        let lib = fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten();
        folders.extend(lib.map(|it| it.path().join("systemd")));
        let files = folders.iter().flat_map(fs::read_dir).flatten().flatten();
        match files.filter_map(|it| version(&it.file_name())).max() {
            Some(version) if version >= NOTIFY_RELOAD => Self::NotifyReload,
            Some(_) | None => Self::Notify,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::NotifyReload => Self::Notify,
            Self::Notify => Self::NotifyReload,
        }
    }

    fn unit(self, program: &str) -> Vec<u8> {
        const MODERN: &str = "Type=notify-reload\n";
        // The shell, because not every system has a kill(1).
        const PLAIN: &str = "Type=notify\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n";
        let unit = with_program(UNIT, program);
        match self {
            Self::NotifyReload => unit,
            Self::Notify => unit.replacen(MODERN, PLAIN, 1),
        }
        .into()
    }
}

/// The version that the name of a library tells.
fn version(file: &OsStr) -> Option<u32> {
    let rest = file.to_str()?.strip_prefix("libsystemd-shared-")?;
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn with_program(template: &str, program: &str) -> String {
    template.replacen("@PROGRAM@", program, 1)
}

/// The program as the system below `root` knows it.
///
/// # Errors
///
/// Its path has a character that means something in a unit or in a script of the shell.
fn named(root: &Path, program: &Path) -> Result<String, Fatal> {
    let inside = program.strip_prefix(root).map(|it| Path::new("/").join(it));
    let program = inside.as_deref().unwrap_or(program);
    let is_plain = |it: &u8| it.is_ascii_alphanumeric() || b"/._+-".contains(it);
    match program.to_str() {
        Some(text) if program.as_os_str().as_bytes().iter().all(is_plain) => Ok(text.to_owned()),
        Some(_) | None => {
            let error =
                format!("the path of this program cannot be in a unit: {}", shown_path(program));
            Err(Fatal::text(error).hint("put it into /usr/local/bin"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        process::{Command, Output},
    };

    use super::*;
    use crate::{cli, env, errors::Exit};

    const PROGRAM: &str = "/usr/bin/pyinotifyd";

    /// The values of a key of the unit.
    fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
        let value = |it: &'a str| it.strip_prefix(key)?.strip_prefix('=');
        unit.lines().filter_map(value).collect()
    }

    /// A program's output; `None`: there is none, which is told.
    fn output(command: &mut Command) -> Option<Output> {
        match command.output() {
            Ok(output) => Some(output),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let program = command.get_program().to_string_lossy();
                eprintln!("skipped: {program} says nothing of our files, because it is not there");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_unit_says_what_the_daemon_relies_on() {
        for systemd in [Systemd::NotifyReload, Systemd::Notify] {
            let unit = String::from_utf8(systemd.unit(PROGRAM)).unwrap();
            let only = |key| match values(&unit, key)[..] {
                [value] => value,
                _ => panic!("not one {key} in {unit}"),
            };
            assert_eq!(only("ExecStart"), PROGRAM);
            // What `service` tells is what these are about.
            assert!(only("Type").starts_with("notify"));
            assert!(only("WatchdogSec").ends_with("min"));
            // `env::STATE_DIRECTORY`, and who may read it.
            assert_eq!(
                (only("StateDirectory"), only("StateDirectoryMode")),
                ("pyinotifyd", "0700")
            );
            assert_eq!(only("RuntimeDirectory"), "pyinotifyd");
            // `shutdown_timeout` is the daemon's to keep, and a long start is none that hangs.
            assert_eq!(only("KillMode"), "mixed");
            assert_eq!((only("TimeoutStartSec"), only("TimeoutStopSec")), ("infinity", "infinity"));
            assert_eq!(only("Restart"), "on-failure");
            assert_eq!(only("OOMPolicy"), "continue");
            // Tasks are the administrator's commands.
            for key in unit.lines().filter_map(|it| it.split_once('=')).map(|it| it.0) {
                let forbids = ["Protect", "Private", "Restrict", "NoNew", "SystemCall", "Capab"];
                assert!(!forbids.iter().any(|it| key.starts_with(it)), "tasks inherit {key}");
            }
        }
    }

    #[test]
    fn systemd_takes_the_unit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pyinotifyd.service");
        // One that every version in use understands, with a program that is there.
        fs::write(&file, Systemd::Notify.unit("/bin/true")).unwrap();
        let mut command = Command::new("systemd-analyze");
        let Some(output) = output(command.args(["verify", "--man=no"]).arg(&file)) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("pyinotifyd.service"), "{said}");
    }

    #[test]
    fn the_script_says_what_the_daemon_relies_on() {
        let script = with_program(SCRIPT, PROGRAM);
        assert!(script.contains(&format!("\ncommand=\"{PROGRAM}\"\n")));
        assert!(script.contains(&format!("\nexport {}=", env::STATE_DIRECTORY)));
        for function in
            ["checkconfig", "reload", "start_pre", "start_post", "stop_pre", "stop", "depend"]
        {
            assert!(script.contains(&format!("\n{function}() {{\n")), "{function}");
        }
        // Not every system has all that it comes after, and what is needed and not there keeps the
        // service from starting.
        assert!(!script.contains("\tneed "));
        let check = ["pyinotifyd", "--config", "x.toml", "--configtest"].map(Into::into);
        assert!(script.contains("\"${command_args}\" --configtest\n"));
        assert!(matches!(cli::parse(check), Ok(cli::Command::Check(_))));
        // What it asks the daemon, and the status by which it knows that nobody answers.
        assert!(script.contains("\task sync --timeout 30s >"));
        assert!(script.contains("$(ask reload 2>&1)"));
        for question in ["sync --timeout 30s", "reload"] {
            let line = format!("pyinotifyd {question} --socket /run/pyinotifyd/control.sock");
            let words = line.split(' ').map(Into::into);
            assert!(matches!(cli::parse(words), Ok(cli::Command::Ask(_))), "{line}");
        }
        assert!(script.contains(&format!(" -eq {} ]", Exit::Unavailable as i32)));
    }

    #[test]
    fn the_shell_takes_the_script() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pyinotifyd");
        fs::write(&file, with_program(SCRIPT, PROGRAM)).unwrap();
        let Some(output) = output(Command::new("sh").arg("-n").arg(&file)) else { return };
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn shellcheck_has_nothing_to_say_about_the_script() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pyinotifyd");
        fs::write(&file, with_program(SCRIPT, PROGRAM)).unwrap();
        let Some(output) = output(Command::new("shellcheck").arg(&file)) else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    #[test]
    fn the_version_is_in_the_librarys_name() {
        let of = |file: &str| version(OsStr::new(file));
        assert_eq!(of("libsystemd-shared-252.so"), Some(252));
        assert_eq!(of("libsystemd-shared-257.5-2.fc42.so"), Some(257));
        assert_eq!(of("libsystemd-shared-261~rc1.so"), Some(261));
        assert_eq!(of("libsystemd-shared-.so"), None);
        assert_eq!(of("libsystemd-shared-99999999999.so"), None);
        assert_eq!(of("libsystemd-core-257.so"), None);
    }
}
