"""What config.py built, as the document that the daemon reads; and the jobs that it names."""

import functools
import inspect
import math
import os
import re
import types
import warnings

from . import _objects, _state
from ._events import TYPES
from .filemanager import FileManager, FileManagerScheduler
from .scheduler import OPTIONS, PROCESS, Cancel, Scheduler, ShellScheduler, TaskScheduler
from .watch import Pyinotifyd


class Mistake(Exception):
    """Something that cannot be described; `owner` is the object of config.py that has it."""

    def __init__(self, owner, message, *hints):
        super().__init__(message)
        self.owner = owner
        self.hints = hints


class Job:
    """A callable, and how it is called."""

    __slots__ = ("call", "logname", "takes_id", "is_plain", "slow")

    def __init__(self, call, logname, takes_id):
        self.call = call
        self.logname = logname
        self.takes_id = takes_id
        #: Whether it is an `async def` of (event, task_id), so that none of its code runs when it is
        #: called, but only when the coroutine is stepped.
        self.is_plain = takes_id and type(call) in (types.FunctionType, types.MethodType) and bool(
            getattr(call.__code__, "co_flags", 0) & inspect.CO_COROUTINE)
        #: Whether its last run held the loop for long.
        self.slow = False


def is_async(call):
    while isinstance(call, functools.partial):
        call = call.func
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(type(call), "__call__", None))


def takes_id(call):
    """Whether a callable wants the task's id beside the event."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except Exception:
        # Written in C, or with annotations that cannot be evaluated.
        return True
    if any(it.kind is it.VAR_POSITIONAL for it in parameters):
        return True
    places = [it for it in parameters if it.kind in (it.POSITIONAL_ONLY, it.POSITIONAL_OR_KEYWORD)]
    return len(places) > 1


def name_of(call):
    while isinstance(call, functools.partial):
        call = call.func
    return getattr(call, "__qualname__", None) or type(call).__qualname__


class Description:
    """Keeps the numbers and names of what was described before: the same things have the same ones,
    however often they are described."""

    def __init__(self, config):
        self.config = config
        self.before = _state.snapshot()
        self.identity = _state.identity()
        #: config.py, once it has run.
        self.module = None
        #: By number.
        self.jobs = {}
        #: Schedulers of what is none, by what it is.
        self._wrappers = {}
        #: Numbers of jobs, by whose they are.
        self._numbers = {}
        #: All that ever had a name, and keeps it.
        self._names = {}
        #: What is in the document that is being made.
        self._schedulers = {}
        #: Whose `schedule` and `cancel` an event map names, as in the first generation.
        self._first = set()

    def document(self, pyinotifyd):
        self._schedulers = {}
        self._first = set()
        watches = [self._watch(it) for it in pyinotifyd.watches]
        # What no map names may still be asked by code.
        for it in list(_objects.made):
            if isinstance(it, Scheduler):
                self._add(it)
        schedulers = [self._scheduler(it) for it in self._schedulers.values()]
        for it in list(_objects.made):
            if isinstance(it, FileManager) and not self._managers(it):
                schedulers.append(self._scheduler(self._manager(it)))
        of_the_daemon = any(it["action"].keys() & {"shell", "rules"} for it in schedulers)
        if of_the_daemon and _state.identity() != self.identity:
            raise Mistake(None, "this file gives up its user or group, but its commands and file "
                                "rules are the daemon's, and would go on as what that is",
                          "run the daemon as that user: `User=` in its unit")
        document = {"watches": watches, "schedulers": schedulers,
                    "shutdown_timeout": _plain(pyinotifyd, "shutdown_timeout", pyinotifyd.shutdown_timeout),
                    "logname": _plain(pyinotifyd, "logname", pyinotifyd.logname),
                    "process": _state.difference(self.before),
                    "diagnostics": list(_objects.warnings)}
        if pyinotifyd.slots is not None:
            document["slots"] = _plain(pyinotifyd, "slots", pyinotifyd.slots)
        return document

    def name(self, it):
        """What a scheduler is called, or one that has a file manager's rules; `None` if the
        document does not have it."""
        if isinstance(it, FileManager):
            it = next(iter(self._managers(it)), None)
        return self._names[id(it)][0] if id(it) in self._schedulers else None

    # -- names and numbers

    def _number(self, owner):
        """Keeps the owner alive, so that no other gets its id."""
        return self._numbers.setdefault(id(owner), (len(self._numbers) + 1, owner))[0]

    def _add(self, scheduler):
        """A scheduler's name in the document."""
        if id(scheduler) not in self._names:
            self._names[id(scheduler)] = self._new_name(scheduler), scheduler
        self._schedulers[id(scheduler)] = scheduler
        return self._names[id(scheduler)][0]

    def _new_name(self, scheduler):
        taken = {name for name, _ in self._names.values()}
        held = _held(scheduler)
        # Another scheduler's variable keeps its name for it.
        others = {name for name, value in vars(self.module).items()
                  if isinstance(value, Scheduler) and value is not held}
        for name, value in vars(self.module).items():
            if value is held and name not in taken:
                return name
        base = getattr(scheduler, "_about", None) or type(scheduler).__name__
        names = [base, *(f"{base}#{number}" for number in range(2, len(taken) + len(others) + 3))]
        return next(it for it in names if it not in taken and it not in others)

    # -- watches

    def _watch(self, watch):
        file, line = watch._place
        filters = [*_matchers(watch, watch.exclude_filter),
                   *_matchers(watch.event_map, watch.event_map.exclude_filter)]
        try:
            paths = watch.paths()
        except TypeError:
            raise Mistake(watch, f"the path of a Watch has to be a str or a list of them, not "
                                 f"{watch.path!r}") from None
        return {"file": file, "line": line, "path": paths, "rec": bool(watch.rec),
                "auto_add": bool(watch.auto_add), "exclude_filter": filters,
                "include_filter": [*_matchers(watch, watch.include_filter)],
                "event_map": self._event_map(watch)}

    def _event_map(self, watch):
        event_map = watch.event_map
        bindings = []
        for name, value in event_map.items():
            where = f"the event map's entry {name!r}"
            bindings.append([str(name), self._orders(event_map, where, value)])
        named = {it for it, _ in bindings}
        for name, method in _methods(event_map).items():
            if name not in named:
                bindings.append([name, [["schedule", self._call(method)]]])
        default = event_map.default_sched
        if default is None:
            default = watch.default_sched
        if default is None:
            default = getattr(event_map, "process_default", None)
        if default is not None:
            bindings.append(["default", self._orders(event_map, "the default", default)])
        return bindings

    def _orders(self, owner, where, value):
        if value is None:
            return []
        if isinstance(value, (list, tuple)):
            return [order for it in value for order in self._orders(owner, where, it)]
        if isinstance(value, Cancel):
            return [self._order("cancel", value.scheduler, "process_cancel_event")]
        if isinstance(value, Scheduler):
            return [self._order("schedule", value, "process_event")]
        target, method = getattr(value, "__self__", None), getattr(value, "__name__", "")
        if isinstance(target, Scheduler) and method in ("schedule", "cancel"):
            self._first.add(id(target))
            if getattr(type(target), method) is getattr(Scheduler, method):
                hook = "process_event" if method == "schedule" else "process_cancel_event"
                return [self._order(method, target, hook)]
        if isinstance(target, FileManager) and method == "task":
            return [["schedule", self._add(self._manager(target))]]
        if not callable(value) or isinstance(value, type):
            raise Mistake(owner, f"{where} is neither a scheduler nor callable: {value!r}",
                          "name a scheduler, Cancel(scheduler), a function, a list of them, or None")
        if is_async(value):
            return [["schedule", self._wrapped(value, _task)]]
        return [["schedule", self._call(value)]]

    def _order(self, kind, scheduler, hook):
        """What an event map asks of a scheduler; its own code first, if it has any."""
        cls = type(scheduler)
        if getattr(cls, hook) is not getattr(Scheduler, hook) or (
                cls.taskindex is not Scheduler.taskindex):
            self._add(scheduler)
            return ["schedule", self._call(getattr(scheduler, hook))]
        return [kind, self._add(scheduler)]

    def _call(self, call):
        """A callable that gets each event."""
        return self._wrapped(call, Direct)

    def _wrapped(self, call, make):
        """A callable as a scheduler. A bound method is another object each time."""
        key = id(getattr(call, "__self__", None)), id(getattr(call, "__func__", call))
        if key not in self._wrappers:
            self._wrappers[key] = make(call), call
        return self._add(self._wrappers[key][0])

    def _manager(self, manager):
        """A scheduler that applies a file manager's rules."""
        key = id(manager), None
        if key not in self._wrappers:
            self._wrappers[key] = Managed(manager), manager
        return self._wrappers[key][0]

    def _managers(self, manager):
        """The schedulers in the document that apply a file manager's rules."""
        return [it for it in self._schedulers.values() if _manager_of(it) is manager]

    # -- schedulers

    def _scheduler(self, it):
        file, line = it._place
        name = self._add(it)
        data = {"name": name, "file": file, "line": line, "logname": _plain(it, "logname", it.logname),
                "files": bool(it.files), "dirs": bool(it.dirs),
                "delay": _plain(it, "delay", it.delay), "singlejob": bool(it.singlejob)}
        manager = _manager_of(it)
        if manager is not None and it.logname == "sched":
            # A file manager that has a logname wants its own in what it does.
            data["logname"] = _plain(manager, "logname", manager.logname)
        for option in OPTIONS + PROCESS if isinstance(it, ShellScheduler) else OPTIONS:
            value = getattr(it, option, None)
            if value is None:
                continue
            if option.endswith("_filter"):
                data[option] = [*_matchers(it, value)]
            else:
                data[option] = _plain(it, option, value)
        if isinstance(it, Scheduler) and type(it).taskindex is not Scheduler.taskindex:
            data["follow"] = False
        if "busy" not in data:
            first = getattr(it, "_first", False) or id(it) in self._first
            data["busy"] = "parallel" if first and not it.singlejob else "skip"
        data["action"] = self._action(it)
        return data

    def _action(self, it):
        manager = _manager_of(it)
        if isinstance(it, Direct):
            return {"call": self._job(it, it.call, False), "name": name_of(it.call)}
        if isinstance(it, ShellScheduler):
            return {"shell": it.cmd}
        if manager is not None or isinstance(it, FileManagerScheduler):
            return {"rules": [_rule(rule) for rule in (manager or it).rules]}
        if isinstance(it, TaskScheduler):
            return {"python": self._job(it, it.job, takes_id(it.job)), "name": name_of(it.job)}
        raise Mistake(it, f"a {type(it).__name__} has nothing to do",
                      "it has to be a TaskScheduler, a ShellScheduler or a FileManagerScheduler")

    def _job(self, owner, call, with_id):
        number = self._number(owner)
        self.jobs[number] = Job(call, owner.logname, with_id)
        return number


def _methods(event_map):
    """The methods that a subclass has for event types, found as pyinotify does: `process_IN_CLOSE`
    is for all that begin with `IN_CLOSE`, unless they have their own."""
    own = {it[len("process_"):]: getattr(event_map, it) for it in dir(type(event_map))
           if it.startswith("process_IN_")}
    methods = {}
    for name in TYPES:
        family = "_".join(name.split("_")[:2])
        if name in own or family in own:
            methods[name] = own.get(name, own.get(family))
    families = {"_".join(name.split("_")[:2]) for name in TYPES}
    methods.update({name: it for name, it in own.items() if name not in families})
    return methods


class Direct:
    """A callable that gets each event, as if it were a scheduler."""

    files = dirs = True
    delay = 0
    singlejob = False
    busy = "parallel"
    breaker = False
    follow = False
    logname = "sched"

    def __init__(self, call):
        self.call = call
        self._about = name_of(call)
        owner = getattr(call, "__self__", None)
        if isinstance(owner, Scheduler):
            self.logname = owner.logname
        self._place = owner._place if isinstance(owner, _objects.Object) else _defined(call)


class Managed:
    """The rules of a file manager of the first generation, as if it were a scheduler."""

    files = True
    dirs = False
    delay = 0
    singlejob = False

    def __init__(self, manager):
        self.manager = manager
        self._place = manager._place
        self._about = "FileManager"

    @property
    def logname(self):
        return self.manager.logname


def _task(call):
    """A coroutine function that stands in an event map by itself."""
    it = TaskScheduler(job=call)
    # It is known by what it wraps.
    _objects.made.remove(it)
    object.__setattr__(it, "_about", name_of(call))
    object.__setattr__(it, "_place", _defined(call))
    return it


def _defined(call):
    """The file and line of a callable."""
    while isinstance(call, functools.partial):
        call = call.func
    try:
        code = getattr(inspect.unwrap(call), "__code__", None) or getattr(
            getattr(type(call), "__call__", None), "__code__", None)
    except ValueError:
        code = None
    return (code.co_filename, code.co_firstlineno) if code else (None, None)


def _manager_of(scheduler):
    """The file manager whose `task` is all that a scheduler runs."""
    if isinstance(scheduler, Managed):
        return scheduler.manager
    job = getattr(scheduler, "job", None)
    target = getattr(job, "__self__", None)
    if isinstance(target, FileManager) and getattr(job, "__func__", None) is FileManager.task:
        return target
    return None


def _held(scheduler):
    """What a variable holds, if it holds this scheduler."""
    return scheduler.manager if isinstance(scheduler, Managed) else scheduler


def _plain(owner, name, value):
    """A copy of a value, of nothing but what JSON has."""
    if value is None or isinstance(value, (bool, str)):
        return value
    # Of a subclass, such as an `enum.IntEnum`, only the number counts.
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, (list, tuple)):
        return [_plain(owner, name, it) for it in value]
    if isinstance(value, dict):
        return {str(key): _plain(owner, name, it) for key, it in value.items()}
    raise Mistake(owner, f"{name} cannot be {value!r}, a {type(value).__name__}")


def _matchers(owner, value):
    """The conditions of a filter: regexes, a file of them, or an ExcludeFilter."""
    if value is None:
        return
    if isinstance(value, (str, os.PathLike)):
        yield {"file": os.path.abspath(os.fsdecode(value))}
        return
    if isinstance(value, dict):
        yield _plain(owner, "a filter", value)
        return
    patterns = getattr(value, "patterns", None)
    if patterns is None and hasattr(value, "_lregex"):
        # The real pyinotify keeps the match methods of compiled patterns.
        patterns = [it.__self__.pattern for it in value._lregex]
    if patterns is None and hasattr(value, "pattern"):
        patterns = [value]
    try:
        patterns = list(value if patterns is None else patterns)
    except TypeError:
        raise Mistake(owner, f"a filter has to be a list of regular expressions, or the path of "
                             f"a file of them, not {value!r}") from None
    for it in patterns:
        if isinstance(it, dict):
            yield _plain(owner, "a filter", it)
        else:
            yield {"regex": _regex(owner, "a filter", it)}


def _regex(owner, name, value):
    """The text of a regular expression, compiled or not; the flags of a compiled one go with it."""
    flags = ""
    if isinstance(value, re.Pattern):
        flags = "".join(letter for letter, flag in _FLAGS.items() if value.flags & flag)
        value = value.pattern
    if not isinstance(value, str):
        raise Mistake(owner, f"{name} has to be a regular expression, not {value!r}")
    return f"(?{flags}){value}" if flags else value


_FLAGS = {"a": re.ASCII, "i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def _rule(rule):
    file, line = rule._place
    data = {"file": file, "line": line, "action": rule.action,
            "src_re": _regex(rule, "src_re", rule.src_re), "dst_re": rule.dst_re,
            "auto_create": bool(rule.auto_create), "overwrite": bool(rule.overwrite),
            "filemode": rule.filemode, "dirmode": rule.dirmode, "user": rule.user,
            "group": rule.group, "rec": bool(rule.rec)}
    data = {name: _plain(rule, name, value) for name, value in data.items()}
    fault = _fault(data["src_re"], data["dst_re"])
    if fault:
        data["fault"] = fault
    return data


def _fault(src_re, dst_re):
    """What `re` has against a rule, if anything. The daemon matches most of them by itself, but what
    is right is for Python to say."""
    about = "src_re"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pattern = re.compile(src_re)
        about = "dst_re"
        if isinstance(dst_re, str):
            # The template is read before anything is searched for.
            pattern.sub(dst_re, "")
    # `RecursionError`, `OverflowError`, and what a fault in `re` itself makes, are among these.
    except Exception as error:
        return {"in": about, "message": str(error)}
    return None


def find(module):
    """The configuration that a config.py defines."""
    value = vars(module).get("pyinotifyd")
    if isinstance(value, Pyinotifyd):
        return value
    other = vars(module).get("pyinotifyd_config")
    if isinstance(other, Pyinotifyd):
        _objects.warn("the configuration is named pyinotifyd_config", "name it `pyinotifyd`",
                      at=other._place)
        return other
    if value is None or inspect.ismodule(value):
        raise Mistake(None, "there is no variable `pyinotifyd`",
                      "end the file with `pyinotifyd = Pyinotifyd(watches=[...])`")
    raise Mistake(None, f"the variable `pyinotifyd` has to be a Pyinotifyd, not "
                        f"{type(value).__name__}")
