//! Whether links between the pages lead anywhere, and whether the book has all pages.
//!
//! Links to other hosts are not followed: a CI that depends on them fails for no reason of ours.

use std::{
    fs,
    path::{Component, Path, PathBuf},
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

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn headings(root: &Path, page: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(root.join(page)).unwrap_or_default();
    let mut anchors: Vec<String> = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim();
        let anchor: String = title
            .chars()
            .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
            .map(|it| if it == ' ' { '-' } else { it.to_ascii_lowercase() })
            .collect();
        // Of equal headings, the later ones have a number.
        let equal = |it: &&String| match it.strip_prefix(&anchor) {
            Some(rest) => rest.is_empty() || rest.strip_prefix('-').is_some_and(is_number),
            None => false,
        };
        match anchors.iter().filter(equal).count() {
            0 => anchors.push(anchor),
            count => anchors.push(format!("{anchor}-{count}")),
        }
    }
    anchors
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

/// The book's list of pages.
const SUMMARY: &str = "docs/SUMMARY.md";

/// What is in `docs` and no page of the book.
const NO_PAGES: [&str; 2] = [SUMMARY, "docs/design/000-template.md"];

/// Holds the book's list against the pages that are there, and their links against the list: what
/// is outside of the book leads nowhere in it.
pub(super) fn check_book(files: &[(PathBuf, String)], breaches: &mut Vec<Breach>) {
    let folder = Path::new("docs");
    let Some((_, summary)) = files.iter().find(|(file, _)| file == Path::new(SUMMARY)) else {
        return;
    };
    let listed: Vec<PathBuf> =
        links(summary).into_iter().map(|(_, page)| folder.join(page)).collect();
    let mut breach =
        |file: &Path, line, what| breaches.push(Breach { file: file.to_owned(), line, what });
    for (file, text) in files {
        let is_page = file.starts_with(folder) && has_pages_end(file);
        if !is_page || NO_PAGES.iter().any(|it| file == Path::new(it)) {
            continue;
        }
        if !listed.contains(file) {
            breach(file, 0, format!("is not in {SUMMARY}"));
        }
        for (line, target) in links(text) {
            let path = target.split('#').next().unwrap_or_default();
            let place = resolved(file, path);
            let is_page = path.is_empty() || listed.contains(&place);
            if !is_page && (has_pages_end(&place) || !place.starts_with(folder)) {
                breach(file, line, format!("a link leads out of the book: {target}"));
            }
        }
    }
}

fn has_pages_end(file: &Path) -> bool {
    file.extension().is_some_and(|it| it == "md")
}

/// Where a link of this page leads, without the steps up.
fn resolved(page: &Path, link: &str) -> PathBuf {
    let mut place = page.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir if place.pop() => (),
            part => place.push(part),
        }
    }
    place
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

    #[test]
    fn an_anchor_is_that_of_a_heading_and_of_which_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let page = PathBuf::from("a.md");
        let text = "# A\n```sh\n# no heading\n```\n## B c\n## B c\n## B c\n## `[log.x]`\n";
        fs::write(dir.path().join(&page), text).unwrap();
        assert_eq!(headings(dir.path(), &page), ["a", "b-c", "b-c-1", "b-c-2", "logx"]);
    }

    #[test]
    fn the_book_has_all_pages_and_they_lead_nowhere_else() {
        let pages = [
            ("README.md", "[a](docs/a.md) [b](SECURITY.md)"),
            ("docs/SUMMARY.md", "- [A](a.md)\n- [B](sub/b.md)\n"),
            ("docs/a.md", "[own](#here) [b](sub/b.md#x)\n[out](../README.md)\n"),
            ("docs/design/000-template.md", "# 000\n"),
            ("docs/lost.md", "# Lost\n"),
            ("docs/sub/b.md", "[a](../a.md) [schema](../c.json)\n[lost](../lost.md)\n"),
        ];
        let files = pages.map(|(file, text)| (PathBuf::from(file), text.to_owned()));
        let mut breaches = Vec::new();
        check_book(&files, &mut breaches);
        let found: Vec<_> =
            breaches.iter().map(|it| (it.file.to_str().unwrap(), it.line)).collect();
        assert_eq!(found, [("docs/a.md", 2), ("docs/lost.md", 0), ("docs/sub/b.md", 2)]);
    }
}
