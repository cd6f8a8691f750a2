//! Every value arrives byte for byte, and nothing of it is executed: real shells say so.

use std::{
    ffi::OsStr,
    fmt::Write,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use proptest::prelude::*;
use pyinotifyd_core::{
    event::{Event, EventType, Mask, Origin},
    record::Wd,
    task::TaskId,
    template::{ShellTemplate, Values},
};

/// The shells that are here. `/bin/sh` always is.
fn shells() -> Vec<&'static str> {
    let mut shells = vec!["/bin/sh"];
    for shell in ["/bin/dash", "/bin/bash", "/bin/ksh", "/bin/zsh"] {
        let found = Command::new(shell).args(["-c", ":"]).output().is_ok();
        if found {
            shells.push(shell);
        } else {
            eprintln!("skipped: {shell}, because it is not here");
        }
    }
    shells
}

fn event(pathname: &[u8], src_pathname: &[u8]) -> Event {
    Event {
        event_type: EventType::MovedTo,
        mask: Mask::from(EventType::MovedTo),
        is_dir: false,
        pathname: pathname.into(),
        src_pathname: Some(Arc::from(src_pathname)),
        name_len: 0,
        root_len: 0,
        wd: Wd(1),
        cookie: 0,
        origin: Origin::Live,
        subject: None,
    }
}

/// What a shell prints, with the values in the environment and `dir` as its working directory.
fn printed(shell: &str, dir: &Path, template: &ShellTemplate, values: &Values<'_>) -> Vec<u8> {
    let mut command = Command::new(shell);
    command.arg("-c").arg(template.script()).current_dir(dir).stdin(Stdio::null());
    for (variable, placeholder) in template.variables() {
        command.env(variable, OsStr::from_bytes(&placeholder.value(values)));
    }
    command.stderr(Stdio::null()).output().expect("the shell is here").stdout
}

fn is_empty(dir: &Path) -> bool {
    let listing = Command::new("ls").arg("-A").arg(dir).output().expect("ls is here");
    listing.stdout.is_empty()
}

fn hostile() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "/a b",
        "/a\nb",
        "/a\n",
        "/\n",
        "/'",
        "/\"",
        "/'\"'\"",
        "/$(touch x)",
        "/`touch x`",
        "/{src_pathname}",
        "/{pathname}",
        "-rf",
        "--",
        "",
        " ",
        "/;id>pwned;",
        "/|touch x",
        "/&touch x&",
        "/\x1b[31m",
        "/\\",
        "/\\\\",
        "/\\'",
        "/!",
        "/!!",
        "/*",
        "/?",
        "/[a]",
        "/~",
        "~",
        "/$HOME",
        "/${HOME}",
        "/$PYINOTIFYD_PATHNAME",
        "/a\tb",
        "/>x",
        "/<x",
        "/#",
        "#",
        "/a=b",
        "a=b",
        "/{a,b}",
        "/E\nE\n",
        "\nE\ntouch x\n",
        "/%s%n",
        "/\u{202e}x",
        "/\r\n",
        "a[$(touch x)]",
        "/)",
        "/esac",
        "/\u{fffc}",
        "$'x'",
        "/\x01\x02\x7f",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push(b"/\xff\xfe\x80\x81\x88\x83".to_vec());
    names.push((1..=255).collect());
    names.push([b"/".to_vec(), vec![b'x'; 255]].concat());
    names.push([b"/".to_vec(), vec![b'\''; 255]].concat());
    names
}

/// Commands that print `<pathname|src_pathname>`, each in another way.
const QUOTINGS: &[&str] = &[
    "printf '<%s|%s>' {pathname} {src_pathname}",
    "printf '<%s|%s>' '{pathname}' \"{src_pathname}\"",
    "printf %s '<'{pathname}'|'\"{src_pathname}\"\\>",
    "printf %s '<{pathname}|{src_pathname}>'",
    "printf %s \"<{pathname}|{src_pathname}>\"",
    "x={pathname}; y=\"{src_pathname}\"; printf '<%s|%s>' \"$x\" \"$y\"",
    "set -- a b; shift; f() { printf '<%s|%s>' {pathname} '{src_pathname}'; }; f c d",
    "(printf '<%s|' {pathname}; { printf '%s>' {src_pathname}; })",
    "for x in {pathname}; do printf '<%s|%s>' \"$x\" {src_pathname}; done",
    "if :; then # it's {pathname}\n printf '<%s|%s>' {pathname} {src_pathname}; fi",
    "case {pathname} in {pathname}) printf '<%s|%s>' {pathname} {src_pathname};; esac",
    "case x in x) case y in (y) printf '<%s|%s>' {pathname} {src_pathname};; esac;; esac",
    "printf '<%s|%s>' \\\n {pathname} \\\n\t{src_pathname}",
    "sh -c 'printf \"<%s|%s>\" \"$1\" \"$2\"' sh {pathname} {src_pathname}",
    "A= PYINOTIFYD_X= printf '<%s|%s>' {pathname} {src_pathname}",
    "env -i printf '<%s|%s>' {pathname} {src_pathname}",
    "IFS=/; printf '<%s|%s>' {pathname} {src_pathname}",
    "cd / && printf '<%s|%s>' {pathname} {src_pathname} | cat",
    "x=$(printf '<%s|%s>.' {pathname} \"{src_pathname}\"); printf %s \"${x%.}\"",
    "printf %s \"$(printf \"$(printf '<%%s|%%s>')\" {pathname} '{src_pathname}')\"",
    "x=`printf '<%s|%s>' {pathname} \"{src_pathname}\"`; printf %s \"$x\"",
];

#[test]
fn hostile_values_arrive_in_every_quoting() {
    let names = hostile();
    for shell in shells() {
        for quoting in QUOTINGS {
            let template = ShellTemplate::parse(quoting)
                .unwrap_or_else(|error| panic!("{quoting}: {error} at {}", error.at));
            let dir = tempfile::tempdir().unwrap();
            for (index, name) in names.iter().enumerate() {
                let other = &names[(index + 7) % names.len()];
                let event = event(name, other);
                let values = Values { event: &event, task: TaskId(0), scheduler: "s" };
                let expected = [b"<", &name[..], b"|", &other[..], b">"].concat();
                let got = printed(shell, dir.path(), &template, &values);
                assert_eq!(
                    got.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "{shell}: {quoting}"
                );
            }
            assert!(is_empty(dir.path()), "{shell}: {quoting} ran something");
        }
    }
}

#[test]
fn hostile_values_arrive_in_here_documents() {
    let documents = [
        "cat <<E\n'{pathname}' \"{src_pathname}\" $(printf %s {pathname})\nE\n",
        "cat <<-E\n\t'{pathname}' \"{src_pathname}\" $(printf %s \"{pathname}\")\n\tE\n",
    ];
    for shell in shells() {
        for document in documents {
            let template = ShellTemplate::parse(document).unwrap();
            let dir = tempfile::tempdir().unwrap();
            for name in hostile() {
                let event = event(&name, b"/b");
                let values = Values { event: &event, task: TaskId(0), scheduler: "s" };
                let trimmed = name.len() - name.iter().rev().take_while(|it| **it == b'\n').count();
                let expected = [b"'", &name[..], b"' \"/b\" ", &name[..trimmed], b"\n"].concat();
                let got = printed(shell, dir.path(), &template, &values);
                assert_eq!(
                    got.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "{shell}: {document}"
                );
            }
            assert!(is_empty(dir.path()), "{shell}: {document} ran something");
        }
    }
}

/// A word of a command, and what it is to become.
#[derive(Clone, Debug)]
enum Piece {
    Plain(String),
    Bare,
    Single(String, String),
    Double(String, Vec<Piece>),
    /// `"$(printf %s.. word)"`: in double quotes, or the shell splits the result.
    Nested(Vec<Piece>),
}

fn piece() -> impl Strategy<Value = Piece> {
    let leaf = prop_oneof![
        "[a-z=:.,/-]{1,4}".prop_map(Piece::Plain),
        Just(Piece::Bare),
        Just(Piece::Bare),
        ("[a-z $`\"\\\\\n#;&(){}*]{0,4}", "[a-z $`\"\\\\#;&(){}*]{0,3}")
            .prop_map(|(before, after)| Piece::Single(before, after)),
        "[a-z '#;&(){}*\n]{0,4}".prop_map(|text| Piece::Double(text, Vec::new())),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            ("[a-z '#;&*\n]{0,3}", prop::collection::vec(inner.clone(), 1..3)).prop_map(
                |(text, pieces)| Piece::Double(
                    text,
                    pieces
                        .into_iter()
                        .filter(|it| matches!(it, Piece::Nested(_) | Piece::Bare))
                        .collect()
                )
            ),
            prop::collection::vec(inner, 1..3).prop_map(Piece::Nested),
        ]
    })
}

/// Writes a piece as shell text, and as what it has to become.
fn write_piece(piece: &Piece, quoted: bool, value: &[u8], text: &mut String, out: &mut Vec<u8>) {
    match piece {
        Piece::Plain(plain) => {
            text.push_str(plain);
            out.extend_from_slice(plain.as_bytes());
        }
        Piece::Bare => {
            text.push_str("{pathname}");
            out.extend_from_slice(value);
        }
        Piece::Single(before, after) => {
            let _ = write!(text, "'{before}{{pathname}}{after}'");
            out.extend_from_slice(&[before.as_bytes(), value, after.as_bytes()].concat());
        }
        Piece::Double(plain, pieces) => {
            text.push('"');
            text.push_str(plain);
            out.extend_from_slice(plain.as_bytes());
            for piece in pieces {
                write_piece(piece, true, value, text, out);
            }
            text.push('"');
        }
        Piece::Nested(pieces) => {
            let quote = if quoted { "" } else { "\"" };
            let _ = write!(text, "{quote}$(printf %s. ");
            for piece in pieces {
                write_piece(piece, false, value, text, out);
            }
            let _ = write!(text, "){quote}");
            out.push(b'.');
        }
    }
}

/// Tokens of which most combinations are refused, and the rest has to be right.
fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{pathname}",
        "{pathname}",
        "{pathname}",
        "'",
        "\"",
        "\\",
        "\\\n",
        " ",
        "\n",
        "a",
        "#",
        "$x",
        "$",
        "${x}",
        "${x:-b}",
        "$(printf '<%s>' ",
        "(",
        ")",
        "`printf '<%s>' ",
        "`",
        ";",
        "$'",
        "$((1))",
        "printf '<%s>' ",
        "<<E\n",
        "\nE\n",
        "case a in ",
        "a) ",
        ";;",
        " esac",
        "{",
        "}",
        "=",
        "[",
        "|",
        "&",
        "cat ",
        "<<'E'\n",
        "${x:-\"",
        "\"}",
        "$\"",
        "#'",
        "-",
    ]);
    let text = prop::collection::vec(token, 1..14).prop_map(|tokens| tokens.concat());
    text.prop_filter("the same in each run", |text| {
        // The shell's own process id is another one in each run, and who runs in the background is
        // done when he is.
        !text.contains("$$") && !text.replace("&&", "").contains('&')
    })
}

proptest! {


    #[test]
    fn any_value_arrives_through_any_nesting(
        pieces in prop::collection::vec(piece(), 1..4),
        value in prop::collection::vec(1_u8.., 0..40),
    ) {
        let (mut text, mut expected) = ("printf '<%s>' ".to_owned(), b"<".to_vec());
        for piece in &pieces {
            write_piece(piece, false, &value, &mut text, &mut expected);
        }
        expected.push(b'>');
        let template = match ShellTemplate::parse(&text) {
            Ok(template) => template,
            Err(error) => return Err(TestCaseError::fail(format!("{text}: {error} at {}", error.at))),
        };
        let event = event(&value, b"");
        let values = Values { event: &event, task: TaskId(0), scheduler: "s" };
        let dir = tempfile::tempdir().unwrap();
        for shell in ["/bin/sh", "/bin/bash"] {
            let got = printed(shell, dir.path(), &template, &values);
            prop_assert_eq!(
                got.escape_ascii().to_string(), expected.escape_ascii().to_string(),
                "{}: {} -> {}", shell, text, template.script()
            );
        }
    }

    /// Whatever the text: if it is taken, a value in it changes nothing but itself.
    #[test]
    fn a_value_never_changes_what_the_text_does(text in soup(), index in any::<prop::sample::Index>()) {
        // No splitting and no globs: what the user left unquoted is the user's.
        let text = format!("set -f; IFS=; printf '<%s>' {text}");
        let Ok(template) = ShellTemplate::parse(&text) else { return Ok(()) };
        // At the end of `$(…)`, newlines go: that is the user's, too.
        let names: Vec<_> =
            hostile().into_iter().filter(|it| !it.ends_with(b"\n") && !it.is_empty()).collect();
        let name = index.get(&names);
        let dir = tempfile::tempdir().unwrap();
        for shell in ["/bin/sh", "/bin/bash"] {
            let run = |value: &[u8]| {
                let event = event(value, b"");
                let values = Values { event: &event, task: TaskId(0), scheduler: "s" };
                printed(shell, dir.path(), &template, &values)
            };
            let harmless = run(b"/Zq0Z").escape_ascii().to_string();
            prop_assert!(!harmless.contains("PYINOTIFYD"), "{}: {}", shell, template.script());
            let expected = harmless.replace("/Zq0Z", &name.escape_ascii().to_string());
            prop_assert_eq!(
                run(name).escape_ascii().to_string(), expected, "{}: {}", shell, template.script()
            );
        }
    }
}
