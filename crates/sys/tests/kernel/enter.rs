//! Entering, on real file systems and under attack.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::common::*;
use pyinotifyd_sys::enter::{
    Closed, EnterError, Found, Id, Kind, Look, Request, Walkers, WatchError, enter,
};
use pyinotifyd_sys::inotify::{InitError, Inotify};
use pyinotifyd_sys::mounts::{MountChange, MountWatch};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::process::{Resource, getrlimit, setrlimit};

const ALL: Look = Look::Everything { probe: false };

fn id(path: impl AsRef<Path>) -> Id {
    let meta = fs::symlink_metadata(path).unwrap();
    Id { dev: meta.dev(), ino: meta.ino() }
}

/// Like [`request`], with only `trusted` trusted.
fn beneath(trusted: &Path, rest: &str, mask: u32, look: Look) -> Request {
    let trusted_len = trusted.as_os_str().len();
    Request { trusted: trusted_len, ..request(trusted.join(rest), mask, look) }
}

fn names(found: &Found) -> Vec<(String, Kind)> {
    let name = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    let mut names: Vec<_> = found.entries.iter().map(|e| (name(&e.name), e.kind)).collect();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    names
}

/// Asks all, and gives the answers by ticket.
fn walk(
    walkers: &Walkers,
    woken: &mpsc::Receiver<()>,
    requests: Vec<Request>,
) -> Vec<Result<Found, EnterError>> {
    let count = requests.len();
    for (ticket, request) in (0..).zip(requests) {
        walkers.ask(ticket, request);
    }
    let mut answers = Vec::new();
    while answers.len() < count {
        woken.recv().unwrap();
        walkers.answers(&mut answers);
    }
    assert_eq!(walkers.outstanding(), 0);
    answers.sort_by_key(|(ticket, _)| *ticket);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn walkers(n: usize, inotify: &Inotify) -> (Walkers, mpsc::Receiver<()>) {
    let (wake, woken) = mpsc::channel();
    (Walkers::spawn(n, inotify, move || wake.send(()).unwrap_or(())).unwrap(), woken)
}

#[test]
fn one_enter_answers_everything() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    File::create(at("closed")).unwrap();
    let _writer = File::create(at("written")).unwrap();
    symlink("closed", at("link")).unwrap();
    let inotify = instance();
    let (walkers, woken) = walkers(1, &inotify);

    for probe in [false, true] {
        let request = request(&dir, CREATE, Look::Everything { probe });
        let by_walker = walk(&walkers, &woken, vec![request.clone()]).remove(0).unwrap();
        let found = enter(&inotify, &request).unwrap();
        assert_eq!(by_walker, found, "the same watch, the same answer");
        assert_eq!(watched_inode(&inotify, found.wd.unwrap()), Some(id(&dir).ino));
        assert_eq!((found.id, found.parent), (id(&dir), Some(id(dir.path().parent().unwrap()))));
        assert_eq!(
            (found.kind, found.watch_error, found.list_error),
            (Kind::Directory, None, None)
        );
        assert_eq!((found.opened, found.reads, found.barrier), (true, 2, None));
        assert_eq!(
            names(&found),
            [
                ("closed".into(), Kind::File),
                ("link".into(), Kind::Other),
                ("sub".into(), Kind::Directory),
                ("written".into(), Kind::File)
            ]
        );
        for entry in &found.entries {
            let expected = match &*entry.name {
                b"closed" if probe => Closed::Yes,
                b"written" if probe => Closed::No,
                _ => Closed::NotAsked,
            };
            assert_eq!(entry.closed, expected);
        }
    }
    let found = enter(&inotify, &request(&dir, CREATE, Look::Directories)).unwrap();
    assert_eq!(names(&found), [("sub".into(), Kind::Directory)]);
}

#[test]
fn what_we_do_is_what_we_say_we_did() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    let wd = watch(&inotify, &dir, libc::IN_ALL_EVENTS);
    let found = enter(&inotify, &request(&dir, libc::IN_ALL_EVENTS, Look::Nothing)).unwrap();
    assert_eq!((found.wd, found.opened, found.reads), (Some(wd), false, 0));
    assert_eq!(seen(&inotify), []);

    let found = enter(&inotify, &request(&dir, libc::IN_ALL_EVENTS, ALL)).unwrap();
    assert!(found.opened && found.reads == 2);
    let own = |mask| (wd, mask | ISDIR, String::new());
    // Equal records in a row are one.
    assert_eq!(seen(&inotify), [own(OPEN), own(ACCESS), own(CLOSE_NOWRITE)]);
}

#[test]
fn nothing_is_held_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let inotify = instance();
    let (walkers, woken) = walkers(1, &inotify);
    let found = walk(&walkers, &woken, vec![request(&sub, DELETE_SELF, ALL)]).remove(0).unwrap();
    fs::remove_dir(&sub).unwrap();
    let wd = found.wd.unwrap();
    assert_eq!(seen(&inotify), [(wd, DELETE_SELF, String::new()), (wd, IGNORED, String::new())]);
}

#[test]
fn symlinks_are_followed_in_the_trusted_part_only() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("real/sub")).unwrap();
    symlink("real", at("link")).unwrap();
    symlink("sub", at("real/hop")).unwrap();
    symlink("loop", at("loop")).unwrap();
    File::create(at("real/file")).unwrap();
    let inotify = instance();
    let entered = |request| enter(&inotify, &request).map(|found| found.id);

    for look in [Look::Nothing, ALL] {
        assert_eq!(entered(request(at("link"), CREATE, look)), Ok(id(at("real"))));
        assert_eq!(entered(request(at("link/hop"), CREATE, look)), Ok(id(at("real/sub"))));
        assert_eq!(entered(beneath(&at("link"), "sub", CREATE, look)), Ok(id(at("real/sub"))));
        for (trusted, rest) in [
            ("", "link"),
            ("", "link/sub"),
            ("link", "hop"),
            ("real", "hop"),
            ("", "gone"),
            ("real", "file/x"),
        ] {
            let trusted = dir.path().join(trusted);
            let answer = entered(beneath(&trusted, rest, CREATE, look));
            assert_eq!(answer, Err(EnterError::Missing), "{} + {rest}", trusted.display());
        }
        let looped = EnterError::Failed { call: "open", errno: libc::ELOOP };
        assert_eq!(entered(request(at("loop"), CREATE, look)), Err(looped));
        let wrong = EnterError::Failed { call: "open", errno: libc::EINVAL };
        assert_eq!(entered(beneath(&at("real"), "../link", CREATE, look)), Err(wrong));
    }
}

#[test]
fn a_file_is_watched_unless_only_a_directory_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    File::create(&file).unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    let inotify = instance();
    for (name, look) in [("file", Look::Nothing), ("file", ALL), ("link", ALL)] {
        let path = dir.path().join(name);
        let found = enter(&inotify, &request(&path, libc::IN_CLOSE_WRITE, look)).unwrap();
        assert_eq!((found.kind, found.id, found.parent), (Kind::File, id(&file), None));
        assert_eq!((found.opened, found.entries.len()), (false, 0));
        let wd = found.wd.unwrap();
        drop(File::options().write(true).open(&file).unwrap());
        assert_eq!(seen(&inotify), [(wd, libc::IN_CLOSE_WRITE, String::new())]);
        let only = request(&path, libc::IN_CLOSE_WRITE | ONLYDIR, look);
        assert_eq!(enter(&inotify, &only), Err(EnterError::Missing));
    }
}

#[test]
fn how_a_watch_is_added_is_not_for_the_mask_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    let wd = watch(&inotify, &dir, DELETE);
    let odd = libc::IN_MASK_ADD | libc::IN_ONESHOT | libc::IN_DONT_FOLLOW | libc::IN_MASK_CREATE;
    let found = enter(&inotify, &request(&dir, CREATE | odd, ALL)).unwrap();
    assert_eq!(found.wd, Some(wd), "through /proc, and not the link there");
    let path = dir.path().join("x");
    File::create(&path).unwrap();
    fs::remove_file(&path).unwrap();
    File::create(&path).unwrap();
    let create = (wd, CREATE, String::from("x"));
    assert_eq!(seen(&inotify), [create], "replaced, still there, equal records are one");
}

#[test]
fn beyond_the_longest_path_it_goes_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let name = "d".repeat(250);
    let mut path = dir.path().as_os_str().as_bytes().to_vec();
    let mut deepest = rustix::fs::openat(CWD, dir.path(), OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..40 {
        rustix::fs::mkdirat(&deepest, &name, Mode::RWXU).unwrap();
        deepest = rustix::fs::openat(&deepest, &name, OFlags::PATH, Mode::empty()).unwrap();
        path.push(b'/');
        path.extend(name.as_bytes());
    }
    rustix::fs::mkdirat(&deepest, "end", Mode::RWXU).unwrap();
    let stat = rustix::fs::fstat(&deepest).unwrap();

    let inotify = instance();
    let (walkers, woken) = walkers(2, &inotify);
    let asked: Vec<_> =
        [dir.path().as_os_str().len(), 6_000_usize.next_multiple_of(251), path.len()]
            .map(|trusted| {
                let trusted = (trusted..path.len()).find(|at| path[*at] == b'/');
                let trusted = trusted.unwrap_or(path.len());
                Request {
                    path: path.clone(),
                    trusted,
                    mask: CREATE,
                    add: false,
                    look: ALL,
                    names: Vec::new(),
                    stamps: false,
                    barrier: false,
                }
            })
            .into();
    for request in &asked {
        let found = enter(&inotify, request).unwrap();
        assert_eq!(found.id, Id { dev: stat.st_dev, ino: stat.st_ino });
        assert_eq!(names(&found), [("end".into(), Kind::Directory)]);
        assert_eq!(watched_inode(&inotify, found.wd.unwrap()), Some(stat.st_ino));
    }
    for found in walk(&walkers, &woken, asked) {
        assert_eq!(found.unwrap().id.ino, stat.st_ino);
    }
    // A symlink in one of the later steps is seen as well.
    rustix::fs::symlinkat("end", &deepest, "link").unwrap();
    path.extend(b"/link");
    let trusted = dir.path().as_os_str().len();
    let request = Request {
        path,
        trusted,
        mask: CREATE,
        add: false,
        look: ALL,
        names: Vec::new(),
        stamps: false,
        barrier: false,
    };
    assert_eq!(enter(&inotify, &request), Err(EnterError::Missing));
}

/// Runs `attack` again and again while `work` runs.
fn under_attack(attack: impl Fn() + Sync, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                attack();
            }
        });
        work();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_watch_is_on_what_was_open_whatever_is_swapped_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("a/in-a")).unwrap();
    fs::create_dir_all(at("b/in-b")).unwrap();
    let (a, b) = (id(at("a")), id(at("b")));
    let inotify = instance();
    let (walkers, woken) = walkers(2, &inotify);
    let request = beneath(dir.path(), "a", CREATE, Look::Directories);
    let attack = || {
        rustix::fs::renameat_with(CWD, at("a"), CWD, at("b"), RenameFlags::EXCHANGE).unwrap();
    };
    let check = |found: &Found| {
        let expected = if found.id == a { "in-a" } else { "in-b" };
        assert!(found.id == a || found.id == b);
        assert_eq!(names(found), [(expected.into(), Kind::Directory)]);
        assert_eq!(watched_inode(&inotify, found.wd.unwrap()), Some(found.id.ino));
        found.id == a
    };
    let mut hits = [0; 2];
    under_attack(attack, || {
        // On a busy machine the attacker's turn may be late.
        for tries in 0..1_000_000 {
            if tries >= 3_000 && hits[0] > 0 && hits[1] > 0 {
                break;
            }
            hits[usize::from(check(&enter(&inotify, &request).unwrap()))] += 1;
        }
        for found in walk(&walkers, &woken, vec![request.clone(); 3_000]) {
            hits[usize::from(check(&found.unwrap()))] += 1;
        }
    });
    assert!(hits[0] > 0 && hits[1] > 0, "the attack took place: {hits:?}");
}

#[test]
fn a_symlink_swapped_in_never_leads_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("tree/d/sub")).unwrap();
    fs::create_dir_all(at("outside/sub")).unwrap();
    symlink(at("outside"), at("tree/l")).unwrap();
    let inside = id(at("tree/d/sub"));
    let inotify = instance();
    let request = beneath(&at("tree"), "d/sub", CREATE | ONLYDIR, ALL);
    let attack = || {
        let (d, l) = (at("tree/d"), at("tree/l"));
        rustix::fs::renameat_with(CWD, d, CWD, l, RenameFlags::EXCHANGE).unwrap();
    };
    let (mut entered, mut missing) = (0, 0);
    under_attack(attack, || {
        // On a busy machine the attacker's turn may be late.
        for tries in 0..1_000_000 {
            if tries >= 3_000 && entered > 0 && missing > 0 {
                break;
            }
            match enter(&inotify, &request) {
                Ok(found) => {
                    assert_eq!(found.id, inside);
                    entered += 1;
                }
                Err(error) => {
                    assert_eq!(error, EnterError::Missing);
                    missing += 1;
                }
            }
        }
    });
    assert!(entered > 0 && missing > 0, "the attack took place: {entered} {missing}");
}

#[test]
fn a_large_directory_is_listed_whole() {
    let dir = tempfile::tempdir().unwrap();
    let place = File::open(&dir).unwrap();
    for number in 0..20_000 {
        let file = rustix::fs::FileType::RegularFile;
        rustix::fs::mknodat(&place, format!("file-{number:05}"), file, Mode::RUSR, 0).unwrap();
    }
    let inotify = instance();
    let found = enter(&inotify, &request(&dir, CREATE, ALL)).unwrap();
    assert!(found.reads > 5, "{}", found.reads);
    let names = names(&found);
    assert_eq!(names.len(), 20_000);
    for (number, (name, _)) in names.iter().enumerate() {
        assert_eq!(*name, format!("file-{number:05}"));
    }
}

#[test]
fn barriers_of_two_walkers_are_never_mixed_up() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    let (walkers, woken) = walkers(2, &inotify);
    let request = Request { barrier: true, ..request(&dir, CREATE, Look::Directories) };
    let mut wds: Vec<_> = walk(&walkers, &woken, vec![request; 2_000])
        .into_iter()
        .map(|found| found.unwrap().barrier.unwrap())
        .collect();
    let mut told: Vec<_> = seen(&inotify).into_iter().map(|(wd, mask, _)| (mask, wd)).collect();
    wds.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, wds.into_iter().map(|wd| (IGNORED, wd)).collect::<Vec<_>>());
}

#[test]
fn at_the_limit_of_watches_the_rest_is_had_all_the_same() {
    const NAME: &str = "enter::at_the_limit_of_watches_the_rest_is_had_all_the_same";
    if !is_inside(NAME, "-r", "echo 3 > /proc/sys/user/max_inotify_watches") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let inotify = instance();
    let (walkers, woken) = walkers(1, &inotify);
    let ask = |name: &str| {
        let request = request(dir.path().join(name), CREATE, ALL);
        walk(&walkers, &woken, vec![Request { barrier: true, ..request }]).remove(0).unwrap()
    };
    assert!(ask("a").wd.is_some() && ask("b").wd.is_some());
    for _ in 0..3 {
        let found = ask("c");
        assert_eq!((found.wd, found.watch_error), (None, Some(WatchError::Limit)));
        assert_eq!(found.id, id(dir.path().join("c")));
        let barrier = found.barrier.expect("the reserve");
        assert_eq!(seen(&inotify).last(), Some(&(barrier, IGNORED, String::new())));
    }
}

#[test]
fn the_two_limits_behind_emfile_are_told_apart() {
    const NAME: &str = "enter::the_two_limits_behind_emfile_are_told_apart";
    if !is_inside(NAME, "-r", "echo 2 > /proc/sys/user/max_inotify_instances && ulimit -n 64") {
        return;
    }
    let first = Inotify::new().unwrap();
    let second = Inotify::new().unwrap();
    assert!(matches!(Inotify::new(), Err(InitError::InstanceLimit { limit: Some(_) })));
    drop((first, second));
    let mut files = Vec::new();
    while let Ok(file) = File::open("/") {
        files.push(file);
    }
    assert!(matches!(Inotify::new(), Err(InitError::DescriptorLimit(_))));
}

#[test]
fn of_a_file_that_has_lost_its_name_nothing_more_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let inotify = instance();
    let mask = libc::IN_MODIFY | libc::IN_CLOSE_WRITE | DELETE;
    let wd = enter(&inotify, &request(&dir, mask, Look::Nothing)).unwrap().wd.unwrap();
    let mut file = File::create(&path).unwrap();
    fs::remove_file(&path).unwrap();
    std::io::Write::write_all(&mut file, b"x").unwrap();
    drop(file);
    assert_eq!(seen(&inotify), [(wd, DELETE, "f".into())]);
}

#[test]
fn what_there_is_no_descriptor_for_is_entered_when_there_is_one() {
    const NAME: &str = "enter::what_there_is_no_descriptor_for_is_entered_when_there_is_one";
    // The limit is the whole process's.
    if !is_inside(NAME, "-r", "true") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("f")).unwrap();
    let inotify = instance();
    let (walkers, woken) = walkers(1, &inotify);
    // Its reserve is there once it has answered.
    walk(&walkers, &woken, vec![request("/", CREATE, Look::Nothing)]).remove(0).unwrap();
    let before = getrlimit(Resource::Nofile);
    let mut none = before;
    none.current = Some(3);
    setrlimit(Resource::Nofile, none).unwrap();
    walkers.ask(0, request(&dir, CREATE, ALL));
    while walkers.short_of().is_none() {
        thread::yield_now();
    }
    assert_eq!(walkers.short_of().unwrap().raw_os_error(), Some(libc::EMFILE));
    setrlimit(Resource::Nofile, before).unwrap();
    woken.recv().unwrap();
    let mut answers = Vec::new();
    walkers.answers(&mut answers);
    let found = answers.remove(0).1.unwrap();
    assert!(found.wd.is_some() && names(&found) == [("f".into(), Kind::File)]);
    assert!(walkers.short_of().is_none());
}

#[test]
fn a_user_gets_what_can_be_had() {
    const NAME: &str = "enter::a_user_gets_what_can_be_had";
    if !is_root() {
        eprintln!("skipped: {NAME}, because only root can become another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, mode) in [("closed", 0o700), ("x-only", 0o711), ("r-only", 0o744)] {
        fs::create_dir_all(at(name).join("sub")).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    File::create(at("roots")).unwrap();
    let inotify = instance();
    // Credentials are a thread's own when set by the bare system call.
    thread::scope(|scope| {
        scope.spawn(|| {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            let denied = Some(WatchError::Denied(libc::EACCES));

            let found = enter(&inotify, &request(at("x-only"), CREATE, ALL)).unwrap();
            assert_eq!((found.id, found.kind), (id(at("x-only")), Kind::Directory));
            assert_eq!((found.wd, found.watch_error), (None, denied));
            assert_eq!((found.list_error, found.opened), (Some(libc::EACCES), false));

            let (walkers, woken) = walkers(1, &inotify);
            let found = walk(&walkers, &woken, vec![request(at("r-only"), CREATE, ALL)]).remove(0);
            let found = found.unwrap();
            assert!(found.wd.is_some() && found.parent.is_none() && found.list_error.is_none());
            assert_eq!(names(&found), [("sub".into(), Kind::Directory)]);

            let inner = enter(&inotify, &request(at("closed/sub"), CREATE, ALL));
            assert_eq!(inner, Err(EnterError::Denied(libc::EACCES)));

            // Another's file: no lease without CAP_LEASE, and not all of /proc may be read.
            let look = Look::Everything { probe: true };
            let found = enter(&inotify, &request(&dir, CREATE, look)).unwrap();
            let roots = found.entries.iter().find(|entry| &*entry.name == b"roots").unwrap();
            assert!(
                matches!(roots.closed, Closed::Unknown(doubt) if doubt.opened && doubt.errno == libc::EACCES),
                "{:?}",
                roots.closed
            );
        });
    });
}

#[test]
fn mounts_are_told() {
    let script = "mount --make-rprivate /";
    if !is_root() || !is_inside("enter::mounts_are_told", "-m", script) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("a b\\c");
    fs::create_dir(&place).unwrap();
    let mut watch = MountWatch::new().unwrap();
    let is_ready = |watch: &MountWatch| {
        let mut fds = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::PRI)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).unwrap() > 0
    };
    assert!(!is_ready(&watch));
    let run = |program: &str, options: &[&str]| {
        let done = std::process::Command::new(program).args(options).arg(&place).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    run("mount", &["-t", "tmpfs", "none"]);
    assert!(is_ready(&watch));
    let changes = watch.changed().unwrap();
    let [MountChange::Mounted(mount)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(&*mount.path, place.as_os_str().as_bytes());
    assert_eq!((&*mount.fstype, mount.dev), (&b"tmpfs"[..], id(&place).dev));
    assert!(!is_ready(&watch) && watch.changed().unwrap().is_empty());

    // An entered directory keeps nothing mounted.
    let inotify = instance();
    let (walkers, woken) = walkers(1, &inotify);
    let found = walk(&walkers, &woken, vec![request(&place, CREATE, ALL)]).remove(0).unwrap();
    assert_eq!(found.parent, Some(id(&dir)), "above a mount is where it is mounted");
    run("umount", &[]);
    let changes = watch.changed().unwrap();
    assert_eq!(changes, [MountChange::Unmounted(mount.clone())]);
    let wd = found.wd.unwrap();
    assert_eq!(
        seen(&inotify),
        [(wd, libc::IN_UNMOUNT | ISDIR, String::new()), (wd, IGNORED, String::new())]
    );
}
