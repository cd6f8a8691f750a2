//! A config.py as config.toml: what can be said there means the same.

use std::path::Path;

use super::{loaded, machine};
use crate::{
    config::{PythonFile, convert::Converted, parse_str},
    json::Value,
    log::Governed,
};

/// The same in both languages: as the host describes it, and the words of a test for that.
const SCHEDULERS: &str = r#"
{"name": "shell", "line": 1, "action": {"shell": "echo \"$x\" {pathname} 'it'"}, "logname": "sched",
 "files": true, "dirs": true, "delay": 1.5, "singlejob": false, "busy": "skip", "timeout": 60,
 "kill_after": 2, "max_wait": 30, "retry": {"tries": 3, "backoff": 0.5}, "follow": false,
 "breaker": {"runs": 5, "rest": 7}, "batch": {"max_items": 3}, "env": {"A": "b", "C": null},
 "umask": 18, "nice": 5, "rlimits": {"nofile": [10, 20]}, "user": "alice", "cwd": "/tmp",
 "exclude_filter": [{"glob": "*.tmp"}]},
{"name": "files#2", "line": 2, "action": {"rules": [
  {"line": 2, "action": "move", "src_re": "^/in/(?P<n>.*)\\.x$", "dst_re": "/out/\\g<n>", "auto_create": true,
   "overwrite": true, "filemode": 416, "dirmode": 488, "user": "root", "group": 50, "rec": false},
  {"line": 3, "action": "delete", "src_re": "(?i)^/in/'a\t", "dst_re": "", "rec": true}]},
 "logname": "filemgr", "files": true, "dirs": false, "delay": 0, "singlejob": true, "busy": "again", "slots": 2}"#;

const WATCHES: &str = r#"
{"line": 5, "path": ["/in", "/in2/*"], "rec": true, "auto_add": false,
 "exclude_filter": [{"regex": "^/in/(?!a)"}, {"file": "/etc/patterns"}], "include_filter": [],
 "event_map": [["IN_CLOSE_WRITE", [["schedule", "shell"], ["cancel", "files#2"]]], ["IN_OPEN", []],
               ["default", [["schedule", "files#2"]]]]}"#;

const PYTHON: &str = r#",
{"name": "task", "line": 7, "action": {"python": 1, "name": "task"}, "logname": "sched"},
{"name": "odd", "line": 8, "action": {"rules": [{"line": 8, "action": "delete", "src_re": "(?i)^/in/ä"}]},
 "logname": "filemgr"}"#;

const PYTHONS_WATCHES: &str = r#",
{"line": 9, "path": ["/py"], "event_map": [["IN_CREATE", [["schedule", "task"], ["schedule", "odd"]]]]},
{"line": 10, "path": ["/both"], "event_map": [["IN_CREATE", [["schedule", "task"], ["schedule", "shell"]]],
                                              ["IN_DELETE", [["schedule", "odd"]]]]}"#;

fn description(schedulers: &str, watches: &str) -> Value {
    let text = format!(
        "{{\"schedulers\": [{schedulers}], \"watches\": [{watches}], \"shutdown_timeout\": 5, \
         \"logname\": \"daemon\", \"process\": {{}}}}"
    );
    Value::parse(text.as_bytes()).unwrap()
}

fn converted(description: &Value) -> Converted {
    let levels = [("".into(), 30), ("sched".into(), 10), ("elsewhere".into(), 10)].into();
    let logging = Governed { levels, native: true, ..Governed::default() };
    PythonFile::of("config.py", "").converted(description, Path::new("/"), &logging, &machine())
}

#[test]
fn what_needs_no_python_means_the_same() {
    let description = description(SCHEDULERS, WATCHES);
    let file = PythonFile::of("config.py", "");
    let theirs = file.described(&description, Path::new("/"), &machine()).unwrap();
    let Converted { text, notes } = converted(&description);
    assert_eq!(notes, [""; 0], "{text}");
    let ours =
        parse_str("config.toml", &text, &machine()).unwrap_or_else(|it| panic!("{it:#?} {text}"));
    assert_eq!(format!("{:#?}", ours.plan), format!("{:#?}", theirs.plan), "{text}");
    // What it is like to read.
    insta::assert_snapshot!(text);
}

#[test]
fn what_needs_python_is_told_and_the_rest_can_be_used() {
    let schedulers = [SCHEDULERS, PYTHON].concat();
    let Converted { text, notes } =
        converted(&description(&schedulers, &[WATCHES, PYTHONS_WATCHES].concat()));
    loaded(&text);
    let told: Vec<_> = notes.iter().map(|it| format!("note: {it}\n")).collect();
    insta::assert_snapshot!(format!("{text}---\n{}", told.concat()));
}

#[test]
fn names_that_are_not_text_are_told() {
    let watch = WATCHES.replace("\"/in2/*\"", "\"/\\udcff\"");
    let Converted { notes, .. } = converted(&description(SCHEDULERS, &watch));
    assert_eq!(notes, ["config.py:5: /\\xff is not UTF-8, so TOML cannot say it"]);
}
