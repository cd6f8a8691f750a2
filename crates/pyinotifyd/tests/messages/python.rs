//! What is told of a config.py and of the Python that it lives in.

use std::process::Command;

use super::{World, timeless};

/// Whether there is a python3, which is then in `bin`.
fn has_python(world: &World) -> bool {
    let name = "import sys; print(sys.executable, end='')";
    match Command::new("python3").arg("-c").arg(name).output() {
        Ok(output) if output.status.success() => {
            let python = String::from_utf8(output.stdout).unwrap();
            world.script("bin/python3", &format!("exec '{python}' \"$@\""));
            true
        }
        Ok(_) | Err(_) => {
            eprintln!("skipped: what is said about a config.py, because there is no python3");
            false
        }
    }
}

#[test]
fn a_python_that_cannot_be_had_is_told_with_the_way_out() {
    let world = World::new();
    world.write("config.py", "pyinotifyd = Pyinotifyd()\n");
    world.script("bin/nothing", "exit 0");
    world.script("bin/killed", "kill -9 $$");
    world.script("bin/talks", r"printf '\002\000\000\000{}' >&0; read ignored");
    world.script("bin/garbage", "");
    world.write("bin/garbage", "\u{1}\u{2}");
    insta::assert_snapshot!(
        "python",
        world.said(&[
            "pyinotifyd check --python none config.py",
            "PYINOTIFYD_PYTHON=/none pyinotifyd check config.py",
            "PATH=/none ./bin/pyinotifyd check config.py",
            "pyinotifyd check --python nothing config.py",
            "pyinotifyd check --python killed config.py",
            "pyinotifyd check --python talks config.py",
            "pyinotifyd check --python garbage config.py",
            "pyinotifyd check config.none",
            "pyinotifyd convert --python none config.py",
            "pyinotifyd -t --python nothing -c config.py",
        ])
    );
}

/// What is said without where Python was: that is told by each version in its own way.
fn without_tracebacks(page: &str) -> String {
    let mut is_inside = false;
    let is_said = |it: &&str| {
        is_inside = it.starts_with("Traceback ") || is_inside && !it.trim().is_empty();
        !is_inside
    };
    page.split_inclusive('\n').filter(is_said).collect()
}

#[test]
fn what_a_config_py_cannot_mean_is_told_at_its_line() {
    let world = World::new();
    if !has_python(&world) {
        return;
    }
    let mut page = String::new();
    let shell = |keys: &str| format!("s = ShellScheduler(cmd='x', {keys})");
    for text in [
        shell("slots='4'"),
        shell("umask=[]"),
        shell("user=True"),
        shell("ready=3"),
        shell("env=3"),
        shell("env={'A': 1}"),
        shell("rlimits=3"),
        shell("retry='x'"),
        shell("retry={'trys': 3}"),
        shell("batch={'max_items': 1}"),
        shell("include_filter=3"),
        "s = FileManagerScheduler(FileManagerRule('delete', '^/x', '/y'))".into(),
        "s = FileManagerScheduler(FileManagerRule('move', '^/x(', '/y'))".into(),
        "w = Watch(path='/w', event_map=EventMap({}))".into(),
        "w = Watch(path=3, event_map=EventMap({}))".into(),
        "w = Watch('/w', {}); w.path = 3".into(),
        "w = Watch('/w', {}, None, True, True, [], 'x', 7)".into(),
        "s = 3".into(),
        "s = Cancel(3)".into(),
        "s = TaskScheduler(job=print, task=print)".into(),
        "import asyncio\nasyncio.run(FileManager().task(None))".into(),
        "raise SystemExit".into(),
        "w = Watch(path='/w', event_map=EventMap({'IN_WRITE_CLOSE': lambda e: None}))".into(),
        "w = Watch(path='/w', exclude_filter=[r'(?i)\\u017f'])".into(),
    ] {
        let watch = "pyinotifyd = Pyinotifyd([globals().get('w') or Watch('/w', {'IN_OPEN': s})])";
        world.write("config.py", &format!("{text}\n{watch}\n"));
        page += &world.said(&["pyinotifyd check config.py"]);
        page += "----\n\n";
    }
    for text in ["x = 1", "pyinotifyd = 3", "pyinotifyd = Pyinotifyd()"] {
        world.write("config.py", &format!("{text}\n"));
        page += &world.said(&["pyinotifyd check config.py"]);
        page += "----\n\n";
    }
    insta::assert_snapshot!("config_py", without_tracebacks(&page));
}

#[test]
fn a_python_that_ends_is_told_with_what_it_takes_along() {
    let world = World::new();
    if !has_python(&world) {
        return;
    }
    world.write(
        "config.py",
        "async def ends(event, task_id):\n    import os\n    os._exit(3)\n\n\
         pyinotifyd = Pyinotifyd([Watch('@/w', EventMap({'IN_CREATE': TaskScheduler(ends)}))])\n",
    );
    let mut daemon = world.start("run -c config.py");
    world.write("w/x", "x");
    let mut lines = Vec::new();
    // In which order they come is nobody's to say.
    for part in [" failed for ", "Python has ended ", "Python is started again "] {
        if !lines.iter().any(|it: &String| it.contains(part)) {
            lines.extend(daemon.wait(part));
        }
    }
    let told = |it: &&String| [" failed for ", "Python "].iter().any(|part| it.contains(part));
    let shown = |it: &String| {
        let line = timeless(&world.shown(it));
        // How long it took is the machine's affair.
        let (what, time) = line.split_once(" after ").unwrap_or((&line, ""));
        format!("{what}{}", time.split_once(':').map_or("", |(_, why)| why))
    };
    let mut lines: Vec<_> = lines.iter().filter(told).map(shown).collect();
    lines.sort();
    insta::assert_snapshot!("python_ends", lines.join("\n"));
}

#[test]
fn a_python_that_is_too_old_says_so() {
    let world = World::new();
    if !has_python(&world) {
        return;
    }
    world.write("config.py", "pyinotifyd = Pyinotifyd()\n");
    // It takes itself for an older one.
    let old = r#"exec python3 -c 'import sys; sys.version_info = (3, 7); exec(sys.argv[1])' "$2""#;
    world.script("bin/python3.7", old);
    insta::assert_snapshot!(
        "too_old",
        world.said(&["pyinotifyd check --python python3.7 config.py"])
    );
}

#[test]
fn a_task_that_blocks_python_is_told_with_where_it_is() {
    let world = World::new();
    if !has_python(&world) {
        return;
    }
    world.write(
        "config.py",
        "async def spins(event, task_id):\n    while 'enough' not in os.listdir('@/'):\n        \
         pass\n\nimport os\n\
         pyinotifyd = Pyinotifyd([Watch('@/w', EventMap({'IN_CREATE': TaskScheduler(spins)}))])\n",
    );
    let mut daemon = world.start("run -c config.py");
    world.write("w/x", "x");
    let mut lines = daemon.wait(" has blocked ");
    lines.drain(..lines.len() - 1);
    lines.extend(daemon.wait("/config.py"));
    world.write("enough", "");
    daemon.wait(": done for ");
    daemon.stop();
    let shown = |it: &String| {
        let line = timeless(&world.shown(it));
        // How long it is by then, and in which of its lines it is caught, is nobody's to say.
        let line = line.split(" for ").map(|it| match it.split_once("s: all") {
            Some((_, rest)) => format!("TIME: all{rest}"),
            None => it.to_owned(),
        });
        line.collect::<Vec<_>>().join(" for ").split(", line ").next().unwrap().to_owned()
    };
    let told: Vec<_> = [lines.first(), lines.last()].into_iter().flatten().map(shown).collect();
    insta::assert_snapshot!("blocked", told.join("\n"));
}
