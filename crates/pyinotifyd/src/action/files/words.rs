//! What came of a file action, in words: what was done; or what failed, on what, why, and which
//! key of the rule would have made it work.

use std::{fmt::Write, io};

use pyinotifyd_core::{
    count::Count,
    filerule::{FileAction, FilePlan},
    path::shown,
};
use pyinotifyd_sys::files::{Done, Fault, FileError};

use crate::action::command::errors;

/// Said of a path that no rule is for.
pub(crate) const NO_RULE: &str = "no rule matches";

/// `moved /a to /b`.
pub(super) fn done(plan: &FilePlan, done: &Done) -> String {
    let verb = match plan.action {
        FileAction::Move => "moved",
        FileAction::Copy => "copied",
        FileAction::Delete => "deleted",
    };
    let mut text = format!("{verb} {}", places(plan));
    if plan.action == FileAction::Delete && done.entries > 1 {
        let more = Count(done.entries - 1, "entry", "entries");
        write!(text, " and {more} in it").expect("memory takes all text");
    }
    text
}

/// `moved /a to /b (finished what an earlier attempt had begun)`.
pub(super) fn finished(plan: &FilePlan, done: &Done) -> String {
    format!("{} (finished what an earlier attempt had begun)", self::done(plan, done))
}

/// `/a is gone already`.
pub(super) fn gone(plan: &FilePlan) -> String {
    format!("{} is gone already", shown(&plan.src))
}

/// `move /a to /b`: what a dry run would do.
pub(crate) fn intent(plan: &FilePlan) -> String {
    let mut text = format!("{} {}", plan.action.name(), places(plan));
    if plan.action == FileAction::Delete && plan.rec {
        text += " with all that is in it";
    }
    text
}

/// `rule 1: cannot move /a to /b: open /b: no such directory; auto_create = true makes it`.
pub(super) fn failed(plan: &FilePlan, error: &FileError, is_dir: bool) -> String {
    let why = match (error.reason(), error.errno) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(errno)) => errors::words(&io::Error::from(errno)),
        (None, None) => "failed".to_owned(),
    };
    let mut text = format!(
        "rule {}: cannot {} {}: {} {}: {why}",
        plan.rule + 1,
        plan.action.name(),
        places(plan),
        error.call,
        shown(&error.path),
    );
    if let Some(hint) = hint(plan, error.kind, is_dir) {
        text += "; ";
        text += hint;
    }
    text
}

fn places(plan: &FilePlan) -> String {
    match &plan.dst {
        None => shown(&plan.src).to_string(),
        Some(dst) => format!("{} to {}", shown(&plan.src), shown(&dst.path)),
    }
}

/// What to do about it, where a word in the configuration would help.
fn hint(plan: &FilePlan, fault: Fault, is_dir: bool) -> Option<&'static str> {
    match fault {
        Fault::NoDirectory if !plan.auto_create => Some("auto_create = true makes it"),
        Fault::Exists if is_dir => Some("a directory replaces nothing"),
        Fault::Exists if plan.overwrite => Some("only files and links are replaced"),
        Fault::Exists => Some("overwrite = true replaces a file"),
        Fault::NotEmpty => Some("rec = true deletes it with all that is in it"),
        Fault::LinkInTheWay => {
            Some("links are followed only in the path of the Watch and in what dst_re writes out")
        }
        Fault::Busy => Some("somebody holds a lease on it, or runs it"),
        Fault::NoDirectory
        | Fault::SourceGone
        | Fault::BadPath
        | Fault::SamePlace
        | Fault::IntoItself
        | Fault::HardLinked
        | Fault::Special
        | Fault::OtherFileSystem
        | Fault::Changed
        | Fault::SourceKept
        | Fault::NoSpace
        | Fault::Denied
        | Fault::Cancelled
        | Fault::System => None,
    }
}

#[cfg(test)]
mod tests {
    use pyinotifyd_core::filerule::Destination;
    use pyinotifyd_sys::files::How;
    use rustix::io::Errno;

    use super::*;

    fn plan(action: FileAction) -> FilePlan {
        let dst = Destination { path: b"/out/a".to_vec(), root_len: 4 };
        FilePlan {
            rule: 0,
            action,
            src: b"/in/a".to_vec(),
            dst: (action != FileAction::Delete).then_some(dst),
            auto_create: false,
            overwrite: false,
            rec: false,
            filemode: None,
            dirmode: None,
            user: None,
            group: None,
        }
    }

    #[test]
    fn what_was_done_is_told() {
        let plans = [FileAction::Move, FileAction::Copy, FileAction::Delete].map(plan);
        let with = |entries| Done { how: How::Renamed, bytes: 0, entries, changes: Vec::new() };
        let mut told = Vec::new();
        for plan in &plans {
            told.extend([done(plan, &with(1)), done(plan, &with(2)), done(plan, &with(9))]);
            told.extend([finished(plan, &with(1)), gone(plan), intent(plan)]);
        }
        told.push(intent(&FilePlan { rec: true, ..plan(FileAction::Delete) }));
        insta::assert_snapshot!("done", told.join("\n"));
    }

    #[test]
    fn each_fault_is_told_with_what_helps() {
        use Fault::{
            BadPath, Busy, Cancelled, Changed, Denied, Exists, HardLinked, IntoItself,
            LinkInTheWay, NoDirectory, NoSpace, NotEmpty, OtherFileSystem, SamePlace, SourceGone,
            SourceKept, Special, System,
        };
        let (moves, copies, deletes) =
            (plan(FileAction::Move), plan(FileAction::Copy), plan(FileAction::Delete));
        let replaces = FilePlan { overwrite: true, ..moves.clone() };
        let makes = FilePlan { auto_create: true, ..moves.clone() };
        let (file, directory) = (false, true);
        let cases = [
            (&moves, SourceGone, "openat2", None, file),
            (&moves, Exists, "renameat2", None, file),
            (&replaces, Exists, "renameat2", None, file),
            (&moves, Exists, "renameat2", None, directory),
            (&moves, NoDirectory, "openat2", None, file),
            (&makes, NoDirectory, "openat2", None, file),
            (&moves, LinkInTheWay, "openat2", Some(Errno::LOOP), file),
            (&moves, BadPath, "open", None, file),
            (&moves, SamePlace, "move or copy to", None, file),
            (&copies, IntoItself, "copy", None, directory),
            (&deletes, NotEmpty, "unlinkat", Some(Errno::NOTEMPTY), directory),
            (&copies, HardLinked, "chown", None, file),
            (&copies, Special, "copy", None, file),
            (&deletes, OtherFileSystem, "unlinkat", Some(Errno::XDEV), directory),
            (&copies, Changed, "copy", None, file),
            (&moves, SourceKept, "unlinkat", Some(Errno::IO), file),
            (&moves, SourceKept, "unlinkat", None, file),
            (&copies, Busy, "open", Some(Errno::TXTBSY), file),
            (&copies, NoSpace, "write", Some(Errno::NOSPC), file),
            (&copies, NoSpace, "write", Some(Errno::DQUOT), file),
            (&deletes, Denied, "unlinkat", Some(Errno::ROFS), file),
            (&copies, Cancelled, "copy", None, file),
            (&copies, System, "pread", Some(Errno::IO), file),
        ];
        let told = cases.map(|(plan, kind, call, errno, is_dir)| {
            let error = FileError { kind, call, path: b"/in/a".to_vec(), errno };
            failed(plan, &error, is_dir)
        });
        insta::assert_snapshot!("faults", told.join("\n"));
    }
}
