//! The same patterns, substitutions and paths to Python and to us.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use pyinotifyd_core::pattern::{Pattern, Substitution};

const CASES: usize = 20_000;

const SCRIPT: &str = r#"
import re, sys, warnings
warnings.simplefilter("ignore")
def text(word): return bytes.fromhex(word).decode("utf-8", "surrogateescape")
for line in sys.stdin:
    pattern, substitution, path = (text(word) for word in line.rstrip("\n").split(","))
    try:
        pattern = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        print("refused")
        continue
    result = pattern.sub(substitution, path) if pattern.match(path) else None
    print("none" if result is None else "=" + result.encode("utf-8", "surrogateescape").hex())
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn pattern() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "(", "(", ")", ")", ")", "(?:", "(?P<n>", "(?P=n)", "(?=", "(?!", "(?<=a)", "(?i:", "[",
        "]", "[^", "[a-c]", "[^/]", "^", "$", "-", "|", "*", "+", "?", "{2}", "{,3}", "{1,}", "{",
        "}", "\\1", "\\w", "\\W", "\\d", "\\s", "\\S", "\\b", "\\B", "\\A", "\\Z", ".", ".*", "a",
        "a", "b", "/", "/", "ä", " ", "\n", "#", "&&", "--", "\\.", "\\x61", "*?", "+?", "??",
        "(?s:", "(?m:", "(?x:", "(?a:", "(?m)", "\\n", "\u{308}",
    ]);
    prop::collection::vec(token, 1..9).prop_map(|tokens| tokens.concat())
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        &b"/"[..],
        b"a",
        b"b",
        b"c",
        b"A",
        b" ",
        b"\n",
        b"-",
        b"1",
        b".",
        b"#",
        b"&",
        "ä".as_bytes(),
        "\u{308}".as_bytes(),
        "\u{203f}".as_bytes(),
        b"\xff",
        b"\x1c",
    ]);
    // No empty path: until 3.14, Python's `\B` does not match in it.
    prop::collection::vec(token, 1..10).prop_map(|tokens| tokens.concat())
}

#[test]
fn python_gives_the_same() {
    let python = Command::new("python3")
        .args(["-c", "import sys; print(sys.version_info >= (3, 11))"])
        .output();
    match python {
        Ok(output) if output.stdout == b"True\n" => (),
        Ok(_) | Err(_) => {
            eprintln!("skipped: comparing with CPython, because there is no python3 >= 3.11");
            return;
        }
    }
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let cases: Vec<(String, Vec<u8>)> =
        (0..CASES).map(|_| (pattern(), path()).new_tree(&mut runner).unwrap().current()).collect();
    let substitution = r"<\g<0>>";
    let mut input = String::new();
    for (pattern, path) in &cases {
        let words = [pattern.as_bytes(), substitution.as_bytes(), path].map(hex);
        input.push_str(&words.join(","));
        input.push('\n');
    }
    let mut child = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::Builder::new()
        .spawn(move || stdin.write_all(input.as_bytes()).unwrap())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.lines().count(), CASES);

    let (mut compared, mut loose, mut differences) = (0, 0, Vec::new());
    for ((source, path), theirs) in cases.iter().zip(output.lines()) {
        let ours = Pattern::new(source).map(|pattern| {
            let substitution = Substitution::parse(substitution, &pattern).unwrap();
            let result = match pattern.substitute(&substitution, path) {
                Ok(None) => "none".to_owned(),
                Ok(Some(result)) => format!("={}", hex(&result)),
                Err(fault) => fault.to_string(),
            };
            (pattern.same_as_python(), result)
        });
        let (same, ours) = match ours {
            Ok((same, result)) => (same, result),
            Err(error) => (!error.message.contains("repeat"), "refused".to_owned()),
        };
        compared += usize::from(theirs != "refused");
        match (same, ours == theirs) {
            (_, true) => (),
            (true, false) => differences.push(format!("{source:?} on {path:?}: {theirs} {ours}")),
            (false, false) => loose += 1,
        }
    }
    eprintln!("{compared} of {CASES} are patterns; {loose} differ where we say they may");
    assert!(compared > CASES / 20, "the patterns are not all nonsense");
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences[..differences.len().min(25)].join("\n")
    );
}
