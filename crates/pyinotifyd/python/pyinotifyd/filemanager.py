"""Rules that move, copy and delete files. The daemon applies them."""

from . import _objects
from ._objects import Object
from .scheduler import Scheduler

__all__ = ["FileManager", "FileManagerRule", "FileManagerScheduler", "Rule"]


class FileManagerRule(Object):
    """What to do with the paths that a regular expression matches."""

    _described = frozenset(("action", "src_re", "dst_re", "auto_create", "overwrite", "dirmode",
                            "filemode", "user", "group", "rec"))

    def __init__(self, action, src_re, dst_re="", auto_create=False, overwrite=False, dirmode=None,
                 filemode=None, user=None, group=None, rec=False, *, override=None):
        self.action = action
        self.src_re = src_re
        self.dst_re = dst_re
        self.auto_create = auto_create
        self.overwrite = overwrite if override is None else override
        self.dirmode = dirmode
        self.filemode = filemode
        self.user = user
        self.group = group
        self.rec = rec


class Rule(FileManagerRule):
    """A rule, in the order of arguments of the first generation."""

    def __init__(self, action, src_re, dst_re="", auto_create=False, dirmode=None, filemode=None,
                 user=None, group=None, rec=False, *, overwrite=False, override=None):
        super().__init__(action, src_re, dst_re, auto_create, overwrite, dirmode, filemode, user,
                         group, rec, override=override)


def _rules(rules):
    rules = [rules] if isinstance(rules, FileManagerRule) else list(rules)
    for rule in rules:
        if not isinstance(rule, FileManagerRule):
            raise TypeError(f"a rule has to be a FileManagerRule or a Rule, not {rule!r}")
    return rules


class _Ruled:
    """What has rules."""

    def add_rule(self, *args, **kwargs):
        """Adds a rule: one that is made already, or its arguments."""
        if len(args) == 1 and not kwargs and isinstance(args[0], FileManagerRule):
            rule = args[0]
        else:
            rule = Rule(*args, **kwargs)
        self.rules = self.rules + [rule]


class FileManagerScheduler(_Ruled, Scheduler):
    """Applies the first rule that matches."""

    def __init__(self, rules, files=True, dirs=False, delay=0, logname="filemgr", global_vars=None,
                 singlejob=False, **options):
        super().__init__(files, dirs, delay, logname, global_vars, singlejob, **options)
        self.rules = _rules(rules)


class FileManager(_Ruled, Object):
    """The first generation's: its `task` is what a scheduler runs."""

    _host = None
    _described = frozenset(("rules", "logname"))

    def __init__(self, rules=(), logname="filemgr"):
        self.rules = _rules(rules)
        self.logname = logname
        _objects.made.append(self)

    async def task(self, event, task_id=None):
        """Applies the rules to the event's path now."""
        if self._host is None:
            raise RuntimeError("files can be managed once the daemon runs")
        await self._host.files(self, event, task_id)
