//! Pages of docs/reference that are made by a test: the program does not carry what only the
//! repository needs.

use std::{env, fs, path::Path};

/// Holds a page against the one that is there, or, with `$UPDATE`, writes it.
///
/// # Panics
///
/// The page that is there is another.
pub(crate) fn hold(name: &str, page: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if env::var_os("UPDATE").is_some() {
        fs::write(file, page).expect("the page can be written");
        return;
    }
    let there = fs::read_to_string(file).unwrap_or_default();
    assert!(page == there, "docs/reference/{name} is not: run `cargo xtask reference`");
}
