"""The process that config.py lives in. It says what was built, and runs jobs when it is told to.

The protocol is in docs/design/003-python-host.md of the daemon's sources.
"""

import asyncio
import atexit
import fcntl
import gc
import importlib.machinery
import io
import itertools
import linecache
import logging
import logging.handlers
import os
import platform
import re
import shutil
import signal
import socket
import sys
import threading
import time
import tokenize
import traceback
import types
import warnings

import pyinotifyd as package

from . import _describe, _errors, _events, _logs, _objects
from ._errors import NAME
from ._link import Broken, Frames, Link
from ._runs import Runs
from ._watchdog import Watchdog
from .filemanager import FileManager
from .scheduler import Scheduler

PROTOCOL = 1
#: What a config.py may use without importing it, beside the package's own names.
MODULES = (asyncio, logging, os, re, shutil, signal, sys)

#: Seconds that what runs gets to end once the daemon has gone.
MOMENT = 1.0
#: Seconds that threads and `atexit` get, at a normal end.
PATIENCE = 10.0
#: Seconds from one look at the settings of `logging` to the next.
LOOK = 0.25
#: Seconds without a turn of the loop after which the code that holds it is reported.
BLOCKED_AFTER = 5.0


def main(link, start):
    """Runs config.py, and its jobs until the daemon has no more."""
    link = Link(_moved(link))
    _keep_signals_away()
    _show_prints_at_once()
    os.register_at_fork(after_in_child=lambda: _forked(link))
    # There before config.py is: what it makes at its top level belongs to the loop of its tasks.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    _logs.install(link.post_log, start.get("debug"))
    link.post(["hello", {"protocol": PROTOCOL, "python": platform.python_version(),
                         "executable": sys.executable, "pid": os.getpid()}])
    link.flush()
    path = start["config"]
    description = _describe.Description(path)
    try:
        description.module = _execute(path)
        pyinotifyd = _describe.find(description.module)
        document = description.document(pyinotifyd)
    except BaseException as error:
        link.post(["refused", [*_objects.warnings, _errors.refusal(error, path)]])
        link.drain(MOMENT)
        _leave(1, MOMENT)
    if start.get("debug"):
        logging.getLogger().setLevel(logging.DEBUG)
    # What is there now stays for good, and is not worth looking through again and again.
    gc.collect()
    gc.freeze()
    host = Host(_loop(loop), link, description, pyinotifyd, document,
                start.get("blocked_after") or BLOCKED_AFTER)
    try:
        status, patience = host.run()
    except BaseException:
        link.post_log(logging.CRITICAL, "daemon", "the host fails\n" + traceback.format_exc(),
                      time.time(), None)
        status, patience = 1, MOMENT
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


def _keep_signals_away():
    """A signal to the whole group is the daemon's to answer. The signals are not ignored, because
    commands would inherit that."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)


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


# -- jobs

class Host:
    """Between the daemon and the loop."""

    def __init__(self, loop, link, description, pyinotifyd, document, blocked_after):
        self._loop = loop
        self._link = link
        self._frames = Frames()
        self._description = description
        self._pyinotifyd = pyinotifyd
        self._document = document
        self._settings = _logs.settings()
        self._looked = time.monotonic()
        self._runs = Runs(loop, link, description.jobs, self._soon, self._on_idle, self._on_busy)
        self._watchdog = Watchdog(loop, self._runs, link, blocked_after)
        self._main = threading.get_ident()
        #: Answers to `files` that are awaited, by call.
        self._calls = {}
        self._numbers = itertools.count(1)
        self._flushing = False
        self._writing = False
        self._stale = False
        self._describing = False
        self._looking = False
        #: Whether no more runs come.
        self._ending = False
        #: The exit status, and how long to wait for threads, once the loop is to end.
        self._over = None
        self._handlers = {"runs": self._runs.start_alike, "match": self._match, "stop": self._runs.stop,
                          "log": _logs.handle, "done": self._done, "ping": self._ping, "end": self._end}
        link.on_full = self._on_full

    def run(self):
        """Serves until the end: the exit status, and how long to wait for threads."""
        self._link.post(["logging", self._settings])
        self._link.post(["document", self._document])
        Scheduler._host = FileManager._host = self
        _objects.on_change = self._on_change
        _logs.on_change = self._on_logging
        self._watchdog.start()
        self._loop.add_reader(self._link.fileno(), self._readable)
        self._soon()
        self._serve(lambda: self._over is None)
        self._loop.remove_reader(self._link.fileno())
        self._cancel_tasks()
        return self._over

    def _serve(self, going):
        while going():
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # asyncio lets these two through. They end a task, never the host.
                self._say(logging.ERROR, "code outside of any task tried to end the process", error)
            except Exception as error:
                # A handler of `logging` that fails takes asyncio's report of it along.
                self._say(logging.ERROR, "the loop was interrupted", error)

    def _cancel_tasks(self):
        """What config.py left in the loop gets a moment to see that this is the end."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.call_later(MOMENT, self._loop.stop)
            rest = asyncio.ensure_future(asyncio.wait(tasks), loop=self._loop)
            rest.add_done_callback(lambda _: self._loop.stop())
            until = time.monotonic() + MOMENT
            self._serve(lambda: not rest.done() and time.monotonic() < until)
        try:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except (Exception, SystemExit, KeyboardInterrupt):
            pass

    def _say(self, level, text, error=None):
        """Logs something of the host's own; past Python's handlers if they do not work."""
        if error is not None:
            text += "\n" + _errors.shown(error)
        logname = self._pyinotifyd.logname
        try:
            logging.getLogger(logname).log(level, "%s", text)
        except Exception:
            self._link.post_log(level, str(logname), text, time.time(), None)

    # -- from the daemon

    def _readable(self):
        data = self._link.receive()
        if data is None:
            return
        if not data:
            self._gone()
            return
        try:
            for message in self._frames.messages(data):
                if message[0] == "run" and len(message) == 6:
                    self._runs.start(message)
                else:
                    self._handle(message)
        except Broken as error:
            self._say(logging.CRITICAL, f"the daemon is not understood: {error}")
            self._finish(1, MOMENT)

    def _handle(self, message):
        handler = self._handlers.get(message[0])
        if handler is None:
            raise Broken(f"a message {message[0]!r} of {len(message)} items")
        try:
            handler(*message[1:])
        except Exception as error:
            self._say(logging.ERROR, f"a message `{message[0]}` cannot be handled", error)

    def _match(self, run, rules, paths):
        """Says what rules that only Python can match make of paths."""
        answers, text = None, None
        try:
            answers = [[_matched(path, *rule) for rule in rules] for path in paths]
        except Exception as error:
            text = str(error) or type(error).__name__
        self._post(["matched", run, answers, text])

    def _done(self, call, ok, text):
        future = self._calls.get(call)
        if future is not None:
            future.get_loop().call_soon_threadsafe(_answer, future, ok, text)

    def _ping(self, number):
        self._link.post(["pong", number])
        self._soon()

    def _end(self):
        self._ending = True
        if not self._runs.active:
            self._on_idle()

    def _gone(self):
        """The daemon has closed its end, or has died."""
        self._loop.remove_reader(self._link.fileno())
        self._loop.remove_writer(self._link.fileno())
        self._link.gone = True
        self._ending = True
        self._loop.call_later(MOMENT, self._finish, 0, MOMENT)
        self._runs.stop_all()
        if not self._runs.active:
            self._finish(0, MOMENT)

    def _finish(self, status, patience):
        if self._over is None:
            self._over = status, patience
            self._loop.stop()

    # -- from the runs

    def _on_busy(self):
        if self._watchdog.asleep:
            self._watchdog.wake()

    def _on_idle(self):
        if self._ending:
            self._finish(0, MOMENT if self._link.gone else PATIENCE)

    # -- to the daemon

    def _soon(self):
        """Writes what is waiting at the end of this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self):
        self._flushing = False
        now = time.monotonic()
        if now - self._looked > LOOK:
            self._looked = now
            self._look_at_logging()
        self._link.flush()

    def _on_full(self):
        if not self._writing:
            self._writing = True
            self._loop.call_soon_threadsafe(self._write_later)

    def _write_later(self):
        if not self._link.gone:
            self._loop.add_writer(self._link.fileno(), self._writable)

    def _writable(self):
        self._link.flush()
        if not self._link.full:
            self._writing = False
            self._loop.remove_writer(self._link.fileno())

    # -- from user code

    def order(self, kind, scheduler, event, subject):
        """Asks the daemon to schedule or cancel. May be called from any thread."""
        if self._link.crowded:
            raise RuntimeError("the daemon does not take any more events")
        self._post(["order", kind, self._name(scheduler), _events.described(event), subject])

    async def files(self, manager, event, task_id):
        """Has the rules of a file manager applied to an event's path."""
        call = next(self._numbers)
        future = self._calls[call] = asyncio.get_running_loop().create_future()
        try:
            self._post(["files", call, self._name(manager), _events.described(event),
                        task_id or _logs.task_id.get()])
            ok, text = await future
        finally:
            del self._calls[call]
        if not ok:
            raise RuntimeError(text)

    def _post(self, message):
        self._link.post(message)
        if threading.get_ident() == self._main:
            self._soon()
        else:
            self._link.flush()

    def _name(self, it):
        """What the daemon knows a scheduler or a file manager by."""
        name = self._description.name(it)
        if name is None and self._stale and threading.get_ident() == self._main:
            self._describe_again()
            name = self._description.name(it)
        if name is None:
            raise RuntimeError(f"the daemon does not know this {type(it).__name__} yet")
        return name

    # -- changes at run time

    def _on_change(self):
        if not self._stale and not self._describing:
            self._stale = True
            self._loop.call_soon_threadsafe(self._describe_again)

    def _describe_again(self):
        if not self._stale:
            return
        self._stale = False
        self._describing = True
        try:
            document = self._description.document(self._pyinotifyd)
        except Exception as error:
            self._say(logging.ERROR, "a change of the configuration is not taken: "
                      + _errors.summary(error))
            return
        finally:
            self._describing = False
        if document != self._document:
            self._document = document
            self._post(["document", document])

    def _on_logging(self):
        if not self._looking:
            self._looking = True
            self._loop.call_soon_threadsafe(self._look_at_logging)

    def _look_at_logging(self):
        self._looking = False
        settings = _logs.settings()
        if settings != self._settings:
            self._settings = settings
            self._post(["logging", settings])


def _matched(path, src_re, dst_re):
    """Where a rule takes a path, if it matches at its start."""
    pattern = re.compile(src_re)
    return pattern.sub(dst_re or "", path) if pattern.match(path) else None


def _answer(future, ok, text):
    if not future.done():
        future.set_result((ok, text))
