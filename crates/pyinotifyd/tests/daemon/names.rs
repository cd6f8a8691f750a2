//! Names that others choose: they arrive byte for byte, and nothing in them is carried out.

use std::{collections::BTreeSet, ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use super::support::{Daemon, World};

fn hostile() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"new\nline"[..],
        b"\n2026-11-23 06:21:30,123 - pyinotifyd:daemon - INFO - forged",
        b"carriage\rreturn",
        b"single'quote",
        b"double\"quote",
        b"$(touch proof)",
        b"`touch proof`",
        b"'; touch proof; '",
        b"\"; touch proof; \"",
        b"'\"$(touch proof)\"'",
        b"; touch proof #",
        b"&& touch proof",
        b"$PYINOTIFYD_PATHNAME ${HOME} $0 $1 $*",
        b"{src_pathname}{pathname}{maskname}",
        b"-rf",
        b"--help",
        b"back\\slash\\n\\",
        b"in\xffvalid\xc3",
        b"esc\x1b[31mred\x1b[0m\x07\x08",
        "bidi\u{202e}txt".as_bytes(),
        b" leading and trailing ",
        b"*",
        b"?[a-z]~",
        b"%s%n",
        b"!!",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    names.push(vec![b'x'; 255]);
    names
}

/// One command for each way in which a placeholder can stand in it.
const CONFIG: &str = r#"
[scheduler.exec]
exec = ["@/take", "exec", "{maskname}", "{pathname}", "{src_pathname}", "{dirname}", "{basename}", "<{basename}>"]
[scheduler.unquoted]
shell = "@/take unquoted {maskname} {pathname} {src_pathname} {dirname} {basename} <{basename}>"
[scheduler.single]
shell = "@/take single '{maskname}' '{pathname}' '{src_pathname}' '{dirname}' '{basename}' '<{basename}>'"
[scheduler.double]
shell = '@/take double "{maskname}" "{pathname}" "{src_pathname}" "{dirname}" "{basename}" "<{basename}>"'
[scheduler.piped]
shell = "@/take piped {maskname} {pathname} '{src_pathname}' \"{dirname}\" {basename} \"<{basename}>\" | cat"
[scheduler.env]
shell = 'cd @ && @/take env "$PYINOTIFYD_MASKNAME" "$PYINOTIFYD_PATHNAME" "$PYINOTIFYD_SRC_PATHNAME" {dirname} {basename} "<"{basename}">"'
[scheduler.prints]
exec = ["printf", "%s\n", "{pathname}"]
[scheduler.logs]
log = "{pathname} {src_pathname} {basename}"
[[watch]]
path = "@/w"
[watch.event_map]
IN_MOVED_TO = ["exec", "unquoted", "single", "double", "piped", "env", "prints", "logs"]
"#;

#[test]
fn hostile_names_arrive_byte_for_byte_and_nothing_in_them_is_carried_out() {
    let world = World::new();
    // Each command leaves its words in a file of its own, with a NUL behind each.
    world.script("take", r#"cd "${0%/*}" || exit; printf '%s\0' "$@" > "took.$$""#);
    let config = CONFIG.replace("@/take unquoted {maskname} {pathname} {src_pathname} {dirname} {basename} <{basename}>",
        "@/take unquoted {maskname} {pathname} {src_pathname} {dirname} {basename} \\\\<{basename}\\\\>");
    world.mkdir("w/from");
    let mut daemon = Daemon::start(&world, &config);
    let names = hostile();
    let ways = ["exec", "unquoted", "single", "double", "piped", "env"];
    let mut expected = BTreeSet::new();
    for name in &names {
        let name = OsStr::from_bytes(name);
        let dir = world.path("w");
        let (from, to) = (dir.join("from").join(name), dir.join(name));
        fs::write(&from, "").unwrap();
        fs::rename(&from, &to).unwrap();
        let name = name.as_bytes();
        for way in ways {
            let words: [&[u8]; 7] = [
                way.as_bytes(),
                b"IN_MOVED_TO",
                to.as_os_str().as_bytes(),
                from.as_os_str().as_bytes(),
                dir.as_os_str().as_bytes(),
                name,
                &[b"<", name, b">"].concat(),
            ];
            let mut took = Vec::new();
            for word in words {
                took.extend_from_slice(word);
                took.push(0);
            }
            expected.insert(took);
        }
    }
    for _ in 0..names.len() * (ways.len() + 2) {
        daemon.wait_for("an end", |line| line.contains(": done for ") || line.contains(": failed"));
    }
    daemon.stop();
    let took = fs::read_dir(world.path("")).unwrap().map(|it| it.unwrap().path());
    let took: BTreeSet<Vec<u8>> = took
        .filter(|it| it.file_name().unwrap().as_bytes().starts_with(b"took."))
        .map(|it| fs::read(it).unwrap())
        .collect();
    let shown = |it: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>| -> Vec<String> {
        it.difference(other).map(|it| it.escape_ascii().to_string()).collect()
    };
    assert_eq!(shown(&expected, &took), [""; 0], "did not arrive; {daemon}");
    assert_eq!(shown(&took, &expected), [""; 0], "arrived otherwise; {daemon}");
    for dir in ["", "w"] {
        assert!(!world.path(dir).join("proof").exists());
    }
    for line in &daemon.log {
        assert!(begins_a_line(line), "a forged line: {line:?}");
        assert!(!line.chars().any(|it| it.is_control() || it == '\u{202e}'), "{line:?}");
    }
    // What was printed and logged was one line each: those of `prints` show the name's own lines.
    assert!(daemon.log.iter().any(|it| it.contains(r"\n2026-11-23 06:21:30,123 - ")), "{daemon}");
}

/// `2026-11-23 06:21:30,123 - pyinotifyd/name - LEVEL - `
fn begins_a_line(line: &str) -> bool {
    let stamp = |at: &str| {
        at.len() == 23
            && at.bytes().zip(b"0000-00-00 00:00:00,000").all(|(byte, like)| {
                if *like == b'0' { byte.is_ascii_digit() } else { byte == *like }
            })
    };
    let mut parts = line.splitn(4, " - ");
    parts.next().is_some_and(stamp)
        && parts.next().is_some_and(|it| it.starts_with("pyinotifyd/"))
        && parts.next().is_some_and(|it| ["DEBUG", "INFO", "WARNING", "ERROR"].contains(&it))
        && parts.next().is_some()
}
