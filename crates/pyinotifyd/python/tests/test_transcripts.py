"""Conversations that both sides can be held against: testdata/protocol/*.jsonl.

A line is a message and who gets it. `"*"` stands for anything. The messages to the host are sent as
they stand, each once everything above it that goes to the daemon has come; what a host says in one
line of the file must come, in this order. `UPDATE=1` writes down what it says now.

`config.py` stands for the path of the file beside the transcript. The marks below a line of a
traceback, which each version of Python sets in its own way, are left out.
"""

import glob
import json
import os
import re
import shutil
import unittest

from daemon import PACKAGE, Case

FOLDER = os.path.normpath(os.path.join(PACKAGE, "../../../testdata/protocol"))
#: In JSON.
MARKS = re.compile(r"(?<=\\n) +[~^]+\\n")
#: What differs from run to run, by type of message.
VOLATILE = {"hello": ("python", "executable", "pid")}


def hidden(message):
    """A message with `"*"` for what differs from run to run."""
    if message[0] in VOLATILE:
        return [message[0], {key: "*" if key in VOLATILE[message[0]] else value
                             for key, value in message[1].items()}]
    if message[0] == "log":
        return message[:4] + ["*"] + message[5:]
    if message[0] == "blocked":
        return message[:2] + ["*"] + message[3:]
    return message


@unittest.skipUnless(os.path.isdir(FOLDER), "the transcripts are not here")
class Transcripts(Case):

    def replay(self, path):
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        shutil.copy(path[:-len("jsonl")] + "py", self.config)
        host = self.launch()
        said = []
        for line in lines:
            if line["to"] == "host":
                if line["message"][0] != "start":
                    host.send(line["message"])
                said.append(line)
            else:
                while not host.messages:
                    host.receive()
                text = json.dumps(hidden(host.messages.pop(0))).replace(self.config, "config.py")
                said.append({"to": "daemon", "message": json.loads(MARKS.sub("", text))})
        host.link.settimeout(30)
        status = host.wait()
        self.assertEqual(host.messages, [], "more than the transcript has")
        self.assertEqual(status, 1 if any(it["message"][0] == "refused" for it in said) else 0)
        return lines, said

    def test_all(self):
        paths = sorted(glob.glob(os.path.join(FOLDER, "*.jsonl")))
        self.assertGreaterEqual(len(paths), 4)
        for path in paths:
            with self.subTest(os.path.basename(path)):
                lines, said = self.replay(path)
                if os.environ.get("UPDATE"):
                    with open(path, "w", encoding="utf-8") as file:
                        file.writelines(json.dumps(it) + "\n" for it in said)
                else:
                    self.assertEqual(said, lines)
