"""Leaving a daemon behind: the command returns when the work is ready, and tells what went wrong before that.

A pipe joins the two.  The daemon writes one JSON object a line: its pid, warnings, then `ready` or `error`; the command
prints them and leaves with the daemon's exit code.  The pipe's end without either means that the daemon died, and
that is said, too.  Ctrl-C while waiting ends the daemon.

Forked twice, before any thread or event loop exists: the daemon has no terminal, no parent that waits for it, and its
working directory keeps no file system busy.

Rejected: starting ourselves again by name (which python, which path, which environment?), systemd-run (not
everywhere).
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from mirrornet.app.logs import Lines, quieten_libraries
from mirrornet.model.errors import InputError, LocalError, MirrornetError

_JOURNAL: Final = Path("/dev/log")


class Failed(MirrornetError):
    """The daemon's own error, with its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class Pipe:
    """The daemon's end: each message is one line; a command that is gone is no reason to stop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, **message: object) -> None:
        """Sends one message."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, json.dumps(message).encode() + b"\n")

    def ready(self) -> None:
        """The work is ready: the command may return."""
        self.tell(ready=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def leave_behind(work: Callable[[Pipe], None], prepare: Callable[[], None]) -> int:
    """Runs `prepare` and `work` in a daemon and returns its pid once it calls `ready`.

    Raises Failed with what the daemon told, or LocalError where it died without a word.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become_daemon(Pipe(writing), work, prepare)
    os.close(writing)
    os.waitpid(child, 0)
    pid = 0
    try:
        with os.fdopen(reading, encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                pid = int(message.get("pid", pid))
                if "warning" in message:
                    print(f"mirrornet: warning: {message['warning']}", file=sys.stderr)
                if "error" in message:
                    raise Failed(message["error"], message["code"])
                if message.get("ready"):
                    return pid
    except KeyboardInterrupt:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        raise
    raise LocalError("the daemon died before it was ready; see its log, or try --foreground")


def _become_daemon(pipe: Pipe, work: Callable[[Pipe], None], prepare: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        pipe.tell(pid=os.getpid())
        prepare()
        work(pipe)
        code = 0
    except MirrornetError as error:
        logging.getLogger(__name__).error("%s", error)
        pipe.tell(error=str(error), code=error.exit_code)
        code = error.exit_code
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("interrupted before it was ready")
        pipe.tell(error="interrupted", code=130)
        code = 130
    except BaseException as error:  # the last border: the command must hear of it
        logging.getLogger(__name__).exception("the daemon ends")
        pipe.tell(error=f"this is a bug in mirrornet: {type(error).__name__}: {error}", code=1)
    finally:
        logging.shutdown()
        os._exit(code)


def log_to(file: Path | None, fallback: Path, *, foreground: bool) -> None:
    """Where the log goes: `file` if given; stderr in the foreground; else the journal, or `fallback` without one.

    Raises LocalError where the file cannot be written, InputError where it is a named pipe.
    """
    handler: logging.Handler
    if file is not None and file.is_fifo():  # to open it would wait for a reader
        raise InputError(f"{file}: is a named pipe; name a file for the log")
    try:
        if file is not None:
            handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8")
        elif foreground:
            handler = logging.StreamHandler()
        elif _JOURNAL.exists():
            handler = logging.handlers.SysLogHandler(str(_JOURNAL), facility="daemon")
            handler.ident = "mirrornet: "
        else:
            fallback.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.handlers.RotatingFileHandler(fallback, maxBytes=1 << 20, backupCount=1, encoding="utf-8")
    except OSError as error:
        raise LocalError(f"{file or fallback}: the log cannot be written ({error.strerror})") from None
    handler.setFormatter(Lines("plain"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    quieten_libraries()
    logging.getLogger("pyfuse3").setLevel(logging.WARNING)
