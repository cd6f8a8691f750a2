//! Commands that read their arguments, or what they are fed, as commands again.
//!
//! A placeholder in such text would be a value that becomes text: the one hole that an environment
//! variable does not close. Decides by the words of a simple command; what a program does with a
//! file or a variable that was made earlier is beyond it.

use super::ShellTemplateError;
use crate::template::Placeholder;

/// Stands in [`Word::text`] for what is not known before the command runs.
pub(super) const UNKNOWN: char = '\u{fffc}';

/// One word of a simple command, without its quotes.
#[derive(Debug, Default)]
pub(super) struct Word {
    /// The literal text, with [`UNKNOWN`] for expansions and placeholders.
    pub(super) text: String,
    /// Whether it has neither quotes nor expansions, so that it may be a reserved word.
    pub(super) plain: bool,
    /// Whether the shell expands something in it that is no placeholder.
    pub(super) expands: bool,
    /// The first placeholder in it, and where it is.
    pub(super) placeholder: Option<(Placeholder, usize)>,
    /// Whether that is what the word begins with.
    pub(super) leads: bool,
}

/// What the parts of a text say about the whole of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// A value is written out as text: `echo {pathname}`, a here-document.
    pub(super) writes: Option<(Placeholder, usize)>,
    /// Something reads commands from its standard input.
    pub(super) reads: bool,
}

/// A placeholder in such text.
#[derive(Debug)]
pub(super) struct Reread {
    pub(super) error: ShellTemplateError,
    /// Whether a value that is plain text to any shell can do nothing there but be text.
    pub(super) bears_plain: bool,
}

const SHELLS: &[&str] = &[
    "sh", "ash", "bash", "csh", "dash", "fish", "ksh", "ksh93", "mksh", "rbash", "tcsh", "yash",
    "zsh",
];

/// Programs that run another one, or a shell's words that stand before a command.
const WRAPPERS: &[&str] = &[
    "builtin",
    "busybox",
    "chroot",
    "chrt",
    "command",
    "doas",
    "env",
    "exec",
    "find",
    "flock",
    "ionice",
    "nice",
    "nohup",
    "nsenter",
    "runuser",
    "setpriv",
    "setsid",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "unshare",
    "xargs",
];

/// Everything after these is read as commands or as expressions.
const READERS: &[&str] = &[
    "alias",
    "autossh",
    "eval",
    "getopts",
    "let",
    "mapfile",
    "mosh",
    "parallel",
    "pdsh",
    "read",
    "readarray",
    "rsh",
    "ssh",
    "trap",
    "unset",
    "watch",
];

/// Programs with an option whose argument is a program text: its letters and its long names.
fn code_options(program: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match program {
        "su" | "runuser" => ("c", &["--command", "--session-command"]),
        "flock" | "script" => ("c", &["--command"]),
        "sg" => ("c", &[]),
        "perl" => ("eE", &[]),
        "ruby" | "lua" => ("e", &[]),
        "node" | "nodejs" => ("ep", &["--eval", "--print"]),
        "php" => ("rBRE", &["--run", "--process-begin", "--process-code", "--process-end"]),
        "env" => ("S", &["--split-string"]),
        "sed" => ("e", &["--expression"]),
        program if program.starts_with("python") || program.starts_with("pypy") => ("c", &[]),
        _ => return None,
    })
}

/// Whether the first operand is a script that gets all further words.
fn is_interpreter(program: &str) -> bool {
    matches!(program, "perl" | "ruby" | "lua" | "node" | "nodejs" | "php")
        || program.starts_with("python")
        || program.starts_with("pypy")
}

/// Checks one simple command; its words begin behind assignments.
pub(super) fn check(words: &[Word], facts: &mut Facts) -> Result<(), Reread> {
    let Some(first) = words.first() else { return Ok(()) };
    if first.leads
        && let Some((placeholder @ Placeholder::Basename, at)) = first.placeholder
    {
        let error = ShellTemplateError {
            message: format!("`{{{}}}` would choose the command", placeholder.name()),
            at,
            hint: "name the program, or its directory, yourself".to_owned(),
        };
        return Err(Reread { error, bears_plain: false });
    }
    let wrapped = WRAPPERS.contains(&program(first));
    for (index, word) in words.iter().enumerate() {
        let name = program(word);
        let args = &words[index + 1..];
        if SHELLS.contains(&name) {
            check_shell(name, args, facts, index == 0 || wrapped)?;
        }
        if index == 0 || wrapped {
            check_program(name, args, facts)?;
        }
    }
    // `$SHELL -c "… {pathname}"`: whatever it is, it looks like a shell.
    if first.expands {
        let after_c = words.iter().skip_while(|word| !is_option(word, "c")).skip(1);
        refuse(after_c, "-c")?;
    }
    Ok(())
}

fn program(word: &Word) -> &str {
    word.text.rsplit('/').next().unwrap_or_default()
}

/// `sh [options] [-c text] [name] [arguments]`: only the text is read as commands.
fn check_shell(name: &str, args: &[Word], facts: &mut Facts, leads: bool) -> Result<(), Reread> {
    let (mut command, mut stdin) = (false, false);
    let mut at = 0;
    while let Some(word) = args.get(at) {
        at += 1;
        match word.text.as_str() {
            "--" | "-" => break,
            "--rcfile" | "--init-file" => at += 1,
            text if text.starts_with("--") => (),
            text if text.starts_with(['-', '+']) => {
                command |= text.starts_with('-') && text.contains('c');
                stdin |= text.starts_with('-') && text.contains('s');
                at += usize::from(text.ends_with(['o', 'O']));
            }
            _ => {
                at -= 1;
                break;
            }
        }
    }
    let at = at.min(args.len());
    refuse(&args[..at], name)?;
    let operand = args.get(at);
    match operand {
        Some(text) if command => refuse([text], &format!("{name} -c"))?,
        // A file `-c` would be read as an option.
        Some(script) if script.leads => {
            if let Some((Placeholder::Basename, _)) = script.placeholder {
                refuse([script], name)?;
            }
        }
        Some(_) | None => (),
    }
    facts.reads |= leads && !command && (stdin || operand.is_none());
    Ok(())
}

fn check_program(name: &str, args: &[Word], facts: &mut Facts) -> Result<(), Reread> {
    if READERS.contains(&name) {
        refuse(args, name)?;
    }
    match name {
        "ssh" | "rsh" => {
            // With nothing but a host, the other side's shell reads standard input.
            facts.reads |= args.iter().filter(|word| !word.text.starts_with('-')).count() <= 1;
        }
        "at" | "batch" => facts.reads = true,
        "echo" | "printf" => {
            facts.writes = facts.writes.or(args.iter().find_map(|word| word.placeholder));
            if args.first().is_some_and(|word| word.text.starts_with("-v")) {
                refuse(&args[..args.len().min(2)], "printf -v")?;
            }
        }
        "declare" | "typeset" | "local" | "export" | "readonly" => {
            // `declare -i` calculates, `-n` makes a name; and what is before the `=` is a name.
            let options = || args.iter().filter(|word| word.text.starts_with(['-', '+']));
            let evaluates = options().any(|word| word.text.contains(['i', 'n']));
            let named = args.iter().filter(|word| {
                let name = word.text.split('=').next().unwrap_or_default();
                evaluates || name.contains(UNKNOWN)
            });
            refuse(named, name)?;
        }
        "test" | "[" => {
            let after_v = args.windows(2).filter(|pair| matches!(&*pair[0].text, "-v" | "-R"));
            refuse(after_v.map(|pair| &pair[1]), "test -v")?;
        }
        "awk" | "gawk" | "mawk" | "nawk" => check_awk(name, args)?,
        "sed" => check_sed(args)?,
        "scp" | "rsync" => {
            let safe = |word: &Word| {
                matches!(&*word.text, "--protect-args" | "--secluded-args") || is_option(word, "s")
            };
            if !args.iter().any(safe) {
                let remote = args.iter().filter(|word| {
                    word.text.split(UNKNOWN).next().unwrap_or_default().contains(':')
                });
                refuse(remote, name)?;
            }
        }
        "sqlite3" | "mysql" | "mariadb" | "psql" => {
            refuse(args.iter().filter(|word| word.text.contains([' ', '\n', '\t'])), name)?;
        }
        _ => (),
    }
    let Some((letters, long)) = code_options(name) else { return Ok(()) };
    let (mut next_is_code, mut after_option) = (false, false);
    for word in args {
        let is_long = long.iter().any(|it| {
            word.text.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        });
        let is_code_option = is_long || is_option(word, letters);
        if next_is_code || is_code_option {
            refuse([word], &format!("{name} -{}", &letters[..1]))?;
        }
        // Behind a script's name come its own arguments. A word behind an option may be the
        // option's: go on.
        let is_operand = !word.text.starts_with('-') && !after_option;
        if is_operand && is_interpreter(name) {
            break;
        }
        after_option = word.text.starts_with('-');
        next_is_code = is_code_option;
    }
    Ok(())
}

/// The first operand is the program, unless `-f` names a file.
fn check_awk(name: &str, args: &[Word]) -> Result<(), Reread> {
    let mut args = args.iter();
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "-f" | "--file" => return Ok(()),
            "-v" | "-F" => {
                args.next();
            }
            "--" => return refuse(args.next(), name),
            text if text.starts_with("-f") => return Ok(()),
            text if text.starts_with('-') => (),
            _ => return refuse([word], name),
        }
    }
    Ok(())
}

/// The first operand is the script, unless `-e` or `-f` gives one. (GNU sed can run commands.)
fn check_sed(args: &[Word]) -> Result<(), Reread> {
    let given = args.iter().any(|word| {
        is_option(word, "ef")
            || word.text.starts_with("--expression")
            || word.text.starts_with("--file")
    });
    if given {
        return Ok(());
    }
    refuse(args.iter().find(|word| !word.text.starts_with('-')), "sed")
}

/// Whether a word is a bundle of short options with one of these letters.
fn is_option(word: &Word, letters: &str) -> bool {
    word.text.strip_prefix('-').is_some_and(|bundle| {
        let bundle = bundle.split(UNKNOWN).next().unwrap_or_default();
        !bundle.starts_with('-')
            && bundle
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .any(|char| letters.contains(char))
    })
}

/// An error if one of these words has a placeholder.
fn refuse<'a>(words: impl IntoIterator<Item = &'a Word>, reader: &str) -> Result<(), Reread> {
    match words.into_iter().find_map(|word| word.placeholder) {
        None => Ok(()),
        Some((placeholder, at)) => Err(error(placeholder, at, reader)),
    }
}

/// Who reads commands that nobody has named.
pub(super) const STDIN: &str = "a shell on its standard input";

/// Whether a value is harmless to who reads it, if it is plain: letters, digits and `_./+:@-`. Not
/// where a name would choose a variable or a command, nor in a language in which it may be code
/// (Perl's `x.exec+reboot`, sed's `s/…/w/etc/…`).
fn bears_plain(placeholder: Placeholder, reader: &str) -> bool {
    const HARMLESS: &[&str] = &[
        "-c", "autossh", "awk", "eval", "gawk", "mawk", "mosh", "nawk", "parallel", "pdsh", "rsh",
        "rsync", "scp", "ssh", "watch", STDIN,
    ];
    let runs_a_shell = |it: &str| {
        SHELLS.contains(&it) || matches!(it, "su" | "runuser" | "flock" | "script" | "sg")
    };
    let bears = HARMLESS.contains(&reader) || reader.strip_suffix(" -c").is_some_and(runs_a_shell);
    bears && placeholder != Placeholder::Basename
}

/// Says that a placeholder's value would be read again.
pub(super) fn error(placeholder: Placeholder, at: usize, reader: &str) -> Reread {
    let (name, variable) = (placeholder.name(), placeholder.variable());
    let hint = match reader.strip_suffix(" -c").filter(|shell| SHELLS.contains(shell)) {
        Some(shell) => format!(
            "write \"${variable}\" inside, or hand it over: {shell} -c '… \"$1\" …' {shell} {{{name}}}"
        ),
        None => match reader {
            "ssh" | "rsh" | "mosh" | "autossh" | "pdsh" | "scp" | "rsync" => {
                "the shell on the other side would read it: send it on standard input, or call a \
                 script of yours here"
                    .to_owned()
            }
            _ => format!("let the text find it in its environment, as {variable}"),
        },
    };
    let by = if reader == STDIN { reader.to_owned() } else { format!("`{reader}`") };
    let message = format!("`{{{name}}}` stands where {by} would read its value as text");
    let error = ShellTemplateError { message, at, hint };
    Reread { error, bears_plain: bears_plain(placeholder, reader) }
}
