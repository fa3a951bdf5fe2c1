"""What `mount` and `nbd` do with their work: leave it behind in a process of its own, or stay in the foreground."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mirrornet.cli.border import say

Ready = Callable[[list[str]], None]


def leave(work: Callable[[Ready], None], *, foreground: bool, log: Path | None, fallback: Path) -> None:
    """Runs `work`, and returns when it calls what it is given (with warnings) or, in the foreground, when it ends.

    `log`, or else the journal, stderr or `fallback`, gets its log.  Raises MirrornetError.
    """
    from mirrornet.app import daemon

    logfile = log.absolute() if log else None

    def told(warnings: list[str]) -> None:
        for warning in warnings:
            say(f"warning: {warning}")

    def behind(pipe: daemon.Pipe) -> None:
        def ready(warnings: list[str]) -> None:
            for warning in warnings:
                pipe.tell(warning=warning)
            pipe.ready()

        work(ready)

    if foreground:
        daemon.log_to(logfile, fallback, foreground=True)
        work(told)
    else:
        daemon.leave_behind(behind, lambda: daemon.log_to(logfile, fallback, foreground=False))
