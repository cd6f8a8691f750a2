//! Single values of config.toml: each is read, or reported with what was expected instead.

use ::toml::de::{DeTable, DeValue};
use std::ops::Range;

use super::{Reader, Value, in_written_order};
use crate::config::{
    diagnostic::Diagnostic,
    document::{DocAccount, DocDuration, DocLimit, DocMode, Maybe, Spot},
    keys::Kind,
};

/// What stands behind a key.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    /// What can stand there.
    pub(super) kind: Kind,
    /// What does.
    pub(super) value: &'a Value<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn wrong_type(&mut self, entry: Entry<'_>) {
        let place = self.place(entry.value.span());
        let message =
            format!("expected {}, found {}", entry.kind.expected(), found(entry.value.get_ref()));
        let bare = matches!(
            (entry.value.get_ref(), entry.kind),
            (DeValue::String(text), Kind::Count { .. } | Kind::CountOr(_))
                if text.parse::<i64>().is_ok()
        ) || matches!(
            (entry.value.get_ref(), entry.kind),
            (DeValue::String(text), Kind::Bool | Kind::SwitchOr(_))
                if matches!(text.as_ref(), "true" | "false")
        );
        let command =
            matches!((entry.value.get_ref(), entry.kind), (DeValue::String(_), Kind::Texts));
        let hint = match (bare, command) {
            (true, _) => Some("leave out the quotes".to_owned()),
            (_, true) => Some("a command line is written shell = \"…\"".to_owned()),
            (false, false) => None,
        };
        self.report(Diagnostic::error(&place, message).maybe_hint(hint));
    }

    fn spot<T>(&self, value: T, entry: Entry<'_>) -> Spot<T> {
        Spot::new(value, self.place(entry.value.span()))
    }

    pub(super) fn boolean(&mut self, entry: Entry<'_>) -> Maybe<bool> {
        let DeValue::Boolean(value) = entry.value.get_ref() else {
            self.wrong_type(entry);
            return None;
        };
        Some(self.spot(*value, entry))
    }

    pub(super) fn string(&mut self, entry: Entry<'_>) -> Maybe<String> {
        let DeValue::String(text) = entry.value.get_ref() else {
            self.wrong_type(entry);
            return None;
        };
        Some(self.spot(text.to_string(), entry))
    }

    pub(super) fn bytes(&mut self, entry: Entry<'_>) -> Maybe<Vec<u8>> {
        self.string(entry).map(|it| Spot::new(it.value.into_bytes(), it.place))
    }

    pub(super) fn count(&mut self, entry: Entry<'_>) -> Maybe<i128> {
        let value = self.integer(entry)?;
        Some(self.spot(value, entry))
    }

    fn integer(&mut self, entry: Entry<'_>) -> Option<i128> {
        let DeValue::Integer(number) = entry.value.get_ref() else {
            self.wrong_type(entry);
            return None;
        };
        let value = i128::from_str_radix(number.as_str(), number.radix()).ok();
        if value.is_none() {
            let place = self.place(entry.value.span());
            self.report(Diagnostic::error(&place, "this number is too large"));
        }
        value
    }

    pub(super) fn duration(&mut self, entry: Entry<'_>) -> Maybe<DocDuration> {
        let value = match entry.value.get_ref() {
            DeValue::Integer(_) => DocDuration::Seconds(self.integer(entry)? as f64),
            // What Rust does not read as a number, the parser has reported.
            DeValue::Float(number) => {
                DocDuration::Seconds(number.as_str().parse().unwrap_or(f64::NAN))
            }
            DeValue::String(text) => DocDuration::Text(text.to_string()),
            _ => {
                self.wrong_type(entry);
                return None;
            }
        };
        Some(self.spot(value, entry))
    }

    pub(super) fn mode(&mut self, entry: Entry<'_>) -> Maybe<DocMode> {
        let value = match entry.value.get_ref() {
            DeValue::Integer(number) => match number.radix() {
                10 => DocMode::Decimal(self.integer(entry)?),
                _ => DocMode::Bits(self.integer(entry)?),
            },
            DeValue::String(text) => DocMode::Text(text.to_string()),
            _ => {
                self.wrong_type(entry);
                return None;
            }
        };
        Some(self.spot(value, entry))
    }

    pub(super) fn account(&mut self, entry: Entry<'_>) -> Maybe<DocAccount> {
        let value = match entry.value.get_ref() {
            DeValue::Integer(_) => DocAccount::Id(self.integer(entry)?),
            DeValue::String(text) => DocAccount::Name(text.to_string()),
            _ => {
                self.wrong_type(entry);
                return None;
            }
        };
        Some(self.spot(value, entry))
    }

    pub(super) fn limit(&mut self, value: &Value<'_>) -> Maybe<DocLimit> {
        let entry = Entry { kind: Kind::Count { min: 0, max: i64::MAX }, value };
        match value.get_ref() {
            DeValue::String(text) => Some(self.spot(DocLimit::Text(text.to_string()), entry)),
            _ => self.count(entry).map(|it| Spot::new(DocLimit::Number(it.value), it.place)),
        }
    }

    pub(super) fn strings(&mut self, entry: Entry<'_>) -> Maybe<Vec<Spot<String>>> {
        let DeValue::Array(list) = entry.value.get_ref() else {
            self.wrong_type(entry);
            return None;
        };
        let values: Vec<_> = list
            .iter()
            .filter_map(|value| self.string(Entry { kind: Kind::Text, value }))
            .collect();
        // With one of them missing, the others have moved up.
        if values.len() < list.len() {
            return None;
        }
        Some(self.spot(values, entry))
    }

    pub(super) fn paths(&mut self, entry: Entry<'_>) -> Maybe<Vec<Spot<Vec<u8>>>> {
        let values = match entry.value.get_ref() {
            DeValue::Array(list) => list
                .iter()
                .filter_map(|value| self.bytes(Entry { kind: Kind::Path, value }))
                .collect(),
            _ => vec![self.bytes(entry)?],
        };
        Some(self.spot(values, entry))
    }

    pub(super) fn names(&mut self, entry: Entry<'_>) -> Vec<Spot<String>> {
        match entry.value.get_ref() {
            DeValue::Array(list) => list
                .iter()
                .filter_map(|value| self.string(Entry { kind: Kind::Text, value }))
                .collect(),
            _ => self.string(entry).into_iter().collect(),
        }
    }

    pub(super) fn table(&mut self, entry: Entry<'a>) -> Option<&'a DeTable<'a>> {
        let DeValue::Table(table) = entry.value.get_ref() else {
            self.wrong_type(entry);
            return None;
        };
        Some(table)
    }

    /// A table or a list of them.
    pub(super) fn tables(&mut self, entry: Entry<'a>) -> Vec<(&'a DeTable<'a>, Range<usize>)> {
        match entry.value.get_ref() {
            DeValue::Array(list) => list
                .iter()
                .filter_map(|value| {
                    let table = self.table(Entry { kind: entry.kind, value })?;
                    Some((table, value.span()))
                })
                .collect(),
            _ => self.table(entry).map(|table| (table, entry.value.span())).into_iter().collect(),
        }
    }

    /// The entries of a table whose keys are names that the user chose.
    pub(super) fn pairs(&mut self, entry: Entry<'a>) -> Vec<(Spot<String>, &'a Value<'a>)> {
        let Some(table) = self.table(entry) else { return Vec::new() };
        in_written_order(table)
            .into_iter()
            .map(|(name, value)| {
                (Spot::new(name.get_ref().to_string(), self.place(name.span())), value)
            })
            .collect()
    }
}

/// What a value is, for "expected …, found …".
pub(super) fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
