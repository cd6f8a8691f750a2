//! The process in which a config.py lives.
//!
//! The daemon starts `python3` with a package of ours, which runs config.py, describes what it
//! built, and then runs its tasks when it is told to; see `docs/design/003-python-host.md`.
//! Nothing that happens there stops anything here.
//!
//! ```text
//!  start ── the link is made ── hello ──┬── refused ── Diagnostics
//!            (blocks: on a thread)      └── document ── Loaded, Connected
//!                                                               │
//!  Live ◀── runs, orders, records of the log, until the end ◀───┘
//! ```
//!
//! * [`find`]: which Python.
//! * [`package`]: what it is given to run.
//! * [`wire`]: what is said over the link, as types.
//! * [`start`]: a process, up to the moment at which its document is known.
//! * [`live`]: the same process from then on, in the loop.

pub(crate) mod find;
pub(crate) mod live;
mod package;
pub(crate) mod start;
pub(crate) mod wire;
