"""What a person sees of an import while it runs: a bar for each file on a terminal, elsewhere a line; both on stderr.

The bar tells how much has come, how fast (over the last half minute, as rich reckons it) and how long it will take,
where the server said how much there is.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from mirrornet.cli.border import one_line

Tell = Callable[[str, int, int | None], None]


@contextmanager
def progress() -> Iterator[Tell]:
    """Something to tell of progress: what is being done, bytes so far, bytes in all if known."""
    if sys.stderr.isatty():
        with _bar(sys.stderr) as show:
            yield show
        return
    seen: set[str] = set()

    def say(what: str, done: int, total: int | None) -> None:
        if what not in seen:
            seen.add(what)
            size = f" ({total / 1e6:.1f} MB)" if total else ""
            with contextlib.suppress(OSError):
                print(f"{one_line(what)}{size} ...", file=sys.stderr, flush=True)

    yield say


def amount(done: int, total: int | None, speed: float | None) -> str:
    """ "12.3 of 60.1 MB, 4.5 MB/s", as far as known.  Bytes, bytes a second."""
    if not done:
        return ""
    text = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
    return f"{text}, {speed / 1e6:.1f} MB/s" if speed else text


@contextmanager
def _bar(file: IO[str]) -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            total = None if task.total is None else int(task.total)
            return Text(amount(int(task.completed), total, task.finished_speed or task.speed))

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), Amount(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=file), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(one_line(what.rpartition("/")[2]), total=total)
            bar.update(tasks[what], completed=done)

        yield show
