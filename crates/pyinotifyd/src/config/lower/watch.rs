//! A Watch: what is watched, and what its events ask.

use std::collections::BTreeSet;

use pyinotifyd_core::{
    event::{EventType, Mask},
    path::{names, shown, text},
    plan::{Binding, EventMap, NamePattern, PathPattern, Watch},
    task::OrderKind,
};

use super::Lower;
use crate::config::{
    diagnostic::Diagnostic,
    document::{DocBinding, DocOrder, DocWatch, Spot},
    keys::WatchKey,
    parts,
    words::{did_you_mean, nearest},
};

/// The entry of an event map that stands for all types without one.
const DEFAULT: &str = "default";

impl Lower<'_> {
    pub(super) fn watch(&mut self, doc: &DocWatch) -> Option<Watch> {
        let paths: Vec<_> = if let Some(list) = &doc.path {
            if list.value.is_empty() && !doc.lost.contains(&"path") {
                self.report(Diagnostic::error(&list.place, "there is no path in this list"));
            }
            list.value.iter().map(|it| self.path_pattern(it)).collect()
        } else {
            self.report_missing(
                doc.lost.contains(&"path"),
                Diagnostic::error(&doc.place, "this Watch has no `path`")
                    .hint("write what to watch: path = \"/srv/upload\""),
            );
            Vec::new()
        };
        let lost = doc.lost.contains(&"event_map");
        let map = if let Some(map) = &doc.event_map {
            if map.value.is_empty() && !lost {
                self.report(
                    Diagnostic::error(&map.place, "this event_map is empty")
                        .hint("add an entry such as IN_CLOSE_WRITE = \"name\""),
                );
            }
            self.event_map(&map.value)
        } else {
            let hint = "add [watch.event_map] with an entry such as IN_CLOSE_WRITE = \"name\"";
            self.report_missing(
                lost,
                Diagnostic::error(&doc.place, "this Watch has no `event_map`")
                    .label("so nothing would ever happen")
                    .hint(hint),
            );
            EventMap::default()
        };
        let filter = self.filter(&doc.include_filter, &doc.exclude_filter);
        Some(Watch {
            paths: paths.into_iter().collect::<Option<_>>()?,
            rec: Self::flag(&doc.rec, WatchKey::Rec),
            auto_add: Self::flag(&doc.auto_add, WatchKey::AutoAdd),
            filter,
            map,
            listen: Mask::NONE,
        })
    }

    fn path_pattern(&mut self, spot: &Spot<Vec<u8>>) -> Option<PathPattern> {
        let source = self.absolute(spot)?;
        let mut patterns = Vec::new();
        for name in names(&source) {
            if !parts::is_glob(name) {
                patterns.push(NamePattern::Literal(name.into()));
                continue;
            }
            match parts::glob(&text(name)) {
                Ok(glob) => patterns.push(NamePattern::Glob(glob)),
                Err(fault) => {
                    let hint = "each name of a path is a glob of its own; a letter that means \
                                nothing special is written \\[";
                    let message = format!("`{}` is no glob", shown(name));
                    self.report(
                        Diagnostic::error(&spot.place, message).label(fault.message).hint(hint),
                    );
                    return None;
                }
            }
        }
        Some(PathPattern { source: source.into(), names: patterns })
    }

    fn event_map(&mut self, docs: &[DocBinding]) -> EventMap {
        let mut map = EventMap::default();
        let mut named = BTreeSet::new();
        let mut default = Vec::new();
        for doc in docs {
            let bindings = self.bindings(&doc.orders);
            if doc.event.value == DEFAULT {
                default = bindings;
            } else if let Some(event_type) = self.event_type(&doc.event) {
                named.insert(event_type);
                for it in bindings {
                    map.bind(event_type, it);
                }
            }
        }
        for event_type in EventType::ALL.into_iter().filter(|it| !named.contains(it)) {
            for it in &default {
                map.bind(event_type, *it);
            }
        }
        map
    }

    fn event_type(&mut self, spot: &Spot<String>) -> Option<EventType> {
        let word = spot.value.as_str();
        if let Ok(event_type) = word.parse() {
            return Some(event_type);
        }
        let all = EventType::ALL.map(EventType::name);
        let written = shown(word.as_bytes());
        let mut diagnostic =
            Diagnostic::error(&spot.place, format!("no event type is called `{written}`"));
        let parts: Vec<&str> = word.split('|').map(str::trim).collect();
        diagnostic = match word {
            "IN_CLOSE" => diagnostic.hint("write IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, or both"),
            "IN_MOVE" => diagnostic.hint("write IN_MOVED_FROM, IN_MOVED_TO, or both"),
            "IN_ALL_EVENTS" => {
                diagnostic.hint(format!("`{DEFAULT}` stands for all types that have no entry"))
            }
            _ if parts.contains(&"IN_ISDIR") => diagnostic.hint(
                "whether events of directories count is said by `files` and `dirs` of the \
                 scheduler",
            ),
            _ if parts.len() > 1 => diagnostic.hint("write an entry for each type"),
            _ => match did_you_mean(word, all.into_iter().chain([DEFAULT])) {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic.hint("`pyinotifyd -l` lists them"),
            },
        };
        self.report(diagnostic);
        None
    }

    fn bindings(&mut self, orders: &[DocOrder]) -> Vec<Binding> {
        let mut out = Vec::new();
        for order in orders {
            let (kind, spot) = match order {
                DocOrder::Schedule(spot) => (OrderKind::Schedule, spot),
                DocOrder::Cancel(spot) => (OrderKind::Cancel, spot),
            };
            let Some(&scheduler) = self.names.get(spot.value.as_str()) else {
                self.unknown_scheduler(spot);
                continue;
            };
            match kind {
                OrderKind::Schedule => self.scheduled.insert(scheduler),
                OrderKind::Cancel => self.cancelled.insert(scheduler),
            };
            let binding = Binding { kind, scheduler };
            if out.contains(&binding) {
                let written = shown(spot.value.as_bytes());
                let message = format!("`{written}` is asked twice for the same event");
                self.report(Diagnostic::warning(&spot.place, message));
            } else {
                out.push(binding);
            }
        }
        out
    }

    fn unknown_scheduler(&mut self, spot: &Spot<String>) {
        let written = shown(spot.value.as_bytes());
        let near = nearest(&spot.value, self.names.keys().copied());
        // It is used, only misspelled.
        self.scheduled.extend(near.and_then(|it| self.names.get(it)));
        let hint = match near {
            Some(near) => format!("did you mean `{}`?", shown(near.as_bytes())),
            None => format!("add [scheduler.{written}]"),
        };
        let missing = Diagnostic::error(&spot.place, format!("no scheduler is called `{written}`"))
            .hint(hint);
        self.report_missing(self.lost.contains(&"scheduler"), missing);
    }
}
