"""What a config.py builds: watches, event maps, schedulers, rules.

Served from memory by the daemon, which does the watching and the scheduling; see
docs/design/003-python-host.md of its sources.
"""

from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING

from ._logs import enableSyslog, setLoglevel
from .filemanager import FileManager, FileManagerRule, FileManagerScheduler, Rule
from .scheduler import Cancel, ShellScheduler, TaskScheduler
from .watch import EventMap, Pyinotifyd, PyinotifydConfig, Watch

__all__ = [
    "CRITICAL", "DEBUG", "ERROR", "INFO", "WARNING",
    "Cancel", "EventMap", "FileManager", "FileManagerRule", "FileManagerScheduler",
    "Pyinotifyd", "PyinotifydConfig", "Rule", "ShellScheduler", "TaskScheduler", "Watch",
    "enableSyslog", "setLoglevel",
]


def __getattr__(name):
    """What the original's module has besides, because it imports it."""
    if name in ("ExcludeFilter", "ProcessEvent", "pyinotify"):
        import pyinotify
        return pyinotify if name == "pyinotify" else getattr(pyinotify, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
