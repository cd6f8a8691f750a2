"""Frames to and from the daemon. What is waiting goes out as one frame, and nobody waits for it."""

import gc
import json
import select
import socket
import struct
import threading
import time

#: What one frame may hold, in bytes.
LIMIT = 64 << 20
#: How many characters of the log wait at most, and how many one record may have.
LOGS = 8 << 20
LOG = 1 << 20
#: How many messages wait at most. Beyond that the daemon has stopped reading for good.
MESSAGES = 1_000_000

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode
_decode = json.JSONDecoder().decode


class Broken(Exception):
    """What came is no frame."""


class Frames:
    """Takes bytes in any portions, and gives messages."""

    def __init__(self):
        self._rest = bytearray()

    def messages(self, data):
        """The messages of all frames that are complete with this data, in order."""
        rest = self._rest
        if rest:
            rest += data
            data = rest
        at, messages = 0, []
        while len(data) - at >= 4:
            size = int.from_bytes(data[at:at + 4], "little")
            if size > LIMIT:
                raise Broken(f"a frame of {size} bytes, {LIMIT} are the limit")
            if len(data) - at - 4 < size:
                break
            messages += self._frame(data[at + 4:at + 4 + size])
            at += 4 + size
        if data is rest:
            del rest[:at]
        else:
            rest += data[at:]
        return messages

    def _frame(self, data):
        # What is decoded is no garbage, and there may be much of it.
        collects = gc.isenabled()
        gc.disable()
        try:
            frame = _decode(data.decode())
        except (ValueError, RecursionError) as error:
            raise Broken(f"a frame of {len(data)} bytes is no JSON: {error}") from None
        finally:
            if collects:
                gc.enable()
        if not isinstance(frame, list) or not all(
                isinstance(it, list) and it and isinstance(it[0], str) for it in frame):
            raise Broken(f"a frame of {len(data)} bytes is no array of messages")
        return frame


def frame(messages):
    """The bytes of a frame of these messages."""
    data = _encode(messages).encode("ascii")
    if len(data) > LIMIT:
        raise ValueError(f"a frame of {len(data)} bytes, {LIMIT} are the limit")
    return struct.pack("<I", len(data)) + data


class Link:
    """The socket to the daemon. `post` and `flush` may be called from any thread."""

    def __init__(self, link):
        self._socket = link
        link.setblocking(False)
        #: A flush may log, by way of user code that JSON calls; so this one is re-entrant.
        self._lock = threading.RLock()
        self._waiting = []
        #: What is received. A new one each time would cost the kernel as much as all the rest does.
        self._view = memoryview(bytearray(1 << 18))
        #: Keeps a message for the next flush. It is to be a fresh list of plain data, or the number
        #: of a run that is done: there are many of those, and all in a row are one message.
        self.post = self._waiting.append
        self._logs = 0
        self._lost = 0
        self._out = memoryview(b"")
        self.gone = False
        #: Called, from any thread, when something waits that could not be written.
        self.on_full = None

    def fileno(self):
        return self._socket.fileno()

    @property
    def full(self):
        """Whether bytes wait for the daemon to read."""
        return len(self._out) > 0

    def post_log(self, level, logname, text, created, task_id):
        """A record for the daemon's log. It is sent at once, as a line to stderr would be: what
        comes next may block, or end this process."""
        with self._lock:
            if self._logs + len(text) > LOGS and self._logs:
                self._lost += 1
                return
            if len(text) > LOG:
                text = f"{text[:LOG]}… ({len(text) - LOG} characters more)"
            self._logs += len(text) + 64
            self._waiting.append(["log", level, logname, text, created, task_id])
            self.flush()

    @property
    def crowded(self):
        """Whether so much is waiting that nothing more should be asked of the daemon."""
        return len(self._waiting) > MESSAGES

    def flush(self):
        """Writes what the socket takes. What it does not take goes with the next flush."""
        with self._lock:
            while not self.gone and (self._out or self._waiting):
                if not self._out:
                    self._out = memoryview(self._next())
                try:
                    sent = self._socket.send(self._out, socket.MSG_NOSIGNAL)
                except (BlockingIOError, InterruptedError):
                    break
                except OSError:
                    self.gone = True
                    break
                self._out = self._out[sent:]
            if self.gone:
                self._waiting.clear()
                self._out = memoryview(b"")
            elif self._out and self.on_full is not None:
                self.on_full()

    def drain(self, seconds):
        """Writes all that waits, if the daemon takes it in this time."""
        until = time.monotonic() + seconds
        self.on_full = None
        self.flush()
        while self.full and not self.gone:
            left = until - time.monotonic()
            if left <= 0 or not self._writable(left):
                return
            self.flush()

    def _writable(self, seconds):
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return poll.poll(seconds * 1000)

    def close(self):
        self.gone = True
        self._socket.close()

    @property
    def hung_up(self):
        """Whether the daemon has closed its end, read or not."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _next(self):
        """All that waits, as bytes."""
        # The list stays the same, for who is about to append to it in another thread.
        count = len(self._waiting)
        messages = self._waiting[:count]
        del self._waiting[:count]
        self._logs = 0
        if self._lost:
            messages.append(["log", 30, "daemon", f"{self._lost} records of Python's log were dropped: "
                             "they came faster than they were taken", time.time(), None])
            self._lost = 0
        return b"".join(_frames(_joined(messages)))

    def receive(self):
        """What has come; empty once the daemon has closed its end, `None` if there is nothing."""
        try:
            return bytes(self._view[:self._socket.recv_into(self._view)])
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""


def _joined(messages):
    """The same, with the runs that are done as messages."""
    joined, done = [], []
    for message in messages:
        if type(message) is int:
            done.append(message)
            continue
        if done:
            joined.append(_ended(done))
            done = []
        joined.append(message)
    if done:
        joined.append(_ended(done))
    return joined


def _ended(runs):
    return ["ended", runs if len(runs) > 1 else runs[0], "done", None]


def _frames(messages):
    """As few frames as the limit permits. What can be no message is left out, aloud."""
    try:
        yield frame(messages)
    except (TypeError, ValueError, RecursionError) as error:
        if len(messages) > 1:
            middle = len(messages) // 2
            yield from _frames(messages[:middle])
            yield from _frames(messages[middle:])
        else:
            text = f"a message `{messages[0][0]}` cannot be sent: {error}"
            yield frame([["log", 40, "daemon", text, time.time(), None]])
