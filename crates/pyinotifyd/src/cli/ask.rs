//! The commands that ask the running daemon: `status`, `tasks`, `cancel` and the others.
//!
//! What is answered is shown as text, or with `--json` as the daemon has sent it.

pub(super) mod show;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use pyinotifyd_core::path::normalize;

use super::{terminal, values};
use crate::{
    control::{
        Places,
        client::{Client, PATIENCE, other_answer},
        words::{self, OfHistory, OfTasks, Refused, Reply, Request, Shown, State},
    },
    errors::{Exit, Fatal},
    json,
};

/// A question to the running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Where it listens; `None`: the usual place.
    pub(crate) socket: Option<PathBuf>,
    /// Whether the answer is for programs.
    pub(crate) json: bool,
    /// What is asked, one after the other.
    pub(crate) requests: Vec<Request>,
    /// How long the answer may take; `None`: as long as it likes.
    pub(crate) patience: Option<Duration>,
}

/// The questions, as they are written.
#[derive(Debug, Subcommand)]
pub(super) enum Line {
    /// Show how the running daemon is
    Status(To),
    /// List the tasks that wait or run
    Tasks {
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        which: About,
        /// Only those in this state
        #[arg(long, value_enum)]
        state: Option<State>,
    },
    /// List the tasks that have ended, as far as the daemon remembers them
    #[command(after_help = "\
The last 1,000 are remembered, and the last 1,000 that failed.")]
    History {
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        which: About,
        /// Only those that ended within this time: 30m, 2h
        #[arg(long, value_name = "TIME", value_parser = values::duration)]
        since: Option<Duration>,
        /// Only those that failed
        #[arg(long)]
        failed: bool,
    },
    /// Give up tasks that wait
    Cancel {
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        tasks: Named,
        /// End them if they run: SIGTERM, and SIGKILL once `kill_after` is over
        #[arg(long)]
        stop: bool,
    },
    /// Start tasks that wait before their time
    RunNow {
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        tasks: Named,
    },
    /// Run again what ended tasks were for
    Retry {
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        tasks: Named,
    },
    /// Let nothing start for now; events are taken as always
    #[command(after_help = "\
It holds until `resume`, over reloads, and not over the end of the daemon. What runs goes on.")]
    Pause {
        #[command(flatten)]
        to: To,
        /// Of this scheduler only
        scheduler: Option<String>,
    },
    /// Let what was paused go on
    Resume {
        #[command(flatten)]
        to: To,
        /// This scheduler only
        scheduler: Option<String>,
    },
    /// Have the daemon read its configuration anew, and tell whether it is good
    Reload(To),
    /// Wait until everything that has happened by now has been handled
    Sync {
        #[command(flatten)]
        to: To,
        /// And until each task that there is by then has ended
        #[arg(long)]
        tasks: bool,
        /// Give up after this time [default: never]
        #[arg(long, value_name = "TIME", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Show what the daemon does from now on, whatever the levels of its log
    Tail(To),
    /// Print the metrics in the text form of Prometheus
    Metrics(To),
}

/// Whom to ask.
#[derive(Args, Debug)]
pub(super) struct To {
    /// Where the daemon listens [default: the usual place]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The answer as JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// Tasks to list.
#[derive(Args, Debug)]
pub(super) struct About {
    /// Only those of this scheduler
    #[arg(long, value_name = "NAME")]
    scheduler: Option<String>,
    /// Only those about this path, or about what is below it
    #[arg(long)]
    path: Option<PathBuf>,
    /// So many at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Tasks by their names.
#[derive(Args, Debug)]
pub(super) struct Named {
    /// The id, or as much of its beginning as no other has
    #[arg(required = true, value_name = "TASK")]
    tasks: Vec<String>,
}

impl Line {
    pub(super) fn lower(self) -> Ask {
        let each = |tasks: Named, request: &dyn Fn(String) -> Request| {
            tasks.tasks.into_iter().map(request).collect()
        };
        match self {
            Self::Status(to) => to.ask(Request::Status),
            Self::Tasks { to, which, state } => {
                to.ask(Request::Tasks(OfTasks { about: which.lower(), state }))
            }
            Self::History { to, which, since, failed } => {
                let since = since.map(|it| {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    now.saturating_sub(it).as_secs_f64()
                });
                to.ask(Request::History(OfHistory { about: which.lower(), since, failed }))
            }
            Self::Cancel { to, tasks, stop } => {
                to.ask_each(each(tasks, &|task| Request::Cancel { task, stop }))
            }
            Self::RunNow { to, tasks } => {
                to.ask_each(each(tasks, &|task| Request::RunNow { task }))
            }
            Self::Retry { to, tasks } => to.ask_each(each(tasks, &|task| Request::Retry { task })),
            Self::Pause { to, scheduler } => to.ask(Request::Pause { scheduler }),
            Self::Resume { to, scheduler } => to.ask(Request::Resume { scheduler }),
            // A config.py may take its time.
            Self::Reload(to) => Ask { patience: None, ..to.ask(Request::Reload) },
            Self::Sync { to, tasks, timeout } => {
                // Of no time at all the system makes an endless one.
                let timeout = timeout.map(|it| it.max(Duration::from_millis(1)));
                Ask { patience: timeout, ..to.ask(Request::Sync { tasks }) }
            }
            Self::Tail(to) => Ask { patience: None, ..to.ask(Request::Tail) },
            Self::Metrics(to) => to.ask(Request::Metrics),
        }
    }
}

impl To {
    fn ask(self, request: Request) -> Ask {
        self.ask_each(vec![request])
    }

    fn ask_each(self, requests: Vec<Request>) -> Ask {
        let Self { socket, json } = self;
        Ask { socket, json, requests, patience: Some(PATIENCE) }
    }
}

impl About {
    fn lower(self) -> words::About {
        let Self { scheduler, path, limit } = self;
        let path = path.map(|it| {
            let cwd = std::env::current_dir().unwrap_or_default();
            let bytes = |it: &Path| std::os::unix::ffi::OsStrExt::as_bytes(it.as_os_str()).to_vec();
            Shown::new(&normalize(&bytes(&cwd), &bytes(&it)))
        });
        words::About { scheduler, path, limit }
    }
}

/// Asks, and shows what is answered.
///
/// # Errors
///
/// No daemon listens (exit status 69), or it cannot be asked. What it refuses is shown, and the exit
/// status is 1.
pub(crate) fn run(ask: &Ask) -> Result<Exit, Fatal> {
    let mut client = connect(ask.socket.as_deref())?;
    let mut exit = Exit::Success;
    for request in &ask.requests {
        if let Request::Tail = request {
            client.ask(request, ask.patience)?;
            while let Some((reply, line)) = client.next()? {
                let is_read = match reply {
                    // People did not ask for it.
                    Reply::Status(_) if !ask.json => true,
                    // Nothing comes after that.
                    Reply::Refused(refused) => {
                        return if ask.json {
                            terminal::print(&line).map(|_| Exit::Failure)
                        } else {
                            Err(fatal(refused))
                        };
                    }
                    _ if ask.json => terminal::is_read(&line)?,
                    reply => terminal::is_read(&show::reply(&reply))?,
                };
                if !is_read {
                    return Ok(Exit::Success);
                }
            }
            return Err(Fatal::text("the daemon has ended"));
        }
        let (reply, line) = client.get(request, ask.patience)?;
        match reply {
            Reply::Refused(refused) if !ask.json => {
                // Of several tasks, the others are still to be seen to.
                eprintln!("{}", fatal(refused));
                exit = Exit::Failure;
            }
            reply => {
                if let Reply::Refused(_) = reply {
                    exit = Exit::Failure;
                }
                print(ask, reply, &line)?;
            }
        }
    }
    Ok(exit)
}

/// Asks for a text, or with `json` for a line of JSON, and prints it.
///
/// # Errors
///
/// As for [`run`], and what is refused is one.
pub(super) fn text(socket: Option<&Path>, request: &Request, json: bool) -> Result<Exit, Fatal> {
    match connect(socket)?.get(request, Some(PATIENCE))?.0 {
        Reply::Text(it) if json => terminal::print(&json::tame(&it.text)),
        Reply::Text(it) => terminal::print(&show::text(&it.text)),
        Reply::Refused(refused) => Err(fatal(refused)),
        _ => Err(other_answer()),
    }
}

fn connect(socket: Option<&Path>) -> Result<Client, Fatal> {
    Client::connect(&place(socket))
}

/// Where the daemon listens, if it is not said.
pub(super) fn place(socket: Option<&Path>) -> PathBuf {
    let usual = || Places::new().of_client(Path::exists);
    socket.map_or_else(usual, Path::to_owned)
}

fn print(ask: &Ask, reply: Reply, line: &str) -> Result<Exit, Fatal> {
    match reply {
        Reply::Refused(refused) if !ask.json => Err(fatal(refused)),
        _ if ask.json => terminal::print(line),
        reply => terminal::print(&show::reply(&reply)),
    }
}

fn fatal(refused: Refused) -> Fatal {
    let Refused { message, hint, .. } = refused;
    Fatal { hint, ..Fatal::text(message) }
}
