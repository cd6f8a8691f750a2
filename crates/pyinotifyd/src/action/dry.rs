//! Dry runs: what a run would do, in the log, in place of doing it.
//!
//! It is said from the same words and plans that a real run is made of. What only the file system
//! knows (whether the file is there, whether the program exists) is not looked at.

use std::{
    borrow::Cow,
    fmt::{Display, Write},
};

use pyinotifyd_core::{
    path::shown,
    plan::{Action, Batch, BatchInput, Level, Process, Scheduler},
    task::{Run, RunTask},
    template::Values,
};

use super::{
    Planned,
    command::{
        prepare::{Word, Words},
        words,
    },
    files,
    message::{Line, Say},
};

/// Says what the run would do.
pub(super) fn say(run: &Run, scheduler: &Scheduler, files: &[Planned], say: &Say) {
    let line = |task: &RunTask, message: &dyn Display| {
        say(&Line { level: Level::Info, logname: &scheduler.logname, task, message });
    };
    let first = &run.tasks[0];
    match &scheduler.action {
        Action::Exec(exec) => {
            let words = words::exec(exec, run, scheduler);
            line(first, &command(&words, &exec.process, run, scheduler));
        }
        Action::Shell(shell) => match words::shell(shell, run, scheduler) {
            Ok(words) => line(first, &command(&words, &shell.process, run, scheduler)),
            Err(failure) => line(first, &format_args!("would fail: {}", failure.text())),
        },
        Action::Rules(_) => {
            for (task, plan) in run.tasks.iter().zip(files) {
                match plan {
                    Ok(Some(plan)) => {
                        line(task, &format_args!("would {}", files::words::intent(plan)));
                    }
                    Ok(None) => line(task, &files::words::NO_RULE),
                    Err(error) => line(task, &format_args!("would fail: {error}")),
                }
            }
        }
        Action::Hosted(job) => {
            run.tasks.iter().for_each(|task| line(task, &format_args!("would run {}", job.name)));
        }
        Action::Log(log) => {
            for task in &run.tasks {
                let values =
                    Values { event: &task.event, task: task.id, scheduler: &scheduler.name };
                line(task, &format_args!("would log: {}", log.message.shown(&values)));
            }
        }
    }
}

/// `would run PYINOTIFYD_PATHNAME='/a b' /bin/sh -c '…' pyinotifyd as web in /srv`.
fn command(words: &Words, process: &Process, run: &Run, scheduler: &Scheduler) -> String {
    let mut text = "would run".to_owned();
    let mut push = |what: &dyn Display| write!(text, " {what}").expect("memory takes all text");
    for (name, value) in &words.env {
        push(&format_args!("{}={}", shown(name), quoted(value)));
    }
    for word in &words.argv {
        match word {
            Word::Once(value) => push(&quoted(value)),
            Word::Each(values) => values.iter().for_each(|value| push(&quoted(value))),
        }
    }
    if let Some(Batch { input: BatchInput::Stdin, .. }) = scheduler.batch {
        push(&"with");
        run.tasks.iter().for_each(|task| push(&quoted(&task.event.pathname)));
        push(&"on its standard input");
    }
    if let Some(user) = &process.user {
        push(&format_args!("as {}", shown(user.name.as_bytes())));
    }
    if let Some(cwd) = &process.cwd {
        push(&format_args!("in {}", quoted(cwd)));
    }
    text
}

/// A word as one could write it for a shell, and on one line.
fn quoted(word: &[u8]) -> Cow<'_, str> {
    let text = shown(word).to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&byte);
    if !word.is_empty() && word.iter().copied().all(is_plain) {
        text.into()
    } else if text.as_bytes() == word && !word.contains(&b'\'') {
        format!("'{text}'").into()
    } else {
        format!("$'{}'", text.replace('\'', r"\'")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_for_a_shell() {
        for (word, quotes) in [
            (&b"/usr/bin/x"[..], "/usr/bin/x"),
            (b"", "''"),
            (b"a b", "'a b'"),
            (b"$(id);\"x\"", "'$(id);\"x\"'"),
            ("Grüße".as_bytes(), "'Grüße'"),
            (b"it's", r"$'it\'s'"),
            (b"a\n\\'\xff", r"$'a\n\\\'\xff'"),
        ] {
            assert_eq!(quoted(word), quotes);
        }
    }
}
