//! What the pages show as a configuration is one.

use std::{fs, path::Path};

use super::said;

#[test]
fn every_configuration_in_the_pages_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "docs/design", "docs/reference"] {
        let entries = fs::read_dir(root.join(folder)).unwrap().map(|it| it.unwrap().path());
        pages.extend(entries.filter(|it| it.extension().is_some_and(|it| it == "md")));
    }
    let mut blocks = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            assert_eq!(said(block), "no mistakes in config.toml", "{}:\n{block}", page.display());
            blocks += 1;
        }
    }
    // The README has four, or they are not found.
    assert!(blocks >= 4, "{blocks}");
}

#[test]
fn the_configuration_of_the_packages_does_nothing_and_its_example_is_good() {
    let config = include_str!("../../../dist/config.toml");
    let plan = super::loaded(config).plan;
    assert_eq!((plan.watches.len(), plan.schedulers.len()), (0, 0));
    // Lines with a # and no blank behind it.
    let uncommented = |it: &'static str| it.strip_prefix('#').filter(|it| !it.starts_with(' '));
    let example = config.lines().filter_map(uncommented).collect::<Vec<_>>().join("\n");
    assert_eq!(said(&example), "no mistakes in config.toml", "{example}");
    assert_eq!(super::loaded(&example).plan.watches.len(), 1);
}
