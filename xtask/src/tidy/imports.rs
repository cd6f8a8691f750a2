//! Who may import whom.
//!
//! The table is in `ARCHITECTURE.md`, for people; here it is held against every path in the code.
//! A module is the first name below its crate: `tree/moves.rs` belongs to `tree`. Test modules may
//! use what they like.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use super::{Breach, is_tests, source::Source};

const PAGE: &str = "ARCHITECTURE.md";

/// The crates by their folder, and by the name in paths.
const CRATES: [(&str, &str); 3] =
    [("core", "pyinotifyd_core"), ("sys", "pyinotifyd_sys"), ("pyinotifyd", "pyinotifyd")];

/// For each module (`core::tree`), whom it may import.
type Table = BTreeMap<String, BTreeSet<String>>;

/// Holds the sources against the table.
pub(super) fn check(
    root: &Path,
    files: &[(PathBuf, String)],
    breaches: &mut Vec<Breach>,
) -> Result<(), String> {
    let page = files
        .iter()
        .find(|it| it.0 == Path::new(PAGE))
        .ok_or_else(|| format!("there is no {PAGE} in {}", root.display()))?;
    let table = table(&page.1)?;
    for (file, text) in files {
        let Some(module) = module(file).filter(|_| !is_tests(file)) else { continue };
        let Some(allowed) = table.get(&module) else {
            let what = format!("the import table of {PAGE} does not know {module}");
            breaches.push(Breach { file: file.clone(), line: 0, what });
            continue;
        };
        let source = Source::new(text);
        for (line, import) in imports(&module, file, source.program()) {
            let crate_name = import.split("::").next().expect("split gives one at least");
            let all = format!("{crate_name}::*");
            if import != module && !allowed.contains(&import) && !allowed.contains(&all) {
                let what = format!("{module} may not import {import} (table in {PAGE})");
                breaches.push(Breach { file: file.clone(), line, what });
            }
        }
    }
    Ok(())
}

/// Reads the table: rows whose first cell is a list of modules in backquotes, and whose second is
/// a list of those that they may import.
fn table(page: &str) -> Result<Table, String> {
    let section = page
        .split_once("\n## Import table\n")
        .ok_or_else(|| format!("{PAGE} has no section `Import table`"))?
        .1;
    let section = section.split("\n## ").next().expect("split gives one at least");
    let mut table = Table::new();
    for row in section.lines().filter(|it| it.starts_with("| `")) {
        let mut cells = row.trim_matches('|').split('|');
        let mut words = || {
            let cell = cells.next().unwrap_or_default();
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let (modules, allowed) = (words(), words());
        for module in modules {
            let entry = table.entry(module.clone()).or_default();
            if !entry.is_empty() {
                return Err(format!("{PAGE}: {module} has two rows in the import table"));
            }
            entry.extend(allowed.iter().cloned());
        }
    }
    if table.is_empty() {
        return Err(format!("{PAGE}: the import table is empty"));
    }
    Ok(table)
}

/// The module that a source file belongs to: `core::tree`.
fn module(file: &Path) -> Option<String> {
    let mut names = file.components().filter_map(|it| match it {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    if file.extension()? != "rs" || names.next()? != "crates" {
        return None;
    }
    let crate_name = names.next()?;
    if names.next()? != "src" {
        return None;
    }
    let name = names.next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    Some(format!("{crate_name}::{name}"))
}

/// The modules that code names, each with its line.
fn imports(module: &str, file: &Path, code: &str) -> Vec<(usize, String)> {
    let own = module.split("::").next().expect("split gives one at least");
    let mut prefixes = vec![(own, "crate::".to_owned())];
    prefixes.extend(CRATES.map(|(folder, name)| (folder, format!("{name}::"))));
    // In `tree.rs`, `super` is the crate; in `tree/moves.rs` it is `tree` itself.
    let depth = file.components().count();
    prefixes.extend((4..=depth).last().map(|depth| (own, "super::".repeat(depth - 3))));
    let mut found = BTreeSet::new();
    for (crate_name, prefix) in &prefixes {
        for (at, _) in code.match_indices(prefix.as_str()) {
            let before = &code[..at];
            let inside = |it: char| it.is_alphanumeric() || it == '_' || it == ':' || it == '$';
            if before.ends_with(inside) {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            for name in heads(&code[at + prefix.len()..]) {
                // Names in capitals and the like are the crate's own, not modules.
                if name.starts_with(|it: char| it.is_ascii_lowercase()) && name != "super" {
                    found.insert((line, format!("{crate_name}::{name}")));
                }
            }
        }
    }
    found.into_iter().collect()
}

/// The first names of a path: of `a::b` it is `a`, of `{a::{b, c}, d}` they are `a` and `d`.
fn heads(path: &str) -> Vec<&str> {
    let name = |text: &str| {
        let end = text.find(|it: char| !it.is_alphanumeric() && it != '_');
        end.unwrap_or(text.len())
    };
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..name(path)]] };
    let mut heads = Vec::new();
    let mut depth = 0_u32;
    let mut fresh = true;
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            char if fresh && !char.is_whitespace() => {
                heads.push(&group[at..at + name(&group[at..])]);
                fresh = false;
            }
            _ => (),
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, code: &str) -> Vec<String> {
        let file = Path::new(file);
        let module = module(file).unwrap();
        imports(&module, file, code).into_iter().map(|it| it.1).collect()
    }

    #[test]
    fn all_ways_to_name_a_module_are_seen() {
        let code =
            "use crate::{\n    a::{b, c},\n    d,\n};\nuse crate::e::F;\nfn g() { crate::h::i() }";
        assert_eq!(
            found("crates/core/src/tree.rs", code),
            ["core::a", "core::d", "core::e", "core::h"]
        );
        assert_eq!(found("crates/core/src/tree.rs", "use super::rules;"), ["core::rules"]);
        assert_eq!(found("crates/core/src/tree/moves.rs", "use super::{Tree, x};"), [""; 0]);
        assert_eq!(
            found("crates/core/src/tree/moves.rs", "use super::super::rules;"),
            ["core::rules"]
        );
        assert_eq!(
            found("crates/pyinotifyd/src/log.rs", "use pyinotifyd_sys::time::local;"),
            ["sys::time"]
        );
        assert_eq!(found("crates/sys/src/x.rs", "use other_crate::a; use crate::Error;"), [""; 0]);
    }

    #[test]
    fn a_forbidden_import_is_a_breach() {
        let page = "# x\n\n## Import table\n\n| module | may import |\n|---|---|\n\
            | `core::tree` `core::rules` | `core::event` |\n| `core::event` | |\n\n## y\n";
        let files: Vec<(PathBuf, String)> = [
            ("ARCHITECTURE.md", page),
            ("crates/core/src/event.rs", "use crate::tree;"),
            ("crates/core/src/rules.rs", "use crate::event;\nuse crate::tree::Tree;"),
            (
                "crates/core/src/tree.rs",
                "use crate::{event::E, tree::T};\n#[cfg(test)]\nmod tests { use crate::rules; }",
            ),
            ("crates/core/src/new.rs", ""),
        ]
        .map(|(file, text)| (file.into(), text.to_owned()))
        .to_vec();
        let mut breaches = Vec::new();
        check(Path::new("."), &files, &mut breaches).unwrap();
        let found: Vec<_> = breaches.iter().map(|it| (it.line, it.what.as_str())).collect();
        assert_eq!(
            found,
            [
                (1, "core::event may not import core::tree (table in ARCHITECTURE.md)"),
                (2, "core::rules may not import core::tree (table in ARCHITECTURE.md)"),
                (0, "the import table of ARCHITECTURE.md does not know core::new"),
            ]
        );
    }
}
