//! The same patterns, templates and paths to Python and to us.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use pyinotifyd_core::pattern::{Pattern, Substitution};

/// How many triples are tried.
const CASES: usize = 150_000;
/// How many of them one Python gets.
const BATCH: usize = 10_000;

/// Answers a line with whether the pattern matches at the start, and what the substitution gives;
/// or with who refuses.
const SCRIPT: &str = r#"
import re, sys, warnings
warnings.simplefilter("ignore")
def text(word): return bytes.fromhex(word).decode("utf-8", "surrogateescape")
for line in sys.stdin:
    pattern, template, path = (text(word) for word in line.rstrip("\n").split(","))
    try:
        pattern = re.compile(pattern)
    except Exception:
        print("pattern")
        continue
    try:
        result = pattern.sub(template, path)
    except Exception:
        print("template")
        continue
    found = pattern.match(path) is not None
    print("=" + result.encode("utf-8", "surrogateescape").hex() if found else "none")
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn pattern() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "(", "(", "(", ")", ")", ")", ")", "(?:", "(?P<n>", "(?P=n)", "(?=", "(?!", "(?<=a)",
        "(?<!b)", "(?i:", "(?i:", "[", "]", "[^", "[a-c]", "[^/]", "[h-j]", "^", "$", "-", "|",
        "*", "+", "?", "{2}", "{,3}", "{1,}", "{", "}", "\\1", "\\2", "(?(1)", "\\w", "\\W", "\\d",
        "\\s", "\\S", "\\b", "\\B", "\\A", "\\Z", ".", ".*", "a", "a", "b", "/", "/", "i", "K",
        "s", "ä", " ", "\n", "#", "&&", "--", "\\.", "\\x61", "*?", "+?", "??", "?+", "*+", "(?>",
        "(?s:", "(?m:", "(?x:", "(?a:", "(?-i:", "(?m)", "(?i)", "\\n", "\u{308}",
    ]);
    let tokens = prop::collection::vec(token, 1..10);
    (tokens, prop::bool::weighted(0.9))
        .prop_map(|(tokens, mends)| if mends { mended(&tokens) } else { tokens.concat() })
}

/// The tokens without most of what would make them no pattern.
fn mended(tokens: &[&str]) -> String {
    let mut pattern = String::new();
    let (mut open, mut in_class, mut repeatable, mut groups) = (0, false, false, 0);
    for token in tokens {
        let repeats = token.starts_with(['*', '+', '?', '{']) && *token != "{";
        if in_class {
            in_class = *token != "]";
        } else if repeats && !repeatable || *token == ")" && open == 0 {
            continue;
        } else if ["(?m)", "(?i)"].contains(token) {
            pattern.insert_str(0, token);
            continue;
        } else if token.starts_with('(') && *token != "(?P=n)" {
            if token.ends_with(')') && token.starts_with("(?<") {
                repeatable = false;
            } else if *token == "(?(1)" && groups == 0 {
                continue;
            } else {
                open += 1;
                groups += usize::from(["(", "(?P<n>"].contains(token));
                repeatable = false;
            }
            pattern.push_str(token);
            continue;
        } else if *token == ")" {
            open -= 1;
        } else if *token == "[" || *token == "[^" {
            in_class = true;
        }
        repeatable =
            !repeats && !in_class && !["^", "$", "|", "\\b", "\\B", "\\A", "\\Z"].contains(token);
        pattern.push_str(token);
    }
    if in_class {
        pattern.push_str("x]");
    }
    pattern + &")".repeat(open)
}

fn template() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "<", ">", "/d/", "\\1", "\\2", "\\g<0>", "\\g<1>", "\\g<2>", "\\g<n>", "\\n", "\\\\",
        "\\.", "\\0", "\\101", "ä", "\\q", "&",
    ]);
    // Most patterns have no group: the whole match is what can be asked of all of them.
    let any = prop::collection::vec(token, 1..4).prop_map(|tokens| tokens.concat());
    prop_oneof![Just(r"<\g<0>>".to_owned()), Just(r"<\g<0>|\1>".to_owned()), any]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        &b"/"[..],
        b"a",
        b"a",
        b"b",
        b"c",
        b"A",
        b"i",
        b"I",
        b"k",
        b"s",
        b" ",
        b"\n",
        b"-",
        b"1",
        b".",
        b"#",
        b"&",
        "ä".as_bytes(),
        "\u{130}".as_bytes(),
        "\u{131}".as_bytes(),
        "\u{212a}".as_bytes(),
        "\u{17f}".as_bytes(),
        "\u{308}".as_bytes(),
        "\u{203f}".as_bytes(),
        b"\xff",
        b"\x1c",
    ]);
    // No empty path: until 3.14, Python's `\B` does not match in it.
    prop::collection::vec(token, 1..10).prop_map(|tokens| tokens.concat())
}

type Triple = (String, String, Vec<u8>);

/// What Python says to each.
fn answers(triples: &[Triple]) -> Vec<String> {
    let mut input = String::new();
    for (pattern, template, path) in triples {
        let words = [pattern.as_bytes(), template.as_bytes(), path].map(hex);
        input.push_str(&words.join(","));
        input.push('\n');
    }
    let mut child = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was there a moment ago");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).expect("Python reads it all"));
        child.wait_with_output().expect("Python ends")
    });
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).expect("it is ASCII");
    let answers: Vec<_> = output.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), triples.len());
    answers
}

/// How the answers of a batch compare.
#[derive(Default)]
struct Compared {
    /// So many are patterns to Python.
    patterns: usize,
    /// Of so many of these we say that the substitution is the same.
    same: usize,
    /// Of so many of these we say at least that the match is.
    same_matches: usize,
    differences: Vec<String>,
}

fn compare(triples: &[Triple]) -> Compared {
    let mut compared = Compared::default();
    for ((source, template, path), theirs) in triples.iter().zip(answers(triples)) {
        if theirs == "pattern" {
            // What only we take is nobody's loss: a config.py is asked of Python first.
            continue;
        }
        compared.patterns += 1;
        // What only Python takes is left to it.
        let Ok(pattern) = Pattern::new(source) else { continue };
        let differs = |ours: &str| format!("{source:?}, {template:?}, {path:?}: {theirs}, {ours}");
        if pattern.matches_as_python() && theirs != "template" {
            compared.same_matches += 1;
            let ours =
                pattern.is_match_at_start(path).map_or("fault", |it| if it { "=" } else { "none" });
            if !theirs.starts_with(ours) {
                compared.differences.push(differs(ours));
                continue;
            }
        }
        if pattern.same_as_python() {
            assert!(pattern.matches_as_python());
            compared.same += 1;
            let ours = match Substitution::parse(template, &pattern) {
                Err(_) => "template".to_owned(),
                Ok(template) => match pattern.substitute(&template, path) {
                    Ok(None) => "none".to_owned(),
                    Ok(Some(result)) => format!("={}", hex(&result)),
                    Err(fault) => fault.to_string(),
                },
            };
            if ours != theirs {
                compared.differences.push(differs(&ours));
            }
        }
    }
    compared
}

fn triples(batch: usize) -> Vec<Triple> {
    let seed = [u8::try_from(batch).expect("there are few batches"); 32];
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let all = (pattern(), template(), path());
    let one = |_| all.new_tree(&mut runner).expect("nothing is refused").current();
    (0..BATCH).map(one).collect()
}

#[test]
fn python_gives_the_same_where_we_are_sure() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: comparing with CPython, because there is no python3");
        return;
    }
    let batches: Vec<usize> = (0..CASES.div_ceil(BATCH)).collect();
    // Python and we take turns, so two of them keep two processors busy.
    let compared: Vec<Compared> = thread::scope(|scope| {
        let halves = batches.chunks(batches.len().div_ceil(2));
        let threads: Vec<_> = halves
            .map(|half| {
                scope.spawn(|| half.iter().map(|it| compare(&triples(*it))).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    let sum = |count: fn(&Compared) -> usize| compared.iter().map(count).sum::<usize>();
    let (patterns, same) = (sum(|it| it.patterns), sum(|it| it.same));
    let same_matches = sum(|it| it.same_matches);
    eprintln!(
        "of {CASES} triples {patterns} have a pattern; of {same} we say that the result is the \
         same, of {same_matches} that the match is"
    );
    assert!(patterns > CASES / 2, "most of the patterns are none");
    assert!(same > patterns / 2, "and most of them are ours to match");
    let differences: Vec<_> = compared.into_iter().flat_map(|it| it.differences).collect();
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences[..differences.len().min(40)].join("\n")
    );
}
