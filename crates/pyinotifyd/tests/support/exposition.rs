//! A reader of Prometheus' text form that is stricter than Prometheus: what would be scraped half
//! or not at all, or be forgiven, fails the test.

use std::collections::BTreeSet;

/// A metric with its samples.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

/// A line with a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The metric's name, and what a histogram adds.
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    /// As it is written.
    pub(crate) text: String,
    pub(crate) value: f64,
}

impl Sample {
    /// A label's value.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }
}

/// The only sample of that name whose labels have these values.
pub(crate) fn only<'a>(families: &'a [Family], name: &str, labels: &[(&str, &str)]) -> &'a Sample {
    let samples = families.iter().flat_map(|it| &it.samples);
    let has = |it: &&Sample| labels.iter().all(|(name, value)| it.label(name) == Some(value));
    let found: Vec<_> = samples.filter(|it| it.name == name).filter(has).collect();
    let [sample] = found.as_slice() else { panic!("{name} {labels:?}: {found:?}") };
    sample
}

/// The same sample's value, which has to be a whole number.
pub(crate) fn count(families: &[Family], name: &str, labels: &[(&str, &str)]) -> u64 {
    only(families, name, labels).text.parse().expect(name)
}

/// Reads a page.
pub(crate) fn parse(page: &str) -> Vec<Family> {
    assert!(page.ends_with('\n'), "the last line has no end");
    let mut families: Vec<Family> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            let (name, help) = head.split_once(' ').expect(line);
            let kind = lines.next().and_then(|it| it.strip_prefix("# TYPE ")).expect(line);
            let kind = kind.strip_prefix(name).and_then(|it| it.strip_prefix(' ')).expect(line);
            assert!(families.iter().all(|it| it.name != name), "told twice: {name}");
            assert!(families.last().is_none_or(|it| !it.samples.is_empty()), "before {line}");
            let (name, help, kind) = (name.into(), unescape(help), kind.into());
            families.push(Family { name, help, kind, samples: Vec::new() });
            continue;
        }
        let family = families.last_mut().expect("a sample before any TYPE");
        let sample = sample(line);
        let suffix = sample.name.strip_prefix(family.name.as_str()).expect(line);
        let suffixes: &[&str] = match family.kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            "counter" | "gauge" => &[""],
            kind => panic!("{kind}"),
        };
        assert!(suffixes.contains(&suffix), "of another metric: {line}");
        let mut labels = sample.labels.clone();
        labels.sort();
        assert!(labels.windows(2).all(|it| it[0].0 != it[1].0), "a label twice: {line}");
        assert!(seen.insert((sample.name.clone(), labels)), "told twice: {line}");
        assert!(family.kind == "gauge" || sample.value >= 0.0, "below 0: {line}");
        family.samples.push(sample);
    }
    families.iter().filter(|it| it.kind == "histogram").for_each(verify_histogram);
    families
}

/// Buckets of one histogram stand together and only grow, and the last has all.
fn verify_histogram(family: &Family) {
    let mut samples = family.samples.iter().peekable();
    while samples.peek().is_some() {
        let (mut bound, mut below) = (f64::NEG_INFINITY, 0.0);
        let mut labels = Vec::new();
        while let Some(bucket) = samples.next_if(|it| it.name.ends_with("_bucket")) {
            let le = bucket.label("le").expect("a bucket has a bound");
            let le = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
            assert!(bound < le && below <= bucket.value, "{bucket:?}");
            (bound, below) = (le, bucket.value);
            labels = bucket.labels.iter().filter(|it| it.0 != "le").cloned().collect();
        }
        assert!(bound.is_infinite() && bound > 0.0, "no +Inf: {labels:?}");
        let (sum, count) = (samples.next().unwrap(), samples.next().unwrap());
        assert!(sum.name.ends_with("_sum") && count.name.ends_with("_count"), "{sum:?} {count:?}");
        assert_eq!((&sum.labels, &count.labels), (&labels, &labels));
        assert!((count.value - below).abs() < f64::EPSILON, "{count:?}, not {below}");
    }
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    verify_name(name, line);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (name, quoted) = rest.split_once("=\"").expect(line);
            verify_name(name, line);
            let end = end_of_quoted(quoted).expect(line);
            labels.push((name.to_owned(), unescape(&quoted[..end])));
            rest = &quoted[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect(line);
    }
    let text = rest.strip_prefix(' ').expect(line).to_owned();
    let value = text.parse().expect(line);
    Sample { name: name.to_owned(), labels, text, value }
}

fn verify_name(name: &str, line: &str) {
    assert!(name.starts_with(|it: char| it.is_ascii_lowercase()), "{line}");
    assert!(name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_'), "{line}");
}

fn end_of_quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|it| {
        let is_end = it == b'"' && !is_escaped;
        is_escaped = it == b'\\' && !is_escaped;
        is_end
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        out.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(it @ ('\\' | '"')) => it,
                other => panic!("no escape: {other:?} in {text}"),
            },
            char => char,
        });
    }
    out
}
