//! Commands and messages with placeholders.

use pyinotifyd_core::{
    event::{Event, EventType, Mask, Origin},
    path::shown,
    record::Wd,
    task::TaskId,
    template::{Placeholder, ShellTemplate, Template, Values, odd_braces},
};

use crate::source_and_path;

fn event(path: &[u8]) -> Event {
    Event {
        event_type: EventType::MovedTo,
        mask: Mask::from(EventType::MovedTo),
        is_dir: false,
        pathname: path.into(),
        src_pathname: Some(path.into()),
        name_len: 0,
        root_len: 0,
        wd: Wd(1),
        cookie: 0,
        origin: Origin::Live,
        subject: None,
    }
}

/// Every text is a template. What it renders is its text with the values in place, however these
/// look; and what is shown of it adds nothing to its text that ends a line.
pub fn template(data: &[u8]) {
    let Some((source, path)) = source_and_path(data) else { return };
    let event = event(path);
    let values = Values { event: &event, task: TaskId(7), scheduler: "s" };
    let parsed = Template::parse(source);
    // The oracle: cut at the placeholders' words, from the left.
    let (mut rendered, mut shows) = (Vec::new(), String::new());
    let mut rest = source;
    let mut placeholders = Vec::new();
    while let Some(char) = rest.chars().next() {
        let word = |it: &Placeholder| rest.starts_with(&format!("{{{}}}", it.name()));
        if let Some(found) = Placeholder::ALL.into_iter().find(word) {
            rendered.extend(found.value(&values));
            shows += &shown(&found.value(&values)).to_string();
            placeholders.push(found);
            rest = &rest[found.name().len() + 2..];
        } else {
            rendered.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            shows.push(char);
            rest = &rest[char.len_utf8()..];
        }
    }
    assert_eq!(parsed.render(&values), rendered);
    assert_eq!(parsed.shown(&values).to_string(), shows);
    assert_eq!(parsed.placeholders().collect::<Vec<_>>(), placeholders);
    assert_eq!(Template::literal(source).render(&values), source.as_bytes());
    for odd in odd_braces(source) {
        assert!(source[odd.at..].starts_with(&format!("{{{}}}", odd.word)));
    }
}

/// A command line is understood, or refused with a place in it. The script holds references where
/// the placeholders were, and no path at all.
pub fn shell(data: &[u8]) {
    let Some((source, path)) = source_and_path(data) else { return };
    let parsed = match ShellTemplate::parse(source) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(source.is_char_boundary(error.at), "{error:?}");
            assert!(!error.message.is_empty());
            return;
        }
    };
    assert_eq!(parsed.source(), source);
    assert!(!parsed.script().contains('\0'));
    let named: Vec<Placeholder> = Template::parse(source).placeholders().collect();
    for (variable, placeholder) in parsed.variables() {
        assert!(named.contains(&placeholder));
        assert!(parsed.script().contains(variable), "{variable} is referred to");
    }
    if named.is_empty() {
        assert_eq!(parsed.script(), source, "a command without values is the shell's business");
    }
    let event = event(path);
    let values = Values { event: &event, task: TaskId(7), scheduler: "s" };
    for word in parsed.direct_argv().into_iter().flatten() {
        assert!(!word.render(&values).contains(&0));
    }
}
