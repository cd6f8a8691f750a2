"""A daemon for the tests: starts a host as the real one does, and speaks to it.

Whatever is waited for has a message or an end that tells of it; `GUARD` only keeps a test that
fails from waiting for ever.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(HERE)
GUARD = 30


def modules():
    """The sources that the daemon brings, by the names of their modules."""
    found = {}
    names = ["pyinotify.py"] + ["pyinotifyd/" + it for it in os.listdir(os.path.join(PACKAGE, "pyinotifyd"))]
    for name in names:
        if name.endswith(".py"):
            with open(os.path.join(PACKAGE, name), encoding="utf-8") as file:
                source = file.read()
            module = name[:-3].replace("/", ".")
            package = module.endswith(".__init__")
            found[module[:-len(".__init__")] if package else module] = {
                "source": source, "package": package}
    return found


def frame(messages):
    data = json.dumps(messages).encode("ascii")
    return struct.pack("<I", len(data)) + data


def event(**fields):
    """An event as the daemon sends it."""
    pathname = fields.pop("pathname", "/w/f")
    return {"mask": 0x100, "wd": 1, "path": os.path.dirname(pathname),
            "name": os.path.basename(pathname), "pathname": pathname, "origin": "live", **fields}


class Host:
    """A host, and what it has said."""

    def __init__(self, folder, config, env=None, cwd=None, **start):
        self.link, theirs = socket.socketpair()
        self.link.settimeout(GUARD)
        self.folder = folder
        with open(os.path.join(PACKAGE, "bootstrap.py"), encoding="utf-8") as file:
            bootstrap = file.read()
        with open(os.path.join(folder, "stdout"), "wb") as stdout, \
                open(os.path.join(folder, "stderr"), "wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", bootstrap], stdin=theirs, stdout=stdout, stderr=stderr,
                start_new_session=True, cwd=cwd, env={**os.environ, **(env or {})})
        theirs.close()
        #: All messages in their order, and how many of them were looked at.
        self.messages = []
        self._seen = 0
        self._rest = b""
        self._run = 0
        self.send(["start", {"protocol": 1, "modules": modules(), "config": config,
                             "debug": False, "version": "0.1.0", **start}])

    def close(self):
        self.link.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(GUARD)

    # -- bytes and messages

    def send(self, *messages):
        self.link.sendall(frame(messages))

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.link.recv(min(count - len(data), 1 << 20))
            if not part:
                if data:
                    raise AssertionError("the host ended within a frame")
                raise EOFError("the host has ended")
            data += part
        return bytes(data)

    def receive(self):
        """Reads one frame."""
        size, = struct.unpack("<I", self._exactly(4))
        data = self._exactly(size)
        data.decode("ascii")
        messages = []
        for message in json.loads(data):
            if message[0] == "ended" and isinstance(message[1], list):
                messages += [["ended", it, *message[2:]] for it in message[1]]
            else:
                messages.append(message)
        self.messages += messages
        return messages

    def find(self, *beginning):
        """The first message that begins so, now or to come."""
        at = 0
        while True:
            while at < len(self.messages):
                if self.messages[at][:len(beginning)] == list(beginning):
                    return self.messages[at]
                at += 1
            self.receive()

    def next(self, *beginning):
        """The next message that begins so, behind the one that was found last."""
        while True:
            while self._seen < len(self.messages):
                self._seen += 1
                message = self.messages[self._seen - 1]
                if message[:len(beginning)] == list(beginning):
                    return message
            self.receive()

    def all(self, kind):
        """All messages of a type that have come."""
        return [it for it in self.messages if it[0] == kind]

    # -- what tests want to know

    @property
    def document(self):
        return self.find("document")[1]

    @property
    def logging(self):
        return self.find("logging")[1]

    @property
    def diagnostics(self):
        return self.find("refused")[1]

    def scheduler(self, name):
        found = [it for it in self.document["schedulers"] if it["name"] == name]
        if not found:
            raise AssertionError(f"no {name} in {[it['name'] for it in self.document['schedulers']]}")
        return found[0]

    def job(self, name):
        action = self.scheduler(name)["action"]
        return action.get("python", action.get("call"))

    def message(self, name, /, task_id="id", attempt=1, **fields):
        """A message that runs a scheduler's job."""
        self._run += 1
        return ["run", self._run, self.job(name), task_id, event(**fields), attempt]

    def run(self, name, /, **kwargs):
        """Runs a scheduler's job: the number of the run."""
        message = self.message(name, **kwargs)
        self.send(message)
        return message[1]

    def ended(self, run):
        """How a run ended: its status and text."""
        return tuple(self.find("ended", run)[2:])

    def result(self, name, /, **kwargs):
        """Runs a scheduler's job to its end."""
        return self.ended(self.run(name, **kwargs))

    def logged(self, logname=None):
        """The texts that were logged until now."""
        return [it[3] for it in self.all("log") if logname in (None, it[2])]

    def ping(self):
        """Everything that the loop had to do before this has been done."""
        self._run += 1
        self.send(["ping", self._run])
        self.find("pong", self._run)

    def end(self):
        """Lets the host end: its exit status."""
        self.send(["end"])
        return self.wait()

    def wait(self):
        """Reads what comes until the host has ended: its exit status."""
        try:
            while True:
                self.receive()
        except (EOFError, ConnectionError):
            pass
        return self.process.wait(GUARD)

    def printed(self):
        """What it has written to stdout, and to stderr; bytes that are no text as `os.fsdecode`."""
        texts = []
        for name in ("stdout", "stderr"):
            with open(os.path.join(self.folder, name), encoding="utf-8", errors="surrogateescape") as file:
                texts.append(file.read())
        return tuple(texts)


class Case(unittest.TestCase):
    """A test with a folder of its own."""

    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.config = os.path.join(self.folder, "config.py")

    def write(self, text, name="config.py"):
        data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)

    def launch(self, text=None, config=None, **start):
        """A host of this config.py, which may or may not be good."""
        if text is not None:
            self.write(text)
        host = Host(self.folder, config or self.config, **start)
        self.addCleanup(host.close)
        return host

    def start(self, text, **start):
        """A host of a config.py that is good."""
        host = self.launch(text, **start)
        try:
            host.find("document")
        except EOFError:
            self.fail(f"refused: {host.messages} {host.printed()[1]}")
        return host

    def refused(self, text, **start):
        """What is wrong with a config.py: the last of the diagnostics, which is the error."""
        host = self.launch(text, **start)
        try:
            host.find("refused")
        except EOFError:
            self.fail(f"not refused: {host.messages} {host.printed()[1]}")
        self.assertEqual(host.wait(), 1)
        *warnings, error = host.diagnostics
        self.assertEqual([it["severity"] for it in warnings], ["warning"] * len(warnings))
        self.assertEqual(error["severity"], "error")
        return error

    def maps(self, host):
        """The event maps of a document, as dicts."""
        return [{event: [tuple(it) for it in orders] for event, orders in watch["event_map"]}
                for watch in host.document["watches"]]


def end(*names):
    """The last lines of a config.py: a Watch whose event map has these as its default."""
    return f"\npyinotifyd = Pyinotifyd(Watch('/w', EventMap({{}}, [{', '.join(names)}])))\n"
