//! The packages: each is built, and then tried in a clean root.
//!
//! A trial installs the package, has the daemon do its main job (a file is dropped, and the line of
//! its task is in the log), removes the package, and sees that nothing stays but what was changed
//! by hand. What comes out lies in `dist` of where cargo builds, and so does every tool that is
//! fetched.

mod deb;
mod elf;
mod job;
mod openrc;
mod stage;
mod system;
mod tools;
mod wheel;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Outcome, cargo, output, root, run as run_command, target};
use job::Job;

/// A package, and what builds and tries it.
type Part = (&'static str, fn() -> Outcome);

const PARTS: [Part; 5] = [
    ("static", standalone),
    ("deb", deb::run),
    ("wheel", wheel::run),
    ("install", install),
    ("openrc", openrc::run),
];

/// Builds and tries the named packages, or all.
pub(crate) fn run(args: &[&str]) -> Outcome {
    if let Some(unknown) = args.iter().find(|arg| !PARTS.iter().any(|it| it.0 == **arg)) {
        let parts = PARTS.map(|it| it.0).join(", ");
        return Err(format!("{unknown}: there is no such package, only {parts}"));
    }
    for (name, part) in PARTS.iter().filter(|it| args.is_empty() || args.contains(&it.0)) {
        println!("=== {name}");
        part().map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// What of it is quick: all that packages are made of is there.
pub(crate) fn check() -> Outcome {
    run_command(&mut cargo(&["build", "--quiet", "--package", "pyinotifyd"]))?;
    stage::fill(&target().join("debug/pyinotifyd"))?;
    stage::unit(stage::Systemd::NotifyReload)?;
    deb::check_assets()
}

/// Where packages are built and tried.
fn place() -> PathBuf {
    target().join("dist")
}

/// A folder, empty.
fn emptied(path: PathBuf) -> Result<PathBuf, String> {
    let _ = fs::remove_dir_all(&path);
    make(&path)?;
    Ok(path)
}

fn make(path: &Path) -> Outcome {
    fs::create_dir_all(path).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> Outcome {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Outcome {
    let failed = |error| format!("cannot copy {} to {}: {error}", from.display(), to.display());
    fs::copy(from, to).map(drop).map_err(failed)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program as it is released, linked to the C library of the machine: with its NSS, users may
/// be anywhere that `getent` finds them.
fn release() -> Result<PathBuf, String> {
    run_command(&mut cargo(&["build", "--release", "--package", "pyinotifyd"]))?;
    Ok(target().join("release/pyinotifyd"))
}

/// The version, from its one place.
fn version() -> Result<String, String> {
    let id = output(&mut cargo(&["pkgid", "--package", "pyinotifyd"]))?;
    let version = id.trim().rsplit(['#', '@']).next().filter(|it| !it.is_empty());
    version.map(str::to_owned).ok_or_else(|| format!("there is no version in {id}"))
}

/// The triple that is compiled for, unless something else is asked for.
fn host() -> Result<String, String> {
    let said = output(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|it| it.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say what it compiles for".to_owned())
}

/// A program that needs nothing else, in an archive with its manual.
///
/// It is linked to musl. The C library of GNU can be linked in as well, but not all of it: where
/// `/etc/nsswitch.conf` names more than files, looking up a user, also one that there is not, loads
/// that system's modules into it, and they end it by a signal if they are of another version (seen
/// with one of Debian 12 on Debian 13, and `passwd: files systemd sss`).
fn standalone() -> Outcome {
    let target = host()?.replace("-gnu", "-musl");
    tools::need("musl-gcc", "apt-get install musl-tools")?;
    let libraries =
        output(Command::new("rustc").args(["--print", "target-libdir", "--target", &target]))?;
    if !Path::new(libraries.trim()).exists() {
        return Err(format!(
            "the compiler has no libraries for {target}: rustup target add {target}"
        ));
    }
    let build = place().join("build");
    let mut command =
        cargo(&["build", "--release", "--package", "pyinotifyd", "--target", &target]);
    run_command(command.arg("--target-dir").arg(&build))?;
    let program = build.join(&target).join("release/pyinotifyd");
    let bytes = fs::read(&program)
        .map_err(|error| format!("cannot read {}: {error}", program.display()))?;
    elf::verify_static_pie(&bytes)?;
    stage::fill(&program)?;
    let name = format!("pyinotifyd-{}-{target}", version()?);
    let folder = emptied(place().join(&name))?;
    copy(&program, &folder.join("pyinotifyd"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "docs/install.md"] {
        let file = root().join(file);
        copy(&file, &folder.join(file.file_name().expect("they are files")))?;
    }
    for part in ["man", "completions"] {
        let mut command = Command::new("cp");
        run_command(command.arg("-r").arg(stage::place().join(part)).arg(&folder))?;
    }
    let archive = place().join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-czf"]);
    run_command(command.arg(&archive).arg("-C").arg(place()).arg(&name))?;
    println!("built {}", archive.display());
    try_alone(&program)
}

/// The static program in a root with nothing else in it, not even a shell: its task is the program
/// itself, as another user, who is in `/etc/passwd` alone.
fn try_alone(program: &Path) -> Outcome {
    if !is_root() {
        println!("skipped: the trial of the static program, because only root changes its root");
        return Ok(());
    }
    let root = emptied(place().join("trial/static"))?;
    for folder in ["proc", "dev", "etc", "in"] {
        make(&root.join(folder))?;
    }
    copy(program, &root.join("pyinotifyd"))?;
    write(&root.join("dev/null"), "")?;
    write(&root.join("etc/passwd"), "root:x:0:0::/:/\nsomebody:x:4242:4343::/:/nowhere\n")?;
    write(&root.join("etc/group"), "root:x:0:\nsomebody:x:4343:\n")?;
    write(
        &root.join("config.toml"),
        "[scheduler.job]\nexec = [\"/pyinotifyd\", \"--version\"]\nuser = \"somebody\"\n\
         [[watch]]\npath = \"/in\"\n[watch.event_map]\nIN_CLOSE_WRITE = \"job\"\n",
    )?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]);
    command.args(["sh", "-ec"]).arg(
        "mount -t proc proc \"$0/proc\"; mount --bind /dev/null \"$0/dev/null\"; \
         exec chroot \"$0\" /pyinotifyd -c /config.toml",
    );
    command.arg(&root);
    let said = format!(": pyinotifyd ({})", version()?);
    Job { command, folder: &root.join("in"), lines: &[&said, ": done for /in/dropped "] }.run()?;
    fs::remove_dir_all(&root).map_err(|error| format!("cannot remove {}: {error}", root.display()))
}

/// `cargo install`, into a folder of its own.
fn install() -> Outcome {
    let folder = emptied(place().join("trial/install"))?;
    let mut command = cargo(&["install", "--locked", "--path", "crates/pyinotifyd", "--root"]);
    // What was built already for the others.
    command.arg(&folder).env("CARGO_TARGET_DIR", target());
    run_command(&mut command)?;
    try_here(&folder.join("bin/pyinotifyd"), &folder)?;
    let mut command = cargo(&["uninstall", "pyinotifyd", "--root"]);
    run_command(command.arg(&folder))?;
    if folder.join("bin/pyinotifyd").exists() {
        return Err("cargo has left the program".to_owned());
    }
    fs::remove_dir_all(&folder)
        .map_err(|error| format!("cannot remove {}: {error}", folder.display()))
}

/// The main job of a program that is installed somewhere on this machine.
fn try_here(program: &Path, folder: &Path) -> Outcome {
    let watched = folder.join("in");
    make(&watched)?;
    let config = folder.join("config.toml");
    write(
        &config,
        format!(
            "[scheduler.job]\nexec = [\"/bin/echo\", \"got\", \"{{basename}}\"]\n\
             [[watch]]\npath = {:?}\n[watch.event_map]\nIN_CLOSE_WRITE = \"job\"\n",
            watched.display().to_string()
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&config);
    Job { command, folder: &watched, lines: &[": got dropped", ": done for "] }.run()?;
    for left in [&config, &watched.join("dropped")] {
        fs::remove_file(left)
            .map_err(|error| format!("cannot remove {}: {error}", left.display()))?;
    }
    fs::remove_dir(&watched)
        .map_err(|error| format!("cannot remove {}: {error}", watched.display()))
}
