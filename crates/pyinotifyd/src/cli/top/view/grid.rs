//! A table whose columns fit their texts, and of which the least important are left out where there
//! is no room.

use std::borrow::Cow;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};

use crate::cli::top::details::{cells, head, tail};

/// Between two columns.
const GAP: usize = 2;

/// What is left of a column that takes what the others leave, at least.
const LEAST: usize = 14;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    /// The higher, the sooner it is left out; 0: never.
    rank: u8,
    is_number: bool,
    cut: Cut,
    least: usize,
    most: usize,
    /// Whether it takes what the others leave.
    fills: bool,
}

/// Which end of a text is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The beginning: what is told by a path is at its end.
    Head,
    /// The end.
    Tail,
}

/// What stands in a column.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: Cow<'static, str>,
    style: Style,
}

impl Column {
    /// Of texts.
    pub(super) fn text(title: &'static str) -> Self {
        let (least, most) = (cells(title), usize::MAX);
        Self { title, rank: 0, is_number: false, cut: Cut::Tail, least, most, fills: false }
    }

    /// Of numbers.
    pub(super) fn number(title: &'static str) -> Self {
        Self { is_number: true, ..Self::text(title) }
    }

    /// Left out sooner than those of a lower rank.
    pub(super) fn rank(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// So wide at least, so that it does not change all the time.
    pub(super) fn at_least(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// So wide at most.
    pub(super) fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Without this end of what does not fit.
    pub(super) fn cut(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }

    /// As wide as there is room.
    pub(super) fn fills(self) -> Self {
        Self { fills: true, ..self }
    }
}

impl Cell {
    /// A text.
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self::styled(text, Style::new())
    }

    /// A text that looks like something.
    pub(super) fn styled(text: impl Into<Cow<'static, str>>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// Draws the head and the rows.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Column],
    rows: &[Vec<Cell>],
    selected: Option<usize>,
    head_style: Style,
) {
    let widths = widths(columns, rows, usize::from(area.width).saturating_sub(2));
    let mut lines = area.rows();
    let Some(line) = lines.next() else { return };
    let titles: Vec<Cell> = columns.iter().map(|it| Cell::styled(it.title, head_style)).collect();
    draw_row(buffer, line, columns, &titles, &widths);
    for ((number, row), line) in rows.iter().enumerate().zip(lines) {
        draw_row(buffer, line, columns, row, &widths);
        if selected == Some(number) {
            // With the colours of its cells, the line would be made of patches.
            buffer.set_style(line, Style::new().fg(Color::Reset).add_modifier(Modifier::REVERSED));
        }
    }
}

fn draw_row(
    buffer: &mut Buffer,
    line: Rect,
    columns: &[Column],
    row: &[Cell],
    widths: &[Option<usize>],
) {
    let mut x = line.x.saturating_add(1);
    for ((column, cell), width) in columns.iter().zip(row).zip(widths) {
        let Some(width) = *width else { continue };
        let text = match column.cut {
            Cut::Head => tail(&cell.text, width),
            Cut::Tail => head(&cell.text, width),
        };
        let indent = if column.is_number { width - cells(&text).min(width) } else { 0 };
        let room = usize::from(line.right().saturating_sub(x));
        if indent < room {
            let at = x + u16::try_from(indent).unwrap_or(0);
            buffer.set_stringn(at, line.y, &text, room - indent, cell.style);
        }
        x = x.saturating_add(u16::try_from(width + GAP).unwrap_or(u16::MAX));
    }
}

/// How wide each column is; `None`: it is left out.
fn widths(columns: &[Column], rows: &[Vec<Cell>], room: usize) -> Vec<Option<usize>> {
    let natural: Vec<usize> = (0..columns.len())
        .map(|at| {
            let column = &columns[at];
            let widest = rows.iter().map(|row| cells(&row[at].text)).max().unwrap_or(0);
            let title = cells(column.title);
            if column.fills { LEAST } else { widest.max(column.least).min(column.most).max(title) }
        })
        .collect();
    let mut stays: Vec<bool> = columns.iter().map(|_| true).collect();
    let needed = |stays: &[bool]| {
        let sum: usize = natural.iter().zip(stays).filter(|it| *it.1).map(|it| it.0 + GAP).sum();
        sum.saturating_sub(GAP)
    };
    while needed(&stays) > room {
        let last = (0..columns.len()).filter(|at| stays[*at]).max_by_key(|at| columns[*at].rank);
        match last {
            Some(at) if columns[at].rank > 0 => stays[at] = false,
            Some(_) | None => break,
        }
    }
    let spare = room.saturating_sub(needed(&stays));
    let fillers = columns.iter().zip(&stays).filter(|(it, stays)| it.fills && **stays).count();
    (0..columns.len())
        .map(|at| {
            let more = if columns[at].fills { spare / fillers.max(1) } else { 0 };
            stays[at].then_some(natural[at] + more)
        })
        .collect()
}
