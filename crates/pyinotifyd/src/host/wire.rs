//! What is said over the link between the daemon and a host, as types and as bytes.
//!
//! A frame is a length (`u32`, little endian) and a JSON array of messages; a message is an array
//! that begins with its type. Neither side trusts the other: a frame that is longer than
//! [`LONGEST`], or no JSON, or holds a message that is not as it should be, is an error, and then
//! the host is not listened to any more.

use std::{collections::BTreeMap, fmt, io::Write, sync::Arc};

use pyinotifyd_core::{
    event::{Event, Mask, Origin},
    filerule::Answers,
    record::Wd,
    task::{OrderKind, RunId, RunTask},
};

use crate::json::{self, Value};

/// The most bytes in a frame.
pub(crate) const LONGEST: usize = 64 << 20;

/// The version of what is said.
pub(crate) const PROTOCOL: u32 = 1;

/// What a host says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FromHost {
    /// The first message.
    Hello {
        /// As its interpreter names it: `3.11.7`.
        python: String,
    },
    /// What config.py built.
    Document(Value),
    /// What is wrong with config.py.
    Refused(Vec<Value>),
    /// A run has ended.
    Ended(RunId, How),
    /// The jobs of these runs have returned.
    Done(Vec<RunId>),
    /// What the rules of a run match, for each of its tasks; or why that cannot be said.
    Matched(RunId, Result<Vec<Answers>, String>),
    /// Code asks something of a scheduler.
    Order {
        /// What.
        kind: OrderKind,
        /// Of whom.
        scheduler: String,
        /// Why.
        event: Event,
    },
    /// Code wants the rules of a scheduler to be applied now.
    Files {
        /// What the answer is known by.
        call: u64,
        /// Whose rules.
        scheduler: String,
        /// To what.
        event: Event,
        /// The task that asks.
        task: Option<String>,
    },
    /// A record for the log.
    Log(Line),
    /// How `logging` is configured.
    Logging(Logging),
    /// A task holds the loop.
    Blocked {
        /// Which, if that is known.
        run: Option<RunId>,
        /// For how long.
        seconds: f64,
        /// Where it is.
        stack: String,
    },
    /// The loop is alive.
    Pong(u64),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The job returned.
    Done(Option<String>),
    /// The job raised.
    Failed(String),
    /// The job gave way.
    Cancelled,
}

/// A record that Python made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// A number of Python's: 20 is INFO.
    pub(crate) level: u32,
    /// Who says it.
    pub(crate) logname: String,
    /// What, in one line or several.
    pub(crate) text: Vec<u8>,
    /// When, in seconds since 1970-01-01 00:00 UTC.
    pub(crate) created: f64,
}

/// How `logging` is configured, as far as the daemon's records are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Logging {
    /// The level of each logger that has one; `""` is the root.
    pub(crate) levels: BTreeMap<Box<str>, u32>,
    /// Whether the default handler is there, as it was.
    pub(crate) stderr: bool,
    /// The loggers that have handlers of their own.
    pub(crate) forward: Vec<Box<str>>,
    /// The loggers of which Python decides where their records go, with all below them.
    pub(crate) apart: Vec<Box<str>>,
}

/// A host said something that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it said what cannot be understood: {0}")]
pub(crate) struct WireError(String);

/// Makes messages of bytes, however they come.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// How many of them were decoded.
    at: usize,
}

impl Decoder {
    /// Takes what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The messages of the next frame, if all of it is there.
    ///
    /// # Errors
    ///
    /// [`WireError`].
    pub(crate) fn frame(&mut self) -> Result<Option<Vec<FromHost>>, WireError> {
        let Some((length, rest)) = self.bytes[self.at..].split_first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST {
            return Err(WireError(format!("a frame of {length} bytes")));
        }
        let Some(text) = rest.get(..length) else { return Ok(None) };
        let frame = Value::parse(text).map_err(|error| WireError(error.to_string()))?;
        self.at += 4 + length;
        let messages = frame.list().ok_or_else(|| WireError("a frame that is no array".into()))?;
        messages.iter().map(message).collect::<Result<_, _>>().map(Some)
    }
}

fn message(value: &Value) -> Result<FromHost, WireError> {
    let items = value.list().unwrap_or_default();
    let word = items.first().and_then(Value::text).unwrap_or_default();
    read(&word, items.get(1..).unwrap_or_default()).ok_or_else(|| {
        WireError(match &*word {
            "" => "a message without a name".to_owned(),
            word => format!("a message `{}`", word.escape_default()),
        })
    })
}

fn read(word: &str, items: &[Value]) -> Option<FromHost> {
    let maybe = |it: &Value| it.text().filter(|it| !it.is_empty());
    Some(match (word, items) {
        ("hello", [about]) => {
            if about.get("protocol")?.int::<u32>()? != PROTOCOL {
                return None;
            }
            FromHost::Hello { python: about.get("python")?.text()? }
        }
        ("document", [document]) => FromHost::Document(document.clone()),
        ("refused", [said]) => FromHost::Refused(said.list()?.to_vec()),
        ("ended", [Value::List(runs), Value::Text(status), Value::Null]) if status == b"done" => {
            FromHost::Done(runs.iter().map(|it| it.int().map(RunId)).collect::<Option<_>>()?)
        }
        ("ended", [run, status, text]) => {
            let how = match status.bytes()? {
                b"done" => How::Done(maybe(text)),
                b"failed" => How::Failed(maybe(text).unwrap_or_else(|| "failed".to_owned())),
                b"cancelled" => How::Cancelled,
                _ => return None,
            };
            FromHost::Ended(RunId(run.int()?), how)
        }
        ("matched", [run, answers, text]) => {
            let path = |it: &Value| match it {
                Value::Null => Some(None),
                it => it.bytes().map(|it| Some(it.to_owned())),
            };
            let task = |it: &Value| it.list()?.iter().map(path).collect::<Option<Answers>>();
            let answers = match answers {
                Value::Null => Err(maybe(text).unwrap_or_else(|| "failed".to_owned())),
                it => Ok(it.list()?.iter().map(task).collect::<Option<_>>()?),
            };
            FromHost::Matched(RunId(run.int()?), answers)
        }
        ("order", [kind, scheduler, about, subject]) => FromHost::Order {
            kind: match kind.bytes()? {
                b"schedule" => OrderKind::Schedule,
                b"cancel" => OrderKind::Cancel,
                _ => return None,
            },
            scheduler: scheduler.text()?,
            event: Event { subject: subject.bytes().map(Into::into), ..event(about)? },
        },
        ("files", [call, scheduler, about, task]) => FromHost::Files {
            call: call.int()?,
            scheduler: scheduler.text()?,
            event: event(about)?,
            task: task.text(),
        },
        ("log", [level, logname, text, created, _]) => FromHost::Log(Line {
            level: level_of(level)?,
            logname: logname.text()?,
            text: text.bytes()?.to_owned(),
            created: created.float()?,
        }),
        ("logging", [about]) => FromHost::Logging(logging(about)?),
        ("blocked", [run, seconds, stack]) => FromHost::Blocked {
            run: run.int().map(RunId),
            seconds: seconds.float()?,
            stack: stack.text()?,
        },
        ("pong", [number]) => FromHost::Pong(number.int()?),
        _ => return None,
    })
}

/// A level: any number in Python; below zero none is.
fn level_of(value: &Value) -> Option<u32> {
    match value {
        Value::Int(level) => {
            Some(u32::try_from(*level).unwrap_or(if *level < 0 { 0 } else { u32::MAX }))
        }
        _ => None,
    }
}

fn logging(about: &Value) -> Option<Logging> {
    let Value::Map(levels) = about.get("levels")? else { return None };
    let levels = levels
        .iter()
        .map(|(name, level)| Some((String::from_utf8_lossy(name).into(), level_of(level)?)));
    let names = |key| -> Option<Vec<Box<str>>> {
        about.get(key)?.list()?.iter().map(|it| it.text().map(Into::into)).collect()
    };
    Some(Logging {
        levels: levels.collect::<Option<_>>()?,
        stderr: about.get("stderr")?.bool()?,
        forward: names("forward")?,
        apart: names("apart")?,
    })
}

/// An event that code has made, or changed, or passes on. What is missing in it is made up.
fn event(about: &Value) -> Option<Event> {
    let mask = Mask(about.get("mask")?.int()?);
    let path = |name| Some(about.get(name)?.bytes()?.into());
    let pathname: Arc<[u8]> = path("pathname")?;
    let name = about.get("name").and_then(Value::bytes).unwrap_or_default();
    let name_len = if pathname.ends_with(name) { name.len() } else { 0 };
    let origin = about.get("origin").and_then(Value::text);
    let all = [Origin::Live, Origin::Scan, Origin::Recovered];
    Some(Event {
        event_type: mask.event_type()?,
        mask,
        is_dir: about.get("dir").and_then(Value::bool).unwrap_or(mask.is_dir()),
        src_pathname: path("src_pathname"),
        name_len: u16::try_from(name_len).unwrap_or(0),
        root_len: 0,
        wd: Wd(about.get("wd").and_then(Value::int).unwrap_or(-1)),
        cookie: about.get("cookie").and_then(Value::int).unwrap_or(0),
        origin: all
            .into_iter()
            .find(|it| Some(it.name()) == origin.as_deref())
            .unwrap_or(Origin::Live),
        pathname,
        subject: None,
    })
}

/// What a host is told.
#[derive(Clone, Copy)]
pub(crate) enum ToHost<'a> {
    /// The first frame.
    Start {
        /// Modules by name: the text, and whether it is a package.
        modules: &'a [(&'a str, &'a str, bool)],
        /// The path of config.py.
        config: &'a [u8],
        /// `--debug`.
        debug: bool,
        /// The program's own command line, as `sys.argv`.
        argv: &'a [Vec<u8>],
    },
    /// Run a job.
    Run(RunId, u64, &'a RunTask),
    /// Say what these rules, each a pattern and maybe a substitution, make of the paths of these
    /// tasks.
    Match(RunId, &'a [(&'a str, Option<&'a str>)], &'a [RunTask]),
    /// Cancel a run.
    Stop(RunId),
    /// A record for Python's handlers: level, logname, message, seconds since 1970, task.
    Log(u32, &'a str, &'a dyn fmt::Display, f64, Option<&'a dyn fmt::Display>),
    /// The answer to [`FromHost::Files`]: whether it went well, and what happened.
    Done(u64, bool, &'a str),
    /// Is the loop alive?
    Ping(u64),
    /// No more runs come.
    End,
}

impl ToHost<'_> {
    /// Appends the message, in nothing but ASCII.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let number = |out: &mut Vec<u8>, text: fmt::Arguments<'_>| {
            out.write_fmt(text).expect("a Vec takes all");
        };
        match *self {
            Self::Start { modules, config, debug, argv } => {
                number(out, format_args!("[\"start\",{{\"protocol\":{PROTOCOL},\"modules\":{{"));
                for (at, (name, source, package)) in modules.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    number(out, format_args!("{comma}\"{name}\":{{\"source\":"));
                    json::bytes(out, source.as_bytes());
                    number(out, format_args!(",\"package\":{package}}}"));
                }
                out.extend_from_slice(b"},\"config\":");
                json::bytes(out, config);
                out.extend_from_slice(b",\"argv\":[");
                for (at, word) in argv.iter().enumerate() {
                    out.extend_from_slice(if at == 0 { b"" } else { b"," });
                    json::bytes(out, word);
                }
                out.push(b']');
                let version = env!("CARGO_PKG_VERSION");
                number(out, format_args!(",\"debug\":{debug},\"version\":\"{version}\"}}]"));
            }
            Self::Run(run, job, task) => {
                number(out, format_args!("[\"run\",{},{job},\"{}\",", run.0, task.id));
                write_event(out, &task.event);
                number(out, format_args!(",{}]", task.attempt));
            }
            Self::Match(run, rules, tasks) => {
                number(out, format_args!("[\"match\",{},[", run.0));
                for (at, (src_re, dst_re)) in rules.iter().enumerate() {
                    out.extend_from_slice(if at == 0 { b"[" } else { b",[" });
                    json::bytes(out, src_re.as_bytes());
                    out.push(b',');
                    match dst_re {
                        Some(text) => json::bytes(out, text.as_bytes()),
                        None => out.extend_from_slice(b"null"),
                    }
                    out.push(b']');
                }
                out.extend_from_slice(b"],[");
                for (at, task) in tasks.iter().enumerate() {
                    out.extend_from_slice(if at == 0 { b"" } else { b"," });
                    json::bytes(out, &task.event.pathname);
                }
                out.extend_from_slice(b"]]");
            }
            Self::Stop(run) => number(out, format_args!("[\"stop\",{}]", run.0)),
            Self::Log(level, logname, message, created, task) => {
                number(out, format_args!("[\"log\",{level},"));
                json::bytes(out, logname.as_bytes());
                out.push(b',');
                json::bytes(out, message.to_string().as_bytes());
                match task {
                    Some(task) => number(out, format_args!(",{created:.6},\"{task}\"]")),
                    None => number(out, format_args!(",{created:.6},null]")),
                }
            }
            Self::Done(call, ok, text) => {
                number(out, format_args!("[\"done\",{call},{ok},"));
                match text {
                    "" => out.extend_from_slice(b"null"),
                    text => json::bytes(out, text.as_bytes()),
                }
                out.push(b']');
            }
            Self::Ping(count) => number(out, format_args!("[\"ping\",{count}]")),
            Self::End => out.extend_from_slice(b"[\"end\"]"),
        }
    }
}

fn write_event(out: &mut Vec<u8>, event: &Event) {
    let mask = event.mask;
    write!(out, "{{\"mask\":{},\"wd\":{},\"path\":", mask.0, event.wd.0).expect("a Vec takes all");
    json::bytes(out, event.path());
    out.extend_from_slice(b",\"name\":");
    json::bytes(out, event.name());
    out.extend_from_slice(b",\"pathname\":");
    json::bytes(out, &event.pathname);
    if mask.intersects(Mask(0xc0)) {
        write!(out, ",\"cookie\":{}", event.cookie).expect("a Vec takes all");
    }
    if let Some(src) = &event.src_pathname {
        out.extend_from_slice(b",\"src_pathname\":");
        json::bytes(out, src);
    }
    if event.is_dir && !mask.is_dir() {
        // The kernel does not say so of the watched item itself.
        out.extend_from_slice(b",\"dir\":true");
    }
    write!(out, ",\"origin\":\"{}\"}}", event.origin.name()).expect("a Vec takes all");
}

/// Frames of messages, in their order. A frame is begun as soon as the one before has enough.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Where the frame that messages are added to begins; `None`: there is none.
    open: Option<usize>,
    /// What the last message has runs of, if one that is like them can be said shortly.
    last: Option<Last>,
}

/// Runs that have all in common but their ids, their masks and the names of their files.
#[derive(Debug)]
struct Last {
    job: u64,
    wd: Wd,
    /// Of the last of them; the path of its directory is in it.
    event: Arc<Event>,
    /// Whether the message is `runs`, which can be added to.
    is_open: bool,
}

impl Last {
    fn is_like(&self, job: u64, event: &Event) -> bool {
        self.job == job && self.wd == event.wd && self.event.path() == event.path()
    }
}

/// Whether an event is one of those that [`Last`] is for.
fn is_simple(task: &RunTask) -> bool {
    let event = &task.event;
    event.origin == Origin::Live
        && event.src_pathname.is_none()
        && task.attempt == 1
        && !event.mask.intersects(Mask(0xc0))
        && event.name_len > 0
        && event.path() != b"/"
}

/// A frame with more than this is not added to.
const ENOUGH: usize = 256 << 10;

impl Frames {
    /// Appends a message.
    pub(crate) fn push(&mut self, message: &ToHost<'_>) {
        self.last = None;
        self.begin();
        message.write(&mut self.bytes);
    }

    /// Appends a run of a job. A flood of those is what a busy host gets, and then each is like the
    /// one before.
    pub(crate) fn push_run(&mut self, run: RunId, job: u64, task: &RunTask) {
        let is_full = self.open.is_some_and(|it| self.bytes.len() - it > ENOUGH);
        if !is_simple(task) {
            return self.push(&ToHost::Run(run, job, task));
        }
        match self.last.take().filter(|it| !is_full && it.is_like(job, &task.event)) {
            None => {
                self.push(&ToHost::Run(run, job, task));
                let (wd, event) = (task.event.wd, Arc::clone(&task.event));
                self.last = Some(Last { job, wd, event, is_open: false });
                return;
            }
            Some(last) if last.is_open => {
                // What it ends with.
                self.bytes.truncate(self.bytes.len() - 2);
                self.bytes.push(b',');
                self.last = Some(last);
            }
            Some(last) => {
                self.begin();
                write!(self.bytes, "[\"runs\",{job},").expect("a Vec takes all");
                json::bytes(&mut self.bytes, task.event.path());
                write!(self.bytes, ",{},[", task.event.wd.0).expect("a Vec takes all");
                self.last = Some(Last { is_open: true, ..last });
            }
        }
        write!(self.bytes, "{},\"{}\",{},", run.0, task.id, task.event.mask.0)
            .expect("a Vec takes all");
        json::bytes(&mut self.bytes, task.event.name());
        self.bytes.extend_from_slice(b"]]");
    }

    /// Makes room for a message.
    fn begin(&mut self) {
        if self.open.is_some_and(|it| self.bytes.len() - it > ENOUGH) {
            self.close();
        }
        if self.open.is_some() {
            self.bytes.push(b',');
        } else {
            self.open = Some(self.bytes.len());
            self.bytes.extend_from_slice(b"\0\0\0\0[");
        }
    }

    fn close(&mut self) {
        self.last = None;
        let Some(start) = self.open.take() else { return };
        self.bytes.push(b']');
        let length = u32::try_from(self.bytes.len() - start - 4).expect("a frame is not that long");
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All that was pushed, to be sent.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.close();
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;
    use pyinotifyd_core::task::TaskId;

    use super::*;

    #[test]
    fn what_cannot_be_understood_is_told() {
        let frame = |text: &str| {
            [&u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
        };
        let texts = [
            "{",
            "{}",
            "[1]",
            r#"[["hello",{"protocol":2,"python":"3.12"}]]"#,
            r#"[["fare\n\u001bwell"]]"#,
            r#"[["ended","x","done",null]]"#,
            r#"[["log",20,"root"]]"#,
        ];
        let mut told = texts
            .map(|text| {
                let mut decoder = Decoder::default();
                decoder.push(&frame(text));
                format!("{text}: {}", decoder.frame().unwrap_err())
            })
            .to_vec();
        let mut decoder = Decoder::default();
        decoder.push(&[0xff; 4]);
        told.push(decoder.frame().unwrap_err().to_string());
        insta::assert_snapshot!("errors", told.join("\n"));
    }

    /// `value` with what is different each time (`"*"`) filled in with `"1"`, or `1` in a list.
    fn filled(value: &Value, in_list: bool) -> Value {
        match value {
            Value::Text(text) if text == b"*" && in_list => Value::Int(1),
            Value::Text(text) if text == b"*" => Value::Text(b"1".to_vec()),
            Value::List(items) => Value::List(items.iter().map(|it| filled(it, true)).collect()),
            Value::Map(entries) => Value::Map(
                entries.iter().map(|(name, it)| (name.clone(), filled(it, false))).collect(),
            ),
            other => other.clone(),
        }
    }

    /// The same with all names in order: an object's order means nothing.
    fn sorted(value: &Value) -> Value {
        match value {
            Value::List(items) => Value::List(items.iter().map(sorted).collect()),
            Value::Map(entries) => {
                let mut entries: Vec<_> =
                    entries.iter().map(|(name, it)| (name.clone(), sorted(it))).collect();
                entries.sort_by(|one, other| one.0.cmp(&other.0));
                Value::Map(entries)
            }
            other => other.clone(),
        }
    }

    fn written(message: &ToHost<'_>) -> Value {
        let mut frames = Frames::default();
        frames.push(message);
        let bytes = frames.take();
        let (length, text) = bytes.split_first_chunk().unwrap();
        assert_eq!(u32::from_le_bytes(*length) as usize, text.len());
        assert!(text.is_ascii());
        Value::parse(text).unwrap().list().unwrap()[0].clone()
    }

    /// What a message of the daemon's in a transcript would be if this daemon wrote it.
    fn rewritten(items: &[Value]) -> Value {
        // `null` is as good as nothing.
        let text = |it: &Value| it.text().unwrap_or_default();
        match (text(&items[0]).as_str(), &items[1..]) {
            ("run", [run, job, _, about, attempt]) => {
                let attempt = attempt.int().unwrap();
                let event = event(about).unwrap().into();
                let task = RunTask { id: TaskId(0), event, attempt };
                written(&ToHost::Run(RunId(run.int().unwrap()), job.int().unwrap(), &task))
            }
            ("match", [run, rules, paths]) => {
                let rules: Vec<_> =
                    rules.list().unwrap().iter().map(|it| it.list().unwrap()).collect();
                let rules: Vec<_> =
                    rules.iter().map(|it| (it[0].text().unwrap(), it[1].text())).collect();
                let rules: Vec<_> =
                    rules.iter().map(|(src, dst)| (src.as_str(), dst.as_deref())).collect();
                let task = |path: &Value| {
                    let about = [("mask", Value::Int(8)), ("pathname", path.clone())];
                    let about = about.map(|(name, it)| (name.into(), it));
                    let event = event(&Value::Map(about.into())).unwrap().into();
                    RunTask { id: TaskId(0), event, attempt: 1 }
                };
                let tasks: Vec<_> = paths.list().unwrap().iter().map(task).collect();
                written(&ToHost::Match(RunId(run.int().unwrap()), &rules, &tasks))
            }
            ("stop", [run]) => written(&ToHost::Stop(RunId(run.int().unwrap()))),
            ("log", [level, logname, message, created, task]) => {
                let task = task.text();
                written(&ToHost::Log(
                    level.int().unwrap(),
                    &text(logname),
                    &text(message),
                    created.float().unwrap(),
                    task.as_ref().map(|it| it as _),
                ))
            }
            ("done", [call, ok, said]) => {
                written(&ToHost::Done(call.int().unwrap(), ok.bool().unwrap(), &text(said)))
            }
            ("ping", [count]) => written(&ToHost::Ping(count.int().unwrap())),
            ("end", []) => written(&ToHost::End),
            (word, _) => panic!("nobody says {word}"),
        }
    }

    /// The same transcripts are played to the host, by its own tests.
    #[test]
    fn transcripts_are_what_is_said_and_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/protocol");
        let (mut understood, mut said) = (0, 0);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|it| it != "jsonl") {
                continue;
            }
            for line in fs::read_to_string(&path).unwrap().lines() {
                let line = Value::parse(line.as_bytes()).unwrap();
                let message = line.get("message").unwrap();
                let items = message.list().unwrap();
                if line.get("to").unwrap().text().unwrap() == "daemon" {
                    let heard = super::message(&filled(message, false));
                    heard.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                    understood += 1;
                } else if items[0].text().unwrap() != "start" {
                    let mut expected = items.to_vec();
                    if items[0].text().unwrap() == "run" {
                        expected[3] = Value::Text(TaskId(0).to_string().into());
                    }
                    let (ours, theirs) =
                        (sorted(&rewritten(items)), sorted(&Value::List(expected)));
                    assert_eq!(ours, theirs, "{}", path.display());
                    said += 1;
                }
            }
        }
        assert!(understood > 20 && said > 10, "{understood} understood, {said} said");
    }

    #[test]
    fn a_frame_may_come_in_any_pieces() {
        let text = br#"[["pong", 7], ["ended", 1, "failed", "ValueError: \udcff"]]"#;
        let mut bytes = Vec::from(u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(text);
        let twice = [&bytes[..], &bytes].concat();
        for size in 1..=twice.len() {
            let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
            for piece in twice.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.frame().unwrap() {
                    heard.extend(frame);
                }
            }
            assert_eq!(heard.len(), 4);
            assert_eq!(heard[2], FromHost::Pong(7));
            let text = "ValueError: \u{fffd}".to_owned();
            assert_eq!(heard[3], FromHost::Ended(RunId(1), How::Failed(text)));
        }
    }

    #[test]
    fn runs_that_are_alike_share_a_message() {
        let event = |pathname: &str, mask: u32| {
            let name_len = pathname.rsplit('/').next().unwrap().len();
            Arc::new(Event {
                event_type: Mask(mask).event_type().unwrap(),
                mask: Mask(mask),
                is_dir: false,
                pathname: pathname.as_bytes().into(),
                src_pathname: None,
                name_len: name_len.try_into().unwrap(),
                root_len: 0,
                wd: Wd(1),
                cookie: 0,
                origin: Origin::Live,
                subject: None,
            })
        };
        let mut frames = Frames::default();
        let mut run = 0;
        let mut push = |frames: &mut Frames, job, pathname, mask, attempt| {
            run += 1;
            let task = RunTask { id: TaskId(run.into()), event: event(pathname, mask), attempt };
            frames.push_run(RunId(run), job, &task);
        };
        for name in ["/w/a", "/w/b", "/w/\"", "/w/c"] {
            push(&mut frames, 7, name, 0x100, 1);
        }
        frames.push(&ToHost::Ping(1));
        push(&mut frames, 7, "/w/d", 8, 1);
        push(&mut frames, 7, "/w/e", 8, 2);
        push(&mut frames, 7, "/w/f", 0x80, 1);
        push(&mut frames, 7, "/f", 8, 1);
        push(&mut frames, 7, "/g", 8, 1);
        push(&mut frames, 7, "/w/h", 8, 1);
        push(&mut frames, 8, "/w/i", 8, 1);
        push(&mut frames, 8, "/w/j", 0x100, 1);
        let text = frames.take();
        let frame = Value::parse(&text[4..]).unwrap();
        let id = |run: u64| TaskId(run.into()).to_string();
        let words: Vec<String> = frame
            .list()
            .unwrap()
            .iter()
            .map(|it| match it.list().unwrap() {
                [word, job, path, wd, flat] => {
                    assert_eq!((wd.int(), path.bytes()), (Some(1), Some(&b"/w"[..])));
                    let items = flat.list().unwrap().chunks(4).map(|it| {
                        let run = it[0].int().unwrap();
                        assert_eq!(it[1].text(), Some(id(run)));
                        let mask = it[2].int::<u32>().unwrap();
                        format!("{run}:{mask:x}:{}", it[3].text().unwrap())
                    });
                    let items = items.collect::<Vec<_>>().join(" ");
                    format!("{} {} {items}", word.text().unwrap(), job.int::<u64>().unwrap())
                }
                other => format!("{} {}", other[0].text().unwrap(), other[1].int::<u64>().unwrap()),
            })
            .collect();
        let expected = [
            "run 1",
            "runs 7 2:100:b 3:100:\" 4:100:c",
            "ping 1",
            "run 5",
            "run 6",
            "run 7",
            "run 8",
            "run 9",
            "run 10",
            "run 11",
            "runs 8 12:100:j",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let refused = [
            "{}",
            "[1]",
            "[[]]",
            "[[\"pong\"]]",
            "[[\"pong\", -1]]",
            "[[\"nothing\"]]",
            "[[\"matched\", 1, [null], null]]",
            "[[\"ended\", [1, \"2\"], \"done\", null]]",
            "[[\"ended\", [1, 2], \"failed\", null]]",
            "[",
            "[[\"hello\", {\"protocol\": 2, \"python\": \"3\"}]]",
            "[[\"order\", \"schedule\", \"s\", {\"mask\": 0, \"pathname\": \"/w\"}, null]]",
        ];
        for text in refused {
            let mut decoder = Decoder::default();
            decoder.push(&u32::try_from(text.len()).unwrap().to_le_bytes());
            decoder.push(text.as_bytes());
            assert!(decoder.frame().is_err(), "{text}");
        }
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(decoder.frame().is_err());
    }

    #[test]
    fn a_long_backlog_is_several_frames() {
        let mut frames = Frames::default();
        let text = "x".repeat(100_000);
        for count in 0..10 {
            frames.push(&ToHost::Done(count, true, &text));
        }
        let (bytes, mut at, mut lengths) = (frames.take(), 0, Vec::new());
        while let Some(length) = bytes[at..].first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            let frame = Value::parse(&bytes[at + 4..at + 4 + length]).unwrap();
            lengths.push(frame.list().unwrap().len());
            at += 4 + length;
        }
        assert_eq!((at, lengths), (bytes.len(), vec![3, 3, 3, 1]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in any::<Vec<u8>>(), json in "[\\[\\]{}\",:0-9a-z ]{0,64}") {
            for bytes in [bytes.clone(), json.clone().into_bytes()] {
                let mut decoder = Decoder::default();
                decoder.push(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
                decoder.push(&bytes);
                let _ = decoder.frame();
                let mut decoder = Decoder::default();
                decoder.push(&bytes);
                let _ = decoder.frame();
            }
        }
    }
}
