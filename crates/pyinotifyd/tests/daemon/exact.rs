//! New directories, however fast they come: nothing is lost, nothing is told twice.

use std::{
    fs,
    io::{Read, Write},
    process::{Command, Stdio},
    slice,
};

use super::{
    starts,
    support::{Daemon, World},
};

const CLOSED: &str = r#"
[scheduler.quiet]
log = "SEEN|{maskname}|{pathname}|{src_pathname}"
log_level = "warning"
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "quiet" }
"#;

/// What a fast writer does: a path of new directories, and a file at its end.
fn dig(world: &World, run: usize, paths: usize) -> Vec<String> {
    let top = world.path("w");
    let mut files = Vec::new();
    for number in 0..paths {
        let dir = format!("r{run}n{number}/a/b/c/d");
        fs::create_dir_all(top.join(&dir)).unwrap();
        fs::write(top.join(&dir).join("f"), "x").unwrap();
        files.push(format!("w/{dir}/f"));
    }
    files
}

/// What `cp -a` does: each directory, then what is in it.
fn copy(world: &World, run: usize) -> Vec<String> {
    let mut files = Vec::new();
    for dir in 0..25 {
        // Some are in others.
        let dir = format!("w/copy{run}/d{}/d{dir}", dir % 5);
        world.mkdir(&dir);
        for file in 0..200 {
            let file = format!("{dir}/f{file}");
            fs::write(world.path(&file), file.as_bytes()).unwrap();
            files.push(file);
        }
    }
    files
}

fn both(config: &str) {
    let world = World::new();
    let mut daemon = Daemon::start(&world, config);
    for run in 0..10 {
        let mut files = dig(&world, run, 2000);
        files.extend(copy(&world, run));
        daemon.sync();
        daemon.assert_each_once(files);
        daemon.forget();
        // The next run meets nothing but its own.
        for entry in fs::read_dir(world.path("w")).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    }
    daemon.sync();
    assert_eq!(daemon.told(), [""; 0]);
    daemon.stop();
    assert_eq!(daemon.log.iter().filter(|it| it.contains(" - ERROR - ")).count(), 0, "{daemon}");
}

#[test]
fn each_file_of_a_fast_writer_is_closed_once() {
    both(CLOSED);
}

#[test]
fn each_file_of_a_fast_writer_is_created_once() {
    both(&CLOSED.replace("IN_CLOSE_WRITE", "IN_CREATE"));
}

#[test]
fn a_program_runs_once_for_each_file_of_a_fast_writer() {
    let world = World::new();
    world.script("run", r#"printf '%s\n' "$1" >> "${0%/*}/ran""#);
    let config = r#"
[scheduler.run]
exec = ["@/run", "{pathname}"]
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "run" }
"#;
    let mut daemon = Daemon::start(&world, config);
    let files = dig(&world, 0, 300);
    for _ in &files {
        daemon.wait(": done for ");
    }
    daemon.stop();
    let ran = fs::read_to_string(world.path("ran")).unwrap();
    let mut ran: Vec<_> = ran.lines().map(str::to_owned).collect();
    let mut expected: Vec<_> =
        files.iter().map(|it| world.path(it).to_str().unwrap().to_owned()).collect();
    ran.sort();
    expected.sort();
    assert_eq!(ran, expected);
}

#[test]
fn a_file_that_is_open_for_writing_when_its_directory_is_met_is_told_when_it_is_closed() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CLOSED);
    for round in 0..20 {
        let at = |name: &str| format!("w/{round}/new/{name}");
        world.mkdir(&at(""));
        let mut slow = fs::File::create(world.path(&at("slow"))).unwrap();
        slow.write_all(&vec![0; 65536]).unwrap();
        world.write(&at("quick"));
        daemon.sync();
        assert_eq!(daemon.told(), [format!("IN_CLOSE_WRITE {}", at("quick"))]);
        slow.write_all(&vec![1; 65536]).unwrap();
        // A second writer closes: one event, which is not the last.
        drop(fs::File::options().append(true).open(world.path(&at("slow"))).unwrap());
        daemon.sync();
        let closed = format!("IN_CLOSE_WRITE {}", at("slow"));
        assert_eq!(daemon.told()[1..], *slice::from_ref(&closed));
        drop(slow);
        daemon.sync();
        assert_eq!(daemon.told()[1..], [closed.clone(), closed]);
        daemon.forget();
    }
    daemon.stop();
}

#[test]
fn a_file_that_is_mapped_for_writing_is_told_when_the_mapping_goes() {
    const MAP: &str = "import mmap, sys\n\
        f = open(sys.argv[1], 'w+b'); f.write(b'x' * 4096); f.flush()\n\
        m = mmap.mmap(f.fileno(), 4096); f.close()\n\
        print('mapped', flush=True); sys.stdin.read()\n";
    let world = World::new();
    let mut daemon = Daemon::start(&world, CLOSED);
    world.mkdir("w/new/dir");
    let start = starts::one();
    let child = Command::new("python3")
        .args(["-c", MAP])
        .arg(world.path("w/new/dir/mapped"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return eprintln!("skipped: a mapped file, because there is no python3 to map it");
    };
    let mut said = [0; 7];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    drop(start);
    // What was met by a listing is as open as what a record told of.
    world.rename("w/new", "w/renamed");
    daemon.sync();
    assert_eq!(daemon.told(), [""; 0]);
    drop(child.stdin.take());
    child.wait().unwrap();
    daemon.sync();
    assert_eq!(daemon.told(), ["IN_CLOSE_WRITE w/renamed/dir/mapped"]);
    daemon.stop();
}
