//! The binary, as a script sees it.

use assert_cmd::Command;

fn pyinotifyd(args: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"));
    command.args(args).assert()
}

#[test]
fn the_version_is_shown_as_the_original_does() {
    let version = concat!("pyinotifyd (", env!("CARGO_PKG_VERSION"), ")\n");
    pyinotifyd(&["-v"]).success().stdout(version).stderr("");
    pyinotifyd(&["--version"]).success().stdout(version);
}

#[test]
fn the_list_has_the_15_event_types_a_line_each() {
    let output = pyinotifyd(&["-l"]).success().stderr("").get_output().stdout.clone();
    let list = String::from_utf8(output).unwrap();
    assert_eq!(list.lines().count(), 15);
    assert!(list.lines().all(|it| it.starts_with("IN_")), "{list}");
    assert!(list.lines().any(|it| it == "IN_Q_OVERFLOW"), "{list}");
}

#[test]
fn usage_errors_are_status_2_and_say_nothing_on_stdout() {
    for args in [&["--nonsense"][..], &["watch"], &["watch", "/", "--on", "x", "--", "true"]] {
        let assert = pyinotifyd(args).code(2).stdout("");
        assert!(assert.get_output().stderr.starts_with(b"error: "));
    }
}

#[test]
fn help_goes_to_stdout() {
    for args in [&["--help"][..], &["-h"], &["watch", "--help"]] {
        let assert = pyinotifyd(args).success().stderr("");
        assert!(!assert.get_output().stdout.is_empty());
    }
}

/// A folder with a config.toml of this text.
fn configured(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).expect("it can be written to");
    (dir, file.into_os_string().into_string().expect("its name is text"))
}

const GOOD: &str = "\
[scheduler.list]\nexec = [\"/bin/ls\", \"{pathname}\"]\n
[[watch]]\npath = \"/srv/in\"\nevent_map = { IN_CREATE = \"list\" }\n";

#[test]
fn check_and_configtest_have_their_own_statuses() {
    let (_dir, good) = configured(GOOD);
    let out = pyinotifyd(&["check", &good]).success().get_output().stdout.clone();
    assert!(String::from_utf8(out).unwrap().ends_with("config.toml: ok, 1 watch, 1 scheduler\n"));
    pyinotifyd(&["-t", "-c", &good]).success().stdout("config file ok\n");

    let (_dir, bad) = configured("delay = 1");
    let out = pyinotifyd(&["check", &bad]).code(78).stderr("").get_output().stdout.clone();
    assert!(String::from_utf8(out).unwrap().contains("^^^^^"));
    pyinotifyd(&["-t", "-c", &bad]).code(1).stdout("");
    let out = pyinotifyd(&["check", "--format", "json", &bad]).code(78).get_output().stdout.clone();
    assert!(out.ends_with(b"}\n") && out.starts_with(b"{"));
}

#[test]
fn warnings_count_when_strict() {
    // Everybody may write to it, which is what a check is to find.
    use std::os::unix::fs::PermissionsExt;
    let (_dir, file) = configured(GOOD);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let out = pyinotifyd(&["check", &file]).success().get_output().stdout.clone();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("everybody can write to"), "{text}");
    pyinotifyd(&["check", "--strict", &file]).code(78);
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    for (file, said) in [
        ("/nonexistent/config.toml", "cannot read /nonexistent/config.toml: no such file"),
        ("/nonexistent/config.py", "cannot read /nonexistent/config.py: no such file"),
        ("/dev/null", "cannot read /dev/null: it is not a regular file"),
    ] {
        let out = pyinotifyd(&["check", file]).code(78).stderr("").get_output().stdout.clone();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(said), "{text}");
        pyinotifyd(&["explain", "/x", "--on", "CREATE", "-c", file]).code(1).stdout("");
    }
}

#[test]
fn explain_tells_what_would_run() {
    let (_dir, file) = configured(GOOD);
    let args = ["explain", "/srv/in/a b", "--on", "CREATE", "-c", &file];
    let out = pyinotifyd(&args).success().get_output().stdout.clone();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("runs /bin/ls '/srv/in/a b'"), "{text}");
    let args = [&args[..], &["--json"]].concat();
    let out = pyinotifyd(&args).success().stderr("").get_output().stdout.clone();
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1);
}

#[test]
fn the_schema_is_json() {
    let out = pyinotifyd(&["schema"]).success().stderr("").get_output().stdout.clone();
    assert!(out.starts_with(b"{\n") && out.ends_with(b"}\n"));
}

#[test]
fn only_root_installs_and_that_is_a_matter_of_usage() {
    use std::os::unix::process::CommandExt;

    for argument in ["-i", "-u"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pyinotifyd"));
        command.arg(argument);
        if rustix::process::geteuid().is_root() {
            command.uid(65534);
        }
        match command.output() {
            Ok(output) => {
                assert_eq!(output.status.code(), Some(2), "{output:?}");
                let what = if argument == "-i" { "install" } else { "uninstall" };
                let said = format!(
                    "error: only root can {what} the service\n\
                     hint: --dry-run shows the steps to everybody\n"
                );
                assert_eq!(String::from_utf8(output.stderr).unwrap(), said);
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                eprintln!("skipped: {argument} without root, because nobody else may run this");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
