"""Says which code holds the loop."""

import os
import sys
import threading
import time

from . import _errors


class Watchdog(threading.Thread):
    """A thread that asks the loop for a turn while there are runs, and tells when it gets none.

    It sleeps for good while there are none, so that an idle daemon is idle.
    """

    def __init__(self, loop, runs, link, limit):
        super().__init__(name="pyinotifyd-watchdog", daemon=True)
        self._loop = loop
        self._runs = runs
        self._link = link
        self._limit = limit
        self._main = threading.get_ident()
        self._wanted = threading.Event()
        #: Whether `wake` is needed. Read without a lock: a stale answer costs one more `wake`.
        self.asleep = True

    def wake(self):
        self.asleep = False
        self._wanted.set()

    def run(self):
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self._watch()
            # A run that came in between finds `asleep` set, or is seen here.
            self.asleep = True
            if self._runs.active:
                self.wake()

    def _watch(self):
        """Returns once there is nothing to watch."""
        while True:
            time.sleep(self._limit / 2)
            if not self._runs.active:
                return
            turn = threading.Event()
            began = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(turn.set)
            except RuntimeError:
                return
            if not turn.wait(self._limit):
                self._tell(time.monotonic() - began)
                while not turn.wait(1):
                    if self._link.hung_up:
                        # Nobody else would notice, and the code may never give way.
                        os._exit(1)

    def _tell(self, seconds):
        frame = sys._current_frames().get(self._main)
        stack = _errors.stack(frame) if frame is not None else ""
        self._link.post(["blocked", self._runs.current, round(seconds, 3), stack])
        self._link.flush()
