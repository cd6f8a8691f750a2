//! The page: a snapshot in the text form of Prometheus, version 0.0.4.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Write},
    iter::zip,
};

use pyinotifyd_core::{event::EventType, path::shown, stats::Histogram};
use pyinotifyd_sys::usage::Usage;

use super::{
    snapshot::{OfScheduler, OfWatch, Snapshot},
    table::{self, Kind, Metric},
};

/// What a page is, in the words of HTTP.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page of a snapshot.
pub(crate) fn render(it: &Snapshot, usage: &Usage) -> String {
    let mut page = Page { text: String::new() };
    page.samples(&table::BUILD_INFO, [([env!("CARGO_PKG_VERSION")], 1)]);
    page.one(&table::READY, u8::from(it.is_ready));
    watches(&mut page, it);
    schedulers(&mut page, it);
    page.samples(&table::RELOADS, [(["good"], it.reloads.good), (["bad"], it.reloads.bad)]);
    page.one(&table::LAST_RELOAD_GOOD, u8::from(!it.reloads.last_was_bad));
    if let Some(python) = &it.python {
        page.one(&table::PYTHON_UP, u8::from(python.pid.is_some()));
        page.one(&table::PYTHON_RESTARTS, python.restarts);
        page.one(&table::PYTHON_RUNS, python.runs);
        page.one(&table::PYTHON_SILENT, python.silent.unwrap_or_default().as_secs_f64());
    }
    if let Some(store) = &it.store {
        page.one(&table::STORE_COMMITS, store.commits);
        page.one(&table::STORE_ERROR, u8::from(store.error.is_some()));
    }
    page.one(&table::LOG_DROPPED, it.log_dropped);
    page.one(&table::SCRAPE, it.took.as_secs_f64());
    page.one(&table::START_TIME, it.started.as_secs_f64());
    page.one(&table::CPU, usage.cpu.as_secs_f64());
    if let Some(memory) = &usage.memory {
        page.one(&table::RESIDENT, memory.resident);
        page.one(&table::VIRTUAL, memory.mapped);
    }
    page.maybe(&table::OPEN_FDS, usage.open_files);
    page.maybe(&table::MAX_FDS, usage.max_files);
    page.text
}

fn watches(page: &mut Page, it: &Snapshot) {
    let names = unique(it.watches.iter().map(name));
    let watches = || zip(&names, &it.watches);
    let events = watches().flat_map(|(name, watch)| {
        // From the start: of a counter that begins at 1, the first event cannot be seen.
        let types = EventType::ALL.into_iter().map(|it| (it, watch.events.get(it)));
        let types = types.filter(|(it, count)| *count > 0 || watch.wanted.contains(it.mask()));
        types.map(|(it, count)| ([name.as_str(), it.name()], count))
    });
    page.samples(&table::EVENTS, events);
    page.one(&table::LAG, it.lag.as_secs_f64());
    page.one(&table::BACKLOG, it.backlog);
    page.one(&table::OVERFLOWS, it.overflows);
    page.one(&table::DIRECTORIES, it.directories);
    page.one(&table::UNWATCHED, it.unwatched);
    let directories = watches().map(|(name, watch)| ([name.as_str()], watch.directories));
    page.samples(&table::WATCH_DIRECTORIES, directories);
}

fn schedulers(page: &mut Page, it: &Snapshot) {
    let names = unique(it.schedulers.iter().map(|it| shown(it.name.as_bytes()).to_string()));
    let schedulers = || zip(&names, &it.schedulers).map(|(name, it)| (name.as_str(), it));
    let each = |of: fn(&OfScheduler) -> u64| schedulers().map(move |(name, it)| ([name], of(it)));
    let tasks = schedulers().flat_map(|(name, it)| {
        let counts = [
            ("waiting", it.counts.waiting),
            ("ready", it.counts.ready),
            ("running", it.counts.running),
        ];
        counts.map(|(state, count)| ([name, state], count))
    });
    page.samples(&table::TASKS, tasks);
    page.samples(&table::RUNS, schedulers().map(|(name, it)| ([name], it.counts.runs)));
    page.samples(&table::SCHEDULED, each(|it| it.totals.scheduled));
    page.samples(&table::CANCELLED, each(|it| it.totals.cancelled));
    let ended = schedulers().flat_map(|(name, OfScheduler { totals, .. })| {
        let counts =
            [("done", totals.done), ("failed", totals.failed), ("stopped", totals.stopped)];
        counts.map(|(outcome, count)| ([name, outcome], count))
    });
    page.samples(&table::ENDED, ended);
    page.samples(&table::RETRIED, each(|it| it.totals.retried));
    let took = schedulers().map(|(name, it)| ([name], &it.totals.took));
    page.histograms(&table::RUN_DURATION, took);
    page.samples(&table::PAUSED, each(|it| u64::from(it.is_paused)));
    let slots = schedulers().filter_map(|(name, it)| Some(([name], it.slots?)));
    page.samples(&table::SCHEDULER_SLOTS, slots);
    page.one(&table::SLOTS, it.slots);
}

/// A Watch's name is its path. Of many, all would be too long for a label.
fn name(watch: &OfWatch) -> String {
    match watch.paths.as_slice() {
        [] => String::new(),
        [path] => shown(path).to_string(),
        [path, others @ ..] => format!("{} and {} more", shown(path), others.len()),
    }
}

/// Names by which samples differ: what is there already gets a number, in the order of the
/// configuration.
fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let (mut taken, mut numbers) = (BTreeSet::new(), BTreeMap::new());
    let unique = |name: String| {
        let number = numbers.entry(name.clone()).or_insert(0_usize);
        loop {
            *number += 1;
            let candidate = match *number {
                1 => name.clone(),
                number => format!("{name} ({number})"),
            };
            // A path may end in a number, too.
            if taken.insert(candidate.clone()) {
                return candidate;
            }
        }
    };
    names.map(unique).collect()
}

/// A page that is being written.
struct Page {
    text: String,
}

impl Page {
    /// The metric's sample, if there is one.
    fn maybe(&mut self, metric: &Metric<0>, value: Option<impl Display>) {
        self.samples(metric, value.map(|it| ([], it)));
    }

    /// The metric's only sample.
    fn one(&mut self, metric: &Metric<0>, value: impl Display) {
        self.maybe(metric, Some(value));
    }

    /// All samples of a metric that is no histogram: the labels' values, and the sample's.
    fn samples<'a, const N: usize, V: Display>(
        &mut self,
        metric: &Metric<N>,
        samples: impl IntoIterator<Item = ([&'a str; N], V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(metric);
        }
        for (values, value) in samples {
            self.sample(metric, "", &values, None, value);
        }
    }

    /// All samples of a histogram. What it counts between two bounds is told as what is below the
    /// upper one.
    fn histograms<'a, const N: usize>(
        &mut self,
        metric: &Metric<N>,
        samples: impl IntoIterator<Item = ([&'a str; N], &'a Histogram)>,
    ) {
        debug_assert_eq!(metric.kind, Kind::Histogram);
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(metric);
        }
        for (values, histogram) in samples {
            let mut below = 0;
            for (bound, count) in zip(Histogram::BOUNDS, histogram.counts) {
                below += count;
                let bound = bound.as_secs_f64();
                self.sample(metric, "_bucket", &values, Some(&bound), below);
            }
            let count = histogram.count();
            self.sample(metric, "_bucket", &values, Some(&"+Inf"), count);
            self.sample(metric, "_sum", &values, None, histogram.sum.as_secs_f64());
            self.sample(metric, "_count", &values, None, count);
        }
    }

    fn head<const N: usize>(&mut self, metric: &Metric<N>) {
        let Metric { name, kind, help, .. } = metric;
        self.line(format_args!("# HELP {name} {}", Escaped { text: help, quotes: false }));
        self.line(format_args!("# TYPE {name} {}", kind.name()));
    }

    fn sample<const N: usize>(
        &mut self,
        metric: &Metric<N>,
        suffix: &str,
        values: &[&str; N],
        bound: Option<&dyn Display>,
        value: impl Display,
    ) {
        self.text.push_str(metric.name);
        self.text.push_str(suffix);
        let mut before = '{';
        let mut label = |name: &str, value: &dyn Display| {
            write!(self.text, "{before}{name}=\"{value}\"").expect("text takes all");
            before = ',';
        };
        for (name, value) in zip(metric.labels, values) {
            label(name, &Escaped { text: value, quotes: true });
        }
        if let Some(bound) = bound {
            label("le", bound);
        }
        if before == ',' {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        writeln!(self.text, "{text}").expect("text takes all");
    }
}

/// A text as the page has it: in the value of a label, quotes are escaped too.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text;
        let is_special = |it: char| matches!(it, '\\' | '\n') || it == '"' && self.quotes;
        while let Some(at) = rest.find(is_special) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'\n' => "\\n",
                b'"' => "\\\"",
                _ => "\\\\",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}
