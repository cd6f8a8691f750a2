"""Frames, in any portions, good and bad."""

import json
import struct
import sys
import unittest

from daemon import PACKAGE, Case, frame

sys.path.insert(0, PACKAGE)

from pyinotifyd._link import LIMIT, Broken, Frames
from pyinotifyd import _link

JOB = """
async def job(event, task_id):
    logging.info(event.name)
s = TaskScheduler(job)
pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
"""


class Decoding(unittest.TestCase):

    def test_frames_split_at_every_byte(self):
        data = frame([["ping", 1], ["stop", "ü\udcff"]]) + frame([]) + frame([["end"]])
        whole = [["ping", 1], ["stop", "ü\udcff"], ["end"]]
        self.assertEqual(Frames().messages(data), whole)
        for at in range(len(data) + 1):
            frames = Frames()
            self.assertEqual(frames.messages(data[:at]) + frames.messages(data[at:]), whole)
        frames = Frames()
        self.assertEqual(sum((frames.messages(data[at:at + 1]) for at in range(len(data))), []), whole)

    def test_garbage_is_refused(self):
        for data in (b"{", b"{}", b"[1]", b"[[]]", b"[[1]]", b"\xff", b'[["a"]', b"[" * 100000,
                     b'[["a"]] x', b""):
            with self.subTest(data[:20]):
                self.assertRaises(Broken, Frames().messages, struct.pack("<I", len(data)) + data)
        self.assertRaises(Broken, Frames().messages, struct.pack("<I", LIMIT + 1))
        self.assertEqual(Frames().messages(struct.pack("<I", LIMIT)), [])

    def test_what_is_too_much_for_one_frame_is_split(self):
        limit = _link.LIMIT
        self.addCleanup(setattr, _link, "LIMIT", limit)
        _link.LIMIT = 300
        frames = list(_link._frames([["pong", it] for it in range(50)] + [["pong", "x" * 1000]]))
        found = []
        for data in frames[:-1]:
            self.assertLessEqual(len(data), 304)
            found += json.loads(data[4:])
        self.assertEqual(found, [["pong", it] for it in range(50)])


class Talking(Case):

    def test_a_host_takes_bytes_one_by_one(self):
        host = self.start(JOB)
        for byte in frame([host.message("s", pathname="/w/é\udcff"), ["ping", 3]]):
            host.link.sendall(bytes([byte]))
        host.find("pong", 3)
        self.assertEqual(host.logged(), ["é\udcff"])

    def test_what_is_not_understood_ends_the_host_with_a_report(self):
        for data in (frame({}), frame([["unheard of", 1]]), frame([["run", 1]]), b"\4\0\0\0abcd",
                     b"\xff\xff\xff\xff"):
            with self.subTest(data):
                host = self.start(JOB)
                host.link.sendall(data)
                self.assertEqual(host.wait(), 1)
                _, level, _, text, _, _ = host.find("log")
                self.assertEqual(level, 50)
                self.assertRegex(text, "^the daemon is not understood: a (frame|message)")

    def test_a_message_of_the_wrong_form_is_an_error_and_no_end(self):
        host = self.start(JOB)
        host.send(["ping"], ["log", "x"], ["done", []], ["stop"], ["run", 1, 1, "t", "no event", 1])
        host.ping()
        self.assertEqual([it[1] for it in host.all("log")], [40] * 5)
        self.assertEqual(host.ended(1)[0], "failed")

    def test_a_large_frame(self):
        host = self.start(JOB)
        name = "x" * (3 << 20)
        host.send(host.message("s", pathname="/w/" + name))
        self.assertEqual(len(host.next("log")[3].split("…")[0]), 1 << 20)

    def test_what_is_not_taken_at_once_is_kept(self):
        host = self.start("""
            async def job(event, task_id): raise ValueError("x" * 9000)
            s = TaskScheduler(job)
            logging.getLogger("sched").disabled = True
            def tells(event): open(os.path.dirname(__file__) + "/gate", "w").close()
            os.mkfifo(os.path.dirname(__file__) + "/gate")
            pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": [s, tells]}))
            """)
        runs = [host.message("s") for _ in range(1000)]
        # The answers are many times what a socket holds, and none is read until all have ended.
        host.send(*runs, host.message("tells"))
        open(self.folder + "/gate").close()
        self.assertEqual(host.ended(runs[-1][1])[0], "failed")
        self.assertEqual([it[1] for it in host.all("ended")][:1000], [it[1] for it in runs])
        host.send(*runs, ["end"])
        self.assertEqual(host.wait(), 0)
        self.assertEqual(len(host.all("ended")), 2 * len(runs) + 1)
