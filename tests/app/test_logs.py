"""A log is one line for each event, whatever is in it; in JSON, each line is a document."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from mirrornet.app.logs import Lines, configure
from mirrornet.model.errors import InputError
from mirrornet.model.event import line

EVIL = 'a\nERROR forged: "all is well"\r\x1b[31m\u2028\x00\x85'


def test_a_plain_line_for_people() -> None:
    assert line("plain", 1_800_000_000.25, "WARNING", "mirrornet.x", "tokyo is down – refused") == (
        "2027-01-15T08:00:00.250Z WARNING mirrornet.x: tokyo is down – refused"
    )


def test_json_for_programs() -> None:
    told = json.loads(line("json", 1_800_000_000.25, "WARNING", "mirrornet.x", EVIL, "where"))
    assert told == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "warning",
        "source": "mirrornet.x",
        "message": EVIL,
        "trace": "where",
    }


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize("text", [EVIL, "\udcff of a file's name", "x" * 100_000])
def test_nobody_writes_lines_into_the_log(form: str, text: str) -> None:
    told = line(form, 0.0, "info", "s", text)
    assert told.splitlines() == [told] and told.isprintable()
    told.encode()


def record(message: str, *values: object, bug: bool = False) -> logging.LogRecord:
    found = None
    if bug:
        try:
            raise ValueError("a\nbug")
        except ValueError:
            found = sys.exc_info()
    return logging.LogRecord("mirrornet.y", logging.ERROR, "f", 1, message, values, found)


def test_a_trace_is_part_of_its_line() -> None:
    plain = Lines("plain").format(record("%s broke", "it", bug=True))
    assert "it broke | Traceback" in plain and plain.splitlines() == [plain]
    told = json.loads(Lines("json").format(record("it", bug=True)))
    assert told["message"] == "it" and "ValueError" in told["trace"] and "\n" in told["trace"]
    assert "trace" not in json.loads(Lines("json").format(record("it")))


@pytest.mark.parametrize(("level", "form"), [("loud", "plain"), ("info", "xml"), ("", "plain")])
def test_words_that_mean_nothing(level: str, form: str) -> None:
    with pytest.raises(InputError, match=r"--log-(level|format) .*: write"):
        configure(level, form)


def test_what_a_process_says_through_any_logger_is_json() -> None:
    script = (
        "import logging, warnings; from mirrornet.app.logs import configure; configure('info', 'json');"
        "logging.getLogger('redis').warning('away'); logging.getLogger('mirrornet').debug('no');"
        "logging.getLogger('tuf.api._payload').info('No signature for keyid 53a0');"
        "warnings.warn('old'); from mirrornet.dns.serving.worker import _say; _say('a plan\\nis damaged')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    told = [json.loads(text) for text in done.stderr.splitlines()]
    assert [one["source"].split(".")[0] for one in told] == ["redis", "py", "mirrornet"]
    assert told[2]["message"] == "a plan\nis damaged" and told[2]["source"].startswith("mirrornet.worker.")


def test_a_clients_log_has_one_line_for_each_event_too(tmp_path: Path) -> None:
    script = (
        "import logging; from pathlib import Path; from mirrornet.app.daemon import log_to;"
        "log_to(Path('own.log'), Path('none.log'), foreground=False); logging.getLogger('tuf.api').info('no event');"
        "logging.getLogger('mirrornet').warning('a\\nb')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=60, check=True)
    (told,) = (tmp_path / "own.log").read_text().splitlines()
    assert told.endswith("WARNING mirrornet: a\\nb")
