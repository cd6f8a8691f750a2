"""Schedulers. When a task runs is decided by the daemon; here are the words for it, and the jobs."""

import collections.abc
import inspect

from . import _objects
from ._objects import Object

__all__ = ["Cancel", "FileManagerRule", "FileManagerScheduler", "ShellScheduler", "TaskScheduler"]

#: What can be said of any scheduler beyond the original's words; as in config.toml.
OPTIONS = ("busy", "slots", "timeout", "kill_after", "max_wait", "ready", "retry", "follow",
           "breaker", "batch", "on_crash", "exclude_filter", "include_filter")

#: What can be said of how a command is run.
PROCESS = ("env", "cwd", "user", "group", "umask", "nice", "rlimits", "output", "output_level")


def __getattr__(name):
    """What the second generation has in this module, too."""
    if name in ("FileManagerRule", "FileManagerScheduler"):
        from . import filemanager
        return getattr(filemanager, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Done(collections.abc.Coroutine):
    """What has been done already, for who awaits it, or makes a task of it."""

    def __await__(self):
        return
        yield

    def send(self, value):
        raise StopIteration

    def throw(self, kind, value=None, traceback=None):
        raise kind

    def close(self):
        pass


DONE = _Done()


class Scheduler(Object):
    """What all schedulers have."""

    _options = OPTIONS
    _described = frozenset(("files", "dirs", "delay", "logname", "singlejob", "job", "cmd", "rules")
                           + OPTIONS + PROCESS)
    #: The daemon's end, once there is one.
    _host = None

    def __init__(self, files=True, dirs=False, delay=0, logname="sched", global_vars=None,
                 singlejob=False, **options):
        _objects.refuse_unknown(self, options, ("files", "dirs", "delay", "logname", "global_vars",
                                                "singlejob") + self._options)
        self.files = files
        self.dirs = dirs
        # Whoever writes `False` means that there is none.
        self.delay = int(delay) if isinstance(delay, bool) else delay
        self.logname = logname or "sched"
        self.global_vars = global_vars
        self.singlejob = singlejob
        for name, value in options.items():
            setattr(self, name, value)
        _objects.made.append(self)

    def schedule(self, event):
        """Asks for a run, as an event map would."""
        return self._order("schedule", event)

    def cancel(self, event):
        """Gives up what has been asked for and has not begun."""
        return self._order("cancel", event)

    def process_event(self, event):
        """An event map says that an event is to be handled."""
        return self._order("schedule", event)

    def process_cancel_event(self, event):
        """An event map says that an event cancels."""
        return self._order("cancel", event)

    def taskindex(self, event):
        """What an event is about: events about the same are the same task's."""
        return event.pathname

    def _order(self, kind, event):
        if self._host is None:
            raise RuntimeError("events can be scheduled once the daemon runs")
        if kind == "schedule" and not (self.dirs if getattr(event, "dir", False) else self.files):
            return DONE
        subject = None
        if type(self).taskindex is not Scheduler.taskindex and not self.singlejob:
            subject = str(self.taskindex(event))
        self._host.order(kind, self, event, subject)
        return DONE


class TaskScheduler(Scheduler):
    """Runs a coroutine function of (event, task_id)."""

    def __init__(self, job=None, files=True, dirs=False, delay=0, logname="sched",
                 global_vars=None, singlejob=False, *, task=None, **options):
        super().__init__(files, dirs, delay, logname, global_vars, singlejob, **options)
        if job is not None and task is not None:
            raise TypeError(f"{type(self).__name__}() takes job or task, which mean the same, not both")
        # The first generation says `task`, and starts another run beside one that goes on.
        self._first = task is not None
        job = task if job is None else job
        if job is None and type(self).job is TaskScheduler.job:
            raise TypeError(f"{type(self).__name__}() missing 1 required argument: 'job'")
        if job is not None:
            if not callable(job):
                raise TypeError(f"the job of a {type(self).__name__} has to be callable, "
                                f"{type(job).__name__} is not")
            if inspect.isgeneratorfunction(job) or inspect.isasyncgenfunction(job):
                raise TypeError(f"the job of a {type(self).__name__} cannot have a `yield`: "
                                "nothing would ever run it")
            self.job = job
        if global_vars:
            space = getattr(inspect.unwrap(self.job) if callable(self.job) else None, "__globals__", None)
            for name, value in global_vars.items() if space is not None else ():
                space.setdefault(name, value)

    async def job(self, event, task_id):
        """What is run; to be overridden, or given as an argument."""
        raise NotImplementedError


class ShellScheduler(Scheduler):
    """Runs a command line in /bin/sh."""

    _options = OPTIONS + PROCESS

    def __init__(self, cmd, files=True, dirs=False, delay=0, logname="sched", global_vars=None,
                 singlejob=False, **options):
        super().__init__(files, dirs, delay, logname, global_vars, singlejob, **options)
        if not isinstance(cmd, str):
            raise TypeError(f"the cmd of a {type(self).__name__} has to be a str, not "
                            f"{type(cmd).__name__}")
        self.cmd = cmd


class Cancel(Object):
    """In an event map: gives up the task of this scheduler."""

    _described = frozenset(("scheduler",))

    def __init__(self, scheduler):
        if not isinstance(scheduler, Scheduler):
            raise TypeError(f"Cancel() takes a scheduler, not {scheduler!r}")
        self.scheduler = scheduler
