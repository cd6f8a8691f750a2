import os

os.environ["LEVEL"] = "1"


def slower(event):
    s.delay = 60


s = ShellScheduler("true")
pyinotifyd = Pyinotifyd(Watch("/w", {"IN_CREATE": s, "IN_ATTRIB": slower}))
