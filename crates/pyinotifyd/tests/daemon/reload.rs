//! SIGHUP: what is in force changes, and no event is lost or told twice.

use std::{fs, sync::mpsc, thread, time::Duration};

use rustix::process::Signal;

use super::support::{Daemon, World};

const BASE: &str = r#"
[scheduler.quiet]
log = "SEEN|{maskname}|{pathname}|{src_pathname}"
log_level = "warning"
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "quiet" }
"#;

/// Makes 20,000 files while the configuration goes back and forth, ten times a second.
fn storm(other: &str) {
    const FILES: usize = 20_000;
    let world = World::new();
    world.mkdir("elsewhere");
    let mut daemon = Daemon::start(&world, BASE);
    let configs = [other, BASE];
    let mut reloads = 0;
    thread::scope(|scope| {
        let (done, over) = mpsc::channel::<()>();
        let top = world.path("w");
        scope.spawn(move || {
            for number in 0..FILES {
                let dir = top.join(format!("d{}", number / 100));
                if number % 100 == 0 {
                    fs::create_dir(&dir).unwrap();
                }
                fs::write(dir.join(format!("f{number}")), "").unwrap();
            }
            drop(done);
        });
        while over.recv_timeout(Duration::from_millis(100)) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            world.configure(configs[reloads % 2]);
            reloads += 1;
            daemon.signal(Signal::HUP);
            daemon.wait(" - reloaded, ");
        }
    });
    // However fast the files were made, there was one.
    world.configure(configs[reloads % 2]);
    daemon.signal(Signal::HUP);
    daemon.wait(" - reloaded, ");
    daemon.sync();
    let file = |number: usize| format!("w/d{}/f{number}", number / 100);
    daemon.assert_each_once((0..FILES).map(file));
    daemon.stop();
}

#[test]
fn each_event_is_told_once_while_a_scheduler_comes_and_goes() {
    // In front, so that the number of the scheduler that stays is another each time.
    let more = "[scheduler.before]\nexec = [\"true\"]\n";
    let other = BASE.replace(
        "IN_CLOSE_WRITE = \"quiet\"",
        "IN_CLOSE_WRITE = \"quiet\", IN_ATTRIB = \"before\"",
    );
    storm(&format!("{more}{other}"));
}

#[test]
fn each_event_is_told_once_while_a_watch_comes_and_goes() {
    let more = "[[watch]]\npath = \"@/elsewhere\"\nevent_map = { IN_CLOSE_WRITE = \"quiet\" }\n";
    storm(&format!("{more}{BASE}"));
}

#[test]
fn each_event_is_told_once_while_a_watch_below_comes_and_goes() {
    let more = "[[watch]]\npath = \"@/w/d1\"\nevent_map = { IN_ATTRIB = \"quiet\" }\n";
    storm(&format!("{BASE}{more}"));
}

#[test]
fn a_broken_file_changes_nothing_and_a_good_one_keeps_what_waits() {
    let world = World::new();
    let config = format!("{BASE}[scheduler.late]\nlog = \"LATE {{pathname}}\"\ndelay = 1000\n")
        .replace("\"quiet\" }", "[\"quiet\", \"late\"] }");
    let mut daemon = Daemon::start(&world, &config);
    let first = world.write("w/first");
    daemon.wait(&format!("scheduled for IN_CLOSE_WRITE of {}, ", first.display()));
    fs::write(world.path("config.toml"), "[watch\npath = 3\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait("not reloaded, what was in force stays so");
    let second = world.write("w/second");
    daemon.wait(&format!("scheduled for IN_CLOSE_WRITE of {}, ", second.display()));
    // The delay is shorter from now on, for what comes.
    world.configure(&config.replace("delay = 1000", "delay = 0"));
    daemon.signal(Signal::HUP);
    daemon.wait(" - reloaded, ");
    let third = world.write("w/third");
    daemon.wait(&format!("LATE {}", third.display()));
    fs::remove_file(world.path("w/first")).unwrap();
    world.configure(BASE);
    daemon.signal(Signal::HUP);
    for _ in 0..2 {
        daemon.wait("its scheduler is no longer configured");
    }
    world.write("w/fourth");
    daemon.sync();
    daemon.assert_each_once(["first", "second", "third", "fourth"].map(|it| format!("w/{it}")));
    daemon.stop();
}

#[test]
fn what_is_made_once_a_reload_is_told_is_seen_in_each_directory_of_a_new_watch() {
    const DIRS: usize = 500;
    let world = World::new();
    let dirs: Vec<String> = (0..DIRS).map(|number| format!("new/d{number}")).collect();
    for dir in &dirs {
        world.mkdir(dir);
    }
    let mut daemon = Daemon::start(&world, BASE);
    world.configure(&BASE.replace("@/w", "@/new"));
    daemon.signal(Signal::HUP);
    daemon.wait(" - reloaded, ");
    // Those that are entered last come first.
    for dir in dirs.iter().rev() {
        world.write(&format!("{dir}/f"));
    }
    daemon.sync();
    daemon.assert_each_once(dirs.iter().map(|it| format!("{it}/f")));
    daemon.stop();
}
