"""The case tables of EDNS compliance and RFC 8906 section 8: octets by UDP, TCP and TLS over both families, then the
same through dig and kdig, which must read our answers as we meant them."""

from __future__ import annotations

import json
import os
import re
import runpy
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from dns_sockets import bound, client_context

from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.manners import Keeper, Manners
from mirrornet.dns.serving.answer import Responder
from mirrornet.dns.serving.transport import serve

VECTORS = Path(__file__).parents[1] / "vectors"
WORLD = runpy.run_path(str(VECTORS / "wire" / "plan.py"))
CASES = json.loads((VECTORS / "compliance" / "cases.json").read_text())
HOSTS = ["127.0.0.1", "::1"]
EXAMPLE = Path(__file__).parents[2] / "zones" / "example"


@dataclass
class Server:
    """Ports by host: `ports` for UDP and TCP, `secure` for TLS."""

    ports: dict[str, int]
    secure: dict[str, int]

    def udp(self, host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(60)
        sock.connect((host, self.ports[host]))
        return sock

    def stream(self, host: str, tls: bool) -> socket.socket:
        sock = socket.create_connection((host, (self.secure if tls else self.ports)[host]), timeout=60)
        return client_context().wrap_socket(sock) if tls else sock


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    plain, secure, found = [], [], Server({}, {})
    for host in HOSTS:
        plain += bound(host)
        found.ports[host] = plain[-1].getsockname()[1]
        secure.append(socket.create_server((host, 0), family=plain[-1].family, backlog=100))
        found.secure[host] = secure[-1].getsockname()[1]
    gate = Gate(Cookies([b"sixteen octets, "]), now=1_800_000_000.0)
    responder = Responder(WORLD["PLAN"], WORLD["TTLS"], nsid=b"test", gate=gate)
    keeper = Keeper(Manners(certificate=str(EXAMPLE / "tls.pem"), key=str(EXAMPLE / "tls.key")))
    lifeline, end = os.pipe()
    how = {"wake": (lifeline,), "secure": secure, "tls": keeper.tls}
    thread = threading.Thread(target=serve, args=(plain, lambda: responder.respond), kwargs=how, daemon=True)
    thread.start()
    yield found
    os.close(end)
    thread.join(5)
    os.close(lifeline)
    for sock in plain + secure:
        sock.close()


def check(case: dict, reply: bytes, stream: bool, tls: bool = False) -> None:
    message = dns.message.from_wire(reply)  # dnspython reads it without complaint
    query = bytes.fromhex(case["query"])
    assert message.id == int.from_bytes(query[:2], "big")
    assert dns.rcode.to_text(message.rcode()) == case["rcode"]
    truncated = bool(case.get("tc")) and not stream
    expected = dns.flags.QR | int.from_bytes(query[2:4], "big") & 0x7800
    expected |= dns.flags.AA if case["aa"] else 0
    expected |= dns.flags.RD if case["rd"] else 0
    expected |= dns.flags.TC if truncated else 0
    assert int.from_bytes(reply[2:4], "big") & ~0xF == expected, "header flags"
    counts = struct.unpack("!4H", reply[4:12])
    answers = 0 if truncated else case["answer"]
    assert counts == (case["question"], answers, case["authority"], int(case["opt"]))
    if case["question"]:
        end = query.index(b"\0", 12) + 5
        assert reply[12:end] == query[12:end], "the question, octet by octet"
    assert (message.edns >= 0) is case["opt"]
    if case["opt"]:
        assert message.edns == 0, "our version"
        assert message.ednsflags & 0xFFFF == (0x8000 if case["do"] else 0), "DO, and Z clear"
        codes = [option.otype for option in message.options if option.otype != dns.edns.PADDING]
        assert codes == (case.get("tcp_options", case["options"]) if stream else case["options"])
    else:
        assert len(reply) <= 512 or stream


def test_there_are_about_a_hundred_cases():
    assert len(CASES) >= 120 and len({case["what"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", ["UDP", "TCP", "TLS"])
def test_octets(server, host, transport):
    stream = transport != "UDP"
    with server.stream(host, transport == "TLS") if stream else server.udp(host) as sock:
        for case in CASES:
            query = bytes.fromhex(case["query"])
            if stream:
                sock.sendall(len(query).to_bytes(2, "big") + query)
                file = sock.makefile("rb")
                reply = file.read(int.from_bytes(file.read(2), "big"))
            else:
                sock.send(query)
                reply = sock.recv(65535)
            try:
                check(case, reply, stream)
            except AssertionError as error:
                raise AssertionError(f"{case['what']} ({case['source']}): {reply.hex()}") from error


def ask(program: str, server: Server, host: str, arguments: str) -> str:
    command = [program, f"@{host}", "-p", str(server.ports[host]), *arguments.split(), "+time=20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def seen(program: str, text: str) -> dict[str, object]:
    """What the program says the answer was."""
    dig = program == "dig"
    found = re.search(r"status: (\w+)", text)
    flags = re.search(r";; flags:([a-z ]*);" if dig else r";; Flags:([a-z ]*);", text)
    counts = [re.search(rf"{part}: (\d+)", text) for part in ("QUERY", "ANSWER", "AUTHORITY")]
    edns = re.search(r"EDNS: version: (\d+), flags:([^;]*);" if dig else r"Version: (\d+); flags:([^;]*);", text)
    extended = re.search(r"ext-rcode: (\w+)", text)
    assert found and flags and all(counts), text
    return {
        "rcode": extended[1] if extended and extended[1] != "NOERROR" else found[1],  # kdig shows its upper bits apart
        "flags": set(flags[1].split()),
        "counts": [int(count[1]) for count in counts if count],
        "opt": edns is not None,
        "do": bool(edns and edns[2].split() == ["do"]),
    }


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("program", ["dig", "kdig"])
def test_dig_and_kdig_agree(need, server, program, host):
    need(program)
    cases = [case for case in CASES if case[program]]
    assert len(cases) > 90
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda case: ask(program, server, host, case[program]), cases))
    for case, text in zip(cases, texts, strict=True):
        where = f"{program} {case[program]}\n{text}"
        for complaint in (
            "malformed",
            "WARNING: Message",
            "bad packet",
            "extra bytes",
            "mismatch",
            "not echoed",
            "timed",
        ):
            assert complaint not in text, where
        truncated = bool(case.get("tc"))
        flags = {"qr"} | {flag for flag in ("aa", "rd") if case[flag]} | ({"tc"} if truncated else set())
        expected = {
            "rcode": case["rcode"],
            "flags": flags,
            "counts": [case["question"], 0 if truncated else case["answer"], case["authority"]],
            "opt": case["opt"],
            "do": case["do"],
        }
        assert seen(program, text) == expected, where
    if program == "dig":
        assert any("(good)" in text for text in texts), "dig knows our cookie again"
        assert any("Not Authoritative" in text for text in texts)


def test_kdig_speaks_tls_and_is_padded(need, server):
    """RFC 7858, and RFC 8467 section 4.1: a padded query's reply is a multiple of 468 octets."""
    need("kdig")
    command = [
        "kdig",
        "@127.0.0.1",
        "-p",
        str(server.secure["127.0.0.1"]),
        "+tls",
        "+padding=64",
        "mail.example.org",
        "A",
    ]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    assert "TLS session" in text and "192.0.2.25" in text and "Received 468 B" in text, text
