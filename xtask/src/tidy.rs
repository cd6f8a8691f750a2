//! The repository's rules, held against its files.
//!
//! What the compiler and clippy can check is theirs. Here are the rules about the whole: who may
//! import whom ([`imports`]), whether links lead anywhere and the book has all pages ([`links`]), and what no file may hold.

mod imports;
mod links;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Outcome, root};
use source::Source;

/// The most lines of a source file.
const LONGEST: usize = 900;

/// A rule that a file breaks: where, and what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    file: PathBuf,
    /// From 1; 0: the file as a whole.
    line: usize,
    what: String,
}

/// Checks all rules, and shows all breaches.
pub(crate) fn run() -> Outcome {
    let breaches = check(&root())?;
    for Breach { file, line, what } in &breaches {
        match line {
            0 => eprintln!("{}: {what}", file.display()),
            line => eprintln!("{}:{line}: {what}", file.display()),
        }
    }
    match breaches.len() {
        0 => Ok(()),
        1 => Err("1 rule is broken".into()),
        count => Err(format!("{count} rules are broken")),
    }
}

fn check(root: &Path) -> Result<Vec<Breach>, String> {
    let files = files(root)?;
    let mut breaches = Vec::new();
    let places = machine_paths(root);
    for (file, text) in &files {
        for (number, line) in (1..).zip(text.lines()) {
            for place in places.iter().filter(|it| line.contains(*it)) {
                let what = format!("names a path of this machine: {place}");
                breaches.push(Breach { file: file.clone(), line: number, what });
            }
        }
        match file.extension().and_then(|it| it.to_str()) {
            Some("rs") => check_source(file, text, &mut breaches),
            Some("md") => links::check(root, file, text, &mut breaches),
            Some(_) | None => (),
        }
    }
    links::check_book(&files, &mut breaches);
    imports::check(root, &files, &mut breaches)?;
    breaches.sort();
    Ok(breaches)
}

/// What no source file may hold.
fn check_source(file: &Path, text: &str, breaches: &mut Vec<Breach>) {
    let mut breach =
        |line, what: String| breaches.push(Breach { file: file.to_owned(), line, what });
    let lines: Vec<&str> = text.lines().collect();
    let count = lines.len();
    if count > LONGEST {
        breach(0, format!("has {count} lines, more than {LONGEST}: split it by sense"));
    }
    let in_sys = file.starts_with("crates/sys");
    let all_tests = is_tests(file);
    for (number, line, in_tests) in Source::new(text).code() {
        let in_tests = in_tests || all_tests;
        let word = |word| source::has_word(line, word);
        if word("todo!") || word("unimplemented!") {
            breach(number, "is not done".into());
        }
        if word("unsafe") && !in_sys && !line.contains("unsafe_code") {
            breach(number, "`unsafe` outside of crates/sys".into());
        }
        if line.contains(".unwrap()") && !in_tests && file.starts_with("crates") {
            breach(number, "`.unwrap()` outside of tests: say with `expect` why it holds".into());
        }
        if line.contains(".display()") && !in_tests && file.starts_with("crates") {
            let what = "`.display()` outside of tests: a name may be made to harm a terminal, and \
                `path::shown` escapes it";
            breach(number, what.into());
        }
        // Some things tell nobody when they happen: the end of a process that is not one's child.
        let polls = || number > 1 && lines[number - 2].trim_start().starts_with("// Polls: ");
        if in_tests && word("sleep") && line.contains("sleep(") && !polls() {
            let what = "a test that sleeps: wait for what it waits for, or say above why it must \
                ask again and again: `// Polls: …`";
            breach(number, what.into());
        }
        if line.contains("#[ignore") {
            breach(number, "a test that is ignored: skip it aloud, where it cannot run".into());
        }
    }
}

/// Whether all of a file is tests: a `tests.rs`, or anything in a folder `tests`.
fn is_tests(file: &Path) -> bool {
    file.components().any(|it| it.as_os_str() == "tests") || file.ends_with("tests.rs")
}

/// What would tell where this copy of the repository lies.
fn machine_paths(root: &Path) -> Vec<String> {
    // Too common to mean this machine.
    const COMMON: [&str; 9] =
        ["/", "/home", "/root", "/tmp", "/usr", "/opt", "/srv", "/var", "/mnt"];
    let mut paths: Vec<String> = root
        .ancestors()
        .filter(|it| !COMMON.iter().any(|common| it == &Path::new(common)))
        .map(|it| format!("{}/", it.display()))
        .collect();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    paths.extend(home.map(|it| format!("{}/", it.display())));
    // The longest says most.
    paths.sort_by_key(|it| std::cmp::Reverse(it.len()));
    paths
}

/// All text files of the repository by their path in it, in order.
fn files(root: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    const LEFT_OUT: [&str; 5] = ["target", ".git", "corpus", "artifacts", "node_modules"];
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| format!("cannot list {}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if LEFT_OUT.iter().any(|it| entry.file_name() == *it) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                let bytes = fs::read(&path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                let inside = path.strip_prefix(root).expect("it was found there").to_owned();
                files.extend(String::from_utf8(bytes).ok().map(|text| (inside, text)));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(file: &str, text: &str) -> Vec<(usize, String)> {
        let mut breaches = Vec::new();
        check_source(Path::new(file), text, &mut breaches);
        breaches.into_iter().map(|it| (it.line, it.what)).collect()
    }

    #[test]
    fn each_rule_is_seen_where_it_is_broken() {
        let found =
            |file, text| breaches(file, text).into_iter().map(|it| it.0).collect::<Vec<_>>();
        let file = "crates/core/src/x.rs";
        assert_eq!(found(file, "fn f() {\n    x.unwrap();\n}"), [2]);
        assert_eq!(found(file, "fn f() {\n    todo!()\n}"), [2]);
        assert_eq!(found(file, "unsafe { x() }"), [1]);
        assert_eq!(found(file, "format!(\"{}\", path.display())"), [1]);
        assert_eq!(found("xtask/src/x.rs", "path.display()"), [0; 0]);
        assert_eq!(found("crates/sys/src/x.rs", "unsafe { x() }"), [0; 0]);
        let tests = "#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap(); thread::sleep(y) }\n}";
        assert_eq!(found(file, tests), [3]);
        assert_eq!(found("crates/core/src/x/tests.rs", "x.unwrap();"), [0; 0]);
        assert_eq!(found("crates/core/tests/x.rs", "x.unwrap();\nsleep(1);"), [2]);
        assert_eq!(found("crates/core/tests/x.rs", "// Polls: x.\nsleep(1);\nsleep(1);"), [3]);
        assert_eq!(found(file, "#[cfg(test)]\nmod cost;\nfn f() { sleep(1) }"), [0; 0]);
        assert_eq!(found(file, "#[cfg(test)]\nmod cost;\nfn f() { x.unwrap() }"), [3]);
        assert_eq!(found(file, &"\n".repeat(901)), [0]);
    }

    #[test]
    fn words_in_text_and_comments_are_free() {
        let text = "// todo!() is unsafe\nlet x = \"a.unwrap() \\\" unsafe\";\n/* unsafe */\n\
            let y = r#\"unsafe \" todo!()\"#; let z = '\"'; let unsafe_code = 1;";
        assert_eq!(breaches("crates/core/src/x.rs", text), []);
    }

    #[test]
    fn a_place_is_told_by_its_longest_name() {
        let paths = machine_paths(Path::new("/home/me/src/x"));
        assert_eq!(
            paths.iter().filter(|it| !it.contains("cargo")).collect::<Vec<_>>(),
            ["/home/me/src/x/", "/home/me/src/", "/home/me/"]
        );
    }
}
