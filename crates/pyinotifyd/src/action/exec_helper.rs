//! `pyinotifyd __exec`: the process between the daemon and a command that asks for another user,
//! for limits, niceness or a file mode creation mask.
//!
//! Between `fork(2)` and `execve(2)` little may be done, and with `posix_spawn(3)` nothing of
//! this. So the daemon starts itself anew (`/proc/self/exe`: the same file, even if another was
//! put in its place meanwhile), with the settings as arguments; that process takes them on and
//! becomes the command. What fails is told on descriptor [`REPORT_FD`], which the command does not
//! get, so that it cannot be taken for the command's own exit status.
//!
//! Started by hand it does what its caller could do without it.

use std::{
    ffi::{CStr, CString, NulError},
    fmt, io,
    os::unix::ffi::OsStringExt,
};

use pyinotifyd_core::{path::shown, plan::Process};
use pyinotifyd_sys::process::{
    self as sys, REPORT_FD,
    identity::{self, Identity},
    limits,
};

use super::command::errors;

/// The first argument.
const WORD: &str = "__exec";
/// Between the settings and the command.
const END: &[u8] = b"--";
/// The exit status of a process that could not become the command, beside what it told.
const STATUS: i32 = 126;

/// The running program, whatever lies under its name by now. In the started process's place it
/// still names the daemon's file, since that shares the daemon's memory until it is loaded.
pub(crate) const PROGRAM: &CStr = c"/proc/self/exe";

/// Whether a command asks for what the start itself cannot do.
#[must_use]
pub(crate) fn is_needed(process: &Process) -> bool {
    // Taken apart, so that a new field is thought of here.
    let Process { user, group, env: _, cwd: _, umask, nice, rlimits, output: _ } = process;
    user.is_some() || group.is_some() || umask.is_some() || nice.is_some() || !rlimits.is_empty()
}

/// The arguments of the process that becomes the command `program` with `argv` (its own name
/// first). `script`: whether a file that is no program is given to `/bin/sh`. Fails if a name or
/// path among the settings holds a NUL.
pub(crate) fn arguments(
    process: &Process,
    program: &CStr,
    argv: &[CString],
    script: bool,
) -> Result<Vec<CString>, NulError> {
    let Process { user, group, env: _, cwd, umask, nice, rlimits, output: _ } = process;
    let mut words: Vec<Vec<u8>> = vec![b"pyinotifyd".into(), WORD.into()];
    let mut set = |key: &str, value: &dyn fmt::Display| {
        words.push(format!("{key}={value}").into_bytes());
    };
    if let Some(user) = user {
        set("user", &user.name);
        set("uid", &user.uid);
    }
    if let Some(gid) = group.or(user.as_ref().map(|user| user.gid)) {
        set("gid", &gid);
    }
    if let Some(umask) = umask {
        set("umask", umask);
    }
    if let Some(nice) = nice {
        set("nice", nice);
    }
    for (name, value) in rlimits {
        set(&format!("limit.{name}"), value);
    }
    if script {
        set("script", &1);
    }
    if let Some(cwd) = cwd {
        words.push([b"cwd=", &**cwd].concat());
    }
    words.push(END.into());
    words.push(program.to_bytes().into());
    words.into_iter().map(CString::new).chain(argv.iter().cloned().map(Ok)).collect()
}

/// What the process told before it ended; `None`: it became the command.
#[must_use]
pub(crate) fn failure(report: &[u8]) -> Option<errors::Failure> {
    let (kind, text) = report.split_first()?;
    let text = String::from_utf8_lossy(text).into_owned();
    Some(if *kind == b'T' {
        errors::Failure::Temporary(text)
    } else {
        errors::Failure::Permanent(text)
    })
}

/// Becomes the command if this process was started for that, and does not come back then. Before
/// anything else in `main`: what follows needs a process of one thread.
pub(crate) fn main_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|word| word != WORD) {
        return;
    }
    let args: Option<Vec<CString>> = args.map(|arg| CString::new(arg.into_vec()).ok()).collect();
    let failure = become_command(&args.expect("arguments of a process have no NUL"));
    let (kind, text) = match &failure {
        errors::Failure::NoRoom(text) | errors::Failure::Temporary(text) => (b'T', text),
        errors::Failure::Permanent(text) => (b'P', text),
    };
    let report = [&[kind], text.as_bytes()].concat();
    if sys::write_report(&report).is_err() {
        eprintln!("{text}");
    }
    std::process::exit(STATUS);
}

/// The settings, as they came.
#[derive(Default)]
struct Settings<'a> {
    user: Option<&'a CStr>,
    uid: Option<u32>,
    gid: Option<u32>,
    umask: Option<u32>,
    nice: Option<i32>,
    limits: Vec<(&'a str, u64)>,
    cwd: Option<CString>,
    script: bool,
}

/// The order matters: limits and niceness need the daemon's rights; the directory is entered with
/// the user's.
fn become_command(words: &[CString]) -> errors::Failure {
    // By hand there is no such descriptor.
    let _ = sys::seal_report();
    let Some((settings, program, argv)) = parse(words) else {
        return errors::Failure::Permanent(format!(
            "cannot run: {WORD} is for the daemon's own use, and descriptor {REPORT_FD} for its \
             answer"
        ));
    };
    let name = argv.first().map_or(program.to_bytes(), |name| name.to_bytes());
    let fail = |call: &dyn fmt::Display, error: &io::Error| {
        let who = settings.user.map(|user| format!(" as {}", shown(user.to_bytes())));
        let text = format!("cannot run {}{}: {call}", shown(name), who.unwrap_or_default());
        errors::Failure::of(error, format!("{text}: {}", errors::words(error)))
    };

    let groups = match (settings.user, settings.gid) {
        (Some(user), Some(gid)) => match identity::supplementary_groups(user, gid) {
            Ok(groups) => Some(groups),
            Err(error) => return fail(&"getgrouplist", &error),
        },
        _ => None,
    };
    if let Some(nice) = settings.nice
        && let Err(error) = limits::add_niceness(nice)
    {
        return fail(&format_args!("setpriority {nice:+}"), &error);
    }
    for (name, value) in &settings.limits {
        let Some(resource) = limits::resource(name) else {
            return errors::Failure::Permanent(format!("cannot run: no limit is named {name}"));
        };
        if let Err(error) = limits::set_limit(resource, *value) {
            return fail(&format_args!("setrlimit {name} to {value}"), &error);
        }
    }
    if let Some(umask) = settings.umask {
        limits::set_umask(umask);
    }
    let identity = Identity { uid: settings.uid, gid: settings.gid, groups };
    if let Err(error) = identity::become_identity(&identity) {
        return fail(&error.call, &error.source);
    }
    if let Some(cwd) = &settings.cwd
        && let Err(error) = limits::enter(cwd)
    {
        return fail(&format_args!("chdir {}", shown(cwd.to_bytes())), &error);
    }

    let argv: Vec<_> = argv.iter().map(CString::as_c_str).collect();
    let mut error = sys::exec(program, &argv);
    if settings.script && errors::is_no_program(&error) {
        error = sys::exec(errors::SH, &errors::as_script(program, &argv));
    }
    let who = settings.user.map(CStr::to_bytes);
    errors::explain(&error, program.to_bytes(), settings.cwd.as_deref(), who)
}

fn parse(words: &[CString]) -> Option<(Settings<'_>, &CStr, &[CString])> {
    let end = words.iter().position(|word| word.to_bytes() == END)?;
    let (words, [_, program, argv @ ..]) = words.split_at(end) else { return None };
    let mut settings = Settings::default();
    for word in words {
        let bytes = word.to_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=')?;
        let (key, text) = (str::from_utf8(&bytes[..at]).ok()?, &word.as_c_str()[at + 1..]);
        let value = || text.to_str().ok();
        match key {
            "user" => settings.user = Some(text),
            "uid" => settings.uid = Some(value()?.parse().ok()?),
            "gid" => settings.gid = Some(value()?.parse().ok()?),
            "umask" => settings.umask = Some(value()?.parse().ok()?),
            "nice" => settings.nice = Some(value()?.parse().ok()?),
            "script" => settings.script = true,
            "cwd" => settings.cwd = Some(text.to_owned()),
            _ => settings.limits.push((key.strip_prefix("limit.")?, value()?.parse().ok()?)),
        }
    }
    Some((settings, program, argv))
}

/// For tests, whose own program is not the daemon: the daemon beside it.
#[cfg(test)]
pub(crate) fn program_for_tests() -> CString {
    let test = std::env::current_exe().expect("/proc is there");
    let folder = test.ancestors().nth(2).expect("it lies in target/debug/deps");
    let program = folder.join("pyinotifyd");
    assert!(program.exists(), "cargo build -p pyinotifyd --bin pyinotifyd comes first");
    CString::new(program.into_os_string().into_vec()).expect("a path has no NUL byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_arrive_as_they_were_given() {
        let process = Process {
            group: Some(7),
            cwd: Some(b"/a=b\xff".as_slice().into()),
            umask: Some(0o27),
            nice: Some(-5),
            rlimits: vec![("nofile".into(), 64), ("core".into(), u64::MAX)],
            ..Process::default()
        };
        assert!(is_needed(&process) && !is_needed(&Process::default()));
        let argv = [c"x".to_owned(), c"--".to_owned(), c"uid=0".to_owned()];
        let words = arguments(&process, c"/bin/x", &argv, true).unwrap();
        assert_eq!(words[1].to_bytes(), WORD.as_bytes());
        let (settings, program, rest) = parse(&words[2..]).unwrap();
        assert_eq!((program, rest), (c"/bin/x", &argv[..]));
        assert_eq!((settings.uid, settings.gid, settings.user), (None, Some(7), None));
        assert_eq!((settings.umask, settings.nice, settings.script), (Some(0o27), Some(-5), true));
        assert_eq!(settings.limits, [("nofile", 64), ("core", u64::MAX)]);
        assert_eq!(settings.cwd.unwrap().to_bytes(), b"/a=b\xff");
    }
}
