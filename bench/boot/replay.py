"""A recorded boot's reads over a file, again: with the guest's think time, a part of it, or none.

    python bench/boot/replay.py FILE [--steps STEPS] [--think 5] [--against IMAGE]

STEPS is what `guest.py` recorded (default: its cache).  `--think 5` divides the think time by 5, `--think 0` leaves it
out.  With `--against`, every byte is compared.  Prints one line of JSON: seconds, reads, and the seconds that reads
took (p50, p99, the longest, and when in the boot that was).

Reads go through the page cache, as qemu's do by default, each in a thread of its own: as many at once as the guest had.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import percentile
from recording import Step, decode

DEPTH = 64  # reads at once; a virtio disk has 128 at most, a boot uses a few


@dataclass(frozen=True, slots=True)
class Replay:
    """`seconds` to the last byte, `waited` of them with a read under way; what single reads took, in seconds."""

    seconds: float
    reads: int
    waited: float
    p50: float
    p99: float
    longest: float
    longest_at: float
    wrong: int


def replay(file: Path, all_steps: Sequence[Step], think: float, against: Path | None = None) -> Replay:
    """Does the steps; think times are divided by `think`, or left out where that is 0."""
    descriptor = os.open(file, os.O_RDONLY)
    other = os.open(against, os.O_RDONLY) if against else None
    begun = [0.0] * len(all_steps)
    ended = [0.0] * len(all_steps)
    wrong: list[int] = []

    def read(number: int) -> None:
        step = all_steps[number]
        begun[number] = time.monotonic()
        data = os.pread(descriptor, step.size, step.offset)
        ended[number] = time.monotonic()
        if len(data) != step.size or (other is not None and data != os.pread(other, step.size, step.offset)):
            wrong.append(number)

    try:
        start = time.monotonic()
        _follow(all_steps, (lambda step: step.think / think) if think else (lambda step: 0.0), read)
    finally:
        os.close(descriptor)
        if other is not None:
            os.close(other)
    took = [end - begin for begin, end in zip(begun, ended, strict=True)]
    worst = max(range(len(took)), key=lambda number: took[number])
    return Replay(
        max(ended) - start,
        len(took),
        _covered(begun, ended),
        percentile(took, 0.5),
        percentile(took, 0.99),
        took[worst],
        begun[worst] - start,
        len(wrong),
    )


def _follow(all_steps: Sequence[Step], pause: Callable[[Step], float], read: Callable[[int], None]) -> None:
    """Calls `read` for each step in a thread, `pause` seconds after the step it follows has ended."""
    followers: dict[int, list[int]] = {}
    for number, step in enumerate(all_steps):
        followers.setdefault(step.after, []).append(number)
    left = len(all_steps)
    errors: list[BaseException] = []
    turn = threading.Condition()
    due: list[tuple[float, int]] = [(time.monotonic() + pause(all_steps[number]), number) for number in followers[-1]]

    def do(number: int) -> None:
        nonlocal left
        try:
            read(number)
        except BaseException as error:
            errors.append(error)
        now = time.monotonic()
        with turn:
            left -= 1
            due.extend((now + pause(all_steps[next_]), next_) for next_ in followers.get(number, ()))
            turn.notify()

    with ThreadPoolExecutor(DEPTH) as pool, turn:
        while left and not errors:
            now = time.monotonic()
            for item in sorted(due):
                if item[0] <= now:
                    due.remove(item)
                    pool.submit(do, item[1])
            turn.wait(max(0.0, min(due)[0] - time.monotonic()) if due else None)
    if errors:
        raise errors[0]


def _covered(begun: Sequence[float], ended: Sequence[float]) -> float:
    """Seconds in which at least one read was under way."""
    total, reach = 0.0, 0.0
    for begin, end in sorted(zip(begun, ended, strict=True)):
        total += max(0.0, end - max(begin, reach))
        reach = max(reach, end)
    return total


def main() -> int:
    """The command.  Exit code 1 where a byte was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--steps", type=Path, help="what guest.py recorded")
    parser.add_argument("--think", type=float, default=1.0)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    if options.steps is None:
        from guest import recorded

        options.steps = recorded()
    done = replay(options.file, decode(options.steps.read_text()), options.think, options.against)
    print(json.dumps({key: round(value, 4) for key, value in asdict(done).items()}))
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
