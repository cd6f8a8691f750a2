//! `pyinotifyd --install` and `--uninstall`: the service, and a configuration to begin with.
//!
//! What is there already is somebody's: it is neither replaced nor removed unless it is, byte for
//! byte, what this program would write. What is to be done is found out first, as [`Step`]s; a dry
//! run shows them, and any other takes them.

mod services;

use std::{
    fmt::{self, Write as _},
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use self::services::Services;
use super::{config_file::DEFAULTS, terminal};
use crate::errors::{Exit, Fatal, shown_path, words};

const CONFIG: &str = include_str!("../../dist/config.py");

/// What to install or uninstall, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Install {
    /// Which of the two.
    pub way: Way,
    /// Whether the steps are only shown.
    pub dry_run: bool,
    /// The root of the system; `None`: this one's.
    pub root: Option<PathBuf>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Put the files in place.
    Install,
    /// Take them away.
    Uninstall,
}

/// Installs or uninstalls the service.
///
/// # Errors
///
/// We are not root where only root may do it (exit status 2), a package has installed the service,
/// or a file cannot be written or removed.
pub(crate) fn run(install: &Install) -> Result<Exit, Fatal> {
    if !install.dry_run && install.root.is_none() && !nix::unistd::geteuid().is_root() {
        let what = match install.way {
            Way::Install => "install",
            Way::Uninstall => "uninstall",
        };
        return Err(Fatal::text(format!("only root can {what} the service"))
            .hint("--dry-run shows the steps to everybody")
            .exit(Exit::Usage));
    }
    let program = std::env::current_exe()
        .map_err(|error| Fatal::text(format!("cannot find this program: {}", words(&error))))?;
    let root = install.root.as_deref().unwrap_or(Path::new("/"));
    let root = root.canonicalize().map_err(|error| failed("use", root, &error))?;
    terminal::print(&carry_out(install.way, install.dry_run, &root, &program)?)
}

/// A file of ours. It has other texts where it is for a service manager of another version.
struct Item {
    path: PathBuf,
    text: Vec<u8>,
    others: Vec<Vec<u8>>,
    mode: u32,
}

/// What is done about one path.
enum Step {
    Write(Item),
    Remove(PathBuf),
    /// A folder that holds nothing else.
    RemoveFolder(PathBuf),
    Leave(PathBuf, Why),
}

/// Why something is left as it is.
#[derive(Clone, Copy)]
enum Why {
    InPlace,
    NotOurs,
    Changed,
    NotThere,
    OtherConfig,
    State,
}

/// Does it below `root`, and says what was done.
fn carry_out(way: Way, dry_run: bool, root: &Path, program: &Path) -> Result<String, Fatal> {
    let services = Services::find(root);
    if services::is_packaged(root) {
        return Err(Fatal::text("a package has installed the service")
            .hint("the package manager removes it: apt remove pyinotifyd"));
    }
    let items = services.items(root, program)?;
    let mut said = String::new();
    if items.is_empty() {
        said.push_str("there is neither systemd nor OpenRC: no service\n");
    }
    let steps = match way {
        Way::Install => install(root, items)?,
        Way::Uninstall => uninstall(root, items)?,
    };
    for step in &steps {
        if !dry_run && let Err(error) = step.take() {
            // What is done already is to be known.
            terminal::print(&said)?;
            return Err(error);
        }
        step.tell(dry_run, &mut said);
    }
    for next in services.next(way) {
        writeln!(said, "next: {next}").expect("a String takes all");
    }
    Ok(said)
}

fn install(root: &Path, items: Vec<Item>) -> Result<Vec<Step>, Fatal> {
    let mut steps = Vec::new();
    let [python, toml] = DEFAULTS.map(|it| below(root, it));
    let toml = toml?;
    let config =
        if present(&toml) { Step::Leave(toml, Why::OtherConfig) } else { put(config(python?)) };
    steps.extend(items.into_iter().map(put));
    steps.push(config);
    Ok(steps)
}

fn uninstall(root: &Path, items: Vec<Item>) -> Result<Vec<Step>, Fatal> {
    let mut steps = Vec::new();
    for item in items {
        let step = take(item);
        if let Step::Remove(path) = &step {
            // Links that nothing would be behind any more.
            steps.extend(services::links(root, path)?.into_iter().map(Step::Remove));
        }
        steps.push(step);
    }
    let config = config(below(root, DEFAULTS[0])?);
    let folder = config.path.parent().expect("it is a path with a folder").to_owned();
    let step = take(config);
    // Whatever else is in there is somebody's.
    let is_alone = matches!(&step, Step::Remove(path) if holds_only(&folder, path));
    steps.push(step);
    if is_alone {
        steps.push(Step::RemoveFolder(folder));
    }
    let state = below(root, "/var/lib/pyinotifyd")?;
    if present(&state) {
        steps.push(Step::Leave(state, Why::State));
    }
    Ok(steps)
}

fn config(path: PathBuf) -> Item {
    Item { path, text: CONFIG.into(), others: Vec::new(), mode: 0o644 }
}

/// A path of the system below its root.
///
/// # Errors
///
/// A link on the way leads out of the root, to a system that is not meant.
fn below(root: &Path, path: &str) -> Result<PathBuf, Fatal> {
    let path = root.join(path.trim_start_matches('/'));
    let there = path.ancestors().skip(1).find_map(|it| it.canonicalize().ok());
    match there {
        Some(there) if !there.starts_with(root) => {
            let error = format!("cannot use {}: a link leads out of the root", shown_path(&path));
            Err(Fatal::text(error))
        }
        Some(_) | None => Ok(path),
    }
}

/// How a file comes into place.
fn put(item: Item) -> Step {
    match there(&item) {
        None => Step::Write(item),
        Some(true) => Step::Leave(item.path, Why::InPlace),
        Some(false) => Step::Leave(item.path, Why::NotOurs),
    }
}

/// How a file goes that is as it was written.
fn take(item: Item) -> Step {
    match there(&item) {
        None => Step::Leave(item.path, Why::NotThere),
        Some(true) => Step::Remove(item.path),
        Some(false) => Step::Leave(item.path, Why::Changed),
    }
}

/// Whether what is there is ours; `None`: nothing is there.
fn there(item: &Item) -> Option<bool> {
    let is_file = item.path.symlink_metadata().ok()?.is_file();
    let is_ours = |text: Vec<u8>| text == item.text || item.others.contains(&text);
    Some(is_file && fs::read(&item.path).is_ok_and(is_ours))
}

fn present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn holds_only(folder: &Path, path: &Path) -> bool {
    let entries = fs::read_dir(folder);
    entries.is_ok_and(|mut it| it.all(|it| it.is_ok_and(|it| it.path() == path)))
}

impl Step {
    fn take(&self) -> Result<(), Fatal> {
        match self {
            Self::Write(item) => write(item),
            Self::Remove(path) => {
                fs::remove_file(path).map_err(|error| failed("remove", path, &error))
            }
            Self::RemoveFolder(path) => {
                fs::remove_dir(path).map_err(|error| failed("remove", path, &error))
            }
            Self::Leave(..) => Ok(()),
        }
    }

    /// A line about it.
    fn tell(&self, dry_run: bool, said: &mut String) {
        let done = |what: &str| if dry_run { format!("would be {what}") } else { what.to_owned() };
        let (path, what) = match self {
            Self::Write(item) => (&item.path, done("installed")),
            Self::Remove(path) | Self::RemoveFolder(path) => (path, done("removed")),
            Self::Leave(path, why) => (path, why.to_string()),
        };
        writeln!(said, "{}: {what}", shown_path(path)).expect("a String takes all");
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InPlace => "is in place",
            Self::NotOurs => "kept, it is not ours",
            Self::Changed => "kept, it was changed",
            Self::NotThere => "is not there",
            Self::OtherConfig => "kept",
            Self::State => "kept, tasks that wait may be in it",
        })
    }
}

/// Writes a file where none is.
fn write(item: &Item) -> Result<(), Fatal> {
    let path = &item.path;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed("create", folder, &error))?;
    }
    // Not through a link, and never over anything.
    let file = OpenOptions::new().write(true).create_new(true).mode(item.mode).open(path);
    let mut file = file.map_err(|error| failed("create", path, &error))?;
    // Whatever the umask of who calls: the service manager reads it, and tools of other users.
    let written = file.set_permissions(Permissions::from_mode(item.mode));
    written.and_then(|()| file.write_all(&item.text)).and_then(|()| file.sync_all()).map_err(
        |error| {
            // Half a file is worse than none.
            let _ = fs::remove_file(path);
            failed("write", path, &error)
        },
    )
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Fatal {
    Fatal::text(format!("cannot {what} {}: {}", shown_path(path), words(error)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            Self::with(&["lib/systemd/system/", "sbin/openrc-run", "etc/init.d/"])
        }

        /// A root in which these are; a name that ends with a slash is a folder.
        fn with(names: &[&str]) -> Self {
            let world = Self(tempfile::tempdir().unwrap());
            for name in names {
                world.write(name, "");
            }
            world
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.root().join(name);
            if name.ends_with('/') {
                return fs::create_dir_all(path).unwrap();
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn root(&self) -> PathBuf {
            self.0.path().canonicalize().unwrap()
        }

        fn run(&self, way: Way) -> String {
            self.said(way, false)
        }

        fn said(&self, way: Way, dry_run: bool) -> String {
            match carry_out(way, dry_run, &self.root(), Path::new("/usr/bin/pyinotifyd")) {
                Ok(said) => said.replace(self.root().to_str().unwrap(), ""),
                Err(error) => error.to_string().replace(self.root().to_str().unwrap(), ""),
            }
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.root().join(name)).ok()
        }

        /// All names below the root.
        fn names(&self) -> Vec<PathBuf> {
            let mut names = Vec::new();
            let mut folders = vec![self.root()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                    names.push(entry.path());
                    folders.extend(entry.file_type().unwrap().is_dir().then(|| entry.path()));
                }
            }
            names.sort();
            names
        }
    }

    #[test]
    fn what_was_installed_is_uninstalled() {
        let world = World::new();
        let before = world.names();
        let said = [
            world.run(Way::Install),
            world.run(Way::Install),
            world.run(Way::Uninstall),
            world.run(Way::Uninstall),
        ];
        insta::assert_snapshot!(said.join("\n"));
        let etc = world.root().join("etc");
        assert_eq!(
            world.names().into_iter().filter(|it| *it != etc).collect::<Vec<_>>(),
            before.into_iter().filter(|it| *it != etc).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_dry_run_shows_the_steps_and_takes_none() {
        let world = World::new();
        let before = world.names();
        let installs = world.said(Way::Install, true);
        assert_eq!(world.names(), before);
        world.run(Way::Install);
        let between = world.names();
        let uninstalls = world.said(Way::Uninstall, true);
        assert_eq!(world.names(), between);
        insta::assert_snapshot!([installs, uninstalls].join("\n"));
    }

    #[test]
    fn a_system_gets_what_its_service_managers_read() {
        let installed = |names: &[&str]| {
            let world = World::with(names);
            world.run(Way::Install);
            [
                "lib/systemd/system/pyinotifyd.service",
                "etc/init.d/pyinotifyd",
                "etc/pyinotifyd/config.py",
            ]
            .map(|it| world.read(it).is_some())
        };
        assert_eq!(installed(&["lib/systemd/system/"]), [true, false, true]);
        assert_eq!(installed(&["sbin/openrc-run"]), [false, true, true]);
        assert_eq!(installed(&["lib/systemd/system/", "sbin/openrc-run"]), [true, true, true]);
        assert_eq!(installed(&["bin/"]), [false, false, true]);
        let said = World::with(&[]).run(Way::Install);
        assert!(said.starts_with("there is neither systemd nor OpenRC: no service\n"), "{said}");
    }

    #[test]
    fn what_is_left_as_it_is_or_cannot_be_done_is_told_with_the_reason() {
        let mut told = Vec::new();
        let mut tell = |what: &str, world: &World, way| {
            told.push(format!("{what}:\n{}\n", world.run(way).trim_end()));
        };
        tell("nothing to install into", &World::with(&[]), Way::Install);
        let unit = "lib/systemd/system/pyinotifyd.service";
        let config = "etc/pyinotifyd/config";
        for way in [Way::Install, Way::Uninstall] {
            let world = World::new();
            world.write(unit, SERVICE_OF_SOMEBODY);
            world.write(&format!("{config}.py"), "# mine");
            world.write("var/lib/pyinotifyd/", "");
            tell("files of somebody", &world, way);
        }
        let world = World::new();
        world.write(&format!("{config}.toml"), "");
        tell("another configuration", &world, Way::Install);
        let world = World::new();
        world.write(
            "var/lib/dpkg/info/pyinotifyd.list",
            "/usr/lib/systemd/system/pyinotifyd.service\n",
        );
        tell("a package", &world, Way::Uninstall);
        let world = World::with(&["lib/systemd/system/", "outside/"]);
        symlink("/proc", world.root().join("etc")).unwrap();
        tell("a link out of the root", &world, Way::Install);
        let world = World::with(&["lib/systemd/system/", "etc/pyinotifyd"]);
        tell("a file in place of a directory", &world, Way::Install);
        let world = World::new();
        let program = Path::new("/opt/a b\n/pyinotifyd");
        let error = carry_out(Way::Install, false, &world.root(), program).unwrap_err();
        told.push(format!("a program that cannot be named:\n{error}"));
        insta::assert_snapshot!("told", told.join("\n"));
    }

    #[test]
    fn the_service_starts_this_program() {
        let world = World::new();
        world.run(Way::Install);
        let unit = world.read("lib/systemd/system/pyinotifyd.service").unwrap();
        assert!(unit.contains("\nExecStart=/usr/bin/pyinotifyd\n"), "{unit}");
        let script = world.read("etc/init.d/pyinotifyd").unwrap();
        assert!(script.contains("\ncommand=\"/usr/bin/pyinotifyd\"\n"), "{script}");
    }

    #[test]
    fn a_program_in_the_other_root_is_named_as_that_root_sees_it() {
        let world = World::new();
        let program = world.root().join("opt/pyinotifyd");
        carry_out(Way::Install, false, &world.root(), &program).unwrap();
        let unit = world.read("lib/systemd/system/pyinotifyd.service").unwrap();
        assert!(unit.contains("\nExecStart=/opt/pyinotifyd\n"), "{unit}");
    }

    #[test]
    fn a_path_that_means_something_in_a_unit_is_refused() {
        let world = World::new();
        let before = world.names();
        for program in ["/opt/a b/pyinotifyd", "/opt/%n", "/opt/$x", "/opt/\"", "/opt/ä", "/a\nb"]
        {
            let error = carry_out(Way::Install, false, &world.root(), Path::new(program));
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("error: the path of this program cannot be in"), "{error}");
        }
        assert_eq!(world.names(), before);
    }

    #[test]
    fn an_older_systemd_gets_what_it_understands() {
        let unit = |library: &str| {
            let world = World::new();
            world.write(library, "");
            world.run(Way::Install);
            world.read("lib/systemd/system/pyinotifyd.service").unwrap()
        };
        for library in [
            "lib/systemd/libsystemd-shared-253.so",
            "usr/lib/systemd/libsystemd-shared-257.5-2.fc42.so",
            "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so",
        ] {
            let unit = unit(library);
            assert!(unit.contains("\nType=notify-reload\n"), "{unit}");
            assert!(!unit.contains("\nExecReload="), "the signal would come twice: {unit}");
        }
        for library in [
            "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so",
            "lib/systemd/libsystemd-shared-249.so",
            "lib/systemd/libsystemd-shared-.so",
            "lib/systemd/something-else",
        ] {
            let unit = unit(library);
            assert!(unit.contains("\nType=notify\nExecReload="), "{unit}");
        }
    }

    #[test]
    fn a_unit_for_another_version_is_ours_too() {
        let world = World::new();
        world.run(Way::Install);
        world.write("lib/systemd/libsystemd-shared-257.so", "");
        assert!(world.run(Way::Install).contains("pyinotifyd.service: is in place"));
        assert!(world.run(Way::Uninstall).contains("pyinotifyd.service: removed"));
    }

    #[test]
    fn a_service_that_goes_is_enabled_no_more() {
        let world = World::with(&[
            "lib/systemd/system/",
            "sbin/openrc-run",
            "etc/systemd/system/multi-user.target.wants/",
            "etc/runlevels/default/",
        ]);
        world.run(Way::Install);
        let links = [
            (
                "/lib/systemd/system/pyinotifyd.service",
                "etc/systemd/system/multi-user.target.wants/pyinotifyd.service",
            ),
            ("/etc/init.d/pyinotifyd", "etc/runlevels/default/pyinotifyd"),
        ];
        for (to, link) in links {
            symlink(to, world.root().join(link)).unwrap();
        }
        world.run(Way::Uninstall);
        assert!(links.iter().all(|it| !world.root().join(it.1).is_symlink()));
    }

    #[test]
    fn what_was_changed_is_kept() {
        let world = World::new();
        world.write("etc/pyinotifyd/config.py", "# mine");
        assert!(world.run(Way::Install).contains("/etc/pyinotifyd/config.py: kept"));
        assert!(world.run(Way::Uninstall).contains("/etc/pyinotifyd/config.py: kept"));
        assert_eq!(world.read("etc/pyinotifyd/config.py").unwrap(), "# mine");
        let config = world.root().join("etc/pyinotifyd/config.py");
        fs::rename(&config, config.with_extension("toml")).unwrap();
        assert!(world.run(Way::Install).contains("/etc/pyinotifyd/config.toml: kept"));
        assert!(!config.exists());
    }

    #[test]
    fn what_lies_beside_the_configuration_is_kept_and_so_is_the_state() {
        let world = World::new();
        world.run(Way::Install);
        world.write("etc/pyinotifyd/exclude.txt", "x");
        world.write("var/lib/pyinotifyd/state.sqlite", "x");
        let said = world.run(Way::Uninstall);
        assert!(said.contains("/var/lib/pyinotifyd: kept, "), "{said}");
        assert_eq!(world.read("etc/pyinotifyd/config.py"), None);
        assert!(world.read("etc/pyinotifyd/exclude.txt").is_some());
        assert!(world.read("var/lib/pyinotifyd/state.sqlite").is_some());
    }

    #[test]
    fn a_link_in_place_of_a_file_is_somebodys() {
        let world = World::new();
        world.write("elsewhere", SERVICE_OF_SOMEBODY);
        let unit = world.root().join("lib/systemd/system/pyinotifyd.service");
        symlink(world.root().join("elsewhere"), &unit).unwrap();
        assert!(world.run(Way::Install).contains("pyinotifyd.service: kept, it is not ours"));
        assert!(world.run(Way::Uninstall).contains("pyinotifyd.service: kept, it was changed"));
        assert_eq!(world.read("elsewhere").unwrap(), SERVICE_OF_SOMEBODY);
    }

    const SERVICE_OF_SOMEBODY: &str = "[Service]\n";

    #[test]
    fn nothing_is_written_outside_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let world = World::with(&["lib/systemd/system/"]);
        symlink(outside.path(), world.root().join("etc")).unwrap();
        let said = world.run(Way::Install);
        assert!(
            said.ends_with("/etc/pyinotifyd/config.toml: a link leads out of the root"),
            "{said}"
        );
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(world.read("lib/systemd/system/pyinotifyd.service"), None, "all or nothing");
    }

    #[test]
    fn what_a_package_has_installed_is_the_packages() {
        let world = World::new();
        let list = "var/lib/dpkg/info/pyinotifyd.list";
        world.write(list, "/usr/bin/pyinotifyd\n/usr/lib/systemd/system/pyinotifyd.service\n");
        let before = world.names();
        for way in [Way::Install, Way::Uninstall] {
            let said = world.run(way);
            assert!(
                said.starts_with("error: a package has installed the service\nhint: "),
                "{said}"
            );
        }
        assert_eq!(world.names(), before);
        // Removed, but for its configuration.
        world.write(list, "/etc/pyinotifyd/config.py\n");
        assert!(world.run(Way::Install).contains("pyinotifyd.service: installed"));
    }

    #[test]
    fn everybody_can_read_what_is_installed() {
        let world = World::new();
        world.run(Way::Install);
        let mode = |name| fs::metadata(world.root().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("lib/systemd/system/pyinotifyd.service") & 0o777, 0o644);
        assert_eq!(mode("etc/init.d/pyinotifyd") & 0o777, 0o755);
    }
}
