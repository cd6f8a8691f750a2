//! The forms of an explanation: as text for people, as JSON for programs.
//!
//! The command line makes them of a configuration that it has read, the loop of the one in force.

use pyinotifyd_core::{
    event::EventType,
    explain::{
        ByScheduler, Condition, Does, Explanation, SchedulerAnswer, Seen, Task, WatchAnswer,
    },
    path,
    plan::{BatchInput, Busy, Process},
    task::OrderKind,
};
use serde_json::{Value, json};

use crate::json;

/// An explanation for people or for programs.
pub(crate) fn shown(explanation: &Explanation, json: bool) -> String {
    if json { json::tame(&object(explanation).to_string()) } else { explanation.to_string() }
}

/// The explanation for programs. Paths and arguments are text; where they are not UTF-8, the
/// escapes that people are shown.
fn object(explanation: &Explanation) -> Value {
    let watches = explanation.watches.iter().map(|by| {
        let mut it = json!({
            "watch": by.watch.0 + 1,
            "paths": by.paths.iter().map(|it| text(it)).collect::<Vec<_>>(),
        });
        let (answer, reason) = match &by.answer {
            WatchAnswer::Unseen(unseen) => ("unseen", Some(unseen.to_string())),
            WatchAnswer::Filtered(reason) => ("filtered", Some(reason.to_string())),
            WatchAnswer::Unmapped { named } => {
                it["named"] = named.event_types().map(EventType::name).collect();
                ("unmapped", None)
            }
            WatchAnswer::Asks { seen, orders } => {
                it["seen"] = self::seen(seen);
                it["orders"] = orders.iter().map(order).collect();
                ("asks", None)
            }
        };
        it["answer"] = answer.into();
        if let Some(reason) = reason {
            it["reason"] = reason.into();
        }
        it
    });
    json!({
        "path": text(&explanation.path),
        "is_dir": explanation.is_dir,
        "event": explanation.event_type.name(),
        "happens": explanation.happens,
        "watches": watches.collect::<Vec<_>>(),
    })
}

fn seen(seen: &Seen) -> Value {
    let mut it = json!({ "root": text(&seen.root), "item": text(&seen.item) });
    match &seen.condition {
        None => (),
        Some(Condition::WasThere(dir)) => it["only_if_was_there"] = text(dir).into(),
        Some(Condition::CameLater(dir)) => it["only_if_came_later"] = text(dir).into(),
    }
    it
}

fn order(by: &ByScheduler) -> Value {
    let order = match by.kind {
        OrderKind::Schedule => "schedule",
        OrderKind::Cancel => "cancel",
    };
    let mut it = json!({ "order": order, "scheduler": *by.name });
    let taken = match &by.answer {
        SchedulerAnswer::WrongKind => {
            it["reason"] = "`files` or `dirs` is off".into();
            false
        }
        SchedulerAnswer::Filtered(reason) => {
            it["reason"] = reason.to_string().into();
            false
        }
        SchedulerAnswer::Cancels => true,
        SchedulerAnswer::Schedules(task) => {
            it["task"] = self::task(task);
            true
        }
    };
    it["taken"] = taken.into();
    it
}

fn task(task: &Task) -> Value {
    let busy = match task.busy {
        Busy::Again => "again",
        Busy::Skip => "skip",
        Busy::Parallel => "parallel",
        Busy::Restart => "restart",
    };
    let batch = task.batch.map(|it| {
        let input = match it.input {
            BatchInput::Args => "args",
            BatchInput::Stdin => "stdin",
        };
        json!({ "max_items": it.max_items, "input": input })
    });
    json!({
        "delay": task.delay.as_secs_f64(),
        "max_wait": task.max_wait.map(|it| it.as_secs_f64()),
        "busy": busy,
        "singlejob": task.singlejob,
        "batch": batch,
        "ready": task.ready,
        "does": does(&task.does),
    })
}

fn does(does: &Does) -> Value {
    match does {
        Does::Exec { argv, process } => {
            let argv: Vec<_> = argv.iter().map(|it| text(it)).collect();
            with_process(json!({ "exec": argv }), process)
        }
        Does::Shell { script, variables, process } => {
            let env: serde_json::Map<String, Value> =
                variables.iter().map(|(name, it)| ((*name).into(), text(it).into())).collect();
            with_process(json!({ "shell": script, "env": env }), process)
        }
        Does::Rule(plan) => json!({
            "rule": plan.rule + 1,
            "action": plan.action.name(),
            "dst": plan.dst.as_ref().map(|it| text(&it.path)),
        }),
        Does::NoRule => json!({ "rule": null }),
        Does::Refused(error) => json!({ "error": error.to_string() }),
        Does::Asks { rule } => json!({ "asks": "python", "rule": rule + 1 }),
        Does::Log { message, level } => json!({ "log": text(message), "level": level.name() }),
        Does::Hosted { name } => json!({ "python": &**name }),
    }
}

fn with_process(mut it: Value, process: &Process) -> Value {
    if let Some(user) = &process.user {
        it["user"] = (*user.name).into();
    }
    if let Some(group) = process.group {
        it["group"] = group.into();
    }
    if let Some(cwd) = &process.cwd {
        it["cwd"] = text(cwd).into();
    }
    it
}

fn text(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| path::shown(bytes).to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use pyinotifyd_core::{explain::explain, plan::Action};

    use super::*;
    use crate::config::{environment::Environment, parse_str};

    #[test]
    fn programs_get_one_object() {
        let config = r#"
            [scheduler.scan]
            shell = "scan {pathname} | mail -s {basename} root"
            delay = "1.5s"
            exclude_filter = { glob = "*.tmp" }
            [scheduler.keep]
            rules = [{ action = "copy", src_re = "^/srv/in/(.*)", dst_re = '/keep/\1' }]
            [[watch]]
            path = "/srv/in"
            auto_add = false
            event_map = { IN_CLOSE_WRITE = ["scan", "keep"], IN_DELETE = { cancel = "scan" } }
        "#;
        let environment = Environment { cpus: NonZeroUsize::MIN, ..Environment::new(None) };
        let plan = parse_str("config.toml", config, &environment).unwrap().plan;
        assert!(matches!(plan.schedulers[0].action, Action::Shell(_)));
        let object = |path: &[u8], event_type| {
            format!("{:#}\n", object(&explain(&plan, path, false, event_type)))
        };
        insta::assert_snapshot!(
            [
                object(b"/srv/in/a/x\xff y", EventType::CloseWrite),
                object(b"/srv/in/x.tmp", EventType::CloseWrite),
                object(b"/srv/x", EventType::Open),
            ]
            .concat()
        );
    }
}
