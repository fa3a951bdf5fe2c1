"""What every test may ask for, and the rules all of them obey.

A tool that is missing skips the test on a laptop and fails it under CI (environment variable CI), since .ci/run
installs what it needs.  A warning or error in the log that the test did not announce fails it: use the fixture
`expected_warnings` to announce some, by a part of their text.

Where real processes, sockets and clocks are under test, a busy machine may take a second for a millisecond's work.
Such a test is run once more if it fails, and the closing lines show that failure too: it is a bug to be looked into, in
the test or in what it tests.  Pure tests get one chance.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# Hypothesis gives an example a fifth of a second by the clock on the wall, which a busy machine may take for any.
hypothesis.settings.register_profile("patient", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("patient")

SHARED = Path(os.environ.get("MIRRORNET_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


# Whoever starts the suite in the background (nohup, a shell's &) starts it with SIGINT ignored, and children inherit
# that; the tests of Ctrl-C mean a program in the foreground.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # still ignored here, and not by children


def missing(reason: str) -> None:
    """Skips the running test because of `reason`, or fails it under CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


@pytest.fixture
def need() -> Callable[..., None]:
    """need("nginx", "dig"): these programs; need("root"), need("fuse"): these rights."""

    def check(*things: str) -> None:
        for thing in things:
            if thing == "root":
                if os.geteuid() != 0:
                    missing("needs root")
            elif thing == "fuse":
                if not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount3") is None:
                    missing("needs /dev/fuse and fusermount3 (Debian: fuse3)")
            elif shutil.which(thing, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
                missing(f"needs the program {thing}")

    return check


@pytest.fixture
def data() -> Callable[[str], Path]:
    """data("resolvers.csv"): a file of the optional data folder (MIRRORNET_DATA); skips where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs {name} of the data folder; set MIRRORNET_DATA")
        return path

    return find


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A loopback port that is free by TCP and UDP just now, for programs that cannot be told to pick one."""

    def pick() -> int:
        for _ in range(50):
            with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
                tcp.bind(("127.0.0.1", 0))
                port: int = tcp.getsockname()[1]
                try:
                    udp.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
        raise RuntimeError("no port is free by TCP and by UDP")

    return pick


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def expected_warnings() -> list[str]:
    """Append parts of the log lines (WARNING and above) that this test provokes on purpose."""
    return []


@pytest.fixture(autouse=True)
def _no_surprises(expected_warnings: list[str]) -> Iterator[None]:
    recorder = _Recorder()
    logger = logging.getLogger("mirrornet")
    logger.addHandler(recorder)
    yield
    logger.removeHandler(recorder)
    surprises = [
        record.getMessage()
        for record in recorder.records
        if not any(part in record.getMessage() for part in expected_warnings)
    ]
    assert not surprises, f"unannounced in the log: {surprises}"


# folder → part, else pure
_PARTS = {"loopback": "loopback", "peers": "loopback", "mount": "mount", "demo": "demo", "lab": "lab"}


def _part(nodeid: str) -> str:
    return _PARTS.get(Path(nodeid).parts[1], "pure")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A second chance for tests with real time in them."""
    for item in items:
        if _part(item.nodeid) != "pure":
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was run twice, and why; the time by part, so that a part that outgrows the others is seen."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("_", f"run twice: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
    seconds: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                part = _part(report.nodeid)
                seconds[part] = seconds.get(part, 0.0) + report.duration
    told = ", ".join(f"{part} {time:.0f} s" for part, time in sorted(seconds.items()))
    terminalreporter.write_line(f"time by part: {told}")
