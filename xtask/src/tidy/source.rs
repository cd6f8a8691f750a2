//! A source file without what only people read.

/// A source file whose comments and literals are blanked out, so that what is left is code. Lines
/// keep their numbers.
pub(super) struct Source {
    code: String,
}

impl Source {
    /// Blanks out comments, strings and characters.
    pub(super) fn new(text: &str) -> Self {
        let mut code = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(char) = rest.chars().next() {
            let len = match char {
                '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
                '/' if rest.starts_with("/*") => block(rest),
                '"' => string(rest),
                'r' | 'b' | 'c' if !ends_in_word(&code) => raw(rest).unwrap_or(0),
                '\'' => character(rest).unwrap_or(0),
                _ => 0,
            };
            if len == 0 {
                code.push(char);
                rest = &rest[char.len_utf8()..];
            } else {
                code.extend(rest[..len].chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
                rest = &rest[len..];
            }
        }
        Self { code }
    }

    /// Each line's number from 1, its code, and whether it is in the test module, which is the
    /// last part of a file.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let program = self.program().lines().count();
        (1..).zip(self.code.lines()).map(move |(number, line)| (number, line, number > program))
    }

    /// The code ahead of the test module.
    pub(super) fn program(&self) -> &str {
        let mut at = 0;
        for line in self.code.split_inclusive('\n') {
            if begins_tests(&self.code[at..]) {
                return &self.code[..at];
            }
            at += line.len();
        }
        &self.code
    }
}

/// Whether the test module begins here: `mod tests {` under its attributes. Not any item that only
/// tests see, nor `mod tests;`: what comes behind that is the program's.
fn begins_tests(code: &str) -> bool {
    if code.starts_with("#![cfg(test)]") {
        return true;
    }
    let is_for_tests = ["#[cfg(test)]", "#[cfg(all(test"].iter().any(|it| code.starts_with(it));
    let item = code.lines().find(|it| !it.starts_with("#["));
    is_for_tests && item.is_some_and(|it| it.contains("mod tests {"))
}

/// Whether a line has this word, and not as part of another.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !ends_in_word(&line[..at])
            && !line[at + word.len()..].starts_with(|it: char| it.is_alphanumeric() || it == '_')
    })
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|it: char| it.is_alphanumeric() || it == '_')
}

/// The length of the block comment that starts here; they nest.
fn block(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the string that starts here with a quote.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => (),
        }
    }
    text.len()
}

/// The length of the string with a prefix (`r#"`, `b"`, `br"`, `c"`) that starts here.
fn raw(text: &str) -> Option<usize> {
    let prefix = text.find(|it| !matches!(it, 'r' | 'b' | 'c'))?;
    let (prefix, rest) = text.split_at(prefix);
    if !prefix.contains('r') || prefix.len() > 2 {
        return rest.starts_with('"').then(|| prefix.len() + string(rest));
    }
    let hashes = rest.find(|it| it != '#')?;
    let inside = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &rest[..hashes]);
    let len = inside.find(&end).map_or(inside.len(), |it| it + end.len());
    Some(prefix.len() + hashes + 1 + len)
}

/// The length of the character that starts here; `None`: it is a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, it)| *it == '\'').map(|(at, _)| at + 1);
    }
    chars.next().filter(|(_, it)| *it == '\'').map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        let code = |text| Source::new(text).code.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(code("a // b\nc"), "a c");
        assert_eq!(code("a /* b /* c */ d */ e"), "a e");
        assert_eq!(code(r#"a "b \" c" d"#), "a d");
        assert_eq!(code("a r#\"b \" c\"# d br\"e\" f b'g' h"), "a d f b h");
        assert_eq!(code("a '\\'' b '\"' c 'x' <'d> e"), "a b c <'d> e");
        assert_eq!(code("for b in c { r = b }"), "for b in c { r = b }");
    }

    #[test]
    fn the_tests_begin_at_their_module() {
        let program = |text| Source::new(text).program().lines().count();
        assert_eq!(program("a\n#[cfg(test)]\nmod tests {\n}\n"), 1);
        assert_eq!(program("a\nb\n#[cfg(all(test, x))]\n#[expect(y)]\nmod tests {\n"), 2);
        assert_eq!(program("//\n#![cfg(test)]\nuse a;\n"), 1);
        assert_eq!(program("#[cfg(test)]\nmod cost;\n#[cfg(test)]\nfn tests() {}\n"), 4);
        assert_eq!(program("#[cfg(test)]\nmod tests;\nfn f() {}\n"), 3);
        let code = "a\n#[cfg(test)]\nmod cost;\nb\n#[cfg(test)]\nmod tests {}\n";
        let source = Source::new(code);
        let in_tests: Vec<bool> = source.code().map(|it| it.2).collect();
        assert_eq!(in_tests, [false, false, false, false, true, true]);
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text = "a\n/*\n*/ b \"\n\" c";
        assert_eq!(Source::new(text).code.lines().count(), text.lines().count());
    }
}
