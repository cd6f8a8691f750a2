//! Reads a command line as a POSIX shell does, as far as quoting goes, and writes it again with
//! references in place of placeholders.
//!
//! It knows quotes, comments, expansions, here-documents, and as much of the grammar as it takes
//! to see where `$(…)` ends and which word is a command. Where shells differ, or where it would
//! have to guess, it refuses: the text has a placeholder, or it would not be here.

mod quoting;

use std::collections::BTreeSet;

use super::{
    ShellTemplateError,
    reread::{self, Facts, Reread, UNKNOWN, Word},
};
use crate::template::{Placeholder, placeholder_at};

/// How deep expansions may nest; protects the stack.
const MAX_DEPTH: usize = 40;

/// The text for the shell, the placeholders that it refers to, and the first of them whose value is
/// read as text once more.
pub(super) type Scanned = (String, BTreeSet<Placeholder>, Option<ShellTemplateError>);

pub(super) fn scan(source: &str) -> Result<Scanned, ShellTemplateError> {
    let mut scanner = Scanner {
        source,
        at: 0,
        end: source.len(),
        out: String::with_capacity(source.len() * 2),
        placeholders: BTreeSet::new(),
        facts: Facts::default(),
        reread: None,
        forbidden: None,
        depth: 0,
    };
    scanner.commands(End::Text)?;
    if let (Some((placeholder, at)), true) = (scanner.facts.writes, scanner.facts.reads) {
        scanner.reads_again(reread::error(placeholder, at, reread::STDIN))?;
    }
    Ok((scanner.out, scanner.placeholders, scanner.reread))
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    /// Where the text ends: inside backquotes, before that of the source.
    end: usize,
    out: String,
    placeholders: BTreeSet<Placeholder>,
    facts: Facts,
    /// What the first program says that reads a value as text.
    reread: Option<ShellTemplateError>,
    /// Why no placeholder may stand here, and what to write instead.
    forbidden: Option<(&'static str, &'static str)>,
    depth: usize,
}

/// What ends a list of commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Text,
    Paren,
}

/// What is open inside a list of commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// `(`
    Subshell,
    /// `case`, before its word.
    CaseWord,
    /// Before `in`.
    CaseIn,
    /// Where `)` ends a pattern; `esac` may come if it is the first word.
    CasePattern { first: bool },
    /// Where `;;` ends the commands.
    CaseBody,
}

/// In what an expansion stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    None,
    Double,
    HereDocument,
}

struct HereDocument {
    at: usize,
    delimiter: String,
    quoted: bool,
    strips_tabs: bool,
}

/// The simple command that is being read.
#[derive(Default)]
struct Command {
    words: Vec<Word>,
    /// Whether there was an assignment or a redirection, after which reserved words are none.
    begun: bool,
    /// Inside `[[`: whether there is an operator that calculates, and a placeholder.
    test: Option<Test>,
}

#[derive(Default)]
struct Test {
    calculates: bool,
    placeholder: Option<(Placeholder, usize)>,
}

fn error(message: impl Into<String>, at: usize, hint: &str) -> ShellTemplateError {
    ShellTemplateError { message: message.into(), at, hint: hint.to_owned() }
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..self.end]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn starts_with(&self, text: &str) -> bool {
        self.rest().starts_with(text)
    }

    /// Copies text that means the same afterwards.
    fn copy(&mut self, len: usize) {
        self.out.push_str(&self.source[self.at..self.at + len]);
        self.at += len;
    }

    fn copy_char(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.copy(char.len_utf8());
        Some(char)
    }

    fn placeholder(&self) -> Option<(Placeholder, usize)> {
        placeholder_at(self.rest())
    }

    /// Writes a reference in place of the placeholder that is here.
    fn refer(
        &mut self,
        (placeholder, len): (Placeholder, usize),
        before: &str,
        after: &str,
    ) -> Result<(), ShellTemplateError> {
        if let Some((place, hint)) = self.forbidden {
            return Err(self.misplaced(placeholder, place, hint));
        }
        let reference = format!("{before}${{{}}}{after}", placeholder.variable());
        self.out.push_str(&reference);
        self.placeholders.insert(placeholder);
        self.at += len;
        Ok(())
    }

    fn misplaced(&self, placeholder: Placeholder, place: &str, hint: &str) -> ShellTemplateError {
        let name = placeholder.name();
        let hint = hint.replace("VARIABLE", placeholder.variable());
        error(format!("`{{{name}}}` cannot stand {place}"), self.at, &hint)
    }

    /// Fails if a placeholder is here.
    fn no_placeholder(&self, place: &str, hint: &str) -> Result<(), ShellTemplateError> {
        match self.placeholder() {
            Some((placeholder, _)) => Err(self.misplaced(placeholder, place, hint)),
            None => Ok(()),
        }
    }

    /// Runs with placeholders forbidden.
    fn without_placeholders(
        &mut self,
        place: &'static str,
        hint: &'static str,
        read: impl FnOnce(&mut Self) -> Result<(), ShellTemplateError>,
    ) -> Result<(), ShellTemplateError> {
        let outer = self.forbidden.replace((place, hint));
        let result = read(self);
        self.forbidden = outer;
        result
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), ShellTemplateError>,
    ) -> Result<(), ShellTemplateError> {
        if self.depth == MAX_DEPTH {
            return Err(error("expansions nest too deep", self.at, "put it into a script"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// A list of commands, up to the end or to the parenthesis that closes it.
    fn commands(&mut self, end: End) -> Result<(), ShellTemplateError> {
        let start = self.at;
        let mut frames: Vec<Frame> = Vec::new();
        let mut command = Command::default();
        let mut documents: Vec<HereDocument> = Vec::new();
        loop {
            let Some(char) = self.peek() else {
                self.end_command(&mut command)?;
                if let Some(document) = documents.first() {
                    return Err(error("the here-document has no text", document.at, ""));
                }
                if end == End::Paren || !frames.is_empty() {
                    return Err(error("a parenthesis or `case` is not closed", start, ""));
                }
                return Ok(());
            };
            match char {
                ' ' | '\t' => {
                    self.copy(1);
                }
                '\\' if self.starts_with("\\\n") => self.continuation()?,
                '\n' => {
                    self.copy(1);
                    self.end_command(&mut command)?;
                    for document in documents.drain(..) {
                        self.here_document(&document)?;
                    }
                }
                '#' => self.comment(&command)?,
                ';' => {
                    let clause = [";;&", ";;", ";&"].into_iter().find(|it| self.starts_with(it));
                    self.end_command(&mut command)?;
                    match (clause, frames.last_mut()) {
                        (None, _) => (),
                        (Some(_), Some(frame @ Frame::CaseBody)) => {
                            *frame = Frame::CasePattern { first: true };
                        }
                        (Some(clause), _) => {
                            return Err(error(format!("`{clause}` outside `case`"), self.at, ""));
                        }
                    }
                    self.copy(clause.map_or(1, str::len));
                }
                '&' | '|' => {
                    self.end_command(&mut command)?;
                    self.copy(1);
                }
                '(' => self.open(&mut command, &mut frames)?,
                ')' => {
                    self.end_command(&mut command)?;
                    match frames.last_mut() {
                        Some(Frame::Subshell) => {
                            frames.pop();
                        }
                        Some(frame @ Frame::CasePattern { .. }) => *frame = Frame::CaseBody,
                        None if end == End::Paren => {
                            if let Some(document) = documents.first() {
                                let message = "the here-document has no text";
                                return Err(error(message, document.at, ""));
                            }
                            self.copy(1);
                            return Ok(());
                        }
                        Some(Frame::CaseWord | Frame::CaseIn | Frame::CaseBody) | None => {
                            return Err(error("`)` closes nothing", self.at, ""));
                        }
                    }
                    self.copy(1);
                }
                '<' | '>' => {
                    command.begun = true;
                    self.redirection(&mut documents)?;
                }
                _ => {
                    let at = self.at;
                    let outer = (!documents.is_empty()).then_some(self.at);
                    let word = self.word()?;
                    if let Some(document) = outer
                        && self.source[document..self.at].contains('\n')
                    {
                        // Shells differ in which newline the here-document begins after.
                        let message = "a word over several lines beside a here-document";
                        return Err(error(message, at, "end the line behind `<<` first"));
                    }
                    take_word(word, at, &mut command, &mut frames)?;
                }
            }
        }
    }

    fn end_command(&mut self, command: &mut Command) -> Result<(), ShellTemplateError> {
        // `[[ a && b ]]` goes on; the operators in it look like ends.
        let test = command.test.take();
        if let Err(reread) = reread::check(&command.words, &mut self.facts) {
            self.reads_again(reread)?;
        }
        *command = Command { test, ..Command::default() };
        if command.test.is_some() {
            command.words.push(Word { text: "[[".to_owned(), ..Word::default() });
        }
        Ok(())
    }

    /// Notes that a value is read as text, if that may be.
    fn reads_again(&mut self, reread: Reread) -> Result<(), ShellTemplateError> {
        if !reread.bears_plain {
            return Err(reread.error);
        }
        self.reread.get_or_insert(reread.error);
        Ok(())
    }

    fn open(
        &mut self,
        command: &mut Command,
        frames: &mut Vec<Frame>,
    ) -> Result<(), ShellTemplateError> {
        if self.starts_with("((") {
            let hint = "write `( (` for a subshell in a subshell, and calculate elsewhere";
            return Err(error(
                "`((` is a subshell to one shell and arithmetic to another",
                self.at,
                hint,
            ));
        }
        if self.out.ends_with('=') {
            return Err(error("arrays are not in every shell", self.at, "put it into a script"));
        }
        if let Some(Frame::CasePattern { first: true }) = frames.last() {
            *frames.last_mut().expect("it is there") = Frame::CasePattern { first: false };
        } else {
            self.end_command(command)?;
            frames.push(Frame::Subshell);
        }
        self.copy(1);
        Ok(())
    }

    fn comment(&mut self, command: &Command) -> Result<(), ShellTemplateError> {
        let before = self.out.chars().next_back();
        if command.test.is_some() || matches!(before, Some('<' | '>')) {
            return Err(error("`#` begins a comment in one shell only", self.at, "quote it"));
        }
        let len = self.rest().find('\n').unwrap_or(self.rest().len());
        self.copy(len);
        Ok(())
    }

    /// A backslash before a newline, which is as if neither were there; not so in the middle of an
    /// operator, where shells differ.
    fn continuation(&mut self) -> Result<(), ShellTemplateError> {
        if matches!(self.out.chars().next_back(), Some('$' | '<' | '>' | '&' | '|' | ';' | '(')) {
            let hint = "put a blank before the backslash";
            return Err(error("the line is broken inside an operator", self.at, hint));
        }
        self.copy(2);
        if matches!(self.peek(), Some('#')) {
            return Err(error("`#` after a broken line", self.at, "quote it"));
        }
        Ok(())
    }

    fn redirection(&mut self, documents: &mut Vec<HereDocument>) -> Result<(), ShellTemplateError> {
        let at = self.at;
        let operators = ["<<<", "<<-", "<<", "<&", "<>", ">>", ">&", ">|", "<", ">"];
        let operator =
            operators.into_iter().find(|it| self.starts_with(it)).expect("`<` or `>` is here");
        self.copy(operator.len());
        match operator {
            "<" | ">" if self.starts_with("(") => {
                self.copy(1);
                return self.nested(|this| this.commands(End::Paren));
            }
            "<<" | "<<-" => {
                self.blanks();
                let (delimiter, quoted) = self.delimiter()?;
                let strips_tabs = operator == "<<-";
                documents.push(HereDocument { at, delimiter, quoted, strips_tabs });
                return Ok(());
            }
            _ => (),
        }
        self.blanks();
        if matches!(operator, ">&" | "<&") {
            self.no_placeholder("behind `>&`: it could name a descriptor", "write `>` instead")?;
        }
        match self.peek() {
            None | Some('\n' | '#' | ';' | '&' | '|' | '(' | ')' | '<' | '>') => {
                Err(error("the redirection leads nowhere", at, ""))
            }
            Some(_) => {
                let word = self.word()?;
                if operator == "<<<" {
                    self.facts.writes = self.facts.writes.or(word.placeholder);
                }
                Ok(())
            }
        }
    }

    fn blanks(&mut self) {
        while self.starts_with(" ") || self.starts_with("\t") {
            self.copy(1);
        }
    }

    /// The word that ends a here-document, and whether it is quoted anywhere.
    fn delimiter(&mut self) -> Result<(String, bool), ShellTemplateError> {
        let start = self.at;
        let refused =
            |at| error("this cannot end a here-document", at, "use a plain word: `<<EOF`");
        let (mut delimiter, mut quoted) = (String::new(), false);
        while let Some(char) = self.peek() {
            self.no_placeholder("as the end of a here-document", "use a plain word: `<<EOF`")?;
            match char {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '$' | '`' => return Err(refused(self.at)),
                '\'' | '"' => {
                    quoted = true;
                    let rest = &self.rest()[1..];
                    let inner = rest.split(char).next().unwrap_or_default();
                    if inner.len() == rest.len() || inner.contains(['\\', '$', '`', '\n']) {
                        return Err(refused(self.at));
                    }
                    delimiter.push_str(inner);
                    self.copy(inner.len() + 2);
                }
                '\\' => {
                    quoted = true;
                    self.copy(1);
                    match self.copy_char() {
                        None | Some('\n') => return Err(refused(start)),
                        Some(char) => delimiter.push(char),
                    }
                }
                char => {
                    delimiter.push(char);
                    self.copy(char.len_utf8());
                }
            }
        }
        if delimiter.is_empty() {
            return Err(refused(start));
        }
        Ok((delimiter, quoted))
    }

    /// The text of a here-document, from its first line to behind its last.
    fn here_document(&mut self, document: &HereDocument) -> Result<(), ShellTemplateError> {
        let mut body_end = self.at;
        let after = loop {
            let rest = &self.source[body_end..self.end];
            if rest.is_empty() {
                let message = format!("no line `{}` ends the here-document", document.delimiter);
                return Err(error(message, document.at, ""));
            }
            let line = rest.split('\n').next().unwrap_or_default();
            let word = if document.strips_tabs { line.trim_start_matches('\t') } else { line };
            if word == document.delimiter {
                break body_end + line.len();
            }
            body_end = self.end.min(body_end + line.len() + 1);
        };
        // The text is closed in itself: an expansion in it cannot reach over its end.
        let outer = std::mem::replace(&mut self.end, body_end);
        let result = if document.quoted { self.raw_text() } else { self.expanding_text() };
        self.end = outer;
        result?;
        self.copy(after - body_end);
        Ok(())
    }

    /// A here-document whose delimiter is quoted.
    fn raw_text(&mut self) -> Result<(), ShellTemplateError> {
        let hint = "leave the quotes off the word behind `<<`, or print \"$VARIABLE\" instead";
        while self.peek().is_some() {
            self.no_placeholder("in a here-document that expands nothing", hint)?;
            self.copy_char();
        }
        Ok(())
    }

    fn expanding_text(&mut self) -> Result<(), ShellTemplateError> {
        while let Some(char) = self.peek() {
            match char {
                '\\' if self.starts_with("\\\n") => {
                    let hint = "write it as one line";
                    return Err(error("a broken line in a here-document", self.at, hint));
                }
                '\\' => self.escaped(Quoting::HereDocument)?,
                '$' => {
                    self.dollar(Quoting::HereDocument)?;
                }
                '`' => self.backquotes(Quoting::HereDocument)?,
                '{' => match self.placeholder() {
                    Some(found) => {
                        self.facts.writes = self.facts.writes.or(Some((found.0, self.at)));
                        self.refer(found, "", "")?;
                    }
                    None => self.copy(1),
                },
                char => self.copy(char.len_utf8()),
            }
        }
        Ok(())
    }

    /// A word, from its first character to before what ends it.
    fn word(&mut self) -> Result<Word, ShellTemplateError> {
        let mut word = Word { plain: true, ..Word::default() };
        while let Some(char) = self.peek() {
            match char {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\\' if self.starts_with("\\\n") => self.continuation()?,
                '\\' => {
                    word.plain = false;
                    self.escaped(Quoting::None)?;
                    word.text.extend(self.source[..self.at].chars().next_back());
                }
                '\'' => {
                    word.plain = false;
                    self.single_quoted(&mut word)?;
                }
                '"' => {
                    word.plain = false;
                    self.double_quoted(&mut word)?;
                }
                '$' => {
                    word.plain = false;
                    if self.dollar(Quoting::None)? {
                        word.expands = true;
                        word.text.push(UNKNOWN);
                    } else {
                        word.text.push('$');
                    }
                }
                '`' => {
                    word.plain = false;
                    word.expands = true;
                    word.text.push(UNKNOWN);
                    self.backquotes(Quoting::None)?;
                }
                '{' => {
                    if let Some(found) = self.placeholder() {
                        self.check_subscript(&word)?;
                        self.note(found.0, &mut word);
                        self.refer(found, "\"", "\"")?;
                        word.plain = false;
                    } else {
                        word.text.push('{');
                        self.copy(1);
                    }
                }
                char => {
                    word.text.push(char);
                    self.copy(char.len_utf8());
                }
            }
        }
        Ok(word)
    }
}

fn is_name_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// Puts a word where it belongs: a reserved word, a part of `case`, an assignment, or a word of
/// the command.
fn take_word(
    word: Word,
    at: usize,
    command: &mut Command,
    frames: &mut Vec<Frame>,
) -> Result<(), ShellTemplateError> {
    match frames.last_mut() {
        Some(frame @ Frame::CaseWord) => {
            *frame = Frame::CaseIn;
            return Ok(());
        }
        Some(frame @ Frame::CaseIn) => {
            if !word.plain || word.text != "in" {
                return Err(error("`case` without `in`", at, ""));
            }
            *frame = Frame::CasePattern { first: true };
            return Ok(());
        }
        Some(frame @ Frame::CasePattern { .. }) => {
            if *frame == (Frame::CasePattern { first: true }) && word.plain && word.text == "esac" {
                frames.pop();
            } else {
                *frame = Frame::CasePattern { first: false };
            }
            return Ok(());
        }
        Some(Frame::Subshell | Frame::CaseBody) | None => (),
    }
    if let Some(test) = &mut command.test {
        test.placeholder = test.placeholder.or(word.placeholder);
        test.calculates |= matches!(
            word.text.as_str(),
            "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" | "-v" | "-R"
        );
        if let (true, Some((placeholder, at))) = (test.calculates, test.placeholder) {
            return Err(reread::error(placeholder, at, "[[").error);
        }
        if word.text == "]]" {
            *command = Command::default();
        }
        return Ok(());
    }
    let first = command.words.is_empty();
    if first && word.plain {
        match word.text.as_str() {
            "case" | "esac" if command.begun => {
                let hint = "end the command before it";
                return Err(error(format!("`{}` in the middle of a command", word.text), at, hint));
            }
            "case" => {
                frames.push(Frame::CaseWord);
                return Ok(());
            }
            "esac" => {
                return match frames.pop() {
                    Some(Frame::CaseBody) => Ok(()),
                    _ => Err(error("`esac` without `case`", at, "")),
                };
            }
            "if" | "then" | "elif" | "else" | "fi" | "while" | "until" | "do" | "done" | "{"
            | "}" | "!" | "coproc" => return Ok(()),
            "[[" => command.test = Some(Test::default()),
            _ => (),
        }
    }
    let is_assignment = || {
        let name = word.text.split('=').next().unwrap_or_default();
        let name = name.strip_suffix('+').unwrap_or(name);
        name.len() < word.text.len()
            && name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
            && name.chars().all(is_name_char)
    };
    if first && is_assignment() {
        command.begun = true;
        return Ok(());
    }
    // `for name do` and `function name {`: a command follows.
    let opens = |head: &str, brace: &str| {
        command.words.len() == 2 && command.words[0].text == head && word.text == brace
    };
    if word.plain && (opens("for", "do") || opens("function", "{")) {
        *command = Command::default();
        return Ok(());
    }
    command.words.push(word);
    Ok(())
}
