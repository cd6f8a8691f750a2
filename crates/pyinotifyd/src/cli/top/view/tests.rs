use std::time::Duration;

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::{
    cli::top::{
        model::{Message, Question},
        samples::{self, HOSTILE, WALL},
    },
    control::words::{Reply, Status},
    errors::Fatal,
};

const SECOND: Duration = Duration::from_secs(1);

/// A model after so many looks, one a second.
fn model(size: (u16, u16), looks: &[Vec<Reply>]) -> Model {
    let mut model = Model::new(SECOND, size, b"/home/me".to_vec());
    for (at, look) in (0..).zip(looks) {
        model.handle(SECOND * at, Message::Tick);
        let question = Question::Look(Vec::new());
        let replies = Ok(look.clone());
        model.handle(SECOND * at, Message::Answered { question, replies, wall: WALL });
    }
    model
}

/// A burst, as it is looked at.
fn burst(last: &Status) -> Vec<Vec<Reply>> {
    let counts = [0, 10, 400, 9_000, 20_000, 48_000, 30_000, 12_000, 7_500, 6_000, 100, 1_234];
    let mut events = 0;
    (0_u32..)
        .zip(counts)
        .map(|(at, count)| {
            events += count;
            let mut status = last.clone();
            status.uptime -= f64::from(11 - at);
            status.watches[0].events = events;
            status.schedulers[0].done = events / 2;
            samples::look(status, samples::tasks(), samples::failures())
        })
        .collect()
}

fn screen(model: &Model, (width, height): (u16, u16), colours: bool) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(model, Theme { colours }, frame)).unwrap();
    terminal.backend().clone()
}

fn press(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            key => KeyCode::Char(key),
        };
        let key = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        model.handle(model.now, Message::Terminal(key));
    }
}

#[test]
fn a_terminal_of_usual_size_shows_everything() {
    let size = (80, 24);
    insta::assert_snapshot!(screen(&model(size, &burst(&samples::status())), size, true));
}

#[test]
fn a_large_terminal_shows_more_of_it() {
    let size = (140, 40);
    insta::assert_snapshot!(screen(&model(size, &burst(&samples::bad_status())), size, true));
}

#[test]
fn a_small_terminal_shows_the_panel_that_keys_are_for() {
    let size = (40, 10);
    let mut model = model(size, &burst(&samples::bad_status()));
    let tasks = screen(&model, size, true);
    press(&mut model, "\t\t");
    insta::assert_snapshot!(format!("{tasks}\n{}", screen(&model, size, true)));
}

#[test]
fn what_is_asked_and_told_is_at_the_bottom() {
    let size = (60, 10);
    let mut model = model(size, &burst(&samples::status()));
    let mut bottoms = vec![];
    let mut see = |model: &Model| {
        let text = screen(model, size, true).to_string();
        bottoms.push(text.lines().last().unwrap().to_owned());
    };
    see(&model);
    press(&mut model, "c");
    see(&model);
    press(&mut model, "n/rel");
    see(&model);
    press(&mut model, "\n");
    see(&model);
    press(&mut model, "p");
    see(&model);
    let question = Question::Look(Vec::new());
    let replies = Err(Fatal::text("the connection to the daemon is lost: \u{1b}[2J"));
    model.handle(SECOND * 20, Message::Answered { question, replies, wall: WALL });
    see(&model);
    press(&mut model, "?");
    see(&model);
    insta::assert_snapshot!(bottoms.join("\n"));
}

#[test]
fn a_key_of_another_panel_says_where_that_is() {
    let size = (80, 24);
    let mut model = model(size, &burst(&samples::status()));
    let mut told = vec![];
    for keys in ["R", "\tp", "\tc", "r"] {
        press(&mut model, keys);
        let text = screen(&model, size, true).to_string();
        told.push(text.lines().last().unwrap().trim_matches(['"', ' ']).to_owned());
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn all_about_what_is_selected_is_told_also_once_it_is_gone() {
    let mut pages = vec![];
    for keys in ["?", "\n", "\t\n", "\t\t\n"] {
        let mut model = model((80, 24), &burst(&samples::status()));
        press(&mut model, keys);
        let page = details::page(&model).unwrap();
        let lines = page.lines(96).into_iter().map(|(label, text)| format!("  {label}{text}"));
        pages.push(page.title);
        pages.extend(lines);
        let nothing = Status { schedulers: Vec::new(), ..samples::status() };
        let question = Question::Look(Vec::new());
        let replies = Ok(samples::look(nothing, Vec::new(), Vec::new()));
        model.handle(SECOND * 20, Message::Answered { question, replies, wall: WALL });
        pages.push(details::page(&model).unwrap().title);
    }
    insta::assert_snapshot!(pages.join("\n"));
}

#[test]
fn a_daemon_that_is_slow_or_gone_is_told_of() {
    let size = (80, 10);
    let mut model = model(size, &burst(&samples::status()));
    let title =
        |model: &Model| screen(model, size, true).to_string().lines().next().unwrap().to_owned();
    let connecting = title(&Model::new(SECOND, size, Vec::new()));
    model.handle(SECOND * 12, Message::Tick);
    let asked = title(&model);
    model.handle(SECOND * 17, Message::Tick);
    let slow = title(&model);
    let question = Question::Look(Vec::new());
    let replies = Err(Fatal::text("lost"));
    model.handle(SECOND * 18, Message::Answered { question, replies, wall: WALL });
    insta::assert_snapshot!([connecting, asked, slow, title(&model)].join("\n"));
}

#[test]
fn all_about_a_task_is_read_in_front() {
    let size = (60, 20);
    let look = samples::look(
        samples::status(),
        vec![samples::task(7, State::Running, HOSTILE[0])],
        vec![samples::failure(1, HOSTILE[1], &"a long outcome, ".repeat(12))],
    );
    let mut model = model(size, &[look]);
    press(&mut model, "\n");
    let task = screen(&model, size, true);
    press(&mut model, "q\t\n");
    let failure = screen(&model, size, true);
    press(&mut model, "q?");
    let help = screen(&model, size, true);
    // The time of day is that of where it is shown.
    let ended = show::at(samples::failure(1, b"", "").at);
    let text = format!("{task}\n{failure}\n{help}");
    assert!(text.contains(&ended));
    insta::assert_snapshot!(text.replace(&ended, &"-".repeat(ended.len())));
}

#[test]
fn names_that_somebody_has_made_stay_in_their_place() {
    let size = (60, 24);
    let tasks = HOSTILE.iter().zip(0..).map(|(it, at)| samples::task(at, State::Ready, it));
    let tasks: Vec<_> = tasks.collect();
    let failures = HOSTILE
        .iter()
        .zip(0..)
        .map(|(it, at)| samples::failure(at, it, "exit status 1: \u{1b}[31m\u{202e}"));
    let mut status = samples::status();
    status.schedulers[0].name = "a\u{1b}]0;title\u{7}漢字".into();
    let look = samples::look(status, tasks, failures.collect());
    insta::assert_snapshot!(screen(&model(size, &[look]), size, true));
}

#[test]
fn without_colours_there_are_none() {
    let size = (100, 30);
    let model = model(size, &burst(&samples::bad_status()));
    let coloured = |colours| {
        let backend = screen(&model, size, colours);
        let plain = |it: &&ratatui::buffer::Cell| it.fg == Color::Reset && it.bg == Color::Reset;
        let all = backend.buffer().content();
        all.len() - all.iter().filter(plain).count()
    };
    assert_eq!(coloured(false), 0);
    assert_ne!(coloured(true), 0);
}

#[test]
fn a_cut_text_has_the_columns_that_it_was_given() {
    for text in HOSTILE.iter().map(|it| shown(it).to_string()) {
        for width in 0..60 {
            for cut in [head(&text, width), tail(&text, width)] {
                assert!(cells(&cut) <= width, "{cut} in {width}");
            }
        }
        assert_eq!((head(&text, 100), tail(&text, 100)), (text.clone(), text));
    }
    assert_eq!((head("abcdef", 4), tail("abcdef", 4)), ("abc…".into(), "…def".into()));
    assert_eq!((head("漢字漢字", 4), tail("漢字漢字", 4)), ("漢…".into(), "…字".into()));
}

/// Something that happens at the terminal, or comes from the daemon.
fn message() -> impl Strategy<Value = Message> {
    let keys = prop_oneof![
        4 => proptest::sample::select("qjkpPcrR/?ynhlgG ".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
        4 => proptest::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up,
            KeyCode::Down, KeyCode::PageDown, KeyCode::PageUp, KeyCode::Home, KeyCode::End,
            KeyCode::Backspace, KeyCode::Delete, KeyCode::F(1),
        ]),
    ];
    let modifiers = any::<u8>().prop_map(KeyModifiers::from_bits_truncate);
    let key = (keys, prop_oneof![9 => Just(KeyModifiers::NONE), 1 => modifiers])
        .prop_map(|(code, modifiers)| Event::Key(KeyEvent::new(code, modifiers)));
    let mouse = any::<(u16, u16)>().prop_map(|(column, row)| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
    });
    let resize = (0_u16..150, 0_u16..60).prop_map(|(width, height)| Event::Resize(width, height));
    let answer = (any::<bool>(), 0_usize..40, 0_usize..7).prop_map(|(bad, tasks, failed)| {
        let status = if bad { samples::bad_status() } else { samples::status() };
        let names = HOSTILE.iter().cycle();
        let failures = names.zip(0..100).map(|(it, at)| samples::failure(at, it, "no"));
        let (tasks, failures) =
            (samples::tasks().into_iter().take(tasks).collect(), failures.take(failed).collect());
        Message::Answered {
            question: Question::Look(Vec::new()),
            replies: Ok(samples::look(status, tasks, failures)),
            wall: WALL,
        }
    });
    let gone = Just(Message::Answered {
        question: Question::Look(Vec::new()),
        replies: Err(Fatal::text("gone")),
        wall: WALL,
    });
    prop_oneof![
        8 => key.prop_map(Message::Terminal),
        1 => mouse.prop_map(Message::Terminal),
        2 => resize.prop_map(Message::Terminal),
        2 => answer,
        1 => gone,
        1 => Just(Message::Tick),
    ]
}

proptest! {
    #[test]
    fn nothing_that_happens_ends_it_badly(
        messages in proptest::collection::vec(message(), 1..60),
        start in (0_u16..150, 0_u16..60),
    ) {
        let mut size = start;
        let mut model = model(size, &[]);
        for (at, message) in (0..).zip(messages) {
            if let Message::Terminal(Event::Resize(width, height)) = message {
                size = (width, height);
            }
            model.handle(SECOND / 4 * at, message);
            while model.poll().is_some() {}
            for panel in Panel::ALL {
                let lines = match panel {
                    Panel::Schedulers => model.schedulers().len(),
                    Panel::Tasks => model.tasks.len(),
                    Panel::Failures => model.failures.len(),
                };
                prop_assert!(model.cursor(panel) < lines.max(1));
            }
            let backend = screen(&model, size, true);
            let wild = |it: &&ratatui::buffer::Cell| it.symbol().chars().any(char::is_control);
            prop_assert_eq!(backend.buffer().content().iter().find(wild), None);
        }
    }
}
