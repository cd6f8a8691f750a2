//! What commands of a daemon that was killed have left: processes that still go on although their
//! tasks are about to run again.
//!
//! Which process a command began as was written down after its start, in the commit that followed. Of
//! one that was started just before the kill that is not known: it carries the id of its task in its
//! environment, as all commands do, and is still the program that it began as.

use std::{
    thread,
    time::{Duration, Instant},
};

use pyinotifyd_core::{
    engine::{Stray, StrayEnd, StrayMark},
    time::Human,
};
use pyinotifyd_sys::process::strays::{self as sys, Known, Leader, Mark};
use tokio::sync::mpsc;

use crate::{env, errors::words};

/// The longest that tasks wait for the end of what was before them, whatever `kill_after` says.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// So long the search may take, and the end of what was killed. Then tasks run all the same: a
/// process may hang in the kernel, and with it whoever looks at it.
const SEARCH: Duration = Duration::from_secs(30);

/// The threads that end them.
pub(super) struct Strays {
    done: mpsc::UnboundedSender<Vec<StrayEnd>>,
    ended: mpsc::UnboundedReceiver<Vec<StrayEnd>>,
}

impl Strays {
    pub(super) fn new() -> Self {
        let (done, ended) = mpsc::unbounded_channel();
        Self { done, ended }
    }

    /// Ends what there is of these, on a thread: they may take their time.
    pub(super) fn end(&self, strays: Vec<Stray>) {
        let longest = strays.iter().map(|it| it.kill_after.min(LONGEST)).max().unwrap_or_default();
        let late = self.done.clone();
        tokio::spawn(async move {
            tokio::time::sleep(longest + SEARCH).await;
            // If that was said before, it changes nothing.
            let _ = late.send(Vec::new());
        });
        let done = self.done.clone();
        let work = move || {
            // Nobody listens when the loop has ended.
            let _ = done.send(end(&strays));
        };
        if let Err(error) = thread::Builder::new().name("strays".into()).spawn(work) {
            ::log::error!(
                "commands of before are not looked for: cannot start a thread: {}",
                words(&error)
            );
            let _ = self.done.send(Vec::new());
        }
    }

    /// What has become of them.
    pub(super) async fn next(&mut self) -> Vec<StrayEnd> {
        match self.ended.recv().await {
            Some(ends) => ends,
            None => std::future::pending().await,
        }
    }
}

fn end(strays: &[Stray]) -> Vec<StrayEnd> {
    let marks: Vec<Mark> = strays.iter().map(mark).collect();
    let found = match sys::find(&marks) {
        Ok(found) => found,
        Err(error) => {
            ::log::warn!("commands of before are not looked for: /proc: {}", words(&error));
            return Vec::new();
        }
    };
    let found = strays.iter().zip(found).filter_map(|(stray, it)| Some((stray, it?)));
    // All are asked before any is waited for.
    let asked: Vec<_> = found
        .map(|(stray, mut session)| {
            let asked = session.terminate();
            let patience = stray.kill_after.min(LONGEST);
            ::log::warn!(
                "process {} of before the start still runs for the task {}: it has up to {} to end, \
                 and no task starts before that",
                session.id(),
                stray.task,
                Human(patience)
            );
            (stray, session, asked, Instant::now() + patience)
        })
        .collect();
    let ends = asked.into_iter().map(|(stray, mut session, asked, deadline)| {
        // One that cannot be asked does not keep the others from being ended.
        let ended = session.end(deadline).and(asked);
        StrayEnd {
            task: stray.task,
            process: session.id(),
            error: ended.err().map(|error| words(&error)),
        }
    });
    ends.collect()
}

fn mark(stray: &Stray) -> Mark {
    let (task, known) = match &stray.mark {
        StrayMark::Leader(leader) => {
            let (pid, since) = (leader.pid, leader.since);
            (leader.task, Known::Leader(Leader { since, pid }))
        }
        StrayMark::Program { user, name } => {
            let user = user.unwrap_or_else(|| nix::unistd::getuid().as_raw());
            (stray.task, Known::Program { user, name: name.to_vec() })
        }
    };
    Mark { variable: format!("{}={task}", env::TASK_ID).into(), known }
}
