//! What a Watch covers: paths that come and go, filters, moves, mounts, several Watches.

use std::{fs, os::unix::fs::symlink, process::Command};

use super::{
    starts,
    support::{Daemon, World, inode, is_inside},
};

/// A Watch that logs these event types.
fn watch(paths: &str, more: &str, events: &[&str]) -> String {
    let map: Vec<_> = events.iter().map(|it| format!("{it} = \"quiet\"")).collect();
    format!("[[watch]]\npath = {paths}\n{more}\nevent_map = {{ {} }}\n", map.join(", "))
}

const QUIET: &str = r#"
[scheduler.quiet]
log = "SEEN|{maskname}|{pathname}|{src_pathname}"
log_level = "warning"
dirs = true
"#;

fn closed(paths: &str, more: &str) -> String {
    format!("{QUIET}{}", watch(paths, more, &["IN_CLOSE_WRITE"]))
}

/// Handles everything, and takes what was told.
fn told(daemon: &mut Daemon<'_>) -> Vec<String> {
    daemon.sync();
    let told = daemon.told();
    daemon.forget();
    told
}

fn each_closed(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|it| format!("IN_CLOSE_WRITE {it}")).collect()
}

#[test]
fn a_path_is_waited_for_and_may_vanish_and_return() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, &closed("\"@/w/a/b/c\"", ""));
    for round in 0..3 {
        world.mkdir("w/a/b/c/d");
        let files = [format!("w/a/b/c/f{round}"), format!("w/a/b/c/d/f{round}")];
        for file in &files {
            world.write(file);
        }
        world.write("w/a/b/not");
        let mut it = told(&mut daemon);
        it.sort();
        let mut expected = files.map(|it| format!("IN_CLOSE_WRITE {it}"));
        expected.sort();
        assert_eq!(it, expected);
        match round {
            0 => fs::remove_dir_all(world.path("w/a")).unwrap(),
            // What comes back by a rename is watched, and was not written anew.
            1 => {
                world.rename("w/a/b", "gone");
                world.write("gone/c/unseen");
                assert_eq!(told(&mut daemon), [""; 0]);
            }
            _ => (),
        }
    }
    daemon.stop();
}

#[test]
fn globs_match_what_appears_later_and_a_list_is_watched_whole() {
    let world = World::new();
    world.mkdir("w/in1/up");
    world.mkdir("other");
    let mut daemon =
        Daemon::start(&world, &closed("[\"@/w/in*/up\", \"@/other\", \"@/absent\"]", ""));
    world.mkdir("w/in2/up/deep");
    world.mkdir("w/out/up");
    world.mkdir("absent");
    let files = ["w/in1/up/f", "w/in2/up/f", "w/in2/up/deep/f", "other/f", "absent/f"];
    for file in files {
        world.write(file);
    }
    world.write("w/out/up/f");
    world.write("w/in1/f");
    daemon.sync();
    daemon.assert_each_once(files.map(str::to_owned));
    // A directory that gets a name that matches is watched from then on.
    daemon.forget();
    world.rename("w/out", "w/in3");
    daemon.sync();
    daemon.forget();
    world.write("w/in3/up/g");
    assert_eq!(told(&mut daemon), each_closed(&["w/in3/up/g"]));
    daemon.stop();
}

#[test]
fn what_is_excluded_is_not_even_watched() {
    let world = World::new();
    world.mkdir("w/keep/cache/deep");
    world.mkdir("w/skip/deep");
    let more = "exclude_filter = ['^@/w/skip', { glob = \"cache\" }, { glob = \"*.tmp\" }]";
    let mut daemon = Daemon::start(&world, &closed("\"@/w\"", more));
    world.mkdir("w/keep/new/cache/deep");
    for file in
        ["w/skip/f", "w/skip/deep/f", "w/keep/cache/f", "w/keep/f.tmp", "w/keep/new/cache/f"]
    {
        world.write(file);
    }
    world.write("w/keep/f");
    world.write("w/keep/new/f");
    let mut it = told(&mut daemon);
    it.sort();
    assert_eq!(it, each_closed(&["w/keep/f", "w/keep/new/f"]));
    let watched = daemon.watched();
    for dir in ["w", "w/keep", "w/keep/new"] {
        assert!(watched.contains(&inode(world.path(dir))), "{dir}");
    }
    for dir in ["w/skip", "w/skip/deep", "w/keep/cache", "w/keep/cache/deep", "w/keep/new/cache"] {
        assert!(!watched.contains(&inode(world.path(dir))), "{dir}");
    }
    daemon.stop();
}

#[test]
fn only_what_is_included_is_told() {
    let world = World::new();
    let mut daemon =
        Daemon::start(&world, &closed("\"@/w\"", "include_filter = { glob = \"*.pdf\" }"));
    world.mkdir("w/deep/deeper");
    for file in ["w/a.pdf", "w/b.txt", "w/deep/deeper/c.pdf", "w/deep/d.txt"] {
        world.write(file);
    }
    daemon.sync();
    daemon.assert_each_once(["w/a.pdf", "w/deep/deeper/c.pdf"].map(str::to_owned));
    daemon.stop();
}

#[test]
fn a_file_may_be_watched_and_be_replaced() {
    let world = World::new();
    world.write("w/conf");
    world.write("w/beside");
    let mut daemon = Daemon::start(&world, &closed("\"@/w/conf\"", ""));
    world.write("w/conf");
    world.write("w/beside");
    assert_eq!(told(&mut daemon), each_closed(&["w/conf"]));
    for round in 0..3 {
        // As editors do it.
        world.write("w/conf.new");
        world.rename("w/conf.new", "w/conf");
        daemon.sync();
        daemon.forget();
        world.write("w/conf");
        assert_eq!(told(&mut daemon), each_closed(&["w/conf"]), "round {round}");
    }
    daemon.stop();
}

#[test]
fn a_symlink_stays_in_the_paths_as_it_was_configured() {
    let world = World::new();
    world.mkdir("real/deep");
    symlink(world.path("real"), world.path("link")).unwrap();
    // One below a Watch is not followed.
    world.mkdir("elsewhere");
    symlink(world.path("elsewhere"), world.path("real/deep/aside")).unwrap();
    let mut daemon = Daemon::start(&world, &closed("\"@/link\"", ""));
    world.write("real/deep/f");
    world.write("elsewhere/f");
    assert_eq!(told(&mut daemon), each_closed(&["link/deep/f"]));
    daemon.stop();
}

#[test]
fn moved_directories_have_their_new_paths_at_once() {
    let world = World::new();
    world.mkdir("w/a/b/c");
    world.mkdir("outside/x/y");
    let mut daemon = Daemon::start(&world, &closed("\"@/w\"", ""));
    world.rename("w/a/b", "w/moved");
    world.write("w/moved/c/f");
    assert_eq!(told(&mut daemon), each_closed(&["w/moved/c/f"]));
    world.rename("outside/x", "w/in");
    daemon.sync();
    world.write("w/in/y/f");
    assert_eq!(told(&mut daemon), each_closed(&["w/in/y/f"]));
    world.rename("w/in", "w/moved/c/in");
    world.write("w/moved/c/in/y/g");
    assert_eq!(told(&mut daemon), each_closed(&["w/moved/c/in/y/g"]));
    world.rename("w/moved", "outside/moved");
    world.write("outside/moved/c/f");
    world.write("outside/moved/c/in/y/g");
    assert_eq!(told(&mut daemon), [""; 0]);
    assert!(!daemon.watched().contains(&inode(world.path("outside/moved/c/in/y"))));
    world.rename("outside/moved", "w/back");
    daemon.sync();
    daemon.forget();
    world.write("w/back/c/in/y/h");
    assert_eq!(told(&mut daemon), each_closed(&["w/back/c/in/y/h"]));
    daemon.stop();
}

#[test]
fn nested_watches_have_their_own_events_once_each() {
    let world = World::new();
    world.mkdir("w/sub");
    let config = r#"
[scheduler.outer]
log = "SEEN|outer|{pathname}|"
[scheduler.inner]
log = "SEEN|inner|{pathname}|"
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "outer" }
[[watch]]
path = "@/w/sub"
event_map = { IN_CLOSE_WRITE = "inner", IN_CREATE = "inner" }
"#;
    let mut daemon = Daemon::start(&world, config);
    world.mkdir("w/sub/new/er");
    for file in ["w/f", "w/sub/f", "w/sub/new/er/f"] {
        world.write(file);
    }
    let mut it = told(&mut daemon);
    it.sort();
    assert_eq!(
        it,
        [
            "inner w/sub/f",
            "inner w/sub/f",
            "inner w/sub/new/er/f",
            "inner w/sub/new/er/f",
            "outer w/f",
            "outer w/sub/f",
            "outer w/sub/new/er/f",
        ]
    );
    daemon.stop();
}

#[test]
fn rec_is_for_what_is_there_and_auto_add_for_what_comes() {
    for (rec, auto_add) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::new();
        world.mkdir("w/old/deep");
        let more = format!("rec = {rec}\nauto_add = {auto_add}");
        let mut daemon = Daemon::start(&world, &closed("\"@/w\"", &more));
        world.mkdir("w/new/deep");
        daemon.sync();
        world.write("w/f");
        world.write("w/old/deep/f");
        world.write("w/new/deep/f");
        let mut expected = vec!["w/f".to_owned()];
        expected.extend(rec.then(|| "w/old/deep/f".to_owned()));
        expected.extend(auto_add.then(|| "w/new/deep/f".to_owned()));
        daemon.sync();
        daemon.assert_each_once(expected);
        daemon.stop();
    }
}

#[test]
fn its_own_looking_is_not_seen() {
    let world = World::new();
    for dir in 0..50 {
        world.mkdir(&format!("w/d{dir}/e"));
        world.write(&format!("w/d{dir}/e/f"));
    }
    let all = format!("{QUIET}{}", watch("\"@/w\"", "", &["default"]));
    let mut daemon = Daemon::start(&world, &all);
    assert_eq!(told(&mut daemon), [""; 0]);
    // What is moved in is entered, listed and probed.
    world.mkdir("outside/x/y");
    for file in 0..50 {
        world.write(&format!("outside/x/y/f{file}"));
    }
    world.rename("outside/x", "w/x");
    daemon.sync();
    let looks = |it: &String| {
        ["IN_OPEN", "IN_ACCESS", "IN_CLOSE_NOWRITE"].iter().any(|look| it.starts_with(look))
    };
    let it: Vec<_> = daemon.told().into_iter().filter(looks).collect();
    assert_eq!(it, [""; 0]);
    daemon.forget();
    for dir in 0..50 {
        world.mkdir(&format!("w/d{dir}/new/er/est"));
    }
    daemon.sync();
    let it: Vec<_> = daemon.told().into_iter().filter(looks).collect();
    assert_eq!(it, [""; 0]);
    daemon.stop();
}

/// Writes a file until it is told: a mount is noticed by a poll of its own, behind which no file
/// of ours can be put. Gives back what was told until then.
fn is_noticed(world: &World, daemon: &mut Daemon<'_>, file: &str) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        world.write(file);
        all.extend(told(daemon));
        if all.contains(&format!("IN_CLOSE_WRITE {file}")) {
            return all;
        }
    }
    panic!("the mount goes unnoticed; {daemon}");
}

fn run(command: &mut Command) {
    let _start = starts::one();
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {done:?}");
}

#[test]
fn mounts_come_and_go_below_a_watch() {
    if !is_inside("roots::mounts_come_and_go_below_a_watch") {
        return;
    }
    let world = World::new();
    let at = world.mkdir("w/mnt");
    let mount = || {
        run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at));
    };
    mount();
    world.mkdir("w/mnt/sub");
    let mut daemon = Daemon::start(&world, &closed("\"@/w\"", ""));
    for round in 0..3 {
        world.write("w/mnt/sub/f");
        assert_eq!(told(&mut daemon), each_closed(&["w/mnt/sub/f"]), "round {round}");
        run(Command::new("umount").arg(&at));
        // What the mount covered is watched, once that it is gone has been noticed.
        is_noticed(&world, &mut daemon, "w/mnt/below");
        mount();
        world.mkdir("w/mnt/sub");
        is_noticed(&world, &mut daemon, "w/mnt/sub/g");
    }
    daemon.stop();
}

#[test]
fn an_unmount_is_told_once_also_if_the_kernel_is_silent() {
    if !is_inside("roots::an_unmount_is_told_once_also_if_the_kernel_is_silent") {
        return;
    }
    let world = World::new();
    let (source, at) = (world.mkdir("source"), world.mkdir("w/mnt"));
    let config = format!("{QUIET}{}", watch("\"@/w\"", "", &["IN_UNMOUNT", "IN_CLOSE_WRITE"]));
    let mut daemon = Daemon::start(&world, &config);
    for (how, lazily) in [("-ttmpfs", false), ("-ttmpfs", true), ("--bind", false)] {
        run(Command::new("mount").arg(how).args([&source, &at]));
        is_noticed(&world, &mut daemon, "w/mnt/f");
        // It is used for as long as this is open.
        let open = lazily.then(|| fs::File::open(world.path("w/mnt/f")).unwrap());
        run(Command::new("umount").args(lazily.then_some("-l")).arg(&at));
        daemon.wait("SEEN|IN_UNMOUNT|");
        drop(open);
        daemon.forget();
        let told = is_noticed(&world, &mut daemon, "w/mnt/below");
        assert!(!told.iter().any(|it| it.starts_with("IN_UNMOUNT")), "{how}: {told:?}");
    }
    daemon.stop();
}

#[test]
fn what_came_into_a_bind_mount_while_it_was_away_is_watched() {
    let name = "what_came_into_a_bind_mount_while_it_was_away_is_watched";
    if !is_inside(&format!("roots::{name}")) {
        return;
    }
    let world = World::new();
    let (source, at) = (world.mkdir("source"), world.mkdir("w/at"));
    world.mkdir("source/old");
    let mount = || run(Command::new("mount").arg("--bind").args([&source, &at]));
    let unmount = || run(Command::new("umount").arg(&at));
    mount();
    let mut daemon = Daemon::start(&world, &closed("\"@/w\"", ""));
    world.write("w/at/old/f");
    assert_eq!(told(&mut daemon), each_closed(&["w/at/old/f"]));
    unmount();
    // Nothing of this can be found where the daemon looks for it.
    world.mkdir("source/new");
    world.mkdir("source/old/new");
    daemon.sync();
    mount();
    is_noticed(&world, &mut daemon, "w/at/new/f");
    is_noticed(&world, &mut daemon, "w/at/old/new/f");
    unmount();
    // The directory that the daemon knows there ends, and another takes its name.
    fs::remove_dir_all(&source).unwrap();
    daemon.sync();
    world.mkdir("source");
    mount();
    is_noticed(&world, &mut daemon, "w/at/f");
    daemon.stop();
}

#[test]
fn what_is_done_in_a_merged_directory_is_told_wherever_it_comes_from() {
    if !is_inside("roots::what_is_done_in_a_merged_directory_is_told_wherever_it_comes_from") {
        return;
    }
    let world = World::new();
    let (merged, over) = (world.mkdir("w"), world.mkdir("over"));
    // An upper directory may not be in a merged one, as the temporary directory may be.
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&over));
    for dir in ["over/lower/old", "over/upper", "over/work"] {
        world.mkdir(dir);
    }
    world.write("over/lower/old/f");
    let over = over.display();
    let dirs = format!("lowerdir={over}/lower,upperdir={over}/upper,workdir={over}/work");
    let options = format!("{dirs},redirect_dir=off");
    run(Command::new("mount").args(["-t", "overlay", "none", "-o", &options]).arg(&merged));
    let mut daemon = Daemon::start(&world, &closed("\"@/w\"", ""));
    // Both are copied up for this, the file and its directory, and are the same to who watches them.
    world.write("w/old/f");
    world.write("w/old/g");
    assert_eq!(told(&mut daemon), each_closed(&["w/old/f", "w/old/g"]));
    // What is partly from below cannot be renamed: `mv` copies it.
    run(Command::new("mv").args([world.path("w/old"), world.path("w/new")]));
    let mut copied = told(&mut daemon);
    copied.sort();
    assert_eq!(copied, each_closed(&["w/new/f", "w/new/g"]));
    world.write("w/new/h");
    assert_eq!(told(&mut daemon), each_closed(&["w/new/h"]));
    daemon.stop();
}

#[test]
fn a_bind_mount_is_a_second_place_of_the_same_directory() {
    if !is_inside("roots::a_bind_mount_is_a_second_place_of_the_same_directory") {
        return;
    }
    let world = World::new();
    let (one, two) = (world.mkdir("w/one"), world.mkdir("w/two"));
    run(Command::new("mount").arg("--bind").args([&one, &two]));
    let config = r#"
[scheduler.one]
log = "SEEN|one|{pathname}|"
[scheduler.two]
log = "SEEN|two|{pathname}|"
[[watch]]
path = "@/w/one"
event_map = { IN_CLOSE_WRITE = "one" }
[[watch]]
path = "@/w/two"
event_map = { IN_CLOSE_WRITE = "two" }
"#;
    let mut daemon = Daemon::start(&world, config);
    for place in ["one", "two"] {
        world.mkdir(&format!("w/{place}/{place}"));
        world.write(&format!("w/{place}/{place}/f"));
        let mut it = told(&mut daemon);
        it.sort();
        let expected = ["one", "two"].map(|by| format!("{by} w/{by}/{place}/f"));
        assert_eq!(it, expected);
    }
    daemon.stop();
}
