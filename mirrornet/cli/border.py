"""The border between a verb and whoever called it: what escapes becomes one line on stderr and an exit code.

Exit codes: 0 done, 1 it failed, 2 the input is wrong, 3 a limit was exceeded, 130 interrupted.  With MIRRORNET_DEBUG
set, a traceback follows the line.

- A line is one line.  File names, mirrors' answers and arguments may hold newlines and the escape sequences of
  terminals; whatever is not printable is shown as Python would write it (`one_line`).
- SIGTERM and SIGHUP end a verb as Ctrl-C does, so that its temporary files go; a second signal does not wait.  `serve`
  and `mount` set handlers of their own once they run; who ignored a signal (nohup) goes on ignoring it.
- A closed stdin, stdout or stderr is opened on /dev/null before anything else: the next file opened would take its
  number, and a table of the world would get our messages.
- What could not be written to stdout (a full disk behind `>`) is a failure, though everything else went well; a reader
  who left (`| head -1`) is told nothing.  A stderr that refuses is no reason to stop.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from mirrornet.model.errors import ConfigError, InputError, MirrornetError

INTERRUPTED: Final = 130
_EXTRAS = {"dnslib": "server", "pytricia": "server", "yaml": "server", "pyfuse3": "client", "dns": "client"}
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def leave(work: Callable[[], int | None]) -> NoReturn:
    """Runs `work` and ends the process with the exit code it returns (None: 0), or that of what escaped it."""
    _open_streams()
    _watch_signals()
    try:
        code = work() or 0
        if code == INTERRUPTED:  # Typer catches Ctrl-C itself
            say("interrupted")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BrokenPipeError:
        code = 1
    except (Exception, KeyboardInterrupt) as error:  # the last border: no traceback reaches a user
        text, code = explained(error)
        for line in text.split("\n"):
            say(line)
        if os.environ.get("MIRRORNET_DEBUG"):
            traceback.print_exc()
    sys.exit(_flushed(code))


def explained(error: BaseException) -> tuple[str, int]:
    """What to tell of `error`, and the exit code.  Of a zone file's faults each has its line; all else is one."""
    code = 1
    match error:
        case KeyboardInterrupt():
            text, code = "interrupted", INTERRUPTED
        case ConfigError():
            return "\n".join(one_line(str(problem)) for problem in error.problems), error.exit_code
        case MirrornetError():
            text, code = str(error), error.exit_code
        case ModuleNotFoundError():
            extra = _EXTRAS.get((error.name or "").split(".")[0], "all")
            text = f"the package {error.name} is missing: pip install 'mirrornet[{extra}]'"
        case RuntimeError() if str(error).startswith("Symlink loop"):  # pathlib, before Python 3.13
            text, code = f"{str(error).removeprefix('Symlink loop from ')}: its symbolic links lead in a circle", 2
        case OSError():
            text = _of_the_system(error)
        case MemoryError():
            text = "this machine has no memory left for it"
        case _ if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's, whoever ships it
            return _usage(error), int(error.exit_code)
        case _ if type(error).__name__ == "Abort":  # Ctrl-C or Ctrl-D where a passphrase is asked for
            text, code = "interrupted", INTERRUPTED
        case _:
            text = f"this is a bug in mirrornet: {type(error).__name__}: {error} (MIRRORNET_DEBUG=1 shows where)"
    return one_line(text), code


def one_line(text: str) -> str:
    """`text` with all that is not printable shown as an escape: newlines, terminal codes, bytes that are no UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(line: str) -> None:
    """`mirrornet: line` on stderr, where that can be written to."""
    with contextlib.suppress(OSError):
        print(f"mirrornet: {one_line(line)}", file=sys.stderr, flush=True)


def refuse_empty(arguments: list[str]) -> None:
    """Raises InputError for an empty argument: to Path it is the working directory, and nobody ever means that."""
    if "" in arguments:
        before = arguments[arguments.index("") - 1] if arguments.index("") else ""
        after = f" after {before!r}" if before else ""
        raise InputError(f"an argument{after} is empty: is a variable of a script not set?")


def _of_the_system(error: OSError) -> str:
    if error.filename and not isinstance(error.filename, int):  # a descriptor tells nobody anything
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if error.errno == errno.ENOENT:
        try:
            Path.cwd()
        except OSError:
            return "the folder you are in was deleted: cd to one that exists"
    return error.strerror or str(error)


def _usage(error: BaseException) -> str:
    """A fault of the arguments in one line: the verb, what is wrong, where to read on."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "mirrornet"
    what = one_line(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    verb = path.removeprefix("mirrornet").strip()
    return f"{verb}: {what}: see `{path} --help`" if verb else f"{what}: see `{path} --help`"


def _open_streams() -> None:
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, and those below are taken
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be UTF-8


def _watch_signals() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, lambda *_: os._exit(INTERRUPTED))
        raise KeyboardInterrupt

    with contextlib.suppress(ValueError):  # a test that calls us in a thread
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, interrupt)


def _flushed(code: int) -> int:
    """`code`, or 1 where the last of stdout could not be written."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            if number == 1:
                code = code or 1
                if not isinstance(error, BrokenPipeError):
                    say(f"standard output: {error.strerror}: what was to be printed is lost")
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return code
