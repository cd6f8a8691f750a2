//! What the README and the recipes show, done: on real files, by the real program.
//!
//! The text is taken out of the pages as it stands. Only its paths are put into a folder of the
//! test's own, where a script stands for each program that need not be on this machine, and what
//! takes an hour is made to take less.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "recipes/files.rs"]
mod files;
#[path = "recipes/incoming.rs"]
mod incoming;
#[path = "support/program.rs"]
mod program;
#[path = "recipes/readme.rs"]
mod readme;
#[path = "support/starts.rs"]
mod starts;
#[path = "recipes/support.rs"]
mod support;
#[path = "recipes/whole.rs"]
mod whole;
