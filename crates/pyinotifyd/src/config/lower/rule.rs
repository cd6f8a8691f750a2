//! A rule of the file manager.

use pyinotifyd_core::filerule::{FileAction, FileRule};

use super::{Lower, values::narrow};
use crate::config::{
    diagnostic::Diagnostic,
    document::{DocRule, Spot},
    keys::{FILE_ACTIONS, RuleKey},
    parts,
};

impl Lower<'_> {
    pub(super) fn rule(&mut self, doc: &DocRule) -> Option<FileRule> {
        const ACTIONS: [FileAction; 3] = [FileAction::Move, FileAction::Copy, FileAction::Delete];
        let action = self.word(&doc.action, FILE_ACTIONS, &ACTIONS);
        if doc.action.is_none() {
            self.report_missing(
                doc.lost.contains(&"action"),
                Diagnostic::error(&doc.place, "this rule has no `action`")
                    .hint("write action = \"move\", \"copy\" or \"delete\""),
            );
        }
        let src_re = doc.src_re.as_ref().and_then(|spot| {
            parts::pattern(&spot.value)
                .map_err(|fault| self.fault("this pattern", &spot.place, &spot.value, fault))
                .ok()
        });
        if doc.src_re.is_none() {
            self.report_missing(
                doc.lost.contains(&"src_re"),
                Diagnostic::error(&doc.place, "this rule has no `src_re`")
                    .hint("write which paths it is for: src_re = '^/from/(?P<name>.*)$'"),
            );
        }
        let dst_re = match (action, &doc.dst_re) {
            (Some(FileAction::Delete), Some(spot)) => {
                self.report(
                    Diagnostic::error(&spot.place, "a rule that deletes has no `dst_re`")
                        .hint("leave it out, or write action = \"move\""),
                );
                None
            }
            (Some(FileAction::Move | FileAction::Copy), None) => {
                let at = doc.action.as_ref().map_or(&doc.place, |it| &it.place);
                let word = doc.action.as_ref().map_or("", |it| it.value.as_str());
                let missing = Diagnostic::error(at, "this rule has no `dst_re`")
                    .label(format!("{word} where to?"))
                    .hint("write dst_re = '/to/\\g<name>'");
                self.report_missing(doc.lost.contains(&"dst_re"), missing);
                None
            }
            (_, Some(spot)) => {
                self.destination(spot);
                src_re.as_ref().and_then(|pattern| {
                    parts::substitution(&spot.value, pattern)
                        .map_err(|it| self.fault("this destination", &spot.place, &spot.value, it))
                        .ok()
                })
            }
            (_, None) => None,
        };
        let filemode = self.mode(&doc.filemode, 0o7777);
        if let (Some(mode), Some(spot)) = (filemode, &doc.filemode)
            && mode & 0o6000 != 0
        {
            self.report(
                Diagnostic::warning(&spot.place, "files get the setuid or setgid bit")
                    .label("whoever runs one acts as its owner or group"),
            );
        }
        let dirmode = self.mode(&doc.dirmode, 0o7777);
        let user = doc.user.as_ref().and_then(|spot| {
            let uid = match self.user(spot)? {
                Ok(user) => user.uid,
                Err(uid) => uid,
            };
            if uid != self.environment.uid {
                self.needs_root(&spot.place, "give files to another user");
            }
            Some(uid)
        });
        let group = doc.group.as_ref().and_then(|spot| self.group(spot));
        Some(FileRule {
            action: action?,
            src_re: src_re?,
            dst_re,
            auto_create: Self::flag(&doc.auto_create, RuleKey::AutoCreate),
            overwrite: Self::flag(&doc.overwrite, RuleKey::Overwrite),
            rec: Self::flag(&doc.rec, RuleKey::Rec),
            filemode,
            dirmode,
            user,
            group,
        })
    }

    /// A destination that begins with a group is as absolute as what the group matches, which
    /// only the event tells.
    fn destination(&mut self, spot: &Spot<String>) {
        if spot.value.starts_with(['/', '\\']) {
            return;
        }
        let place = narrow(&spot.place, &spot.value, Some(0), 1);
        let diagnostic = Diagnostic::error(&place, "this destination is not absolute");
        self.report(diagnostic.hint("write the whole path, from /"));
    }

    /// All rules; nothing if one is wrong.
    pub(super) fn rules(&mut self, docs: &Spot<Vec<DocRule>>) -> Option<Vec<FileRule>> {
        if docs.value.is_empty() {
            self.report(Diagnostic::error(&docs.place, "there are no rules in this list"));
        }
        // Not in one go: the mistakes of the rules behind a bad one count, too.
        let rules: Vec<_> = docs.value.iter().map(|doc| self.rule(doc)).collect();
        rules.into_iter().collect()
    }
}
