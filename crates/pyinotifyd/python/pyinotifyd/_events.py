"""Events, as tasks see them."""

import os

TYPES = {
    "IN_ACCESS": 0x1, "IN_MODIFY": 0x2, "IN_ATTRIB": 0x4, "IN_CLOSE_WRITE": 0x8,
    "IN_CLOSE_NOWRITE": 0x10, "IN_OPEN": 0x20, "IN_MOVED_FROM": 0x40, "IN_MOVED_TO": 0x80,
    "IN_CREATE": 0x100, "IN_DELETE": 0x200, "IN_DELETE_SELF": 0x400, "IN_MOVE_SELF": 0x800,
    "IN_UNMOUNT": 0x2000, "IN_Q_OVERFLOW": 0x4000, "IN_IGNORED": 0x8000}
IN_ISDIR = 0x40000000

_UNSET = {"origin": "live", "attempt": 1}

_NAMES = {mask: name for name, mask in TYPES.items()}


def maskname(mask):
    """`IN_CREATE|IN_ISDIR` for 0x40000100."""
    name = _NAMES.get(mask & 0xffff, "")
    return name + "|IN_ISDIR" if mask & IN_ISDIR else name


class Event:
    """One change. Which attributes there are depends on the event, as in the original."""

    #: Apart from the attributes that `vars()` and `repr()` show, which are the original's:
    #: `origin`, how it became known, from the kernel (`live`) or by looking (`scan`, `recovered`);
    #: and `attempt`, which run of the task this is, 1 for the first. Unset they are `live` and 1:
    #: that is what nearly all events are.
    __slots__ = ("__dict__", "__weakref__", "origin", "attempt")

    def __init__(self, fields=None, **more):
        fields = {**(fields or {}), **more}
        self.origin = fields.pop("origin", "live")
        mask = fields.get("mask", 0)
        fields.setdefault("dir", bool(mask & IN_ISDIR))
        fields.setdefault("maskname", maskname(mask))
        self.__dict__ = fields

    def __getattr__(self, name):
        # Only asked for what is not there.
        if name in _UNSET:
            return _UNSET[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self):
        text = ""
        for name in sorted(self.__dict__):
            value = self.__dict__[name]
            if name.startswith("_"):
                continue
            if name == "mask":
                value = hex(value)
            elif isinstance(value, str) and not value:
                value = "''"
            text += f"{name}={value} "
        return f"<{type(self).__name__} {text}>"

    __str__ = __repr__


class _Facts(dict):
    """What follows from a mask. There are two masks a type, so all of them are kept."""

    def __missing__(self, mask):
        facts = bool(mask & IN_ISDIR), maskname(mask)
        if len(self) < 1000:
            self[mask] = facts
        return facts


_facts = _Facts()
_new = Event.__new__


def received(fields, attempt):
    """The event that the daemon sent; the dict becomes the event's own."""
    event = _new(Event)
    event.attempt = attempt
    event.origin = fields.pop("origin", "live")
    is_dir, fields["maskname"] = _facts[fields["mask"]]
    # Of the watched item itself the mask does not say so.
    fields.setdefault("dir", is_dir)
    event.__dict__ = fields
    return event


def alike(path, wd, mask, name):
    """The event of a message `runs`: live, about a name in a directory, and no move."""
    event = _new(Event)
    is_dir, maskname = _facts[mask]
    event.__dict__ = {"mask": mask, "wd": wd, "path": path, "name": name,
                      "pathname": f"{path}/{name}", "dir": is_dir, "maskname": maskname}
    return event


def described(event):
    """An event as the daemon takes it: ours, or anything that looks like one."""
    pathname = _text(event.pathname)
    name = getattr(event, "name", None)
    name = os.path.basename(pathname) if name is None else _text(name)
    path = getattr(event, "path", None)
    if path is None:
        path = os.path.dirname(pathname) if name else pathname
    data = {"mask": int(getattr(event, "mask", TYPES["IN_CREATE"])), "wd": int(getattr(event, "wd", -1)),
            "path": _text(path), "name": name, "pathname": pathname,
            "origin": str(getattr(event, "origin", "live"))}
    if getattr(event, "dir", False) and not data["mask"] & IN_ISDIR:
        data["dir"] = True
    if getattr(event, "cookie", None) is not None:
        data["cookie"] = int(event.cookie)
    if getattr(event, "src_pathname", None):
        data["src_pathname"] = _text(event.src_pathname)
    return data


def _text(value):
    return value if isinstance(value, str) else os.fsdecode(value)
