//! The dashboard and the alerts ask for nothing that is not there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::TABLE;
use crate::metrics::table::{Kind, Row};

const DASHBOARD: &str = include_str!("../../../dist/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../../dist/alerts.yml");

/// Labels that Prometheus adds to what it scrapes.
const ADDED: [&str; 2] = ["job", "instance"];

/// What else of `PromQL` is used.
const FUNCTIONS: [&str; 8] =
    ["rate", "increase", "sum", "max", "min", "time", "histogram_quantile", "label_values"];
const WORDS: [&str; 4] = ["and", "or", "unless", "bool"];

/// What is in a query, as far as it has to be known here.
#[derive(Clone, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Other(char),
}

fn tokens(query: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = query;
    while let Some(char) = rest.chars().next() {
        let len = match char {
            '"' => 2 + rest[1..].find('"').expect("a text has an end"),
            // A variable of Grafana's, a number, a duration.
            '$' | '0'..='9' => {
                let is_part = |it: char| it.is_alphanumeric() || "_.${}".contains(it);
                rest[1..].find(|it| !is_part(it)).map_or(rest.len(), |it| it + 1)
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let len = rest.find(|it: char| !it.is_alphanumeric() && it != '_');
                let len = len.unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..len]));
                len
            }
            char => {
                if !char.is_whitespace() {
                    tokens.push(Token::Other(char));
                }
                char.len_utf8()
            }
        };
        rest = &rest[len..];
    }
    tokens
}

/// What of the table a name is for, and its labels.
fn row(name: &str) -> Option<(Row, BTreeSet<&'static str>)> {
    let found = TABLE.iter().find_map(|row| {
        let suffix = name.strip_prefix(row.name)?;
        let le: &[&str] = match (row.kind, suffix) {
            (Kind::Counter | Kind::Gauge, "") | (Kind::Histogram, "_sum" | "_count") => &[],
            (Kind::Histogram, "_bucket") => &["le"],
            _ => return None,
        };
        Some((*row, row.labels.iter().chain(le).copied().collect()))
    });
    found.map(|(row, labels): (Row, BTreeSet<&str>)| (row, &labels | &ADDED.into()))
}

/// The labels of what a query gives, or what is wrong with it.
fn check(query: &str) -> Result<BTreeSet<&str>, String> {
    let tokens = tokens(query);
    let mut all = BTreeSet::new();
    let mut kept = BTreeSet::new();
    // The labels of the metric before a brace, and of all metrics so far before `by (…)`.
    let mut of_last: BTreeSet<&str> = BTreeSet::new();
    let (mut by, mut in_braces) = (Vec::new(), false);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        match token {
            Token::Other('{') => in_braces = true,
            Token::Other('}') => in_braces = false,
            Token::Other(_) => (),
            Token::Word(label) if in_braces => {
                if !of_last.contains(label) {
                    return Err(format!("no label {label}: {query}"));
                }
            }
            Token::Word("by") => {
                while let Some(Token::Other('(' | ',') | Token::Word(_)) = tokens.get(at + 1) {
                    at += 1;
                    if let Token::Word(label) = tokens[at] {
                        by.push(label);
                    }
                }
            }
            Token::Word(word) if FUNCTIONS.contains(word) => {
                if !matches!(next, Some(Token::Other('(') | Token::Word("by"))) {
                    return Err(format!("{word} is not called: {query}"));
                }
            }
            Token::Word(word) if WORDS.contains(word) => (),
            // Of Prometheus itself.
            Token::Word("up") => {
                of_last = ADDED.into();
                all.extend(ADDED);
            }
            Token::Word(name) => match row(name) {
                Some((row, labels)) => {
                    let is_rated = query.contains("rate(") || query.contains("increase(");
                    if row.kind == Kind::Gauge && is_rated {
                        return Err(format!("the rate of a gauge: {query}"));
                    }
                    all.extend(&labels);
                    of_last = labels;
                }
                // What `label_values(metric, label)` gives.
                None if query.starts_with("label_values") && all.contains(name) => (),
                None => return Err(format!("no metric {name}: {query}")),
            },
        }
        at += 1;
    }
    match by.iter().find(|it| !all.contains(*it)) {
        Some(label) => return Err(format!("no label {label}: {query}")),
        None if by.is_empty() => kept.extend(all),
        None => kept.extend(by),
    }
    Ok(kept)
}

/// The names between these, wherever they are in a text.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|it| it.split(after).next()).map(str::trim).collect()
}

#[test]
fn what_is_not_there_is_noticed() {
    for query in [
        "pyinotifyd_event_total",
        "pyinotifyd_events_total{schedulr=\"x\"}",
        "sum by (scheduler) (rate(pyinotifyd_events_total[5m]))",
        "pyinotifyd_run_duration_seconds",
        "pyinotifyd_run_duration_seconds_bucket{watch=\"x\"}",
        "pyinotifyd_lag_seconds_sum",
        "rate(pyinotifyd_lag_seconds[5m])",
        "sun(pyinotifyd_lag_seconds)",
        "label_values(pyinotifyd_ready, watch)",
    ] {
        assert!(check(query).is_err(), "{query}");
    }
    let query = "sum by (event) (rate(pyinotifyd_events_total{watch=~\"a|b\"}[5m])) > 0.5";
    assert_eq!(check(query), Ok(["event"].into()));
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (x, y) in (place("x")..place("x") + place("w"))
            .flat_map(|x| (place("y")..place("y") + place("h")).map(move |y| (x, y)))
        {
            assert!(x < 24 && places.insert((x, y)), "{title} is where another is");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let labels = check(target["expr"].as_str().unwrap()).expect(title);
            for label in between(target["legendFormat"].as_str().unwrap(), "{{", "}}") {
                assert!(labels.contains(label), "{title}: no label {label} in {labels:?}");
            }
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let queries = variables.iter().filter(|it| it["type"] == "query");
    let queries: Vec<_> = queries.map(|it| it["query"]["query"].as_str().unwrap()).collect();
    assert!(!queries.is_empty());
    for query in queries {
        check(query).unwrap();
    }
}

#[test]
fn the_alerts_ask_for_what_there_is() {
    let mut count = 0;
    for alert in ALERTS.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let line = |key: &str| {
            let line = alert.lines().find_map(|it| it.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("{name} has no {key}")).trim()
        };
        // A query stands on its line.
        let labels = check(line("expr:")).expect(name);
        for label in between(alert, "$labels.", " ") {
            assert!(labels.contains(label), "{name}: no label {label} in {labels:?}");
        }
        assert!(["critical", "warning"].contains(&line("severity:")), "{name}");
        assert!(line("summary:").len() > 10 && line("description:").len() > 10, "{name}");
        count += 1;
    }
    assert_eq!(count, ALERTS.matches("expr:").count());
    assert!(count > 0);
}
