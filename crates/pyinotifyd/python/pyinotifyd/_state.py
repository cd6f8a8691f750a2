"""What config.py made of its own process: commands inherit that, as they did from the original."""

import os
import resource

_LIMITS = {name[7:].lower(): getattr(resource, name)
           for name in dir(resource)
           # The other is an old name of RLIMIT_NOFILE.
           if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"}


def _umask():
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def identity():
    """Who the process is."""
    return os.getresuid(), os.getresgid()


def snapshot():
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = None
    return {"env": dict(os.environ), "cwd": cwd, "umask": _umask(),
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "rlimits": {name: resource.getrlimit(number) for name, number in _LIMITS.items()}}


def difference(before):
    """What is not as it was."""
    now = snapshot()
    env = {name: now["env"].get(name)
           for name in {**before["env"], **now["env"]}
           if before["env"].get(name) != now["env"].get(name)}
    nice = now["nice"] - before["nice"]
    return {
        "env": env,
        "cwd": now["cwd"] if now["cwd"] != before["cwd"] else None,
        "umask": now["umask"] if now["umask"] != before["umask"] else None,
        "nice": nice or None,
        "rlimits": {name: list(limits) for name, limits in now["rlimits"].items()
                    if limits != before["rlimits"][name]},
    }
