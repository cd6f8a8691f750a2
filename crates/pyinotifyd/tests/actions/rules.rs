//! File rules on real files, the log action, and runs that only say what they would do.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use crate::support::{WATCH, World, is_root, name, names};

fn job(rules: &[&str]) -> String {
    job_with("", rules)
}

fn job_with(keys: &str, rules: &[&str]) -> String {
    let head = "[[scheduler.job.rules]]\n";
    let rules: Vec<_> = rules.iter().flat_map(|rule| [head, rule, "\n"]).collect();
    let rules = rules.concat();
    format!("[scheduler.job]\n{keys}\n{rules}{WATCH}")
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

const MOVE: &str =
    "action = \"move\"\nsrc_re = '^$DIR/in/(?P<name>.*)$'\ndst_re = '$DIR/out/\\g<name>'";
const COPY: &str =
    "action = \"copy\"\nsrc_re = '^$DIR/in/(?P<name>.*)$'\ndst_re = '$DIR/out/\\g<name>'";

#[test]
fn the_first_rule_that_matches_is_the_one() {
    let world = World::new();
    let daemon = world.start(&job(&[
        "action = \"move\"\nsrc_re = '^$DIR/in/(.*)\\.mv$'\ndst_re = '$DIR/out/\\1'",
        "action = \"copy\"\nsrc_re = '^$DIR/in/(.*)\\.cp$'\ndst_re = '$DIR/out/\\1'",
        "action = \"delete\"\nsrc_re = '^$DIR/in/.*\\.(rm|mv)$'",
    ]));
    for (name, said) in [
        ("a.mv", "moved */in/a.mv to */out/a for */in/a.mv after "),
        ("b.cp", "copied */in/b.cp to */out/b for "),
        ("c.rm", "deleted */in/c.rm for "),
        ("d", "no rule matches for */in/d after "),
    ] {
        world.write(format!("in/{name}"), name);
        daemon.wait_for(&format!("job - INFO *: {said}"));
    }
    assert_eq!(names(&world.path("in")), ["b.cp", "d"]);
    assert_eq!(names(&world.path("out")), ["a", "b"]);
    assert_eq!((world.read("out/a"), world.read("out/b")), ("a.mv".into(), "b.cp".into()));
}

#[test]
fn a_group_that_begins_with_the_slash_works_as_it_always_has() {
    let world = World::new();
    let daemon = world.start(&job(&[
        "action = \"move\"\nsrc_re = '^$DIR/in(.*)$'\ndst_re = '$DIR/out/new/\\1'\nauto_create = true",
    ]));
    world.write("in/x", "x");
    daemon.wait_for("moved */in/x to */out/new/x for ");
    assert_eq!(world.read("out/new/x"), "x");
}

#[test]
fn modes_and_owners_are_those_of_the_rule() {
    let world = World::new();
    let owner = if is_root() {
        "user = 12\ngroup = 34\n"
    } else {
        eprintln!("skipped: another owner, because this is not root");
        ""
    };
    let rule = |action: &str| {
        format!(
            "action = \"{action}\"\nsrc_re = '^$DIR/in/(.*\\.{action})$'\n\
             dst_re = '$DIR/out/{action}/deep/\\1'\n\
             auto_create = true\nfilemode = \"0640\"\ndirmode = \"0751\"\n{owner}"
        )
    };
    let daemon = world.start(&job(&[&rule("move"), &rule("copy")]));
    world.write("in/x.move", "x");
    world.write("in/x.copy", "x");
    for (action, said) in [("move", "moved"), ("copy", "copied")] {
        daemon.wait_for(&format!("{said} */in/x.{action} to "));
        let file = world.path(format!("out/{action}/deep/x.{action}"));
        let dirs = [format!("out/{action}"), format!("out/{action}/deep")].map(|it| world.path(it));
        assert_eq!((mode(&file), mode(&dirs[0]), mode(&dirs[1])), (0o640, 0o751, 0o751));
        if is_root() {
            for path in [&file, &dirs[0], &dirs[1]] {
                let data = fs::metadata(path).unwrap();
                assert_eq!((data.uid(), data.gid()), (12, 34), "{}", path.display());
            }
        }
    }
}

#[test]
fn an_existing_destination_is_kept_unless_it_may_be_replaced() {
    for (rule, verb) in [(MOVE, "moved"), (COPY, "copied")] {
        let world = World::new();
        let daemon = world.start(&job_with("retry = 3", &[rule]));
        world.write("out/x", "old");
        world.write("in/x", "new");
        let line = daemon.wait_for("job - ERROR *failed for */in/x after *: rule 1: cannot ");
        assert!(line.ends_with("overwrite = true replaces a file"), "{line}");
        assert_eq!(daemon.lines_with("attempt").len(), 0, "it would fail again");
        assert_eq!((world.read("in/x"), world.read("out/x")), ("new".into(), "old".into()));
        let daemon = world.start(&job(&[&format!("{rule}\noverwrite = true")]));
        world.write("in/x", "newer");
        daemon.wait_for(&format!("job - INFO *: {verb} "));
        assert_eq!(world.read("out/x"), "newer");
        assert_eq!(names(&world.path("out")), ["x"]);
    }
}

#[test]
fn a_directory_is_deleted_with_what_is_in_it_only_if_the_rule_says_so() {
    let world = World::new();
    let rule = "action = \"delete\"\nsrc_re = '^$DIR/in/[^/]*$'";
    let config = |more: &str| job_with("dirs = true", &[&format!("{rule}\n{more}")]);
    world.write("out/kept", "");
    for (more, said) in [
        ("", "failed for */in/d after *rec = true deletes it with all that is in it"),
        ("rec = true", "deleted */in/d and 3 entries in it for "),
    ] {
        fs::create_dir_all(world.path("new/sub")).unwrap();
        world.write("new/sub/file", "");
        symlink(world.path("out"), world.path("new/link")).unwrap();
        let daemon = world.start(&config(more));
        fs::rename(world.path("new"), world.path("in/d")).unwrap();
        daemon.wait_for(said);
        assert_eq!(world.exists("in/d"), more.is_empty());
        drop(daemon);
        let _ = fs::remove_dir_all(world.path("in/d"));
    }
    assert!(world.exists("out/kept"), "the link was not followed");
}

#[test]
fn a_file_is_moved_to_another_file_system() {
    let world = World::new();
    let device = |path: &Path| fs::metadata(path).map(|it| it.dev()).ok();
    let other = ["/dev/shm", "/var/tmp", "/run"].iter().map(Path::new).find_map(|it| {
        let is_other = device(it).is_some() && device(it) != device(&world.path("in"));
        is_other.then(|| tempfile::tempdir_in(it).ok()).flatten()
    });
    let Some(other) = other else {
        return eprintln!("skipped: a move to another file system, because there is none");
    };
    let rule = format!(
        "action = \"move\"\nsrc_re = '^$DIR/in/(?P<name>.*)$'\ndst_re = '{}/\\g<name>'",
        other.path().display()
    );
    let daemon = world.start(&job_with("", &[&rule]));
    world.write("in/f", "content");
    daemon.wait_for("moved */in/f to ");
    assert!(!world.exists("in/f"));
    assert_eq!(fs::read_to_string(other.path().join("f")).unwrap(), "content");
}

#[test]
fn a_link_is_moved_as_a_link_and_never_read() {
    for rule in [MOVE, COPY] {
        let world = World::new();
        let secret = world.write("secret", "secret");
        chmod(&secret, 0o600);
        let daemon = world.start(&job(&[&format!("{rule}\nfilemode = \"0644\"")]));
        symlink(&secret, world.path("link")).unwrap();
        fs::rename(world.path("link"), world.path("in/link")).unwrap();
        daemon.wait_for(" for */in/link after ");
        assert_eq!(mode(&secret), 0o600, "its mode is not what the rule is about");
        let moved = world.path("out/link");
        if moved.symlink_metadata().is_ok() {
            assert_eq!(fs::read_link(moved).unwrap(), secret);
        }
        assert_eq!(daemon.lines_with(" failed for ").len(), 0);
    }
}

#[test]
fn a_copy_is_not_setuid() {
    let world = World::new();
    let daemon = world.start(&job(&[COPY]));
    let file = world.write("x", "#!/bin/sh");
    chmod(&file, 0o6755);
    fs::rename(file, world.path("in/x")).unwrap();
    daemon.wait_for("copied ");
    assert_eq!(mode(&world.path("out/x")), 0o755);
}

#[test]
fn names_are_bytes_and_nothing_else() {
    let world = World::new();
    let daemon = world.start(&job(&[&MOVE.replace(".*", "(?s:.*)")]));
    let hostile: [&[u8]; 7] = [
        b"new\nline",
        b"\xff\xfe",
        br"\1\g<name>",
        b"{pathname}",
        b"-rf",
        b"\x1b[2J' \"$(touch x)`id`",
        &[b'n'; 255],
    ];
    for bytes in hostile {
        fs::write(world.path("in").join(name(bytes)), bytes).unwrap();
    }
    daemon.wait_for_count("job - INFO *: moved ", hostile.len());
    for bytes in hostile {
        let path = world.path("out").join(name(bytes));
        assert_eq!(fs::read(path).unwrap(), bytes, "{}", bytes.escape_ascii());
    }
    assert_eq!(names(&world.path("out")).len(), hostile.len());
    assert_eq!(names(&world.path("in")).len(), 0);
    let (_, lines) = daemon.stop();
    assert!(lines.iter().all(|line| line.contains(" - pyinotifyd/")), "no line is forged");
    assert!(!lines.concat().contains(char::is_control));
}

#[test]
fn no_name_leads_out_of_the_destination() {
    let world = World::new();
    fs::create_dir(world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), world.path("out/link")).unwrap();
    let daemon = world.start(&job(&[
        "action = \"move\"\nsrc_re = '^$DIR/in/(.*)_(.*)$'\ndst_re = '$DIR/out/\\1/\\2'\n\
         auto_create = true",
    ]));
    for name in [".._x", "._x", "link_x"] {
        world.write(format!("in/{name}"), "");
        daemon.wait_for(&format!(
            "job - ERROR *failed for */in/{name} after *: rule 1: cannot move "
        ));
    }
    assert_eq!(names(&world.path("in")).len(), 3);
    assert_eq!(names(&world.path("out")), ["link"]);
    assert_eq!(names(&world.path("elsewhere")).len(), 0);
}

#[test]
fn a_message_is_logged_on_one_line() {
    let world = World::new();
    let daemon = world.start(&format!(
        "[scheduler.job]\nlog = \"{{maskname}} {{basename}} by {{scheduler}}\"\n\
         log_level = \"warning\"\nlogname = \"told\"\n{WATCH}"
    ));
    fs::write(world.path("in").join(name(b"a\nb\xff")), "").unwrap();
    let line = daemon.wait_for("told - WARNING *: ");
    assert!(line.ends_with(r": IN_CLOSE_WRITE a\nb\xff by job"), "{line}");
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_would_be_done() {
    let world = World::new();
    let config = "
[scheduler.rules]
[[scheduler.rules.rules]]
action = \"move\"
src_re = '^$DIR/in/(.*)$'
dst_re = '$DIR/out/new/\\1'
auto_create = true
[scheduler.shell]
shell = \"cat {pathname} | cat >$DIR/ran\"
[scheduler.exec]
exec = [\"/bin/touch\", \"$DIR/ran\", \"{basename}\"]
env = { A = \"b\" }
cwd = \"/usr\"
[scheduler.log]
log = \"seen {basename}\"
[[watch]]
path = \"$DIR/in\"
event_map = { IN_CLOSE_WRITE = [\"rules\", \"shell\", \"exec\", \"log\"] }
";
    let command = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"));
    let daemon = world.start_by(command, &["-n"], config);
    world.write("in/a b", "x");
    daemon.wait_for_count(": dry run for */in/a b after ", 3);
    // A line of the log is nothing that could be held back: its run is over as it starts.
    daemon.wait_for_count("log - INFO *: would log: seen a b", 1);
    for said in [
        "rules - INFO *: would move */in/a b to */out/new/a b",
        "shell - INFO *: would run *='*/in/a b' /bin/sh -c *| cat >",
        "exec - INFO *: would run /bin/touch */ran 'a b' in /usr",
        "log - INFO *: would log: seen a b",
    ] {
        assert_eq!(daemon.lines_with(said).len(), 1, "{said}\n{}", daemon.lines().join("\n"));
    }
    assert_eq!(names(&world.path("in")), ["a b"]);
    assert_eq!(names(&world.path("out")).len(), 0);
    assert!(!world.exists("ran"));
}

#[test]
fn a_directory_is_moved_with_modes_for_all_that_is_in_it() {
    let world = World::new();
    let keys = format!("{MOVE}\nfilemode = \"0640\"\ndirmode = \"0710\"");
    let daemon = world.start(&job_with("dirs = true", &[&keys]));
    fs::create_dir_all(world.path("d/sub")).unwrap();
    world.write("d/sub/f", "");
    symlink("/nothing", world.path("d/link")).unwrap();
    fs::rename(world.path("d"), world.path("in/d")).unwrap();
    daemon.wait_for("moved */in/d to */out/d ");
    for (name, want) in [("d", 0o710), ("d/sub", 0o710), ("d/sub/f", 0o640)] {
        assert_eq!(mode(&world.path("out").join(name)), want, "{name}");
    }
    assert!(world.path("out/d/link").is_symlink());
}

#[test]
fn a_copy_that_may_overwrite_goes_into_a_directory() {
    let world = World::new();
    fs::create_dir(world.path("out/all")).unwrap();
    let rule =
        "action = \"copy\"\nsrc_re = '^$DIR/in/.*$'\ndst_re = '$DIR/out/all'\noverwrite = true";
    let daemon = world.start(&job(&[rule]));
    for (count, text) in [(1, "first"), (2, "second")] {
        world.write("in/a", text);
        daemon.wait_for_count("copied */in/a to ", count);
        assert_eq!(world.read("out/all/a"), text);
    }
}
