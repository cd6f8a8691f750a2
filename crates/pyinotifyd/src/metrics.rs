//! What the daemon counts and measures, for Prometheus and for whoever else reads its text form.
//!
//! [`table`] says which metrics there are; from it come the page, its reference, and what the
//! dashboard and the alerts may ask for. The loop gives a [`Snapshot`], plain data; all else, from
//! the page's text to its HTTP, is done by a thread of its own, so that whoever scrapes costs the
//! loop no more than that.

mod http;
pub(crate) mod page;
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub(crate) use self::snapshot::Snapshot;
