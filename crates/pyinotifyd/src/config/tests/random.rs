//! Whatever is written, it is answered, and what is said is about bytes that are there.

use proptest::{collection::vec, prelude::*, sample};

use super::{EXAMPLE, machine};
use crate::{
    config::{keys, parse_bytes},
    fuzzing::config_on,
};

/// Bits of TOML, right and wrong.
fn tokens() -> impl Strategy<Value = String> {
    let words: Vec<String> = [
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        " = ",
        ",",
        ".",
        "\n",
        "\n\n",
        "\"",
        "'",
        "'''",
        "#",
        "true",
        "false",
        "0o644",
        "1.5",
        "-1",
        "nan",
        "1979-05-27",
        "99999999999999999999",
        "\"30s\"",
        "'^/(?P<a>.*)$'",
        "'/d/\\g<a>'",
        "\"a\"",
        "\"x\"",
        "\"\\u0000\"",
        "scheduler.a",
        "scheduler.a.rules",
        "watch",
        "watch.event_map",
        "IN_CREATE",
        "default",
        "\"none\"",
        "ä",
        "\u{1b}",
        "\r",
        "\\",
        "$",
    ]
    .into_iter()
    .chain(keys::TOP.words())
    .chain(keys::SCHEDULER.words())
    .chain(keys::RULE.words())
    .chain(keys::WATCH.words())
    .map(str::to_owned)
    .collect();
    vec(sample::select(words), 0..60).prop_map(|it| it.concat())
}

/// Lines that parse, with values of the wrong kind as often as not.
fn lines() -> impl Strategy<Value = String> {
    let keys: Vec<&str> =
        keys::TOP.words().chain(keys::SCHEDULER.words()).chain(keys::WATCH.words()).collect();
    let values = sample::select(vec![
        "1",
        "0",
        "-1",
        "1.5",
        "nan",
        "true",
        "false",
        "''",
        "'/x'",
        "'30s'",
        "'a'",
        "[]",
        "{}",
        "['/x', '{pathname}']",
        "{ a = 1 }",
        "{ cancel = 'a' }",
        "{ glob = '[' }",
        "'^('",
        "0o777",
        "[{ action = 'move', src_re = '(', dst_re = 'x' }]",
        "{ IN_CREATE = 'a', default = 'b' }",
    ]);
    let headers = sample::select(vec![
        "[scheduler.a]",
        "[scheduler.b]",
        "[[watch]]",
        "[watch]",
        "[log]",
        "[scheduler]",
        "[[scheduler.a.rules]]",
        "[watch.event_map]",
    ]);
    let line = prop_oneof![
        4 => (sample::select(keys), values).prop_map(|(key, value)| format!("{key} = {value}\n")),
        1 => headers.prop_map(|it| format!("{it}\n")),
    ];
    vec(line, 0..30).prop_map(|it| it.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..300)) {
        config_on(&machine(), &bytes);
    }

    #[test]
    fn anything_like_toml_is_answered(text in tokens()) {
        config_on(&machine(), text.as_bytes());
    }

    #[test]
    fn anything_that_parses_is_answered(text in lines()) {
        config_on(&machine(), text.as_bytes());
    }

    #[test]
    fn a_good_file_gone_bad_is_answered(
        edits in vec((any::<sample::Index>(), 0..4_usize, vec(any::<u8>(), 0..4)), 1..5),
    ) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for (at, remove, insert) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + remove).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        config_on(&machine(), &bytes);
    }
}

#[test]
#[expect(clippy::format_collect, reason = "a test is not in a hurry")]
fn a_flood_is_answered_in_few_words() {
    let texts = [
        (0..20_000).map(|number| format!("a{number}=1\n")).collect::<String>(),
        "= = =\n".repeat(20_000),
        "[".repeat(100_000),
        "a=[".repeat(30_000),
        (0..5_000).map(|number| format!("[scheduler.s{number}]\n")).collect(),
        "[[watch]]\n".repeat(10_000),
        format!("x = \"{}\"", "\u{1b}a".repeat(50_000)),
        format!("{} = 1", "a".repeat(100_000)),
        format!("a{} = 1", ".a".repeat(50_000)),
    ];
    for text in texts {
        config_on(&machine(), text.as_bytes());
        let diagnostics = parse_bytes("c.toml", text.into_bytes(), &machine()).unwrap_err();
        assert!(diagnostics.len() <= 201);
        assert!(diagnostics.iter().all(|it| it.one_line().len() < 4_000));
    }
}
