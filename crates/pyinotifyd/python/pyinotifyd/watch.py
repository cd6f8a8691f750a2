"""What to watch, and what each event asks for."""

import os

from . import _objects
from ._objects import Object

__all__ = ["EventMap", "Pyinotifyd", "PyinotifydConfig", "Watch"]


class EventMap(Object):
    """Event type -> what it asks for."""

    _described = frozenset(("event_map", "default_sched", "exclude_filter"))
    # For a subclass whose `__init__` is all its own.
    event_map = {}
    default_sched = exclude_filter = None
    logname = "eventmap"

    def __init__(self, event_map=None, default_sched=None, exclude_filter=None, logname="eventmap",
                 *, default_task=None):
        if event_map is not None and not hasattr(event_map, "items"):
            raise TypeError(f"an event map has to be a dict, not {type(event_map).__name__}")
        self.event_map = dict(event_map.items()) if event_map is not None else {}
        self.default_sched = default_task if default_sched is None else default_sched
        self.exclude_filter = exclude_filter
        self.logname = logname

    def items(self):
        return self.event_map.items()

    def get(self, name, default=None):
        return self.event_map.get(name, default)

    def __getitem__(self, name):
        return self.event_map[name]

    def __setitem__(self, name, value):
        self.event_map = {**self.event_map, name: value}


class Watch(Object):
    """A path, or several, and what their events ask for.

    Both generations' orders of arguments are taken: (path, event_map, rec, auto_add) and
    (path, event_map, default_sched, rec, auto_add, exclude_filter, logname).
    """

    _described = frozenset(("path", "event_map", "default_sched", "rec", "auto_add",
                            "exclude_filter", "include_filter"))

    def __init__(self, path, event_map=None, *args, **kwargs):
        names = ("default_sched", "rec", "auto_add", "exclude_filter", "logname")
        if args and isinstance(args[0], bool):
            names = names[1:3]
        if len(args) > len(names):
            raise TypeError("Watch() takes path, event_map, " + ", ".join(names))
        for name, value in zip(names, args):
            if name in kwargs:
                raise TypeError(f"Watch() got multiple values for argument '{name}'")
            kwargs[name] = value
        known = names + ("path", "event_map", "default_sched", "exclude_filter", "include_filter",
                         "logname", "rec", "auto_add", "default_task")
        _objects.refuse_unknown(self, kwargs, known)
        if not isinstance(path, (str, bytes, os.PathLike)):
            if not hasattr(path, "__iter__"):
                raise TypeError(f"the path of a Watch has to be a str or a list of them, not {path!r}")
            path = list(path)
        self.path = path
        self._cwd = _cwd()
        if not isinstance(event_map, EventMap):
            event_map = EventMap(event_map)
        self.event_map = event_map
        self.default_sched = kwargs.get("default_sched", kwargs.get("default_task"))
        self.rec = kwargs.get("rec", False)
        self.auto_add = kwargs.get("auto_add", False)
        self.exclude_filter = kwargs.get("exclude_filter")
        self.include_filter = kwargs.get("include_filter")
        self.logname = kwargs.get("logname", "watch")

    def paths(self):
        """All paths; a relative one begins where the process was when it was written."""
        path = self.path
        paths = [path] if isinstance(path, (str, bytes, os.PathLike)) else path
        return [os.path.join(self._cwd, it) if it else it for it in map(os.fsdecode, paths)]


def _cwd():
    try:
        return os.getcwd()
    except OSError:
        return ""


class Pyinotifyd(Object):
    """The daemon's configuration: a config.py names it `pyinotifyd`."""

    _described = frozenset(("watches", "shutdown_timeout", "logname", "slots"))

    def __init__(self, watches=(), shutdown_timeout=30, logname="daemon", loop=None, *, slots=None):
        # Between the generations a loop could be given. There is one.
        self.set_watches(watches)
        self.set_shutdown_timeout(shutdown_timeout)
        self.logname = logname or "daemon"
        self.slots = slots

    def set_watches(self, watches):
        """Has these Watches, and no others."""
        watches = [watches] if isinstance(watches, Watch) else list(watches)
        for watch in watches:
            if not isinstance(watch, Watch):
                raise TypeError(f"a watch has to be a Watch, not {watch!r}")
        self.watches = watches

    def set_shutdown_timeout(self, timeout):
        """Seconds that tasks get at the end."""
        self.shutdown_timeout = timeout

    def add_watch(self, *args, watch=None, **kwargs):
        """Adds a Watch: one that is made already, or its arguments."""
        if watch is None:
            is_made = len(args) == 1 and not kwargs and isinstance(args[0], Watch)
            watch = args[0] if is_made else Watch(*args, **kwargs)
        self.watches = self.watches + [watch]
        return watch


class PyinotifydConfig(Pyinotifyd):
    """Another name, which stands in an old text about this program."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _objects.warn("PyinotifydConfig is another name of Pyinotifyd",
                      "write `pyinotifyd = Pyinotifyd(...)`")
