//! All about one thing, as a text of labelled values that is as wide as there is room.

use pyinotifyd_core::{
    count::Count,
    path::{OneLine, shown},
};
use ratatui::{
    layout::{Margin, Rect},
    style::Style,
    text::Span,
};

use super::{
    keys,
    model::{Item, Mode, Model},
};
use crate::{
    cli::ask::show,
    control::words::{Ended, How, SchedulerStatus, State, Task},
};

/// What is shown in front of everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// What it is about.
    pub(super) title: String,
    /// What is what.
    rows: Vec<(String, String)>,
}

/// The page to show; none while the user looks around.
pub(super) fn page(model: &Model) -> Option<Page> {
    match &model.mode {
        Mode::Browse | Mode::Filter { .. } | Mode::Confirm { .. } => None,
        Mode::Help { .. } => Some(Page {
            title: "keys".into(),
            rows: keys::HELP.map(|(key, what)| (key.to_owned(), what.to_owned())).to_vec(),
        }),
        Mode::Details { item, gone, .. } => {
            let age = if *gone { 0.0 } else { model.age() };
            let (title, rows) = match item {
                Item::Scheduler(it) => ("scheduler", scheduler(it)),
                Item::Task(it) => ("task", task(it, age)),
                Item::Failure(it) => ("failure", failure(it)),
            };
            let gone = match (item, gone) {
                (_, false) => "",
                (Item::Scheduler(_), true) => ", not configured any more",
                (Item::Task(_), true) => ", not among those shown any more",
                (Item::Failure(_), true) => ", not remembered any more",
            };
            Some(Page { title: format!("{title}{gone}"), rows })
        }
    }
}

/// Where the page stands, and what of that the text may use. The last line of the screen is free.
pub(super) fn areas(screen: Rect, page: &Page) -> (Rect, Rect) {
    let screen = Rect { height: screen.height.saturating_sub(1), ..screen };
    let width = screen.width.saturating_sub(4).min(96).max(screen.width.min(36));
    let frame = screen.centered_horizontally(width.into());
    let margin = u16::from(screen.height >= 12);
    let rows = page.lines(frame.width.saturating_sub(4)).len();
    let height = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2);
    let height = height.min(screen.height.saturating_sub(2 * margin));
    let frame = frame.centered_vertically(height.into());
    (frame, frame.inner(Margin::new(2, 1)))
}

/// How far the page can be scrolled on a screen of this size.
pub(super) fn longest_scroll(model: &Model, (width, height): (u16, u16)) -> usize {
    let Some(page) = page(model) else { return 0 };
    let (_, text) = areas(Rect::new(0, 0, width, height), &page);
    page.lines(text.width).len().saturating_sub(text.height.into())
}

impl Page {
    /// The lines of a text so wide: label and what stands beside it.
    pub(super) fn lines(&self, width: u16) -> Vec<(String, String)> {
        let width = usize::from(width);
        let labels = self.rows.iter().map(|(label, _)| cells(label)).max().unwrap_or(0);
        // Where there is no room for two columns, values stand below their labels.
        let beside = width >= labels + 2 + 16;
        let room = if beside { width - labels - 2 } else { width.saturating_sub(2) };
        let mut lines = Vec::new();
        for (label, value) in &self.rows {
            let mut label = format!("{label:labels$}  ");
            if !beside {
                lines.push((std::mem::replace(&mut label, "  ".into()), String::new()));
            }
            for piece in wrapped(value, room) {
                let next = " ".repeat(cells(&label));
                lines.push((std::mem::replace(&mut label, next), piece));
            }
        }
        lines
    }
}

/// How many columns of a terminal a text takes.
pub(super) fn cells(text: &str) -> usize {
    Span::raw(text).width()
}

/// A text in pieces of so many columns at most: cut behind a space, or anywhere where that would leave
/// much room, as in a path.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut pieces, mut piece, mut used) = (Vec::new(), String::new(), 0);
    for it in Span::raw(text).styled_graphemes(Style::new()) {
        let wide = cells(it.symbol);
        if used + wide > width && used > 0 {
            let space = piece.rfind(' ').map(|at| at + 1);
            let behind = space.filter(|at| it.symbol != " " && cells(&piece[..*at]) > width / 2);
            let rest = piece.split_off(behind.unwrap_or(piece.len()));
            used = cells(&rest);
            pieces.push(std::mem::replace(&mut piece, rest));
        }
        piece.push_str(it.symbol);
        used += wide;
    }
    pieces.push(piece);
    pieces
}

/// Of the end of a text, as much as so many columns hold.
pub(super) fn tail(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let span = Span::raw(text);
    let all: Vec<&str> = span.styled_graphemes(Style::new()).map(|it| it.symbol).collect();
    let (mut from, mut used) = (all.len(), 1);
    while from > 0 && used + cells(all[from - 1]) <= width {
        from -= 1;
        used += cells(all[from]);
    }
    match width {
        0 => String::new(),
        _ => format!("…{}", all[from..].concat()),
    }
}

/// Of the beginning of a text, as much as so many columns hold.
pub(super) fn head(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    match width {
        0 => String::new(),
        1 => "…".to_owned(),
        _ => {
            let span = Span::raw(text);
            let mut used = 0;
            let fits = |symbol: &&str| {
                used += cells(symbol);
                used < width
            };
            let all = span.styled_graphemes(Style::new()).map(|it| it.symbol);
            format!("{}…", all.take_while(fits).collect::<String>())
        }
    }
}

fn scheduler(it: &SchedulerStatus) -> Vec<(String, String)> {
    let SchedulerStatus {
        name,
        paused,
        tasks,
        scheduled,
        done,
        failed,
        cancelled,
        stopped,
        retried,
    } = it;
    let starts = if *paused { "paused: nothing of it starts" } else { "as events come" };
    rows([
        ("scheduler", shown(name.as_bytes()).to_string()),
        ("starts", starts.to_owned()),
        ("waiting", format!("{}, for their time or another run of their path", tasks.waiting)),
        ("ready", format!("{}, for a slot", tasks.ready)),
        ("running", tasks.running.to_string()),
        ("scheduled", format!("{scheduled} since the daemon's start")),
        ("done", done.to_string()),
        ("failed", format!("{failed}, not tried again")),
        ("cancelled", format!("{cancelled}, before the start")),
        ("stopped", format!("{stopped}, before the end")),
        ("retried", format!("{} that failed", Count(*retried, "attempt", "attempts"))),
    ])
}

fn task(it: &Task, age: f64) -> Vec<(String, String)> {
    let Task { task, scheduler, state: _, path, event, attempt, due_in: _, running_for: _ } = it;
    let (state, time) = state(it, age);
    let scheduler = scheduler.as_ref().map(|it| shown(it.as_bytes()).to_string());
    rows([
        ("task", task.clone()),
        ("state", format!("{state} {time}").trim_end().to_owned()),
        ("scheduler", scheduler.unwrap_or_else(|| "not configured any more".into())),
        ("attempt", attempt.to_string()),
        ("event", OneLine(event).to_string()),
        ("path", show::path(path)),
    ])
}

/// Where a task stands, and for how long, if it was told `age` seconds ago. Whole seconds: more would
/// be restless.
pub(super) fn state(it: &Task, age: f64) -> (&'static str, String) {
    let (state, time) = show::state(it);
    let now = |seconds: f64| match it.state {
        State::Waiting => (seconds - age).max(0.0).ceil(),
        State::Held | State::Ready | State::Running => (seconds + age).trunc(),
    };
    let time = time.map(|(word, seconds)| format!("{word} {}", show::human(now(seconds))));
    (state, time.unwrap_or_default())
}

fn failure(it: &Ended) -> Vec<(String, String)> {
    let Ended { task, scheduler, path, event, attempt, how, outcome, at, took } = it;
    let how = match how {
        How::Done => "done: ",
        How::Failed => "failed: ",
        How::Stopped => "",
    };
    rows([
        ("task", task.clone()),
        ("scheduler", shown(scheduler.as_bytes()).to_string()),
        ("ended", show::at(*at)),
        ("took", show::human(*took)),
        ("attempts", attempt.to_string()),
        ("event", OneLine(event).to_string()),
        ("path", show::path(path)),
        ("outcome", format!("{how}{}", OneLine(outcome))),
    ])
}

fn rows<const N: usize>(rows: [(&str, String); N]) -> Vec<(String, String)> {
    rows.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
}
