//! The head: how the daemon is, in as many columns as there is room for.

use pyinotifyd_core::{count::Count, path::OneLine};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{Theme, thousands};
use crate::{
    cli::{
        ask::show,
        top::{
            details::{cells, head, tail},
            model::Model,
        },
    },
    control::words::PythonStatus,
};

/// A column is so wide at least.
const WIDE: u16 = 38;

/// A backlog that is as old, in seconds, the daemon does not keep up with.
const LAGS: f64 = 1.0;

/// A column of labels.
const LABEL: usize = "overflows ".len();

/// Something about the daemon.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    label: &'static str,
    value: String,
    style: Style,
    /// Whether somebody has to know: it comes first.
    alarms: bool,
}

/// All there is to tell, what alarms first.
pub(super) fn all(model: &Model, theme: Theme) -> Vec<Fact> {
    let Some(it) = &model.status else { return Vec::new() };
    let mut facts = Vec::new();
    let mut add = |label, value: String, style: Option<Style>| {
        let alarms = style.is_some();
        facts.push(Fact { label, value, style: style.unwrap_or_default(), alarms });
    };
    let alarm = |alarms: bool, style: Style| alarms.then_some(style);
    let unseen = match it.unwatched {
        0 => String::new(),
        some => format!(", {} not", thousands(some as u64)),
    };
    let directories =
        format!("{}{unseen}", many(it.directories as u64, "directory", "directories"));
    add("watched", directories, alarm(it.unwatched > 0, theme.bad()));
    let backlog = match it.backlog {
        0 => "none".to_owned(),
        some => {
            format!("{} KiB, {} old", thousands(some.div_ceil(1024) as u64), show::human(it.lag))
        }
    };
    add("backlog", backlog, alarm(it.lag > LAGS, theme.warning()));
    let overflows = match it.overflows {
        0 => "none".to_owned(),
        some => many(some, "time", "times"),
    };
    add("overflows", overflows, alarm(it.overflows > 0, theme.warning()));
    let [running, ready, waiting] =
        [it.tasks.running, it.tasks.ready, it.tasks.waiting].map(|count| thousands(count as u64));
    let tasks = format!("{running}/{} run, {ready} ready, {waiting} wait", it.slots);
    add("tasks", tasks, None);
    if let Some(python) = &it.python {
        let style = if python.silent.is_some() { theme.bad() } else { theme.warning() };
        let alarms = python.silent.is_some() || python.pid.is_none() || python.restarts > 0;
        add("python", self::python(python, model.age()), alarm(alarms, style));
    }
    if let Some(store) = &it.store {
        let value = match &store.error {
            None => show::path(&store.path),
            Some(error) => format!("cannot write: {error}"),
        };
        add("store", value, alarm(store.error.is_some(), theme.bad()));
    }
    if let Some(config) = &it.config {
        add("config", show::path(config), None);
    }
    facts.sort_by_key(|it| !it.alarms);
    facts
}

/// What matters most comes first: there may be no room for the rest.
fn python(it: &PythonStatus, age: f64) -> String {
    let mut parts = Vec::new();
    if let Some(silent) = it.silent {
        parts.push(format!("no answer for {}", show::human((silent + age).trunc())));
    }
    match it.pid {
        Some(pid) => parts.extend([many(it.running as u64, "task", "tasks"), format!("pid {pid}")]),
        None => parts.push("is being started".to_owned()),
    }
    if it.restarts > 0 {
        parts.insert(parts.len() - 1, many(it.restarts, "restart", "restarts"));
    }
    parts.join(", ")
}

fn many(count: u64, one: &'static str, many: &'static str) -> String {
    format!("{} {}", thousands(count), Count(count, one, many).word())
}

/// So many lines are needed.
pub(super) fn height(facts: &[Fact], width: u16) -> u16 {
    u16::try_from(facts.len().div_ceil(columns(width))).unwrap_or(u16::MAX)
}

/// Draws as many as there is room for.
pub(super) fn draw(facts: &[Fact], theme: Theme, buffer: &mut Buffer, area: Rect) {
    let columns = columns(area.width);
    let wide = area.width / u16::try_from(columns).unwrap_or(1);
    for (at, fact) in facts.iter().enumerate() {
        let (line, column) = (at / columns, at % columns);
        let (Ok(line), Ok(column)) = (u16::try_from(line), u16::try_from(column)) else { return };
        if line >= area.height {
            return;
        }
        let (x, y) = (area.x + column * wide + 1, area.y + line);
        let room = usize::from(wide).saturating_sub(LABEL + 2);
        buffer.set_stringn(x, y, fact.label, usize::from(wide.saturating_sub(1)), theme.label());
        let value = OneLine(&fact.value).to_string();
        // Of a path, the end tells more.
        let value = if value.starts_with('/') && cells(&value) > room && !fact.alarms {
            tail(&value, room)
        } else {
            head(&value, room)
        };
        let at = x.saturating_add(u16::try_from(LABEL).unwrap_or(0));
        if room > 0 {
            buffer.set_stringn(at, y, value, room, fact.style);
        }
    }
}

fn columns(width: u16) -> usize {
    usize::from(width / WIDE).clamp(1, 3)
}
