//! [`Document`] → config.toml, as far as a config.toml can say it.
//!
//! What needs Python is left out and told, as a comment at its place and as a note; what is only
//! used by that is left out, too. A value is written unless it is what its absence means, so that
//! the two files mean the same.

use std::{collections::BTreeSet, fmt::Write};

use pyinotifyd_core::{path::shown, pattern::Pattern};

use super::{
    document::{
        At, DocAccount, DocAction, DocBatch, DocBinding, DocBreaker, DocDuration, DocLimit,
        DocMatcher, DocMode, DocOrder, DocProcess, DocRetry, DocRule, DocScheduler, DocSwitch,
        DocWatch, Document, Place, Spot,
    },
    keys::{LEVELS, SectionKeys, TopKey},
};
use crate::log::Governed;

/// A config.toml.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Converted {
    /// Its text.
    pub(crate) text: String,
    /// What it does not say, each with its place.
    pub(crate) notes: Vec<String>,
}

/// Writes a config.py as config.toml. `logging` is how it left Python's `logging`.
pub(super) fn convert(document: &Document, logging: &Governed) -> Converted {
    let mut writer = Writer { text: String::new(), notes: Vec::new() };
    writer.document(document, logging);
    Converted { text: writer.text, notes: writer.notes }
}

struct Writer {
    text: String,
    notes: Vec<String>,
}

impl Writer {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn pair(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {value}"));
    }

    fn maybe(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.pair(key, &value);
        }
    }

    /// Says what is not there.
    fn note(&mut self, place: &Place, message: &str) {
        let line = match place.at {
            At::Line(line) => format!("{}:{line}: ", place.source.name),
            At::Span(_) | At::File => format!("{}: ", place.source.name),
        };
        self.line(&format!("# {message}"));
        self.notes.push(format!("{line}{message}"));
    }

    fn document(&mut self, document: &Document, logging: &Governed) {
        let source = shown(document.source.name.as_bytes()).to_string();
        self.line(&format!("# Converted from {source}."));
        self.maybe("shutdown_timeout", duration(document.shutdown_timeout.as_ref(), "30s"));
        self.maybe("slots", number(document.slots.as_ref()));
        let daemon = TopKey::Logname.key().default;
        self.maybe("logname", text(document.logname.as_ref()).filter(|it| *it != quoted(daemon)));

        let kept: Vec<&DocScheduler> =
            document.schedulers.iter().filter(|it| python(it).is_none()).collect();
        self.logging(document, &kept, logging);
        let names: BTreeSet<&str> = kept.iter().map(|it| it.name.value.as_str()).collect();
        for scheduler in &document.schedulers {
            self.text.push('\n');
            match python(scheduler) {
                Some(why) => {
                    let name = shown(scheduler.name.value.as_bytes()).to_string();
                    self.note(&scheduler.name.place, &format!("scheduler `{name}` {why}"));
                }
                None => self.scheduler(scheduler),
            }
        }
        for watch in &document.watches {
            self.text.push('\n');
            self.watch(watch, &names);
        }
    }

    /// A level is said under the names that something logs under.
    fn logging(&mut self, document: &Document, kept: &[&DocScheduler], logging: &Governed) {
        let file = Place::file(&document.source);
        let daemon = document.logname.as_ref().map_or("daemon", |it| it.value.as_str());
        let lognames = kept.iter().filter_map(|it| it.logname.as_ref()).map(|it| &*it.value);
        let lognames: BTreeSet<&str> = lognames.chain([daemon]).collect();
        let mut levels = Vec::new();
        for (name, level) in &logging.levels {
            if lognames.contains(&**name) {
                levels.push(format!("{} = {}", quoted(name), quoted(level_name(*level))));
            }
        }
        let root = logging.levels.get("").map_or("info", |it| level_name(*it));
        if root != "info" || !levels.is_empty() {
            self.line("\n[log]");
            if root != "info" {
                self.pair("level", &quoted(root));
            }
            if !levels.is_empty() {
                self.pair("levels", &format!("{{ {} }}", levels.join(", ")));
            }
        }
        if !logging.native || !logging.forward.is_empty() || !logging.apart.is_empty() {
            self.text.push('\n');
            let message = "handlers and filters of Python's `logging` are left out: `syslog` in \
                           [log] is one that config.toml has";
            self.note(&file, message);
        }
    }

    fn scheduler(&mut self, it: &DocScheduler) {
        self.line(&format!("[scheduler.{}]", key(&it.name.value)));
        match it.actions.first() {
            Some(DocAction::Shell(command)) => self.pair("shell", &quoted(&command.value)),
            Some(DocAction::Log(line)) => self.pair("log", &quoted(&line.value)),
            Some(DocAction::Exec(argv)) => {
                self.pair("exec", &list(argv.value.iter().map(|it| quoted(&it.value))));
            }
            // Rules come last: what is behind their header is theirs.
            Some(DocAction::Rules(_) | DocAction::Hosted(_)) | None => (),
        }
        self.maybe(
            "logname",
            text(it.logname.as_ref()).filter(|text| *text != quoted(&it.name.value)),
        );
        self.maybe("files", flag(it.files.as_ref(), true));
        self.maybe("dirs", flag(it.dirs.as_ref(), false));
        self.maybe("delay", duration(it.delay.as_ref(), "0s"));
        self.maybe("max_wait", duration(it.max_wait.as_ref(), ""));
        self.maybe("singlejob", flag(it.singlejob.as_ref(), false));
        self.maybe("busy", text(it.busy.as_ref()).filter(|it| it != "\"again\""));
        self.maybe("slots", number(it.slots.as_ref()));
        self.maybe("timeout", duration(it.timeout.as_ref(), ""));
        self.maybe("kill_after", duration(it.kill_after.as_ref(), "10s"));
        self.maybe("retry", it.retry.as_ref().map(retry));
        self.maybe("follow", flag(it.follow.as_ref(), true));
        self.maybe("breaker", it.breaker.as_ref().map(|it| switch(it, breaker)));
        self.maybe("batch", it.batch.as_ref().map(|it| switch(it, batch)));
        self.filter("include_filter", &it.include_filter);
        self.filter("exclude_filter", &it.exclude_filter);
        self.process(&it.process);
        if let Some(DocAction::Rules(rules)) = it.actions.first() {
            for rule in &rules.value {
                self.line(&format!("[[scheduler.{}.rules]]", key(&it.name.value)));
                self.rule(rule);
            }
        }
    }

    fn rule(&mut self, it: &DocRule) {
        self.maybe("action", text(it.action.as_ref()));
        self.maybe("src_re", text(it.src_re.as_ref()));
        self.maybe("dst_re", text(it.dst_re.as_ref()));
        self.maybe("auto_create", flag(it.auto_create.as_ref(), false));
        self.maybe("overwrite", flag(it.overwrite.as_ref(), false));
        self.maybe("filemode", mode(it.filemode.as_ref()));
        self.maybe("dirmode", mode(it.dirmode.as_ref()));
        self.maybe("user", account(it.user.as_ref()));
        self.maybe("group", account(it.group.as_ref()));
        self.maybe("rec", flag(it.rec.as_ref(), false));
    }

    fn process(&mut self, it: &DocProcess) {
        self.maybe("user", account(it.user.as_ref()));
        self.maybe("group", account(it.group.as_ref()));
        let mut env = Vec::new();
        for (name, value) in &it.env {
            let value = match value {
                None => Some("false".to_owned()),
                Some(value) => self.bytes(&value.value, &value.place),
            };
            env.extend(value.map(|it| format!("{} = {it}", quoted(&name.value))));
        }
        if !env.is_empty() {
            self.pair("env", &format!("{{ {} }}", env.join(", ")));
        }
        if let Some(cwd) = &it.cwd
            && let Some(path) = self.bytes(&cwd.value, &cwd.place)
        {
            self.pair("cwd", &path);
        }
        self.maybe("umask", mode(it.umask.as_ref()));
        self.maybe("nice", number(it.nice.as_ref()));
        let limits: Vec<_> = it
            .rlimits
            .iter()
            .map(|(name, limit)| match &limit.value {
                DocLimit::Number(number) => format!("{} = {number}", quoted(&name.value)),
                DocLimit::Text(text) => format!("{} = {}", quoted(&name.value), quoted(text)),
            })
            .collect();
        if !limits.is_empty() {
            self.pair("rlimits", &format!("{{ {} }}", limits.join(", ")));
        }
        self.maybe("output", text(it.output.as_ref()).filter(|it| it != "\"log\""));
        self.maybe("output_level", text(it.output_level.as_ref()));
    }

    fn watch(&mut self, it: &DocWatch, names: &BTreeSet<&str>) {
        let bindings = it.event_map.as_ref().map(|it| it.value.as_slice()).unwrap_or_default();
        let kept = |order: &&DocOrder| names.contains(scheduler_of(order));
        if !bindings.iter().flat_map(|it| &it.orders).any(|it| kept(&it)) {
            let path = it.path.iter().flat_map(|it| &it.value).next();
            let path = path.map(|it| shown(&it.value).to_string()).unwrap_or_default();
            let message = format!("the Watch on {path} is left out: all of it is for Python");
            return self.note(&it.place, &message);
        }
        self.line("[[watch]]");
        let mut paths = Vec::new();
        for path in it.path.iter().flat_map(|it| &it.value) {
            paths.extend(self.bytes(&path.value, &path.place));
        }
        match paths.as_slice() {
            [path] => self.pair("path", path),
            paths => self.pair("path", &list(paths.iter().cloned())),
        }
        self.maybe("rec", flag(it.rec.as_ref(), true));
        self.maybe("auto_add", flag(it.auto_add.as_ref(), true));
        self.filter("include_filter", &it.include_filter);
        self.filter("exclude_filter", &it.exclude_filter);
        self.line("[watch.event_map]");
        for DocBinding { event, orders } in bindings {
            let mut written = Vec::new();
            for order in orders {
                let name = scheduler_of(order);
                if !names.contains(name) {
                    let name = shown(name.as_bytes());
                    let message = format!("{} is for `{name}`, too, in Python", event.value);
                    self.note(&event.place, &message);
                    continue;
                }
                written.push(match order {
                    DocOrder::Schedule(_) => quoted(name),
                    DocOrder::Cancel(_) => format!("{{ cancel = {} }}", quoted(name)),
                });
            }
            match written.as_slice() {
                // What it was for is gone, but the default is not for it.
                [] => self.pair(&event.value, "\"none\""),
                [order] => self.pair(&event.value, order),
                orders => self.pair(&event.value, &list(orders.iter().cloned())),
            }
        }
    }

    fn filter(&mut self, name: &str, matchers: &[Spot<DocMatcher>]) {
        let mut written = Vec::new();
        for Spot { value, place } in matchers {
            written.extend(match value {
                DocMatcher::Regex(text) => Some(quoted(text)),
                DocMatcher::Glob(text) => Some(format!("{{ glob = {} }}", quoted(text))),
                DocMatcher::File(path) => {
                    self.bytes(path, place).map(|it| format!("{{ file = {it} }}"))
                }
            });
        }
        match written.as_slice() {
            [] => (),
            [one] => self.pair(name, one),
            all => self.pair(name, &list(all.iter().cloned())),
        }
    }

    /// Bytes as text, which is all that TOML has.
    fn bytes(&mut self, bytes: &[u8], place: &Place) -> Option<String> {
        let text = str::from_utf8(bytes).ok();
        if text.is_none() {
            let message = format!("{} is not UTF-8, so TOML cannot say it", shown(bytes));
            self.note(place, &message);
        }
        text.map(quoted)
    }
}

fn scheduler_of(order: &DocOrder) -> &str {
    match order {
        DocOrder::Schedule(name) | DocOrder::Cancel(name) => &name.value,
    }
}

/// Why a scheduler needs Python, if it does.
fn python(scheduler: &DocScheduler) -> Option<String> {
    match scheduler.actions.first()? {
        DocAction::Hosted(job) => {
            Some(format!("runs `{}` in Python", shown(job.value.name.as_bytes())))
        }
        DocAction::Rules(rules) => rules.value.iter().find_map(|it| {
            let pattern = &it.src_re.as_ref()?.value;
            let same = Pattern::new(pattern).is_ok_and(|it| it.same_as_python());
            let pattern = shown(pattern.as_bytes());
            (!same).then(|| format!("has the pattern `{pattern}`, which only Python can match"))
        }),
        DocAction::Exec(_) | DocAction::Shell(_) | DocAction::Log(_) => None,
    }
}

/// The level that lets through what a number of Python's does.
fn level_name(number: u32) -> &'static str {
    let steps = [10, 20, 30, 40];
    LEVELS[steps.iter().filter(|it| number > **it).count()]
}

fn duration(value: Option<&Spot<DocDuration>>, default: &str) -> Option<String> {
    let value = match &value?.value {
        DocDuration::Text(text) => return Some(quoted(text)).filter(|_| text != default),
        DocDuration::Seconds(seconds) => seconds,
    };
    // It is written without a point where a whole number says the same.
    (format!("{value}s") != default).then(|| value.to_string())
}

fn number(value: Option<&Spot<i128>>) -> Option<String> {
    Some(value?.value.to_string())
}

fn flag(value: Option<&Spot<bool>>, default: bool) -> Option<String> {
    let value = value?.value;
    (value != default).then(|| value.to_string())
}

fn text(value: Option<&Spot<String>>) -> Option<String> {
    Some(quoted(&value?.value))
}

fn mode(value: Option<&Spot<DocMode>>) -> Option<String> {
    Some(match &value?.value {
        DocMode::Bits(bits) => format!("\"{bits:04o}\""),
        DocMode::Decimal(number) => number.to_string(),
        DocMode::Text(text) => quoted(text),
    })
}

fn account(value: Option<&Spot<DocAccount>>) -> Option<String> {
    Some(match &value?.value {
        DocAccount::Name(name) => quoted(name),
        DocAccount::Id(id) => id.to_string(),
    })
}

fn table(pairs: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let pairs = pairs.into_iter().filter_map(|(key, value)| Some(format!("{key} = {}", value?)));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

fn retry(it: &DocRetry) -> String {
    table([
        ("tries", number(it.tries.as_ref())),
        ("backoff", duration(it.backoff.as_ref(), "")),
        ("max_backoff", duration(it.max_backoff.as_ref(), "")),
    ])
}

fn breaker(it: &DocBreaker) -> String {
    table([
        ("runs", number(it.runs.as_ref())),
        ("within", duration(it.within.as_ref(), "")),
        ("rest", duration(it.rest.as_ref(), "")),
    ])
}

fn batch(it: &DocBatch) -> String {
    table([("max_items", number(it.max_items.as_ref())), ("input", text(it.input.as_ref()))])
}

fn switch<T>(it: &DocSwitch<T>, with: impl Fn(&T) -> String) -> String {
    match it {
        DocSwitch::Plain(spot) => spot.value.to_string(),
        DocSwitch::With(it) => with(it),
    }
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// A part of a header.
fn key(name: &str) -> String {
    let is_bare = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { basic(name) }
}

/// A string: without escapes where there is something to escape, and no need to.
fn quoted(text: &str) -> String {
    let is_plain = !text.contains(|it: char| it == '\'' || it.is_control());
    if is_plain && text.contains(['\\', '"']) { format!("'{text}'") } else { basic(text) }
}

fn basic(text: &str) -> String {
    let mut out = String::from('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            char if char.is_control() => {
                write!(out, "\\u{:04X}", u32::from(char)).expect("text takes all");
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}
