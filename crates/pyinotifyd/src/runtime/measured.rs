//! The loop and its metrics: what is gathered for whoever asks, and where it is served.

use std::time::{Duration, Instant as Clock};

use pyinotifyd_core::{
    engine::Life,
    plan::{Scheduler, SchedulerId, Watch, WatchId},
};
use pyinotifyd_sys::{time, usage::Usage};

use super::Loop;
use crate::{
    config::settings::Loopback,
    control::{
        server::Answer,
        words::{Reply, Text},
    },
    errors::words,
    host::live::Live,
    log,
    metrics::{
        Snapshot,
        page::render,
        server::{Asked, Server},
        snapshot::{OfPython, OfScheduler, OfStore, OfWatch, Reloads},
    },
};

/// Where metrics are served, and what is counted for them alone.
#[derive(Debug)]
pub(super) struct Measuring {
    /// Where they should be served.
    address: Option<Loopback>,
    server: Option<Server>,
    /// When the daemon was started, since 1970.
    started: Duration,
    pub(super) reloads: Reloads,
}

impl Measuring {
    /// Serves them at an address, if there is one.
    pub(super) fn new(address: Option<Loopback>) -> Self {
        let started = Duration::from_nanos(u64::try_from(time::now()).unwrap_or(0));
        let mut new = Self { address: None, server: None, started, reloads: Reloads::default() };
        new.serve(address);
        new
    }

    /// Serves them at this address from now on. A daemon whose port is taken still does its work.
    pub(super) fn serve(&mut self, address: Option<Loopback>) {
        // Where it has failed, it is tried again.
        if self.address == address && self.server.is_some() == address.is_some() {
            return;
        }
        self.address = address;
        // A port that is left to the kernel is another one each time.
        self.server = None;
        let Some(address) = address else { return };
        match Server::listen(address.address()) {
            Ok(server) => {
                ::log::info!("the metrics are at http://{}/metrics", server.address());
                self.server = Some(server);
            }
            Err(error) => {
                let error = words(&error);
                ::log::warn!("the metrics cannot be served at {address}: {error}");
            }
        }
    }

    /// Who wants a snapshot next.
    pub(super) async fn next(&mut self) -> Asked {
        match &mut self.server {
            Some(server) => server.next().await,
            None => std::future::pending().await,
        }
    }
}

impl Loop {
    /// Answers with the page, which is written on a thread.
    pub(super) fn answer_metrics(&self, answer: Answer) {
        let snapshot = self.measure();
        tokio::task::spawn_blocking(move || {
            let text = render(&snapshot, &Usage::read());
            answer.send(Reply::Text(Text { text }));
        });
    }

    /// Gathers what there is to know.
    pub(super) fn measure(&self) -> Snapshot {
        let begin = Clock::now();
        let (engine, plan) = (&self.engine, self.engine.plan());
        let (backlog, lag) = self.backlog();
        let (directories, by_watch) = engine.tree().watched_by_watch();
        let watch = |(id, it): (WatchId, &Watch)| OfWatch {
            paths: it.paths.iter().map(|it| it.source.clone()).collect(),
            directories: by_watch.get(&id).copied().unwrap_or(0),
            wanted: it.wanted(),
            events: *engine.seen_by(id),
        };
        let schedule = engine.schedule();
        let scheduler = |(id, it): (SchedulerId, &Scheduler)| OfScheduler {
            name: it.name.clone(),
            slots: (it.slots != Scheduler::UNLIMITED).then_some(it.slots.get()),
            is_paused: schedule.is_paused(id),
            counts: schedule.counts_of(id),
            totals: schedule.totals_of(id).clone(),
        };
        let python = self.description.is_some().then(|| OfPython {
            pid: self.actions.hosted.current().map(Live::pid),
            restarts: self.loading.restarts(),
            runs: self.actions.hosted.running(),
            silent: self.silent_since.map(|it| it.elapsed()),
        });
        let store = self.keeping.as_ref();
        let store = store.map(|it| OfStore { commits: it.commits(), error: it.error() });
        Snapshot {
            started: self.measuring.started,
            is_ready: engine.life() == Life::Running,
            backlog,
            lag,
            overflows: engine.overflows(),
            directories,
            unwatched: engine.tree().unwatched(),
            watches: plan.watches().map(watch).collect(),
            schedulers: plan.schedulers().map(scheduler).collect(),
            slots: plan.slots.get(),
            reloads: self.measuring.reloads,
            python,
            store,
            log_dropped: log::dropped(),
            took: begin.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::log::heard;

    #[tokio::test]
    async fn where_metrics_are_served_or_why_not_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut measuring = Measuring::new(None);
        let mut serve = |address: String| {
            let said = heard(|| measuring.serve(Some(address.parse().unwrap()))).concat();
            let port = measuring.server.as_ref().map_or(address, |it| it.address().to_string());
            said.replace(port.rsplit(':').next().unwrap(), "PORT")
        };
        let told = [serve(address.to_string()), serve("127.0.0.1:0".into())];
        insta::assert_snapshot!("metrics", told.join("\n"));
    }
}
