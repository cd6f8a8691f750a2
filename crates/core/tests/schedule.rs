//! The schedule, one sentence a test; and random histories against an oracle.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "schedule/histories.rs"]
mod histories;
#[path = "schedule/ledger.rs"]
mod ledger;
#[path = "schedule/oracle.rs"]
mod oracle;
#[path = "schedule/rules.rs"]
mod rules;
#[path = "schedule/setup.rs"]
mod setup;
