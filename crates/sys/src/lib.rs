//! What pyinotifyd asks of the Linux kernel, and the only crate with `unsafe`.
//!
//! It decides nothing: bytes and integers in, bytes and integers out. What to watch, to run or to
//! move is said by the caller, and what came of it is given back, with the call and the path in
//! every error. What it means is the business of `pyinotifyd-core`, which this crate does not know.

pub mod disk;
pub mod enter;
pub mod errno;
pub mod files;
pub mod inotify;
pub mod lease;
pub mod limits;
pub mod memory;
pub mod mounts;
pub mod process;
pub mod random;
pub mod socket;
pub mod stamp;
pub mod terminal;
pub mod time;
pub mod usage;
