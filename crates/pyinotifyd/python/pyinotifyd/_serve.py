"""Serves the daemon: has jobs run when it says so, and tells what becomes of them."""

import asyncio
import itertools
import logging
import re
import threading
import time

from . import _errors, _events, _logs, _objects
from ._link import Broken, Frames
from ._runs import Runs
from ._watchdog import Watchdog
from .filemanager import FileManager
from .scheduler import Scheduler

#: Seconds that what runs gets to end once the daemon has gone.
MOMENT = 1.0
#: Seconds that threads and `atexit` get, at a normal end.
PATIENCE = 10.0
#: Seconds from one look at the settings of `logging` to the next.
LOOK = 0.25
#: Seconds without a turn of the loop after which the code that holds it is reported.
BLOCKED_AFTER = 5.0


class Host:
    """Between the daemon and the loop."""

    def __init__(self, loop, link, description, pyinotifyd, said, blocked_after):
        self._loop = loop
        self._link = link
        self._frames = Frames()
        self._description = description
        self._pyinotifyd = pyinotifyd
        #: What the daemon was told last.
        self._settings, self._document = said
        self._looked = time.monotonic()
        self._runs = Runs(loop, link, description.jobs, self._soon, self._flush, self._on_idle,
                          self._on_busy)
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
            self._runs.wake()
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
        self._runs.wake()
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
