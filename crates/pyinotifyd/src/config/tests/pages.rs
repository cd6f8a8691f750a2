//! What the pages show as a configuration is one.

use std::{fs, path::Path};

use pyinotifyd_core::plan::User;

use super::{machine, render_all};
use crate::config::{
    environment::{Account, Environment},
    parse_str,
};

#[test]
fn every_configuration_in_the_pages_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "md" => pages.push(path),
                Some(_) | None => (),
            }
        }
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
    // The README has four and the recipes eleven, or they are not found.
    assert!(blocks >= 15, "{blocks}");
}

/// What is said of a configuration.
fn said(text: &str) -> String {
    match parse_str("config.toml", text, &with_all_users()) {
        Ok(loaded) => render_all(&loaded.warnings, "config.toml", false),
        Err(mistakes) => render_all(&mistakes, "config.toml", false),
    }
}

/// A machine with every user that a recipe may have one of its own of.
fn with_all_users() -> Environment {
    let user = |account: Account<'_>| match account {
        Account::Name(name) => {
            Ok((machine().user)(Account::Id(1000))?.map(|it| User { name: name.into(), ..it }))
        }
        Account::Id(_) => (machine().user)(account),
    };
    Environment { user, ..machine() }
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
