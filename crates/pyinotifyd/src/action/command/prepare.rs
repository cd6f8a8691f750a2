//! From a run to the commands to start for it: words, environment, program.
//!
//! One command, but for a batch whose paths are arguments: as many as the kernel's limit on
//! arguments asks for. Nothing is ever left out or cut off.

use std::{
    ffi::{CStr, CString, OsString},
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    sync::Arc,
};

use pyinotifyd_core::{
    path::shown,
    plan::{BatchInput, Process, Scheduler},
    task::{Run, RunTask, TaskId},
};
use pyinotifyd_sys::process as sys;

use super::errors::Failure;
use crate::{action::exec_helper, env};

/// What of the daemon's environment every command gets.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    vars: Arc<[Variable]>,
}

#[derive(Debug)]
struct Variable {
    /// `NAME=value`.
    text: CString,
    name_len: usize,
}

impl Variable {
    fn new(name: &[u8], value: &[u8]) -> Option<Self> {
        let text = CString::new([name, b"=", value].concat()).ok()?;
        Some(Self { text, name_len: name.len() })
    }

    fn name(&self) -> &[u8] {
        &self.text.to_bytes()[..self.name_len]
    }
}

impl Environment {
    /// Takes these variables, without what is [`env::NOT_FOR_TASKS`].
    pub(crate) fn new(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let kept = vars.into_iter().filter(|(name, _)| {
            !env::NOT_FOR_TASKS.iter().any(|it| it.as_bytes() == name.as_bytes())
        });
        let vars =
            kept.filter_map(|(name, value)| Variable::new(name.as_bytes(), value.as_bytes()));
        Self { vars: vars.collect() }
    }
}

/// The words of a run, with its values in their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// The program, then its arguments; the first is [`Word::Once`].
    pub(crate) argv: Vec<Word>,
    /// Variables to set beside the usual ones.
    pub(crate) env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether a file that the kernel cannot run is given to `/bin/sh`, as a shell would do.
    pub(crate) script: bool,
}

/// An argument, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// In every command.
    Once(Vec<u8>),
    /// One argument for each task of the run, in their order; in each command those of its tasks.
    Each(Vec<Vec<u8>>),
}

/// All that is needed to start a program.
#[derive(Debug)]
pub(crate) struct Command {
    /// The program as the configuration names it, for messages.
    pub(crate) name: Vec<u8>,
    /// The file to execute: the program, or the helper that becomes it.
    pub(crate) file: CString,
    /// Its arguments, its name first.
    pub(crate) argv: Vec<CString>,
    /// The task whose id is in its environment: its first.
    pub(crate) task: TaskId,
    /// Working directory that the start itself enters.
    pub(crate) cwd: Option<CString>,
    /// For standard input, if it is not empty.
    pub(crate) input: Option<Vec<u8>>,
    /// Whether `file` is the helper, and tells what fails.
    pub(crate) helper: bool,
    /// See [`Words::script`]; the helper sees to it by itself.
    pub(crate) script: bool,
    inherited: Environment,
    /// Which of `inherited` are left out.
    hidden: Vec<usize>,
    own: Vec<CString>,
}

impl Command {
    /// The environment.
    pub(crate) fn env(&self) -> impl Iterator<Item = &CStr> {
        let vars = self.inherited.vars.iter().enumerate();
        let kept = vars.filter(|(at, _)| !self.hidden.contains(at));
        kept.map(|(_, it)| it.text.as_c_str()).chain(self.own.iter().map(CString::as_c_str))
    }
}

/// The commands of a run, to be run one after the other. `helper` is the daemon's own program.
pub(crate) fn prepare(
    run: &Run,
    scheduler: &Scheduler,
    process: &Process,
    words: &Words,
    inherited: &Environment,
    helper: &CStr,
) -> Result<Vec<Command>, Failure> {
    let split = words.argv.iter().any(|word| matches!(word, Word::Each(_)));
    let mut commands = Vec::new();
    let mut from = 0;
    while from < run.tasks.len() {
        let first = &run.tasks[from];
        let mut command = empty(first.id, &words.argv[0], words.script);
        command.inherited = inherited.clone();
        set_environment(&mut command, first, scheduler, process, &words.env)?;
        let to = if split {
            let space = space(&command, process, words);
            from + fitting(words, from, run.tasks.len(), space)
        } else {
            run.tasks.len()
        };
        if let Some(batch) = &scheduler.batch {
            let count = Variable::new(env::COUNT.as_bytes(), (to - from).to_string().as_bytes());
            command.own.extend(count.map(|it| it.text));
            if batch.input == BatchInput::Stdin {
                command.input = Some(run.tasks.iter().flat_map(nul_ended).collect());
            }
        }
        set_program(&mut command, process, words, from..to, helper)?;
        commands.push(command);
        from = to;
    }
    Ok(commands)
}

fn empty(task: TaskId, program: &Word, script: bool) -> Command {
    let name = match program {
        Word::Once(name) => name.clone(),
        Word::Each(names) => names.first().cloned().unwrap_or_default(),
    };
    Command {
        name,
        file: CString::default(),
        argv: Vec::new(),
        task,
        cwd: None,
        input: None,
        helper: false,
        script,
        inherited: Environment { vars: Arc::new([]) },
        hidden: Vec::new(),
        own: Vec::new(),
    }
}

fn nul_ended(task: &RunTask) -> impl Iterator<Item = u8> {
    task.event.pathname.iter().copied().chain([0])
}

/// Later ones win: what the daemon tells of the task, what the user's login would set, what the
/// configuration says.
fn set_environment(
    command: &mut Command,
    task: &RunTask,
    scheduler: &Scheduler,
    process: &Process,
    words: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), Failure> {
    let (id, attempt) = (task.id.to_string(), task.attempt.to_string());
    let event = &task.event;
    let mut own: Vec<(&[u8], Option<&[u8]>)> = vec![
        (env::PATHNAME.as_bytes(), Some(&event.pathname)),
        (env::MASKNAME.as_bytes(), Some(event.event_type.name().as_bytes())),
        (env::SRC_PATHNAME.as_bytes(), Some(event.src_pathname.as_deref().unwrap_or_default())),
        (env::TASK_ID.as_bytes(), Some(id.as_bytes())),
        (env::ATTEMPT.as_bytes(), Some(attempt.as_bytes())),
        (env::SCHEDULER.as_bytes(), Some(scheduler.name.as_bytes())),
    ];
    if let Some(user) = &process.user {
        own.extend([
            (env::HOME.as_bytes(), Some(&*user.home)),
            (env::USER.as_bytes(), Some(user.name.as_bytes())),
            (env::LOGNAME.as_bytes(), Some(user.name.as_bytes())),
            (env::SHELL.as_bytes(), Some(&*user.shell)),
        ]);
    }
    own.extend(process.env.iter().map(|(name, value)| (&**name, value.as_deref())));
    own.extend(words.iter().map(|(name, value)| (&**name, Some(&**value))));

    let named = |name: &[u8]| own.iter().any(|(it, _)| *it == name);
    let inherited = command.inherited.vars.iter().enumerate();
    command.hidden = inherited.filter(|(_, it)| named(it.name())).map(|(at, _)| at).collect();
    for (at, (name, value)) in own.iter().enumerate() {
        let last = !own[at + 1..].iter().any(|(later, _)| later == name);
        if let (true, Some(value)) = (last, value) {
            let var = Variable::new(name, value).ok_or_else(|| nul(command, name))?;
            command.own.push(var.text);
        }
    }
    Ok(())
}

fn set_program(
    command: &mut Command,
    process: &Process,
    words: &Words,
    tasks: std::ops::Range<usize>,
    helper: &CStr,
) -> Result<(), Failure> {
    let mut argv = Vec::with_capacity(words.argv.len() + tasks.len());
    for word in &words.argv {
        let values = match word {
            Word::Once(value) => std::slice::from_ref(value),
            Word::Each(values) => &values[tasks.clone()],
        };
        for value in values {
            argv.push(CString::new(&**value).map_err(|_| nul(command, value))?);
        }
    }
    let program = search(command)?;
    if exec_helper::is_needed(process) {
        command.argv = exec_helper::arguments(process, &program, &argv, words.script)
            .map_err(|error| nul(command, &error.into_vec()))?;
        helper.clone_into(&mut command.file);
        command.helper = true;
        return Ok(());
    }
    if let Some(cwd) = &process.cwd {
        command.cwd = Some(CString::new(&**cwd).map_err(|_| nul(command, cwd))?);
    }
    (command.file, command.argv) = (program, argv);
    Ok(())
}

/// Where the program is: by its path, or sought in the command's `PATH`. Relative names in there,
/// and the empty one, would be those of whatever directory the daemon stands in: left out.
fn search(command: &Command) -> Result<CString, Failure> {
    let name = &command.name;
    if name.contains(&b'/') {
        return CString::new(&**name).map_err(|_| nul(command, name));
    }
    let own = command.env().filter_map(|it| it.to_bytes().strip_prefix(b"PATH="));
    let path = own.last().unwrap_or(b"/usr/bin:/bin");
    let dirs = path.split(|byte| *byte == b':').filter(|dir| dir.starts_with(b"/"));
    for dir in dirs {
        let file = pyinotifyd_core::path::join(dir, name);
        let found = fs::metadata(Path::new(std::ffi::OsStr::from_bytes(&file)));
        if found.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0) {
            return CString::new(file).map_err(|_| nul(command, name));
        }
    }
    Err(Failure::Permanent(format!(
        "cannot run {}: not found in {} ({})",
        shown(name),
        env::PATH,
        shown(path)
    )))
}

/// How many bytes are left for arguments that are there for each task.
fn space(command: &Command, process: &Process, words: &Words) -> usize {
    /// For the names of program and interpreter, for what the kernel and the loader put beside
    /// them, and for the helper's settings.
    const HEADROOM: usize = 16 * 1024;
    let stack = process.rlimits.iter().rfind(|(name, _)| **name == *"stack");
    let once = words.argv.iter().filter_map(|word| match word {
        Word::Once(value) => Some(cost(value)),
        Word::Each(_) => None,
    });
    let taken: usize = once.chain(command.env().map(|it| cost(it.to_bytes()))).sum();
    sys::argument_space(stack.map(|(_, value)| *value)).saturating_sub(taken + HEADROOM)
}

/// How many tasks, one at least, have their arguments in that space.
fn fitting(words: &Words, from: usize, end: usize, space: usize) -> usize {
    let each = |task: usize| -> usize {
        let values = words.argv.iter().filter_map(|word| match word {
            Word::Once(_) => None,
            Word::Each(values) => Some(cost(&values[task])),
        });
        values.sum()
    };
    let mut taken = 0;
    let fit = (from..end).take_while(|task| {
        taken += each(*task);
        taken <= space
    });
    fit.count().max(1)
}

/// The string, its NUL, and the pointer to it.
fn cost(value: &[u8]) -> usize {
    value.len() + 1 + size_of::<usize>()
}

fn nul(command: &Command, value: &[u8]) -> Failure {
    Failure::Permanent(format!(
        "cannot run {}: there is a NUL byte in {}",
        shown(&command.name),
        shown(value)
    ))
}
