"""Runs the jobs.

All of asyncio's rules hold for a job: it runs in a task of the one loop, in a context of its own.
But a task of asyncio costs more than most jobs do, so a job gets one only when it waits for
something. A *carrier* is a task that takes runs from the queue and steps each to its end. If a run
suspends instead, the carrier is that run's task from then on, and the queue gets another carrier.
So `asyncio.current_task()` is right at each moment, and stays the same within a run.
A carrier begins at once where asyncio has tasks that do (Python 3.12), which saves a turn of the loop.
"""

import asyncio
import collections
import contextvars
import logging
import sys
import time
import types

from . import _errors, _events, _logs

#: How long runs are begun before the loop gets its turn, in seconds.
SLICE = 0.005
#: How many carriers are made at once, when runs suspend one after another.
CARRIERS = 256

#: Whether a task can begin at once.
_EAGER = sys.version_info >= (3, 12)

#: What a coroutine gives in place of what it waits for, when it has ended.
_DONE = object()

_now = time.monotonic
_copy_context = contextvars.copy_context
_received = _events.received
_alike = _events.alike
_set_task_id = _logs.task_id.set


async def _awaited(it):
    await it


def _begin(job, event, task_id):
    """Calls a job, and steps it as far as it goes: `None`, or the coroutine and what it waits for."""
    result = job.call(event, task_id) if job.takes_id else job.call(event)
    if type(result) is not types.CoroutineType:
        if not hasattr(type(result), "__await__"):
            return None
        result = _awaited(result)
    try:
        return result, result.send(None)
    except StopIteration:
        return None


class Runs:
    """The runs that the daemon asked for and that have not ended."""

    def __init__(self, loop, link, jobs, soon, flush, on_idle, on_busy):
        self._loop = loop
        self._link = link
        self._post = link.post
        self._jobs = jobs
        self._soon = soon
        self._flush = flush
        self._on_idle = on_idle
        self._on_busy = on_busy
        #: What has not begun: run, job, task id, what its event is made of, attempt.
        self._queue = collections.deque()
        #: Tasks of those that wait for something, by run.
        self._suspended = {}
        #: The carriers that take from the queue, and how many more are made next.
        self._carriers = set()
        self._burst = 1
        #: The run whose code is running.
        self.current = None

    @property
    def active(self):
        return bool(self._queue or self._suspended) or self.current is not None

    def start(self, message):
        """Takes a message `run`. It begins in the order of the messages, at the next `wake`."""
        self._queue.append(message[1:])

    def start_alike(self, job, path, wd, flat):
        """Takes a message `runs`: first runs of live events in one directory."""
        it = iter(flat)
        self._queue.extend([(run, job, task_id, (path, wd, mask, name), 1)
                            for run, task_id, mask, name in zip(it, it, it, it)])

    def wake(self):
        """Begins what has been taken: before anything that is said from now on."""
        if self._queue and not self._carriers:
            self._on_busy()
            if _EAGER:
                asyncio.Task(self._carry(), loop=self._loop, eager_start=True)
            else:
                self._carry_on()

    def stop(self, run):
        """Cancels a run, as `asyncio.Task.cancel` does: its code may have an opinion about it."""
        task = self._suspended.get(run)
        if task is not None:
            task.cancel()
            return
        for at, message in enumerate(self._queue):
            if message[0] == run:
                del self._queue[at]
                self._ended(run, "cancelled")
                self._check_idle()
                return

    def stop_all(self):
        for run in [it[0] for it in self._queue] + list(self._suspended):
            self.stop(run)

    # -- carriers

    def _carry_on(self):
        self._take_on(asyncio.Task(self._carry(), loop=self._loop))

    def _take_on(self, task):
        self._carriers.add(task)
        task.add_done_callback(self._retire)

    def _retire(self, task):
        """A carrier no longer takes from the queue: it has become a run's, or has ended, be it that
        user code cancelled it before its first step. Others take its place, if they are needed."""
        if task not in self._carriers:
            return
        self._carriers.remove(task)
        if self._carriers:
            return
        if self._queue:
            for _ in range(min(self._burst, len(self._queue))):
                self._carry_on()
            self._burst = min(2 * self._burst, CARRIERS)
        else:
            self._burst = 1

    async def _carry(self):
        queue, jobs, post = self._queue, self._jobs, self._post
        task = asyncio.current_task(self._loop)
        if task not in self._carriers:
            self._take_on(task)
        until = _now() + SLICE
        while queue:
            run, number, task_id, fields, attempt = queue.popleft()
            job = jobs.get(number)
            if job is None:
                self._ended(run, "failed", f"there is no job {number}")
                continue
            if job.slow:
                # This may take a while, so who has ended should not have to wait for it.
                self._link.flush()
            # The carrier's own context is no run's: what is set here is there in the copy.
            _set_task_id(task_id)
            context = _copy_context()
            self.current = run
            rest = None
            try:
                event = _alike(*fields) if type(fields) is tuple else _received(fields, attempt)
                if job.is_plain:
                    coroutine = job.call(event, task_id)
                    # By `next` its end is no exception, which would cost as much as all the rest.
                    waits_for = context.run(next, coroutine.__await__(), _DONE)
                    if waits_for is not _DONE:
                        rest = coroutine, waits_for
                else:
                    rest = context.run(_begin, job, event, task_id)
                if rest is None:
                    post(run)
            except BaseException as error:
                self._raised(run, job, task_id, context, error)
            self.current = None
            if rest is not None:
                self._suspended[run] = task
                self._soon()
                self._retire(task)
                try:
                    await self._drive(run, context, *rest)
                except BaseException as error:
                    self._raised(run, job, task_id, context, error)
                else:
                    post(run)
                del self._suspended[run]
                self._soon()
                self._check_idle()
                return
            if task._must_cancel:
                # The run cancelled its own task, so another run must not suspend in it.
                break
            now = _now()
            if now > until:
                job.slow = now - until > SLICE
                self._soon()
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    # User code cancels all tasks that there are. This is none of its.
                    break
                until = _now() + SLICE
        # It retires now, and not in a turn of the loop that nothing else asks for.
        task.remove_done_callback(self._retire)
        self._retire(task)
        self._flush()
        self._check_idle()

    @types.coroutine
    def _drive(self, run, context, coroutine, waits_for):
        """Goes on with a coroutine in its own context, to its end."""
        send, throw = coroutine.send, coroutine.throw
        try:
            while True:
                try:
                    value = yield waits_for
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as error:
                    self.current = run
                    waits_for = context.run(throw, error)
                else:
                    self.current = run
                    waits_for = context.run(send, value)
                self.current = None
        except StopIteration:
            pass
        finally:
            self.current = None

    # -- ends

    def _ended(self, run, status, text=None):
        self._post(["ended", run, status, text])
        self._soon()

    def _raised(self, run, job, task_id, context, error):
        if isinstance(error, asyncio.CancelledError):
            self._ended(run, "cancelled")
            return
        text = _errors.summary(error)
        try:
            logger = logging.getLogger(job.logname)
            context.run(logger.error, "%s: %s", task_id, _errors.shown(error))
        except Exception as other:
            # A filter of the user's own; the failure has to be told all the same.
            text += f" (and it cannot be logged: {_errors.summary(other)})"
        self._ended(run, "failed", text[:10000])

    def _check_idle(self):
        if not self._queue and not self._suspended:
            self._on_idle()
