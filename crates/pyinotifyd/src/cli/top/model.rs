//! What `top` knows, and what it wants: messages in, effects out.
//!
//! Nothing here waits, draws or reads a clock. The daemon is looked at once in an interval, and not
//! again before it has answered: one that is slow is not asked more than it can answer. What the
//! user asks for is sent at once, and followed by a look.

use std::{cmp::Ordering, collections::VecDeque, time::Duration};

use crossterm::event::{Event, KeyEvent};
use pyinotifyd_core::path::{OneLine, normalize, shown};

use super::{
    details,
    keys::{self, Act},
    rates::Rates,
};
use crate::{
    cli::ask::show,
    control::words::{
        About, Code, Ended, OfHistory, OfTasks, Reply, Request, SchedulerStatus, Shown, State,
        Status, Task,
    },
    errors::Fatal,
};

/// A look that is not answered for so long, the user is told of.
const SLOW: Duration = Duration::from_millis(1_500);

/// So many failures are asked for. There is no panel that shows more without being scrolled.
const FAILURES: usize = 100;

/// A filter is a path, and no path is longer.
const LONGEST: usize = 4_096;

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// At the terminal.
    Terminal(Event),
    /// The daemon has answered, or it cannot be asked.
    Answered {
        /// What was asked.
        question: Question,
        /// What came, or why nothing did.
        replies: Result<Vec<Reply>, Fatal>,
        /// The time on the wall, as seconds since 1970.
        wall: f64,
    },
    /// Time has passed.
    Tick,
    /// Somebody wants the program to end.
    End,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Ask the daemon.
    Ask(Question),
    /// Draw all of the screen, also what has not changed.
    Redraw,
    /// End.
    Quit,
}

/// What the daemon is asked, and to what end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Question {
    /// How everything is.
    Look(Vec<Request>),
    /// Something that the user wants.
    Do {
        /// What.
        request: Request,
        /// To what, for people.
        about: String,
    },
}

/// Whether the daemon can be asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Link {
    /// It has not answered yet.
    Connecting,
    /// It answers.
    Up,
    /// It does not, and why.
    Gone(String),
}

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    /// The schedulers.
    Schedulers,
    /// The tasks that run or wait.
    Tasks,
    /// The last tasks that failed.
    Failures,
}

impl Panel {
    /// All of them, from the top.
    pub(super) const ALL: [Self; 3] = [Self::Schedulers, Self::Tasks, Self::Failures];
}

/// What is selected in a panel: a line, and what stands there, which is followed as others come and
/// go. Until the user has moved, it is the first line, whatever that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// From 0. Below the number of lines, or 0.
    pub(super) line: usize,
    key: Option<String>,
}

/// What is being done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mode {
    /// Looking around.
    Browse,
    /// Reading all about something.
    Details {
        /// What, as it was last told.
        item: Item,
        /// So many lines are above the first that is seen.
        scroll: usize,
        /// Whether the daemon tells of it no more.
        gone: bool,
    },
    /// Reading what the keys are for.
    Help {
        /// As above.
        scroll: usize,
    },
    /// Writing a filter.
    Filter {
        /// As far as it is written.
        text: String,
    },
    /// Being asked whether a task that runs is to be ended.
    Confirm {
        /// The task's id.
        task: String,
        /// The task, for people.
        about: String,
    },
}

/// Something that all can be shown about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A scheduler.
    Scheduler(SchedulerStatus),
    /// A task that runs or waits.
    Task(Task),
    /// A task that failed.
    Failure(Ended),
}

/// What the user is told at the bottom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// What was done.
    Done(String),
    /// What was not, and why.
    Failed(String),
}

/// What `top` knows.
#[derive(Debug)]
pub(super) struct Model {
    /// The time.
    pub(super) now: Duration,
    /// Whether the daemon can be asked.
    pub(super) link: Link,
    /// How the daemon was at the last look; none before there was one.
    pub(super) status: Option<Status>,
    /// The tasks: those that run, the longest first, then the others, the next first.
    pub(super) tasks: Vec<Task>,
    /// How many there are that the filter lets through, of which `tasks` may be the first only.
    pub(super) tasks_of: usize,
    /// The tasks that failed, the last first.
    pub(super) failures: Vec<Ended>,
    /// What happens in a second.
    pub(super) rates: Rates,
    /// The panel that keys are for.
    pub(super) focus: Panel,
    /// What is being done.
    pub(super) mode: Mode,
    /// What the user is told.
    pub(super) note: Option<Note>,
    /// Only what is below this path is shown.
    pub(super) filter: Option<Vec<u8>>,
    cursors: [Cursor; 3],
    /// Of the terminal, in columns and lines.
    size: (u16, u16),
    /// When the last look was answered, by our clock and by the one on the wall.
    seen_at: (Duration, f64),
    interval: Duration,
    next_look: Duration,
    /// Since when a look waits for its answer.
    looking_since: Option<Duration>,
    cwd: Vec<u8>,
    effects: VecDeque<Effect>,
}

impl Model {
    /// Knows nothing yet. A filter that is no absolute path is taken from `cwd`.
    pub(super) fn new(interval: Duration, size: (u16, u16), cwd: Vec<u8>) -> Self {
        Self {
            now: Duration::ZERO,
            link: Link::Connecting,
            status: None,
            tasks: Vec::new(),
            tasks_of: 0,
            failures: Vec::new(),
            rates: Rates::default(),
            focus: Panel::Tasks,
            mode: Mode::Browse,
            note: None,
            filter: None,
            cursors: Default::default(),
            size,
            seen_at: (Duration::ZERO, 0.0),
            interval,
            next_look: Duration::ZERO,
            looking_since: None,
            cwd,
            effects: VecDeque::new(),
        }
    }

    /// Takes in what happens.
    pub(super) fn handle(&mut self, now: Duration, message: Message) {
        self.now = now;
        match message {
            Message::Terminal(Event::Key(key)) => self.handle_key(&key),
            Message::Terminal(Event::Resize(width, height)) => self.size = (width, height),
            Message::Terminal(_) | Message::Tick => (),
            Message::Answered { question, replies, wall } => {
                self.handle_answer(&question, replies, wall);
            }
            Message::End => self.effects.push_back(Effect::Quit),
        }
        if self.looking_since.is_none() && now >= self.next_look {
            self.look();
        }
        self.clamp_scroll();
    }

    /// What is wanted next.
    pub(super) fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// For how long the daemon has not answered, if that is worth a word.
    pub(super) fn slow_for(&self) -> Option<Duration> {
        let waits = self.now.saturating_sub(self.looking_since?);
        (waits >= SLOW).then_some(waits)
    }

    /// How old is what is known, in seconds. What runs while the daemon is asked runs on; of a daemon
    /// that has gone, nothing is known to.
    pub(super) fn age(&self) -> f64 {
        match self.link {
            Link::Up => self.now.saturating_sub(self.seen_at.0).as_secs_f64(),
            Link::Connecting | Link::Gone(_) => 0.0,
        }
    }

    /// The time on the wall, in seconds since 1970.
    pub(super) fn wall(&self) -> f64 {
        self.seen_at.1 + self.now.saturating_sub(self.seen_at.0).as_secs_f64()
    }

    /// What is selected in a panel: the number of a line.
    pub(super) fn cursor(&self, panel: Panel) -> usize {
        self.cursors[panel as usize].line
    }

    fn look(&mut self) {
        self.looking_since = Some(self.now);
        self.next_look = self.now + self.interval;
        let path = self.filter.as_deref().map(Shown::new);
        // What is seen, and as much again below it.
        let limit = self.cursor(Panel::Tasks) + 2 * usize::from(self.size.1);
        let about = |limit| About { path: path.clone(), limit: Some(limit), scheduler: None };
        let tasks = OfTasks { about: about(limit), state: None };
        let failures = OfHistory { about: about(FAILURES), failed: true, since: None };
        let requests = vec![Request::Status, Request::Tasks(tasks), Request::History(failures)];
        self.effects.push_back(Effect::Ask(Question::Look(requests)));
    }

    fn handle_answer(
        &mut self,
        question: &Question,
        replies: Result<Vec<Reply>, Fatal>,
        wall: f64,
    ) {
        if let Question::Look(_) = question {
            self.looking_since = None;
        }
        let replies = match replies {
            Ok(replies) => replies,
            Err(error) => {
                self.link = Link::Gone(error.message.clone());
                if let Question::Do { about, .. } = question {
                    self.fail(&format!("{about}: {}", error.message));
                }
                return self.rates.handle_gone();
            }
        };
        self.link = Link::Up;
        for reply in replies {
            match (question, reply) {
                (Question::Look(_), Reply::Status(status)) => {
                    self.rates.handle_status(&status);
                    self.seen_at = (self.now, wall);
                    self.status = Some(*status);
                }
                (Question::Look(_), Reply::Tasks(tasks)) => {
                    self.tasks = tasks.tasks;
                    self.tasks_of = tasks.of;
                    self.tasks.sort_by(sooner);
                }
                (Question::Look(_), Reply::History(failures)) => {
                    self.failures = failures.tasks;
                    self.failures.reverse();
                }
                (Question::Do { about, .. }, Reply::Done(done)) => {
                    self.note = Some(Note::Done(said(about, &done.message)));
                    self.next_look = self.now;
                }
                (Question::Do { about, .. }, Reply::Refused(refused)) => {
                    // The daemon's hint is about the command line.
                    let hint = match refused.code {
                        Code::TaskRuns => "; c again, to end it",
                        _ => "",
                    };
                    self.fail(&format!("{about}: {}{hint}", refused.message));
                    self.next_look = self.now;
                }
                (Question::Look(_), Reply::Refused(refused)) => self.fail(&refused.message),
                (_, _) => self.fail("the daemon has answered something else than was asked"),
            }
        }
        self.follow();
    }

    /// Lets what is selected and what is read follow what is known now.
    fn follow(&mut self) {
        for panel in Panel::ALL {
            let keys = self.keys(panel);
            let cursor = &self.cursors[panel as usize];
            let found = cursor.key.as_ref().and_then(|key| keys.iter().position(|it| it == key));
            let line = found.unwrap_or(cursor.line).min(keys.len().saturating_sub(1));
            let key = cursor.key.is_some().then(|| keys.get(line).map(|it| (*it).to_owned()));
            self.cursors[panel as usize] = Cursor { line, key: key.flatten() };
        }
        if let Mode::Details { item, gone, .. } = &mut self.mode {
            let new = match &*item {
                Item::Scheduler(old) => {
                    let all = self.status.iter().flat_map(|it| &it.schedulers);
                    all.into_iter().find(|it| it.name == old.name).cloned().map(Item::Scheduler)
                }
                Item::Task(old) => {
                    self.tasks.iter().find(|it| it.task == old.task).cloned().map(Item::Task)
                }
                Item::Failure(old) => {
                    let same = |it: &&Ended| it.task == old.task;
                    self.failures.iter().find(same).cloned().map(Item::Failure)
                }
            };
            *gone = new.is_none();
            if let Some(new) = new {
                *item = new;
            }
        }
    }

    /// By what the lines of a panel are known again.
    fn keys(&self, panel: Panel) -> Vec<&str> {
        match panel {
            Panel::Schedulers => self.schedulers().iter().map(|it| it.name.as_str()).collect(),
            Panel::Tasks => self.tasks.iter().map(|it| it.task.as_str()).collect(),
            Panel::Failures => self.failures.iter().map(|it| it.task.as_str()).collect(),
        }
    }

    /// The schedulers.
    pub(super) fn schedulers(&self) -> &[SchedulerStatus] {
        self.status.as_ref().map_or(&[], |it| &it.schedulers)
    }

    /// What is selected in the panel that keys are for.
    fn selected(&self) -> Option<Item> {
        let line = self.cursor(self.focus);
        match self.focus {
            Panel::Schedulers => self.schedulers().get(line).cloned().map(Item::Scheduler),
            Panel::Tasks => self.tasks.get(line).cloned().map(Item::Task),
            Panel::Failures => self.failures.get(line).cloned().map(Item::Failure),
        }
    }

    fn handle_key(&mut self, key: &KeyEvent) {
        let Some(act) = keys::act(key, &self.mode) else { return };
        match act {
            Act::Quit => self.effects.push_back(Effect::Quit),
            Act::Redraw => self.effects.push_back(Effect::Redraw),
            act => match std::mem::replace(&mut self.mode, Mode::Browse) {
                Mode::Browse => self.browse(act),
                Mode::Details { item, scroll, gone } => {
                    if act != Act::Leave {
                        self.mode = Mode::Details { item, scroll: moved(scroll, act), gone };
                    }
                }
                Mode::Help { scroll } => {
                    if act != Act::Leave {
                        self.mode = Mode::Help { scroll: moved(scroll, act) };
                    }
                }
                Mode::Filter { text } => self.write(text, act),
                Mode::Confirm { task, about } => {
                    if act == Act::Accept {
                        self.request(Request::Cancel { task, stop: true }, about);
                    }
                }
            },
        }
    }

    fn browse(&mut self, act: Act) {
        self.note = None;
        match act {
            Act::Move(_) | Act::First | Act::Last => self.go(act),
            Act::NextPanel => self.focus_on(1),
            Act::PreviousPanel => self.focus_on(Panel::ALL.len() - 1),
            Act::Pause => match self.selected() {
                Some(Item::Scheduler(SchedulerStatus { name, paused, .. })) => {
                    let (about, scheduler) = (shown(name.as_bytes()).to_string(), Some(name));
                    self.request(pause(paused, scheduler), about);
                }
                _ => self.fail("Tab goes to the schedulers, of which p pauses one; P pauses all"),
            },
            Act::PauseAll => {
                let all_paused = self.schedulers().iter().all(|it| it.paused);
                self.request(pause(all_paused, None), "all schedulers".into());
            }
            Act::Cancel => match self.selected() {
                Some(Item::Task(task)) => {
                    let (about, Task { task, state, .. }) = (about(&task), task);
                    match state {
                        State::Running => self.mode = Mode::Confirm { task, about },
                        State::Waiting | State::Held | State::Ready => {
                            self.request(Request::Cancel { task, stop: false }, about);
                        }
                    }
                }
                _ => self.fail("Tab goes to the tasks, of which c cancels one"),
            },
            Act::RunNow => match self.selected() {
                Some(Item::Task(task)) => {
                    let about = about(&task);
                    self.request(Request::RunNow { task: task.task }, about);
                }
                _ => self.fail("Tab goes to the tasks, of which r runs one now"),
            },
            Act::Retry => match self.selected() {
                Some(Item::Failure(ended)) => {
                    let about = show::path(&ended.path);
                    self.request(Request::Retry { task: ended.task }, about);
                }
                _ => self.fail("Tab goes to the failures, of which R runs one again"),
            },
            Act::Details => {
                if let Some(item) = self.selected() {
                    self.mode = Mode::Details { item, scroll: 0, gone: false };
                }
            }
            Act::Help => self.mode = Mode::Help { scroll: 0 },
            Act::Filter => {
                let text = self.filter.as_deref().map(String::from_utf8_lossy);
                self.mode = Mode::Filter { text: text.unwrap_or_default().into_owned() };
            }
            Act::Quit
            | Act::Redraw
            | Act::Leave
            | Act::Accept
            | Act::Letter(_)
            | Act::Erase
            | Act::EraseAll => (),
        }
    }

    fn write(&mut self, mut text: String, act: Act) {
        match act {
            Act::Letter(it) if it.is_control() || text.len() >= LONGEST => (),
            Act::Letter(it) => text.push(it),
            Act::Erase => drop(text.pop()),
            Act::EraseAll => text.clear(),
            Act::Leave => return,
            Act::Accept => {
                let path = normalize(&self.cwd, text.as_bytes());
                self.filter = (!text.is_empty() && path != b"/").then_some(path);
                self.cursors = Default::default();
                self.next_look = self.now;
                return;
            }
            _ => (),
        }
        self.mode = Mode::Filter { text };
    }

    fn go(&mut self, act: Act) {
        let keys = self.keys(self.focus);
        let line = moved(self.cursor(self.focus), act).min(keys.len().saturating_sub(1));
        let key = keys.get(line).map(|it| (*it).to_owned());
        self.cursors[self.focus as usize] = Cursor { line, key };
    }

    /// Leaves a panel for the one that many panels on. What was selected there is the user's no more.
    fn focus_on(&mut self, steps: usize) {
        self.cursors[self.focus as usize] = Cursor::default();
        self.focus = Panel::ALL[(self.focus as usize + steps) % Panel::ALL.len()];
    }

    fn request(&mut self, request: Request, about: String) {
        self.effects.push_back(Effect::Ask(Question::Do { request, about }));
    }

    fn fail(&mut self, message: &str) {
        self.note = Some(Note::Failed(OneLine(message).to_string()));
    }

    /// So that the way back from the end is no longer than the text.
    fn clamp_scroll(&mut self) {
        let most = details::longest_scroll(self, self.size);
        if let Mode::Details { scroll, .. } | Mode::Help { scroll } = &mut self.mode {
            *scroll = (*scroll).min(most);
        }
    }
}

/// What has run longest comes first, then what comes next.
fn sooner(one: &Task, other: &Task) -> Ordering {
    let rank = |it: &Task| match it.state {
        State::Running => 0,
        State::Ready => 1,
        State::Held => 2,
        State::Waiting => 3,
    };
    let time = |it: &Task| it.due_in.unwrap_or_else(|| -it.running_for.unwrap_or_default());
    rank(one).cmp(&rank(other)).then_with(|| time(one).total_cmp(&time(other)))
}

fn moved(line: usize, act: Act) -> usize {
    match act {
        Act::Move(lines) => line.saturating_add_signed(lines),
        Act::First => 0,
        Act::Last => usize::MAX,
        _ => line,
    }
}

fn pause(is_paused: bool, scheduler: Option<String>) -> Request {
    if is_paused { Request::Resume { scheduler } } else { Request::Pause { scheduler } }
}

/// A task, for people.
fn about(task: &Task) -> String {
    format!("{} {}", show::short(&task.task), show::path(&task.path))
}

/// What was done to what. Of a scheduler, the daemon names it itself.
fn said(about: &str, message: &str) -> String {
    let message = OneLine(message).to_string();
    if message.starts_with(about) { message } else { format!("{about}: {message}") }
}

#[cfg(test)]
mod tests;
