//! The recipes for a folder as a whole: many events, few runs.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
};

use super::support::{HOSTILE, Recipe, named, names, read, write};

#[test]
fn logs_are_rotated_as_they_grow_and_compressed_when_nobody_writes_to_them() {
    let recipe = Recipe::page("logs").instead("delay = \"10s\"", "delay = \"0.05s\"");
    // Puts aside what has more than a hundred bytes.
    let rotate = "for log in \"${0%/usr/*}\"/var/log/app/*.log; do\n\
                  [ \"$(wc -c < \"$log\")\" -le 100 ] || mv \"$log\" \"$log-1\"\ndone";
    recipe.program("/usr/sbin/logrotate", rotate);
    recipe.program("/usr/bin/gzip", "exec gzip \"$@\"");
    let mut daemon = recipe.start();
    let logs = recipe.path("/var/log/app");
    for name in HOSTILE {
        write(logs.join(named(name, ".log")), "few");
    }
    let mut open = File::create(logs.join("app.log")).unwrap();
    open.write_all(&[b'x'; 101]).unwrap();
    // Its program still has the old one open.
    daemon.wait("/app.log-1 is not ready: open for writing");
    assert!(logs.join("app.log-1").exists());
    open.write_all(b"the last line\n").unwrap();
    drop(open);
    daemon.wait("/app.log-1 after ");
    daemon.wait_count("/app.log-1.gz, starts in 30d", 1);
    daemon.sync();
    daemon.stop();
    assert!(!logs.join("app.log-1").exists());
    assert_eq!(names(&logs).len(), HOSTILE.len() + 1, "{:?}", names(&logs));
    let gzip = recipe.ran_with("gzip");
    assert_eq!(gzip, [[b"--force".to_vec(), recipe.bytes("/var/log/app", b"app.log-1")]]);
    let shown = std::process::Command::new("gzip")
        .arg("-dc")
        .arg(logs.join("app.log-1.gz"))
        .output()
        .unwrap();
    assert_eq!(shown.stdout, [&[b'x'; 101][..], b"the last line\n"].concat());
    let state = recipe.bytes("/var/lib/app", b"logrotate.state");
    let config = recipe.bytes("/etc/app", b"logrotate.conf");
    for args in recipe.ran_with("logrotate") {
        assert_eq!(args, [b"--state".to_vec(), state.clone(), config.clone()]);
    }
    assert_eq!(daemon.count(" - ERROR - "), 0, "{:#?}", daemon.log);
}

#[test]
fn logs_that_are_old_are_deleted() {
    let recipe = Recipe::page("logs").instead("delay = \"30d\"", "delay = \"0.1s\"");
    recipe.program("/usr/bin/gzip", "exec gzip \"$@\"");
    let mut daemon = recipe.start();
    let logs = recipe.path("/var/log/app");
    write(logs.join("other.gz"), "stays");
    write(recipe.path("app.log"), "x");
    fs::rename(recipe.path("app.log"), logs.join("app.log-1")).unwrap();
    daemon.wait("/app.log-1.gz after ");
    daemon.sync();
    daemon.stop();
    assert_eq!(names(&logs), ["other.gz"]);
    assert_eq!(daemon.count(" - ERROR - "), 0, "{:#?}", daemon.log);
}

/// Does what rsync is asked for: makes the second last argument's content that of the last.
const RSYNC: &str = r#"
[ ! -e "${0%/usr/*}/away" ] || { echo "rsync: connection refused" >&2; exit 10; }
while [ $# -gt 2 ]; do shift; done
to=${2#mirror@backup:}
mkdir -p "$to"
find "$to" -mindepth 1 -delete
cp -a "$1." "$to"
rm -rf "$to/.git"
"#;

#[test]
fn a_site_is_deployed_once_for_many_changes_and_in_one_step() {
    let recipe = Recipe::page("deploy")
        .instead("delay = \"5s\"", "delay = \"2s\"")
        .instead("backoff = \"10s\"", "backoff = \"10ms\"");
    recipe.program("/usr/bin/rsync", RSYNC);
    let source = recipe.path("/srv/site/source");
    fs::create_dir(source.join(".git")).unwrap();
    let mut daemon = recipe.start();
    for name in HOSTILE {
        write(source.join(named(name, "")), "1");
    }
    recipe.mkdir("/srv/site/source/sub");
    symlink("sub", source.join("link")).unwrap();
    write(source.join("index.html"), "1");
    daemon.wait(": done for ");
    let current = recipe.path("/srv/site/current");
    assert_eq!(read(current.join("index.html")), "1");
    assert_eq!(
        names(&current),
        names(&source).into_iter().filter(|it| it != ".git").collect::<Vec<_>>()
    );
    // Neither of them is a change of the site.
    write(source.join(".git/index"), "x");
    write(source.join("index.html.swp"), "x");
    daemon.sync();
    let first = fs::read_link(&current).unwrap();
    write(recipe.path("away"), "");
    write(source.join("index.html"), "2");
    daemon.wait("attempt 1 of 5 failed for ");
    assert_eq!(fs::read_link(&current).unwrap(), first);
    fs::remove_file(recipe.path("away")).unwrap();
    daemon.wait(": done for ");
    daemon.sync();
    daemon.stop();
    assert_eq!(read(current.join("index.html")), "2");
    assert_eq!(names(recipe.path("/srv/site/releases")).len(), 2);
    assert_eq!(daemon.count(": done for "), 2, "{:#?}", daemon.log);
    let options = ["--archive", "--delete", "--exclude=.git"].map(|it| it.as_bytes().to_vec());
    for args in recipe.ran_with("rsync") {
        assert_eq!(args[..3], options);
        assert_eq!(args[3], recipe.bytes("/srv/site/source", b""));
        assert!(args[4].starts_with(&recipe.bytes("/srv/site/releases", b"")), "{args:?}");
    }
}

#[test]
fn the_last_five_releases_stay() {
    let recipe = Recipe::page("deploy").instead("delay = \"5s\"", "delay = \"0s\"");
    recipe.program("/usr/bin/rsync", RSYNC);
    let mut daemon = recipe.start();
    let current = recipe.path("/srv/site/current/f");
    for number in 0..8 {
        let text = number.to_string();
        write(recipe.path("/srv/site/source/f"), &text);
        while !fs::read_to_string(&current).is_ok_and(|it| it == text) {
            daemon.wait(": done for ");
        }
    }
    daemon.sync();
    daemon.stop();
    assert_eq!(names(recipe.path("/srv/site/releases")).len(), 5);
    assert_eq!(read(current), "7");
}

#[test]
fn changes_of_the_configuration_come_in_one_mail_a_line_each() {
    let recipe = Recipe::page("config-mail")
        .instead("delay = \"1m\"", "delay = \"3s\"")
        .instead("backoff = \"1m\"", "backoff = \"10ms\"");
    recipe.program(
        "/usr/sbin/sendmail",
        "[ -e \"${0%/usr/*}/mta\" ] || exit 75\ncat >> \"${0%/usr/*}/said/mail\"",
    );
    let mut daemon = recipe.start();
    let etc = recipe.path("/etc");
    for name in HOSTILE {
        write(etc.join(named(name, "")), "x");
    }
    symlink("a b", etc.join("enabled")).unwrap();
    write(etc.join("vim.swp"), "x");
    fs::remove_file(etc.join("a b")).unwrap();
    daemon.wait("attempt 1 of 10 failed for ");
    write(recipe.path("mta"), "");
    while !recipe.path("said/mail").exists() {
        daemon.wait(": done for ");
    }
    daemon.sync();
    daemon.stop();
    let mail = fs::read(recipe.path("said/mail")).unwrap();
    let mail = String::from_utf8_lossy(&mail);
    assert_eq!(mail.matches("\nSubject: ").count(), 1, "{mail}");
    let (head, body) = mail.split_once("\n\n").unwrap();
    assert!(head.starts_with("To: root\nSubject: changes below /etc on "), "{head}");
    let top = format!("{}/", etc.display());
    let mut changes: Vec<_> = body
        .lines()
        // Day and time of day stand before it.
        .map(|it| it.splitn(3, ' ').nth(2).unwrap().replace(&top, ""))
        .collect();
    changes.sort();
    // That a file was made may be told by what came after it alone.
    changes.retain(|it| it == "IN_CREATE enabled" || !it.starts_with("IN_CREATE "));
    let mut wanted = vec!["IN_CREATE enabled".to_owned(), "IN_DELETE a b".into()];
    for name in &HOSTILE[1..] {
        wanted.push(format!("IN_CLOSE_WRITE {}", String::from_utf8_lossy(name).replace('\n', "?")));
    }
    changes.retain(|it| it != "IN_CLOSE_WRITE a b");
    wanted.sort();
    assert_eq!(changes, wanted);
    for args in recipe.ran_with("sendmail") {
        assert_eq!(args, [b"-t".to_vec(), b"-oi".to_vec()]);
    }
    assert_eq!(names(recipe.path("/var/lib/config-mail")), ["lock"]);
}

#[test]
fn a_mirror_is_made_equal_by_one_run_also_when_its_host_was_away() {
    let recipe = Recipe::page("mirror")
        .instead("delay = \"10s\"", "delay = \"0.3s\"")
        .instead("backoff = \"30s\"", "backoff = \"10ms\"");
    recipe.program("/usr/bin/rsync", RSYNC);
    write(recipe.path("away"), "");
    let mut daemon = recipe.start();
    let data = recipe.path("/srv/data");
    for name in HOSTILE {
        write(data.join(named(name, "")), "x");
    }
    recipe.mkdir("/srv/data/sub");
    daemon.wait("attempt 1 of 1000 failed for ");
    fs::remove_file(data.join("a b")).unwrap();
    daemon.sync();
    fs::remove_file(recipe.path("away")).unwrap();
    daemon.wait(": done for ");
    daemon.sync();
    daemon.stop();
    // A change that came while an attempt failed may have made one more run.
    assert!((1..=2).contains(&daemon.count(": done for ")), "{:#?}", daemon.log);
    let source = recipe.bytes("/srv/data", b"");
    // What stands behind the host's name is placed as all paths are.
    let target = [b"mirror@backup:".to_vec(), source.clone()].concat();
    for args in recipe.ran_with("rsync") {
        assert_eq!(args[args.len() - 2..], [source.clone(), target.clone()]);
        assert!(args.contains(&b"--delete".to_vec()));
    }
}
