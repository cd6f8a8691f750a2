"""The process that config.py lives in. It says what was built, and runs jobs when it is told to.

The protocol is in docs/design/003-python-host.md of the daemon's sources.
"""

import asyncio
import atexit
import fcntl
import gc
import importlib
import importlib.machinery
import io
import linecache
import logging
import logging.handlers
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
import tokenize
import types
import warnings

import pyinotifyd as package

from . import _describe, _logs, _objects
from ._link import Link
from ._objects import NAME

PROTOCOL = 1
#: What a config.py may use without importing it, beside the package's own names.
MODULES = (asyncio, logging, os, re, shutil, signal, sys)

#: What the first generation's had besides, imported for who uses it: its module, and a name in it.
LATER = {"argparse": ("argparse", None), "pyinotify": ("pyinotify", None),
         "shell_quote": ("shlex", "quote"), "uuid4": ("uuid", "uuid4")}

#: Seconds that what waits for the daemon gets at a bad end, and threads with it.
MOMENT = 1.0


def main(link, start):
    """Runs config.py, and its jobs until the daemon has no more."""
    link = Link(_moved(link))
    _hand_signals_on()
    _show_prints_at_once()
    os.register_at_fork(after_in_child=lambda: _forked(link))
    # There before config.py is: what it makes at its top level belongs to the loop of its tasks.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    _logs.install(link.post_log, start.get("debug"))
    link.post(["hello", {"protocol": PROTOCOL, "python": sys.version.split()[0],
                         "executable": sys.executable, "pid": os.getpid()}])
    link.flush()
    path = start["config"]
    package.__version__ = start.get("version")
    sys.argv = start.get("argv") or sys.argv
    description = _describe.Description(path)
    try:
        description.module = _execute(path)
        pyinotifyd = _describe.find(description.module)
        document = description.document(pyinotifyd)
    except BaseException as error:
        # Most files are good.
        from . import _errors
        link.post(["refused", [*_objects.warnings, _errors.refusal(error, path)]])
        link.drain(MOMENT)
        _leave(1, MOMENT)
    if start.get("debug"):
        logging.getLogger().setLevel(logging.DEBUG)
    settings = _logs.settings()
    link.post(["logging", settings])
    link.post(["document", document])
    # While the daemon begins to watch, the rest is made ready: what comes meanwhile waits.
    link.flush()
    status, patience = 1, MOMENT
    try:
        from ._serve import BLOCKED_AFTER, Host
        # What is there now stays for good, and is not worth looking through again and again.
        gc.collect()
        gc.freeze()
        host = Host(_loop(loop), link, description, pyinotifyd, (settings, document),
                    start.get("blocked_after") or BLOCKED_AFTER)
        status, patience = host.run()
    except BaseException:
        import traceback
        link.post_log(logging.CRITICAL, "daemon", "the host fails\n" + traceback.format_exc(),
                      time.time(), None)
    link.drain(MOMENT)
    _leave(status, patience)


# -- the process

def _moved(link):
    """The socket at a descriptor that no command inherits, with /dev/null in its place."""
    moved = socket.socket(fileno=fcntl.fcntl(link.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, link.detach())
    os.close(null)
    return moved


def _hand_signals_on():
    """Who signals `os.getpid()`, or the number that config.py has written to a file, means the
    daemon. The signals are not ignored either, because commands would inherit that."""
    daemon, host = os.getppid(), os.getpid()

    def hand_on(number, frame):
        # Not from a child that was forked, and to nobody else once the daemon has gone.
        if os.getpid() == host and os.getppid() == daemon:
            os.kill(daemon, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, hand_on)


def _show_prints_at_once():
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A path that is not UTF-8 is printed as the bytes that it is.
            errors = "surrogateescape" if stream.errors == "strict" else stream.errors
            stream.reconfigure(line_buffering=True, errors=errors)


def _forked(link):
    """In a child that was forked, not started: it must not speak for its parent, nor keep the
    socket open beyond the parent's end."""
    link.close()
    _logs.uninstall()


def _leave(status, patience):
    """Ends the process as Python does: threads, then `atexit`. Threads that go on are left behind."""
    if any(it is not threading.current_thread() and not it.daemon for it in threading.enumerate()):
        ended = threading.Event()
        atexit.register(ended.set)
        threading.Thread(target=_leave_behind, args=(status, patience, ended), daemon=True).start()
    sys.exit(status)


def _leave_behind(status, patience, ended):
    if not ended.wait(patience):
        atexit._run_exitfuncs()
    else:
        time.sleep(patience)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(status)


# -- config.py

def _execute(path):
    """Runs a config.py as a module."""
    with open(path, "rb") as file:
        source = file.read()
    whole = os.path.abspath(path)
    module = types.ModuleType(NAME)
    module.__file__ = whole
    module.__spec__ = importlib.machinery.ModuleSpec(NAME, None, origin=whole)
    module.__dict__.update({name: getattr(package, name) for name in package.__all__})
    module.__dict__.update({it.__name__: it for it in MODULES})
    for name, (where, what) in LATER.items():
        if re.search(rb"\b%b\b" % name.encode(), source):
            found = importlib.import_module(where)
            module.__dict__[name] = getattr(found, what) if what else found
    sys.modules[NAME] = module
    sys.path.insert(0, os.path.dirname(whole))
    _remember(path, source)
    with warnings.catch_warnings(record=True) as noted:
        code = compile(source, path, "exec", dont_inherit=True)
    for it in noted:
        _objects.warn(f"{it.category.__name__}: {it.message}", at=(it.filename, it.lineno))
    exec(code, module.__dict__)
    return module


def _remember(path, source):
    """Tracebacks show the lines that run, also when the file is changed, or the path is relative
    and the working directory is changed."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        lines = io.TextIOWrapper(io.BytesIO(source), encoding).readlines()
    except (SyntaxError, ValueError, LookupError):
        return
    linecache.cache[path] = len(source), None, lines, path


def _loop(ours):
    """The loop that config.py's objects belong to: ours, unless it chose another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            # `asyncio.run` leaves none behind.
            loop = ours
        if loop.is_closed():
            loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return loop
