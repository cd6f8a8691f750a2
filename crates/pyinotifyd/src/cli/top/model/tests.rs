use crossterm::event::{KeyCode, KeyModifiers};

use super::*;
use crate::{
    cli::top::samples::{self, WALL},
    control::words::{Done, Refused},
};

const SECOND: Duration = Duration::from_secs(1);

/// A model and the daemon that it talks to, on a clock of its own.
struct World {
    model: Model,
    now: Duration,
}

impl World {
    /// After the first look.
    fn new() -> Self {
        let model = Model::new(SECOND, (80, 24), b"/home/me".to_vec());
        let mut world = Self { model, now: Duration::ZERO };
        world.wait(0.0);
        world.answer_look(samples::tasks());
        world
    }

    fn say(&mut self, message: Message) {
        self.model.handle(self.now, message);
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.say(Message::Tick);
    }

    fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            let code = match key {
                '\t' => KeyCode::Tab,
                '\n' => KeyCode::Enter,
                key => KeyCode::Char(key),
            };
            self.say(Message::Terminal(Event::Key(KeyEvent::new(code, KeyModifiers::NONE))));
        }
    }

    fn answer(&mut self, question: Question, replies: Result<Vec<Reply>, Fatal>) {
        self.say(Message::Answered { question, replies, wall: WALL });
    }

    /// Answers the look that is asked for.
    fn answer_look(&mut self, tasks: Vec<Task>) {
        let looks: Vec<_> = self.effects();
        let [Effect::Ask(question @ Question::Look(_))] = &looks[..] else { panic!("{looks:?}") };
        let replies = samples::look(samples::status(), tasks, samples::failures());
        self.answer(question.clone(), Ok(replies));
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.model.poll()).collect()
    }

    /// The one request that the user has made since.
    fn request(&mut self) -> (Request, String) {
        let effects = self.effects();
        let [Effect::Ask(Question::Do { request, about })] = &effects[..] else {
            panic!("{effects:?}")
        };
        (request.clone(), about.clone())
    }

    fn note(&self) -> String {
        match &self.model.note {
            Some(Note::Done(it)) => it.clone(),
            Some(Note::Failed(it)) => format!("error: {it}"),
            None => String::new(),
        }
    }
}

fn id(number: u32) -> String {
    samples::task(number, State::Ready, b"/").task
}

#[test]
fn a_daemon_is_looked_at_once_in_an_interval_and_not_before_it_has_answered() {
    let mut world = World::new();
    world.wait(0.5);
    assert_eq!(world.effects(), []);
    world.wait(0.5);
    let effects = world.effects();
    let [Effect::Ask(look @ Question::Look(requests))] = &effects[..] else { panic!() };
    assert_eq!(requests.len(), 3);
    // It takes its time: what waits for it is not heaped up.
    world.wait(1.0);
    assert_eq!((world.effects(), world.model.slow_for()), (vec![], None));
    world.wait(4.0);
    assert_eq!(world.effects(), []);
    assert_eq!(world.model.slow_for(), Some(SECOND * 5));
    let replies = samples::look(samples::status(), samples::tasks(), vec![]);
    world.answer(look.clone(), Ok(replies));
    assert_eq!(world.model.slow_for(), None);
    assert_eq!(world.effects().len(), 1);
}

#[test]
fn no_more_is_asked_for_than_is_seen_and_a_margin() {
    let mut world = World::new();
    world.press("jjj");
    world.wait(1.0);
    let effects = world.effects();
    let [Effect::Ask(Question::Look(requests))] = &effects[..] else { panic!() };
    let Request::Tasks(which) = &requests[1] else { panic!() };
    assert_eq!(which.about.limit, Some(3 + 48));
}

#[test]
fn keys_ask_for_what_is_selected() {
    let mut world = World::new();
    // The tasks come first: one that ran longest, one that runs, one that is ready.
    world.press("r");
    assert_eq!(world.request().0, Request::RunNow { task: id(2) });
    world.press("jjc");
    let (request, about) = world.request();
    assert_eq!(request, Request::Cancel { task: id(3), stop: false });
    assert_eq!(about, "00000003 /in/ready");
    world.press("\tR");
    let failed = samples::failures().pop().unwrap();
    assert_eq!(world.request(), (Request::Retry { task: failed.task }, "/in/three.doc".into()));
    world.press("\tp");
    assert_eq!(world.request().0, Request::Pause { scheduler: Some("scan".into()) });
    world.press("jp");
    assert_eq!(world.request().0, Request::Resume { scheduler: Some("convert".into()) });
    world.press("P");
    assert_eq!(world.request().0, Request::Pause { scheduler: None });
    for keys in ["c", "r", "R", "\tp", "R"] {
        world.press(keys);
        assert!(world.note().starts_with("error: Tab goes to the"), "{keys}: {}", world.note());
        assert_eq!(world.effects(), []);
    }
}

#[test]
fn a_task_that_runs_is_ended_only_by_a_yes() {
    let mut world = World::new();
    for no in ["n", "c", "\n", "q"] {
        world.press("c");
        assert_eq!(world.effects(), []);
        world.press(no);
        assert_eq!((world.effects(), &world.model.mode), (vec![], &Mode::Browse), "{no:?}");
    }
    world.press("c");
    // Meanwhile another has become the first: it is not the one that was asked about.
    world.wait(1.0);
    world.answer_look(vec![samples::task(9, State::Running, b"/in/other")]);
    world.press("y");
    assert_eq!(world.request().0, Request::Cancel { task: id(2), stop: true });
}

#[test]
fn what_was_done_or_refused_is_told_and_looked_at_at_once() {
    let mut world = World::new();
    world.press("r");
    let effects = world.effects();
    let [Effect::Ask(question)] = &effects[..] else { panic!() };
    let done = Done::of("the task starts", id(2));
    world.answer(question.clone(), Ok(vec![Reply::Done(done)]));
    assert!(world.note().starts_with("00000002 /in/a/rather/"), "{}", world.note());
    assert!(world.note().ends_with(": the task starts"), "{}", world.note());
    world.answer_look(samples::tasks());
    let refused = Refused::new(Code::TaskRuns, "the task x runs\n already").hint("--stop ends it");
    world.answer(question.clone(), Ok(vec![Reply::Refused(refused)]));
    assert!(world.note().ends_with("the task x runs\\n already; c again, to end it"));
    world.answer_look(samples::tasks());
    world.answer(question.clone(), Err(Fatal::text("the daemon has ended")));
    assert!(world.note().starts_with("error: "));
    world.press("j");
    assert_eq!(world.note(), "");
    assert_eq!(world.model.link, Link::Gone("the daemon has ended".into()));
}

#[test]
fn what_is_selected_is_followed_until_it_is_gone() {
    let mut world = World::new();
    world.press("jj");
    assert_eq!(world.model.tasks[world.model.cursor(Panel::Tasks)].task, id(3));
    world.wait(1.0);
    world.answer_look(samples::tasks().split_off(2));
    assert_eq!(world.model.cursor(Panel::Tasks), 0);
    assert_eq!(world.model.tasks[0].task, id(3));
    world.press("\n");
    world.wait(1.0);
    world.answer_look(vec![samples::task(9, State::Running, b"/in/other")]);
    assert_eq!(world.model.cursor(Panel::Tasks), 0);
    assert!(matches!(&world.model.mode, Mode::Details { item: Item::Task(it), gone: true, .. }
        if it.task == id(3)));
}

#[test]
fn a_filter_is_a_path_that_the_daemon_is_asked_about() {
    let mut world = World::new();
    world.press("/inbox/../a\n");
    let effects = world.effects();
    let [Effect::Ask(Question::Look(requests))] = &effects[..] else { panic!("{effects:?}") };
    for request in &requests[1..] {
        let (Request::Tasks(OfTasks { about, .. }) | Request::History(OfHistory { about, .. })) =
            request
        else {
            panic!()
        };
        assert_eq!(about.path, Some(Shown::new(b"/home/me/a")));
    }
    for nothing in ["", "/"] {
        world.press("/");
        let key = KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL);
        world.say(Message::Terminal(Event::Key(key)));
        world.press(&format!("{nothing}\n"));
        assert_eq!(world.model.filter, None);
    }
    world.press("/x");
    world.say(Message::Terminal(Event::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE))));
    assert_eq!((&world.model.filter, &world.model.mode), (&None, &Mode::Browse));
}

#[test]
fn a_daemon_that_has_gone_is_asked_again_and_its_times_stand_still() {
    let mut world = World::new();
    world.wait(0.75);
    assert!((world.model.age() - 0.75).abs() < 1e-9);
    world.wait(0.25);
    let look = world.effects().pop();
    let Some(Effect::Ask(question)) = look else { panic!() };
    world.answer(question.clone(), Err(Fatal::text("gone")));
    assert_eq!(world.model.link, Link::Gone("gone".into()));
    for _ in 0..3 {
        world.wait(1.0);
        assert!(world.model.age() < 1e-9);
        assert_eq!(world.effects().len(), 1);
        world.answer(question.clone(), Err(Fatal::text("gone")));
    }
    world.wait(1.0);
    world.answer_look(samples::tasks());
    assert_eq!(world.model.link, Link::Up);
}

#[test]
fn the_way_back_from_the_end_of_a_text_is_no_longer_than_the_text() {
    let mut world = World::new();
    world.say(Message::Terminal(Event::Resize(40, 8)));
    world.press("?G");
    let Mode::Help { scroll } = world.model.mode else { panic!() };
    assert!(scroll > 0 && scroll < 100, "{scroll}");
    world.say(Message::Terminal(Event::Resize(200, 60)));
    assert_eq!(world.model.mode, Mode::Help { scroll: 0 });
}

#[test]
fn a_signal_ends_it_whatever_is_being_done() {
    let mut world = World::new();
    world.press("/abc");
    world.say(Message::End);
    assert_eq!(world.effects(), [Effect::Quit]);
}
