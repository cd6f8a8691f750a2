//! The daemon's decisions, without its I/O.
//!
//! Everything that can happen is one variant of [`engine::Input`]; everything that the daemon can
//! do is one variant of [`engine::Effect`]. The caller waits for the next input, calls
//! [`engine::Engine::handle`], and carries out what [`engine::Engine::poll`] gives. Nothing in
//! this crate reads a clock, a file, or the environment, so an hour's delay takes no time in a
//! test and every history can be played again.
//!
//! ```text
//! kernel bytes → Record → Event → Order → Task → Run → Outcome → Report
//!    sys/decode   tree     rules   schedule      action          log, store, status
//! ```

pub mod count;
pub mod engine;
pub mod event;
pub mod explain;
pub mod filerule;
pub mod filter;
pub mod path;
pub mod pattern;
pub mod plan;
pub mod record;
pub mod report;
pub mod rules;
pub mod schedule;
pub mod scope;
pub mod stamp;
pub mod stats;
pub mod task;
pub mod template;
pub mod time;
pub mod tree;
