//! The program as it runs: real directories, real signals, its log read line by line.
//!
//! No sleeps. Whoever wants to know that everything has been handled asks for it with
//! [`support::Daemon::sync`]; whoever waits for a line waits until it comes, or fails after a
//! minute.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "daemon/control.rs"]
mod control;
#[path = "daemon/exact.rs"]
mod exact;
#[path = "daemon/examples.rs"]
mod examples;
#[path = "support/exposition.rs"]
mod exposition;
#[path = "daemon/kept.rs"]
mod kept;
#[path = "support/known.rs"]
mod known;
#[path = "daemon/metrics.rs"]
mod metrics;
#[path = "daemon/names.rs"]
mod names;
#[path = "daemon/overflow.rs"]
mod overflow;
#[path = "support/program.rs"]
mod program;
#[path = "daemon/python.rs"]
mod python;
#[path = "daemon/ready.rs"]
mod ready;
#[path = "daemon/reload.rs"]
mod reload;
#[path = "daemon/roots.rs"]
mod roots;
#[path = "daemon/signals.rs"]
mod signals;
#[path = "support/starts.rs"]
mod starts;
#[path = "daemon/support.rs"]
mod support;
#[path = "daemon/watchdog.rs"]
mod watchdog;
