//! What tasks do, tried on the program itself: it is started on a config.toml in a directory of its
//! own, and watched through its log and what is in the file system afterwards.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/starts.rs"]
mod starts;
#[path = "actions/support.rs"]
mod support;

#[path = "actions/batches.rs"]
mod batches;
#[path = "actions/commands.rs"]
mod commands;
#[path = "actions/feedback.rs"]
mod feedback;
#[path = "actions/mounts.rs"]
mod mounts;
#[path = "actions/output.rs"]
mod output;
#[path = "actions/process.rs"]
mod process;
#[path = "actions/rules.rs"]
mod rules;
#[path = "actions/scheduling.rs"]
mod scheduling;
#[path = "actions/watches.rs"]
mod watches;
