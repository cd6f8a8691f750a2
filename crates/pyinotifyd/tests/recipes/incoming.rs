//! The recipes for what others send: it is taken once, when it is whole, whatever its name is.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use super::support::{HOSTILE, Recipe, mode, named, names, read, write};

/// The arguments that a program got for each of the hostile names, sorted as they are.
fn expected(recipe: &Recipe, dir: &str, end: &str, args: &[&str]) -> Vec<Vec<Vec<u8>>> {
    let mut expected: Vec<Vec<Vec<u8>>> = HOSTILE
        .iter()
        .map(|name| {
            let path = recipe.bytes(dir, named(name, end).as_encoded_bytes());
            args.iter().map(|it| it.as_bytes().to_vec()).chain([path]).collect()
        })
        .collect();
    expected.sort();
    expected
}

/// What the names of all files are that were made of the hostile ones.
fn hostile(end: &str) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = HOSTILE.iter().map(|it| named(it, end)).collect();
    names.sort();
    names
}

/// A scanner that finds what is in a file, and that can be away.
const CLAMDSCAN: &str = r#"
[ -e "${0%/usr/bin/*}/clamd" ] || { echo "ERROR: Could not connect to clamd" >&2; exit 2; }
grep -q EICAR "$3" && exit 1
exit 0
"#;

#[test]
fn uploads_are_scanned_out_of_reach_and_handed_out_or_locked_up() {
    let recipe = Recipe::page("virus-scan");
    recipe.program("/usr/bin/clamdscan", CLAMDSCAN);
    write(recipe.path("clamd"), "");
    let mut daemon = recipe.start();
    let upload = recipe.path("/srv/upload");
    for name in HOSTILE {
        write(upload.join(named(name, "")), name);
    }
    recipe.mkdir("/srv/upload/sub");
    write(upload.join("sub/bad"), "EICAR");
    // A link to what its sender may not read.
    write(recipe.path("secret"), "secret");
    symlink(recipe.path("secret"), recipe.path("link")).unwrap();
    fs::rename(recipe.path("link"), upload.join("link")).unwrap();
    // One that is written for long, under a name of its own first.
    let mut slow = File::create(upload.join("slow.part")).unwrap();
    slow.write_all(b"EIC").unwrap();
    fs::rename(upload.join("slow.part"), upload.join("slow")).unwrap();
    daemon.wait("/slow is not ready: open for writing");
    assert!(upload.join("slow").exists(), "{:#?}", daemon.log);
    slow.write_all(b"AR").unwrap();
    drop(slow);
    daemon.stop_after(2 * (HOSTILE.len() + 3));
    assert_eq!(names(&upload), ["sub"]);
    assert_eq!(names(recipe.path("/srv/scan")), ["sub"]);
    assert_eq!(names(recipe.path("/srv/clean")), hostile(""));
    assert_eq!(names(recipe.path("/srv/quarantine")), ["link", "slow", "sub"]);
    assert_eq!(read(recipe.path("/srv/quarantine/slow")), "EICAR");
    assert_eq!(read(recipe.path("/srv/quarantine/sub/bad")), "EICAR");
    assert_eq!(mode(recipe.path("/srv/clean/a b")), 0o640);
    let mut scans = expected(&recipe, "/srv/scan", "", &["--fdpass", "--no-summary"]);
    for name in ["slow", "sub/bad"] {
        let path = recipe.bytes("/srv/scan", name.as_bytes());
        scans.push(vec![b"--fdpass".to_vec(), b"--no-summary".to_vec(), path]);
    }
    scans.sort();
    assert_eq!(recipe.ran_with("clamdscan"), scans);
}

#[test]
fn what_a_scanner_that_is_away_did_not_scan_waits_for_it_over_a_kill() {
    let recipe = Recipe::page("virus-scan").instead("backoff = \"10s\"", "backoff = \"10ms\"");
    recipe.program("/usr/bin/clamdscan", CLAMDSCAN);
    let mut daemon = recipe.start();
    write(recipe.path("/srv/upload/a"), "x");
    daemon.wait("attempt 1 of 12 failed for ");
    daemon.kill();
    assert_eq!(names(recipe.path("/srv/clean")), [""; 0]);
    write(recipe.path("clamd"), "");
    let mut daemon = recipe.start();
    daemon.wait(": done for ");
    daemon.sync();
    daemon.stop();
    assert_eq!(names(recipe.path("/srv/clean")), ["a"]);
    assert_eq!(names(recipe.path("/srv/scan")), [""; 0]);
}

#[test]
fn scans_get_their_text_and_the_originals_are_kept() {
    let recipe = Recipe::page("ocr").instead("quiet:5s", "quiet:0.2s");
    let body = "grep -q broken \"$3\" && { echo 'no PDF' >&2; exit 2; }\n{ cat \"$3\"; echo text; } > \"$4\"";
    recipe.program("/usr/bin/ocrmypdf", body);
    let mut daemon = recipe.start();
    for name in HOSTILE {
        write(recipe.path("/srv/scans/in").join(named(name, ".PDF")), "page\n");
    }
    write(recipe.path("/srv/scans/in/readme.txt"), "stays");
    daemon.stop_after(HOSTILE.len());
    assert_eq!(names(recipe.path("/srv/scans/in")), ["readme.txt"]);
    assert_eq!(names(recipe.path("/srv/scans/temp")), [""; 0]);
    assert_eq!(names(recipe.path("/srv/scans/originals")), hostile(".PDF"));
    assert_eq!(names(recipe.path("/srv/scans/done")), hostile(".PDF"));
    assert_eq!(read(recipe.path("/srv/scans/done/a b.PDF")), "page\ntext\n");
    let ran = recipe.ran_with("ocrmypdf");
    let read: Vec<_> = ran.iter().map(|it| vec![it[2].clone()]).collect();
    let mut wanted = expected(&recipe, "/srv/scans/in", ".PDF", &[]);
    wanted.sort();
    assert_eq!(read, wanted);
    let temp = recipe.bytes("/srv/scans/temp", b"");
    for args in ran {
        assert_eq!((args.len(), &*args[0], &*args[1]), (4, &b"--quiet"[..], &b"--skip-text"[..]));
        assert!(args[3].starts_with(&temp) && args[3].ends_with(b"/out.pdf"), "{args:?}");
    }
}

#[test]
fn a_broken_scan_is_tried_three_times_and_leaves_nothing_behind() {
    let recipe = Recipe::page("ocr")
        .instead("quiet:5s", "quiet:0.1s")
        .instead("backoff = \"1m\"", "backoff = \"10ms\"");
    recipe.program("/usr/bin/ocrmypdf", "echo 'no PDF' >&2; exit 2");
    let mut daemon = recipe.start();
    write(recipe.path("/srv/scans/in/a.pdf"), "broken");
    daemon.wait(" - ERROR - ");
    assert!(daemon.log.last().unwrap().ends_with("exit status 2: no PDF"), "{:#?}", daemon.log);
    daemon.sync();
    daemon.stop();
    assert_eq!(names(recipe.path("/srv/scans/in")), ["a.pdf"]);
    assert_eq!(names(recipe.path("/srv/scans/temp")), [""; 0]);
    assert_eq!(recipe.ran_with("ocrmypdf").len(), 3);
}

/// The sum of a text, as a partner tells it.
fn sum(text: &str) -> String {
    let mut child =
        Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_file_is_loaded_when_its_sum_is_there_and_right() {
    let recipe = Recipe::page("pairs").instead("backoff = \"5s\"", "backoff = \"10ms\"");
    recipe.program("/usr/local/bin/load", "");
    let mut daemon = recipe.start();
    let incoming = recipe.path("/srv/partner/in");
    for name in HOSTILE {
        write(incoming.join(named(name, "")), "data");
    }
    for _ in HOSTILE {
        daemon.wait(" is not ready: there is no ");
    }
    assert_eq!(recipe.ran(), []);
    for name in HOSTILE {
        // At once whole, or an attempt could read half of it.
        write(recipe.path("sum"), sum("data"));
        fs::rename(recipe.path("sum"), incoming.join(named(name, ".md5"))).unwrap();
    }
    daemon.stop_after(HOSTILE.len());
    assert_eq!(names(&incoming), [""; 0]);
    let mut both = hostile("");
    both.extend(hostile(".md5"));
    both.sort();
    assert_eq!(names(recipe.path("/srv/partner/done")), both);
    assert_eq!(recipe.ran_with("load"), expected(&recipe, "/srv/partner/in", "", &[]));
}

#[test]
fn a_file_whose_sum_is_wrong_is_not_loaded() {
    let recipe = Recipe::page("pairs").instead("backoff = \"5s\"", "backoff = \"10ms\"");
    recipe.program("/usr/local/bin/load", "");
    let mut daemon = recipe.start();
    let incoming = recipe.path("/srv/partner/in");
    // The names in it are not gone by.
    write(incoming.join("a.md5"), format!("{}  /etc/passwd\n", &sum("other")[..32]));
    write(incoming.join("a"), "data");
    daemon.wait(" - ERROR - ");
    assert!(daemon.log.last().unwrap().contains(", and the partner says "), "{:#?}", daemon.log);
    assert_eq!((recipe.ran(), daemon.count("attempt 4 of 5 failed")), (vec![], 1));
    // Sent again, it is right.
    write(incoming.join("a"), "other");
    daemon.wait(": done for ");
    daemon.sync();
    daemon.stop();
    assert_eq!(names(recipe.path("/srv/partner/done")), ["a", "a.md5"]);
    assert_eq!(recipe.ran_with("load").len(), 1);
}

/// A program that waits for as long as this FIFO is there and nobody has opened it.
const GATE: &str = "! [ -p \"${0%/usr/*}/gate\" ] || exec cat \"${0%/usr/*}/gate\"";

/// Makes that FIFO.
fn gate(recipe: &Recipe) -> std::path::PathBuf {
    let gate = recipe.path("gate");
    assert!(Command::new("mkfifo").args(["-m", "0644"]).arg(&gate).status().unwrap().success());
    gate
}

#[test]
fn many_files_are_imported_by_few_runs_and_each_once() {
    let recipe = Recipe::page("batch-import").instead("delay = \"2s\"", "delay = \"0.2s\"");
    recipe.program("/usr/local/bin/import", GATE);
    let gate = gate(&recipe);
    let mut daemon = recipe.start();
    let folder = recipe.path("/srv/import");
    write(folder.join("first"), "x");
    // It can be opened as soon as the program reads from it. All others gather meanwhile.
    let open = File::options().write(true).open(&gate).unwrap();
    fs::remove_file(&gate).unwrap();
    let mut wanted = vec![recipe.bytes("/srv/import", b"first")];
    for number in 0..600 {
        let name = named(HOSTILE[number % HOSTILE.len()], &format!(".{number}"));
        write(folder.join(&name), "x");
        wanted.push(recipe.bytes("/srv/import", name.as_encoded_bytes()));
    }
    write(folder.join("gone"), "x");
    fs::remove_file(folder.join("gone")).unwrap();
    daemon.sync();
    drop(open);
    daemon.wait_count(": done for ", 601);
    daemon.sync();
    daemon.stop();
    assert_eq!((daemon.count(": done for "), daemon.count(" - ERROR - ")), (601, 0));
    let ran = recipe.ran_with("import");
    assert!((3..60).contains(&ran.len()), "{} runs", ran.len());
    let mut paths = Vec::new();
    for args in ran {
        let (first, rest) = args.split_first().unwrap();
        assert!(first == b"--" && rest.len() <= 500, "{}", rest.len());
        paths.extend_from_slice(rest);
    }
    paths.sort();
    wanted.sort();
    assert_eq!(paths, wanted);
}

#[test]
fn an_import_that_a_kill_cut_off_is_told_and_not_repeated() {
    let recipe = Recipe::page("batch-import").instead("delay = \"2s\"", "delay = \"0.1s\"");
    recipe.program("/usr/local/bin/import", GATE);
    let gate = gate(&recipe);
    let daemon = recipe.start();
    write(recipe.path("/srv/import/a"), "x");
    // It can be opened as soon as the program reads from it.
    let open = File::options().write(true).open(&gate).unwrap();
    daemon.kill();
    fs::remove_file(&gate).unwrap();
    drop(open);
    let mut daemon = recipe.start();
    write(recipe.path("/srv/import/b"), "x");
    daemon.wait_count("/a was cut off by the end of the daemon, it is not run again", 1);
    daemon.wait_count(": done for ", 1);
    daemon.sync();
    daemon.stop();
    let args = |name: &[u8]| vec![b"--".to_vec(), recipe.bytes("/srv/import", name)];
    assert_eq!(recipe.ran_with("import"), [args(b"a"), args(b"b")]);
}

#[test]
fn orders_are_read_by_python_and_filed_by_what_is_in_them() {
    let python = Command::new("python3").arg("-V").output();
    if !python.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: a task in Python, because there is no python3");
        return;
    }
    let recipe = Recipe::page("python-task").instead("delay=1,", "delay=0.05,");
    let mut daemon = recipe.start();
    let orders = recipe.path("/srv/orders/in");
    for name in HOSTILE {
        write(orders.join(named(name, "")), "item,count\nx,2\ny,3\n");
    }
    write(orders.join("empty"), "");
    write(orders.join("half.tmp"), "item,count\nx,2\n");
    write(orders.join("text"), "item,count\nx,many\n");
    daemon.wait_count(": done for ", HOSTILE.len() + 2);
    daemon.sync();
    daemon.stop();
    assert_eq!(names(&orders), ["half.tmp"]);
    assert_eq!(names(recipe.path("/srv/orders/good")), hostile(""));
    assert_eq!(names(recipe.path("/srv/orders/bad")), ["empty", "text"]);
    assert_eq!(daemon.count(" is about 5 items"), HOSTILE.len(), "{:#?}", daemon.log);
    assert_eq!(daemon.count("'empty' is refused: no rows"), 1, "{:#?}", daemon.log);
    assert_eq!(daemon.count(" is refused: "), 2, "{:#?}", daemon.log);
}
