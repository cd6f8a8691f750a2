use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    event::{EventType, Mask, Origin},
    record::Wd,
};

fn event(pathname: &[u8], src_pathname: Option<&[u8]>) -> Event {
    Event {
        event_type: EventType::MovedTo,
        mask: Mask::from(EventType::MovedTo).with(Mask::ISDIR),
        is_dir: true,
        pathname: pathname.into(),
        src_pathname: src_pathname.map(Arc::from),
        name_len: 0,
        root_len: 0,
        wd: Wd(1),
        cookie: 0,
        origin: Origin::Live,
        subject: None,
    }
}

fn rendered(template: &str, pathname: &[u8], src_pathname: Option<&[u8]>) -> Vec<u8> {
    let event = event(pathname, src_pathname);
    Template::parse(template).render(&Values { event: &event, task: TaskId(0), scheduler: "s" })
}

fn script(source: &str) -> String {
    match ShellTemplate::parse(source) {
        Ok(template) => template.script().to_owned(),
        Err(error) => panic!("{source}: {error} at {}", error.at),
    }
}

#[test]
fn every_placeholder_has_its_value() {
    let all = "{maskname} {pathname} {src_pathname} {dirname} {basename} {task_id} {scheduler}";
    assert_eq!(
        String::from_utf8(rendered(all, b"/a/b/c", Some(b"/x"))).unwrap(),
        "IN_MOVED_TO /a/b/c /x /a/b c 00000000-0000-4000-8000-000000000000 s"
    );
    assert_eq!(rendered("<{src_pathname}>", b"/a", None), b"<>");
    assert_eq!(rendered("{dirname}|{basename}", b"/a", None), b"/|a");
    assert_eq!(rendered("{dirname}|{basename}", b"/", None), b"/|");
    assert_eq!(rendered("{dirname}|{basename}", b"", None), b"|");
}

#[test]
fn for_people_values_are_escaped_and_the_text_is_not() {
    let event = event(b"/a\n\\{scheduler}\xff", None);
    let values = Values { event: &event, task: TaskId(0), scheduler: "s" };
    let template = Template::parse(r"\o/ {basename} in {scheduler}");
    assert_eq!(template.shown(&values).to_string(), r"\o/ a\n\\{scheduler}\xff in s");
}

#[test]
fn a_value_is_never_scanned_again() {
    let name = b"/{src_pathname}/{pathname}";
    assert_eq!(rendered("{pathname}{src_pathname}", name, Some(b"x")), [&name[..], b"x"].concat());
}

#[test]
fn unknown_braces_stay() {
    for text in ["{}", "{pathnam}", "{ pathname }", "{", "}", "{{", "${x}", "{Pathname}"] {
        assert_eq!(rendered(text, b"/p", None), text.as_bytes());
    }
    assert_eq!(rendered("{{pathname}}", b"/p", None), b"{/p}");
    assert_eq!(rendered("{pathname", b"/p", None), b"{pathname");
}

#[test]
fn near_misses_are_found_with_their_place() {
    let odd: Vec<_> = odd_braces("a {pathnam} {pathname} ${path} {x y} {src-pathname} {").collect();
    assert_eq!(
        odd,
        [OddBrace { word: "pathnam", at: 2 }, OddBrace { word: "src-pathname", at: 37 }]
    );
}

#[test]
fn a_literal_has_no_placeholders() {
    let event = event(b"/p", None);
    let values = Values { event: &event, task: TaskId(0), scheduler: "s" };
    assert_eq!(Template::literal("{pathname}").render(&values), b"{pathname}");
    assert_eq!(Template::literal("").render(&values), b"");
}

#[test]
fn references_follow_the_quoting() {
    for (source, expected) in [
        ("x {pathname}", r#"x "${PYINOTIFYD_PATHNAME}""#),
        ("x --f={pathname}.bak", r#"x --f="${PYINOTIFYD_PATHNAME}".bak"#),
        (r#"x "a {pathname} b""#, r#"x "a ${PYINOTIFYD_PATHNAME} b""#),
        ("x 'a {pathname} b'", r#"x 'a '"${PYINOTIFYD_PATHNAME}"' b'"#),
        (r#"x "$(y {pathname})""#, r#"x "$(y "${PYINOTIFYD_PATHNAME}")""#),
        ("x `y {pathname}`", r#"x `y "${PYINOTIFYD_PATHNAME}"`"#),
        ("x # {pathname}", "x # {pathname}"),
        ("x a#{task_id}", r#"x a#"${PYINOTIFYD_TASK_ID}""#),
        ("cat <<E\n'{pathname}'\nE\n", "cat <<E\n'${PYINOTIFYD_PATHNAME}'\nE\n"),
        ("cat <<-E\n\t{pathname}\n\tE", "cat <<-E\n\t${PYINOTIFYD_PATHNAME}\n\tE"),
        ("x $# {pathname}", r#"x $# "${PYINOTIFYD_PATHNAME}""#),
        ("x '{}' {pathnam} {pathname}", r#"x '{}' {pathnam} "${PYINOTIFYD_PATHNAME}""#),
        ("x \\\n {pathname}", "x \\\n \"${PYINOTIFYD_PATHNAME}\""),
        (
            "case {basename} in (a) x;; *.b|c) y {pathname};; esac; z {pathname}",
            r#"case "${PYINOTIFYD_BASENAME}" in (a) x;; *.b|c) y "${PYINOTIFYD_PATHNAME}";; esac; z "${PYINOTIFYD_PATHNAME}""#,
        ),
        (
            r#""$(case a in a) x {pathname};; esac)" "{pathname}""#,
            r#""$(case a in a) x "${PYINOTIFYD_PATHNAME}";; esac)" "${PYINOTIFYD_PATHNAME}""#,
        ),
        ("f() { x {pathname}; }; f", r#"f() { x "${PYINOTIFYD_PATHNAME}"; }; f"#),
        ("x $((1+(2))) {pathname}", r#"x $((1+(2))) "${PYINOTIFYD_PATHNAME}""#),
    ] {
        assert_eq!(script(source), expected);
    }
}

#[test]
fn what_has_no_placeholder_is_the_shells_own_business() {
    for source in ["", "x 'open", "((", "echo $'a\\'b'", "x {pathnam}"] {
        let template = ShellTemplate::parse(source).unwrap();
        assert_eq!(template.script(), source);
        assert_eq!(template.variables().count(), 0);
    }
}

#[test]
fn each_variable_is_named_once() {
    let template = ShellTemplate::parse("x {pathname} {maskname} '{pathname}'").unwrap();
    assert_eq!(
        template.variables().collect::<Vec<_>>(),
        [
            ("PYINOTIFYD_MASKNAME", Placeholder::Maskname),
            ("PYINOTIFYD_PATHNAME", Placeholder::Pathname)
        ]
    );
    assert_eq!(template.source(), "x {pathname} {maskname} '{pathname}'");
}

/// A command, and below it where and what is wrong with it, and what to write.
fn tell(source: &str, error: &ShellTemplateError) -> String {
    let shown = |text: &str| text.replace('\n', "\\n").replace('\0', "\\0");
    let [before, all] = [&source[..error.at], source].map(shown);
    let hint = if error.hint.is_empty() { String::new() } else { format!("\n  {}", error.hint) };
    format!("{all}\n{:1$}^ {error}{hint}", "", before.chars().count())
}

#[test]
fn what_cannot_be_followed_beside_a_placeholder_is_refused() {
    let told = [
        "cat << {pathname}",
        "x {pathname} <<E",
        "x {pathname} <<E 'a\nb'\nE\n",
        "x <<E\n{pathname} \\\n\nE\n",
        "x {pathname}; esac",
        "x {pathname} a\\\n#b",
        "x {pathname} $'\\''",
        "x {pathname} $'a",
        "x {pathname} $((1+1)",
        "x {pathname} $((1) )",
        "x {pathname} $((\"1\"))",
        "x {pathname} ${a",
        "x {pathname} \"${a:-'b'}\"",
        "x {pathname} $[1]",
        "x {pathname} &\\\n& y",
    ]
    .map(|source| tell(source, &ShellTemplate::parse(source).expect_err(source)));
    insta::assert_snapshot!("not_followed", told.join("\n"));
}

#[test]
fn a_command_that_is_too_long_is_refused() {
    for source in ["x ".repeat(70_000) + "{pathname}", "x ".repeat(70_000)] {
        let ShellTemplateError { message, at, hint } = ShellTemplate::parse(&source).unwrap_err();
        assert_eq!((&*message, at), ("the command is longer than 131071 bytes", 131_071));
        assert_eq!(hint, "put it into a script and run that");
    }
}

#[test]
fn where_no_reference_is_safe_there_is_an_error_with_its_place() {
    let mut told = Vec::new();
    for (source, at) in [
        ("cat <<'E'\n{pathname}\nE\n", 10),
        ("cat <<\\E\n{pathname}\nE\n", 9),
        ("x $(({pathname}+1))", 5),
        ("x ${x:-{pathname}}", 7),
        ("x \"${x:-{pathname}}\"", 8),
        ("x ${x:-$(y {pathname})}", 11),
        ("x \"`y {pathname}`\"", 6),
        ("x `y \\$z {pathname}`", 9),
        ("x ${pathname}", 3),
        ("x \"${pathname}\"", 4),
        ("x \\{pathname}", 3),
        ("x \"\\{pathname}\"", 4),
        ("x $'a{pathname}'", 5),
        ("x >&{basename}", 4),
        ("cat <<{pathname}\n", 6),
        ("x $[{pathname}]", 2),
        ("a[{basename}]=1", 2),
        ("((x={basename}))", 0),
        ("a=({pathname})", 2),
        ("x 'open {pathname}", 2),
        ("x \"open {pathname}", 2),
        ("x `open {pathname}", 2),
        ("x $(open {pathname}", 4),
        ("x {pathname})", 12),
        ("x <<E {pathname}\n", 2),
        ("x {pathname} \\", 13),
        ("{basename} x", 0),
        ("x \0", 2),
    ] {
        let error = ShellTemplate::parse(source).expect_err(source);
        assert_eq!(error.at, at, "{source}: {error}");
        told.push(tell(source, &error));
    }
    insta::assert_snapshot!("places", told.join("\n"));
    let error = ShellTemplate::parse("x ${pathname}").unwrap_err();
    assert_eq!(error.to_string(), "`{pathname}` cannot stand right behind a `$`");
    assert!(error.hint.contains("\"$PYINOTIFYD_PATHNAME\""), "{}", error.hint);
}

#[test]
fn text_that_is_read_again_is_refused() {
    let mut told = Vec::new();
    for source in [
        "sh -c 'x {pathname}'",
        "/bin/bash -ec \"x {pathname}\"",
        "bash -c -o pipefail 'x {pathname}'",
        "sudo -u x env A=b dash -c x{pathname}",
        "find . -exec sh -c 'x {pathname}' \\;",
        "echo $(sh -c 'x {pathname}')",
        "s\\h -c 'x {pathname}'",
        "\"$SHELL\" -c 'x {pathname}'",
        "sh {basename} {pathname}",
        "eval x {pathname}",
        "a=b eval x {pathname}",
        "if command eval x {pathname}; then :; fi",
        "for x do eval {pathname}; done",
        "su -c 'x {pathname}' user",
        "su user --command='x {pathname}'",
        "ssh host x {pathname}",
        "trap 'x {pathname}' EXIT",
        "alias a={pathname}",
        "echo x {pathname} | sh",
        "printf 'x %s\\n' {pathname} | sudo bash -s",
        "{ echo {pathname}; } | sh",
        "sh <<E\nx {pathname}\nE\n",
        "sh <<<{pathname}",
        "at now <<E\nx {pathname}\nE\n",
        "echo {pathname} | ssh host",
        "perl -ne 'x {pathname}'",
        "python3 -c 'x(\"{pathname}\")'",
        "awk '/{basename}/' x",
        "sed 's/x/{basename}/' y",
        "sed -e s/x/{basename}/ y",
        "env -S 'x {pathname}'",
        "flock /x -c 'y {pathname}'",
        "watch ls {pathname}",
        "scp /x host:{pathname}",
        "printf -v {basename} x",
        "[[ {basename} -eq 1 ]]",
        "[[ -f x && {basename} -gt 1 ]]",
        "export {basename}",
        "declare -i x={basename}",
        "read {basename}",
        "let x={basename}",
        "sqlite3 db 'insert {pathname}'",
    ] {
        let error = ShellTemplate::parse(source).expect_err(source);
        assert!(!error.hint.is_empty(), "{source}");
        assert_eq!(source[error.at..].chars().next(), Some('{'), "{source}: {error}");
        told.push(tell(source, &error));
    }
    insta::assert_snapshot!("read_again", told.join("\n"));
    let error = ShellTemplate::parse("bash -c 'x {pathname}'").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`{pathname}` stands where `bash -c` would read its value as text"
    );
    assert_eq!(
        error.hint,
        "write \"$PYINOTIFYD_PATHNAME\" inside, or hand it over: \
         bash -c '… \"$1\" …' bash {pathname}"
    );
}

#[test]
fn what_reads_a_value_as_text_gets_it_if_it_is_nothing_else() {
    let template =
        ShellTemplate::parse_with_reread("sh -c 'x {pathname}' && y {maskname}").unwrap();
    assert_eq!(
        template.reread().map(ToString::to_string).as_deref(),
        Some("`{pathname}` stands where `sh -c` would read its value as text")
    );
    let check = |path: &str| {
        let event = event(path.as_bytes(), None);
        template.check(&Values { event: &event, task: TaskId(1), scheduler: "s" })
    };
    for path in ["/w/a_b-c.d+e:f@g/1", "/w/Übung.txt"] {
        assert_eq!(check(path), Ok(()), "{path}");
    }
    for path in
        ["/w/a b", "/w/$x", "/w/`x`", "/w/a;b", "/w/a\nb", "/w/'", "/w/\"", "/w/\u{a0}", "-x"]
    {
        assert_eq!(check(path), Err(Placeholder::Pathname), "{path}");
    }
    // What the command does not name is in its environment all the same.
    let template = ShellTemplate::parse_with_reread("sh -c '((x = {maskname}))'").unwrap();
    let event = event(b"/w/a[$(id)]", None);
    let values = Values { event: &event, task: TaskId(1), scheduler: "s" };
    assert_eq!(template.check(&values), Err(Placeholder::Pathname));
    let plain = ShellTemplate::parse_with_reread("x {pathname}").unwrap();
    assert_eq!(plain.reread(), None);
    assert_eq!(plain, ShellTemplate::parse("x {pathname}").unwrap());
}

#[test]
fn no_value_chooses_a_command_or_a_variable_or_is_code_of_another_language() {
    for source in [
        "{basename} x",
        "sh -c '{basename} x'",
        "perl -e 'print \"{pathname}\"'",
        "python3 -c 'x = \"{pathname}\"'",
        "sed -n '/{pathname}/p' list",
        "let x={pathname}",
        "unset {pathname}",
        "declare {pathname}=1",
        "env -S 'x {pathname}'",
        "sqlite3 db 'insert into t values (\"{pathname}\")'",
    ] {
        let taken = ShellTemplate::parse_with_reread(source);
        assert_eq!(taken, ShellTemplate::parse(source), "{source}");
        assert!(taken.is_err(), "{source}");
    }
}

#[test]
fn values_that_are_handed_over_as_arguments_are_fine() {
    for source in [
        "sh -c 'x \"$1\"' sh {pathname}",
        "sh -c 'x \"$PYINOTIFYD_PATHNAME\"'; y {pathname}",
        "bash -o pipefail -c 'x \"$1\"' - {pathname}",
        "sh /script {pathname}",
        "sh -e {pathname}",
        "sh /script -c {pathname}",
        "tar -c {pathname}",
        "grep -e x {pathname}",
        "wc -c {pathname} | sort",
        "cat {pathname} | sh",
        "cat {pathname} | ssh host 'cat >/x'",
        "echo {pathname} | mail -s {basename} root",
        "echo {pathname} >> /log; sh /script",
        "awk '{print}' {pathname}",
        "awk -v x={pathname} '{print x}' /y",
        "sed -i s/a/b/ {pathname}",
        "sed -e s/a/b/ {pathname}",
        "perl -pe s/a/b/ {pathname}",
        "python3 /x.py -c {pathname}",
        "rsync -as {pathname} host:{pathname}",
        "scp {pathname} host:/x/",
        "export x={pathname}",
        "[[ -f {pathname} ]]",
        "[ -f {pathname} ] && x",
        "ls x{a,{basename}}",
        "while read -r x; do y \"$x\"; done < {pathname}",
        "sqlite3 {pathname} 'select 1'",
        "(cd /x && y {pathname}) & wait",
        "if ! x {pathname}; then y; elif z; then :; else a {pathname}; fi",
        "x 2>&1 >{dirname}/log {pathname}",
        "{pathname} --run",
    ] {
        if let Err(error) = ShellTemplate::parse(source) {
            panic!("{source}: {error} at {}", error.at);
        }
    }
}

#[test]
fn a_shell_is_left_out_when_it_has_nothing_to_do() {
    let argv = |source: &str| {
        let event = event(b"/p q", Some(b""));
        let values = Values { event: &event, task: TaskId(0), scheduler: "s" };
        let template = ShellTemplate::parse(source).unwrap();
        template.direct_argv().map(|argv| {
            argv.iter()
                .map(|word| String::from_utf8(word.render(&values)).unwrap())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        argv("/bin/x {maskname} --f={pathname}.bak '' {src_pathname} 'a \"b' \"c'd {pathname}\"e"),
        Some(
            ["/bin/x", "IN_MOVED_TO", "--f=/p q.bak", "", "", "a \"b", "c'd /p qe"]
                .map(str::to_owned)
                .to_vec()
        )
    );
    for source in [
        "",
        "x {pathname}",
        "/bin/x *",
        "/bin/x $y",
        "/bin/x \"$y\"",
        "/bin/x; y",
        "/bin/x | y",
        "/bin/x >y",
        "A=b /bin/x",
        "{pathname}",
        "/bin/x ~",
        "/bin/x \\y",
        "/bin/x {a,b}",
        "/bin/x #y",
        "/bin/x [a]",
        "/bin/x\n/bin/y",
        "/bin/x ?",
        "/bin/x !y",
        "/bin/x `y`",
        "/bin/x &",
        "/bin/x 'open",
        "/bin/{basename}",
    ] {
        assert_eq!(
            ShellTemplate::parse(source).ok().and_then(|it| it.direct_argv().map(drop)),
            None,
            "{source}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_a_template(source in r"(\{|\}|pathname|basename|.){0,12}", path: Vec<u8>) {
        let template = Template::parse(&source);
        let rest = rendered(&source, &path, None);
        if template.placeholders().next().is_none() {
            prop_assert_eq!(rest, source.as_bytes());
        }
        for odd in odd_braces(&source) {
            prop_assert_eq!(&source[odd.at + 1..odd.at + 1 + odd.word.len()], odd.word);
        }
    }

    #[test]
    fn any_text_is_a_shell_template_or_an_error(
        source in r#"(\{pathname\}|\{basename\}|\$|\(|\)|\{|\}|'|"|`|\\|<<|E|\n|case|in|esac|;|&|\||#| |=|\[|sh -c|.){0,24}"#,
    ) {
        match ShellTemplate::parse(&source) {
            Ok(template) => {
                let _ = template.direct_argv();
                prop_assert_eq!(template.source(), source);
            }
            Err(error) => prop_assert!(source.is_char_boundary(error.at), "{} at {}", error, error.at),
        }
    }
}
