//! Quotes and expansions: what a backslash, a quote, `$` or a backquote begins.
//!
//! Where a word or a command ends is for [`super`] to say.

use super::{End, Quoting, Scanner, error, is_name_char};
use crate::template::{
    Placeholder,
    shell::{
        ShellTemplateError,
        reread::{UNKNOWN, Word},
    },
};

const QUOTE_HINT: &str = "write it so that the placeholder stands by itself or in double quotes";

impl Scanner<'_> {
    /// `name[…`: a subscript is calculated, and a calculation can run commands.
    pub(super) fn check_subscript(&self, word: &Word) -> Result<(), ShellTemplateError> {
        let is_subscript = word.text.split_once('[').is_some_and(|(name, rest)| {
            !name.is_empty() && !rest.contains(']') && name.chars().all(is_name_char)
        });
        if is_subscript {
            self.no_placeholder("in a subscript", "put it into a script")?;
        }
        Ok(())
    }

    pub(super) fn note(&self, placeholder: Placeholder, word: &mut Word) {
        if word.placeholder.is_none() {
            word.placeholder = Some((placeholder, self.at));
            word.leads = word.text.is_empty();
        }
        word.text.push(UNKNOWN);
    }

    /// A backslash and what it quotes.
    pub(super) fn escaped(&mut self, quoting: Quoting) -> Result<(), ShellTemplateError> {
        self.copy(1);
        let hint = match quoting {
            Quoting::None => "for a backslash write `\\\\`; for plain braces, quote them singly",
            Quoting::Double | Quoting::HereDocument => "for a backslash write `\\\\`",
        };
        self.no_placeholder("right behind a backslash", hint)?;
        match self.copy_char() {
            Some(_) => Ok(()),
            None => Err(error("a backslash at the end", self.at - 1, "")),
        }
    }

    pub(super) fn single_quoted(&mut self, word: &mut Word) -> Result<(), ShellTemplateError> {
        let opened = self.at;
        self.copy(1);
        loop {
            match self.peek() {
                None => return Err(error("the single quote is not closed", opened, "")),
                Some('\'') => {
                    self.copy(1);
                    return Ok(());
                }
                Some('{') if self.placeholder().is_some() => {
                    let found = self.placeholder().expect("it was there");
                    self.check_subscript(word)?;
                    self.note(found.0, word);
                    self.refer(found, "'\"", "\"'")?;
                }
                Some(char) => {
                    word.text.push(char);
                    self.copy(char.len_utf8());
                }
            }
        }
    }

    pub(super) fn double_quoted(&mut self, word: &mut Word) -> Result<(), ShellTemplateError> {
        let opened = self.at;
        self.copy(1);
        loop {
            match self.peek() {
                None => return Err(error("the double quote is not closed", opened, "")),
                Some('"') => {
                    self.copy(1);
                    return Ok(());
                }
                Some('\\') if self.starts_with("\\\n") => self.continuation()?,
                Some('\\') => {
                    self.escaped(Quoting::Double)?;
                    word.text.extend(self.source[..self.at].chars().next_back());
                }
                Some('$') => {
                    if self.dollar(Quoting::Double)? {
                        word.expands = true;
                        word.text.push(UNKNOWN);
                    } else {
                        word.text.push('$');
                    }
                }
                Some('`') => {
                    word.expands = true;
                    word.text.push(UNKNOWN);
                    self.backquotes(Quoting::Double)?;
                }
                Some('{') if self.placeholder().is_some() => {
                    let found = self.placeholder().expect("it was there");
                    self.check_subscript(word)?;
                    self.note(found.0, word);
                    self.refer(found, "", "")?;
                }
                Some(char) => {
                    word.text.push(char);
                    self.copy(char.len_utf8());
                }
            }
        }
    }

    /// A `$` and what belongs to it; whether anything is expanded.
    pub(super) fn dollar(&mut self, quoting: Quoting) -> Result<bool, ShellTemplateError> {
        let at = self.at;
        self.copy(1);
        self.no_placeholder(
            "right behind a `$`",
            "leave the `$` away, or write \"$VARIABLE\"; for a real dollar sign write `\\$`",
        )?;
        match self.peek() {
            Some('(') if self.starts_with("((") => {
                self.arithmetic()?;
            }
            Some('(') => {
                self.copy(1);
                self.nested(|this| this.commands(End::Paren))?;
            }
            Some('{') => self.nested(|this| this.braced(quoting))?,
            Some('[') => {
                let hint = "write `$((…))`, or quote the `$`";
                return Err(error("`$[` is arithmetic in one shell only", at, hint));
            }
            Some('\\') if self.starts_with("\\\n") => self.continuation()?,
            Some('\'') if quoting == Quoting::None => self.ansi_quoted()?,
            // Also `$#`, which begins no comment, and `$$`.
            Some('#' | '?' | '!' | '*' | '@' | '-' | '$') => self.copy(1),
            Some(char) if is_name_char(char) => (),
            Some(_) | None => return Ok(false),
        }
        Ok(true)
    }

    /// `$'…'`: bash reads escapes in it, dash does not know it.
    fn ansi_quoted(&mut self) -> Result<(), ShellTemplateError> {
        let opened = self.at;
        self.copy(1);
        loop {
            self.no_placeholder("in `$'…'`", "close the quote before it: `$'…'{…}`")?;
            match self.peek() {
                None => return Err(error("the quote `$'` is not closed", opened, "")),
                Some('\'') => {
                    self.copy(1);
                    return Ok(());
                }
                Some('\\') if self.starts_with("\\\\") => self.copy(2),
                Some('\\') if self.starts_with("\\'") => {
                    let hint = "write `\\047`";
                    return Err(error("`\\'` ends the quote in one shell only", self.at, hint));
                }
                Some(char) => self.copy(char.len_utf8()),
            }
        }
    }

    /// `$((…))`, from its first parenthesis.
    fn arithmetic(&mut self) -> Result<(), ShellTemplateError> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            let hint = "a value can run commands in a calculation: do it in a script";
            self.no_placeholder("in arithmetic", hint)?;
            match self.copy_char() {
                None => return Err(error("`$((` is not closed", start, "")),
                Some('(') => depth += 1,
                Some(')') => {
                    depth -= 1;
                    if depth == 1 && !self.starts_with(")") && !self.closes_inner() {
                        let hint = "for a subshell write `$( (`";
                        return Err(error("`$((` is closed by a single `)`", start, hint));
                    }
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Some('\'' | '"' | '\\' | '`') => {
                    let hint = "calculate without quotes, or in a script";
                    return Err(error("a quote in `$((…))`", self.at - 1, hint));
                }
                Some(_) => (),
            }
        }
    }

    /// Whether a parenthesis that has just closed, with one level left, was an inner one: another
    /// `))` follows that closes all.
    fn closes_inner(&self) -> bool {
        let mut depth = 1_usize;
        let mut before = ' ';
        for char in self.rest().chars() {
            match char {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => (),
            }
            if depth == 0 {
                return before == ')';
            }
            before = char;
        }
        false
    }

    /// `${…}`, from its brace.
    fn braced(&mut self, quoting: Quoting) -> Result<(), ShellTemplateError> {
        const PLACE: &str = "inside `${…}`";
        const HINT: &str = "choose with `if [ -n {…} ]`, or write ${VARIABLE} there";
        let start = self.at;
        self.copy(1);
        loop {
            self.no_placeholder(PLACE, HINT)?;
            match self.peek() {
                None => return Err(error("`${` is not closed", start, "")),
                Some('}') => {
                    self.copy(1);
                    return Ok(());
                }
                Some('\\') => self.escaped(quoting)?,
                Some('$') => {
                    self.without_placeholders(PLACE, HINT, |this| this.dollar(quoting).map(drop))?;
                }
                Some('\'') if quoting == Quoting::None => {
                    let mut word = Word::default();
                    self.without_placeholders(PLACE, HINT, |this| this.single_quoted(&mut word))?;
                }
                Some('"') if quoting == Quoting::None => {
                    let mut word = Word::default();
                    self.without_placeholders(PLACE, HINT, |this| this.double_quoted(&mut word))?;
                }
                Some('\'' | '"' | '`') => {
                    return Err(error("quotes inside `\"${…}\"`", self.at, QUOTE_HINT));
                }
                Some(char) => self.copy(char.len_utf8()),
            }
        }
    }

    /// `` `…` ``: up to the next backquote, whatever is quoted in between.
    pub(super) fn backquotes(&mut self, quoting: Quoting) -> Result<(), ShellTemplateError> {
        const HINT: &str = "write `$(…)` instead of backquotes";
        let start = self.at;
        self.copy(1);
        let bytes = &self.source.as_bytes()[..self.end];
        let mut end = self.at;
        let mut escapes = false;
        loop {
            match bytes.get(end) {
                None => return Err(error("the backquote is not closed", start, "")),
                Some(b'`') => break,
                Some(b'\\') => {
                    escapes = true;
                    end += 2;
                }
                Some(_) => end += 1,
            }
        }
        let outer = std::mem::replace(&mut self.end, end);
        let result = match quoting {
            Quoting::None if !escapes => self.nested(|this| this.commands(End::Text)),
            Quoting::None => self.copy_backquoted("in backquotes with a backslash", HINT),
            Quoting::Double | Quoting::HereDocument => {
                self.copy_backquoted("in backquotes in double quotes", HINT)
            }
        };
        self.end = outer;
        result?;
        self.copy(1);
        Ok(())
    }

    fn copy_backquoted(&mut self, place: &str, hint: &str) -> Result<(), ShellTemplateError> {
        while self.peek().is_some() {
            self.no_placeholder(place, hint)?;
            self.copy_char();
        }
        Ok(())
    }
}
