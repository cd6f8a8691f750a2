//! The tree follows the real kernel through random creates, renames, exchanges and deletes.
//!
//! No sleeps: events are in the queue before the system call that makes them returns, so what the
//! tree knows once the queue is empty and the other thread has ended is all there is to know.

#[path = "../src/runtime/translate.rs"]
mod translate;

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use pyinotifyd_core::{
    event::{EventType, Mask},
    filter::Filter,
    path,
    plan::{NamePattern, PathPattern},
    record::{Record, Wd},
    scope::{Coverage, Scope},
    tree::{Ask, Sighting, Tree},
};
use pyinotifyd_sys::{
    enter::{Barrier, enter},
    inotify::{Inotify, decode, drain},
};
use rustix::fs::{CWD, RenameFlags};

/// What users call xorshift: random enough to move directories about, and the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn path(&mut self, root: &Path) -> PathBuf {
        let depth = self.roll(5);
        let names = ["a", "b", "c"];
        (0..depth).fold(root.to_path_buf(), |at, _| {
            at.join(names[usize::try_from(self.roll(3)).expect("it is less than 3")])
        })
    }
}

/// A storm of changes. That most of them fail is part of it.
fn storm(root: &Path, seed: u64, changes: u32) {
    let mut dice = Dice(seed);
    for _ in 0..changes {
        let (one, other) = (dice.path(root), dice.path(root));
        let _ = match dice.roll(9) {
            0..=2 => fs::create_dir_all(&one),
            3 => fs::write(one.join("f"), "x"),
            4 if one != root => fs::remove_dir_all(&one),
            5 if one != root => fs::remove_dir(&one),
            6 => exchange(&one, &other),
            7 | 8 if one != root && other != root => fs::rename(&one, &other),
            _ => Ok(()),
        };
    }
}

fn exchange(one: &Path, other: &Path) -> std::io::Result<()> {
    let path = |it: &Path| CString::new(it.as_os_str().as_bytes()).expect("names have no NUL");
    let (one, other) = (path(one), path(other));
    Ok(rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

struct Follower {
    tree: Tree,
    inotify: Inotify,
    barrier: Barrier,
    records: Vec<u8>,
    overflows: u32,
    created: Vec<Vec<u8>>,
}

impl Follower {
    fn new(root: &Path) -> Self {
        let inotify = Inotify::new().expect("an inotify instance");
        let source: Arc<[u8]> = Arc::from(root.as_os_str().as_bytes());
        let names = path::names(&source).map(|it| NamePattern::Literal(it.into())).collect();
        let types = [EventType::Create, EventType::CloseWrite, EventType::Delete];
        let coverage = Coverage {
            paths: vec![PathPattern { source: Arc::clone(&source), names }],
            rec: true,
            auto_add: true,
            mask: types.into_iter().collect(),
            filter: Filter::default(),
        };
        Self {
            tree: Tree::new(Scope::new(vec![coverage])),
            barrier: Barrier::with_reserve(&inotify),
            inotify,
            records: Vec::new(),
            overflows: 0,
            created: Vec::new(),
        }
    }

    /// Does what the tree asks and hands over what is queued, once. Gives back whether there was
    /// anything.
    fn turn(&mut self) -> bool {
        let mut busy = self.ask();
        self.records.clear();
        drain(&self.inotify, &mut self.records).expect("records can be read");
        let records = std::mem::take(&mut self.records);
        for raw in decode(&records) {
            let raw = raw.expect("the kernel's records are whole");
            let (wd, mask) = (Wd(raw.wd), Mask(raw.mask));
            self.overflows += u32::from(mask.contains(EventType::QOverflow.mask()));
            assert!(self.tree.wants_records());
            let record = Record { wd, mask, cookie: raw.cookie, name: raw.name };
            let created = &mut self.created;
            self.tree.handle_record(&record, &mut |tree, it| see(created, tree, &it));
            busy = true;
            self.ask();
        }
        self.records = records;
        while self.tree.poll_notice().is_some() {}
        busy
    }

    fn ask(&mut self) -> bool {
        let mut asked = false;
        while let Some(ask) = self.tree.poll_ask() {
            asked = true;
            match ask {
                Ask::Enter(question) => {
                    let (ticket, request) = translate::request(question);
                    let answer = enter(&self.inotify, &request);
                    let (answer, created) = (translate::answer(answer), &mut self.created);
                    let out = &mut |tree: &Tree, it: Sighting<'_>| see(created, tree, &it);
                    self.tree.handle_entered(ticket, answer, out);
                }
                Ask::Leave(wd) => self.inotify.remove(wd.0).expect("a watch can be removed"),
                Ask::Barrier => {
                    let barrier = self.barrier.put(&self.inotify).map(Wd);
                    let created = &mut self.created;
                    self.tree.handle_barrier(barrier, &mut |tree, it| see(created, tree, &it));
                }
            }
        }
        asked
    }

    fn settle(&mut self) {
        while self.turn() || !self.tree.is_settled() {}
        self.tree.verify_invariants();
    }
}

fn see(created: &mut Vec<Vec<u8>>, tree: &Tree, sighting: &Sighting<'_>) {
    if sighting.event_type == EventType::Create {
        let mut at = Vec::new();
        tree.push_path(sighting.node, &mut at);
        path::push(&mut at, sighting.name);
        created.push(at);
    }
}

fn directories(root: &Path, out: &mut BTreeSet<Vec<u8>>) {
    out.insert(root.as_os_str().as_bytes().to_vec());
    for entry in fs::read_dir(root).expect("nobody changes it any more") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("its type").is_dir() {
            directories(&entry.path(), out);
        }
    }
}

#[test]
fn the_tree_follows_the_real_kernel() {
    let mut records_wrong = Vec::new();
    for round in 0..20u64 {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("it is there");
        let mut follower = Follower::new(&root);
        let worker = {
            let root = root.clone();
            thread::spawn(move || storm(&root, 0x9E37_79B9_7F4A_7C15 ^ (round + 1), 1_000))
        };
        while !worker.is_finished() {
            follower.turn();
        }
        worker.join().expect("the storm ends well");
        follower.settle();
        let mut there = BTreeSet::new();
        directories(&root, &mut there);
        let known: BTreeSet<Vec<u8>> = follower.tree.watched().map(|it| it.1).collect();
        if there != known {
            records_wrong.push((round, follower.overflows, there, known));
        }
    }
    assert!(records_wrong.is_empty(), "rounds with wrong paths: {records_wrong:?}");
}

#[test]
fn directories_made_as_fast_as_possible_are_told_of_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("it is there");
    let mut follower = Follower::new(&root);
    follower.settle();
    let worker = {
        let root = root.clone();
        thread::spawn(move || {
            for i in 0..500 {
                let dir = root.join(i.to_string()).join("a/b/c");
                fs::create_dir_all(&dir).expect("a directory");
                fs::write(dir.join("f"), "x").expect("a file");
            }
        })
    };
    while !worker.is_finished() {
        follower.turn();
    }
    worker.join().expect("all are made");
    follower.settle();
    assert_eq!(follower.overflows, 0);
    let told = follower.created.len();
    let different: BTreeSet<_> = follower.created.iter().collect();
    assert_eq!((told, different.len()), (2_500, 2_500));
}

#[test]
fn a_path_beyond_path_max_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("it is there");
    let mut follower = Follower::new(&root);
    follower.settle();
    let name = "x".repeat(250);
    let mut at = rustix::fs::open(&root, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty())
        .expect("it opens");
    let mut expected = root.clone().into_os_string().into_vec();
    for _ in 0..20 {
        rustix::fs::mkdirat(&at, &*name, rustix::fs::Mode::RWXU).expect("a directory");
        at = rustix::fs::openat(
            &at,
            &*name,
            rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        )
        .expect("it opens");
        path::push(&mut expected, name.as_bytes());
        follower.settle();
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    drop(rustix::fs::openat(&at, "f", flags, rustix::fs::Mode::RWXU).expect("a file"));
    follower.settle();
    path::push(&mut expected, b"f");
    assert!(expected.len() > 4096);
    assert_eq!(follower.created.last(), Some(&expected));
}
