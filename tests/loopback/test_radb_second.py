"""Two processes read what one reads, whatever happens to the second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import until

from mirrornet.radb.compiling.ranges import compile_table
from mirrornet.radb.fetch import DEFAULT_LIMITS
from mirrornet.radb.reading import opening, second
from mirrornet.radb.reading.batch import Batch
from mirrornet.radb.reading.dumps import read_dump
from mirrornet.radb.reading.rpsl import Piece, TooLong, pieces
from mirrornet.radb.records import Records
from mirrornet.radb.report import ImportReport

GARBAGE = Path(__file__).parents[1] / "vectors" / "rpsl" / "garbage.db"
PATIENCE = 60.0  # seconds for what takes a fraction of one
SOURCES = ("RADB", "RIPE", "NTTCOM", "ALTDB")

Understood = list[tuple[Piece | TooLong, Batch | None]]


@pytest.fixture(scope="module")
def text() -> bytes:
    """Routes of both families, aut-nums and garbage, in a different mixture in every part."""
    garbage = GARBAGE.read_bytes().rstrip() + b"\n\n"
    parts = []
    for number in range(4000):
        end = f"source:         {SOURCES[number * number % 7 % 4]}\n\n"
        value = f"{8 + number % 90}.{number // 200}.{number % 200}.0/24"
        parts.append(f"route:          {value}\norigin:         AS{number % 300 + 1}\n{end}".encode())
        if number % 3 == 0:
            parts.append(f"route6:     2a00:{number:x}::/32\norigin: AS{number % 50 + 1}\n{end}".encode())
        if number % 7 == 0:
            parts.append(f"aut-num:    AS{number + 1}\ncountry:    JP\n{end}".encode())
        if number % 450 == 0:
            parts.append(garbage)
    return b"".join(parts) + b"# EOF\n"


def cut(text: bytes, portion: int = 16384) -> Iterator[Piece | TooLong]:
    return pieces(text[at : at + portion] for at in range(0, len(text), portion))


def everything(found: Understood) -> list[object]:
    """What can be compared of it: NumPy's columns as lists."""
    said: list[object] = []
    for piece, batch in found:
        said.append(piece)
        if batch is None:
            continue
        for routes in batch.plain.routes.values():
            columns = (routes.values, routes.lengths, routes.asns, routes.sources, routes.newest)
            said.append([column.tolist() for column in columns])
        seats = batch.plain.seats
        said.append([seats.asns.tolist(), seats.sources.tolist(), seats.countries.tolist(), seats.codes])
        said.append([batch.names, batch.dropped, batch.said, batch.passed, batch.rejected, batch.samples, batch.mended])
        said.append([batch.objects, batch.plain.lines])
    return said


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[second.Second]:
    """Every second process that is started."""
    made: list[second.Second] = []
    start = second.Second.__init__

    def watched(self: second.Second, *arguments: object) -> None:
        start(self, *arguments)  # type: ignore[arg-type]
        made.append(self)

    monkeypatch.setattr(second.Second, "__init__", watched)
    return made


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the pieces that a second process took."""
    numbers: list[int] = []
    offer = second.Second.offer

    def watched(self: second.Second, number: int, data: bytes) -> bool:
        if offer(self, number, data):
            numbers.append(number)
            return True
        return False

    monkeypatch.setattr(second.Second, "offer", watched)
    return numbers


def test_two_processes_say_what_one_says(text: bytes, taken: list[int]) -> None:
    alone = list(second.understood(cut(text), False, 1))
    assert not taken
    together = list(second.understood(cut(text), False, 2))
    assert len(taken) >= 2
    assert everything(together) == everything(alone)
    assert sum(batch.rejected.total() for _, batch in alone if batch) > 9  # the garbage is in it


@pytest.mark.parametrize("bogons", [False, True])
def test_the_table_and_the_report_do_not_depend_on_the_number_of_processes(
    text: bytes, bogons: bool, tmp_path: Path, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = tmp_path / "radb.db"
    dump.write_bytes(text)
    opened = opening.ahead
    monkeypatch.setattr(
        opening,
        "ahead",
        lambda stream, tell: (b[at : at + 9999] for b in opened(stream, tell) for at in range(0, len(b), 9999)),
    )
    tables, reports = [], []
    for processes in (1, 2, None):
        records, report = Records(), ImportReport()
        read_dump(str(dump), records, report, lambda *_: None, bogons, DEFAULT_LIMITS, processes)
        tables.append(b"".join(compile_table(records, [], 1.0).pieces))
        said = report.as_dict()
        said["files"][0]["seconds"] = 0
        reports.append(said)
    assert taken
    assert tables[0] == tables[1] == tables[2]
    assert reports[0] == reports[1] == reports[2]
    samples = [sample for rejects in reports[0]["rejected"].values() for sample in rejects["samples"]]
    lines = text.split(b"\n")
    for sample in samples:  # each sample stands where it says
        assert lines[sample["line"] - 1].decode("utf-8", "backslashreplace").split() == sample["text"].split()


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_second_process_that_dies_or_hangs_costs_no_piece(
    text: bytes, blow: signal.Signals, seconds: list[second.Second], taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = everything(list(second.understood(cut(text), False, 1)))

    def struck() -> Iterator[Piece | TooLong]:
        for piece in cut(text):
            if len(taken) == 3:
                os.kill(seconds[0].process_id, blow)
                monkeypatch.setattr(second, "SILENCE", 0.3)
                taken.append(-1)
            yield piece

    assert everything(list(second.understood(struck(), False, 2))) == expected
    assert -1 in taken
    assert gone(seconds[0].process_id)


@pytest.mark.parametrize("program", ["#!/bin/false\n", "#!/bin/sh\nsleep 100 & exec sleep 100\n", None])
def test_without_a_second_process_the_first_reads_all(
    text: bytes, program: str | None, tmp_path: Path, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = everything(list(second.understood(cut(text), False, 1)))
    path = tmp_path / "python"
    if program is not None:
        path.write_text(program)
        path.chmod(0o755)
    monkeypatch.setattr(second.sys, "executable", str(path))
    monkeypatch.setattr(second, "SILENCE", 0.2)
    assert everything(list(second.understood(cut(text), False, 2))) == expected
    assert not taken


def test_a_piece_that_no_slot_holds_is_read_by_the_first(
    text: bytes, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    big = b"person: x\nremarks: " + b"y" * second.SLOT + b"\n\n" + text
    found = list(second.understood(pieces(iter([big, b""])), False, 2))
    assert 0 not in taken
    assert sum(batch.objects for _, batch in found if batch) > 4000


def test_an_early_end_leaves_no_process(text: bytes, seconds: list[second.Second]) -> None:
    understood = second.understood(cut(text), False, 2)
    next(understood)
    understood.close()  # type: ignore[attr-defined]
    assert gone(seconds[0].process_id)


PARENT = """
import sys
from mirrornet.radb.reading.second import second
with second(False) as other:
    other.wait()
    assert other.offer(0, b"route: 8.8.8.0/24\\norigin: AS1\\nsource: RADB\\n\\n")
    print(other.process_id, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_does_not_outlive_the_first(blow: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert parent.stdout is not None and parent.stderr is not None
        number = int(parent.stdout.readline())
        assert state(number) not in ("", "Z")
        os.killpg(parent.pid, blow)  # as a terminal does
        assert gone(number)
        parent.wait(PATIENCE)
        told = parent.stderr.read()
    finally:
        parent.kill()
        parent.communicate()
    assert told.count(b"Traceback") == (1 if blow == signal.SIGINT else 0)  # the first's own, not the second's


def gone(process: int) -> bool:
    """Returns True once `process` has ended; a zombie has, too."""
    until(lambda: state(process) in ("", "Z"), lambda: f"process {process} is {state(process)}", PATIENCE)
    return True


def state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.parametrize(("plain", "cores", "expected"), [(True, 2, 0), (False, 2, 1), (False, 1, 0)])
def test_a_second_process_is_asked_for_where_the_exact_reader_has_much_to_do(
    plain: bool,
    cores: int,
    expected: int,
    seconds: list[second.Second],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scanner = second.scan.load(second.scan.build(tmp_path))
    if scanner is None:
        pytest.skip("no C compiler: then there are always two")
    monkeypatch.setattr(second.scan, "folder", lambda: tmp_path)
    monkeypatch.setattr(second.os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(second, "MANY", 500)
    name = "8.8.8.0/24" if plain else "8.8.8.1/24"  # host bits are mended by the exact reader alone
    found = list(second.understood(cut(f"route: {name}\norigin: AS1\nsource: RADB\n\n".encode() * 4000), False))
    assert sum(batch.objects for _, batch in found if batch) == 4000
    assert len(seconds) == expected
