//! What a key means, which depends on what is being done.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Mode;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// End.
    Quit,
    /// Draw everything anew, in case another program has written on the terminal.
    Redraw,
    /// Go so many lines down, or up.
    Move(isize),
    /// Go to the first line.
    First,
    /// Go to the last line.
    Last,
    /// Go to the next panel.
    NextPanel,
    /// Go to the panel before.
    PreviousPanel,
    /// Pause the selected scheduler, or resume it.
    Pause,
    /// Pause all schedulers, or resume them.
    PauseAll,
    /// Give up the selected task.
    Cancel,
    /// Start the selected task before its time.
    RunNow,
    /// Run again what the selected failure was for.
    Retry,
    /// Show all there is about what is selected.
    Details,
    /// Show what the keys are for.
    Help,
    /// Ask for a filter.
    Filter,
    /// Leave what is being done; nothing comes of it.
    Leave,
    /// Do what is asked about.
    Accept,
    /// A letter of a text.
    Letter(char),
    /// Remove the last letter.
    Erase,
    /// Remove all letters.
    EraseAll,
}

/// What the keys are for, as it is shown.
pub(super) const HELP: [(&str, &str); 13] = [
    ("Tab  left  right", "go to another panel"),
    ("j k  up  down", "move; also PgUp, PgDn, Home, End"),
    ("Enter", "all about what is selected"),
    ("p", "pause the selected scheduler, or resume it"),
    ("P", "pause all schedulers, or resume them"),
    ("c", "cancel the selected task; asks before it ends one that runs"),
    ("r", "run the selected task now"),
    ("R", "retry the selected failure"),
    ("/", "show only what is below a path; an empty one shows all"),
    ("Ctrl-L", "draw everything anew"),
    ("?", "this help"),
    ("q  Esc", "leave this, or quit"),
    ("Ctrl-C", "quit"),
];

/// So many lines are a page. The terminal's height would be no better: the panels share it.
const PAGE: isize = 10;

/// What a key means; `None`: nothing.
pub(super) fn act(key: &KeyEvent, mode: &Mode) -> Option<Act> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match (key.code, mode) {
            (KeyCode::Char('c'), _) => Some(Act::Quit),
            (KeyCode::Char('l'), _) => Some(Act::Redraw),
            (KeyCode::Char('u'), Mode::Filter { .. }) => Some(Act::EraseAll),
            _ => None,
        };
    }
    match mode {
        Mode::Browse => browse(key.code),
        Mode::Details { .. } | Mode::Help { .. } => read(key.code),
        Mode::Filter { .. } => write(key.code),
        // Anything but a yes is a no.
        Mode::Confirm { .. } => match key.code {
            KeyCode::Char('y' | 'Y') => Some(Act::Accept),
            _ => Some(Act::Leave),
        },
    }
}

fn browse(code: KeyCode) -> Option<Act> {
    Some(match code {
        KeyCode::Char('q') | KeyCode::Esc => Act::Quit,
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => Act::NextPanel,
        KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => Act::PreviousPanel,
        KeyCode::Char('p') => Act::Pause,
        KeyCode::Char('P') => Act::PauseAll,
        KeyCode::Char('c') => Act::Cancel,
        KeyCode::Char('r') => Act::RunNow,
        KeyCode::Char('R') => Act::Retry,
        KeyCode::Char('/') => Act::Filter,
        KeyCode::Char('?') => Act::Help,
        KeyCode::Enter => Act::Details,
        code => return moves(code),
    })
}

fn read(code: KeyCode) -> Option<Act> {
    Some(match code {
        KeyCode::Char('q' | '?') | KeyCode::Esc | KeyCode::Enter => Act::Leave,
        code => return moves(code),
    })
}

fn moves(code: KeyCode) -> Option<Act> {
    Some(match code {
        KeyCode::Down | KeyCode::Char('j') => Act::Move(1),
        KeyCode::Up | KeyCode::Char('k') => Act::Move(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Act::Move(PAGE),
        KeyCode::PageUp => Act::Move(-PAGE),
        KeyCode::Home | KeyCode::Char('g') => Act::First,
        KeyCode::End | KeyCode::Char('G') => Act::Last,
        _ => return None,
    })
}

fn write(code: KeyCode) -> Option<Act> {
    Some(match code {
        KeyCode::Enter => Act::Accept,
        KeyCode::Esc => Act::Leave,
        KeyCode::Backspace => Act::Erase,
        KeyCode::Char(it) => Act::Letter(it),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::{model::Item, samples};

    #[test]
    fn a_key_means_what_the_help_says_in_each_mode() {
        let details = || Mode::Details {
            item: Item::Scheduler(samples::status().schedulers.remove(0)),
            scroll: 0,
            gone: false,
        };
        let confirm = || Mode::Confirm { task: String::new(), about: String::new() };
        let filter = || Mode::Filter { text: String::new() };
        let plain = KeyModifiers::NONE;
        let char = KeyCode::Char;
        let table = [
            (Mode::Browse, char('q'), plain, Some(Act::Quit)),
            (Mode::Browse, KeyCode::Esc, plain, Some(Act::Quit)),
            (Mode::Browse, char('c'), KeyModifiers::CONTROL, Some(Act::Quit)),
            (Mode::Browse, char('l'), KeyModifiers::CONTROL, Some(Act::Redraw)),
            (Mode::Browse, char('p'), KeyModifiers::CONTROL, None),
            (Mode::Browse, KeyCode::Tab, plain, Some(Act::NextPanel)),
            (Mode::Browse, KeyCode::BackTab, KeyModifiers::SHIFT, Some(Act::PreviousPanel)),
            (Mode::Browse, KeyCode::Down, plain, Some(Act::Move(1))),
            (Mode::Browse, char('k'), plain, Some(Act::Move(-1))),
            (Mode::Browse, char('G'), KeyModifiers::SHIFT, Some(Act::Last)),
            (Mode::Browse, char('p'), plain, Some(Act::Pause)),
            (Mode::Browse, char('P'), KeyModifiers::SHIFT, Some(Act::PauseAll)),
            (Mode::Browse, char('c'), plain, Some(Act::Cancel)),
            (Mode::Browse, char('r'), plain, Some(Act::RunNow)),
            (Mode::Browse, char('R'), plain, Some(Act::Retry)),
            (Mode::Browse, char('/'), plain, Some(Act::Filter)),
            (Mode::Browse, char('?'), plain, Some(Act::Help)),
            (Mode::Browse, KeyCode::Enter, plain, Some(Act::Details)),
            (Mode::Browse, char('y'), plain, None),
            (Mode::Browse, KeyCode::F(5), plain, None),
            (details(), char('q'), plain, Some(Act::Leave)),
            (details(), char('c'), plain, None),
            (details(), char('c'), KeyModifiers::CONTROL, Some(Act::Quit)),
            (details(), char('j'), plain, Some(Act::Move(1))),
            (Mode::Help { scroll: 0 }, char('?'), plain, Some(Act::Leave)),
            (filter(), char('q'), plain, Some(Act::Letter('q'))),
            (filter(), char('/'), plain, Some(Act::Letter('/'))),
            (filter(), KeyCode::Enter, plain, Some(Act::Accept)),
            (filter(), KeyCode::Esc, plain, Some(Act::Leave)),
            (filter(), char('u'), KeyModifiers::CONTROL, Some(Act::EraseAll)),
            (filter(), char('c'), KeyModifiers::CONTROL, Some(Act::Quit)),
            (confirm(), char('y'), plain, Some(Act::Accept)),
            (confirm(), char('n'), plain, Some(Act::Leave)),
            (confirm(), KeyCode::Enter, plain, Some(Act::Leave)),
            (confirm(), char('c'), KeyModifiers::CONTROL, Some(Act::Quit)),
        ];
        for (mode, code, modifiers, expected) in table {
            let key = KeyEvent::new(code, modifiers);
            assert_eq!(act(&key, &mode), expected, "{code:?} with {modifiers:?} in {mode:?}");
        }
    }

    #[test]
    fn a_key_that_is_let_go_means_nothing() {
        let release = KeyEventKind::Release;
        let key = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, release);
        assert_eq!(act(&key, &Mode::Browse), None);
    }
}
