//! `top`: what the running daemon does, live.
//!
//! [`model`] decides, [`view`] draws, [`keys`] has the keys; all three are pure. Here is what is not:
//! the terminal, and three threads beside the one that draws. One reads keys, one asks the daemon
//! and may wait for it, one waits for signals; each sends what it has to one channel. So no daemon,
//! however slow, stops a key.

mod details;
mod keys;
mod model;
mod rates;
#[cfg(test)]
pub(super) mod samples;
mod view;

use std::{
    io::{self, IsTerminal},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use ratatui::DefaultTerminal;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    model::{Effect, Message, Model, Question},
    view::Theme,
};
use super::{ask, terminal::Look, values};
use crate::{
    control::{
        client::{Client, PATIENCE},
        words::{Reply, Request},
    },
    errors::{Exit, Fatal, words},
};

/// The daemon is not asked more often.
const SHORTEST: Duration = Duration::from_millis(100);

/// So often the times that run are drawn anew.
const TICK: Duration = Duration::from_millis(250);

/// A live view of the daemon.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "\
In it, ? shows what the keys are for. For scripts there are `status --json`, `tasks --json` and \
`history --json`.")]
pub(crate) struct Top {
    /// Where the daemon listens [default: the usual place]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How often the daemon is asked, 0.1s at the shortest
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "1")]
    interval: Duration,
}

/// Shows what the daemon does until the user has seen enough.
///
/// # Errors
///
/// There is no terminal, or no daemon that could be asked (exit status 69). One that goes away later
/// is waited for.
pub(crate) fn run(top: &Top) -> Result<Exit, Fatal> {
    let otherwise = |error: &str| {
        Fatal::text(error).hint("`pyinotifyd status` tells it once, and with --json for programs")
    };
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(otherwise("top needs a terminal for its keys and for what it shows"));
    }
    let look = Look::new();
    if !look.can_draw() {
        return Err(otherwise("top cannot draw on this terminal: $TERM is not set, or `dumb`"));
    }
    let socket = ask::place(top.socket.as_deref());
    let client = Client::connect(&socket)?;
    let theme = Theme { colours: look.has_colours(true) };
    let (sender, receiver) = channel();
    let (asker, questions) = channel();
    // Signals first: from here on, none leaves the terminal as it is.
    signals(sender.clone())?;
    let mut screen = Screen::enter()?;
    let size = screen.terminal.size().map_err(|error| unusable(&error))?;
    let cwd = std::env::current_dir().unwrap_or_default();
    let interval = top.interval.max(SHORTEST);
    let mut model =
        Model::new(interval, (size.width, size.height), cwd.as_os_str().as_bytes().to_vec());
    keyboard(sender.clone());
    let sender = Ends(sender);
    thread::spawn(move || answer(&socket, client, &questions, &sender.0));
    turn(&mut model, theme, &mut screen, &receiver, &asker).map_err(|error| unusable(&error))?;
    Ok(Exit::Success)
}

/// Draws, waits for what happens, and does what is wanted, until the end is.
fn turn(
    model: &mut Model,
    theme: Theme,
    screen: &mut Screen,
    messages: &Receiver<Message>,
    asker: &Sender<Question>,
) -> io::Result<()> {
    let start = Instant::now();
    model.handle(Duration::ZERO, Message::Tick);
    loop {
        while let Some(effect) = model.poll() {
            match effect {
                // The thread that asks ends with us, and not before.
                Effect::Ask(question) => drop(asker.send(question)),
                Effect::Redraw => screen.terminal.clear()?,
                Effect::Quit => return Ok(()),
            }
        }
        screen.terminal.draw(|frame| view::draw(model, theme, frame))?;
        let message = match messages.recv_timeout(TICK) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => Message::Tick,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        model.handle(start.elapsed(), message);
        // Who holds a key down waits for no drawing.
        while let Ok(message) = messages.try_recv() {
            model.handle(start.elapsed(), message);
        }
    }
}

/// The terminal, as it is needed here. Dropped, it is what it was; a panic sees to that, too, before
/// it is told.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn enter() -> Result<Self, Fatal> {
        // What was done before it failed is undone.
        let undo = |error: io::Error| {
            drop(ratatui::try_restore());
            unusable(&error)
        };
        ratatui::try_init().map(|terminal| Self { terminal }).map_err(undo)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        drop(self.terminal.show_cursor());
        drop(ratatui::try_restore());
    }
}

fn unusable(error: &io::Error) -> Fatal {
    Fatal::text(format!("cannot use the terminal: {}", words(error)))
}

/// A sender of messages whose end ends the program: whichever of the threads is gone, also by a
/// panic, nothing goes on half.
struct Ends(Sender<Message>);

impl Drop for Ends {
    fn drop(&mut self) {
        // Nobody listens to it if all ends anyway.
        drop(self.0.send(Message::End));
    }
}

/// Reads keys until nobody wants them.
fn keyboard(sender: Sender<Message>) {
    let sender = Ends(sender);
    thread::spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if sender.0.send(Message::Terminal(event)).is_err() {
                return;
            }
        }
        drop(sender);
    });
}

/// Ends in order what a signal would end at once. `SIGINT` comes from `kill`, not from a key.
fn signals(sender: Sender<Message>) -> Result<(), Fatal> {
    let failed =
        |error: io::Error| Fatal::text(format!("cannot wait for signals: {}", words(&error)));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [mut terminate, mut interrupt, mut hangup] = {
        let _within = runtime.enter();
        let mut all = Vec::new();
        for kind in kinds {
            all.push(signal(kind).map_err(failed)?);
        }
        <[_; 3]>::try_from(all).expect("there are as many as kinds")
    };
    let sender = Ends(sender);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
                _ = hangup.recv() => (),
            }
        });
        drop(sender);
    });
    Ok(())
}

/// Asks the daemon what is wanted, one question after the other, over one connection.
fn answer(socket: &Path, client: Client, questions: &Receiver<Question>, sender: &Sender<Message>) {
    let mut client = Some(client);
    while let Ok(question) = questions.recv() {
        let requests = match &question {
            Question::Look(requests) => requests.as_slice(),
            Question::Do { request, .. } => std::slice::from_ref(request),
        };
        let replies = replies(&mut client, socket, requests);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if sender.send(Message::Answered { question, replies, wall }).is_err() {
            return;
        }
    }
}

/// After an error the connection is not used again: a late answer would be taken for another's.
fn replies(
    client: &mut Option<Client>,
    socket: &Path,
    requests: &[Request],
) -> Result<Vec<Reply>, Fatal> {
    let mut connection = match client.take() {
        Some(connection) => connection,
        None => Client::connect(socket)?,
    };
    let get = |it: &Request| Ok(connection.get(it, Some(PATIENCE))?.0);
    let replies = requests.iter().map(get).collect::<Result<_, Fatal>>()?;
    *client = Some(connection);
    Ok(replies)
}
