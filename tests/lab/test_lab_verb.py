"""`mirrornet lab`: the whole trial of a small zone, and that nothing of it is left, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from mirrornet.app.lab import LabOptions, lab
from mirrornet.lab.nameserver import COMMAND
from mirrornet.lab.network import RECORDS
from mirrornet.lab.sweep import inside
from mirrornet.model.errors import LocalError

# One mirror of each kind of URL; the one by HTTPS is the nearest to Osaka.
ZONE: dict[str, Any] = {
    "zone": "try.test",  # which resolvers would answer by themselves
    "contact": "hostmaster@try.test",
    "serial": 1,
    "nameservers": {"ns1.try.test": ["192.0.2.53"]},
    "repository": {"root": "not-there-yet.json", "images": ["debian"]},
    "select": [{"name": "select", "ttl": 2}],
    "health": {"interval": "1s", "timeout": "500ms", "up": 2, "ok": 2, "down": 2},
    "mirrors": {
        "tokyo": {
            "url": "https://tokyo.example/os",
            "addresses": ["203.0.113.1"],
            "place": {"country": "JP", "latitude": 35.68, "longitude": 139.69},
        },
        "seoul": {
            "url": "http://203.0.113.2:8080/a%20folder",
            "addresses": ["203.0.113.2", "2001:db8:99::2"],
            "place": {"country": "KR", "latitude": 37.57, "longitude": 126.98},
        },
        "paris": {"url": "http://select.try.test/", "addresses": ["203.0.113.3"], "place": {"country": "FR"}},
    },
}


@pytest.fixture(autouse=True)
def tools(need: Any) -> None:
    need("root", "nginx", "unbound", "dig", "curl", "openssl", "fuse", "ip", "nsenter")


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    path = tmp_path / "zone.yaml"
    path.write_text(json.dumps(ZONE))
    return path


@pytest.fixture
def running(zone: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (tmp_path / "stderr").open("wb") as out:
        words = [*COMMAND, "lab", str(zone), "--client", "Osaka=34.69,135.5,JP", "--size", "1M"]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_the_trial_of_a_zone(zone: Path) -> None:
    words = ["--client", "Osaka=34.69,135.5,JP", "--client", "berlin=DE", "--size", "2M", "--kill", "tokyo", "--json"]
    done = subprocess.run([*COMMAND, "lab", zone, *words], capture_output=True, text=True, timeout=480, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["select"] == "select.try.test" and report["image"] == "debian"
    assert {one["name"]: one["state"] for one in report["mirrors"]} == dict.fromkeys(ZONE["mirrors"], "up"), done.stderr
    assert any("500 ms is too short" in note for note in report["notes"])
    before, after = ({got["client"]: got for got in report[phase]} for phase in ("before", "after"))
    assert before["Osaka"]["nearest"] == "tokyo" and before["Osaka"]["offered"][0] == "tokyo"
    assert before["berlin"]["mirror"] == before["berlin"]["nearest"] == "paris"
    for got in (*before.values(), *after.values()):
        assert not got["error"], got
        assert got["rate"] > 0 and got["round_trip_ms"] <= got["connect_ms"] < got["round_trip_ms"] + 60
        assert abs(got["estimate_ms"] - got["round_trip_ms"]) < 60
    assert after["Osaka"]["mirror"] == "seoul" and "tokyo" not in after["Osaka"]["offered"]
    for outage in report["outages"]:
        assert outage["reads_after"] < 30 and outage["fresh_after"] < 60
    assert "Traceback" not in done.stderr


def test_what_cannot_be_tried_is_refused_in_one_line(zone: Path) -> None:
    for words, part in (
        (["--kill", "osaka"], "has no mirror 'osaka': its mirrors are tokyo, seoul, paris"),
        (["--select", "other"], "has no select 'other'"),
        (["--client", "Atlantis"], "is no place that is known here"),
        (["--size", "1"], "--size: clients read 1M to 64M"),
        (["--rtt", "/nonexistent"], "/nonexistent: no such file"),
        (["--wait", "soon"], "--wait: 'soon' is not a duration"),
    ):
        done = subprocess.run([*COMMAND, "lab", zone, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and part in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_machine_that_cannot_is_told_what_it_lacks(zone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = LabOptions(zone)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        with pytest.raises(LocalError, match="lab: there is no `dig`: install Debian's bind9-dnsutils"):
            lab(options, print)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LocalError, match=r"lab: .* run it as root"):
        lab(options, print)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_trial_that_is_interrupted(
    running: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    def said() -> str:
        return (tmp_path / "stderr").read_text()

    until(lambda: "all read" in said() or running.poll() is not None, said, 120)
    record = next(
        path for path in RECORDS.glob("*.json") if _parent(json.loads(path.read_text())["pid"]) == running.pid
    )
    known = json.loads(record.read_text())
    assert list(inside(known["inodes"])) and Path(known["folder"]).exists()
    os.kill(running.pid, number)
    assert running.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL), said()
    until(
        lambda: not list(inside(known["inodes"])) and not Path(known["folder"]).exists() and not record.exists(),
        said,
        30,
    )
    assert known["folder"] not in Path("/proc/mounts").read_text()
    assert "Traceback" not in said()


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
