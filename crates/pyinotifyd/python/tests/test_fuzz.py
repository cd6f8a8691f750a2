"""Frames that no daemon would send: they are refused, or they do no harm."""

import random
import unittest

from daemon import Case, event, frame

SEED = 3
JOB = """
async def job(event, task_id):
    pass
s = TaskScheduler(job)
pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s}))
"""


class Fuzz(Case):

    def value(self, rng, depth=2):
        kinds = [lambda: rng.choice([None, True, 0, -1, 1 << 70, 0.5, "", "x", "\udcff", "/w/f"]),
                 event]
        if depth:
            kinds += [lambda: [self.value(rng, depth - 1) for _ in range(rng.randrange(6))],
                      lambda: {rng.choice("ab"): self.value(rng, depth - 1)}]
        return rng.choice(kinds)()

    def test_messages_of_any_form_leave_a_host_that_answers(self):
        rng = random.Random(SEED)
        host = self.start(JOB)
        # `end` would be obeyed.
        names = ["run", "runs", "match", "stop", "log", "done", "ping"]
        for number in range(300):
            message = [rng.choice(names), *(self.value(rng) for _ in range(rng.randrange(7)))]
            if message[0] == "run" and len(message) != 6:
                # That is not understood, which is another test's.
                continue
            with self.subTest(message, seed=SEED):
                host.send(message, ["ping", 1000 + number])
                host.find("pong", 1000 + number)

    def test_bytes_of_any_kind_end_the_host_or_do_nothing(self):
        rng = random.Random(SEED)
        for _ in range(5):
            host = self.start(JOB)
            data = bytearray(frame([host.message("s"), ["ping", 1]]))
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(4, len(data))] = rng.randrange(256)
            with self.subTest(bytes(data), seed=SEED):
                host.link.sendall(data)
                host.send(["end"])
                self.assertIn(host.wait(), (0, 1))


if __name__ == "__main__":
    unittest.main()
