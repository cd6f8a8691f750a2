"""What all objects of a config.py have in common: a place in the file, and a change is noticed."""

import sys

#: The module that config.py is.
NAME = "__pyinotifyd_config__"

#: All schedulers and file managers, in the order in which they were made.
made = []

#: Warnings about the configuration, as the daemon takes them.
warnings = []

#: Called when an object is changed in a way that the daemon has to know.
on_change = None


def place():
    """The file and line that called the code of this package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith("<pyinotifyd"):
        frame = frame.f_back
    if frame is None:
        return None, None
    return frame.f_code.co_filename, frame.f_lineno


def warn(message, *hints, at=None):
    file, line = at or place()
    warnings.append({"severity": "warning", "file": file, "line": line, "message": message,
                     "hints": list(hints), "traceback": None})


def refuse_unknown(owner, given, known):
    """Says which keyword argument does not exist, and which was meant."""
    for name in given:
        if name not in known:
            import difflib
            near = difflib.get_close_matches(name, known, 1)
            meant = f". Did you mean: '{near[0]}'?" if near else ""
            raise TypeError(f"{type(owner).__name__}() got an unexpected keyword argument '{name}'{meant}")


class Object:
    """Knows where it was made, and tells when an attribute that is described changes."""

    #: The attributes that the daemon is told.
    _described = frozenset()
    _place = (None, None)

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        object.__setattr__(self, "_place", place())
        return self

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        # Whatever else a subclass keeps, such as a count of its runs, costs nothing.
        if on_change is not None and name in self._described:
            on_change()
