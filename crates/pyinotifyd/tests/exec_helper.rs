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
fn arguments_that_are_not_the_daemons_are_refused() {
    for args in [&[][..], &["--"], &["uid=x", "--", "/bin/true"], &["what=1", "--", "/bin/true"]] {
        let (status, out, err) = helper(args);
        assert_eq!((status, &*out), (Some(126), ""));
        assert!(err.contains("__exec is for the daemon's own use"), "{err}");
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
