"""Python's logging governs the daemon's records, and the daemon writes Python's."""

import contextvars
import functools
import logging
import sys

FORMAT = "%(asctime)s - pyinotifyd/%(name)s - %(levelname)s - %(message)s"

#: The task that the running code belongs to.
task_id = contextvars.ContextVar("task_id", default=None)

#: Called, from any thread, when the settings of `logging` may have changed.
on_change = None

_plain = logging.Formatter()

#: The levels that the daemon has, by Python's numbers.
_LEVELS = {getattr(logging, name): name for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}


def _noticed(method):
    """A method of `logging` that changes its settings."""
    @functools.wraps(method)
    def changing(self, *args, **kwargs):
        result = method(self, *args, **kwargs)
        if on_change is not None:
            on_change()
        return result
    return changing


class DaemonHandler(logging.StreamHandler):
    """The default handler. As long as it is left as it is, the daemon writes in its place."""

    def __init__(self, post):
        super().__init__(sys.stderr)
        self._post = post
        self._default = logging.Formatter(FORMAT)
        self.setFormatter(self._default)
        self._stream = self.stream

    @property
    def untouched(self):
        return (self._post is not None and self.formatter is self._default
                and self.level == logging.NOTSET and not self.filters
                and self.stream is self._stream)

    def emit(self, record):
        # The daemon has no names for levels of one's own.
        if not self.untouched or _LEVELS.get(record.levelno) != record.levelname:
            super().emit(record)
            return
        try:
            text = _plain.format(record)
        except Exception:
            self.handleError(record)
            return
        self._post(record.levelno, record.name, text, record.created,
                   getattr(record, "task_id", None) or task_id.get())

    def alone(self):
        """From now on it writes itself."""
        self._post = None

    setLevel = _noticed(logging.StreamHandler.setLevel)
    setFormatter = _noticed(logging.StreamHandler.setFormatter)
    addFilter = _noticed(logging.StreamHandler.addFilter)
    removeFilter = _noticed(logging.StreamHandler.removeFilter)
    setStream = _noticed(logging.StreamHandler.setStream)


def install(post, debug):
    """What `logging` is before config.py has its say."""
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    root.addHandler(DaemonHandler(post))
    for name in ("setLevel", "addHandler", "removeHandler", "addFilter", "removeFilter"):
        setattr(logging.Logger, name, _noticed(getattr(logging.Logger, name)))


def uninstall():
    """In a process that does not speak for the daemon."""
    global on_change
    on_change = None
    for _, logger in _loggers():
        for handler in logger.handlers:
            if isinstance(handler, DaemonHandler):
                handler.alone()


def _loggers():
    yield "", logging.getLogger()
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):
            yield name, logger


def _is_ours(handler):
    return isinstance(handler, DaemonHandler) and handler.untouched


def _is_apart(logger):
    """Whether a record may not reach the default handler as it is: then Python has to decide."""
    return bool(logger.filters) or logger.parent is not None and not logger.propagate


def settings():
    """How `logging` is configured, as far as the daemon's records are concerned."""
    levels, forward, apart, stderr = {}, [], [], False
    least = logging.Logger.manager.disable + 1
    for name, logger in _loggers():
        if logger.disabled:
            levels[name] = logging.CRITICAL + 1
        elif logger.level != logging.NOTSET or not name:
            levels[name] = max(logger.level, least) if least > 1 else logger.level
        if not name:
            stderr = any(map(_is_ours, logger.handlers))
        if not all(map(_is_ours, logger.handlers)):
            forward.append(name)
        if _is_apart(logger):
            apart.append(name)
    return {"levels": levels, "stderr": stderr, "forward": sorted({*forward, *apart}),
            "apart": sorted(apart)}


def handle(level, logname, message, created, task):
    """A record of the daemon's, for the handlers that are config.py's own."""
    logger = logging.getLogger(logname)
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(logname, level, "", 0, message, (), None)
    record.relativeCreated += (created - record.created) * 1000
    record.created = created
    record.msecs = int((created - int(created)) * 1000) + 0.0
    record.task_id = task
    if not logger.filter(record):
        return
    at, apart = logger, False
    while at is not None:
        apart = apart or _is_apart(at)
        for handler in at.handlers:
            # The daemon has written it already, where it could know that it was to.
            if record.levelno >= handler.level and (apart or not _is_ours(handler)):
                handler.handle(record)
        at = at.parent if at.propagate else None


def setLoglevel(level, logname=None):
    """Sets the level of a logger; without a name, of all that have none of their own."""
    logging.getLogger(logname).setLevel(level)


def enableSyslog(loglevel=None, address="/dev/log", logname=None):
    """Sends records to syslog too."""
    import logging.handlers
    handler = logging.handlers.SysLogHandler(address=address)
    # What is before the colon is the tag, by which a syslog daemon sorts.
    handler.setFormatter(logging.Formatter("pyinotifyd/%(name)s: %(message)s"))
    if loglevel is not None:
        handler.setLevel(loglevel)
    logging.getLogger(logname).addHandler(handler)
