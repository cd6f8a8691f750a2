//! What the host of a config.py says was built → [`Document`].
//!
//! The form is in `docs/design/003-python-host.md`. The host writes out what stands in the
//! objects as it is, so any value may be of any type: that is a mistake of whoever wrote the file,
//! and is told with its line. What the values mean is decided by `lower`, as for config.toml.
//!
//! Where the original has other defaults than config.toml, they are written out here.

use std::{collections::BTreeMap, os::unix::ffi::OsStrExt, path::Path, sync::Arc};

use pyinotifyd_core::path::{normalize, shown};

use super::{
    diagnostic::{Diagnostic, Severity},
    document::{
        At, DocAccount, DocAction, DocBatch, DocBinding, DocBreaker, DocDuration, DocFault, DocJob,
        DocLimit, DocLog, DocMatcher, DocMode, DocOrder, DocProcess, DocRetry, DocRule,
        DocScheduler, DocSwitch, DocWatch, Document, Lost, Maybe, Place, Source, Spot,
    },
    environment::Environment,
};
use crate::json::Value;

/// How many runs at once, over all schedulers, unless `Pyinotifyd(slots=…)` says. The original
/// knew no limit; this keeps a burst from taking every process that the machine has. A run in
/// Python is no process, and takes none of these unless a number is given.
pub(super) const SLOTS: i128 = 1024;

/// What a config.py is, as its host describes it.
pub(super) struct Described {
    pub(super) document: Document,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Reads a description. Relative paths in it are below `cwd`.
pub(super) fn document(
    description: &Value,
    main: &Arc<Source>,
    cwd: &Path,
    environment: &Environment,
) -> Described {
    let mut reader = Reader {
        sources: Sources::new(main, environment),
        cwd,
        diagnostics: Vec::new(),
        process: &Value::Null,
    };
    let document = reader.document(description);
    let mut diagnostics = diagnostics(description.get("diagnostics"), &mut reader.sources);
    diagnostics.append(&mut reader.diagnostics);
    Described { document, diagnostics }
}

/// What the host found wrong.
pub(super) fn refusal(
    said: &[Value],
    main: &Arc<Source>,
    environment: &Environment,
) -> Vec<Diagnostic> {
    let mut sources = Sources::new(main, environment);
    said.iter().map(|it| diagnostic(it, &mut sources)).collect()
}

fn diagnostics(said: Option<&Value>, sources: &mut Sources<'_>) -> Vec<Diagnostic> {
    let said = said.and_then(Value::list).unwrap_or_default();
    said.iter().map(|it| diagnostic(it, sources)).collect()
}

fn diagnostic(said: &Value, sources: &mut Sources<'_>) -> Diagnostic {
    let text = |name| said.get(name).and_then(Value::text);
    let place = sources.place(said);
    let mut diagnostic = Diagnostic::error(&place, text("message").unwrap_or_default());
    if text("severity").as_deref() == Some("warning") {
        diagnostic.severity = Severity::Warning;
    }
    let hints = said.get("hints").and_then(Value::list).unwrap_or_default();
    diagnostic.hints = hints.iter().filter_map(Value::text).collect();
    diagnostic.traceback = text("traceback");
    diagnostic
}

/// The files that a config.py is made of.
struct Sources<'a> {
    main: &'a Arc<Source>,
    environment: &'a Environment,
    others: BTreeMap<String, Arc<Source>>,
}

impl<'a> Sources<'a> {
    fn new(main: &'a Arc<Source>, environment: &'a Environment) -> Self {
        Self { main, environment, others: BTreeMap::new() }
    }

    /// Where something was written, as its `file` and `line` say.
    fn place(&mut self, value: &Value) -> Place {
        let source = match value.get("file").and_then(Value::text) {
            Some(file) if file != self.main.name => self.other(file),
            Some(_) | None => Arc::clone(self.main),
        };
        match value.get("line").and_then(Value::int) {
            Some(line) => Place::line(&source, line),
            None => Place::file(&source),
        }
    }

    fn other(&mut self, name: String) -> Arc<Source> {
        let read = self.environment.read;
        let source = self.others.entry(name).or_insert_with_key(|name| {
            let text = read(Path::new(name)).ok().and_then(|it| String::from_utf8(it).ok());
            Arc::new(Source { name: name.clone(), text })
        });
        Arc::clone(source)
    }
}

struct Reader<'a> {
    sources: Sources<'a>,
    cwd: &'a Path,
    diagnostics: Vec<Diagnostic>,
    /// How config.py left its own process: what commands have unless a scheduler says otherwise.
    process: &'a Value,
}

/// An object of config.py, and where it was made.
struct Thing<'a> {
    value: &'a Value,
    place: Place,
}

impl Thing<'_> {
    fn spot<T>(&self, value: T) -> Spot<T> {
        Spot::new(value, self.place.clone())
    }
}

impl<'a> Reader<'a> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn thing(&mut self, value: &'a Value) -> Thing<'a> {
        Thing { value, place: self.sources.place(value) }
    }

    /// What an object has under a name, if it is there and of the right type; `read` says so.
    fn read<T>(
        &mut self,
        thing: &Thing<'a>,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Maybe<T> {
        let value = thing.value.get(key)?;
        let read = read(value);
        if read.is_none() {
            let message = format!("`{key}` has to be {expected}, not {}", kind(value));
            self.report(Diagnostic::error(&thing.place, message));
        }
        read.map(|it| thing.spot(it))
    }

    fn text(&mut self, thing: &Thing<'a>, key: &str) -> Maybe<String> {
        self.read(thing, key, "a str", Value::text)
    }

    fn bool(&mut self, thing: &Thing<'a>, key: &str) -> Maybe<bool> {
        self.read(thing, key, "True or False", Value::bool)
    }

    fn count(&mut self, thing: &Thing<'a>, key: &str) -> Maybe<i128> {
        self.read(thing, key, "a whole number", Value::int)
    }

    fn path(&mut self, thing: &Thing<'a>, key: &str) -> Maybe<Vec<u8>> {
        self.read(thing, key, "a path", |it| it.bytes().map(<[u8]>::to_owned))
    }

    fn duration(&mut self, thing: &Thing<'a>, key: &str) -> Maybe<DocDuration> {
        self.read(thing, key, "a number of seconds", |it| match it {
            Value::Text(_) => it.text().map(DocDuration::Text),
            _ => it.float().map(DocDuration::Seconds),
        })
    }

    fn mode(&mut self, thing: &Thing<'a>, key: &str) -> Maybe<DocMode> {
        self.read(thing, key, "permission bits such as 0o644", |it| match it {
            Value::Text(_) => it.text().map(DocMode::Text),
            _ => it.int().map(DocMode::Bits),
        })
    }

    fn account(&mut self, thing: &Thing<'a>, key: &str) -> Maybe<DocAccount> {
        self.read(thing, key, "a name or an id", |it| match it {
            Value::Text(_) => it.text().map(DocAccount::Name),
            _ => it.int().map(DocAccount::Id),
        })
    }

    fn document(&mut self, value: &'a Value) -> Document {
        self.process = value.get("process").unwrap_or(&Value::Null);
        let source = Arc::clone(self.sources.main);
        let top = Thing { value, place: Place::file(&source) };
        let given = self.count(&top, "slots");
        let slots = given.clone().unwrap_or_else(|| top.spot(SLOTS));
        let all = |key| value.get(key).and_then(Value::list).unwrap_or_default();
        let schedulers =
            all("schedulers").iter().map(|it| self.scheduler(it, given.as_ref())).collect();
        let watches: Vec<_> = all("watches").iter().map(|it| self.watch(it)).collect();
        if watches.is_empty() {
            let warning = Diagnostic::warning(&top.place, "nothing is watched");
            self.report(warning.hint("give Pyinotifyd a Watch"));
        }
        Document {
            broken: false,
            has_python: true,
            // A scheduler that no map names is there for code that asks it, and what has no Watch
            // was told.
            lost: Lost::from(["watch"]),
            shutdown_timeout: self.duration(&top, "shutdown_timeout"),
            state_dir: None,
            control_socket: None,
            metrics_listen: None,
            logname: self.text(&top, "logname"),
            log: DocLog::default(),
            slots: Some(slots),
            schedulers,
            watches,
            source,
        }
    }

    fn watch(&mut self, value: &'a Value) -> DocWatch {
        let thing = self.thing(value);
        let cwd = self.cwd.as_os_str().as_bytes();
        let path = self.read(&thing, "path", "a path or a list of paths", |it| {
            it.list()?.iter().map(Value::bytes).collect::<Option<Vec<_>>>()
        });
        let absolute = |path: &[u8]| match path {
            // That is a mistake, and not the working directory.
            [] => Vec::new(),
            path => normalize(cwd, path),
        };
        let path = path.map(|it| {
            thing.spot(it.value.into_iter().map(|it| thing.spot(absolute(it))).collect())
        });
        let entries = value.get("event_map").and_then(Value::list).unwrap_or_default();
        let bindings: Vec<_> = entries.iter().filter_map(|it| binding(&thing, it)).collect();
        let mut lost = Lost::new();
        if bindings.is_empty() {
            let warning = Diagnostic::warning(&thing.place, "the event map of this Watch is empty");
            self.report(
                warning
                    .label("nothing ever happens")
                    .hint("add an entry such as \"IN_CLOSE_WRITE\": scheduler"),
            );
            lost.push("event_map");
        }
        DocWatch {
            lost,
            path,
            rec: self.bool(&thing, "rec"),
            auto_add: self.bool(&thing, "auto_add"),
            include_filter: self.filter(&thing, "include_filter"),
            exclude_filter: self.filter(&thing, "exclude_filter"),
            event_map: Some(thing.spot(bindings)),
            place: thing.place,
        }
    }

    fn filter(&mut self, thing: &Thing<'a>, key: &str) -> Vec<Spot<DocMatcher>> {
        const EXPECTED: &str = "a list of regular expressions, or the path of a file of them";
        let matcher = |it: &Value| {
            let text = |key| it.get(key)?.text();
            let regex = text("regex").map(DocMatcher::Regex);
            let glob = || text("glob").map(DocMatcher::Glob);
            let file = || Some(DocMatcher::File(it.get("file")?.bytes()?.to_owned()));
            regex.or_else(glob).or_else(file)
        };
        let matchers = self.read(thing, key, EXPECTED, |it| {
            it.list()?.iter().map(matcher).collect::<Option<Vec<_>>>()
        });
        let matchers = matchers.map(|it| it.value).unwrap_or_default();
        matchers.into_iter().map(|it| thing.spot(it)).collect()
    }

    fn scheduler(&mut self, value: &'a Value, all: Option<&Spot<i128>>) -> DocScheduler {
        let thing = self.thing(value);
        let name = value.get("name").and_then(Value::text).unwrap_or_default();
        let action = value.get("action").unwrap_or(&Value::Null);
        let process = match action.get("shell") {
            Some(_) => self.process(&thing),
            None => DocProcess::default(),
        };
        DocScheduler {
            actions: self.action(&thing, action).into_iter().collect(),
            logname: self.text(&thing, "logname"),
            files: self.bool(&thing, "files"),
            dirs: self.bool(&thing, "dirs"),
            delay: self.duration(&thing, "delay"),
            max_wait: self.duration(&thing, "max_wait"),
            ready: self.ready(&thing),
            singlejob: self.bool(&thing, "singlejob"),
            busy: self.text(&thing, "busy"),
            // Its own default would be few: the original knew no limit.
            slots: self.slots(&thing, action, all),
            timeout: self.duration(&thing, "timeout"),
            kill_after: self.duration(&thing, "kill_after"),
            retry: self.retry(&thing),
            follow: self.bool(&thing, "follow"),
            breaker: self.breaker(&thing),
            batch: self.batch(&thing),
            on_crash: self.text(&thing, "on_crash"),
            include_filter: self.filter(&thing, "include_filter"),
            exclude_filter: self.filter(&thing, "exclude_filter"),
            process,
            ..DocScheduler::new(thing.spot(name))
        }
    }

    fn slots(
        &mut self,
        thing: &Thing<'a>,
        action: &Value,
        all: Option<&Spot<i128>>,
    ) -> Maybe<i128> {
        let own = self.count(thing, "slots");
        // It gets each event at once: those about one path that waited would become one.
        if action.get("call").is_some() {
            return None;
        }
        let all = all.map(|it| it.value);
        let most = if action.get("python").is_some() { all } else { Some(all.unwrap_or(SLOTS)) };
        own.or_else(|| most.map(|it| thing.spot(it)))
    }

    fn ready(&mut self, thing: &Thing<'a>) -> Vec<Spot<String>> {
        const EXPECTED: &str = "a condition such as \"closed\", or a list of them";
        let conditions = self.read(thing, "ready", EXPECTED, |it| match it.list() {
            Some(list) => list.iter().map(Value::text).collect(),
            None => it.text().map(|it| vec![it]),
        });
        let conditions = conditions.map(|it| it.value).unwrap_or_default();
        conditions.into_iter().map(|it| thing.spot(it)).collect()
    }

    fn action(&mut self, thing: &Thing<'a>, action: &'a Value) -> Option<DocAction> {
        if action.get("shell").is_some() {
            let inner = Thing { value: action, place: thing.place.clone() };
            return self.text(&inner, "shell").map(DocAction::Shell);
        }
        if let Some(rules) = action.get("rules").and_then(Value::list) {
            let rules = rules.iter().map(|it| self.rule(it)).collect();
            return Some(DocAction::Rules(thing.spot(rules)));
        }
        let id = action.get("python").or_else(|| action.get("call"))?.int()?;
        let name = action.get("name").and_then(Value::text).unwrap_or_default();
        Some(DocAction::Hosted(thing.spot(DocJob { id, name })))
    }

    fn rule(&mut self, value: &'a Value) -> DocRule {
        let thing = self.thing(value);
        let action = self.text(&thing, "action");
        // Not given is the same as empty, as everywhere in the original.
        let dst_re = self.text(&thing, "dst_re").filter(|it| !it.value.is_empty());
        let deletes = action.as_ref().is_some_and(|it| it.value == "delete");
        if let (true, Some(_)) = (deletes, &dst_re) {
            let message = "the `dst_re` of a rule that deletes has no effect";
            self.report(Diagnostic::warning(&thing.place, message).hint("leave it out"));
        }
        DocRule {
            lost: Lost::new(),
            action,
            src_re: self.text(&thing, "src_re"),
            dst_re: dst_re.filter(|_| !deletes),
            fault: value.get("fault").and_then(|it| {
                let message = it.get("message")?.text()?;
                Some(DocFault { in_destination: it.get("in")?.bytes()? == b"dst_re", message })
            }),
            auto_create: self.bool(&thing, "auto_create"),
            overwrite: self.bool(&thing, "overwrite"),
            filemode: self.mode(&thing, "filemode"),
            dirmode: self.mode(&thing, "dirmode"),
            user: self.account(&thing, "user"),
            group: self.account(&thing, "group"),
            rec: self.bool(&thing, "rec"),
            place: thing.place,
        }
    }

    /// A key that holds an object with these keys.
    fn nested(
        &mut self,
        thing: &Thing<'a>,
        key: &str,
        value: &'a Value,
        known: &[&str],
    ) -> Option<Thing<'a>> {
        let Value::Map(entries) = value else {
            let message = format!("`{key}` cannot be {}", kind(value));
            self.report(Diagnostic::error(&thing.place, message));
            return None;
        };
        for (name, _) in entries {
            if !known.iter().any(|it| it.as_bytes() == name) {
                let message = format!("`{key}` has no `{}`", shown(name));
                let hint = format!("there are: {}", known.join(", "));
                self.report(Diagnostic::error(&thing.place, message).hint(hint));
            }
        }
        Some(Thing { value, place: thing.place.clone() })
    }

    fn retry(&mut self, thing: &Thing<'a>) -> Option<DocRetry> {
        let value = thing.value.get("retry")?;
        if let Some(tries) = value.int() {
            let tries = Some(thing.spot(tries));
            return Some(DocRetry { tries, backoff: None, max_backoff: None });
        }
        let inner = self.nested(thing, "retry", value, &["tries", "backoff", "max_backoff"])?;
        Some(DocRetry {
            tries: self.count(&inner, "tries"),
            backoff: self.duration(&inner, "backoff"),
            max_backoff: self.duration(&inner, "max_backoff"),
        })
    }

    fn breaker(&mut self, thing: &Thing<'a>) -> Option<DocSwitch<DocBreaker>> {
        let value = thing.value.get("breaker")?;
        if let Some(is_on) = value.bool() {
            return Some(DocSwitch::Plain(thing.spot(is_on)));
        }
        let inner = self.nested(thing, "breaker", value, &["runs", "within", "rest"])?;
        Some(DocSwitch::With(DocBreaker {
            runs: self.count(&inner, "runs"),
            within: self.duration(&inner, "within"),
            rest: self.duration(&inner, "rest"),
        }))
    }

    fn batch(&mut self, thing: &Thing<'a>) -> Option<DocSwitch<DocBatch>> {
        let value = thing.value.get("batch")?;
        if let Some(is_on) = value.bool() {
            return Some(DocSwitch::Plain(thing.spot(is_on)));
        }
        let inner = self.nested(thing, "batch", value, &["max_items", "input"])?;
        Some(DocSwitch::With(DocBatch {
            place: thing.place.clone(),
            max_items: self.count(&inner, "max_items"),
            input: self.text(&inner, "input"),
        }))
    }

    /// How a command is run: as the scheduler says, else as config.py left its own process.
    fn process(&mut self, thing: &Thing<'a>) -> DocProcess {
        let left = Thing { value: self.process, place: Place::file(self.sources.main) };
        let mut env = self.env(&left);
        for (name, value) in self.env(thing) {
            env.retain(|(it, _)| it.value != name.value);
            env.push((name, value));
        }
        let mut rlimits = self.rlimits(&left);
        for (name, limit) in self.rlimits(thing) {
            rlimits.retain(|(it, _)| it.value != name.value);
            rlimits.push((name, limit));
        }
        DocProcess {
            user: self.account(thing, "user"),
            group: self.account(thing, "group"),
            env,
            cwd: self.path(thing, "cwd").or_else(|| self.path(&left, "cwd")),
            umask: self.mode(thing, "umask").or_else(|| self.mode(&left, "umask")),
            nice: self.count(thing, "nice").or_else(|| self.count(&left, "nice")),
            rlimits,
            output: self
                .text(thing, "output")
                // A level for it says that it is to be logged.
                .or_else(|| {
                    let inherits = thing.value.get("output_level").is_none();
                    inherits.then(|| thing.spot("inherit".to_owned()))
                }),
            output_level: self.text(thing, "output_level"),
        }
    }

    fn env(&mut self, thing: &Thing<'a>) -> Vec<(Spot<String>, Maybe<Vec<u8>>)> {
        let Some(value) = thing.value.get("env") else { return Vec::new() };
        let Value::Map(entries) = value else {
            let message = format!("`env` has to be a dict, not {}", kind(value));
            self.report(Diagnostic::error(&thing.place, message));
            return Vec::new();
        };
        let mut env = Vec::new();
        for (name, value) in entries {
            let value = match value {
                Value::Text(value) => Some(thing.spot(value.clone())),
                Value::Null | Value::Bool(false) => None,
                other => {
                    let message =
                        format!("`{}` in `env` has to be a str, not {}", shown(name), kind(other));
                    let hint = "None takes a variable out";
                    self.report(Diagnostic::error(&thing.place, message).hint(hint));
                    continue;
                }
            };
            env.push((thing.spot(String::from_utf8_lossy(name).into_owned()), value));
        }
        env
    }

    fn rlimits(&mut self, thing: &Thing<'a>) -> Vec<(Spot<String>, Spot<DocLimit>)> {
        let Some(value) = thing.value.get("rlimits") else { return Vec::new() };
        let Value::Map(entries) = value else {
            let message = format!("`rlimits` has to be a dict, not {}", kind(value));
            self.report(Diagnostic::error(&thing.place, message));
            return Vec::new();
        };
        let mut limits = Vec::new();
        for (name, value) in entries {
            let soft = value.list().and_then(<[Value]>::first).unwrap_or(value);
            let limit = match soft {
                // RLIM_INFINITY of Python's `resource`.
                Value::Int(-1) => DocLimit::Text("unlimited".into()),
                Value::Int(number) => DocLimit::Number(*number),
                other => DocLimit::Text(other.text().unwrap_or_default()),
            };
            let name = String::from_utf8_lossy(name).into_owned();
            limits.push((thing.spot(name), thing.spot(limit)));
        }
        limits
    }
}

/// `[event type, [[kind, scheduler name], …]]`.
fn binding(thing: &Thing<'_>, value: &Value) -> Option<DocBinding> {
    let [event, orders] = value.list()? else { return None };
    let event = event.text()?;
    let order = |it: &Value| {
        let [kind, name] = it.list()? else { return None };
        let name = thing.spot(name.text()?);
        Some(match kind.bytes()? {
            b"cancel" => DocOrder::Cancel(name),
            _ => DocOrder::Schedule(name),
        })
    };
    Some(DocBinding {
        event: Spot::new(event.clone(), quoted(&thing.place, &event)),
        orders: orders.list()?.iter().filter_map(order).collect(),
    })
}

/// Where a text stands in quotes, as near to a place as possible; else that place.
fn quoted(near: &Place, text: &str) -> Place {
    let (Some(source), At::Line(line)) = (&near.source.text, &near.at) else { return near.clone() };
    let quotes = [format!("'{text}'"), format!("\"{text}\"")];
    let found = quotes.iter().flat_map(|it| source.match_indices(it.as_str()));
    let distance = |at: usize| (source[..at].matches('\n').count() + 1).abs_diff(*line);
    match found.min_by_key(|(at, _)| distance(*at)) {
        Some((at, found)) => Place::span(&near.source, at..at + found.len()),
        None => near.clone(),
    }
}

/// What Python calls it.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => format!("'{}'", shown(text)),
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a dict".into(),
    }
}
