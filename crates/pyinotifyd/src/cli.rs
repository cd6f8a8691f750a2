//! The command line: what was written, as a [`Command`].
//!
//! Without a sub-command the flags are the original's and run the daemon. What the words mean in
//! terms of a plan is decided by those who carry the commands out; which file is read when none is
//! named, by [`config_file`].

pub(crate) mod adhoc;
pub(crate) mod ask;
pub(crate) mod check;
pub(crate) mod config_file;
pub(crate) mod convert;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod install;
pub(crate) mod pages;
pub(crate) mod schema;
pub(crate) mod terminal;
pub(crate) mod top;
mod values;

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use pyinotifyd_core::{event::EventType, plan::Busy};

use self::{
    install::{Install, Way},
    pages::Shell,
};
use crate::config::settings::Loopback;

/// What the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The daemon.
    Run(Run),
    /// `check` and `--configtest`.
    Check(Check),
    /// A task without a configuration.
    Watch(Watch),
    /// A live stream of events.
    Events(Events),
    /// What would be done about an event.
    Explain(Explain),
    /// A config.py as config.toml.
    Convert(Convert),
    /// A question to the running daemon.
    Ask(ask::Ask),
    /// What the running daemon does, live.
    Top(top::Top),
    /// `--install` and `--uninstall`.
    Install(Install),
    /// `--list`: the event types.
    List,
    /// `--version`.
    Version,
    /// What makes a shell complete command lines.
    Completions(Shell),
    /// The JSON schema of config.toml.
    Schema,
    /// The manual pages, into a folder.
    Manual(PathBuf),
    /// The second half of starting a command, see `action`; not for people.
    Exec(Vec<OsString>),
}

/// How to run the daemon.
#[expect(clippy::struct_field_names, reason = "a dry run is called so")]
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// The configuration [default: /etc/pyinotifyd/config.py, else config.toml there]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Log at level debug
    #[arg(short, long)]
    pub debug: bool,
    /// Watch, wait and log as usual, but run nothing and change no file
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// The python3 that runs a config.py [default: that of the environment]
    #[arg(long, value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
    /// Where tasks and what was seen are kept over a restart [default: as the configuration says]
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// Where it can be asked things, as by `status` [default: as the configuration says]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where metrics are served, such as 127.0.0.1:9469 [default: as the configuration says]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<Loopback>,
}

/// How to check a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Which one; `None`: the default.
    pub file: Option<PathBuf>,
    /// Which Python runs a config.py; `None`: the usual.
    pub python: Option<PathBuf>,
    /// Whether warnings are mistakes.
    pub strict: bool,
    /// How mistakes are shown.
    pub format: CheckFormat,
    /// How success is told, and which exit status means mistakes.
    pub manner: CheckManner,
}

/// How mistakes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// For people, with the line and a caret.
    #[default]
    Text,
    /// An object a line, for editors and pipelines.
    Json,
}

/// How `check` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckManner {
    /// As the original's `-t`: `config file ok`, or exit status 1.
    Configtest,
    /// As a linter: exit status 78.
    Check,
}

/// A task without a configuration.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "\
Examples:
  Show each file that is ready in /tmp/inbox
    pyinotifyd watch /tmp/inbox -- echo {pathname}

  Build once nothing has changed for two seconds
    pyinotifyd watch src --on MODIFY,CREATE,DELETE,MOVED_TO --delay 2s -- make

  See what would run, and run nothing
    pyinotifyd watch /srv/in -n -- scan {pathname}

In the command stand {pathname}, {src_pathname}, {maskname}, {dirname}, {basename}, {task_id} and \
{scheduler}. No shell reads it: a file name is always one argument, whatever is in it.

A command that names none of {pathname}, {src_pathname}, {dirname} and {basename} runs once for \
all paths, not once for each.")]
#[expect(clippy::struct_excessive_bools, reason = "they are flags, and any of them may be given")]
pub(crate) struct Watch {
    /// What to watch
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Run the command for these events
    #[arg(
        long, value_name = "EVENT", value_delimiter = ',', value_parser = values::EventName, hide_possible_values = true,
        default_values_t = [EventType::CloseWrite, EventType::MovedTo],
    )]
    pub on: Vec<EventType>,
    /// Wait so long after the last event: 2, 0.5s, 5m
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0", allow_negative_numbers = true)]
    pub delay: Duration,
    /// Give up a task that waits when one of these events comes
    #[arg(long, value_name = "EVENT", value_delimiter = ',', value_parser = values::EventName, hide_possible_values = true)]
    pub cancel_on: Vec<EventType>,
    /// Leave out paths that begin with a match of this regex, and what is below them
    #[arg(long, value_name = "REGEX")]
    pub exclude: Vec<String>,
    /// Watch PATH itself only, without the directories below
    #[arg(long)]
    pub no_rec: bool,
    /// Run the command for directories, too
    #[arg(long)]
    pub dirs: bool,
    /// What an event does while the command runs for that path
    #[arg(long, value_name = "WHAT", value_parser = values::busy(), default_value = "again")]
    pub busy: Busy,
    /// How many commands run at once [default: 4 for each CPU]
    #[arg(long, value_name = "N")]
    pub slots: Option<NonZeroUsize>,
    /// Log what would run, and run nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Log at level debug
    #[arg(short, long)]
    pub debug: bool,
    /// The program to run and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A live stream of events.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "\
Examples:
  Everything that happens below /tmp/inbox
    pyinotifyd events /tmp/inbox

  The names of finished files, for a program
    pyinotifyd events /srv/in --on CLOSE_WRITE,MOVED_TO --json | jq -r .pathname")]
pub(crate) struct Events {
    /// What to watch
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Show these events only [default: all]
    #[arg(long, value_name = "EVENT", value_delimiter = ',', value_parser = values::EventName, hide_possible_values = true)]
    pub on: Vec<EventType>,
    /// An object a line
    #[arg(long)]
    pub json: bool,
    /// Leave out paths that begin with a match of this regex, and what is below them
    #[arg(long, value_name = "REGEX")]
    pub exclude: Vec<String>,
    /// Watch PATH itself only, without the directories below
    #[arg(long)]
    pub no_rec: bool,
}

/// A question to a configuration.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "\
Example:
  Why is nothing done about this file?
    pyinotifyd explain /srv/in/report.pdf --on CLOSE_WRITE")]
pub(crate) struct Explain {
    /// The path that the event is about; nothing need be there
    pub path: PathBuf,
    /// What happens to it
    #[arg(long, value_name = "EVENT", value_parser = values::EventName, hide_possible_values = true)]
    pub on: EventType,
    /// The configuration [default: /etc/pyinotifyd/config.py, else config.toml there]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// The python3 that runs a config.py [default: that of the environment]
    #[arg(long, value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
    /// Ask the running daemon, whose configuration may be another than the file
    #[arg(long, conflicts_with_all = ["config", "python"])]
    pub running: bool,
    /// Where that listens [default: the usual place]
    #[arg(long, value_name = "PATH", requires = "running")]
    pub socket: Option<PathBuf>,
}

/// A config.py to convert.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "\
What needs Python is left out. It is told in comments, and on standard error.

Example:
  See how a configuration would look, and whether it is complete
    pyinotifyd convert /etc/pyinotifyd/config.py > config.toml")]
pub(crate) struct Convert {
    /// The config.py
    pub file: PathBuf,
    /// The python3 that runs it [default: that of the environment]
    #[arg(long, value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
}

/// Understands a command line. The error is shown, and its exit status given, by itself: help that
/// was asked for is one with status 0.
///
/// # Errors
///
/// Usage (status 2), or help was asked for (status 0).
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    Line::try_parse_from(args).map(Line::lower)
}

/// Watch file system events and run tasks.
///
/// Without a command, run the daemon.
#[derive(Debug, Parser)]
#[command(
    name = "pyinotifyd",
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    infer_long_args = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  Run the daemon with the default configuration
    pyinotifyd

  Try a task, without a configuration
    pyinotifyd watch /tmp/inbox -- echo {pathname}

Events are named with or without IN_, in any case. `pyinotifyd --list` lists them."
)]
struct Line {
    #[command(flatten)]
    original: Original,
    #[command(subcommand)]
    sub: Option<Sub>,
}

/// The original's flags.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags, and any of them may be given")]
struct Original {
    /// The configuration [default: /etc/pyinotifyd/config.py, else config.toml there]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log at level debug
    #[arg(short, long)]
    debug: bool,
    /// List the event types, one a line
    #[arg(short, long)]
    list: bool,
    /// Show the version
    #[arg(short, long)]
    version: bool,
    /// Check the configuration; exit status 1 if it has mistakes
    #[arg(short = 't', long)]
    configtest: bool,
    /// Install the service, and a configuration to begin with
    #[arg(short, long, conflicts_with = "uninstall", group = "service")]
    install: bool,
    /// Uninstall them, but for what was changed
    #[arg(short, long, group = "service")]
    uninstall: bool,
    /// Change nothing: show what would be run, or the steps of --install and --uninstall
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Install into the system below, or uninstall from there
    #[arg(long, value_name = "DIRECTORY", requires = "service")]
    root: Option<PathBuf>,
    /// The python3 that runs a config.py [default: that of the environment]
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Where tasks and what was seen are kept over a restart [default: as the configuration says]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
    /// Where it can be asked things, as by `status` [default: as the configuration says]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where metrics are served, such as 127.0.0.1:9469 [default: as the configuration says]
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<Loopback>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Run the daemon
    Run(Run),
    /// Show all mistakes of a configuration; exit status 78 if it has any
    Check {
        /// The configuration [default: /etc/pyinotifyd/config.py, else config.toml there]
        file: Option<PathBuf>,
        /// Take warnings for mistakes
        #[arg(long)]
        strict: bool,
        /// For people or for programs
        #[arg(long, value_enum, default_value_t)]
        format: CheckFormat,
        /// The python3 that runs a config.py [default: that of the environment]
        #[arg(long, value_name = "PROGRAM")]
        python: Option<PathBuf>,
    },
    /// Run a command for events, without a configuration
    Watch(Watch),
    /// Show events as they happen
    Events(Events),
    /// Tell what would be done about an event, and why
    Explain(Explain),
    /// Print the config.toml that means what a config.py does
    Convert(Convert),
    /// Show live what the running daemon does
    Top(top::Top),
    #[command(flatten)]
    Ask(ask::Line),
    /// Print what makes a shell complete command lines
    Completions {
        /// Which one
        shell: Shell,
    },
    /// Print the JSON schema of config.toml
    #[command(hide = true)]
    Schema,
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Manual { directory: PathBuf },
    /// Start a command as another user; started by the daemon itself
    #[command(name = "__exec", hide = true, disable_help_flag = true)]
    Exec {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

impl Line {
    /// The original asks for the version first, then for the list, then for the check.
    fn lower(self) -> Command {
        let Original {
            config,
            debug,
            list,
            version,
            configtest,
            install,
            uninstall,
            dry_run,
            root,
            python,
            state_dir,
            socket,
            metrics_listen,
        } = self.original;
        let service = |way, root| Command::Install(Install { way, dry_run, root });
        match self.sub {
            None if version => Command::Version,
            None if list => Command::List,
            None if install => service(Way::Install, root),
            None if uninstall => service(Way::Uninstall, root),
            None if configtest => Command::Check(Check {
                file: config,
                python,
                strict: false,
                format: CheckFormat::Text,
                manner: CheckManner::Configtest,
            }),
            None => {
                let run = Run { config, debug, dry_run, python, state_dir, socket, metrics_listen };
                Command::Run(run)
            }
            Some(Sub::Run(run)) => Command::Run(run),
            Some(Sub::Check { file, strict, format, python }) => {
                Command::Check(Check { file, python, strict, format, manner: CheckManner::Check })
            }
            Some(Sub::Watch(watch)) => Command::Watch(watch),
            Some(Sub::Events(events)) => Command::Events(events),
            Some(Sub::Explain(explain)) => Command::Explain(explain),
            Some(Sub::Convert(convert)) => Command::Convert(convert),
            Some(Sub::Top(top)) => Command::Top(top),
            Some(Sub::Ask(line)) => Command::Ask(line.lower()),
            Some(Sub::Completions { shell }) => Command::Completions(shell),
            Some(Sub::Schema) => Command::Schema,
            Some(Sub::Manual { directory }) => Command::Manual(directory),
            Some(Sub::Exec { args }) => Command::Exec(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parsed(line: &str) -> Command {
        parse(words(line)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refused(line: &str) -> String {
        let error = parse(words(line)).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    fn words(line: &str) -> impl Iterator<Item = OsString> {
        std::iter::once("pyinotifyd").chain(line.split_whitespace()).map(OsString::from)
    }

    #[test]
    fn the_definition_holds_together() {
        Line::command().debug_assert();
    }

    #[test]
    fn the_originals_flags_are_understood() {
        let run = |config: Option<&str>, debug| {
            Command::Run(Run { config: config.map(PathBuf::from), debug, ..Run::default() })
        };
        assert_eq!(parsed(""), run(None, false));
        assert_eq!(parsed("-c /x.py -d"), run(Some("/x.py"), true));
        assert_eq!(parsed("--config=/x.py --debug"), run(Some("/x.py"), true));
        assert_eq!(parsed("-l"), Command::List);
        assert_eq!(parsed("--list"), Command::List);
        assert_eq!(parsed("-v"), Command::Version);
        assert_eq!(parsed("--version -c x"), Command::Version);
        let Command::Check(check) = parsed("-d -t -c /x.py") else { panic!("not a check") };
        assert_eq!(check.manner, CheckManner::Configtest);
        assert_eq!(check.file, Some("/x.py".into()));
    }

    #[test]
    fn a_service_is_installed_here_or_below_another_root() {
        let install = |way, dry_run, root: Option<&str>| {
            Command::Install(Install { way, dry_run, root: root.map(PathBuf::from) })
        };
        assert_eq!(parsed("-i"), install(Way::Install, false, None));
        assert_eq!(parsed("--uninstall -n"), install(Way::Uninstall, true, None));
        assert_eq!(parsed("-i --root /x"), install(Way::Install, false, Some("/x")));
        let Command::Run(run) = parsed("--dry-run") else { panic!("not a run") };
        assert!(run.dry_run);
    }

    #[test]
    fn watch_takes_a_command_as_it_is() {
        let Command::Watch(watch) = parsed(
            "watch a b --on close_write,IN_DELETE --on Create --delay 1.5 --cancel-on move_self \
             --exclude x --exclude y --no-rec --dirs --busy restart --slots 3 -n -- cmd -x --on {pathname}",
        ) else {
            panic!("not a watch")
        };
        assert_eq!(
            watch,
            Watch {
                paths: vec!["a".into(), "b".into()],
                on: vec![EventType::CloseWrite, EventType::Delete, EventType::Create],
                delay: Duration::from_millis(1500),
                cancel_on: vec![EventType::MoveSelf],
                exclude: vec!["x".into(), "y".into()],
                no_rec: true,
                dirs: true,
                busy: Busy::Restart,
                slots: NonZeroUsize::new(3),
                dry_run: true,
                debug: false,
                command: ["cmd", "-x", "--on", "{pathname}"].map(OsString::from).to_vec(),
            }
        );
    }

    #[test]
    fn watch_is_about_finished_files_unless_told() {
        let Command::Watch(watch) = parsed("watch a -- cmd") else { panic!("not a watch") };
        assert_eq!(watch.on, [EventType::CloseWrite, EventType::MovedTo]);
        assert_eq!((watch.delay, watch.busy, watch.slots), (Duration::ZERO, Busy::Again, None));
    }

    #[test]
    fn arguments_that_are_not_text_are_kept() {
        use std::os::unix::ffi::OsStringExt;
        let path = OsString::from_vec(b"/in/\xff".to_vec());
        let args = ["pyinotifyd".into(), "events".into(), path.clone()];
        let Ok(Command::Events(events)) = parse(args) else { panic!("not events") };
        assert_eq!(events.paths, [PathBuf::from(path)]);
    }

    #[test]
    fn exec_takes_everything() {
        let args = Command::Exec(["-x", "--help", "--", "y"].map(OsString::from).to_vec());
        assert_eq!(parsed("__exec -x --help -- y"), args);
    }

    #[test]
    fn usage_errors_say_what_was_meant() {
        let lines = [
            "watch a",
            "watch -- cmd",
            "watch a --on IN_WRITE_CLOSE -- cmd",
            "watch a --on nonsense -- cmd",
            "watch a --delay -1 -- cmd",
            "watch a --delay soon -- cmd",
            "watch a --busy later -- cmd",
            "watch a --slots 0 -- cmd",
            "explain /a",
            "-c x check",
            "--root /x",
            "-i -u",
            "wacth a -- cmd",
            "--nonsense",
        ];
        let page: Vec<String> =
            lines.iter().map(|it| format!("$ pyinotifyd {it}\n{}", refused(it))).collect();
        insta::assert_snapshot!("usage", page.join("\n"));
    }

    #[test]
    fn help_is_what_the_reference_shows() {
        let definition = Line::command();
        let commands = definition.get_subcommands().filter(|it| !it.is_hide_set());
        let commands = commands.map(|it| format!("{} -h", it.get_name()));
        let lines: Vec<String> = std::iter::once("-h".to_owned()).chain(commands).collect();
        let page: Vec<String> = lines
            .iter()
            .map(|line| {
                let mut definition = Line::command().term_width(100);
                let error = definition.try_get_matches_from_mut(words(line)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DisplayHelp);
                format!("$ pyinotifyd {line}\n{error}")
            })
            .collect();
        insta::assert_snapshot!("help", page.join("\n"));
    }
}
