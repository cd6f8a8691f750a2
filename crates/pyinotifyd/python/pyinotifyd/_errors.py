"""How an error of user code is told: its own lines of the traceback, and a place in the file."""

import builtins
import difflib
import re
import sys
import traceback

from . import _describe
from ._objects import NAME


def _internal(entry):
    return entry.filename.startswith(("<pyinotifyd", "<frozen importlib"))


def _captured(error):
    """The whole of an exception, with what caused it, without the lines that are ours."""
    told = traceback.TracebackException.from_exception(error)
    seen, todo = set(), [told]
    while todo:
        it = todo.pop()
        if it is None or id(it) in seen:
            continue
        seen.add(id(it))
        it.stack = traceback.StackSummary.from_list([e for e in it.stack if not _internal(e)])
        todo += [it.__cause__, it.__context__, *(getattr(it, "exceptions", None) or ())]
    return told


def shown(error):
    """An exception's traceback, as Python shows it."""
    try:
        return _unqualified("".join(_captured(error).format())) + _meant(error)
    except Exception as other:
        return f"{type(error).__name__}, which cannot be shown: {type(other).__name__}"


def summary(error):
    """`TypeName: message`, as Python's last line has it."""
    if isinstance(error, SystemExit):
        return f"SystemExit: sys.exit({_argument(error)})"
    try:
        lines = list(_captured(error).format_exception_only())
        if isinstance(error, SyntaxError):
            lines = lines[-1:]
        return _unqualified("".join(lines)) + _meant(error)
    except Exception as other:
        return f"{type(error).__name__}, which cannot be shown: {type(other).__name__}"


def _unqualified(text):
    """Without the name of a module that nobody has chosen."""
    return text.rstrip("\n").replace(NAME + ".", "")


def _meant(error):
    """Python's own suggestion for a name, where its `traceback` does not have it yet."""
    if sys.version_info >= (3, 12) or not isinstance(error, (NameError, AttributeError)):
        return ""
    match = re.search(r"(?:^name|has no attribute) '(\w+)'", str(error))
    if match is None or isinstance(error, ImportError):
        return ""
    if isinstance(error, AttributeError):
        names = dir(error.obj) if getattr(error, "obj", None) is not None else ()
    else:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        frame = at.tb_frame if at is not None else None
        names = [*frame.f_locals, *frame.f_globals, *dir(builtins)] if frame is not None else ()
    near = difflib.get_close_matches(match.group(1), [it for it in names if isinstance(it, str)], 1)
    return f". Did you mean: '{near[0]}'?" if near else ""


def _argument(error):
    if error.code is None:
        return ""
    return repr(error.code) if len(repr(error.code)) <= 200 else type(error.code).__name__


def stack(frame):
    """The lines of user code that a thread is in."""
    entries = [it for it in traceback.extract_stack(frame) if not _internal(it)]
    # The lowest is the line by which the daemon started all this.
    if entries and entries[0].filename == "<string>":
        del entries[0]
    while entries and entries[0].filename.endswith(("/asyncio/base_events.py", "/asyncio/events.py",
                                                    "/asyncio/runners.py")):
        del entries[0]
    return "".join(traceback.format_list(entries)).rstrip("\n")


def diagnostic(message, file=None, line=None, hints=(), told=None, severity="error"):
    return {"severity": severity, "file": file, "line": line, "message": message,
            "hints": list(hints), "traceback": told}


def place(error, config):
    """The last line of config.py that an exception came by, else the last of any user code."""
    found, at = (config, None), error.__traceback__
    while at is not None:
        file = at.tb_frame.f_code.co_filename
        if file == config:
            found = file, at.tb_lineno
        elif found[0] != config and not file.startswith("<"):
            found = file, at.tb_lineno
        at = at.tb_next
    return found


def refusal(error, config):
    """Why a config.py is not good."""
    if isinstance(error, _describe.Mistake):
        file, line = getattr(error.owner, "_place", None) or (config, None)
        return diagnostic(str(error), file, line, error.hints)
    file, line = place(error, config)
    if isinstance(error, SyntaxError) and not (error.filename or "<").startswith("<"):
        told = shown(error)
        if line is None:
            # Nothing ran, so all there is to show are the line and the caret.
            told = "".join(traceback.format_exception_only(type(error), error)[:-1]).rstrip("\n")
        return diagnostic(f"{type(error).__name__}: {error.msg}", error.filename,
                          error.lineno or None, told=told or None)
    if isinstance(error, SystemExit):
        return diagnostic(f"the configuration called sys.exit({_argument(error)})", file, line,
                          told=shown(error))
    if isinstance(error, OSError) and line is None:
        return diagnostic(f"cannot read {config}: {error.strerror or error}", config)
    return diagnostic(summary(error), file, line, told=shown(error))
