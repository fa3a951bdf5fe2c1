"""`server: cookies`, `rate_limit` and `tls` of a zone file, on running servers: what an operator relies on."""

from __future__ import annotations

import contextlib
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from mirrornet.dns.message.cookies import Cookies

EXAMPLE = Path(__file__).parents[2] / "zones" / "example"
OLD, NEW = "dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962"
CLIENT = bytes(range(8))
NOBODY = "nsid: here"


def configure(place: Any, more: str, **ports: int) -> None:
    """The zone without probes, with `more` in its server section."""
    text = place.ZONE.replace(NOBODY, f"{NOBODY}, {more}") if more else place.ZONE
    place.ports.update(ports)
    place.write_zone(text.replace("probe: block", "probe: none"))


def exchange(port: int, query: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.connect(("127.0.0.1", port))
        sock.send(query)
        return sock.recv(4096)


def cookie_query(cookie: bytes) -> bytes:
    """A query for nothing but a cookie, whose rcode says whether the one in it is valid (RFC 7873 section 5.4)."""
    option = b"\0\x0a" + struct.pack("!H", len(cookie)) + cookie
    return b"\1\2\0\0\0\0\0\0\0\0\0\1\0\0\x29\x04\xd0\0\0\0\0" + struct.pack("!H", len(option)) + option


def given(port: int) -> bytes:
    return exchange(port, cookie_query(CLIENT))[-24:]


def valid(port: int, cookie: bytes) -> bool:
    return dns.message.from_wire(exchange(port, cookie_query(cookie))).rcode() == dns.rcode.NOERROR


def other_server(place: Any, port: int, http: int) -> None:
    """A second server of the same files but for its sockets and state."""
    text = place.zone.read_text().replace(f":{place.ports['dns']}", f":{port}")
    text = text.replace(f":{place.ports['http']}", f":{http}")
    (place.folder / "other.yaml").write_text(text)
    command = "import sys; from mirrornet.cli import main; sys.exit(main())"
    place.start("other", sys.executable, "-c", command, "serve", "other.yaml", "--state", "other")
    place.wait_for(lambda: answers(port), "the other server")


def answers(port: int) -> bool:
    query = dns.message.make_query("select.serve.test", "A").to_wire()
    try:
        return dns.message.from_wire(exchange(port, query)).rcode() == dns.rcode.NOERROR
    except OSError:
        return False


def test_two_servers_share_a_secret_and_rotate_it_without_a_gap(place, free_port):
    """RFC 9018 section 5, all three steps, with a cookie of each time tried at the other server."""
    secrets = place.folder / "secrets"
    secrets.write_text(f"{OLD}\n")
    configure(place, "cookies: secrets")
    place.serve()
    one, two = place.ports["dns"], free_port()
    other_server(place, two, free_port())
    first = given(one)
    assert valid(two, first) and valid(one, given(two))
    assert not valid(two, first[:-1] + bytes([first[-1] ^ 1]))

    def change(text: str) -> None:
        new = secrets.with_name("secrets.new")
        new.write_text(text)
        new.rename(secrets)

    def everywhere(condition: Callable[[int], bool], what: str) -> None:
        """Both servers, and by many ports both workers of each."""
        for port in (one, two):
            place.wait_for(lambda port=port: all(condition(port) for _ in range(20)), what)

    change(f"{OLD}\n{NEW}\n")
    ahead = Cookies([bytes.fromhex(NEW)]).make(CLIENT, socket.inet_aton("127.0.0.1"), int(time.time()))
    everywhere(lambda port: valid(port, ahead), "the second secret to be believed")
    assert valid(one, first) and valid(two, first)
    change(f"{NEW}\n{OLD}\n")
    everywhere(lambda port: exchange(port, cookie_query(first))[-16:] != first[8:], "cookies of the new secret")
    second = given(one)
    assert valid(two, second) and valid(one, first) and valid(two, first), "nobody is turned away in between"
    change("what is this?\n")
    place.wait_for(lambda: "stays in force" in place.log(), "a word about the file")
    assert "line 1" in place.log() and NEW not in place.log() and "Traceback" not in place.log()
    assert valid(one, second) and valid(two, second)
    change(f"{NEW}\n")
    everywhere(lambda port: not valid(port, first), "the old secret to be gone")
    assert valid(one, second) and valid(two, second)


def test_without_a_file_the_secret_is_the_servers_own_and_survives_a_restart(place):
    configure(place, "")
    place.serve()
    port, path = place.ports["dns"], place.folder / "state" / "cookies"
    cookie = given(port)
    assert valid(port, cookie) and stat.S_IMODE(path.stat().st_mode) == 0o600
    place.kill("serve", 15)
    place.serve()
    assert valid(port, cookie)
    secret = path.read_text().strip()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert secret not in process.read_text(errors="replace"), "secrets are no arguments"
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_the_limit_holds_for_a_network_and_not_for_who_has_a_cookie(place, engine):
    configure(place, "rate_limit: 40")
    place.serve("--engine", engine)
    port = place.ports["dns"]
    plain = dns.message.make_query("select.serve.test", "A", use_edns=0).to_wire()
    cookie = dns.edns.GenericOption(10, given(port))
    proven = dns.message.make_query("select.serve.test", "A", use_edns=0, options=[cookie]).to_wire()
    counts = {"answer": 0, "TC": 0}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        began = last = time.monotonic()
        for _ in range(300):
            sock.send(plain)
        sock.settimeout(60)
        while True:
            try:
                reply = dns.message.from_wire(sock.recv(4096))
            except TimeoutError:
                break
            counts["TC" if reply.flags & dns.flags.TC else "answer"] += 1
            last = time.monotonic()
            if counts["TC"] >= (300 - counts["answer"]) / 2 - 1:
                sock.settimeout(0.5)  # there should be no more, or one
        spent = last - began
        # Two workers share the limit, the reference has all of it; a burst is two seconds' worth.
        share = 20 if engine == "fast" else 40
        assert 2 * share - 3 <= counts["answer"] <= share * (2 + spent + 1)
        assert abs(counts["TC"] - (300 - counts["answer"]) / 2) <= 1
        sock.settimeout(60)
        for _ in range(100):
            sock.send(proven)
            assert dns.message.from_wire(sock.recv(4096)).answer
    assert answers(port) or place.ask("select.serve.test", "A", tcp=True).answer, "TCP is never limited"
    if engine == "fast":  # the reference counts nothing
        limited = 300 - counts["answer"]
        place.wait_for(lambda: counted(place) >= limited, "the count of limited queries")


def test_who_is_there_in_truth_gets_through_a_flood(need, place):
    """With a cookie after BADCOOKIE, without one by TCP after TC: dig does both by itself."""
    need("dig")
    configure(place, "rate_limit: 2")
    place.serve()
    over = threading.Event()

    def flood() -> None:
        query = dns.message.make_query("select.serve.test", "A", use_edns=0).to_wire()
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(8)]
            for number in range(100_000):
                if over.is_set():
                    return
                with contextlib.suppress(OSError):
                    socks[number % 8].sendto(query, ("127.0.0.1", place.ports["dns"]))
                time.sleep(0.001)  # the pace of the flood, not a wait

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    try:
        place.wait_for(lambda: counted(place) > 50, "the limit to be in force")
        command = ["dig", "@127.0.0.1", "-p", str(place.ports["dns"]), "select.serve.test", "A", "+time=1", "+tries=10"]
        for kind, marker in (("+cookie", "BADCOOKIE, retrying"), ("+nocookie", "retrying in TCP mode")):
            for _ in range(10):  # now and then it is his query that gets the second's one reply
                done = subprocess.run([*command, kind], capture_output=True, text=True, timeout=120, check=False)
                assert "status: NOERROR" in done.stdout and "127.0.0.4" in done.stdout, done.stdout
                if marker in done.stdout:
                    break
            else:
                pytest.fail(f"never: {marker}\n{done.stdout}")
    finally:
        over.set()
        thread.join(60)


def counted(place: Any) -> int:
    lines = place.http("metrics")[1].decode().splitlines()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if "limited" in line and not line.startswith("#"))


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_dns_over_tls_as_kdig_speaks_it(need, place, free_port, engine):
    need("kdig")
    for name in ("tls.pem", "tls.key"):
        shutil.copy(EXAMPLE / name, place.folder)
    tls = 'tls: {{certificate: tls.pem, key: tls.key, listen: ["127.0.0.1:{tls}"]}}'
    configure(place, tls, tls=free_port())
    place.serve("--engine", engine)
    trust = ["+tls-ca=" + str(place.folder / "tls.pem"), "+tls-hostname=ns1.inetboot.example"]
    command = ["kdig", "@127.0.0.1", "-p", str(place.ports["tls"]), "+tls", *trust, "+padding=64", "+nsid"]
    command += ["select.serve.test", "A"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    text = done.stdout + done.stderr
    assert "status: NOERROR" in text and "127.0.0.4" in text and "NSID" in text and "468 B" in text, text
    assert "inside TLS" in place.log()


def test_what_is_wrong_with_the_files_is_said_in_one_line(place, need):
    need("openssl")
    (place.folder / "empty").write_text("# nothing\n")
    shutil.copy(EXAMPLE / "tls.pem", place.folder)
    wrong = place.folder / "wrong.key"
    made = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(wrong)]
    subprocess.run(made, check=True, capture_output=True)
    for more, part in (
        ("cookies: empty", "no cookie secret"),
        ("cookies: zone.yaml", "line 2 is not a cookie secret"),
        ('tls: {{certificate: tls.pem, key: wrong.key, listen: ["127.0.0.1:0"]}}', "is not this certificate's"),
        ('tls: {{certificate: empty, key: wrong.key, listen: ["127.0.0.1:0"]}}', "not a certificate"),
    ):
        configure(place, more)
        told = place.run("check", "zone.yaml", code=2)
        assert part in told and len(told.strip().splitlines()) == 1, told
    told = place.run("serve", "zone.yaml", "--state", "state", code=2)
    assert part in told and len(told.strip().splitlines()) == 1, told


def test_who_asks_while_all_mirrors_are_down_is_told_so(place):
    """RFC 8914: code 0 with a text, beside the nearest mirrors, which are given all the same."""
    place.serve()  # with nothing behind it
    reply = place.ask("select.serve.test", "A", "203.178.136.36")
    assert [str(record) for rrset in reply.answer for record in rrset] == ["127.0.0.41"]
    assert [option.to_wire() for option in reply.options if option.otype == 15] == [
        b"\0\0all mirrors are down: these may not answer"
    ]
    assert reply.answer[0].ttl == 1
    place.mirror("tokyo", "paris")
    place.wait_for(
        lambda: not any(o.otype == 15 for o in place.ask("select.serve.test", "A").options), "a mirror to be up"
    )
