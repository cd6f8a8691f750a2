//! The three examples of the original's page, as `config.toml`.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{
    starts,
    support::{Daemon, World},
};

#[test]
fn every_event_of_a_tree_is_logged() {
    let world = World::new();
    let config = r#"
[scheduler.other]
log = "SEEN|{maskname}|{pathname}|{src_pathname}"
log_level = "warning"
dirs = true
[[watch]]
path = "@/w"
event_map = { default = "other" }
"#;
    let mut daemon = Daemon::start(&world, config);
    fs::create_dir(world.path("w/d")).unwrap();
    daemon.sync();
    world.write("w/d/f");
    world.rename("w/d/f", "w/g");
    fs::set_permissions(world.path("w/g"), fs::Permissions::from_mode(0o600)).unwrap();
    let apart = starts::none();
    assert_eq!(fs::read(world.path("w/g")).unwrap(), b"w/d/f");
    drop(apart);
    fs::remove_file(world.path("w/g")).unwrap();
    fs::remove_dir(world.path("w/d")).unwrap();
    daemon.sync();
    let told = daemon.told();
    assert_eq!(
        told,
        [
            "IN_CREATE w/d",
            "IN_CREATE w/d/f",
            "IN_OPEN w/d/f",
            "IN_MODIFY w/d/f",
            "IN_CLOSE_WRITE w/d/f",
            "IN_MOVED_FROM w/d/f",
            "IN_MOVED_TO w/d/f -> w/g",
            "IN_ATTRIB w/g",
            "IN_OPEN w/g",
            "IN_ACCESS w/g",
            "IN_CLOSE_NOWRITE w/g",
            "IN_DELETE w/g",
            "IN_DELETE_SELF w/d",
            "IN_IGNORED w/d",
            "IN_DELETE w/d",
        ],
        "{daemon}"
    );
    daemon.stop();
}

#[test]
fn a_script_runs_for_files_that_were_written() {
    let world = World::new();
    world.script("task.sh", r#"printf '%s,%s\n' "$#" "$1" >> "${0%/*}/ran""#);
    let config = r#"
[scheduler.task]
shell = "@/task.sh {pathname}"
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "task" }
"#;
    let mut daemon = Daemon::start(&world, config);
    let path = world.write("w/a b");
    world.mkdir("w/dir");
    let done = format!(": done for {} after ", path.display());
    daemon.wait(&done);
    let ran = fs::read_to_string(world.path("ran")).unwrap();
    assert_eq!(ran, format!("1,{}\n", path.display()));
    daemon.stop();
}

#[test]
fn new_files_are_moved_copied_and_deleted_after_a_delay_unless_they_change() {
    let world = World::new();
    world.mkdir("dst");
    let config = r#"
[scheduler.files]
delay = 2
[[scheduler.files.rules]]
action = "move"
src_re = '^@/w/(?P<path>.*)\.to_move$'
dst_re = '@/dst/\g<path>'
auto_create = true
filemode = "0644"
dirmode = "0755"
[[scheduler.files.rules]]
action = "copy"
src_re = '^@/w/(?P<path>.*)\.to_copy$'
dst_re = '@/dst/\g<path>'
auto_create = true
filemode = "0644"
dirmode = "0755"
[[scheduler.files.rules]]
action = "delete"
src_re = '^@/w/(?P<path>.*)\.to_delete$'
rec = false
[[watch]]
path = "@/w"
[watch.event_map]
IN_CLOSE_WRITE = "files"
IN_MOVED_TO = "files"
IN_MODIFY = { cancel = "files" }
IN_MOVED_FROM = { cancel = "files" }
IN_DELETE = { cancel = "files" }
"#;
    let mut daemon = Daemon::start(&world, config);
    for name in ["changed", "deleted", "left"] {
        world.write(&format!("w/{name}.to_move"));
    }
    world.mkdir("w/sub/dir");
    for name in ["sub/dir/1.to_move", "sub/dir/2.to_copy", "3.to_delete", "4.other"] {
        world.write(&format!("w/{name}"));
    }
    daemon.sync();
    // Held open, so that nothing but the modification speaks for it.
    let mut changed =
        fs::File::options().append(true).open(world.path("w/changed.to_move")).unwrap();
    std::io::Write::write_all(&mut changed, b"more").unwrap();
    fs::remove_file(world.path("w/deleted.to_move")).unwrap();
    world.rename("w/left.to_move", "left");
    for (name, why) in
        [("changed", "IN_MODIFY"), ("deleted", "IN_DELETE"), ("left", "IN_MOVED_FROM")]
    {
        daemon.wait(&format!(
            "cancelled for {}.to_move: {why}",
            world.path(&format!("w/{name}")).display()
        ));
    }
    // Four tasks are left: none of them was cancelled, and nothing else runs.
    let mut ended: Vec<_> = (0..4)
        .map(|_| {
            let line = daemon.wait_for("an end", |line| {
                line.contains(" - pyinotifyd/files - ") && line.contains(" after ")
            });
            line.split_once(": ").unwrap().1.replace(world.path("").to_str().unwrap(), "")
        })
        .map(|line| line.rsplit_once(" after ").unwrap().0.to_owned())
        .collect();
    ended.sort();
    assert_eq!(ended.len(), 4, "{ended:?}");
    daemon.stop();
    let there = |path: &str| world.path(path).exists();
    assert!(there("dst/sub/dir/1") && !there("w/sub/dir/1.to_move"), "{daemon}");
    assert!(there("dst/sub/dir/2") && there("w/sub/dir/2.to_copy"), "{daemon}");
    assert!(!there("w/3.to_delete") && there("w/4.other"), "{daemon}");
    assert!(there("w/changed.to_move") && there("left"), "{daemon}");
    assert_eq!(fs::read_dir(world.path("dst")).unwrap().count(), 1, "{daemon}");
    let mode = |path: &str| fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("dst/sub"), mode("dst/sub/dir/1")), (0o755, 0o644));
}
