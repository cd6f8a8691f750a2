//! Random histories of a file tree against the tree's bookkeeping.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support {
    pub(crate) mod kernel;
}

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use proptest::prelude::*;
use pyinotifyd_core::{
    event::EventType,
    filter::Filter,
    path,
    plan::{NamePattern, PathPattern},
    record::{Record, Wd},
    scope::{Coverage, Scope},
    tree::{Ask, EnterError, Notice, Sighting, Tree},
};

use self::support::kernel::{Ino, Kernel, Walk};

macro_rules! trace {
    ($($arg:tt)*) => {
        if std::env::var_os("TRACE").is_some() {
            eprintln!($($arg)*);
        }
    };
}

/// What a reader of the events believes: which entries exist, and how often it was told what.
#[derive(Debug, Default)]
struct Reader {
    there: BTreeSet<Vec<u8>>,
    created: BTreeMap<Vec<u8>, u32>,
    closed: BTreeMap<Vec<u8>, u32>,
}

impl Reader {
    fn below(&self, top: &[u8]) -> Vec<Vec<u8>> {
        self.there.iter().filter(|it| path::below(it, top).is_some()).cloned().collect()
    }

    fn see(&mut self, tree: &Tree, sighting: &Sighting<'_>) {
        let mut at = Vec::new();
        tree.push_path(sighting.node, &mut at);
        if !sighting.name.is_empty() {
            path::push(&mut at, sighting.name);
        }
        trace!(
            "    {} {:?} from {:?}, {:?}",
            String::from_utf8_lossy(&at),
            sighting.event_type,
            sighting.src.as_deref().map(String::from_utf8_lossy),
            sighting.origin,
        );
        match sighting.event_type {
            EventType::Create => {
                *self.created.entry(at.clone()).or_default() += 1;
                self.there.insert(at);
            }
            EventType::CloseWrite => *self.closed.entry(at).or_default() += 1,
            EventType::Delete | EventType::MovedFrom => {
                self.there.remove(&at);
            }
            EventType::MovedTo => {
                let from = sighting.src.as_deref().unwrap_or(&[0]);
                for it in self.below(from) {
                    let rest = path::below(&it, from).unwrap();
                    let to = if rest.is_empty() { at.clone() } else { path::join(&at, rest) };
                    self.there.remove(&it);
                    self.there.insert(to);
                }
                self.there.insert(at);
            }
            _ => (),
        }
    }
}

struct World {
    kernel: Kernel,
    tree: Tree,
    walks: VecDeque<Walk>,
    reader: Reader,
    /// Directories that somebody else has open.
    held: Vec<Ino>,
}

impl World {
    fn new(limit: usize, coverage: Vec<Coverage>) -> Self {
        let tree = Tree::new(Scope::new(coverage));
        let (kernel, reader) = (Kernel::new(limit), Reader::default());
        Self { kernel, tree, walks: VecDeque::new(), reader, held: Vec::new() }
    }

    fn release(&mut self) {
        for ino in self.held.drain(..) {
            self.kernel.unpin(ino);
        }
    }

    /// Carries out the next thing that the tree asks for, or a bit of it.
    fn ask(&mut self) -> bool {
        let asked = self.tree.poll_ask();
        trace!("  ask {asked:?}");
        match asked {
            None => return false,
            Some(Ask::Enter(enter)) => self.walks.push_back(Walk::Asked(enter)),
            Some(Ask::Leave(wd)) => self.kernel.leave(wd),
            Some(Ask::Barrier) => {
                let wd = self.kernel.barrier();
                let reader = &mut self.reader;
                self.tree.handle_barrier(Some(wd), &mut |tree, it| reader.see(tree, &it));
            }
        }
        self.tree.verify_invariants();
        true
    }

    fn walk(&mut self, n: usize) -> bool {
        if self.walks.is_empty() {
            return false;
        }
        let at = n % self.walks.len();
        let walk = self.walks.remove(at).unwrap().step(&mut self.kernel);
        trace!("  walk {walk:?}");
        if let Walk::Done(ticket, found) = walk {
            let reader = &mut self.reader;
            self.tree.handle_entered(ticket, found, &mut |tree, it| reader.see(tree, &it));
            self.tree.verify_invariants();
        } else {
            self.walks.insert(at, walk);
        }
        true
    }

    fn read(&mut self) -> bool {
        if !self.tree.wants_records() {
            return false;
        }
        let Some(it) = self.kernel.queue.pop_front() else { return false };
        trace!("  read {it:?}");
        let record =
            Record { wd: it.wd, mask: it.mask, cookie: it.cookie, name: it.name.as_bytes() };
        let reader = &mut self.reader;
        self.tree.handle_record(&record, &mut |tree, it| reader.see(tree, &it));
        self.tree.verify_invariants();
        true
    }

    fn settle(&mut self) {
        self.release();
        for _ in 0..20_000 {
            if !(self.ask() || self.walk(0) || self.read()) {
                break;
            }
        }
        while self.tree.poll_notice().is_some() {}
        assert!(self.tree.is_settled(), "it never settles");
        assert!(self.kernel.queue.is_empty());
    }

    fn op(&mut self, op: &Op) {
        trace!("op {op:?} {:?}", self.kernel.all());
        let name = |n: u8| ["a", "b", "c", "d"][usize::from(n) % 4];
        let kernel = &mut self.kernel;
        match *op {
            Op::Mkdir(d, n) => {
                kernel.create(kernel.nth_dir(d), name(n), true);
            }
            Op::Touch(d, n) => {
                kernel.create(kernel.nth_dir(d), name(n), false);
            }
            Op::Close(d, n) => kernel.close(kernel.nth_dir(d), name(n)),
            Op::Remove(d, n) => kernel.remove(kernel.nth_dir(d), name(n)),
            Op::Rename(d, n, e, m) => {
                kernel.rename(kernel.nth_dir(d), name(n), kernel.nth_dir(e), name(m));
            }
            Op::Exchange(d, n, e, m) => {
                kernel.exchange(kernel.nth_dir(d), name(n), kernel.nth_dir(e), name(m));
            }
            Op::Root(n) => match n % 3 {
                0 => {
                    kernel.create(0, "r", true);
                }
                _ => kernel.remove(0, "r"),
            },
            Op::Pin(d) => {
                let ino = kernel.nth_dir(d);
                kernel.pin(ino);
                self.held.push(ino);
            }
            Op::Unpin => self.release(),
            Op::Ask => {
                self.ask();
            }
            Op::Walk(n) => {
                self.walk(n);
            }
            Op::Read => {
                self.read();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Mkdir(usize, u8),
    Touch(usize, u8),
    Close(usize, u8),
    Remove(usize, u8),
    Rename(usize, u8, usize, u8),
    Exchange(usize, u8, usize, u8),
    /// `/r` itself comes and goes.
    Root(u8),
    /// Somebody opens a directory.
    Pin(usize),
    Unpin,
    Ask,
    Walk(usize),
    Read,
}

fn any_op() -> impl Strategy<Value = Op> {
    let (d, n) = (0..8usize, 0..4u8);
    prop_oneof![
        4 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Mkdir(d, n)),
        2 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Touch(d, n)),
        1 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Close(d, n)),
        2 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Remove(d, n)),
        4 => (d.clone(), n.clone(), d.clone(), n.clone())
            .prop_map(|(d, n, e, m)| Op::Rename(d, n, e, m)),
        1 => (d.clone(), n.clone(), d.clone(), n.clone())
            .prop_map(|(d, n, e, m)| Op::Exchange(d, n, e, m)),
        1 => (0..6u8).prop_map(Op::Root),
        1 => (0..8usize).prop_map(Op::Pin),
        1 => Just(Op::Unpin),
        5 => Just(Op::Ask),
        9 => (0..3usize).prop_map(Op::Walk),
        5 => Just(Op::Read),
    ]
}

/// Directories are made and renamed all the time, also while they are entered.
fn restless_op() -> impl Strategy<Value = Op> {
    let (d, n) = (0..8usize, 0..3u8);
    prop_oneof![
        6 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Mkdir(d, n)),
        2 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Touch(d, n)),
        1 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Remove(d, n)),
        6 => (d.clone(), n.clone(), d, n).prop_map(|(d, n, e, m)| Op::Rename(d, n, e, m)),
        4 => Just(Op::Ask),
        8 => (0..3usize).prop_map(Op::Walk),
        8 => Just(Op::Read),
    ]
}

/// Nothing is removed or renamed: what comes stays.
fn growing_op() -> impl Strategy<Value = Op> {
    let (d, n) = (0..12usize, 0..4u8);
    prop_oneof![
        4 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Mkdir(d, n)),
        4 => (d.clone(), n.clone()).prop_map(|(d, n)| Op::Touch(d, n)),
        4 => (d, n).prop_map(|(d, n)| Op::Close(d, n)),
        5 => Just(Op::Ask),
        9 => (0..3usize).prop_map(Op::Walk),
        5 => Just(Op::Read),
    ]
}

fn coverage(paths: &[&str], rec: bool, auto_add: bool, types: &[EventType]) -> Coverage {
    let pattern = |path: &&str| PathPattern {
        source: Arc::from(path.as_bytes()),
        names: path::names(path.as_bytes()).map(|it| NamePattern::Literal(it.into())).collect(),
    };
    Coverage {
        paths: paths.iter().map(pattern).collect(),
        rec,
        auto_add,
        mask: types.iter().copied().collect(),
        filter: Filter::default(),
    }
}

const NAMES: [EventType; 6] = [
    EventType::Create,
    EventType::CloseWrite,
    EventType::Delete,
    EventType::MovedFrom,
    EventType::MovedTo,
    EventType::QOverflow,
];

#[expect(clippy::disallowed_methods, reason = "whoever runs the test may ask for more")]
fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, max_shrink_iters: 4_000, ..ProptestConfig::default() }
}

/// What a Watch of everything below these roots has to watch.
fn expected(kernel: &Kernel, roots: &[&str]) -> BTreeSet<(Vec<u8>, Ino)> {
    let all = kernel.all().into_iter();
    let covered = all.filter(|(at, _, is_dir)| {
        let below = |root: &&str| path::below(at.as_bytes(), root.as_bytes());
        roots.iter().any(|root| match below(root) {
            Some(b"") => true,
            Some(_) => *is_dir,
            None => false,
        })
    });
    covered.map(|(at, ino, _)| (at.into_bytes(), ino)).collect()
}

fn watched(world: &World) -> BTreeSet<(Vec<u8>, Ino)> {
    let ino_of = |wd: Wd| {
        let found = world.kernel.watches.iter().find(|(_, it)| it.0 == wd);
        *found.unwrap_or_else(|| panic!("{wd:?} is no watch of the kernel")).0
    };
    world.tree.watched().map(|(wd, at)| (at, ino_of(wd))).collect()
}

fn no_watch_is_left_over(world: &World) {
    let held: BTreeSet<Wd> = world.tree.watches().collect();
    let watched: BTreeSet<Wd> = world.kernel.watches.values().map(|it| it.0).collect();
    assert_eq!(held, watched, "watches are left over");
}

/// What is there after such a history, and was not told of.
fn not_told_of<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Vec<String> {
    let mut world = World::new(10_000, vec![coverage(&["/r"], true, true, &NAMES)]);
    world.settle();
    for op in ops {
        world.op(op);
    }
    world.settle();
    let below = |at: &str| path::below(at.as_bytes(), b"/r").is_some_and(|it| !it.is_empty());
    let there = world.kernel.all().into_iter().map(|it| it.0).filter(|it| below(it));
    there.filter(|it| !world.reader.there.contains(it.as_bytes())).collect()
}

/// Random histories found these. They are kept as they are: a seed means another history as soon
/// as histories are made up in another way.
#[test]
#[expect(clippy::too_many_lines, reason = "each history is a list")]
fn what_was_once_lost_is_told_of() {
    use Op::{Ask, Mkdir, Pin, Read, Remove, Rename, Touch, Walk};
    let histories: &[&[Op]] = &[
        &[
            Mkdir(1, 2),
            Mkdir(2, 0),
            Read,
            Ask,
            Walk(0),
            Walk(0),
            Walk(0),
            Ask,
            Walk(0),
            Walk(0),
            Walk(0),
            Mkdir(5, 2),
            Ask,
            Mkdir(5, 1),
            Rename(1, 2, 1, 0),
            Rename(1, 0, 4, 0),
        ],
        &[
            Mkdir(1, 0),
            Touch(2, 0),
            Rename(4, 0, 1, 2),
            Mkdir(4, 0),
            Read,
            Ask,
            Walk(0),
            Mkdir(3, 1),
            Walk(0),
            Walk(0),
            Rename(1, 0, 5, 0),
            Ask,
            Rename(7, 2, 6, 0),
        ],
        &[
            Mkdir(1, 0),
            Touch(2, 1),
            Mkdir(1, 3),
            Mkdir(2, 2),
            Read,
            Ask,
            Walk(0),
            Rename(6, 0, 6, 2),
            Rename(2, 1, 3, 0),
            Walk(0),
            Walk(0),
            Ask,
            Walk(0),
            Rename(6, 2, 6, 0),
        ],
        &[
            Mkdir(1, 3),
            Mkdir(2, 2),
            Read,
            Ask,
            Walk(0),
            Walk(0),
            Walk(0),
            Ask,
            Walk(0),
            Walk(0),
            Mkdir(3, 0),
            Rename(6, 3, 6, 0),
            Walk(0),
            Rename(2, 2, 1, 3),
        ],
        &[
            Mkdir(1, 1),
            Touch(0, 0),
            Mkdir(1, 0),
            Mkdir(4, 0),
            Mkdir(1, 0),
            Touch(0, 0),
            Read,
            Touch(0, 0),
            Ask,
            Walk(0),
            Walk(0),
            Touch(3, 0),
            Mkdir(5, 0),
            Rename(1, 0, 1, 2),
            Rename(5, 1, 1, 0),
        ],
        &[
            Mkdir(5, 2),
            Rename(4, 2, 1, 0),
            Mkdir(2, 2),
            Mkdir(5, 1),
            Read,
            Ask,
            Mkdir(6, 2),
            Rename(2, 2, 6, 1),
            Walk(0),
            Mkdir(7, 1),
            Walk(0),
            Walk(0),
            Rename(3, 2, 2, 0),
            Rename(0, 1, 6, 2),
            Mkdir(2, 0),
            Rename(5, 1, 1, 2),
        ],
        &[
            Mkdir(5, 3),
            Touch(0, 0),
            Mkdir(4, 2),
            Read,
            Ask,
            Mkdir(3, 1),
            Walk(0),
            Walk(0),
            Walk(0),
            Pin(4),
            Ask,
            Mkdir(3, 2),
            Walk(0),
            Mkdir(5, 0),
            Rename(3, 2, 3, 1),
            Remove(1, 2),
            Walk(0),
            Walk(0),
            Ask,
            Read,
            Ask,
            Walk(0),
            Rename(7, 1, 6, 0),
        ],
    ];
    for (number, ops) in histories.iter().enumerate() {
        trace!("history {number}");
        assert_eq!(not_told_of(*ops), Vec::<String>::new(), "history {number}");
    }
}

const ROOTS: [&str; 3] = ["/r/a", "/r/b/c", "/o"];

fn roots_inside_roots(limit: usize, ops: &[Op]) -> World {
    let mut world = World::new(
        limit,
        vec![
            coverage(&ROOTS[..2], true, true, &NAMES),
            coverage(&ROOTS[2..], true, true, &[EventType::CloseWrite]),
        ],
    );
    for op in ops {
        world.op(op);
    }
    world.settle();
    world
}

/// Random histories found these, too.
#[test]
fn a_root_that_has_left_is_not_taken_to_be_there() {
    use Op::{Ask, Mkdir, Rename, Touch, Walk};
    let opened_and_gone_before_anybody_told_of_its_name = [
        Ask,
        Walk(0),
        Touch(1, 0),
        Walk(0),
        Walk(0),
        Ask,
        Mkdir(0, 2),
        Mkdir(2, 2),
        Walk(0),
        Walk(0),
        Ask,
        Walk(0),
        Walk(0),
        Touch(0, 0),
        Walk(0),
        Walk(0),
        Walk(0),
        Ask,
        Touch(0, 0),
        Touch(0, 0),
        Walk(0),
        Mkdir(0, 3),
        Walk(0),
        Ask,
        Walk(0),
        Mkdir(0, 2),
        Ask,
        Ask,
        Walk(1),
        Walk(1),
        Rename(3, 0, 0, 0),
        Ask,
        Walk(2),
        Walk(2),
        Walk(2),
    ];
    let b = [
        Touch(0, 1),
        Ask,
        Walk(0),
        Walk(0),
        Walk(0),
        Ask,
        Walk(0),
        Touch(0, 1),
        Ask,
        Walk(0),
        Walk(0),
        Touch(5, 0),
        Mkdir(2, 0),
        Walk(0),
        Walk(0),
        Walk(0),
        Ask,
        Touch(0, 0),
        Walk(0),
        Walk(0),
        Walk(0),
        Ask,
        Walk(0),
        Ask,
        Ask,
        Mkdir(0, 0),
        Walk(1),
        Rename(2, 0, 0, 1),
    ];
    for ops in [&opened_and_gone_before_anybody_told_of_its_name[..], &b] {
        let world = roots_inside_roots(20, ops);
        assert_eq!(watched(&world), expected(&world.kernel, &ROOTS));
    }
}

proptest! {
    #![proptest_config(cases(100_000))]

    #[test]
    fn the_tree_settles_on_what_is_there(
        limit in 3..60usize,
        masks in 0..2usize,
        ops in prop::collection::vec(any_op(), 0..80),
    ) {
        let types: &[EventType] = if masks == 0 { &[] } else { &NAMES };
        let mut world = World::new(limit, vec![coverage(&["/r"], true, true, types)]);
        for op in &ops {
            world.op(op);
        }
        world.settle();
        prop_assert_eq!(watched(&world), expected(&world.kernel, &["/r"]));
        no_watch_is_left_over(&world);
    }
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn roots_inside_roots_and_roots_that_come_and_go(
        limit in 20..200usize,
        ops in prop::collection::vec(any_op(), 0..80),
    ) {
        let world = roots_inside_roots(limit, &ops);
        prop_assert_eq!(watched(&world), expected(&world.kernel, &ROOTS));
        no_watch_is_left_over(&world);
    }

    #[test]
    fn whatever_is_watched_is_where_it_is_said_to_be(
        rec: bool,
        auto_add: bool,
        ops in prop::collection::vec(any_op(), 0..80),
    ) {
        let mut world = World::new(200, vec![
            coverage(&["/r"], rec, auto_add, &NAMES),
            coverage(&["/r/a/b"], auto_add, rec, &[EventType::Create]),
        ]);
        for op in &ops {
            world.op(op);
        }
        world.settle();
        for (at, ino) in watched(&world) {
            prop_assert_eq!(world.kernel.resolve(&at).map(|it| it.0), Some(ino));
        }
        no_watch_is_left_over(&world);
    }

    /// Whatever is there at the end was told of under its path, or under one that was then told to
    /// have moved: nothing is lost. (An exchange of two names cannot be told from two renames
    /// without looking, so there is none.)
    #[test]
    fn everything_that_is_there_has_been_told_of(
        ops in prop::collection::vec(any_op(), 0..80),
    ) {
        let ops = ops.iter().filter(|it| !matches!(it, Op::Root(_) | Op::Exchange(..)));
        prop_assert_eq!(not_told_of(ops), Vec::<String>::new());
    }

    #[test]
    fn everything_that_is_there_has_been_told_of_however_restless_it_is(
        ops in prop::collection::vec(restless_op(), 0..200),
    ) {
        prop_assert_eq!(not_told_of(&ops), Vec::<String>::new());
    }

    #[test]
    fn each_entry_is_told_once(
        ops in prop::collection::vec(growing_op(), 0..100),
    ) {
        let mut world = World::new(10_000, vec![coverage(&["/r"], true, true, &NAMES)]);
        world.settle();
        for op in &ops {
            world.op(op);
        }
        world.settle();
        for (at, ino, is_dir) in world.kernel.all() {
            if path::below(at.as_bytes(), b"/r").is_none_or(<[u8]>::is_empty) {
                continue;
            }
            let told = |it: &BTreeMap<Vec<u8>, u32>| it.get(at.as_bytes()).copied().unwrap_or(0);
            prop_assert_eq!(told(&world.reader.created), 1, "IN_CREATE of {}", &at);
            let closed = u32::from(!is_dir && !world.kernel.writing.contains(&ino));
            prop_assert_eq!(told(&world.reader.closed), closed, "IN_CLOSE_WRITE of {}", &at);
        }
    }
}

#[test]
fn a_known_directory_that_cannot_be_read_anew_is_told_of_and_sought_again_at_a_reload() {
    let watches = || vec![coverage(&["/r"], true, true, &NAMES)];
    let mut world = World::new(4, watches());
    let r = 1;
    let d = world.kernel.create(r, "d", true).unwrap();
    world.settle();
    for name in ["a", "b", "c", "e", "f"] {
        world.kernel.create(r, name, false);
    }
    let mut notices = Vec::new();
    let refused = || Err(EnterError::Failed("open: input/output error".into()));
    loop {
        // All that is asked about it.
        if let Some(Walk::Asked(enter)) = world.walks.back()
            && enter.path == b"/r/d"
        {
            let ticket = enter.ticket;
            world.walks.pop_back();
            world.tree.handle_entered(ticket, refused(), &mut |_, _| ());
        } else if !(world.ask() || world.walk(0) || world.read()) {
            break;
        }
        notices.extend(std::iter::from_fn(|| world.tree.poll_notice()));
    }
    let said = Notice::Unwatched(Arc::from(&b"/r/d"[..]), "open: input/output error".into());
    assert_eq!(notices, [said]);
    assert_eq!(world.tree.unwatched(), 1);

    world.tree.handle_scope(Scope::new(watches()));
    world.settle();
    assert_eq!(world.tree.unwatched(), 0);
    world.kernel.create(d, "f", false);
    world.settle();
    assert_eq!(world.reader.created.get(&b"/r/d/f"[..]), Some(&1));
}

#[test]
fn a_root_that_does_not_exist_is_told_of_once() {
    let mut world = World::new(100, vec![coverage(&["/r/x/y"], true, true, &NAMES)]);
    let mut notices = Vec::new();
    while world.ask() || world.walk(0) || world.read() {
        notices.extend(std::iter::from_fn(|| world.tree.poll_notice()));
    }
    assert_eq!(notices, [Notice::Waits(Arc::from(&b"/r/x"[..]))]);
    let r = 1;
    let x = world.kernel.create(r, "x", true).unwrap();
    let y = world.kernel.create(x, "y", true).unwrap();
    world.kernel.create(y, "f", false);
    world.kernel.close(y, "f");
    let mut notices = Vec::new();
    while world.ask() || world.walk(0) || world.read() {
        notices.extend(std::iter::from_fn(|| world.tree.poll_notice()));
    }
    assert_eq!(notices, [Notice::Watches(Arc::from(&b"/r/x/y"[..]))]);
    assert_eq!(world.reader.created.get(&b"/r/x/y/f"[..]), Some(&1));
    assert_eq!(world.reader.closed.get(&b"/r/x/y/f"[..]), Some(&1));
}
