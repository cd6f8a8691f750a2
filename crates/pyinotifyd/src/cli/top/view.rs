//! The screen, as a function of what is known.
//!
//! Every text that comes from a file's name or from a task has been through `core::path`, so that
//! nothing here can move the cursor or turn the direction of writing. What does not fit is cut by
//! the columns that it takes, and told by `…`.

mod facts;
mod grid;

use pyinotifyd_core::path::{OneLine, shown};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Position, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Sparkline},
};

use self::grid::{Cell, Column, Cut};
use super::{
    details::{self, cells, head, tail},
    model::{Link, Mode, Model, Note, Panel},
};
use crate::{
    cli::ask::show,
    control::words::{Ended, SchedulerStatus, State, Task},
};

/// From this height on there is room for all panels at once.
const ALL_PANELS: u16 = 18;

/// How things look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Whether there are colours. Nothing is told by a colour alone.
    pub(super) colours: bool,
}

impl Theme {
    /// What is not read as long as all is well.
    fn label(self) -> Style {
        self.coloured(Color::DarkGray).add_modifier(if self.colours {
            Modifier::empty()
        } else {
            Modifier::DIM
        })
    }

    /// What goes well.
    fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// What is to be looked at.
    fn warning(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// What somebody has to act upon.
    fn bad(self) -> Style {
        self.coloured(Color::LightRed).add_modifier(Modifier::BOLD)
    }

    /// What keys are for now.
    fn focus(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

/// Draws everything.
pub(super) fn draw(model: &Model, theme: Theme, frame: &mut Frame<'_>) {
    let screen = frame.area();
    let facts = facts::all(model, theme);
    // The head leaves the most of a small screen to what one came for.
    let most = if screen.height < ALL_PANELS { 1 } else { screen.height / 6 };
    let facts_height = facts::height(&facts, screen.width).min(most);
    let rates_height = match screen.height {
        0..ALL_PANELS => 1,
        ALL_PANELS..30 => 2,
        30.. => 4,
    };
    let [title, facts_area, rates, panels, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(facts_height),
        Constraint::Length(rates_height),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(screen);
    draw_title(model, theme, frame, title);
    facts::draw(&facts, theme, frame.buffer_mut(), facts_area);
    draw_rates(model, theme, frame, rates);
    draw_panels(model, theme, frame, panels);
    draw_bottom(model, theme, frame, bottom);
    draw_page(model, theme, frame, screen);
}

/// The daemon, and whether it answers.
fn draw_title(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let mut spans = vec![Span::styled(" pyinotifyd ", Modifier::BOLD)];
    if let Some(status) = &model.status {
        spans.push(Span::raw(format!("{} ", shown(status.version.as_bytes()))));
    }
    match (&model.link, model.slow_for()) {
        (Link::Connecting, _) => spans.push(Span::styled(" connecting … ", theme.warning())),
        (Link::Gone(_), _) => spans.push(Span::styled(" does not answer ", theme.bad())),
        (Link::Up, Some(slow)) => {
            let slow =
                format!(" has not answered for {} ", show::human(slow.as_secs_f64().trunc()));
            spans.push(Span::styled(slow, theme.bad()));
        }
        (Link::Up, None) => {
            if let Some(status) = &model.status {
                let life = show::life(status.life);
                let uptime = show::human((status.uptime + model.age()).trunc());
                spans.push(Span::styled(format!(" {life}"), theme.good()));
                spans.push(Span::raw(format!(" for {uptime}")));
                spans.push(Span::styled(format!("  pid {}", status.pid), theme.label()));
            }
        }
    }
    frame.render_widget(Line::from(spans), area);
}

/// What happens in a second.
fn draw_rates(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let rates = &model.rates;
    let number = |it: Option<u64>| it.map_or_else(|| "-".into(), thousands);
    let (events, done) = (number(rates.now()), thousands(rates.done));
    let failed = thousands(rates.failed);
    let left = Line::from(vec![
        Span::styled(" events/s ", theme.label()),
        Span::styled(format!("{events:>9} "), Modifier::BOLD),
    ]);
    let failing = if rates.failed > 0 { theme.bad() } else { Style::new() };
    let right = Line::from(vec![
        Span::styled("  done/s ", theme.label()),
        Span::raw(format!("{done:>7}")),
        Span::styled("  failed/s ", theme.label()),
        Span::styled(format!("{failed:>6} "), failing),
    ]);
    let wide = |line: &Line<'_>| u16::try_from(line.width()).unwrap_or(u16::MAX);
    let right_width = if area.width < 72 { 0 } else { wide(&right) };
    let [left_area, middle, right_area] = Layout::horizontal([
        Constraint::Length(wide(&left)),
        Constraint::Fill(1),
        Constraint::Length(right_width),
    ])
    .areas(area);
    // The newest is at the right, and the line stands on the same ground as the numbers.
    let points = rates.events.iter().rev().take(middle.width.into()).copied();
    let points: Vec<Option<u64>> = points.collect();
    let sparkline = Sparkline::default()
        .direction(ratatui::widgets::RenderDirection::RightToLeft)
        .absent_value_symbol(" ")
        .style(theme.coloured(Color::Cyan))
        .data(points);
    frame.render_widget(sparkline, middle);
    let last_line = |area: Rect| area.rows().next_back().unwrap_or(area);
    frame.render_widget(left, last_line(left_area));
    frame.render_widget(right, last_line(right_area));
}

/// The three lists, or on a small screen the one that keys are for.
fn draw_panels(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let draw = |frame: &mut Frame<'_>, panel, area| match panel {
        Panel::Schedulers => draw_schedulers(model, theme, frame, area),
        Panel::Tasks => draw_tasks(model, theme, frame, area),
        Panel::Failures => draw_failures(model, theme, frame, area),
    };
    if frame.area().height < ALL_PANELS {
        return draw(frame, model.focus, area);
    }
    // A title and a head, and the tasks get what the others do not need.
    let lines = |count: usize, most: u16| u16::try_from(count).unwrap_or(most).min(most) + 2;
    let shares = [
        lines(model.schedulers().len().max(1), (area.height / 4).max(1)),
        0,
        lines(model.failures.len().max(1), (area.height / 4).max(1)),
    ];
    let areas: [Rect; 3] = Layout::vertical(Panel::ALL.map(|panel| match panel {
        Panel::Tasks => Constraint::Fill(1),
        panel => Constraint::Length(shares[panel as usize]),
    }))
    .areas(area);
    for (panel, area) in Panel::ALL.into_iter().zip(areas) {
        draw(frame, panel, area);
    }
}

fn draw_schedulers(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let columns = [
        Column::text("SCHEDULER").at_most(32),
        Column::text("STATE").rank(1),
        Column::number("WAITING"),
        Column::number("READY").rank(2),
        Column::number("RUNNING"),
        Column::number("DONE").rank(1),
        Column::number("FAILED"),
        Column::number("CANCELLED").rank(4),
        Column::number("STOPPED").rank(5),
        Column::number("RETRIED").rank(3),
    ];
    let row = |it: &SchedulerStatus| {
        let name = shown(it.name.as_bytes()).to_string();
        // Where there is no room for the state, the name tells.
        let (state, style) = match it.paused {
            true => ("paused", theme.warning()),
            false if it.tasks.running > 0 => ("runs", theme.good()),
            false => ("", Style::new()),
        };
        let failed = if it.failed > 0 { theme.bad() } else { Style::new() };
        vec![
            Cell::styled(name, if it.paused { theme.warning() } else { Style::new() }),
            Cell::styled(state, style),
            Cell::new(it.tasks.waiting.to_string()),
            Cell::new(it.tasks.ready.to_string()),
            Cell::new(it.tasks.running.to_string()),
            Cell::new(it.done.to_string()),
            Cell::styled(it.failed.to_string(), failed),
            Cell::new(it.cancelled.to_string()),
            Cell::new(it.stopped.to_string()),
            Cell::new(it.retried.to_string()),
        ]
    };
    let all = model.schedulers();
    let title = all.len().to_string();
    draw_list(model, theme, frame, area, Panel::Schedulers, &title, &columns, all, row);
}

fn draw_tasks(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let columns = [
        Column::text("STATE"),
        Column::text("TIME").at_least(9),
        Column::text("TASK").rank(4),
        Column::text("SCHEDULER").at_most(20).rank(2),
        Column::number("TRY").rank(5),
        Column::text("EVENT").at_most(16).rank(3),
        Column::text("PATH").cut(Cut::Head).fills(),
    ];
    let row = |it: &Task| {
        let (state, time) = details::state(it, model.age());
        let style = match it.state {
            State::Running => theme.good(),
            State::Ready => theme.coloured(Color::Cyan),
            State::Held => theme.warning(),
            State::Waiting => Style::new(),
        };
        let scheduler = it.scheduler.as_ref().map(|it| shown(it.as_bytes()).to_string());
        vec![
            Cell::styled(state, style),
            Cell::new(time),
            Cell::styled(show::short(&it.task), theme.label()),
            Cell::new(scheduler.unwrap_or_else(|| "-".into())),
            Cell::new(it.attempt.to_string()),
            Cell::new(shown(it.event.trim_start_matches("IN_").as_bytes()).to_string()),
            Cell::new(show::path(&it.path)),
        ]
    };
    let title = match (model.tasks.len(), model.tasks_of) {
        (all, of) if all < of => format!("{all} of {}", thousands(of as u64)),
        (_, of) => of.to_string(),
    };
    draw_list(model, theme, frame, area, Panel::Tasks, &title, &columns, &model.tasks, row);
}

fn draw_failures(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let columns = [
        Column::text("AGO").at_least(6),
        Column::text("TASK").rank(5),
        Column::text("SCHEDULER").at_most(20).rank(2),
        Column::text("TOOK").rank(4),
        Column::number("TRY").rank(3),
        Column::text("PATH").cut(Cut::Head).fills().rank(1),
        Column::text("OUTCOME").fills(),
    ];
    let row = |it: &Ended| {
        vec![
            Cell::new(show::human((model.wall() - it.at).max(0.0).trunc())),
            Cell::styled(show::short(&it.task), theme.label()),
            Cell::new(shown(it.scheduler.as_bytes()).to_string()),
            Cell::new(show::human(it.took)),
            Cell::new(it.attempt.to_string()),
            Cell::new(show::path(&it.path)),
            Cell::styled(OneLine(&it.outcome).to_string(), theme.bad()),
        ]
    };
    let title = match model.failures.len() {
        0 => "none".to_owned(),
        some => format!("the last {some}"),
    };
    draw_list(model, theme, frame, area, Panel::Failures, &title, &columns, &model.failures, row);
}

/// A panel: its title on a rule, and below it the lines around what is selected.
#[expect(clippy::too_many_arguments, reason = "a list is all of this, and drawn in three places")]
fn draw_list<T>(
    model: &Model,
    theme: Theme,
    frame: &mut Frame<'_>,
    area: Rect,
    panel: Panel,
    title: &str,
    columns: &[Column],
    all: &[T],
    row: impl Fn(&T) -> Vec<Cell>,
) {
    let is_focus = model.focus == panel;
    let [rule, list] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let name = match panel {
        Panel::Schedulers => "schedulers",
        Panel::Tasks => "tasks",
        Panel::Failures => "failures",
    };
    let filter = match (panel, &model.filter) {
        (Panel::Tasks | Panel::Failures, Some(path)) => format!(" below {}", shown(path)),
        (Panel::Tasks | Panel::Failures, None) | (Panel::Schedulers, _) => String::new(),
    };
    let style = if is_focus { theme.focus() } else { theme.label() };
    let (mark, dash) = if is_focus { ("▶", "━") } else { ("─", "─") };
    let head = format!("{mark} {name} ");
    let said = details::head(
        &format!("{title}{filter} "),
        usize::from(rule.width).saturating_sub(cells(&head)),
    );
    let rest = usize::from(rule.width).saturating_sub(cells(&head) + cells(&said));
    let line =
        vec![Span::styled(head, style), Span::raw(said), Span::styled(dash.repeat(rest), style)];
    frame.render_widget(Line::from(line), rule);
    let height = usize::from(list.height.saturating_sub(1));
    let selected = model.cursor(panel);
    let first = selected.saturating_sub(height / 2).min(all.len().saturating_sub(height));
    let rows: Vec<Vec<Cell>> = all.iter().skip(first).take(height).map(row).collect();
    let selected = is_focus.then(|| selected - first);
    grid::draw(frame.buffer_mut(), list, columns, &rows, selected, theme.label());
}

/// What the user is asked or told, and else what the keys are for.
fn draw_bottom(model: &Model, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let width = usize::from(area.width);
    let styled = |text: &str, style: Style| Line::styled(head(text, width), style);
    let line = match (&model.mode, &model.note, &model.link) {
        (Mode::Filter { text }, _, _) => {
            let prompt = " only below: ";
            let room = width.saturating_sub(cells(prompt) + 1);
            let text = tail(&shown(text.as_bytes()).to_string(), room);
            let column = u16::try_from(cells(prompt) + cells(&text)).unwrap_or(area.width);
            let x = area.x + column.min(area.width.saturating_sub(1));
            frame.set_cursor_position(Position::new(x, area.y));
            Line::from(vec![Span::styled(prompt, theme.focus()), Span::raw(text)])
        }
        (Mode::Confirm { about, .. }, _, _) => {
            let question = " it runs: end it, by SIGTERM? y/N  ";
            let about = tail(about, width.saturating_sub(cells(question)));
            Line::from(vec![Span::styled(question, theme.bad()), Span::raw(about)])
        }
        (_, _, Link::Gone(error)) => {
            styled(&format!(" {}; trying again", OneLine(error)), theme.bad())
        }
        (_, Some(Note::Failed(text)), _) => styled(&format!(" {text}"), theme.bad()),
        (_, Some(Note::Done(text)), _) => styled(&format!(" {text}"), theme.good()),
        (_, None, Link::Connecting | Link::Up) => keys_line(model, theme, width),
    };
    frame.render_widget(line, area);
}

/// The keys that are of use here, as many as there is room for.
fn keys_line(model: &Model, theme: Theme, width: usize) -> Line<'static> {
    let here: &[(&str, &str)] = match (&model.mode, model.focus) {
        (Mode::Details { .. } | Mode::Help { .. }, _) => &[("q", "back"), ("j k", "scroll")],
        (_, Panel::Schedulers) => &[("p", "pause"), ("P", "pause all")],
        (_, Panel::Tasks) => &[("c", "cancel"), ("r", "run now"), ("P", "pause all")],
        (_, Panel::Failures) => &[("R", "retry"), ("P", "pause all")],
    };
    let always: &[(&str, &str)] = match model.mode {
        Mode::Details { .. } | Mode::Help { .. } => &[],
        Mode::Browse | Mode::Filter { .. } | Mode::Confirm { .. } => {
            &[("?", "help"), ("q", "quit"), ("Tab", "panel"), ("/", "filter"), ("Enter", "details")]
        }
    };
    let (mut spans, mut used) = (vec![Span::raw(" ")], 1);
    for (key, what) in here.iter().chain(always) {
        let (key, what) = (format!("{key} "), format!("{what}  "));
        used += cells(&key) + cells(&what);
        if used > width {
            break;
        }
        spans.push(Span::styled(key, theme.focus()));
        spans.push(Span::styled(what, theme.label()));
    }
    Line::from(spans)
}

/// What is read in front of everything else.
fn draw_page(model: &Model, theme: Theme, frame: &mut Frame<'_>, screen: Rect) {
    let (Some(page), Mode::Details { scroll, .. } | Mode::Help { scroll }) =
        (details::page(model), &model.mode)
    else {
        return;
    };
    let (outer, inner) = details::areas(screen, &page);
    let title = Span::styled(format!(" {} ", page.title), theme.focus());
    frame.render_widget(Clear, outer);
    frame.render_widget(Block::bordered().border_style(theme.focus()).title(title), outer);
    let lines = page.lines(inner.width);
    let seen = lines.into_iter().skip(*scroll).take(inner.height.into());
    for ((label, value), row) in seen.zip(inner.rows()) {
        let line = vec![Span::styled(label, theme.label()), Span::raw(value)];
        frame.render_widget(Line::from(line), row);
    }
}

/// A number as people read it: `12,345`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
