//! What is said of the hosts of a config.py, in words.

use std::time::Duration;

use pyinotifyd_core::{path::shown, time::Human};

/// It does not answer.
pub(super) fn silent(since: Duration) -> String {
    let since = Human(since);
    format!("Python has not answered for {since}: a task blocks it, and all others wait")
}

/// It has ended: in which way, and what it did wrong.
pub(super) fn ended(how: &str, why: Option<&str>) -> String {
    let why = why.map(|it| format!(": {it}")).unwrap_or_default();
    format!("Python has ended ({how}){why}; its tasks have failed")
}

/// Another takes its place after a while.
pub(super) fn again(after: Duration) -> String {
    format!("Python is started again in {}", Human(after))
}

/// A task, if it is known which, blocks it.
pub(super) fn blocked(path: Option<&[u8]>, seconds: f64) -> String {
    let whose = path.map(|it| format!("the task for {}", shown(it)));
    let whose = whose.unwrap_or_else(|| "something".to_owned());
    let time = Human(Duration::try_from_secs_f64(seconds.round()).unwrap_or_default());
    format!("{whose} has blocked Python's event loop for {time}: all tasks in Python wait")
}

/// Its code asks something of a scheduler that another configuration has not.
pub(super) fn not_in_force(scheduler: &str, path: &[u8]) -> String {
    let (scheduler, path) = (shown(scheduler.as_bytes()), shown(path));
    format!("scheduler {scheduler} is not in force any more: nothing for {path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_host_is_told() {
        let path = b"/w/\n\x1b[2J\xff";
        let told = [
            silent(Duration::from_secs(10)),
            ended("signal 9", None),
            ended("it closed its link", Some("it said what cannot be understood: a message `x`")),
            again(Duration::from_millis(100)),
            again(Duration::from_secs(30)),
            blocked(Some(path), 3.01),
            blocked(None, 0.2),
            blocked(None, f64::NAN),
            not_in_force("copy\n", path),
        ];
        insta::assert_snapshot!("told", told.join("\n"));
    }
}
