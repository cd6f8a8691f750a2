//! What is wrong, and how it is told.

use super::{machine, said, scheduler, watch};
use crate::config::{
    diagnostic::{Diagnostic, Severity},
    environment::Environment,
    load, parse_bytes, parse_str,
    permissions::{Ownership, check_permissions},
};

/// A snapshot of what is said about a text.
macro_rules! said {
    ($name:literal, $text:expr) => {
        insta::assert_snapshot!($name, said(&$text))
    };
}

/// Snapshots of what is said about several texts, one mistake each.
fn each(texts: impl IntoIterator<Item = String>) -> String {
    let mut out = String::new();
    for text in texts {
        out += &said(&text);
        out += "\n\n----\n\n";
    }
    out
}

#[test]
fn twelve_mistakes_are_told_at_once() {
    let text = r#"shutdown_timeout = "soon"
stat_dir = "/var/lib/pyinotifyd"

[log]
level = "verbose"

[scheduler.archive]
delay = true
max_wait = -5

[[scheduler.archive.rules]]
action = "move"
src_re = '^/src/(?P<path>.*'
filemode = 644

[[scheduler.archive.rules]]
action = "copy"
src_re = '^/src/(?P<path>.*)$'
dst_re = '/dst/\g<name>'

[[watch]]
path = "src"
[watch.event_map]
IN_WRITE_CLOSE = "archive"
IN_MOVED_TO = "archiv"
"#;
    let diagnostics = parse_str("config.toml", text, &machine()).unwrap_err();
    let errors = diagnostics.iter().filter(|it| it.severity == Severity::Error).count();
    said!("twelve_mistakes", text);
    assert_eq!(errors, 12);
    let lines: Vec<_> = diagnostics.iter().map(|it| it.position().unwrap().0).collect();
    assert_eq!(lines, [1, 2, 5, 8, 9, 12, 13, 14, 19, 22, 24, 25]);
}

#[test]
fn broken_syntax_is_told_once_and_hides_nothing_else() {
    said!(
        "syntax",
        "slots = \n[log\nlevel = \"x\n[scheduler.a]\nexec = [\"/x\"] trailing\ndelay = 1\n\
         delay = \"x\"\nbusy = \"agian\"\n[[watch]]\npath = \"/w\"\nevent_map = { IN_OPEN = \"b\" }\n"
    );
}

#[test]
fn a_list_without_an_end_is_one_mistake() {
    said!(
        "unclosed",
        "[scheduler.a]\nexec = [\"/x\",\nbusy = \"again\"\n[[watch]]\npath = \"/w\"\n"
    );
}

#[test]
fn unknown_keys() {
    let text = "watchs = 1\n[log]\nlevle = 'info'\nsyslog = { adress = 'x' }\n\
                [scheduler.x]\nexce = ['/x']\nretry = { trys = 3 }\n\
                [[scheduler.y.rules]]\naction = 'delete'\nsrc_re = '^/x$'\nzzz = 1\n\
                [[watch]]\npath = '/w'\nauto_ad = true\nexclude_filter = { golb = '*' }\n\
                event_map = { IN_OPEN = { cancle = 'x' } }\n";
    said!("unknown_keys", text);
}

#[test]
fn wrong_types() {
    let text = "shutdown_timeout = [30]\nslots = '4'\nlogname = 1\n[log]\nlevel = 3\nlevels = 'x'\n\
                [scheduler.x]\nexec = 'ls'\nfiles = 'true'\ndelay = 1979-05-27\nretry = true\n\
                breaker = 3\numask = 1.5\nuser = true\nenv = { A = 1 }\nrlimits = { nofile = true }\n\
                [scheduler]\ny = 3\n\
                [[watch]]\npath = 3\nexclude_filter = 3\nevent_map = { IN_OPEN = 3 }\n";
    said!("wrong_types", text);
}

#[test]
fn durations() {
    insta::assert_snapshot!(
        "durations",
        each(
            [
                "'30'",
                "-1",
                "'-1s'",
                "'soon'",
                "nan",
                "inf",
                "99999999999999999999999",
                "1e300",
                "''"
            ]
            .map(|it| scheduler(&format!("exec = ['/x']\ndelay = {it}")))
        )
    );
}

#[test]
fn modes() {
    insta::assert_snapshot!(
        "modes",
        each(["644", "0o17777", "'888'", "-1", "9999"].map(|it| {
            scheduler(&format!(
                "[[scheduler.x.rules]]\naction = 'copy'\nsrc_re = '^/(.*)$'\n\
                 dst_re = '/d/\\1'\nfilemode = {it}"
            ))
        }))
    );
}

#[test]
fn schedulers() {
    insta::assert_snapshot!(
        "schedulers",
        each(
            [
                "",
                "exec = ['/x']\nshell = 'x'",
                "shell = 'x'\ncmd = 'x'",
                "exec = []",
                "exec = ['']",
                "exec = ['/x', \"a\\u0000b\"]",
                "shell = ' '",
                "shell = 'rm \"{pathname}'",
                "exec = ['/x', '{pathnam}', '{}']",
                "rules = []",
                "exec = ['/x']\ndelay = '1m'\nmax_wait = '30s'",
                "exec = ['/x']\nbusy = 'agian'",
                "exec = ['/x']\nbusy = 'parallel'\nsinglejob = true",
                "exec = ['/x']\nfiles = false",
                "exec = ['/x']\ntimeout = 0",
                "exec = ['/x']\nslots = 0",
                "exec = ['/x']\nslots = 1000",
                "exec = ['/x']\nretry = 0",
                "exec = ['/x']\nretry = { backoff = '1m', max_backoff = '1s' }",
                "exec = ['/x']\nbreaker = { runs = 1 }",
                "exec = ['/x']\nbatch = true",
                "log = 'x'\nbatch = true",
                "log = 'x'\nuser = 'alice'\noutput = 'log'",
                "exec = ['/x']\nlog_level = 'info'",
                "exec = ['/x']\nlogname = ''",
            ]
            .map(scheduler)
        )
    );
}

#[test]
fn processes() {
    insta::assert_snapshot!(
        "processes",
        each(
            [
                "user = 'bob'",
                "user = 'broken'",
                "user = 4711",
                "user = -1",
                "group = 4294967295",
                "env = { 'A=B' = 'x' }",
                "env = { PYINOTIFYD_PATHNAME = 'x' }",
                "cwd = 'tmp'",
                "cwd = '~/x'",
                "umask = '0777777'",
                "nice = 20",
                "rlimits = { nofiles = 1 }",
                "rlimits = { nofile = -1, core = 'none' }",
                "output = 'log_file'",
                "output = 'discard'\noutput_level = 'info'",
            ]
            .map(|it| scheduler(&format!("exec = ['/x']\n{it}")))
        )
    );
}

#[test]
fn rules() {
    insta::assert_snapshot!(
        "rules",
        each(
            [
                "action = 'delete'",
                "src_re = '^/x$'",
                "action = 'mov'\nsrc_re = '^/x$'\ndst_re = '/y'",
                "action = 'move'\nsrc_re = '^/x$'",
                "action = 'delete'\nsrc_re = '^/x$'\ndst_re = '/y'",
                "action = 'move'\nsrc_re = '^/(?P<a>.*)$'\ndst_re = '/y/\\g<b>'",
                "action = 'move'\nsrc_re = '^/x$'\ndst_re = 'y'",
                "action = 'move'\nsrc_re = '^/x[$'\ndst_re = '/y'",
                "action = 'move'\nsrc_re = '''\n^/ä(x$'''\ndst_re = '/y'",
                "action = 'move'\nsrc_re = \"^/\\t(x$\"\ndst_re = '/y'",
                "action = 'delete'\nsrc_re = '^/x$'\noverwrite = true\noverride = true",
            ]
            .map(|it| scheduler(&format!("[[scheduler.x.rules]]\n{it}")))
        )
    );
}

#[test]
fn watches() {
    insta::assert_snapshot!(
        "watches",
        each(
            [
                "event_map = { IN_OPEN = 'x' }",
                "path = '/w'",
                "path = []\nevent_map = { IN_OPEN = 'x' }",
                "path = 'w'\nevent_map = { IN_OPEN = 'x' }",
                "path = ['/w', '/v/a\\']\nevent_map = { IN_OPEN = 'x' }",
                "path = '/w'\nevent_map = {}",
                "path = '/w'\nevent_map = { IN_OPEN = 'y' }",
                "path = '/w'\nevent_map = { IN_OPEN = ['x', 'x'] }",
                "path = '/w'\nevent_map = { IN_OPEN = { cancel = 'x' } }",
                "path = '/w'\nevent_map = { IN_WRITE_CLOSE = 'x' }",
                "path = '/w'\nevent_map = { in_create = 'x' }",
                "path = '/w'\nevent_map = { 'IN_CREATE|IN_ISDIR' = 'x' }",
                "path = '/w'\nevent_map = { 'IN_CREATE|IN_OPEN' = 'x' }",
                "path = '/w'\nevent_map = { IN_CLOSE = 'x', IN_MOVE = 'x', IN_ALL_EVENTS = 'x' }",
                "path = '/w'\nevent_map = { banana = 'x' }",
                "path = '/w'\nexclude_filter = ['^(a']\nevent_map = { IN_OPEN = 'x' }",
                "path = '/w'\nexclude_filter = { file = '/etc/bad' }\nevent_map = { IN_OPEN = 'x' }",
                "path = '/w'\nexclude_filter = { file = '/gone' }\nevent_map = { IN_OPEN = 'x' }",
                "path = '/w'\nexclude_filter = {}\nevent_map = { IN_OPEN = 'x' }",
            ]
            .map(watch)
        )
    );
}

#[test]
fn the_program() {
    let whole = |top: &str| format!("{top}\n{}", scheduler("exec = ['/x']"));
    insta::assert_snapshot!(
        "program",
        each(
            [
                "state_dir = 'x'",
                "state_dir = '/w/state'",
                "metrics_listen = '0.0.0.0:9469'",
                "metrics_listen = 'localhost:9469'",
                "metrics_listen = 9469",
                "slots = 0",
                "log.level = 'loud'",
                "log.levels.y = 'info'",
                "log.format = 'xml'",
                "log.syslog = { address = 'localhost' }",
                "log.syslog = { facility = 'local9' }",
            ]
            .map(whole)
            .into_iter()
            .chain([
                String::new(),
                "[scheduler.none]\nexec = ['/x']\n".into(),
                "[scheduler.\"a\\nb\"]\nexec = ['/x']\n".into(),
            ])
        )
    );
}

#[test]
fn what_only_root_can_do_is_told_to_others() {
    let other = Environment { uid: 1000, ..machine() };
    let told = |text: &str| match parse_str("config.toml", &scheduler(text), &other) {
        Ok(_) => String::new(),
        Err(mistakes) => mistakes.iter().map(|it| it.one_line() + "\n").collect(),
    };
    assert_eq!(told("exec = ['/x']\nuser = 'alice'"), "");
    insta::assert_snapshot!(
        "not_root",
        [
            told("exec = ['/x']\nuser = 'root'"),
            told("exec = ['/x']\ngroup = 'staff'"),
            told("[[scheduler.x.rules]]\naction = 'copy'\nsrc_re = '^/(.*)'\ndst_re = '/d/\\1'\nuser = 0"),
        ]
        .concat()
    );
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_offset() {
    let mistakes =
        parse_bytes("c.toml", b"a = 1\nb = \"\xff\"\n".to_vec(), &machine()).unwrap_err();
    insta::assert_snapshot!("not_utf8", mistakes[0].render(false));
}

#[test]
fn no_file_can_paint_on_a_terminal() {
    let text = "\"\\u001b[31mred\" = 1\nx = '\u{1b}[2J\u{202e}'\n[scheduler.\"\\u0007\"]\nexec = ['\u{9b}']\n";
    for line in [said(text), parse_str("a\u{1b}b", text, &machine()).unwrap_err()[0].one_line()] {
        let bad: Vec<char> =
            line.chars().filter(|it| it.is_control() && *it != '\n' || *it == '\u{202e}').collect();
        assert!(bad.is_empty(), "{bad:?} in {line}");
    }
}

#[test]
fn a_diagnostic_fits_on_one_line() {
    let mistakes = parse_str("c.toml", &scheduler("exec = ['/x']\nbusy = 'agian'"), &machine());
    assert_eq!(
        mistakes.unwrap_err()[0].one_line(),
        "c.toml:3:8: expected `again`, `skip`, `parallel` or `restart`, found `agian`; \
         help: did you mean `again`?"
    );
}

#[test]
fn whoever_can_change_the_file_is_named() {
    let file = |path: &str, uid, mode| Ownership { path: path.into(), uid, mode };
    let warnings = |files: &[Ownership], uid| -> Vec<String> {
        check_permissions(files, uid).iter().map(super::Diagnostic::one_line).collect()
    };
    let safe = [
        file("/etc/c", 0, 0o100_644),
        file("/etc", 0, 0o040_755),
        file("/tmp", 0, 0o041_777),
        file("/home/me/c", 1000, 0o100_600),
    ];
    assert_eq!(warnings(&safe, 1000), Vec::<String>::new());
    insta::assert_snapshot!(
        "permissions",
        warnings(
            &[
                file("/etc/group", 0, 0o100_664),
                file("/etc/world", 0, 0o100_646),
                file("/etc/both", 0, 0o100_666),
                file("/etc/other", 1000, 0o100_644),
                file("/srv", 0, 0o040_777),
            ],
            0
        )
        .join("\n")
    );
}

#[test]
fn a_file_is_loaded_with_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let load_it = || load(&path, &Environment::new(None));
    let missing = load_it().unwrap_err();
    assert!(missing[0].message.contains("no such file"), "{missing:?}");

    std::fs::write(&path, scheduler("exec = ['/x']")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let warnings = load_it().unwrap().warnings;
    let own: Vec<_> =
        warnings.iter().filter(|it| it.place.source.name == path.to_str().unwrap()).collect();
    assert_eq!(own.len(), 1, "{warnings:?}");
    assert!(own[0].message.starts_with("everybody can write to"), "{own:?}");

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let warnings = load_it().unwrap().warnings;
    assert!(
        warnings.iter().all(|it| it.place.source.name != path.to_str().unwrap()),
        "{warnings:?}"
    );

    let fifo = load(std::path::Path::new("/dev/null"), &Environment::new(None));
    assert!(fifo.unwrap_err()[0].message.contains("not a regular file"));
}

#[test]
fn values_that_nothing_can_be_made_of() {
    let rules = |keys: &str| {
        format!("[[scheduler.x.rules]]\naction = 'move'\nsrc_re = '^/a'\ndst_re = '/b'\n{keys}\n")
    };
    let watch_of_x =
        |rules: String| format!("{rules}[[watch]]\npath = '/w'\nevent_map = {{ IN_OPEN = 'x' }}\n");
    insta::assert_snapshot!(
        "values",
        each([
            watch("path = ''\nevent_map = { IN_OPEN = 'x' }"),
            watch("path = \"/a\\u0000b\"\nevent_map = { IN_OPEN = 'x' }"),
            watch("path = '/w'\nevent_map = { IN_OPEN = {} }"),
            watch("path = '/w'\npath = '/v'\nevent_map = { IN_OPEN = 'x' }"),
            scheduler("exec = ['/x']\nready = 'quiet:0s'"),
            scheduler("exec = ['/x']\nready = 'quiet:soon'"),
            scheduler("exec = ['/x']\nready = 'closd'"),
            scheduler("exec = ['/x']\nready = 'done-file:x.ok'"),
            scheduler("exec = ['/x']\nenv = { A = \"a\\u0000b\" }"),
            scheduler("exec = ['/x']\nslots = 99999999999999999999"),
            scheduler(&format!("exec = ['/x']\nslots = {}", "9".repeat(50))),
            watch_of_x(rules("filemode = '4755'")),
            watch_of_x(format!("[scheduler.x]\nuser = 'root'\n{}", rules(""))),
        ])
    );
}

#[test]
fn patterns_that_cannot_be_read() {
    let rule = |pattern: &str| {
        scheduler(&format!("[[scheduler.x.rules]]\naction = 'delete'\nsrc_re = '''{pattern}'''"))
    };
    let patterns = [
        "(a",
        "a)",
        "*a",
        "a**",
        "(?=a)*",
        "a{3,2}",
        "a{99999999999}",
        "[z-a]",
        "[a",
        r"\",
        r"\xZZ",
        r"\q",
        r"\N{LATIN SMALL LETTER A}",
        r"\U00110000",
        r"[\777]",
        "(?P>a)",
        "(?Pxa)",
        "(?P<a",
        "(?P<1a>b)",
        "(?P<a>b)(?P<a>c)",
        "(?P=a)",
        r"(a)\2",
        r"(a\1)",
        "(?(1a)b)",
        "(?(0)b)",
        "(a)?(?(1)b|c|d)",
        "a(?i)",
        "(?#a",
        "(?!",
    ];
    insta::assert_snapshot!("patterns", each(patterns.map(rule)));
}

#[test]
fn destinations_that_cannot_be_read() {
    let rule = |destination: &str| {
        scheduler(&format!(
            "[[scheduler.x.rules]]\naction = 'move'\nsrc_re = '^/a/(.*)$'\n\
             dst_re = '{destination}'"
        ))
    };
    let destinations =
        ["", "b", r"/b/\2", r"/b/\g<name>", r"/b/\g", r"/b/\g<1", r"/b/\g<>", r"/b/\q", r"/b/\777"];
    insta::assert_snapshot!("destinations", each(destinations.map(rule)));
}

#[test]
fn globs_that_cannot_be_read() {
    let filter = |glob: &str| {
        watch(&format!(
            "path = '/w'\nexclude_filter = {{ glob = '{glob}' }}\nevent_map = {{ IN_OPEN = 'x' }}"
        ))
    };
    let many = "{a,b}".repeat(20);
    let globs = ["", "a/b", r"a\", &many];
    insta::assert_snapshot!("globs", each(globs.map(filter)));
}

#[test]
fn command_lines_that_nothing_can_be_put_into() {
    let shell = |command: &str| scheduler(&format!("shell = '''\n{command}'''"));
    let commands = [
        "echo '{pathname}",
        r"echo \{pathname}",
        "eval {pathname}",
        "{basename} --all",
        "sh -c 'ls {pathname}'",
        "ssh host ls {pathname}",
        "python3 -c 'print({pathname})'",
        "ls {pathname} >&{basename}",
        "ls {pathname} >",
        "echo $(({pathname} + 1))",
        "echo $[{pathname}]",
        "echo ${x[{pathname}]}",
        r"echo `ls \\{pathname}`",
        r#"echo "`ls {pathname}`""#,
        "echo `ls {pathname}",
        "a=({pathname})",
        "cat <<{basename}\nx\n{basename}",
        "cat <<EOF\n{pathname}",
        "cat <<'EOF'\n{pathname}\nEOF",
        "(ls {pathname}",
        "ls {pathname})",
        "case {pathname} x) ;; esac",
        "esac; ls {pathname}",
        "(( {pathname} ))",
    ];
    insta::assert_snapshot!("command_lines", each(commands.map(shell)));
}

#[test]
fn more_than_can_be_numbered_is_one_mistake() {
    let scheduler = |number| format!("[scheduler.s{number}]\nlog = 'x'\n");
    let text: String = (0..=u16::MAX).map(scheduler).collect();
    let diagnostics = parse_str("config.toml", &text, &machine()).unwrap_err();
    let told: Vec<_> = diagnostics.iter().map(Diagnostic::one_line).collect();
    assert_eq!(told, ["config.toml: more than 65535 schedulers or Watches"]);
}
