//! `pyinotifyd completions` and the manual pages: both are the definition of the command line, in
//! other forms.
//!
//! They are made at run time, by the program that they are about: so building it takes neither a
//! build script nor longer, and a page cannot be about another version.

use std::{fs, path::Path};

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::aot as complete;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{Line, Original, config_file::DEFAULTS};
use crate::errors::{Exit, Fatal, shown_path, words};

/// A shell that completes command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// For `/usr/share/bash-completion/completions/pyinotifyd`
    Bash,
    /// For `_pyinotifyd` in a folder of `$fpath`
    Zsh,
    /// For `~/.config/fish/completions/pyinotifyd.fish`
    Fish,
}

/// What makes a shell complete our command lines.
pub(crate) fn completions(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => complete::Shell::Bash,
        Shell::Zsh => complete::Shell::Zsh,
        Shell::Fish => complete::Shell::Fish,
    };
    // Anew, for what is hidden cannot be taken out.
    let mut definition =
        Original::augment_args(clap::Command::new("pyinotifyd")).subcommands(commands());
    let mut script = Vec::new();
    complete::generate(shell, &mut definition, "pyinotifyd", &mut script);
    String::from_utf8(script).expect("it is made of our names and helps")
}

/// Writes the manual pages into a folder.
///
/// # Errors
///
/// One cannot be written.
pub(crate) fn write_manual(folder: &Path) -> Result<Exit, Fatal> {
    for (name, page) in manual() {
        let path = folder.join(name);
        fs::write(&path, page).map_err(|error| {
            Fatal::text(format!("cannot write {}: {}", shown_path(&path), words(&error)))
        })?;
    }
    Ok(Exit::Success)
}

/// The commands that are for people.
fn commands() -> Vec<clap::Command> {
    Line::command().get_subcommands().filter(|it| !it.is_hide_set()).cloned().collect()
}

/// All manual pages by the names of their files: that of the program, and one for each command.
fn manual() -> Vec<(String, String)> {
    let mut definition = Line::command();
    // So that commands know whose they are.
    definition.build();
    let commands = definition.get_subcommands().filter(|it| !it.is_hide_set());
    std::iter::once(&definition).chain(commands).map(page).collect()
}

/// One manual page, and the name of its file.
fn page(command: &clap::Command) -> (String, String) {
    let is_main = command.get_name() == "pyinotifyd";
    let name = command.get_display_name().unwrap_or("pyinotifyd").to_owned();
    let man = Man::new(command.clone())
        .source(concat!("pyinotifyd ", env!("CARGO_PKG_VERSION")))
        .manual("pyinotifyd");
    let mut page = Vec::new();
    let sections = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ];
    for render in sections {
        render(&man, &mut page).expect("memory takes all");
    }
    if is_main {
        man.render_subcommands_section(&mut page).expect("memory takes all");
    }
    let mut rest = Roff::new();
    if let Some(text) = command.get_after_help() {
        after(&text.to_string(), &mut rest);
    }
    if is_main {
        files(&mut rest);
    } else {
        rest.control("SH", ["SEE ALSO"]).text([bold("pyinotifyd"), roman("(1)")]);
    }
    rest.to_writer(&mut page).expect("memory takes all");
    (format!("{name}.1"), String::from_utf8(page).expect("it is made of our words"))
}

/// What stands below a help: examples, which are shown as they are, and sentences.
fn after(text: &str, roff: &mut Roff) {
    let mut in_examples = false;
    for (number, paragraph) in text.split("\n\n").enumerate() {
        let (title, lines) = match paragraph.split_once('\n') {
            Some(("Examples:" | "Example:", lines)) => (Some("EXAMPLES"), lines),
            Some(_) | None if paragraph.starts_with(' ') => (None, paragraph),
            Some(_) | None => {
                if in_examples || number == 0 {
                    roff.control("SH", ["NOTES"]);
                } else {
                    roff.control("PP", []);
                }
                in_examples = false;
                roff.text([roman(paragraph)]);
                continue;
            }
        };
        in_examples = true;
        match title {
            Some(title) => roff.control("SH", [title]),
            None => roff.control("PP", []),
        };
        roff.control("nf", []).text([roman(lines)]).control("fi", []);
    }
}

/// What an administrator looks for in the page of a daemon.
fn files(roff: &mut Roff) {
    let mut section = |title: &str, entries: &[(&str, &str)]| {
        roff.control("SH", [title]);
        for (term, text) in entries {
            roff.control("TP", []).text([bold(*term)]).text([roman(*text)]);
        }
    };
    let [python, toml] = DEFAULTS;
    section(
        "FILES",
        &[
            (python, "The configuration, in Python."),
            (toml, "The configuration if there is none in Python; it needs no Python."),
            ("/var/lib/pyinotifyd", "Where the service keeps tasks over a restart."),
            ("/run/pyinotifyd/control.sock", "Where the running daemon can be asked."),
        ],
    );
    section(
        "SIGNALS",
        &[
            (
                "SIGHUP",
                "Read the configuration anew; if it has mistakes, the old one stays in force.",
            ),
            (
                "SIGTERM, SIGINT",
                "Take no more events, give tasks the time of shutdown_timeout, and end.",
            ),
        ],
    );
    section(
        "EXIT STATUS",
        &[
            ("0", "It did what was asked; also after SIGTERM and SIGINT."),
            ("1", "It failed, or the configuration has mistakes."),
            ("2", "The command line cannot be understood, or asks for more rights than there are."),
            ("69", "A command that asks the running daemon: none listens."),
            ("78", "check found mistakes."),
        ],
    );
}

#[cfg(test)]
mod tests {
    use std::{io, process::Command};

    use super::*;

    fn script(shell: Shell) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        // As zsh wants it to be called, and the others do not mind.
        let file = dir.path().join("_pyinotifyd");
        fs::write(&file, completions(shell)).unwrap();
        (dir, file)
    }

    /// What a shell answers; `None`: it is not here, which is told.
    fn ask(shell: &str, args: &[&str]) -> Option<String> {
        match Command::new(shell).args(args).output() {
            Ok(output) => {
                assert!(output.status.success(), "{output:?}");
                Some(String::from_utf8(output.stdout).unwrap())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                eprintln!("skipped: {shell} completes nothing, because it is not there");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn bash_completes_commands_options_and_values() {
        let (_dir, file) = script(Shell::Bash);
        let complete = |words: &str, count: usize| {
            let ask_bash = format!(
                "source {}; COMP_WORDS=({words}); COMP_CWORD={count}; \
                 _pyinotifyd pyinotifyd \"${{COMP_WORDS[COMP_CWORD]}}\" \
                 \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[*]}}\"",
                file.display()
            );
            ask("bash", &["--norc", "-c", &ask_bash])
        };
        let Some(commands) = complete("pyinotifyd wa", 1) else { return };
        assert_eq!(commands, "watch\n");
        assert_eq!(complete("pyinotifyd --conf", 1).unwrap(), "--config --configtest\n");
        assert_eq!(complete("pyinotifyd completions ''", 2).unwrap(), "-h --help bash zsh fish\n");
        let event = complete("pyinotifyd explain /srv/in/a --on IN_CLOSE_W", 4).unwrap();
        assert_eq!(event, "IN_CLOSE_WRITE\n");
        assert_eq!(complete("pyinotifyd _", 1).unwrap(), "\n", "what is hidden stays so");
    }

    #[test]
    fn zsh_takes_its_script() {
        let (_dir, file) = script(Shell::Zsh);
        ask("zsh", &["-f", "-n", file.to_str().unwrap()]);
        assert!(completions(Shell::Zsh).starts_with("#compdef pyinotifyd\n"));
    }

    #[test]
    fn fish_completes_commands_and_values() {
        let (_dir, file) = script(Shell::Fish);
        let complete = |line: &str| {
            let ask_fish = format!("source {}; complete -C '{line}'", file.display());
            ask("fish", &["--no-config", "-c", &ask_fish])
        };
        let Some(commands) = complete("pyinotifyd ") else { return };
        assert!(commands.lines().any(|it| it.starts_with("watch\t")), "{commands}");
        assert!(!commands.contains("__exec"), "{commands}");
        let event = complete("pyinotifyd watch /srv/in --on IN_CLOSE_W").unwrap();
        assert_eq!(event.trim(), "IN_CLOSE_WRITE");
    }

    #[test]
    fn nothing_hidden_is_completed_or_in_the_manual() {
        let scripts = [Shell::Bash, Shell::Zsh, Shell::Fish].map(completions);
        let pages = manual().into_iter().map(|it| it.0 + &it.1);
        for text in scripts.into_iter().chain(pages) {
            assert!(!text.contains("__exec") && !text.contains("schema"), "{text}");
        }
    }

    #[test]
    fn each_command_has_a_page() {
        let names: Vec<String> = manual().into_iter().map(|it| it.0).collect();
        let mut expected = vec!["pyinotifyd.1".to_owned()];
        expected.extend(commands().iter().map(|it| format!("pyinotifyd-{}.1", it.get_name())));
        assert_eq!(names, expected);
    }

    #[test]
    fn the_manual_reads_well() {
        let pages = manual();
        let page = |name: &str| pages.iter().find(|it| it.0 == name).unwrap().1.as_str();
        let version = concat!("pyinotifyd ", env!("CARGO_PKG_VERSION"));
        let both = [page("pyinotifyd.1"), page("pyinotifyd-convert.1")].join("\n");
        insta::assert_snapshot!(both.replace(version, "pyinotifyd VERSION"));
    }
}
