use proptest::prelude::*;

use super::*;

fn pattern(source: &str) -> Pattern {
    Pattern::new(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn substituted(source: &str, substitution: &str, path: &[u8]) -> Option<Vec<u8>> {
    let pattern = pattern(source);
    let substitution = Substitution::parse(substitution, &pattern).unwrap();
    pattern.substitute(&substitution, path).unwrap()
}

/// (pattern, substitution, path, what Python 3.11 gives: `None` if `re.match` gives nothing, else
/// `re.sub`).
type Row = (&'static str, &'static str, &'static [u8], Option<&'static [u8]>);

#[rustfmt::skip]
const PYTHON: &[Row] = &[
    (r"^/src/(?P<path>.*)\.to_move$", r"/dst/\g<path>", b"/src/a/b.to_move", Some(b"/dst/a/b")),
    (r"^/src/(?P<path>.*)\.to_move$", r"/dst/\g<path>", b"/src/a/b.to_move\n", Some(b"/dst/a/b\n")),
    (r"^/src/(?P<path>.*)\.to_move$", r"/dst/\g<path>", b"/src/a/b.to_move\n\n", None),
    (r"^/src/(?P<path>.*)\.to_move$", r"/dst/\g<path>", b"/src/a\nb.to_move", None),
    (r"/src/(.*)", r"/dst/\1", b"/src/x/src/y", Some(b"/dst/x/src/y")),
    (r"/src", r"/dst", b"/src/x/src/y", Some(b"/dst/x/dst/y")),
    (r"/s", r"/d", b"x/s", None),
    (r".*", r"/d", b"/s/x", Some(b"/d/d")),
    (r"x*", r"-", b"abxd", Some(b"-a-b--d-")),
    (r"x*", r"-", b"", Some(b"-")),
    (r"|a", r"-", b"aab", Some(b"-----b-")),
    (r"(|a)(b?)", r"<\1,\2>", b"aabab", Some(b"<,><a,><,><a,b><,><a,b><,>")),
    (r"(a)|b", r"[\1]", b"abab", Some(b"[a][][a][]")),
    (r"(?:(a)|b)*", r"[\1]", b"ab", Some(b"[a][]")),
    (r"(?i)/SRC/(\w+)", r"/dst/\1", b"/src/Gr\xc3\xb6\xc3\x9fe", Some(b"/dst/Gr\xc3\xb6\xc3\x9fe")),
    (r"/(\w+)\b", r"<\1>", b"/Gro\xcc\x88\xc3\x9fe", Some(b"<Gro>\xcc\x88\xc3\x9fe")),
    (r"/\w+", r"w", b"/\xe2\x80\xbf\xe2\x92\xb6x", None),
    (r"/(\d+)", r"\1", b"/\xd9\xa3\xd9\xa4", Some(b"\xd9\xa3\xd9\xa4")),
    (r"/a\Z", r"/b", b"/a", Some(b"/b")),
    (r"/a\Z", r"/b", b"/a\n", None),
    (r"/a$", r"/b", b"/a\n", Some(b"/b\n")),
    (r"(?m)/a$", r"/b", b"/a\n/a\nx/a", Some(b"/b\n/b\nx/b")),
    (r"(?m)^", r">", b"a\nb\n", Some(b">a\n>b\n>")),
    (r"(?s)/.*", r"/b", b"/a\nb", Some(b"/b")),
    (r"(?x) /src / ( .* ) # all", r"/d/\1", b"/src/x y#", Some(b"/d/x y#")),
    (r"/(?P<a>.)(?P=a)", r"\g<a>", b"/xx/yy/xz", Some(b"xy/xz")),
    (r"/(.)\1", r"\1\1\1", b"/xx", Some(b"xxx")),
    (r"/(?=src)(.*)", r"/\1!", b"/src", Some(b"/src!")),
    (r"/(?!src)(.*)", r"/\1!", b"/srd", Some(b"/srd!")),
    (r"(?<=/)x|/", r"<\g<0>>", b"/x/x", Some(b"</><x></><x>")),
    (r"/[]a]+", r"b", b"/]a]", Some(b"b")),
    (r"/[^]a]+", r"b", b"/bc]", Some(b"b]")),
    (r"/[[:x]+", r"b", b"/[:x", Some(b"b")),
    (r"/[a&&b]+", r"-", b"/a&b", Some(b"-")),
    (r"/[\w-]+", r"-", b"/a-b.c", Some(b"-.c")),
    (r"/[\W]+", r"-", b"/. a", Some(b"-a")),
    (r"/a{,2}", r"-", b"/aaa", Some(b"-a")),
    (r"/a{x}", r"-", b"/a{x}", Some(b"-")),
    (r"/{", r"-", b"/{", Some(b"-")),
    (r"/a{2}?", r"-", b"/aaa", Some(b"-a")),
    (r"/(a)?b", r"[\1]", b"/b", Some(b"[]")),
    (r"/(a)?(?(1)b|c)", r"[\1]", b"/ab", Some(b"[a]")),
    (r"/(a)?(?(1)b|c)", r"[\1]", b"/c/b", Some(b"[]/b")),
    (r"/(a+?)", r"[\1]", b"/aaa", Some(b"[a]aa")),
    (r"/a++b", r"-", b"/aaab", Some(b"-")),
    (r"/(?>a+)b", r"-", b"/aaab", Some(b"-")),
    (r"/\x41\u00e9\101", r"-", b"/A\xc3\xa9A", Some(b"-")),
    (r"/(x)", r"\\1\n\t\1", b"/x", Some(b"\\1\n\tx")),
    (r"/(x)", r"\.\-\1", b"/x", Some(b"\\.\\-x")),
    (r"/(x)", r"\0\07\101", b"/x", Some(b"\x00\x07A")),
    (r"(/)(.)(.)(.)(.)(.)(.)(.)(.)(.)", r"\10\g<1>0", b"/abcdefghi", Some(b"i/0")),
    (r"/a|/ab", r"-", b"/ab", Some(b"-b")),
    (r"/(?i:A)b", r"-", b"/ab", Some(b"-")),
    (r"(?i)/[^a-z]?i", r"-", b"/\xc4\xb0/i/\xc4\xb1", Some(b"---")),
    (r"/(?i:A)b", r"-", b"/aB", None),
    (r"(?i)/a(?-i:b)", r"-", b"/AB", None),
    (r"/\s+", r"_", b"/ \x1c\xc2\x85\xe3\x80\x80x", Some(b"_x")),
    (r"(?a)/\w+", r"-", b"/a\xc3\xa9", Some(b"-\xc3\xa9")),
    (r"/\w+", r"-", b"/a\xc3\xa9", Some(b"-")),
    (r"a.c", r"-", b"a\nc", None),
    (r"(?:)", r"-", b"ab", Some(b"-a-b-")),
    (r"$", r"-", b"", Some(b"-")),
    (r"\A/a\b.", r"-", b"/a.\xcc\x81", Some(b"-\xcc\x81")),
    (r"/[\d\s.-]+", r"-", b"/1 2.3-x", Some(b"-x")),
    (r"/a(?#c)b", r"-", b"/ab", Some(b"-")),
    (r"(?P<é>/)", r"\g<é>!", b"/", Some(b"/!")),
    (r"/([^/]+)/([^/]+)$", r"/\2/\1", b"/a/b", Some(b"/b/a")),
    (r"/.", r"-", b"/\xff\xfe/x", Some(b"-\xfe-")),
    (r"(/.+)\.bak", r"\1", b"/\xff.bak", Some(b"/\xff")),
];

#[test]
fn substitutions_are_what_python_gives() {
    for (source, substitution, path, expected) in PYTHON {
        let got = substituted(source, substitution, path);
        assert_eq!(
            got.as_deref().map(path::shown).map(|it| it.to_string()),
            expected.map(|it| path::shown(it).to_string()),
            "re.sub({source:?}, {substitution:?}, {})",
            path::shown(path)
        );
        assert_eq!(pattern(source).is_match_at_start(path).unwrap(), expected.is_some());
    }
}

#[test]
fn a_match_at_the_start_need_not_reach_the_end() {
    assert!(pattern("/src").is_match_at_start(b"/src/x").unwrap());
    assert!(!pattern("src").is_match_at_start(b"/src/x").unwrap());
    assert!(pattern("src").is_match(b"/src/x").unwrap());
}

#[test]
fn a_dot_takes_a_byte_that_is_not_utf8_and_a_group_gives_it_back() {
    assert!(pattern("^/.$").is_match_at_start(b"/\xff").unwrap());
    assert!(pattern(r"^/\udcff$").is_match_at_start(b"/\xff").unwrap());
    assert_eq!(
        substituted("^/s/(.*)$", r"/d/\1", b"/s/\xff\xc3(").unwrap(),
        b"/d/\xff\xc3(".to_vec()
    );
    let private = "/s/\u{10ff41}".as_bytes();
    assert_eq!(substituted("^/s/(.*)$", r"/d/\1", private).unwrap()[3..], private[3..]);
}

#[test]
fn ordinary_patterns_are_linear() {
    for source in [r"^/src/(?P<path>.*)\.to_move$", r"\bx\b", "(?i)a|b", r"[^/]+/\w*\s?"] {
        assert!(pattern(source).is_linear(), "{source}");
    }
    assert!(!pattern("(?=a)a").is_linear());
    assert!(!pattern(r"(a)\1").is_linear());
}

#[test]
fn what_python_refuses_is_refused_with_its_place() {
    let refused = [
        ("(", 0),
        (")", 0),
        ("a(b", 1),
        ("*a", 0),
        ("a**", 2),
        ("a{2}{3}", 4),
        ("^*", 1),
        ("[a", 0),
        ("[]", 0),
        ("[b-a]", 1),
        (r"[\d-z]", 1),
        (r"a\", 1),
        (r"\q", 0),
        (r"\x4", 0),
        (r"\1", 0),
        (r"(a\1)", 2),
        ("(?P<a>.)(?P<a>.)", 12),
        ("(?P<1>.)", 4),
        ("(?P=a)", 4),
        ("a(?i)b", 1),
        ("(?(1)a|b|c)", 8),
        ("(?(2)a)", 3),
        ("(?#a", 0),
        (r"\400", 0),
        ("a{3,2}", 2),
        ("a{99999999999}", 2),
        ("(?L)a", 0),
        ("(?i)(?x)a(?-i)b", 9),
        ("(?y)a", 0),
        ("(?(1", 3),
        ("(?(0)a)", 3),
        ("(?(x)a)", 3),
        (r"\p", 0),
        (r"\p{Lu", 0),
        (r"[\b-\a]", 1),
        (r"\U00110000", 0),
        (r"\N{DIGIT ONE}", 0),
    ];
    let mut told = Vec::new();
    for (source, at) in refused {
        let error = Pattern::new(source).expect_err(source);
        assert_eq!(error.at, Some(at), "{source}: {error}");
        told.push(format!("{source}  {error}"));
    }
    insta::assert_snapshot!("refused", told.join("\n"));
}

#[test]
fn what_no_engine_takes_is_told_on_one_line() {
    let told = [r"\p{Nothing}", r"(?=a)\p{Nothing}", "(?=a)(?P>x)"].map(|source| {
        let error = Pattern::new(source).expect_err(source);
        format!("{source}  {error}")
    });
    insta::assert_snapshot!("engines", told.join("\n"));
}

#[test]
fn a_pattern_too_big_to_compile_is_an_error() {
    let mut told = Vec::new();
    for source in [
        "((a{99}){99}){99}",
        r"(\w{200}){200}",
        "(?=a)((a{999}){999}){999}",
        "(((((((x?){30}){30}){30}){30}){30}){30}){30}",
        &"(".repeat(100_000),
        &format!("{}a{}", "(".repeat(101), ")".repeat(101)),
    ] {
        let shown = &source[..source.len().min(40)];
        told.push(format!("{shown}  {}", Pattern::new(source).expect_err(shown)));
    }
    insta::assert_snapshot!("too_big", told.join("\n"));
    pattern(&format!("{}a{}", "(".repeat(90), ")".repeat(90)));
    pattern(r"\w{60}");
}

#[test]
fn evil_patterns_end() {
    let path = format!("/{}!", "a".repeat(4000));
    for source in ["/(a+)+$", "/(a|a)*$", "/(a|aa)+$", "/(.*a){20}$", r"/(\w+\s?)*$", "/(a*)*b"] {
        assert_eq!(pattern(source).is_match_at_start(path.as_bytes()), Ok(false), "{source}");
    }
    for source in ["/(?=x?)(a+)+$", r"/(a+)+\1$", "/(?:(?=a)a|a)*$", "/(?!b)(.*a)*(.*a)*(.*a)*b"] {
        let fault = pattern(source).is_match_at_start(path.as_bytes());
        match fault {
            Ok(matched) => assert!(!matched, "{source}"),
            Err(fault) => assert_eq!(&*fault.pattern, source),
        }
    }
    // Ends with a newline, so the backtracking program has to do it.
    let path = format!("{path}\n");
    let fault = pattern("/(a+)+$").is_match_at_start(path.as_bytes());
    assert!(matches!(fault, Ok(false) | Err(_)));
    let source = "/(?:(?!b)a|(?!c)a)*$";
    let fault = pattern(source).is_match_at_start(path.as_bytes()).unwrap_err();
    assert_eq!(fault.to_string(), format!("the pattern `{source}` gave up: too much backtracking"));
}

#[test]
fn what_cannot_be_put_in_is_told() {
    let pattern = pattern("(a)(?P<b>.)");
    let told = [
        r"a\",
        r"\g",
        r"\g<b",
        r"\g<>",
        r"\g<c>",
        r"\g<99999999999999999999>",
        r"\9",
        r"\q",
        r"\400",
    ]
    .map(|source| {
        let error = Substitution::parse(source, &pattern).expect_err(source);
        format!("{source}  {error}")
    });
    insta::assert_snapshot!("substitutions", told.join("\n"));
}

#[test]
fn a_group_that_does_not_exist_is_named_with_those_that_do() {
    let pattern = pattern("(?P<dir>.)(.)");
    let message = |text: &str| Substitution::parse(text, &pattern).unwrap_err().to_string();
    assert_eq!(message(r"/\g<path>"), "the pattern has no group `path`, only 1 (`dir`), 2");
    assert_eq!(message(r"/\3"), "the pattern has no group `3`, only 1 (`dir`), 2");
    assert_eq!(message(r"\g<9999999999999999999999>").split(',').count(), 3);
    assert_eq!(Substitution::parse(r"/a\g<x>", &pattern).unwrap_err().at, 2);
    for wrong in [r"\g", r"\g<", r"\g<>", r"\q", "\\", r"\400"] {
        assert!(Substitution::parse(wrong, &pattern).is_err(), "{wrong}");
    }
    let none = self::pattern("x");
    assert_eq!(
        Substitution::parse(r"\1", &none).unwrap_err().to_string(),
        "the pattern has no group `1`: it has none at all"
    );
}

#[test]
fn the_literal_prefix_ends_at_the_first_group() {
    let pattern = pattern("(.)");
    let prefix =
        |text: &str| Substitution::parse(text, &pattern).unwrap().literal_prefix().to_owned();
    assert_eq!(prefix(r"/a\\b\101/\1/c"), r"/a\bA/");
    assert_eq!(prefix(r"\g<0>/c"), "");
    assert_eq!(prefix("/c"), "/c");
}

#[test]
fn what_may_differ_from_python_is_known() {
    assert!(pattern(r"^/src/(?P<path>.*)\.\w+$").same_as_python());
    for source in [r"\p{L}", "(?<n>a)", r"a\z", "(?i)ä", "(?i)[a-ä]", "(?ia)k", "(?(1)a)(b)"] {
        assert!(!pattern(source).same_as_python(), "{source}");
        assert!(!pattern(source).matches_as_python(), "{source}");
    }
    for source in ["(a*)*", "(|a)+", "(?!(a))", "(?a:a)"] {
        assert!(!pattern(source).same_as_python(), "{source}");
        assert!(pattern(source).matches_as_python(), "{source}");
    }
    for source in ["(a*)?", r"(?i)[^.]i\w", "(?=(a))", "(?<!a)b", r"(a)\1", "(a)?(?(1)b|c)"] {
        assert!(pattern(source).same_as_python(), "{source}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_an_error(source in ".{0,40}", path: Vec<u8>) {
        if let Ok(pattern) = Pattern::new(&source) {
            let _ = pattern.is_match(&path);
            let _ = pattern.is_match_at_start(&path);
        }
    }

    /// Made of what patterns are made of, so that most get past the first character.
    #[test]
    fn any_pattern_like_text_is_a_pattern_or_an_error_in_the_users_words(
        words in prop::collection::vec(prop::sample::select(vec![
            "(", ")", "(?:", "(?P<n>", "(?P=n)", "(?=", "(?<!", "(?(1)", "(?i:", "(?x)", "[", "]",
            "^", "$", "-", "|", "*", "+", "?", "{2}", "{,3}", "{", "}", "\\", "\\1", "\\w", "\\b",
            "\\Z", ".", "a", "/", "ä", " ", "#", "&&", "--", "~~", "[:alpha:]", "\\x41", "\\p{L}",
        ]), 0..14),
        path in "[/a-c ä\n]{0,12}",
    ) {
        let source = words.concat();
        match Pattern::new(&source) {
            Ok(pattern) => {
                let _ = pattern.is_match(path.as_bytes());
                let substitution = Substitution::parse(r"/d/\g<0>", &pattern).unwrap();
                let _ = pattern.substitute(&substitution, path.as_bytes());
            }
            Err(error) => {
                prop_assert!(!error.message.is_empty());
                if let Some(at) = error.at {
                    prop_assert!(source.is_char_boundary(at), "{} at {}", error, at);
                }
            }
        }
    }

    #[test]
    fn any_text_is_a_substitution_or_an_error(source in r"(\\|g|<|>|[0-9]|[a-z]|/|.){0,20}") {
        let pattern = pattern("(?P<a>.)(.)");
        match Substitution::parse(&source, &pattern) {
            Ok(substitution) => {
                let result = pattern.substitute(&substitution, b"xy").unwrap().unwrap();
                prop_assert!(result.starts_with(substitution.literal_prefix().as_bytes()));
            }
            Err(error) => prop_assert!(source.is_char_boundary(error.at)),
        }
    }

    #[test]
    fn replacing_a_match_by_itself_changes_nothing(path: Vec<u8>) {
        for source in ["(?s).", "(?s).*", "x*", r"\b", r"\w+|\W", "$"] {
            if let Some(result) = substituted(source, r"\g<0>", &path) {
                prop_assert_eq!(&result, &path, "{}", source);
            }
        }
    }
}
