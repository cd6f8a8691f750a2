//! A rule of the file manager.

use pyinotifyd_core::{
    filerule::{FileAction, FileRule, Matching},
    pattern::{Pattern, Substitution},
};

use super::{Lower, values::narrow};
use crate::config::{
    diagnostic::Diagnostic,
    document::{DocFault, DocRule, Spot},
    keys::{FILE_ACTIONS, RuleKey},
    parts::{self, Fault},
};

/// What is wrong with a pattern, or with its destination.
struct Refused<'a> {
    in_destination: bool,
    about: &'a Spot<String>,
    fault: Fault,
}

/// Both, as they are understood here.
fn own<'a>(
    src: &'a Spot<String>,
    dst: Option<&'a Spot<String>>,
) -> Result<(Pattern, Option<Substitution>), Refused<'a>> {
    let src_re = parts::pattern(&src.value).map_err(|fault| Refused {
        in_destination: false,
        about: src,
        fault,
    })?;
    let dst_re = dst.map(|about| {
        parts::substitution(&about.value, &src_re).map_err(|fault| Refused {
            in_destination: true,
            about,
            fault,
        })
    });
    let dst_re = dst_re.transpose()?;
    Ok((src_re, dst_re))
}

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
                Some(spot)
            }
            (_, None) => None,
        };
        let matching =
            doc.src_re.as_ref().and_then(|it| self.matching(it, dst_re, doc.fault.as_ref()));
        let filemode = self.mode(&doc.filemode, 0o7777);
        if let (Some(mode), Some(spot)) = (filemode, &doc.filemode)
            && mode & 0o6000 != 0
        {
            self.report(
                Diagnostic::warning(&spot.place, "files never get the setuid or setgid bit")
                    .label("whoever runs one would act as its owner or group"),
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
            matching: matching?,
            auto_create: Self::flag(&doc.auto_create, RuleKey::AutoCreate),
            overwrite: Self::flag(&doc.overwrite, RuleKey::Overwrite),
            rec: Self::flag(&doc.rec, RuleKey::Rec),
            filemode,
            dirmode,
            user,
            group,
        })
    }

    /// What matches, and where to. In a config.py it is Python that says what is right; what it
    /// takes and nobody here surely understands in the same way is left to it.
    fn matching(
        &mut self,
        src: &Spot<String>,
        dst: Option<&Spot<String>>,
        fault: Option<&DocFault>,
    ) -> Option<Matching> {
        let refused = match (own(src, dst), fault) {
            (Ok((src_re, dst_re)), None) if !self.has_python || src_re.same_as_python() => {
                return Some(Matching::Own { src_re, dst_re });
            }
            (Err(refused), None) if !self.has_python => refused,
            (Ok(_) | Err(_), None) => {
                let dst_re = dst.map(|it| it.value.as_str().into());
                return Some(Matching::Python { src_re: src.value.as_str().into(), dst_re });
            }
            // Of the same mistake, ours has the place.
            (Err(refused), Some(fault)) if refused.in_destination == fault.in_destination => {
                refused
            }
            (Ok(_) | Err(_), Some(DocFault { in_destination, message })) => Refused {
                in_destination: *in_destination,
                about: dst.filter(|_| *in_destination).unwrap_or(src),
                fault: Fault { message: message.clone(), at: None, hint: None },
            },
        };
        let Refused { in_destination, about, fault } = refused;
        let what = if in_destination { "this destination" } else { "this pattern" };
        self.fault(what, &about.place, &about.value, fault);
        None
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
            let message = "there are no rules in this list";
            // The original takes it; some are made in a loop over what there is.
            self.report(if self.has_python {
                Diagnostic::warning(&docs.place, message)
            } else {
                Diagnostic::error(&docs.place, message)
            });
        }
        // Not in one go: the mistakes of the rules behind a bad one count, too.
        let rules: Vec<_> = docs.value.iter().map(|doc| self.rule(doc)).collect();
        rules.into_iter().collect()
    }
}
