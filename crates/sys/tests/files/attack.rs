//! Somebody else is in the directories, too, and is fast.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use pyinotifyd_sys::files::{Fault, Options, copy_entry, delete_entry, move_entry};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use crate::{World, chmod, is_root, mode, names, options, owner, place, tempdir};

/// A thread that does one thing over and over until it is dropped.
struct Attacker {
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Attacker {
    fn start(mut attack: impl FnMut() + Send + 'static) -> Self {
        let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (seen, count) = (stop.clone(), turns.clone());
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                attack();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        while turns.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        Self { stop, turns, thread: Some(thread) }
    }

    fn swapping(a: PathBuf, b: PathBuf) -> Self {
        Self::start(move || {
            let _ = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
        })
    }

    fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("dropped once").join();
        if !thread::panicking() {
            ended.unwrap();
        }
    }
}

/// A directory outside, in which nothing may ever change.
struct Outside {
    dir: tempfile::TempDir,
}

impl Outside {
    fn new() -> Self {
        let dir = tempdir();
        fs::create_dir(dir.path().join("in")).unwrap();
        let outside = Self { dir };
        fs::write(outside.file(), "secret").unwrap();
        chmod(&outside.file(), 0o600);
        outside
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("in/f")
    }

    fn verify(&self) {
        assert_eq!(names(self.dir.path()), [b"in"], "something was made or deleted outside");
        assert_eq!(names(&self.dir.path().join("in")), [b"f"], "made or deleted outside");
        assert_eq!(fs::read(self.file()).unwrap(), b"secret");
        assert_eq!(mode(&self.file()), 0o600);
        if is_root() {
            assert_eq!(owner(&self.file()), (0, 0));
        }
    }
}

fn given() -> Options<'static> {
    let mut given = Options { filemode: Some(0o644), overwrite: true, ..options() };
    if is_root() {
        (given.user, given.group) = (Some(1234), Some(1234));
    }
    given
}

#[test]
fn a_directory_that_turns_into_a_link_leads_nowhere() {
    let world = World::near();
    let outside = Outside::new();
    for dir in [&world.src, &world.dst] {
        fs::create_dir_all(dir.join("sub/in")).unwrap();
        symlink(outside.dir.path(), dir.join("lnk")).unwrap();
    }
    let swaps =
        [&world.src, &world.dst].map(|dir| Attacker::swapping(dir.join("sub"), dir.join("lnk")));
    let [new, from] = ["new", "sub/in/f"].map(|name| world.src.join(name));
    let [to, made, gone] = ["sub/in/g", "sub/in/x/y", "sub/in/x"].map(|name| world.dst.join(name));
    let [new, from] = [&new, &from].map(|path| place(&world.src, path));
    let [to, made, gone] = [&to, &made, &gone].map(|path| place(&world.dst, path));
    let auto = Options { auto_create: true, dirmode: Some(0o777), ..given() };
    let rec = Options { rec: true, ..options() };
    let mut done = 0;
    for _ in 0..4000 {
        world.write("new", "mine");
        let results = [
            move_entry(new, from, &given()),
            copy_entry(from, to, &given()),
            move_entry(from, to, &given()),
            copy_entry(to, made, &auto),
            delete_entry(gone, &rec),
            delete_entry(to, &options()),
            delete_entry(from, &options()),
        ];
        for result in results {
            match result {
                Ok(_) => done += 1,
                Err(error) => assert!(
                    matches!(
                        error.kind,
                        Fault::LinkInTheWay
                            | Fault::SourceGone
                            | Fault::NoDirectory
                            | Fault::Changed
                            | Fault::SamePlace
                    ),
                    "{error} ({:?})",
                    error.kind
                ),
            }
        }
        outside.verify();
    }
    assert!(done > 0, "nothing ever succeeded");
    assert!(swaps.iter().all(|swap| swap.turns() > 1000));
}

#[test]
fn a_file_that_turns_into_a_link_is_not_followed() {
    for world in World::all() {
        let outside = Outside::new();
        symlink(outside.file(), world.src.join("lnk")).unwrap();
        world.write("f", "mine");
        let swap = Attacker::swapping(world.src.join("f"), world.src.join("lnk"));
        for _ in 0..2000 {
            let _ = world.cp("f", "copy", &given());
            if let Ok(bytes) = fs::symlink_metadata(world.dst.join("copy"))
                && bytes.is_file()
            {
                assert_eq!(fs::read(world.dst.join("copy")).unwrap(), b"mine");
            }
            if world.mv("f", "moved", &given()).is_ok() {
                let _ = fs::rename(world.dst.join("moved"), world.src.join("f"));
                if world.dst.join("moved").is_symlink() {
                    let _ = fs::remove_file(world.dst.join("moved"));
                    let _ = symlink(outside.file(), world.src.join("f"));
                } else if world.dst.join("moved").exists() {
                    fs::remove_file(world.dst.join("moved")).unwrap();
                    fs::write(world.src.join("f2"), "mine").unwrap();
                    fs::rename(world.src.join("f2"), world.src.join("f")).unwrap();
                }
            }
        }
        drop(swap);
        outside.verify();
        world.verify_clean();
    }
}

#[test]
fn a_hard_link_to_anothers_file_put_in_the_way_is_not_changed() {
    let world = World::near();
    let secret = world.dst.join("secret");
    fs::write(&secret, "secret").unwrap();
    chmod(&secret, 0o600);
    fs::hard_link(&secret, world.src.join("hard")).unwrap();
    world.write("f", "mine");
    let swap = Attacker::swapping(world.src.join("f"), world.src.join("hard"));
    for _ in 0..4000 {
        let _ = world.cp("f", "copy", &given());
        if let Ok(copy) = fs::read(world.dst.join("copy")) {
            assert_eq!(copy, b"mine");
        }
        if world.mv("f", "moved", &given()).is_ok() {
            fs::rename(world.dst.join("moved"), world.src.join("f")).unwrap();
        }
        assert_eq!(mode(&secret), 0o600);
    }
    drop(swap);
    if is_root() {
        assert_eq!(owner(&secret), (0, 0));
    }
}

#[test]
fn a_fifo_in_place_of_a_file_does_not_block() {
    for world in World::all() {
        mknodat(CWD, world.src.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        world.write("f", "mine");
        let _swap = Attacker::swapping(world.src.join("f"), world.src.join("fifo"));
        for _ in 0..2000 {
            match world.cp("f", "copy", &given()) {
                Ok(_) => assert_eq!(fs::read(world.dst.join("copy")).unwrap(), b"mine"),
                Err(error) => {
                    assert!(matches!(error.kind, Fault::Special | Fault::Changed), "{error}");
                }
            }
        }
    }
}

#[test]
fn deleting_or_copying_a_tree_that_is_rebuilt_meanwhile_stays_inside() {
    let world = World::near();
    let outside = Outside::new();
    let tree = world.src.join("tree");
    let rebuild = {
        let (tree, outside) = (tree.clone(), outside.dir.path().to_owned());
        Attacker::start(move || {
            let _ = fs::create_dir_all(tree.join("a/b"));
            let _ = fs::write(tree.join("a/b/f"), "x");
            let _ = symlink(&outside, tree.join("lnk"));
            let _ =
                renameat_with(CWD, tree.join("a"), CWD, tree.join("lnk"), RenameFlags::EXCHANGE);
            let _ = fs::rename(tree.join("a/b"), tree.join("c"));
            let _ = fs::rename(tree.join("lnk"), tree.join("a/d"));
        })
    };
    let rec = Options { rec: true, ..options() };
    let (mut copied, mut round) = (0, 0);
    while round < 300 || rebuild.turns() < 100 {
        round += 1;
        let to = world.dst.join(format!("{round}"));
        copied += u64::from(
            copy_entry(place(&world.src, &tree), place(&world.dst, &to), &given()).is_ok(),
        );
        if to.exists() {
            verify_no_secret(&to);
        }
        let _ = delete_entry(place(&world.src, &tree), &rec);
    }
    // The attacker itself writes through its own link, at times.
    drop(rebuild);
    assert_eq!(fs::read(outside.file()).unwrap(), b"secret");
    eprintln!("copied {copied} of {round}");
    world.verify_clean();
}

fn verify_no_secret(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            verify_no_secret(&entry.path());
        } else if kind.is_file() {
            assert_ne!(fs::read(entry.path()).unwrap(), b"secret");
        }
    }
}

#[test]
fn a_destination_that_appears_meanwhile_is_never_replaced_nor_followed() {
    for world in World::all() {
        let outside = Outside::new();
        let (name, away) = (world.dst.join("b"), world.dst.join("away"));
        fs::write(&away, "theirs").unwrap();
        let secret = outside.file();
        let appear = Attacker::start(move || {
            if fs::hard_link(&away, &name).is_ok() {
                assert_eq!(fs::read(&name).unwrap(), b"theirs", "it was replaced");
                fs::remove_file(&name).unwrap();
            }
            if symlink(&secret, &name).is_ok() {
                assert_eq!(fs::read_link(&name).unwrap(), secret, "it was replaced");
                fs::remove_file(&name).unwrap();
            }
        });
        let mut found = 0;
        for round in 0..2000 {
            let from = world.write("a", "ours");
            match world.mv("a", "b", &options()) {
                Ok(_) => {
                    assert_eq!(fs::read(world.dst.join("b")).unwrap(), b"ours");
                    fs::remove_file(world.dst.join("b")).unwrap();
                }
                Err(error) => {
                    assert_eq!(error.kind, Fault::Exists, "{error} in round {round}");
                    assert_eq!(fs::read(&from).unwrap(), b"ours");
                    found += 1;
                }
            }
        }
        drop(appear);
        eprintln!("{found} of 2000 times it was there");
        outside.verify();
        world.verify_clean();
    }
}

#[test]
fn whoever_opens_the_final_name_finds_it_whole() {
    for world in World::all() {
        let whole = vec![b'x'; 300_000];
        let whole_len = whole.len();
        let (name, opened) = (world.dst.join("b"), Arc::new(AtomicU64::new(0)));
        let count = opened.clone();
        let watcher = Attacker::start(move || {
            if let Ok(mut file) = File::open(&name) {
                let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
                assert_eq!(mode & 0o7777, 0o604, "a mode that is not the final one");
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                assert!(bytes.len() == whole_len && bytes.iter().all(|byte| *byte == b'x'));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut rounds = 0;
        let given = Options { filemode: Some(0o604), ..options() };
        while rounds < 200 || opened.load(Ordering::Relaxed) < 20 {
            rounds += 1;
            world.write("a", &whole);
            let overwrite = Options { overwrite: rounds % 3 != 0, ..given };
            match world.mv("a", "b", &overwrite) {
                Ok(_) => (),
                Err(error) => assert_eq!(error.kind, Fault::Exists, "{error}"),
            }
            if rounds % 5 == 0 {
                let _ = fs::remove_file(world.dst.join("b"));
            }
        }
        drop(watcher);
        world.verify_clean();
    }
}

#[test]
fn a_source_that_is_written_meanwhile_is_never_lost_nor_torn() {
    let Some(world) = World::far() else { return };
    let from = world.write("a", vec![0; 1 << 20]);
    let writer = {
        let mut byte = 0_u8;
        Attacker::start(move || {
            // In place, all of it; each write is one call, which the reader cannot tear on its
            // own but between two of its pieces.
            byte = byte.wrapping_add(1);
            if let Ok(file) = File::options().write(true).open(&from) {
                let _ = std::os::unix::fs::FileExt::write_all_at(&file, &vec![byte; 1 << 20], 0);
            }
        })
    };
    let (mut changed, mut copied) = (0, 0);
    for _ in 0..150 {
        match world.cp("a", "b", &Options { overwrite: true, ..options() }) {
            Ok(_) => {
                copied += 1;
                let bytes = fs::read(world.dst.join("b")).unwrap();
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn");
            }
            Err(error) => {
                assert_eq!((error.kind, error.is_temporary()), (Fault::Changed, true), "{error}");
                changed += 1;
            }
        }
    }
    drop(writer);
    eprintln!("changed {changed}, copied {copied}");
    assert!(changed > 0);
    world.mv("a", "c", &options()).unwrap();
    world.verify_clean();
}
