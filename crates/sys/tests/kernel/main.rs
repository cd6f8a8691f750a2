//! The real kernel, without sleeps: events are queued before the call that made them returns.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests, and what they share")]

mod common;
mod enter;
mod kernel_facts;
#[path = "../../../pyinotifyd/tests/support/starts.rs"]
mod starts;
