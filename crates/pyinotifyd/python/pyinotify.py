"""A stand-in for pyinotify, for a config.py that imports it where it is not installed."""

from pyinotifyd._events import IN_ISDIR, TYPES, Event

globals().update(TYPES)
ALL_EVENTS = sum(TYPES[it] for it in TYPES if it not in ("IN_UNMOUNT", "IN_Q_OVERFLOW", "IN_IGNORED"))


class EventsCodes:
    """Names and bits of events."""

    FLAG_COLLECTIONS = {"OP_FLAGS": dict(TYPES), "SPECIAL_FLAGS": {"IN_ISDIR": IN_ISDIR}}
    ALL_FLAGS = {**TYPES, "IN_ISDIR": IN_ISDIR}
    ALL_VALUES = {value: name for name, value in ALL_FLAGS.items()}

    @staticmethod
    def maskname(mask):
        return "|".join(name for name, bit in EventsCodes.ALL_FLAGS.items() if mask & bit)


class ProcessEvent:
    """Calls `process_IN_CLOSE_WRITE`, or `process_IN_CLOSE`, or `process_default`."""

    def __init__(self, pevent=None, **kargs):
        self.pevent = pevent
        self.my_init(**kargs)

    def my_init(self, **kargs):
        pass

    def __call__(self, event):
        name = event.maskname.split("|")[0]
        family = "_".join(name.split("_")[:2])
        method = getattr(self, "process_" + name, None) or getattr(self, "process_" + family, None)
        return (method or self.process_default)(event)

    def process_default(self, event):
        pass


class ExcludeFilter:
    """Paths that begin with a match of one of these regular expressions."""

    def __init__(self, arg_lst):
        if isinstance(arg_lst, str):
            with open(arg_lst) as file:
                lines = (line.strip() for line in file)
                arg_lst = [line for line in lines if line and not line.startswith("#")]
        self.patterns = list(arg_lst)
