//! config.toml → [`Document`].
//!
//! Walks the parser's own tree, in which every key and value has its place, and collects every
//! mistake instead of ending at the first: broken syntax, unknown keys, wrong types. What a value
//! means is not decided here; that a duration is negative is for `lower` to say.

mod values;

use std::{ops::Range, sync::Arc};

use ::toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use pyinotifyd_core::path::shown;

use self::values::Entry;
use super::{
    diagnostic::Diagnostic,
    document::{
        DocAction, DocBatch, DocBinding, DocBreaker, DocLog, DocMatcher, DocOrder, DocProcess,
        DocRetry, DocRule, DocScheduler, DocSwitch, DocSyslog, DocWatch, Document, Lost, Maybe,
        Place, Source, Spot,
    },
    keys::{
        BatchKey, BreakerKey, Kind, LogKey, MatcherKey, OrderKey, RetryKey, RuleKey, SchedulerKey,
        Section, SectionKeys, SyslogKey, TopKey, WatchKey,
    },
    words::{nearest, one_of},
};

const NO_TOML: &str = "this is not valid TOML";

type Value<'a> = Spanned<DeValue<'a>>;

/// What came of reading a file.
pub(crate) struct Parsed {
    /// What was written, as far as it could be read.
    pub(crate) document: Document,
    /// Where the file is no TOML.
    pub(crate) syntax: Vec<Diagnostic>,
    /// What could not be read for other reasons.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Where the syntax is broken: what anybody says about these bytes is about the parser's
    /// guess, not about what was written.
    pub(crate) broken: Vec<Range<usize>>,
}

/// Reads a file; its text has to be at hand.
pub(crate) fn parse(source: &Arc<Source>) -> Parsed {
    let text = source.text.as_deref().unwrap_or_default();
    let (tree, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { source, text, diagnostics: Vec::new(), reading: Vec::new() };
    let mut broken = Vec::new();
    let (lossy, syntax) = reader.syntax(tree.get_ref(), &errors, &mut broken);
    let mut document = Document {
        source: Arc::clone(source),
        has_python: false,
        broken: lossy,
        lost: Lost::new(),
        shutdown_timeout: None,
        state_dir: None,
        control_socket: None,
        metrics_listen: None,
        slots: None,
        logname: None,
        log: DocLog::default(),
        schedulers: Vec::new(),
        watches: Vec::new(),
    };
    document.lost = reader.document(tree.get_ref(), &mut document);
    Parsed { document, syntax, diagnostics: reader.diagnostics, broken }
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    text: &'a str,
    diagnostics: Vec<Diagnostic>,
    /// The sections that are being read, from the outermost.
    reading: Vec<Reading>,
}

/// A section that is being read.
#[derive(Default)]
struct Reading {
    /// The key whose value is being read.
    key: Option<&'static str>,
    /// The keys that could not be read. Trouble in a section inside this one is that section's.
    lost: Lost,
}

impl<'a> Reader<'a> {
    fn place(&self, span: Range<usize>) -> Place {
        Place::span(self.source, span)
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
        if let Some(reading) = self.reading.last_mut() {
            reading.lost.extend(reading.key);
        }
    }

    /// Reads the keys of a section; gives those that could not be read.
    fn inside<K: SectionKeys>(
        &mut self,
        table: &'a DeTable<'a>,
        mut read: impl FnMut(&mut Self, K, Entry<'a>),
    ) -> Lost {
        self.reading.push(Reading::default());
        let mut seen = Vec::new();
        for (name, value) in in_written_order(table) {
            let word = name.get_ref().as_ref();
            let place = self.place(name.span());
            let Some(at) = K::SECTION.find(word) else {
                self.unknown_key(K::SECTION, word, &place);
                continue;
            };
            let key = &K::SECTION.keys[at];
            self.now_reading(Some(key.name));
            if seen.contains(&at) {
                // Only through an alias: the parser has seen to all else.
                self.report(
                    Diagnostic::error(&place, format!("`{}` is written twice", key.name))
                        .label(format!("another word for `{}`", key.name)),
                );
                continue;
            }
            seen.push(at);
            read(self, K::ALL[at], Entry { kind: key.kind, value });
        }
        self.reading.pop().expect("pushed above").lost
    }

    fn now_reading(&mut self, key: Option<&'static str>) {
        if let Some(reading) = self.reading.last_mut() {
            reading.key = key;
        }
    }

    fn unknown_key(&mut self, section: &Section, word: &str, place: &Place) {
        let aliases = section.keys.iter().filter_map(|it| it.alias);
        let meant = nearest(word, section.words().chain(aliases));
        // Most likely it is this key that was lost.
        self.now_reading(meant.and_then(|it| section.find(it)).map(|at| section.keys[at].name));
        let message = format!("unknown key `{}` in {}", shown(word.as_bytes()), section.title);
        let known =
            format!("what can be written in {}: {}", section.title, one_of(section.words()));
        self.report(
            Diagnostic::error(place, message)
                .maybe_hint(meant.map(|it| format!("did you mean `{it}`?")))
                .hint(known),
        );
    }

    fn document(&mut self, table: &'a DeTable<'a>, doc: &mut Document) -> Lost {
        self.inside(table, |this, key, entry| match key {
            TopKey::ShutdownTimeout => doc.shutdown_timeout = this.duration(entry),
            TopKey::StateDir => doc.state_dir = this.bytes(entry),
            TopKey::ControlSocket => doc.control_socket = this.bytes(entry),
            TopKey::MetricsListen => doc.metrics_listen = this.string(entry),
            TopKey::Slots => doc.slots = this.count(entry),
            TopKey::Logname => doc.logname = this.string(entry),
            TopKey::Log => this.log(entry, &mut doc.log),
            TopKey::Scheduler => this.schedulers(entry, &mut doc.schedulers),
            TopKey::Watch => {
                for (table, span) in this.tables(entry) {
                    let watch = this.watch(table, span);
                    doc.watches.push(watch);
                }
            }
        })
    }

    fn log(&mut self, entry: Entry<'a>, log: &mut DocLog) {
        let Some(table) = self.table(entry) else { return };
        self.inside(table, |this, key, entry| match key {
            LogKey::Level => log.level = this.string(entry),
            LogKey::Levels => {
                for (name, value) in this.pairs(entry) {
                    let level = this.string(Entry { kind: Kind::Level, value });
                    log.levels.extend(level.map(|it| (name, it)));
                }
            }
            LogKey::Format => log.format = this.string(entry),
            LogKey::Syslog => {
                if let Some(table) = this.table(entry) {
                    let mut doc = DocSyslog { address: None, level: None, facility: None };
                    this.inside(table, |this, key, entry| match key {
                        SyslogKey::Address => doc.address = this.string(entry),
                        SyslogKey::Level => doc.level = this.string(entry),
                        SyslogKey::Facility => doc.facility = this.string(entry),
                    });
                    log.syslog = Some(doc);
                }
            }
        });
    }

    fn schedulers(&mut self, entry: Entry<'a>, out: &mut Vec<DocScheduler>) {
        for (name, value) in self.pairs(entry) {
            let DeValue::Table(table) = value.get_ref() else {
                let place = self.place(value.span());
                let message = format!(
                    "expected a table with the name of a scheduler, found {}",
                    values::found(value.get_ref())
                );
                let hint = format!(
                    "a scheduler has a name: [scheduler.NAME], and below it `{} = …`",
                    shown(name.value.as_bytes())
                );
                self.report(Diagnostic::error(&place, message).hint(hint));
                continue;
            };
            let scheduler = self.scheduler(name, table);
            out.push(scheduler);
        }
    }

    fn scheduler(&mut self, name: Spot<String>, table: &'a DeTable<'a>) -> DocScheduler {
        use SchedulerKey as Key;
        let mut doc = DocScheduler::new(name);
        doc.lost = self.inside(table, |this, key, entry| match key {
            Key::Exec => doc.actions.extend(this.strings(entry).map(DocAction::Exec)),
            Key::Shell => doc.actions.extend(this.string(entry).map(DocAction::Shell)),
            Key::Rules => {
                let place = this.place(entry.value.span());
                let tables = this.tables(entry);
                // What is no table was reported; an empty list is for `lower` to report.
                if !tables.is_empty() || matches!(entry.value.get_ref(), DeValue::Array(_)) {
                    let rules = tables.into_iter().map(|(table, span)| this.rule(table, span));
                    let rules = rules.collect();
                    doc.actions.push(DocAction::Rules(Spot::new(rules, place)));
                }
            }
            Key::Log => doc.actions.extend(this.string(entry).map(DocAction::Log)),
            Key::LogLevel => doc.log_level = this.string(entry),
            Key::Delay => doc.delay = this.duration(entry),
            Key::MaxWait => doc.max_wait = this.duration(entry),
            Key::Ready => doc.ready = this.names(entry),
            Key::Files => doc.files = this.boolean(entry),
            Key::Dirs => doc.dirs = this.boolean(entry),
            Key::IncludeFilter => doc.include_filter = this.filter(entry),
            Key::ExcludeFilter => doc.exclude_filter = this.filter(entry),
            Key::Singlejob => doc.singlejob = this.boolean(entry),
            Key::Busy => doc.busy = this.string(entry),
            Key::Slots => doc.slots = this.count(entry),
            Key::Timeout => doc.timeout = this.duration(entry),
            Key::KillAfter => doc.kill_after = this.duration(entry),
            Key::Retry => doc.retry = this.retry(entry),
            Key::Follow => doc.follow = this.boolean(entry),
            Key::OnCrash => doc.on_crash = this.string(entry),
            Key::Breaker => doc.breaker = this.switch(entry, Self::breaker),
            Key::Batch => doc.batch = this.switch(entry, Self::batch),
            Key::Logname => doc.logname = this.string(entry),
            Key::User => doc.process.user = this.account(entry),
            Key::Group => doc.process.group = this.account(entry),
            Key::Env => this.env(entry, &mut doc.process),
            Key::Cwd => doc.process.cwd = this.bytes(entry),
            Key::Umask => doc.process.umask = this.mode(entry),
            Key::Nice => doc.process.nice = this.count(entry),
            Key::Rlimits => {
                for (name, value) in this.pairs(entry) {
                    let limit = this.limit(value);
                    doc.process.rlimits.extend(limit.map(|it| (name, it)));
                }
            }
            Key::Output => doc.process.output = this.string(entry),
            Key::OutputLevel => doc.process.output_level = this.string(entry),
        });
        doc
    }

    fn env(&mut self, entry: Entry<'a>, process: &mut DocProcess) {
        for (name, value) in self.pairs(entry) {
            let place = self.place(value.span());
            match value.get_ref() {
                DeValue::String(text) => {
                    let value = Spot::new(text.as_bytes().to_vec(), place);
                    process.env.push((name, Some(value)));
                }
                DeValue::Boolean(false) => process.env.push((name, None)),
                other => {
                    let message = format!(
                        "expected a string, or `false` to take the variable out, found {}",
                        values::found(other)
                    );
                    self.report(Diagnostic::error(&place, message));
                }
            }
        }
    }

    fn retry(&mut self, entry: Entry<'a>) -> Option<DocRetry> {
        let mut doc = DocRetry { tries: None, backoff: None, max_backoff: None };
        match entry.value.get_ref() {
            DeValue::Integer(_) => doc.tries = Some(self.count(entry)?),
            DeValue::Table(table) => {
                self.inside(table, |this, key, entry| match key {
                    RetryKey::Tries => doc.tries = this.count(entry),
                    RetryKey::Backoff => doc.backoff = this.duration(entry),
                    RetryKey::MaxBackoff => doc.max_backoff = this.duration(entry),
                });
            }
            _ => {
                self.wrong_type(entry);
                return None;
            }
        }
        Some(doc)
    }

    fn switch<T>(
        &mut self,
        entry: Entry<'a>,
        with: fn(&mut Self, &'a DeTable<'a>, Place) -> T,
    ) -> Option<DocSwitch<T>> {
        let place = self.place(entry.value.span());
        match entry.value.get_ref() {
            DeValue::Boolean(on) => Some(DocSwitch::Plain(Spot::new(*on, place))),
            DeValue::Table(table) => Some(DocSwitch::With(with(self, table, place))),
            _ => {
                self.wrong_type(entry);
                None
            }
        }
    }

    fn breaker(&mut self, table: &'a DeTable<'a>, _: Place) -> DocBreaker {
        let mut doc = DocBreaker { runs: None, within: None, rest: None };
        self.inside(table, |this, key, entry| match key {
            BreakerKey::Runs => doc.runs = this.count(entry),
            BreakerKey::Within => doc.within = this.duration(entry),
            BreakerKey::Rest => doc.rest = this.duration(entry),
        });
        doc
    }

    fn batch(&mut self, table: &'a DeTable<'a>, place: Place) -> DocBatch {
        let mut doc = DocBatch { place, max_items: None, input: None };
        self.inside(table, |this, key, entry| match key {
            BatchKey::MaxItems => doc.max_items = this.count(entry),
            BatchKey::Input => doc.input = this.string(entry),
        });
        doc
    }

    fn rule(&mut self, table: &'a DeTable<'a>, span: Range<usize>) -> DocRule {
        let mut doc = DocRule {
            place: self.place(span),
            lost: Lost::new(),
            action: None,
            src_re: None,
            dst_re: None,
            fault: None,
            auto_create: None,
            overwrite: None,
            filemode: None,
            dirmode: None,
            user: None,
            group: None,
            rec: None,
        };
        doc.lost = self.inside(table, |this, key, entry| match key {
            RuleKey::Action => doc.action = this.string(entry),
            RuleKey::SrcRe => doc.src_re = this.string(entry),
            RuleKey::DstRe => doc.dst_re = this.string(entry),
            RuleKey::AutoCreate => doc.auto_create = this.boolean(entry),
            RuleKey::Overwrite => doc.overwrite = this.boolean(entry),
            RuleKey::Filemode => doc.filemode = this.mode(entry),
            RuleKey::Dirmode => doc.dirmode = this.mode(entry),
            RuleKey::User => doc.user = this.account(entry),
            RuleKey::Group => doc.group = this.account(entry),
            RuleKey::Rec => doc.rec = this.boolean(entry),
        });
        doc
    }

    fn watch(&mut self, table: &'a DeTable<'a>, span: Range<usize>) -> DocWatch {
        let mut doc = DocWatch {
            place: self.place(span),
            lost: Lost::new(),
            path: None,
            rec: None,
            auto_add: None,
            include_filter: Vec::new(),
            exclude_filter: Vec::new(),
            event_map: None,
        };
        doc.lost = self.inside(table, |this, key, entry| match key {
            WatchKey::Path => doc.path = this.paths(entry),
            WatchKey::Rec => doc.rec = this.boolean(entry),
            WatchKey::AutoAdd => doc.auto_add = this.boolean(entry),
            WatchKey::IncludeFilter => doc.include_filter = this.filter(entry),
            WatchKey::ExcludeFilter => doc.exclude_filter = this.filter(entry),
            WatchKey::EventMap => doc.event_map = this.event_map(entry),
        });
        doc
    }

    fn filter(&mut self, entry: Entry<'a>) -> Vec<Spot<DocMatcher>> {
        let mut out = Vec::new();
        match entry.value.get_ref() {
            DeValue::Array(list) => {
                for value in list {
                    self.matcher(Entry { kind: entry.kind, value }, &mut out);
                }
            }
            _ => self.matcher(entry, &mut out),
        }
        out
    }

    fn matcher(&mut self, entry: Entry<'a>, out: &mut Vec<Spot<DocMatcher>>) {
        let place = self.place(entry.value.span());
        match entry.value.get_ref() {
            DeValue::String(regex) => {
                out.push(Spot::new(DocMatcher::Regex(regex.to_string()), place));
            }
            DeValue::Table(table) => {
                let before = out.len();
                let lost = self.inside(table, |this, key, entry| match key {
                    MatcherKey::Glob => out.extend(
                        this.string(entry)
                            .map(|it| Spot::new(DocMatcher::Glob(it.value), it.place)),
                    ),
                    MatcherKey::File => out.extend(
                        this.bytes(entry).map(|it| Spot::new(DocMatcher::File(it.value), it.place)),
                    ),
                });
                if out.len() == before && lost.is_empty() {
                    self.report(
                        Diagnostic::error(&place, "an empty filter matches nothing")
                            .hint("write { glob = \"…\" } or { file = \"…\" }"),
                    );
                }
            }
            _ => self.wrong_type(entry),
        }
    }

    fn event_map(&mut self, entry: Entry<'a>) -> Maybe<Vec<DocBinding>> {
        let place = self.place(entry.value.span());
        self.table(entry)?;
        let mut bindings = Vec::new();
        for (event, value) in self.pairs(entry) {
            let mut orders = Vec::new();
            match value.get_ref() {
                DeValue::String(word) if word == "none" => (),
                DeValue::Array(list) => {
                    for value in list {
                        self.order(value, &mut orders);
                    }
                }
                _ => self.order(value, &mut orders),
            }
            bindings.push(DocBinding { event, orders });
        }
        Some(Spot::new(bindings, place))
    }

    fn order(&mut self, value: &'a Value<'a>, out: &mut Vec<DocOrder>) {
        let entry = Entry { kind: Kind::Names, value };
        match value.get_ref() {
            DeValue::String(_) => out.extend(self.string(entry).map(DocOrder::Schedule)),
            DeValue::Table(table) => {
                let before = out.len();
                let lost = self.inside(table, |this, key, entry| {
                    let names = this.names(entry).into_iter();
                    match key {
                        OrderKey::Schedule => out.extend(names.map(DocOrder::Schedule)),
                        OrderKey::Cancel => out.extend(names.map(DocOrder::Cancel)),
                    }
                });
                if out.len() == before && lost.is_empty() {
                    let place = self.place(value.span());
                    self.report(
                        Diagnostic::error(&place, "this asks nothing of any scheduler")
                            .hint("to ignore an event type, write [] or \"none\""),
                    );
                }
            }
            _ => {
                let place = self.place(value.span());
                let message = format!(
                    "expected a scheduler's name, `{{ cancel = \"name\" }}`, or a list of those, \
                     found {}",
                    values::found(value.get_ref())
                );
                self.report(Diagnostic::error(&place, message));
            }
        }
    }

    /// What is wrong with the syntax, and whether keys may be missing because of it.
    fn syntax(
        &self,
        tree: &DeTable<'_>,
        errors: &[::toml::de::Error],
        broken: &mut Vec<Range<usize>>,
    ) -> (bool, Vec<Diagnostic>) {
        // With more, somebody gave us a file that is no TOML at all.
        const MOST: usize = 100;
        let mut out = Vec::new();
        if !errors.is_empty() {
            self.unclosed(tree, &mut out, broken);
        }
        let mut partial = !broken.is_empty();
        let mut errors: Vec<_> = errors
            .iter()
            .map(|it| (it.span().unwrap_or(self.text.len()..self.text.len()), it.message()))
            .collect();
        errors.sort_by_key(|(span, _)| span.start);
        for (span, message) in errors {
            if out.len() >= MOST {
                broken.push(span.start..self.text.len());
                break;
            }
            if broken.iter().any(|it| it.start <= span.start && span.start <= it.end) {
                // The first mistake of a line brings the parser out of step; what it says about
                // the rest of that line follows from that.
                continue;
            }
            let line = self.line(span.start);
            let place = self.place(span.clone());
            if message == "duplicate key" {
                let word = self.text.get(span).unwrap_or_default();
                let message = format!("`{}` is written twice", shown(word.as_bytes()));
                out.push(Diagnostic::error(&place, message).label("the first is further up"));
                partial |= self.text[line.start..].trim_start().starts_with('[');
            } else {
                out.push(Diagnostic::error(&place, NO_TOML).label(message));
                partial = true;
            }
            broken.push(line);
        }
        (partial, out)
    }

    /// Reports lists and tables without an end: the parser takes in the rest of the file and
    /// complains about every line of it.
    fn unclosed(
        &self,
        table: &DeTable<'_>,
        out: &mut Vec<Diagnostic>,
        broken: &mut Vec<Range<usize>>,
    ) {
        for (_, value) in in_written_order(table) {
            self.unclosed_value(value, out, broken);
        }
    }

    fn unclosed_value(
        &self,
        value: &Value<'_>,
        out: &mut Vec<Diagnostic>,
        broken: &mut Vec<Range<usize>>,
    ) {
        let span = value.span();
        let text = self.text.get(span.clone()).unwrap_or_default();
        let (what, open, close) = match value.get_ref() {
            DeValue::Array(_) => ("list", '[', ']'),
            DeValue::Table(_) => ("table", '{', '}'),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => return,
        };
        // A table with a header has the header for a span.
        if text.starts_with(open) && !text.ends_with(close) {
            let place = self.place(span.start..span.start + 1);
            let label = format!("this {what} is not closed, expected `{close}`");
            out.push(Diagnostic::error(&place, NO_TOML).label(label));
            broken.push(span);
            return;
        }
        if let DeValue::Array(list) = value.get_ref() {
            list.iter().for_each(|value| self.unclosed_value(value, out, broken));
        } else if let DeValue::Table(table) = value.get_ref() {
            self.unclosed(table, out, broken);
        }
    }

    /// The line that holds this byte, without its end.
    fn line(&self, at: usize) -> Range<usize> {
        let at = at.min(self.text.len());
        let bytes = self.text.as_bytes();
        let start = bytes[..at].iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
        let end = bytes[at..].iter().position(|it| *it == b'\n').map_or(bytes.len(), |it| at + it);
        start..end
    }
}

/// The tree is sorted by name; people read from the top.
fn in_written_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a Spanned<::toml::de::DeString<'i>>, &'a Value<'i>)> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(name, _)| name.span().start);
    pairs
}
