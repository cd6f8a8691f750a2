//! The helper as a program: what it says to somebody who starts it by hand, and what it does for a
//! process whose signals are in disorder.

use std::process::{Command, Stdio};

fn helper(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"))
        .arg("__exec")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program was built for this test");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn it_becomes_the_command() {
    let (status, out, err) =
        helper(&["umask=23", "--", "/bin/sh", "name", "-c", "umask; echo $0", "x"]);
    assert_eq!((status, &*out, &*err), (Some(0), "0027\nx\n", ""));
}

#[test]
fn what_it_cannot_become_is_told() {
    let cases: [&[&str]; 9] = [
        &[],
        &["--"],
        &["uid=x", "--", "/bin/true", "x"],
        &["what=1", "--", "/bin/true", "x"],
        &["limit.nothing=1", "--", "/bin/true", "x"],
        // More than the kernel has room for, whoever asks.
        &["limit.nofile=18446744073709551614", "--", "/bin/true", "x\n"],
        &["cwd=/none", "--", "/bin/true", "x"],
        &["--", "/none\u{1b}", "x"],
        &["--", "/", "x"],
    ];
    let tell = |args: &&[&str]| {
        let (status, out, err) = helper(args);
        assert_eq!((status, &*out), (Some(126), ""));
        format!("{}\n  {err}", args.join(" ").escape_debug())
    };
    insta::assert_snapshot!("told", cases.iter().map(tell).collect::<String>());
    let web: [&[&str]; 2] = [
        &["user=web", "uid=65534", "gid=65534", "cwd=/none", "--", "/bin/true", "x"],
        &["user=web", "uid=65534", "gid=65534", "--", "/none", "x"],
    ];
    if rustix::process::geteuid().is_root() {
        insta::assert_snapshot!("another_user", web.iter().map(tell).collect::<String>());
    } else {
        eprintln!("skipped: what is said of another user, because only root can become one");
    }
}

#[test]
fn a_broken_pipe_ends_the_command_as_it_would_from_a_shell() {
    let (status, out, _) = helper(&["--", "/bin/grep", "grep", "SigIgn", "/proc/self/status"]);
    assert_eq!(status, Some(0));
    let ignored = u64::from_str_radix(out.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    // Rust's own start ignores SIGPIPE, 13; std's spawn leaves glibc's 32 and 33 ignored.
    assert_eq!(ignored & (1 << (13 - 1)), 0, "{ignored:#x}");
}
