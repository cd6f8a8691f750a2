//! What was killed in between, and is tried again.

use std::{
    env, fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
};

use pyinotifyd_sys::files::{Done, Fault, FileError, How, Options};

use crate::{World, names, options};

const HELPER: &str = "PYINOTIFYD_TEST_RECOVERY";
/// What a move or a copy does to the file systems, or finds out about them.
const CALLS: [&str; 9] = [
    "openat2",
    "linkat",
    "renameat2",
    "unlinkat",
    "copy_file_range",
    "fsync",
    "mkdirat",
    "syncfs",
    "fchmod",
];

fn again() -> Options<'static> {
    Options { owner: Some(7), again: true, ..options() }
}

fn act(world: &World, action: &str, what: &str, options: &Options<'_>) -> Result<Done, FileError> {
    match action {
        "move" => world.mv(what, what, options),
        _ => world.cp(what, what, options),
    }
}

/// A file, and a tree of a few.
fn fill(world: &World) {
    world.write("f", vec![3; 100_000]);
    fs::create_dir_all(world.src.join("t/a")).unwrap();
    for name in ["t/1", "t/a/2", "t/a/3"] {
        world.write(name, name.as_bytes().repeat(1000));
    }
    std::os::unix::fs::symlink("nowhere", world.src.join("t/link")).unwrap();
}

/// What is there, below this and with it, in a form that can be compared.
fn content(path: &Path, out: &mut Vec<(String, Vec<u8>)>, name: &str) {
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_dir() {
        out.push((name.to_owned(), Vec::new()));
        let mut names = names(path);
        names.sort();
        for it in names {
            let it = String::from_utf8(it).unwrap();
            content(&path.join(&it), out, &format!("{name}/{it}"));
        }
    } else if meta.is_symlink() {
        out.push((
            name.to_owned(),
            fs::read_link(path).unwrap().into_os_string().into_encoded_bytes(),
        ));
    } else {
        out.push((name.to_owned(), fs::read(path).unwrap()));
    }
}

fn at(dir: &Path, what: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let path = dir.join(what);
    path.symlink_metadata().ok()?;
    let mut out = Vec::new();
    content(&path, &mut out, what);
    Some(out)
}

/// Not a test of its own: what is killed.
#[test]
fn helper() {
    let Ok(order) = env::var(HELPER) else { return };
    let words: Vec<&str> = order.split('|').collect();
    let [action, what, src, dst] = words[..] else { panic!("{order}") };
    let world = World::at(src.into(), dst.into());
    act(&world, action, what, &Options { again: false, ..again() }).unwrap();
}

/// Kills the helper at the `when`th `call`; `false`: it has ended before.
fn killed(world: &World, action: &str, what: &str, call: &str, when: u32) -> bool {
    let (src, dst) = (world.src.to_str().unwrap(), world.dst.to_str().unwrap());
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=SIGKILL:when={when}")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "recovery::helper", "--test-threads=1"])
        .env(HELPER, format!("{action}|{what}|{src}|{dst}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if status.success() {
        return false;
    }
    assert_eq!(status.signal(), Some(9), "{action} {what}, {call} {when}: {status}");
    true
}

#[test]
fn whatever_call_it_is_killed_at_another_attempt_brings_it_to_its_end() {
    let traces = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    if !traces.is_ok_and(|it| it.success()) {
        eprintln!("skipped: crash points, because there is no strace that may trace");
        return;
    }
    let mut points = 0;
    for action in ["move", "copy"] {
        for what in ["f", "t"] {
            for call in CALLS {
                for when in 1..40 {
                    let Some(world) = World::far() else { return };
                    fill(&world);
                    let whole = at(&world.src, what).unwrap();
                    if !killed(&world, action, what, call, when) {
                        break;
                    }
                    points += 1;
                    let point = format!("{action} {what}, {call} {when}");
                    let there = at(&world.dst, what);
                    assert!(there.as_ref().is_none_or(|it| *it == whole), "{point}: partial");
                    assert!(
                        there.is_some() || at(&world.src, what) == Some(whole.clone()),
                        "{point}"
                    );
                    act(&world, action, what, &again())
                        .unwrap_or_else(|it| panic!("{point}: {it}"));
                    assert_eq!(at(&world.dst, what).as_ref(), Some(&whole), "{point}");
                    let left = at(&world.src, what);
                    assert_eq!(left.is_some(), action == "copy", "{point}: the source");
                    assert_eq!(names(&world.dst), [what.as_bytes()], "{point}: a name is left");
                }
            }
        }
    }
    assert!(points > 20, "only {points} points");
    eprintln!("{points} crash points");
}

#[test]
fn a_source_that_may_be_gone_does_not_take_its_copy_along() {
    let Some(world) = World::far() else { return };
    fill(&world);
    let (src, dst) = (world.src.to_str().unwrap(), world.dst.to_str().unwrap());
    // A disk that fails says so of what it has done, too: a journal may be replayed.
    let done = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat"])
        .args(["-e", "inject=unlinkat:error=EIO"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "recovery::helper", "--test-threads=1"])
        .env(HELPER, format!("move|f|{src}|{dst}"))
        .output();
    let Some(done) = done.ok().filter(|it| !it.stdout.is_empty()) else {
        return eprintln!("skipped: a disk that fails, because there is no strace that may trace");
    };
    let said =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said.contains("SourceKept"), "{said}");
    assert!(at(&world.dst, "f").is_some(), "the copy is gone");
    assert_eq!(act(&world, "move", "f", &again()).unwrap().how, How::Finished);
    assert!(at(&world.src, "f").is_none() && at(&world.dst, "f").is_some());
}

#[test]
fn only_another_attempt_takes_an_equal_file_for_its_own() {
    let Some(world) = World::far() else { return };
    fill(&world);
    let first = Options { again: false, ..again() };
    for what in ["f", "t"] {
        world.cp(what, what, &first).unwrap();
        assert_eq!(act(&world, "move", what, &first).unwrap_err().kind, Fault::Exists);
        let done = act(&world, "copy", what, &again()).unwrap();
        assert_eq!((done.how, done.changes), (How::Finished, Vec::new()));
        assert!(at(&world.src, what).is_some());
        let done = act(&world, "move", what, &again()).unwrap();
        assert_eq!(done.how, How::Finished);
        assert!(at(&world.src, what).is_none() && at(&world.dst, what).is_some());
        // Once more: it is there, and its source is not.
        assert_eq!(act(&world, "move", what, &again()).unwrap().how, How::Gone);
    }
}

#[test]
fn another_content_is_somebody_elses() {
    let Some(world) = World::far() else { return };
    fill(&world);
    world.cp("t", "t", &options()).unwrap();
    world.cp("f", "f", &options()).unwrap();
    // Half of the source is gone, and one of the rest is not what was copied.
    fs::remove_file(world.src.join("t/1")).unwrap();
    world.write("t/a/2", "new");
    let mtime = fs::metadata(world.src.join("f")).unwrap().modified().unwrap();
    let same_size = vec![4; 100_000];
    world.write("f", same_size.clone());
    fs::File::options().write(true).open(world.src.join("f")).unwrap().set_modified(mtime).unwrap();
    for what in ["t", "f"] {
        for action in ["move", "copy"] {
            assert_eq!(act(&world, action, what, &again()).unwrap_err().kind, Fault::Exists);
        }
    }
    assert_eq!(fs::read(world.src.join("t/a/2")).unwrap(), b"new");
    assert_eq!(fs::read(world.src.join("f")).unwrap(), same_size);
}

#[test]
fn what_others_left_is_theirs() {
    let Some(world) = World::far() else { return };
    fill(&world);
    let (own, other) = (".pyinotifyd-0000000000000007.tmp", ".pyinotifyd-0000000000000008.tmp");
    fs::create_dir(world.dst.join(own)).unwrap();
    fs::write(world.dst.join(own).join("x"), "half").unwrap();
    fs::write(world.dst.join(other), "half").unwrap();
    // A first attempt works beside what has its name.
    world.cp("t", "t", &Options { again: false, ..again() }).unwrap();
    assert!(world.dst.join(own).exists());
    world.mv("f", "f", &again()).unwrap();
    let mut left = names(&world.dst);
    left.sort();
    assert_eq!(left, [other.as_bytes(), b"f", b"t"]);
    fs::remove_file(world.dst.join(other)).unwrap();
}
