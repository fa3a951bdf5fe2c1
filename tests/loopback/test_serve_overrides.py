"""An operator's word in a running name server, by command: obeyed, ended, kept across restarts; what is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirrornet.app.control import ask
from mirrornet.app.lock import only_server
from mirrornet.app.server import verdicts
from mirrornet.app.server.voices import ordering
from mirrornet.app.server.voices.ordering import holding, order
from mirrornet.app.server.voices.overriding import ASIDE, FILE, SOCKET
from mirrornet.cli.override import overrides
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.verdict import State, Verdict

BOTH = ["127.0.0.41", "127.0.0.42"]


def mirrors(place: Any) -> dict[str, dict[str, Any]]:
    told = json.loads(place.http("status.json")[1])
    return {mirror["name"]: mirror for zone in told["zones"] for mirror in zone["mirrors"]}


def say(place: Any, *words: str, code: int = 0) -> str:
    told: str = place.run(*words, "--state", "state", code=code)
    return told


def tell(place: Any, action: str, *mirrors: str, **more: Any) -> None:
    """The same without a process of its own."""
    document = {"action": action, "mirrors": list(mirrors), **more}
    assert "changed" in ask(place.folder / "state" / SOCKET, {"do": "override", "document": document})


def held(place: Any) -> dict[str, dict[str, Any]]:
    told = ask(place.folder / "state" / SOCKET, {"do": "overrides"})["overrides"]
    return {one["mirror"]: one for one in told}


@pytest.fixture
def quiet(steady: Any) -> Iterator[Any]:
    """A running server without overrides, before and after."""
    yield steady
    tell(steady, "auto", "*")


def test_by_hand_a_mirror_leaves_and_returns(quiet: Any) -> None:
    told = say(quiet, "force-down", "tok*", "--for", "2h", "--why", "new disks")
    assert told.startswith("serve.test: tokyo: force-down by ") and "(new disks)" in told
    assert "warning: serve.test: 50% of the usable weight is out by hand then: 1 of 2 usable mirrors left" in told
    quiet.wait_for(lambda: quiet.addresses(quiet.TOKYO) == ["127.0.0.42"], "tokyo to leave")
    tokyo = mirrors(quiet)["tokyo"]
    assert (tokyo["state"], tokyo["usable"], tokyo["share"]) == ("forced down", False, 0)
    assert tokyo["override"]["action"] == "force-down" and tokyo["override"]["why"] == "new disks"
    assert tokyo["override"]["until"] - tokyo["override"]["at"] == 7200
    assert tokyo["override"]["author"] and "probes: up" in tokyo["reason"]
    assert "new disks" in say(quiet, "explain", "zone.yaml", quiet.TOKYO)
    assert "tokyo: force-down by " in say(quiet, "overrides")
    assert "no more force-down by" in say(quiet, "auto", "tokyo")
    quiet.wait_for(lambda: quiet.addresses(quiet.TOKYO) == ["127.0.0.41"], "tokyo to return")
    assert mirrors(quiet)["tokyo"]["override"] is None
    assert say(quiet, "overrides") == "no mirror has an override\n"


def test_an_override_ends_by_itself(quiet: Any) -> None:
    tell(quiet, "force-down", "tokyo", **{"for": "1s"})
    quiet.wait_for(lambda: "tokyo: over: force-down by" in quiet.log(), "the end to be told")
    quiet.wait_for(lambda: quiet.addresses(quiet.TOKYO) == ["127.0.0.41"], "tokyo to return")
    assert json.loads((quiet.folder / "state" / FILE).read_text()) == []


def test_a_drain_takes_its_part_at_once_and_all_of_it_in_the_end(quiet: Any) -> None:
    say(quiet, "drain", "tokyo", "--rate", "120")
    quiet.wait_for(lambda: 0 < mirrors(quiet)["tokyo"]["share"] < 1, "the first step")
    assert mirrors(quiet)["tokyo"]["state"] == "up"
    tell(quiet, "drain", "tokyo", rate=0)
    quiet.wait_for(lambda: quiet.addresses(quiet.TOKYO) == ["127.0.0.42"], "tokyo to be empty")
    assert mirrors(quiet)["tokyo"]["state"] == "drained"
    assert held(quiet)["tokyo"]["until"] is None


def test_forced_up_a_dead_mirror_is_answered(quiet: Any) -> None:
    quiet.kill("tokyo")
    quiet.wait_for(lambda: quiet.addresses(quiet.TOKYO) == ["127.0.0.42"], "tokyo to leave")
    tell(quiet, "force-up", "tokyo")
    quiet.wait_for(lambda: quiet.addresses(quiet.TOKYO) == ["127.0.0.41"], "tokyo to be answered")
    assert mirrors(quiet)["tokyo"]["state"] == "forced up"
    assert held(quiet)["tokyo"]["until"] - held(quiet)["tokyo"]["at"] == 86400
    tell(quiet, "auto", "tokyo")
    quiet.wait_for(lambda: quiet.addresses(quiet.TOKYO) == ["127.0.0.42"], "probes to decide again")


def test_all_forced_down_still_answers_and_says_so(quiet: Any) -> None:
    tell(quiet, "force-down", "*")
    assert "no mirror is left then: the nearest is answered all the same" in quiet.log()
    quiet.wait_for(lambda: mirrors(quiet)["paris"]["state"] == "forced down", "both")
    quiet.wait_for(lambda: quiet.addresses(quiet.TOKYO) == ["127.0.0.41"], "the nearest")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("drain", "tokio"), "there is no mirror 'tokio': did you mean tokyo?"),
        (("drain", "tokyo", "--for", "soon"), "--for: 'soon' is not a duration"),
        (("drain", "tokyo", "--rate", "-3"), "--rate: -3 is out of range"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_changes_nothing(quiet: Any, words: tuple[str, ...], told: str) -> None:
    said = say(quiet, *words, code=2)
    assert told in said and len(said.splitlines()) == 1
    assert held(quiet) == {}


def test_the_socket_takes_anything_and_knows_who_asks(quiet: Any) -> None:
    path = quiet.folder / "state" / SOCKET
    assert path.stat().st_mode & 0o777 == 0o660
    document: dict[str, Any] = {"action": "force-down", "mirrors": ["tokyo"]}
    assert "not known to this server" in ask(path, {"do": "dance"})["error"]
    for wrong in (None, [1], "x" * 9999, {**document, "for": []}):
        assert ask(path, {"do": "override", "document": wrong})["code"] == 2
    for raw in (b"\n", b"[]\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"{" * 10):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(os.path.relpath(path))
            link.sendall(raw)
            link.shutdown(socket.SHUT_WR)
            link.settimeout(60)
            answer = link.recv(4096)
            assert b"error" in answer
    # An author that somebody claims is not believed: the kernel says who asks.
    told = ask(path, {"do": "override", "document": document, "uid": 12345, "author": "mallory"})
    assert f"by {subprocess.getoutput('id -un')}" in told["changed"][0] and "mallory" not in told["changed"][0]
    assert "Traceback" not in quiet.log()


def test_without_a_server_the_next_one_begins_with_it(place: Any) -> None:
    told = say(place, "drain", "tokyo", code=2)
    assert "no `mirrornet serve` has used this folder" in told
    place.mirror("tokyo", "paris")
    place.serve()
    tell(place, "force-down", "paris", why="before")
    place.kill("serve", signal.SIGKILL)
    (kept,) = json.loads(say(place, "overrides", "--json"))
    assert (kept["mirror"], kept["why"]) == ("paris", "before")
    told = say(place, "force-down", "tokyo", "--for", "1h")
    assert "force-down by" in told and "no server runs here: it holds from the next start on" in told
    with pytest.raises(InputError, match="did you mean tokyo"):
        order({"action": "force-down", "mirrors": ["tokio"]}, place.folder / "state")
    lines, _ = order({"action": "auto", "mirrors": ["paris"]}, place.folder / "state")
    assert "no more force-down" in lines[0]
    place.serve()
    assert place.addresses(place.TOKYO) == ["127.0.0.42"]  # from the first answer on
    assert "tokyo: still force-down by" in place.log()
    assert list(held(place)) == ["tokyo"]
    place.kill("serve", signal.SIGTERM)
    assert not (place.folder / "state" / SOCKET).exists()
    # What nobody of ours has written is told, set aside, and the server goes on without.
    kept = place.folder / "state" / FILE
    kept.write_bytes(b'[{"zone": 1}]')
    place.serve()
    assert "this is not what mirrornet writes" in place.log() and "Traceback" not in place.log()
    assert place.addresses(place.TOKYO) == ["127.0.0.41"]
    assert kept.with_name(FILE + ASIDE).read_bytes() == b'[{"zone": 1}]'


def test_what_is_said_elsewhere_and_not_done_here_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = "serve.test: paris: auto by bob of ns2: not done here"
    monkeypatch.setattr(ordering, "answers", lambda path: True)
    monkeypatch.setattr(ordering, "ask", lambda path, request, patience: {"overrides": [], "unheeded": [line]})
    overrides(tmp_path)
    assert capsys.readouterr().out == line + "\n"


def test_by_http_with_a_token(place: Any) -> None:
    token = "0123456789abcdef" * 4
    place.write_zone(place.ZONE.replace("nsid: here", "token_file: tokens"))
    (place.folder / "tokens").write_text("alice short\n")
    assert "tokens: line 1: a token has 32 to 256" in place.run("check", "zone.yaml", code=2)
    (place.folder / "tokens").write_text(f"alice {token}\n")
    place.mirror("tokyo", "paris")
    place.serve()

    def post(document: object, token: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{place.ports['http']}/v1/override"
        request = urllib.request.Request(url, json.dumps(document).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    down = {"action": "force-down", "mirrors": ["tokyo"], "for": "1h"}
    assert post(down, "f" * 64)[0] == 401
    status, answer = post(down, token)
    assert status == 200 and "tokyo: force-down by alice, until" in answer["changed"][0]
    place.wait_for(lambda: place.addresses(place.TOKYO) == ["127.0.0.42"], "tokyo to leave")
    assert post({**down, "mirrors": ["tokio"]}, token) == (
        400,
        {"error": "there is no mirror 'tokio': did you mean tokyo?"},
    )
    assert token not in place.log()


def test_a_folder_that_is_taken_or_not_ours(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "verdicts.json").write_text('{"serve.test": {}}')
    drain = {"action": "drain", "mirrors": ["tokyo"]}
    with pytest.raises(InputError, match="there is no mirror 'tokyo': there is none"):
        order(drain, state)
    (state / "verdicts.json").write_text("{")
    with pytest.raises(InputError, match="is not what `mirrornet serve` writes"):
        order(drain, state)
    verdicts.write(state, {"serve.test": {"tokyo": Verdict(State.UP, 1.0)}})
    with only_server(state), pytest.raises(LocalError, match=r"starts or ends has it \(process \d+\): try again"):
        order(drain, state)  # a server that has not come to listen
    with pytest.raises(InputError, match="no `mirrornet serve` has used"):
        holding(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
