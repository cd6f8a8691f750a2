//! The JSON schema of config.toml, for editors. All of it comes from the table in `keys`.

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, LEVELS, RLIMITS, Section, TOP};
use pyinotifyd_core::event::EventType;

/// The schema, draft 2020-12.
pub(crate) fn schema() -> Value {
    let mut definitions = Map::new();
    let mut root = section(&TOP, &mut definitions);
    let object = root.as_object_mut().expect("a section is an object");
    object.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    object.insert("title".into(), "pyinotifyd config.toml".into());
    object.insert("$defs".into(), definitions.into());
    root
}

fn section(section: &Section, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for key in section.keys {
        for word in std::iter::once(key.name).chain(key.alias) {
            properties.insert(word.into(), property(key, definitions));
        }
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(key: &Key, definitions: &mut Map<String, Value>) -> Value {
    let mut value = kind(key.kind, definitions);
    let object = value.as_object_mut().expect("every kind is an object");
    let default =
        if key.default.is_empty() { String::new() } else { format!(" Default: {}.", key.default) };
    object.insert("description".into(), format!("{}{default}", key.doc).into());
    value
}

fn kind(kind: Kind, definitions: &mut Map<String, Value>) -> Value {
    let duration = || {
        json!({ "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "examples": ["30s", "1h30m", "250ms"] },
        ] })
    };
    let level = || json!({ "enum": LEVELS });
    let names = || {
        json!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
        ] })
    };
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Text | Kind::Path => json!({ "type": "string" }),
        Kind::Regex => json!({ "type": "string", "format": "regex" }),
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Duration => duration(),
        Kind::Mode => json!({ "anyOf": [
            { "type": "string", "pattern": "^(0o)?[0-7]+$" },
            { "type": "integer", "minimum": 0, "maximum": 0o7777 },
        ] }),
        Kind::Account => json!({ "type": ["string", "integer"] }),
        Kind::Level => level(),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Paths | Kind::Names => names(),
        Kind::Conditions => {
            let one = json!({ "type": "string", "pattern": "^(closed$|quiet:|done-file:)" });
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        Kind::Filter => {
            let matcher = json!({ "anyOf": [
                { "type": "string", "format": "regex" },
                reference(&super::keys::MATCHER, definitions),
            ] });
            json!({ "anyOf": [matcher, { "type": "array", "items": matcher }] })
        }
        Kind::EventMap => {
            let order = json!({ "anyOf": [
                { "type": "string" },
                reference(&super::keys::ORDER, definitions),
            ] });
            let orders = json!({ "anyOf": [order, { "type": "array", "items": order }] });
            let mut properties = Map::new();
            for event_type in EventType::ALL {
                let mut orders = orders.clone();
                orders["description"] = event_type.meaning().into();
                properties.insert(event_type.name().into(), orders);
            }
            let mut default = orders;
            default["description"] = "all event types that have no entry".into();
            properties.insert("default".into(), default);
            json!({
                "type": "object",
                "properties": properties,
                "additionalProperties": false,
                "minProperties": 1,
            })
        }
        Kind::Env => json!({
            "type": "object",
            "additionalProperties": { "anyOf": [{ "type": "string" }, { "const": false }] },
        }),
        Kind::Rlimits => {
            let limit = json!({ "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "const": "unlimited" },
            ] });
            let properties: Map<String, Value> =
                RLIMITS.iter().map(|it| ((*it).to_owned(), limit.clone())).collect();
            json!({ "type": "object", "properties": properties, "additionalProperties": false })
        }
        Kind::Levels => json!({ "type": "object", "additionalProperties": level() }),
        Kind::Table(section) => reference(section, definitions),
        Kind::Named(section) => {
            json!({ "type": "object", "additionalProperties": reference(section, definitions) })
        }
        Kind::Tables(section) | Kind::TableOrTables(section) => {
            let item = reference(section, definitions);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Kind::CountOr(section) => {
            let count = self::kind(section.keys[0].kind, definitions);
            json!({ "anyOf": [count, reference(section, definitions)] })
        }
        Kind::SwitchOr(section) => {
            json!({ "anyOf": [{ "type": "boolean" }, reference(section, definitions)] })
        }
    }
}

/// A reference to the section, which is defined if it was not.
fn reference(it: &'static Section, definitions: &mut Map<String, Value>) -> Value {
    if !definitions.contains_key(it.name) {
        definitions.insert(it.name.into(), Value::Null);
        let defined = section(it, definitions);
        definitions.insert(it.name.into(), defined);
    }
    json!({ "$ref": format!("#/$defs/{}", it.name) })
}
