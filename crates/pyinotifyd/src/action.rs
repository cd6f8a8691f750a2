//! Carrying out runs.
//!
//! The schedule says which run starts and which is asked to stop; here it happens, and its
//! [`Outcome`] is told, once for each run. What an outcome means (a retry, a report) is the
//! schedule's again.
//!
//! * [`command`]: a run of `exec` or `shell`, to the system call.
//! * [`exec_helper`]: a process of ours that turns into a command which asks for another user, or
//!   for limits.
//! * [`files`]: a run of file rules.
//! * [`hosted`]: a run of a task in Python.
//! * [`message`]: a run of `log`, and what actions say in the log.
//! * [`ready`]: whether a task may start.
//! * [`dry`]: what is said in place of all these in a dry run.
//!
//! Nothing here blocks the loop: commands are started, and files are moved, on threads.

pub(crate) mod command;
mod dry;
pub(crate) mod exec_helper;
pub(crate) mod files;
pub(crate) mod hosted;
mod message;
pub(crate) mod ready;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use pyinotifyd_core::{
    engine::Question,
    filerule::{self, Answers, FilePlan, PlanError},
    plan::{Action, Plan, Scheduler, SchedulerId},
    task::{Leader, Outcome, Run, RunId, RunTask, StopHow},
};
use tokio::sync::mpsc::UnboundedSender;

pub(crate) use self::command::prepare::Environment;
use self::{
    command::{Commands, Printed, words},
    files::Files,
    hosted::Hosted,
    message::{Line, Say},
    ready::Tests,
};
use crate::{host::live::HostId, log};

/// What the file rules say about a task: `None` if none matches.
pub(crate) type Planned = Result<Option<FilePlan>, PlanError>;

/// The runs that go on.
pub(crate) struct Actions {
    commands: Commands,
    /// The runs of file rules.
    pub(crate) files: Files,
    /// The hosts of Python, and their runs.
    pub(crate) hosted: Hosted,
    /// Whether tasks may start.
    pub(crate) tests: Tests,
    say: Say,
    dry_run: bool,
    done: UnboundedSender<(RunId, Outcome)>,
}

impl Actions {
    /// Commands get `environment`; outcomes go to `done`, and to `spawned` the process that each command
    /// begins as, if anybody wants to know. In a dry run nothing is run or changed: what would be, is
    /// said in the log.
    ///
    /// # Errors
    ///
    /// `/dev/null` cannot be opened.
    pub(crate) fn new(
        environment: Environment,
        dry_run: bool,
        done: UnboundedSender<(RunId, Outcome)>,
        spawned: Option<UnboundedSender<(RunId, Leader)>>,
    ) -> io::Result<Self> {
        let printed: Printed = Arc::new(|level, logname, task, line| {
            log::output(level, logname, Some(task), line);
        });
        let say: Say = Arc::new(|line| {
            let Line { level, logname, task, message } = *line;
            log::message(level, logname, task.id, &task.event.pathname, message);
        });
        let mut actions = Self::with(environment, dry_run, done, printed, say)?;
        if let Some(spawned) = spawned {
            actions.commands.tell_spawned(spawned);
        }
        Ok(actions)
    }

    /// As [`Self::new`], with another place for lines than the log.
    fn with(
        environment: Environment,
        dry_run: bool,
        done: UnboundedSender<(RunId, Outcome)>,
        printed: Printed,
        say: Say,
    ) -> io::Result<Self> {
        let commands = Commands::new(environment, printed, done.clone())?;
        let files = Files::new(Arc::clone(&say), done.clone());
        let hosted = Hosted::new(done.clone());
        Ok(Self { commands, files, hosted, tests: Tests::new(), say, dry_run, done })
    }

    /// Starts a run of this plan, on the tokio runtime that this is called from. Whatever comes of
    /// it, its outcome is told once. `files` has what the file rules say about each task, in the
    /// order of the tasks, and is empty for any other action.
    pub(crate) fn start(&mut self, run: Run, plan: &Plan, files: Vec<Planned>) {
        let scheduler = plan.scheduler(run.scheduler);
        if self.dry_run {
            dry::say(&run, scheduler, &files, &self.say);
            return self.tell(run.id, Outcome::Done(Some("dry run".into())));
        }
        match &scheduler.action {
            Action::Exec(exec) => {
                let words = words::exec(exec, &run, scheduler);
                self.commands.start(&run, scheduler, &exec.process, &words);
            }
            Action::Shell(shell) => match words::shell(shell, &run, scheduler) {
                Ok(words) => self.commands.start(&run, scheduler, &shell.process, &words),
                Err(failure) => self.tell(run.id, failure.into()),
            },
            Action::Rules(_) => self.files.start(run, &scheduler.logname, files),
            Action::Log(line) => {
                message::say(&run, scheduler, line, &self.say);
                self.tell(run.id, Outcome::Done(None));
            }
            Action::Hosted(job) => self.hosted.start(run, job),
        }
    }

    /// Asks a run to end. One that has ended, or was never started, is none of this.
    ///
    /// A file action ends at its next safe point, however hard it is asked: there is no way to
    /// leave a system call that hangs.
    pub(crate) fn stop(&mut self, run: RunId, how: StopHow) {
        self.commands.stop(run, how);
        self.files.stop(run);
        self.hosted.stop(run, how);
    }

    /// Applies a scheduler's rules, because code of a config.py wants that now; what comes of it
    /// is its answer.
    pub(crate) fn call(
        &mut self,
        (host, number): (HostId, u64),
        scheduler: SchedulerId,
        plan: &Arc<Plan>,
        task: RunTask,
    ) {
        let Scheduler { action: Action::Rules(rules), logname, .. } = plan.scheduler(scheduler)
        else {
            return self.hosted.reply(host, number, false, "it has no rules");
        };
        if self.dry_run {
            return self.hosted.reply(host, number, true, "dry run");
        }
        let id = self.hosted.call(host, number, logname, task.clone());
        let run = Run { id, scheduler, tasks: vec![task] };
        let question = Question { run, plan: Arc::clone(plan) };
        if filerule::questions(rules).next().is_some() {
            self.hosted.ask(question);
        } else {
            self.begin_call(question, &[Answers::new()]);
        }
    }

    /// Goes on with a call, now that it is known what Python says about its path.
    pub(crate) fn begin_call(&mut self, question: Question, answers: &[Answers]) {
        let Question { run, plan } = question;
        let Scheduler { action: Action::Rules(rules), logname, .. } = plan.scheduler(run.scheduler)
        else {
            return;
        };
        let tasks = run.tasks.iter().zip(answers);
        let plans = tasks.map(|(it, said)| filerule::plan(rules, &it.event.pathname, said));
        let plans = plans.collect();
        self.files.start(run, logname, plans);
    }

    /// How many runs have not ended.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.commands.running() + self.files.running()
    }

    fn tell(&self, run: RunId, outcome: Outcome) {
        // Nobody listens when the daemon has stopped.
        let _ = self.done.send((run, outcome));
    }
}
