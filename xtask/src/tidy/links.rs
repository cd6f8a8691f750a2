//! Whether links between the pages lead anywhere.
//!
//! Links to other hosts are not followed: a CI that depends on them fails for no reason of ours.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Breach;

/// Holds a page's links against the files and headings that are there.
pub(super) fn check(root: &Path, file: &Path, text: &str, breaches: &mut Vec<Breach>) {
    let folder = file.parent().unwrap_or(Path::new(""));
    for (line, target) in links(text) {
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let place = if path.is_empty() { file.to_owned() } else { folder.join(path) };
        let what = match fs::metadata(root.join(&place)) {
            Err(_) => format!("a link leads nowhere: {target}"),
            Ok(_) if anchor.is_empty() => continue,
            Ok(_) if headings(root, &place).iter().any(|it| it == anchor) => continue,
            Ok(_) => format!("a link leads to no heading: {target}"),
        };
        breaches.push(Breach { file: file.to_owned(), line, what });
    }
}

/// The targets of a page's links that are in the repository, each with its line.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        // What stands in backquotes is code.
        for part in line.split('`').step_by(2) {
            for (at, _) in part.match_indices("](") {
                let target = &part[at + 2..];
                let target = &target[..target.find(')').unwrap_or(target.len())];
                if !target.contains("://") && !target.starts_with("mailto:") {
                    links.push((number, target));
                }
            }
        }
    }
    links
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(root: &Path, page: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(root.join(page)).unwrap_or_default();
    text.lines()
        .filter(|it| it.starts_with('#'))
        .map(|it| {
            it.trim_start_matches('#')
                .trim()
                .chars()
                .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
                .map(|it| if it == ' ' { '-' } else { it.to_ascii_lowercase() })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_file_or_a_heading() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("docs")).unwrap();
        fs::write(dir.path().join("docs/a.md"), "# A page\n\n## What `it` is\n").unwrap();
        let page = "[x](a.md) [y](a.md#what-it-is) [z](https://example.org/none) [w](../docs)\n\
            `[c](none)`\n```\n[d](none)\n```\n[e](none.md)\n[f](a.md#none)\n";
        let mut breaches = Vec::new();
        check(dir.path(), Path::new("docs/b.md"), page, &mut breaches);
        let found: Vec<_> = breaches.iter().map(|it| (it.line, it.what.as_str())).collect();
        assert_eq!(
            found,
            [(6, "a link leads nowhere: none.md"), (7, "a link leads to no heading: a.md#none")]
        );
    }
}
