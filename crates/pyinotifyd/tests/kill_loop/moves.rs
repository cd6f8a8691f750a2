//! Files that rules move and copy while the daemon is killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Folder, PATIENCE,
    chance::{Pace, Random, number, seed},
    end, torment,
};

/// The largest file. It takes the daemon some milliseconds to copy it, so that a kill hits that.
const LARGEST: usize = 8 << 20;

/// What the rules do, each to what is in a folder of that name.
const KINDS: [&str; 4] = ["near", "far", "copy-near", "copy-far"];

/// A content that no other file has, and that shows whether it is whole.
fn content(file: u64, size: usize) -> Vec<u8> {
    let mut random = Random(file);
    let words = std::iter::repeat_with(|| random.next().to_le_bytes()).flatten();
    let mut content = format!("{file} {size}\n").into_bytes();
    content.extend(words.take(size));
    content.extend(format!("{file}").as_bytes());
    content
}

/// Which file's content it is, if it is all of it.
fn whole(found: &[u8]) -> Option<u64> {
    let head = found.split(|it| *it == b'\n').next()?;
    let (file, size) = std::str::from_utf8(head).ok()?.split_once(' ')?;
    let (file, size) = (file.parse().ok()?, size.parse().ok()?);
    (content(file, size) == found).then_some(file)
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

/// Writes files into the folders of all rules, until it is told to stop; gives how many.
fn write(root: &Path, mut random: Random, stop: &AtomicBool) -> u64 {
    let pace = Pace::new();
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        written += 1;
        let size = if random.below(4) == 0 { random.below(LARGEST) } else { random.below(2000) };
        let content = content(written, size);
        let folder = root.join(KINDS[random.below(KINDS.len())]).join(format!("d{}", written % 5));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("f{written}"));
        if random.below(2) == 0 {
            // Open for a while: a rule that does not wait for the close would move half of it.
            let mut file = fs::File::create(&path).unwrap();
            let (first, second) = content.split_at(size / 2);
            file.write_all(first).unwrap();
            let pause = random.millis(1, 10);
            pace.wait(pause);
            file.write_all(second).unwrap();
        } else {
            let temporary = path.with_extension("tmp");
            fs::write(&temporary, content).unwrap();
            fs::rename(&temporary, &path).unwrap();
        }
        let pause = random.millis(5, 30);
        pace.wait(pause);
    }
    written
}

/// The directory of another file system, or the reason why there is none.
fn elsewhere(here: &Path) -> Result<tempfile::TempDir, String> {
    let shm = "/dev/shm";
    let there = tempfile::tempdir_in(shm).map_err(|error| format!("{shm}: {error}"))?;
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(there.path()) == device(here) {
        return Err(format!("{shm} is on the file system of the folder"));
    }
    Ok(there)
}

/// The rules, and one scheduler that has them all.
fn config(there: &str) -> String {
    let rule = |kind: &str, action: &str, to: &str| {
        format!(
            "[[scheduler.job.rules]]\nsrc_re = '^@/w/{kind}/(.*)$'\ndst_re = '{to}/{kind}/\\1'\n\
             action = \"{action}\"\nauto_create = true\n"
        )
    };
    let rules = [
        rule("near", "move", "@/out"),
        rule("far", "move", there),
        rule("copy-near", "copy", "@/out"),
        rule("copy-far", "copy", there),
    ];
    format!(
        r#"
state_dir = "@/state"
shutdown_timeout = "2s"
[log]
level = "LEVEL"
[scheduler.job]
slots = 2
ready = "closed"
exclude_filter = {{ glob = "*.tmp" }}
{}
[[watch]]
path = "@/w"
event_map = {{ IN_CLOSE_WRITE = "job", IN_MOVED_TO = "job", IN_CREATE = "job" }}
"#,
        rules.concat()
    )
}

#[test]
fn what_is_moved_or_copied_is_there_once_and_whole_whatever_was_killed() {
    let folder = Folder::new();
    let far = match elsewhere(&folder.path("w")) {
        Ok(far) => far,
        Err(why) => return eprintln!("skipped: moves between file systems, because {why}"),
    };
    let kills = number("KILLS", 100);
    let mut random = Random(seed());
    folder.configure(&config(far.path().to_str().unwrap()));
    let out = folder.path("out");
    let destination = |kind: &str| match kind {
        "near" | "copy-near" => out.join(kind),
        _ => far.path().join(kind),
    };
    for kind in KINDS {
        fs::create_dir_all(destination(kind)).unwrap();
        fs::create_dir(folder.path("w").join(kind)).unwrap();
    }
    folder.begin();

    let stop = Arc::new(AtomicBool::new(false));
    let writing = thread::spawn({
        let (root, random, stop) = (folder.path("w"), Random(random.next()), Arc::clone(&stop));
        move || write(&root, random, &stop)
    });
    // What has a final name is whole at any time, and stays so.
    let mut known = BTreeSet::new();
    let mut left_by_kills = 0;
    let kills = torment(&folder, &mut random, kills, || {
        for path in KINDS.iter().flat_map(|it| files(&destination(it))) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with('.') {
                left_by_kills += 1;
            } else if known.insert(path.clone()) {
                let found = fs::read(&path).unwrap();
                let file = whole(&found);
                let file = file.unwrap_or_else(|| panic!("{path:?} is partial\n{}", folder.log()));
                assert_eq!(name, format!("f{file}"));
            }
        }
    });
    stop.store(true, Ordering::Relaxed);
    let written = writing.join().unwrap();

    let daemon = folder.start();
    let (pace, begun) = (Pace::new(), Instant::now());
    let sources = |kind: &str| files(&folder.path("w").join(kind));
    let waits = || {
        let moves = ["near", "far"].iter().any(|it| !sources(it).is_empty());
        let copies = ["copy-near", "copy-far"];
        moves || copies.iter().any(|it| sources(it).len() != files(&destination(it)).len())
    };
    while waits() && begun.elapsed() < PATIENCE {
        pace.wait(Duration::from_millis(50));
    }
    end(daemon);

    let mut seen: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for kind in KINDS {
        for path in sources(kind).into_iter().chain(files(&destination(kind))) {
            match whole(&fs::read(&path).unwrap()) {
                Some(file) if path.file_name().unwrap() == &*format!("f{file}") => {
                    seen.entry(file).or_default().push(path);
                }
                _ => wrong.push(path),
            }
        }
    }
    let is_copy = |path: &Path| {
        path.components()
            .any(|it| it.as_os_str().to_str().is_some_and(|it| it.starts_with("copy-")))
    };
    let lost: Vec<u64> = (1..=written).filter(|it| !seen.contains_key(it)).collect();
    let count = |it: &&Vec<PathBuf>| it.len() != 1 + usize::from(is_copy(&it[0]));
    let miscounted: Vec<_> = seen.values().filter(count).collect();
    let log = fs::read_to_string(folder.path("log")).unwrap();
    let errors = log.lines().filter(|it| it.contains(" ERROR ")).count();
    let again =
        log.lines().filter(|it| it.contains("was cut off by the end of the daemon")).count();
    eprintln!(
        "{kills} kills, {written} files: {} lost, {} not where they belong, {} wrong names or \
         contents; {left_by_kills} temporary names met, {again} runs cut off, {errors} errors told",
        lost.len(),
        miscounted.len(),
        wrong.len(),
    );
    assert!(lost.is_empty(), "lost: {lost:?}\n{}", folder.log());
    assert!(wrong.is_empty(), "partial, or temporary: {wrong:?}\n{}", folder.log());
    assert!(miscounted.is_empty(), "{miscounted:?}\n{}", folder.log());
}
