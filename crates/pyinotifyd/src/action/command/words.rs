//! The words of a run: what was configured, with the run's values in their places.
//!
//! In a batch whose paths are arguments, each argument that names `{pathname}` is there once for
//! each task; without one, the paths come last. All other values are those of the first task.

use pyinotifyd_core::{
    plan::{Batch, BatchInput, Exec, Scheduler, Shell},
    task::{Run, RunTask},
    template::{Placeholder, ShellTemplate, Template, Values},
};

use super::{
    errors::{Failure, SH},
    prepare::{Word, Words},
};

/// Of a program and its arguments.
pub(crate) fn exec(exec: &Exec, run: &Run, scheduler: &Scheduler) -> Words {
    Words { argv: argv(&exec.argv, run, scheduler), env: Vec::new(), script: false }
}

/// Of a command line: without the shell if that has nothing to do, else for `/bin/sh`, to which a
/// batch's paths are `"$@"`. Fails where a command line would see only the first of a batch.
pub(crate) fn shell(shell: &Shell, run: &Run, scheduler: &Scheduler) -> Result<Words, Failure> {
    let command = &shell.command;
    for task in &run.tasks {
        command.check(&values(task, scheduler)).map_err(|it| reread(command, it))?;
    }
    if let Some(templates) = command.direct_argv() {
        let argv = argv(templates, run, scheduler);
        return Ok(Words { argv, env: Vec::new(), script: true });
    }
    let first = values(&run.tasks[0], scheduler);
    let script = command.script().as_bytes();
    let mut argv: Vec<_> =
        [SH.to_bytes(), b"-c", script, NAME].map(|word| Word::Once(word.to_vec())).into();
    if is_split(scheduler) {
        if command.variables().any(|(_, it)| it == Placeholder::Pathname) {
            return Err(Failure::Permanent(
                "cannot run a batch: its command line names {pathname}, which is one path; all \
                 of them are \"$@\""
                    .into(),
            ));
        }
        argv.push(paths(run));
    }
    let env = command.variables().map(|(name, it)| (name.into(), it.value(&first))).collect();
    Ok(Words { argv, env, script: false })
}

/// Why a value is not handed to a command.
fn reread(command: &ShellTemplate, placeholder: Placeholder) -> Failure {
    let why = command.reread().map_or("", |it| &it.message);
    let name = placeholder.name();
    Failure::Permanent(format!(
        "not run, because its {{{name}}} is more than letters, digits and `_./+:@-`: {why}"
    ))
}

/// `$0` of a command line, which the shell puts before its messages.
const NAME: &[u8] = b"pyinotifyd";

fn argv(templates: &[Template], run: &Run, scheduler: &Scheduler) -> Vec<Word> {
    let render = |template: &Template, task| template.render(&values(task, scheduler));
    let split = is_split(scheduler);
    // The program is one, whatever its name is made of.
    let mut argv: Vec<Word> = (0..)
        .zip(templates)
        .map(|(at, template)| {
            if split && at > 0 && template.placeholders().any(|it| it == Placeholder::Pathname) {
                Word::Each(run.tasks.iter().map(|task| render(template, task)).collect())
            } else {
                Word::Once(render(template, &run.tasks[0]))
            }
        })
        .collect();
    if split && !argv.iter().any(|word| matches!(word, Word::Each(_))) {
        argv.push(paths(run));
    }
    argv
}

fn paths(run: &Run) -> Word {
    Word::Each(run.tasks.iter().map(|task| task.event.pathname.to_vec()).collect())
}

fn is_split(scheduler: &Scheduler) -> bool {
    matches!(scheduler.batch, Some(Batch { input: BatchInput::Args, .. }))
}

fn values<'a>(task: &'a RunTask, scheduler: &'a Scheduler) -> Values<'a> {
    Values { event: &task.event, task: task.id, scheduler: &scheduler.name }
}

#[cfg(test)]
mod tests {
    use pyinotifyd_core::{plan::Process, template::ShellTemplate};

    use super::{
        super::tests::{World, logged, run_of, scheduler},
        *,
    };

    fn line(text: &str) -> Shell {
        let process = Process::default();
        Shell { command: ShellTemplate::parse(text).unwrap(), process }
    }

    fn shown(words: &Words) -> Vec<String> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let words = words.argv.iter().map(|word| match word {
            Word::Once(value) => text(value),
            Word::Each(values) => values.iter().map(|it| text(it)).collect::<Vec<_>>().join("|"),
        });
        words.collect()
    }

    #[test]
    fn values_are_in_their_places() {
        let run = run_of(1, &[b"/a b", b"/{maskname}"]);
        let one = |words: &[&str], batch| {
            let argv = words.iter().map(|word| Template::parse(word)).collect();
            let command = Exec { argv, process: Process::default() };
            shown(&exec(&command, &run, &scheduler(batch)))
        };
        let words = ["x", "-f={pathname}", "{maskname}"];
        assert_eq!(one(&words, None), ["x", "-f=/a b", "IN_CLOSE_WRITE"]);
        let args = Some(BatchInput::Args);
        assert_eq!(one(&words, args), ["x", "-f=/a b|-f=/{maskname}", "IN_CLOSE_WRITE"]);
        assert_eq!(one(&["x", "y"], args), ["x", "y", "/a b|/{maskname}"]);
        assert_eq!(one(&["x", "y"], Some(BatchInput::Stdin)), ["x", "y"]);
    }

    #[test]
    fn a_batch_never_shrinks_to_its_first_path() {
        let (run, batch) = (run_of(1, &[b"/a", b"/b"]), scheduler(Some(BatchInput::Args)));
        let words = shell(&line("/bin/x {pathname}"), &run, &batch).unwrap();
        assert_eq!((shown(&words), words.script), (vec!["/bin/x".into(), "/a|/b".into()], true));
        assert!(shell(&line("cat {pathname} | x"), &run, &batch).is_err());
        let words = shell(&line("cat \"$@\" | x"), &run, &batch).unwrap();
        assert_eq!(shown(&words)[3..], ["pyinotifyd", "/a|/b"]);
    }

    #[tokio::test]
    async fn a_name_stays_a_name_in_a_command_line() {
        let mut world = World::new();
        let hostile = b"/w/$(id) `id` {src_pathname} '\" \\ \xff ;|&";
        for text in ["printf '<%s>' {pathname} | cat", "/usr/bin/printf %s {pathname}"] {
            let run = run_of(1, &[hostile]);
            let words = shell(&line(text), &run, &scheduler(None)).unwrap();
            world.commands.start(&run, &scheduler(None), &logged(), &words);
            assert!(world.end().await.1.is_done());
            let line = world.lines().concat();
            assert_eq!(line.trim_matches(['<', '>']), hostile.escape_ascii().to_string(), "{text}");
        }
    }
}
