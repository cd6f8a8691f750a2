//! Rules between file systems: the destination is a small file system of the daemon's own.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::process::Signal;

use crate::{
    starts,
    support::{Daemon, WATCH, World, is_root, names, until},
};

fn config(keys: &str, action: &str, more: &str) -> String {
    format!(
        "
[scheduler.job]
{keys}
[[scheduler.job.rules]]
action = \"{action}\"
src_re = '^$DIR/in/(.*)$'
dst_re = '$DIR/out/\\1'
{more}
{WATCH}"
    )
}

/// The daemon with another file system at `out`, of this size; `None` where that cannot be had.
fn start(world: &World, size: &str, config: &str) -> Option<Daemon> {
    if !is_root() {
        eprintln!("skipped: another file system, because this is not root");
        return None;
    }
    let script = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"");
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
        command.arg(world.path("out"));
        command
    };
    let start = starts::one();
    let tried = unshare("mount -t tmpfs tmpfs \"$0\"").output();
    drop(start);
    if !tried.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: another file system, because `unshare` or `mount` is not permitted");
        return None;
    }
    let mut command = unshare(&script);
    command.arg(env!("CARGO_BIN_EXE_pyinotifyd"));
    Some(world.start_by(command, &[], config))
}

/// Writes without an event, then brings the file in by one.
fn bring(world: &World, name: &str, content: &[u8]) {
    fs::rename(world.write(name, content), world.path("in").join(name)).unwrap();
}

const BIG: usize = 24 << 20;

fn is_whole(content: &[u8]) -> bool {
    content.len() == BIG && content.iter().all(|byte| *byte == 7)
}

#[test]
fn a_full_destination_is_an_error_and_leaves_everything_as_it_was() {
    for action in ["move", "copy"] {
        let world = World::new();
        let Some(daemon) = start(&world, "1m", &config("", action, "")) else { return };
        bring(&world, "x", &vec![7; BIG]);
        let line = daemon.wait_for("job - ERROR *failed for */in/x after *: rule 1: cannot ");
        assert!(line.contains("no space left on device"), "{line}");
        assert!(is_whole(&fs::read(world.path("in/x")).unwrap()));
        assert_eq!(names(&daemon.sees(&world.path("out"))).len(), 0, "nothing is left over");
        // Nothing holds the room either.
        bring(&world, "y", &vec![7; 900 << 10]);
        daemon.wait_for("job - INFO *: *d */in/y to ");
    }
}

#[test]
fn what_failed_for_want_of_room_succeeds_when_there_is_some() {
    let world = World::new();
    let keys = "retry = { tries = 1000, backoff = \"50ms\", max_backoff = \"50ms\" }";
    let Some(daemon) = start(&world, "40m", &config(keys, "move", "")) else { return };
    let filler = daemon.sees(&world.path("out/filler"));
    fs::write(&filler, vec![0; BIG]).unwrap();
    bring(&world, "x", &vec![7; BIG]);
    daemon.wait_for("attempt 2 of 1000 failed for */in/x, *no space left on device");
    fs::remove_file(filler).unwrap();
    daemon.wait_for("moved */in/x to */out/x for ");
    assert!(!world.exists("in/x"));
    assert!(is_whole(&fs::read(daemon.sees(&world.path("out/x"))).unwrap()));
}

#[test]
fn a_file_that_is_there_already_stays() {
    let world = World::new();
    let Some(daemon) = start(&world, "80m", &config("", "move", "")) else { return };
    let there = daemon.sees(&world.path("out/x"));
    fs::write(&there, "old").unwrap();
    bring(&world, "x", &vec![7; BIG]);
    daemon.wait_for("job - ERROR *failed for */in/x after *overwrite = true replaces a file");
    assert!(is_whole(&fs::read(world.path("in/x")).unwrap()));
    assert_eq!(fs::read(there).unwrap(), b"old");
    assert_eq!(names(&daemon.sees(&world.path("out"))), ["x"]);
}

#[test]
fn the_final_name_is_a_whole_file_or_none() {
    for (action, more) in [("move", ""), ("copy", ""), ("move", "overwrite = true")] {
        let world = World::new();
        let Some(daemon) = start(&world, "200m", &config("", action, more)) else { return };
        let last = daemon.sees(&world.path("out/x"));
        if !more.is_empty() {
            fs::write(&last, vec![7; BIG]).unwrap();
        }
        let (over, last) = (AtomicBool::new(false), &*last);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = 0;
                while !over.load(Ordering::Relaxed) || seen == 0 {
                    match fs::read(last) {
                        Ok(content) => {
                            seen += 1;
                            assert!(is_whole(&content), "{} bytes", content.len());
                        }
                        // What is replaced is there all the time.
                        Err(error) => assert!(more.is_empty(), "{error}"),
                    }
                }
            });
            bring(&world, "x", &vec![7; BIG]);
            daemon.wait_for("job - INFO *: *d */in/x to */out/x for ");
            over.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
        assert_eq!(world.exists("in/x"), action == "copy");
        assert_eq!(names(&daemon.sees(&world.path("out"))), ["x"]);
    }
}

/// Stops the daemon in the middle of copying a file, lets `swap` do its worst, and lets it go on.
/// Gives the name of the file, once something has come of it.
fn in_the_middle(world: &World, daemon: &Daemon, dir: &Path, swap: impl Fn(&str)) -> String {
    for number in 0..100 {
        let name = format!("x{number}");
        let final_name = dir.join(&name);
        bring(world, &name, &vec![7; BIG]);
        // Descriptors show a copy that has no name yet.
        let fds = format!("/proc/{}/fd", daemon.pid());
        let copies = || {
            fs::read_dir(&fds).unwrap().filter_map(Result::ok).any(|fd| {
                fs::read_link(fd.path()).is_ok_and(|it| it.ends_with(format!("in/{name}")))
            })
        };
        until("it copies, or is done", || copies() || final_name.exists());
        daemon.signal(Signal::STOP);
        let caught = copies() && !final_name.exists();
        if caught {
            swap(&name);
        }
        daemon.signal(Signal::CONT);
        daemon.wait_for(&format!(" for */in/{name} after "));
        if caught {
            return name;
        }
        let _ = fs::remove_file(final_name);
    }
    panic!("no copy was ever caught in the middle");
}

#[test]
fn a_link_that_appears_under_the_final_name_is_not_followed() {
    let world = World::new();
    let Some(daemon) = start(&world, "200m", &config("", "move", "")) else { return };
    let secret = world.write("secret", "secret");
    let out = daemon.sees(&world.path("out"));
    let name = in_the_middle(&world, &daemon, &out, |name| {
        symlink(&secret, out.join(name)).unwrap();
    });
    let line = daemon.wait_for(&format!("job - ERROR *failed for */in/{name} after "));
    assert!(line.contains("there is something at the destination"), "{line}");
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    assert_eq!(fs::read_link(out.join(&name)).unwrap(), secret);
    assert!(is_whole(&fs::read(world.path("in").join(&name)).unwrap()));
    assert_eq!(names(&out), [name]);
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let world = World::new();
    let to_sub = config("", "move", "").replace("/out/", "/out/sub/");
    let Some(daemon) = start(&world, "200m", &to_sub) else {
        return;
    };
    fs::create_dir(world.path("evil")).unwrap();
    let out = daemon.sees(&world.path("out"));
    fs::create_dir(out.join("sub")).unwrap();
    let name = in_the_middle(&world, &daemon, &out.join("sub"), |_| {
        fs::rename(out.join("sub"), out.join("old")).unwrap();
        symlink(world.path("evil"), out.join("sub")).unwrap();
    });
    assert_eq!(names(&world.path("evil")).len(), 0);
    // In the directory that was meant, or where it came from, and whole.
    let places = [out.join("old").join(&name), world.path("in").join(&name)];
    let whole = places.iter().filter(|it| fs::read(it).is_ok_and(|it| is_whole(&it))).count();
    assert_eq!(whole, 1);
}

#[test]
fn a_source_that_becomes_a_link_is_not_followed() {
    let world = World::new();
    let Some(daemon) = start(&world, "200m", &config("", "move", "")) else { return };
    let secret = world.write("secret", "secret");
    let out = daemon.sees(&world.path("out"));
    let name = in_the_middle(&world, &daemon, &out, |name| {
        symlink(&secret, world.path("link")).unwrap();
        fs::rename(world.path("link"), world.path("in").join(name)).unwrap();
    });
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    // The link itself, or the file as it was, or nothing.
    let last = out.join(&name);
    match fs::read_link(&last) {
        Ok(link) => assert_eq!(link, secret),
        Err(_) => assert!(fs::read(last).map_or(true, |it| is_whole(&it)), "what it leads to"),
    }
    // The link is an event of its own, whose run may be under way: none stays.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let strange = || names(&out).into_iter().find(|it| *it != name);
    while let Some(left) = strange() {
        assert!(std::time::Instant::now() < deadline, "{left} stays");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_system_that_does_not_answer_is_given_up_on_and_all_others_go_on() {
    if !is_root() {
        eprintln!("skipped: a file system that hangs, because this is not root");
        return;
    }
    let world = World::new();
    fs::create_dir(world.path("in/hung")).unwrap();
    // Whoever asks it waits for the answers of the daemon itself, which does not know that it is asked.
    let mount = "exec 9<>/dev/fuse && mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 \
                 none \"$0\"";
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
        command.arg(world.path("in/hung"));
        command
    };
    let start = starts::one();
    let tried = unshare(mount).output();
    drop(start);
    if !tried.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: a file system that hangs, because FUSE is not to be had");
        return;
    }
    let mut command = unshare(&format!("{mount} && exec \"$@\""));
    command.arg(env!("CARGO_BIN_EXE_pyinotifyd"));
    let daemon =
        world.start_by(command, &[], &format!("[scheduler.job]\nlog = \"{{basename}}\"\n{WATCH}"));
    let said = "ERROR *cannot watch */in/hung: its file system has not answered for 10s";
    assert_eq!(daemon.lines_with(said).len(), 1);
    world.write("in/x", "");
    daemon.wait_for("job - INFO *done for */in/x ");
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}");
}
