//! Python's spelling of regular expressions, written anew for the Rust engines.
//!
//! Reads a pattern as Python's `re` reads it and writes one that means the same to `regex` and
//! `fancy-regex`: classes without set operations, `{` as text where it is no repetition, `\Z`,
//! `(?P=name)`, `{,n}`, verbose mode, `$` before a final newline, `\s` and `\w` with Python's
//! characters. What Python refuses is refused here, with its place; `\p{…}`, `\z` and `(?<name>…)`
//! are taken, too. It decides nothing about matching.

use super::PatternError;

/// How deep groups may nest. Python has such a limit, too; this one protects the engines' stacks.
const MAX_DEPTH: usize = 100;
/// The longest pattern, in bytes.
const MAX_LEN: usize = 64 * 1024;

/// A pattern for the engines. All groups are numbered; names are kept beside it.
#[derive(Debug, Default)]
pub(super) struct Translation {
    /// For `regex`; not to be used if `backtracks`.
    pub(super) linear: String,
    /// For `fancy-regex`. The same, but right for the texts that `special` names, too.
    pub(super) exact: String,
    /// Whether only `fancy-regex` can do it.
    pub(super) backtracks: bool,
    /// On which texts `linear` would be wrong.
    pub(super) special: Special,
    /// Whether it may match the empty text: a false `true` is possible, a false `false` is not.
    pub(super) nullable: bool,
    /// What is surely the same in Python.
    pub(super) same: Same,
    /// The name of each group, from group 1.
    pub(super) groups: Vec<Option<Box<str>>>,
}

/// What is surely the same in Python.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Same {
    /// Nothing.
    #[default]
    Nothing,
    /// Which texts match.
    Matches,
    /// And what is found, in each group, too.
    Groups,
}

/// Texts for which the linear pattern is not exact.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Special {
    /// Those that end with a newline: there is a `$`, which Python also matches before it.
    pub(super) final_newline: bool,
    /// Those that are not ASCII: there is a `\b`, and Python's idea of a word differs.
    pub(super) not_ascii: bool,
}

impl Special {
    pub(super) fn is_none(self) -> bool {
        !self.final_newline && !self.not_ascii
    }

    pub(super) fn covers(self, text: &str) -> bool {
        (self.final_newline && text.ends_with('\n')) || (self.not_ascii && !text.is_ascii())
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "Python's flags are independent of each other")]
struct Flags {
    ascii: bool,
    ignore_case: bool,
    multi_line: bool,
    dot_all: bool,
    verbose: bool,
}

enum FrameKind {
    Group,
    Capture(usize),
    Look {
        /// Whether it is one that must not match.
        negative: bool,
    },
    /// `(?(1)yes|no)`; `bars`: how many alternatives were begun.
    Condition {
        bars: u32,
    },
}

struct Frame {
    kind: FrameKind,
    at: usize,
    /// The flags outside.
    outer: Flags,
    /// Whether the alternative so far may match the empty text.
    branch_nullable: bool,
    /// Whether an earlier alternative may.
    any_nullable: bool,
}

/// What a repetition would apply to.
#[derive(Clone, Copy)]
enum Last {
    Nothing,
    Item {
        nullable: bool,
    },
    /// Python lets one repeat it, to no effect; the engines do not.
    Look,
    Repeated {
        nullable: bool,
    },
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    flags: Flags,
    frames: Vec<Frame>,
    last: Last,
    /// Whether anything was read after which global flags may not stand.
    begun: bool,
    closed: Vec<bool>,
    /// Groups that conditions ask for, which may come later.
    asked: Vec<(usize, usize)>,
    out: Translation,
}

/// Translates a pattern.
pub(super) fn translate(source: &str) -> Result<Translation, PatternError> {
    if source.len() > MAX_LEN {
        return Err(PatternError {
            message: format!("the pattern is longer than {MAX_LEN} bytes"),
            at: None,
        });
    }
    let mut reader = Reader {
        source,
        at: 0,
        flags: Flags::default(),
        frames: vec![Frame {
            kind: FrameKind::Group,
            at: 0,
            outer: Flags::default(),
            branch_nullable: true,
            any_nullable: false,
        }],
        last: Last::Nothing,
        begun: false,
        closed: Vec::new(),
        asked: Vec::new(),
        out: Translation { same: Same::Groups, ..Translation::default() },
    };
    while let Some(char) = reader.next() {
        reader.item(char)?;
    }
    reader.finish()
}

fn error(message: impl Into<String>, at: usize) -> PatternError {
    PatternError { message: message.into(), at: Some(at) }
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = self.rest().starts_with(text);
        if taken {
            self.at += text.len();
        }
        taken
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool, most: usize) -> &str {
        let start = self.at;
        for _ in 0..most {
            match self.peek() {
                Some(char) if wanted(char) => self.at += char.len_utf8(),
                _ => break,
            }
        }
        &self.source[start..self.at]
    }

    fn push(&mut self, text: &str) {
        self.out.linear.push_str(text);
        self.out.exact.push_str(text);
    }

    fn push_each(&mut self, linear: &str, exact: &str) {
        self.out.linear.push_str(linear);
        self.out.exact.push_str(exact);
    }

    /// Ends the item before: from here on, no repetition can apply to it.
    fn settle(&mut self) {
        match self.last {
            Last::Nothing | Last::Look => (),
            Last::Item { nullable } | Last::Repeated { nullable } => {
                let frame = self.frames.last_mut().expect("the outermost frame stays");
                frame.branch_nullable &= nullable;
            }
        }
        self.last = Last::Nothing;
    }

    fn begin_item(&mut self, nullable: bool) {
        self.settle();
        self.begun = true;
        self.last = Last::Item { nullable };
    }

    /// Something that consumes nothing and that Python does not let one repeat.
    fn anchor(&mut self, linear: &str, exact: &str) {
        self.settle();
        self.begun = true;
        self.push_each(linear, exact);
    }

    /// Takes in that no more than this is the same in Python.
    fn only(&mut self, same: Same) {
        self.out.same = self.out.same.min(same);
    }

    /// What characters without regard to case stand for, apart from what the engines make of them:
    /// in Python, `i` stands for the dotted capital and the dotless small one, too. Of what is not
    /// ASCII, and of ASCII's own idea of case, nobody here is sure.
    fn more_of(&mut self, low: char, high: char) -> &'static str {
        if !self.flags.ignore_case {
            return "";
        }
        if self.flags.ascii || !high.is_ascii() {
            self.only(Same::Nothing);
        }
        let is_i = ['i', 'I'].iter().any(|it| (low..=high).contains(it));
        if is_i { "\u{130}\u{131}" } else { "" }
    }

    fn literal(&mut self, char: char) {
        self.begin_item(false);
        let more = self.more_of(char, char);
        if !more.is_empty() {
            return self.push(&format!("[{char}{more}]"));
        }
        if is_meta(char) {
            self.push("\\");
        }
        self.push(char.encode_utf8(&mut [0; 4]));
    }

    fn item(&mut self, char: char) -> Result<(), PatternError> {
        let at = self.at - char.len_utf8();
        match char {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' if self.flags.verbose => (),
            '#' if self.flags.verbose => {
                self.take_while(|char| char != '\n', usize::MAX);
            }
            '\\' => self.escape(at)?,
            '.' => {
                self.begin_item(false);
                self.push(if self.flags.dot_all { "(?s:.)" } else { "[^\\n]" });
            }
            '^' if self.flags.multi_line => self.anchor("(?m:^)", "(?m:^)"),
            '^' => self.anchor("\\A", "\\A"),
            '$' if self.flags.multi_line => self.anchor("(?m:$)", "(?m:$)"),
            '$' => {
                self.out.special.final_newline = true;
                self.anchor("\\z", "(?=\\n?\\z)");
            }
            '[' => self.class(at)?,
            '(' => self.open(at)?,
            ')' => self.close(at)?,
            '|' => self.bar(at)?,
            '*' => self.repeat(at, 0, None)?,
            '+' => self.repeat(at, 1, None)?,
            '?' => self.repeat(at, 0, Some(1))?,
            '{' => match self.bounds()? {
                Some((least, most)) => self.repeat(at, least, most)?,
                None => self.literal('{'),
            },
            char => self.literal(char),
        }
        Ok(())
    }

    fn bar(&mut self, at: usize) -> Result<(), PatternError> {
        self.settle();
        self.begun = true;
        self.push("|");
        let frame = self.frames.last_mut().expect("the outermost frame stays");
        frame.any_nullable |= frame.branch_nullable;
        frame.branch_nullable = true;
        if let FrameKind::Condition { bars } = &mut frame.kind {
            *bars += 1;
            if *bars > 1 {
                return Err(error("a conditional group has two alternatives at most", at));
            }
        }
        Ok(())
    }

    /// `m,n}` after a brace; `None` if the brace is only text.
    fn bounds(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let start = self.at;
        let number = |digits: &str| {
            digits.parse::<u32>().map_err(|_| error("the repetition number is too large", start))
        };
        let least = self.take_while(|char| char.is_ascii_digit(), usize::MAX).to_owned();
        let comma = self.take(",");
        let most = if comma {
            self.take_while(|char| char.is_ascii_digit(), usize::MAX).to_owned()
        } else {
            least.clone()
        };
        if !self.take("}") || (least.is_empty() && !comma) {
            self.at = start;
            return Ok(None);
        }
        let low = if least.is_empty() { 0 } else { number(&least)? };
        let high = if most.is_empty() { None } else { Some(number(&most)?) };
        if high.is_some_and(|high| high < low) {
            return Err(error("the least repetition is greater than the most", start));
        }
        Ok(Some((low, high)))
    }

    fn repeat(&mut self, at: usize, least: u32, most: Option<u32>) -> Result<(), PatternError> {
        let nullable = match self.last {
            Last::Item { nullable } => nullable,
            Last::Nothing => return Err(error("nothing to repeat", at)),
            Last::Look => return Err(error("a look-around cannot be repeated", at)),
            Last::Repeated { .. } => return Err(error("a repetition of a repetition", at)),
        };
        // Engines differ in when they leave a loop whose body matched nothing, and in what its
        // groups then hold.
        if nullable && most != Some(1) {
            self.only(Same::Matches);
        }
        match (least, most) {
            (0, None) => self.push("*"),
            (1, None) => self.push("+"),
            (0, Some(1)) => self.push("?"),
            (least, None) => self.push(&format!("{{{least},}}")),
            (least, Some(most)) if least == most => self.push(&format!("{{{least}}}")),
            (least, Some(most)) => self.push(&format!("{{{least},{most}}}")),
        }
        if self.take("?") {
            self.push("?");
        } else if self.take("+") {
            self.push("+");
            self.out.backtracks = true;
        }
        self.last = Last::Repeated { nullable: nullable || least == 0 };
        Ok(())
    }

    fn open(&mut self, at: usize) -> Result<(), PatternError> {
        if self.frames.len() > MAX_DEPTH {
            return Err(error(format!("groups nest deeper than {MAX_DEPTH}"), at));
        }
        let outer = self.flags;
        let kind = if !self.take("?") {
            self.capture(None)
        } else if self.take(":") {
            FrameKind::Group
        } else if self.take("#") {
            self.take_while(|char| char != ')', usize::MAX);
            return if self.take(")") {
                Ok(())
            } else {
                Err(error("the comment is not closed", at))
            };
        } else if self.take("P<") {
            let name = self.name('>')?;
            self.capture(Some(name))
        } else if self.take("P=") {
            let start = self.at;
            let name = self.name(')')?;
            let group = self.group_named(&name, start)?;
            return self.back_reference(group, at);
        } else if self.take("P") {
            return Err(error("unknown extension: `(?P<name>…)` or `(?P=name)` was meant?", at));
        } else if let Some(look) =
            ["=", "!", "<=", "<!"].into_iter().find(|look| self.rest().starts_with(look))
        {
            self.take(look);
            self.out.backtracks = true;
            let kind = FrameKind::Look { negative: look.ends_with('!') };
            self.push_frame(kind, at, &format!("(?{look}"), outer);
            return Ok(());
        } else if self.take("<") {
            self.only(Same::Nothing);
            let name = self.name('>')?;
            self.capture(Some(name))
        } else if self.take(">") {
            self.out.backtracks = true;
            self.push_frame(FrameKind::Group, at, "(?>", outer);
            return Ok(());
        } else if self.take("(") {
            return self.condition(at, outer);
        } else {
            match self.flags_here(at)? {
                None => return Ok(()),
                Some(flags) => {
                    // Python searches, other than it matches, by the flags of the whole pattern.
                    if flags.ascii != self.flags.ascii {
                        self.only(Same::Matches);
                    }
                    self.flags = flags;
                }
            }
            FrameKind::Group
        };
        let opening = match (&kind, outer.ignore_case, self.flags.ignore_case) {
            (FrameKind::Capture(_), ..) => "(",
            (_, false, true) => "(?i:",
            (_, true, false) => "(?-i:",
            _ => "(?:",
        };
        self.push_frame(kind, at, opening, outer);
        Ok(())
    }

    fn push_frame(&mut self, kind: FrameKind, at: usize, opening: &str, outer: Flags) {
        self.settle();
        self.begun = true;
        self.push(opening);
        self.frames.push(Frame { kind, at, outer, branch_nullable: true, any_nullable: false });
    }

    fn capture(&mut self, name: Option<Box<str>>) -> FrameKind {
        // Up to 3.10, Python leaves in it what was found where nothing was to be found.
        let fails = |it: &Frame| matches!(it.kind, FrameKind::Look { negative: true });
        if self.frames.iter().any(fails) {
            self.only(Same::Matches);
        }
        self.out.groups.push(name);
        self.closed.push(false);
        FrameKind::Capture(self.out.groups.len())
    }

    /// A group's name up to `end`.
    fn name(&mut self, end: char) -> Result<Box<str>, PatternError> {
        let start = self.at;
        let name: Box<str> = self.take_while(|char| char != end, usize::MAX).into();
        if !self.take(end.encode_utf8(&mut [0; 4])) {
            return Err(error(format!("the group's name is not ended by `{end}`"), start));
        }
        if !is_identifier(&name) {
            return Err(error(format!("`{name}` is no name for a group"), start));
        }
        // Only a definition ends with `>`.
        if end == '>' && self.out.groups.iter().flatten().any(|it| *it == name) {
            return Err(error(format!("two groups are named `{name}`"), start));
        }
        Ok(name)
    }

    fn group_named(&self, name: &str, at: usize) -> Result<usize, PatternError> {
        let found = self.out.groups.iter().position(|it| it.as_deref() == Some(name));
        found.map(|index| index + 1).ok_or_else(|| error(format!("no group named `{name}`"), at))
    }

    fn back_reference(&mut self, group: usize, at: usize) -> Result<(), PatternError> {
        match self.closed.get(group.wrapping_sub(1)) {
            None => return Err(error(format!("there is no group {group} before this"), at)),
            Some(false) => return Err(error(format!("group {group} is still open here"), at)),
            Some(true) => (),
        }
        self.begin_item(true);
        self.out.backtracks = true;
        self.push(&format!("(?:\\{group})"));
        Ok(())
    }

    fn condition(&mut self, at: usize, outer: Flags) -> Result<(), PatternError> {
        let start = self.at;
        let word = self.take_while(|char| char != ')', usize::MAX).to_owned();
        if !self.take(")") {
            return Err(error("the condition is not ended by `)`", start));
        }
        let group = match word.parse::<usize>() {
            Ok(0) => return Err(error("a condition cannot ask for group 0", start)),
            Ok(group) => group,
            Err(_) => self.group_named(&word, start)?,
        };
        // What a group is while it is open is Python's secret.
        if self.closed.get(group - 1) != Some(&true) {
            self.only(Same::Nothing);
        }
        self.asked.push((group, start));
        self.out.backtracks = true;
        self.push_frame(FrameKind::Condition { bars: 0 }, at, &format!("(?({group})"), outer);
        Ok(())
    }

    /// `aimsux-imsx:` after `(?`, giving the flags inside; or `aimsux)`, which changes the flags
    /// of the whole pattern and gives `None`.
    fn flags_here(&mut self, at: usize) -> Result<Option<Flags>, PatternError> {
        let mut flags = self.flags;
        let mut on = true;
        loop {
            let char = self.next().ok_or_else(|| error("the group is not closed", at))?;
            match char {
                'a' if on => flags.ascii = true,
                'u' if on => flags.ascii = false,
                'i' => flags.ignore_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_all = on,
                'x' => flags.verbose = on,
                '-' if on => on = false,
                ':' => break,
                ')' if on => {
                    if self.begun || self.frames.len() > 1 {
                        let message = "flags for the whole pattern have to stand at its start; \
                                       for a part of it, write `(?i:…)`";
                        return Err(error(message, at));
                    }
                    self.flags = flags;
                    return Ok(None);
                }
                ')' => {
                    return Err(error("flags end for a part only: write `(?-i:…)`", at));
                }
                char => {
                    return Err(error(format!("unknown extension `?{char}`"), at));
                }
            }
        }
        Ok(Some(flags))
    }

    fn close(&mut self, at: usize) -> Result<(), PatternError> {
        self.settle();
        if self.frames.len() == 1 {
            return Err(error("unbalanced `)`", at));
        }
        let frame = self.frames.pop().expect("there are at least two");
        self.flags = frame.outer;
        self.push(")");
        let nullable = match frame.kind {
            // Without a second alternative, the first may be left out.
            FrameKind::Look { .. } | FrameKind::Condition { bars: 0 } => true,
            FrameKind::Group | FrameKind::Capture(_) | FrameKind::Condition { .. } => {
                frame.branch_nullable || frame.any_nullable
            }
        };
        if let FrameKind::Capture(group) = frame.kind {
            self.closed[group - 1] = true;
        }
        self.last = match frame.kind {
            FrameKind::Look { .. } => Last::Look,
            FrameKind::Group | FrameKind::Capture(_) | FrameKind::Condition { .. } => {
                Last::Item { nullable }
            }
        };
        Ok(())
    }

    fn escape(&mut self, at: usize) -> Result<(), PatternError> {
        let char = self.next().ok_or_else(|| error("a backslash at the end", at))?;
        match char {
            'A' => self.anchor("\\A", "\\A"),
            'Z' => self.anchor("\\z", "\\z"),
            'z' => {
                self.only(Same::Nothing);
                self.anchor("\\z", "\\z");
            }
            'b' | 'B' => self.word_boundary(char == 'b'),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.begin_item(false);
                let set = set_of(char.to_ascii_lowercase(), self.flags.ascii);
                let not = if char.is_ascii_uppercase() { "^" } else { "" };
                self.push(&format!("[{not}{set}]"));
            }
            'p' | 'P' => {
                self.begin_item(false);
                self.unicode_class(char, at)?;
            }
            '1'..='9' => self.number(char, at)?,
            char => {
                let literal = self.character(char, at, false)?;
                self.literal(literal);
            }
        }
        Ok(())
    }

    fn word_boundary(&mut self, yes: bool) {
        self.out.special.not_ascii = true;
        let word = set_of('w', self.flags.ascii);
        let exact = if yes {
            format!("(?:(?<=[{word}])(?![{word}])|(?<![{word}])(?=[{word}]))")
        } else {
            format!("(?:(?<=[{word}])(?=[{word}])|(?<![{word}])(?![{word}]))")
        };
        self.anchor(if yes { "\\b" } else { "\\B" }, &exact);
    }

    /// `\1` to `\99`, or three octal digits.
    fn number(&mut self, first: char, at: usize) -> Result<(), PatternError> {
        let digits: String =
            self.rest().chars().take_while(char::is_ascii_digit).take(2).collect::<String>();
        let all = format!("{first}{digits}");
        if all.len() == 3 && all.bytes().all(|digit| digit < b'8') {
            self.at += 2;
            let literal = octal(&all, at)?;
            self.literal(literal);
            return Ok(());
        }
        let used = all.len().min(2);
        self.at += used - 1;
        let group = all[..used].parse().expect("one or two digits");
        self.back_reference(group, at)
    }

    /// A single character after a backslash.
    fn character(&mut self, char: char, at: usize, class: bool) -> Result<char, PatternError> {
        let hex = |reader: &mut Self, count: usize| {
            let digits = reader.take_while(|char| char.is_ascii_hexdigit(), count);
            if digits.len() != count {
                return Err(error(format!("`\\{char}` needs {count} hexadecimal digits"), at));
            }
            let code = u32::from_str_radix(digits, 16).expect("they are hexadecimal");
            match code {
                // What `surrogateescape` gives for a byte that is not UTF-8.
                0xdc80..=0xdcff => Ok(crate::path::text(&[code.to_le_bytes()[0]])
                    .chars()
                    .next()
                    .expect("one byte is one character")),
                code => char::from_u32(code)
                    .ok_or_else(|| error(format!("U+{code:04X} is no character"), at)),
            }
        };
        Ok(match char {
            'a' => '\x07',
            'b' if class => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => hex(self, 2)?,
            'u' => hex(self, 4)?,
            'U' => hex(self, 8)?,
            '0'..='7' if class || char == '0' => {
                let more = self.take_while(|char| matches!(char, '0'..='7'), 2).to_owned();
                octal(&format!("{char}{more}"), at)?
            }
            'N' => return Err(error("`\\N{…}` is not supported: write `\\uXXXX`", at)),
            char if char.is_ascii_alphanumeric() => {
                return Err(error(format!("bad escape `\\{char}`"), at));
            }
            char => char,
        })
    }

    /// `{Name}` after `\p`.
    fn unicode_class(&mut self, char: char, at: usize) -> Result<(), PatternError> {
        self.only(Same::Nothing);
        if !self.take("{") {
            return Err(error(format!("bad escape `\\{char}`"), at));
        }
        let name = self
            .take_while(|char| char.is_ascii_alphanumeric() || "_=-:&".contains(char), 64)
            .to_owned();
        if name.is_empty() || !self.take("}") {
            return Err(error(format!("`\\{char}{{` is not ended by `}}`"), at));
        }
        self.push(&format!("\\{char}{{{name}}}"));
        Ok(())
    }

    fn class(&mut self, at: usize) -> Result<(), PatternError> {
        let unclosed = || error("the class is not closed by `]`", at);
        self.begin_item(false);
        self.push("[");
        if self.take("^") {
            self.push("^");
        }
        let mut first = true;
        loop {
            let start = self.at;
            let char = self.next().ok_or_else(unclosed)?;
            if char == ']' && !first {
                break;
            }
            first = false;
            let low = self.class_item(char, start)?;
            if !self.take("-") {
                self.push_member(low);
                continue;
            }
            let high_at = self.at;
            let char = self.next().ok_or_else(unclosed)?;
            if char == ']' {
                self.push_member(low);
                self.push_member(Some('-'));
                break;
            }
            let high = self.class_item(char, high_at)?;
            match (low, high) {
                (Some(low), Some(high)) if low <= high => {
                    let more = self.more_of(low, high);
                    let range = format!("{}-{}{more}", in_class(low), in_class(high));
                    self.push(&range);
                }
                _ => {
                    let range = &self.source[start..self.at];
                    return Err(error(format!("bad character range `{range}`"), start));
                }
            }
        }
        self.push("]");
        Ok(())
    }

    fn push_member(&mut self, member: Option<char>) {
        if let Some(char) = member {
            let more = self.more_of(char, char);
            self.push(&in_class(char));
            self.push(more);
        }
    }

    /// A class's character; `None` if it was a set, which is then written already.
    fn class_item(&mut self, char: char, at: usize) -> Result<Option<char>, PatternError> {
        if char != '\\' {
            return Ok(Some(char));
        }
        let char = self.next().ok_or_else(|| error("a backslash at the end", at))?;
        match char {
            'd' | 's' | 'w' => self.push(&set_of(char, self.flags.ascii)),
            'D' | 'S' | 'W' => {
                let set = set_of(char.to_ascii_lowercase(), self.flags.ascii);
                self.push(&format!("[^{set}]"));
            }
            'p' | 'P' => self.unicode_class(char, at)?,
            char => return self.character(char, at, true).map(Some),
        }
        Ok(None)
    }

    fn finish(mut self) -> Result<Translation, PatternError> {
        self.settle();
        if let [_, .., frame] = &self.frames[..] {
            return Err(error("the group is not closed by `)`", frame.at));
        }
        if let Some((group, at)) = self.asked.iter().find(|it| it.0 > self.closed.len()) {
            return Err(error(format!("there is no group {group}"), *at));
        }
        let frame = &self.frames[0];
        self.out.nullable = frame.branch_nullable || frame.any_nullable;
        // The flags at the start hold for the whole pattern, so they are still set at its end.
        if self.flags.ignore_case {
            for text in [&mut self.out.linear, &mut self.out.exact] {
                text.insert_str(0, "(?i:");
                text.push(')');
            }
        }
        Ok(self.out)
    }
}

/// The characters of `\d`, `\s`, `\w`, as Python's `str` methods have them, for use in a class.
fn set_of(letter: char, ascii: bool) -> String {
    match (letter, ascii) {
        ('d', true) => "0-9",
        ('d', false) => "\\p{Nd}",
        ('s', true) => "\\t-\\r ",
        // `str.isspace` has the four separators of ASCII, Unicode's White_Space has not.
        ('s', false) => "\\s\\x1c-\\x1f",
        (_, true) => "0-9A-Za-z_",
        // `str.isalnum`: letters and all that has a numeric value, but no combining marks.
        (_, false) => "\\p{L}\\p{N}_",
    }
    .to_owned()
}

fn octal(digits: &str, at: usize) -> Result<char, PatternError> {
    u8::from_str_radix(digits, 8)
        .map(char::from)
        .map_err(|_| error(format!("octal escape `\\{digits}` is above `\\377`"), at))
}

fn is_meta(char: char) -> bool {
    "\\.+*?()|[]{}^$".contains(char)
}

fn in_class(char: char) -> String {
    if char.is_ascii() && !char.is_ascii_alphanumeric() {
        format!("\\x{:02x}", u32::from(char))
    } else {
        char.to_string()
    }
}

/// Whether Python takes this as a group's name.
fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|char| char == '_' || char.is_alphabetic())
        && chars.all(|char| char == '_' || char.is_alphanumeric())
}
