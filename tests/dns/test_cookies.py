"""DNS Cookies against the vectors of RFC 9018 appendix A, and what RFC 7873 wants of a server."""

from __future__ import annotations

import runpy
from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.dns.message import wire
from mirrornet.dns.message.cookies import Cookies, read_secrets
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.serving.answer import Responder

WORLD = runpy.run_path(str(Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"))
SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
OLD, NEW = (bytes.fromhex(text) for text in ("dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962"))
PEER = ip_address("198.51.100.100").packed
CLIENT = bytes.fromhex("2464c4abcf10c957")
AT = 0x5CF79F11  # 2019-06-05, as in the appendix
FULL = bytes.fromhex("2464c4abcf10c957010000005cf79f111f8130c3eee29480")
HEAD = b"\x12\x34\0\0\0\1\0\0\0\0\0\1"
SELECT = b"\6select\7example\3org\0\0\1\0\1"


@pytest.mark.parametrize(
    ("secrets", "client", "sent", "now", "replied", "valid"),
    [
        pytest.param([SECRET], "198.51.100.100", FULL[:8].hex(), AT, FULL.hex(), False, id="A.1 learning"),
        pytest.param([SECRET], "198.51.100.100", FULL.hex(), AT + 719, FULL.hex(), True, id="fresh: as it came"),
        pytest.param(
            [SECRET],
            "198.51.100.100",
            FULL.hex(),
            0x5CF7A871,
            "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
            True,
            id="A.2 renewed after 40 minutes",
        ),
        pytest.param(
            [SECRET],
            "203.0.113.203",
            "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
            0x5CF7A9AC,
            "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
            False,
            id="A.3 another client, too old",
        ),
        pytest.param(
            [SECRET],
            "203.0.113.203",
            "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
            0x5CF78F71 + 1801,
            None,
            True,
            id="A.3 in time: reserved octets are hashed as they came",
        ),
        pytest.param(
            [NEW, OLD],
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            0x5CF7C609,
            "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
            True,
            id="A.4 rolled secret",
        ),
    ],
)
def test_the_vectors_of_rfc_9018(secrets, client, sent, now, replied, valid):
    data, proved = Cookies(secrets).reply(bytes.fromhex(sent), ip_address(client).packed, now)
    assert replied in (None, data.hex()) and proved is valid


def test_a_cookie_holds_an_hour_and_is_renewed_after_half():
    """RFC 9018 section 4.3; and a sibling's clock may be five minutes ahead."""
    cookies = Cookies([SECRET])
    assert cookies.reply(FULL, PEER, AT + 1800) == (FULL, True)
    renewed, valid = cookies.reply(FULL, PEER, AT + 1801)
    assert valid and renewed != FULL and cookies.reply(renewed, PEER, AT + 1801) == (renewed, True)
    assert cookies.reply(FULL, PEER, AT + 3600)[1] and not cookies.reply(FULL, PEER, AT + 3601)[1]
    assert cookies.reply(FULL, PEER, AT - 300)[1] and not cookies.reply(FULL, PEER, AT - 301)[1]
    late = cookies.make(CLIENT, PEER, 2**32 - 10)
    assert cookies.reply(late, PEER, 2**32 + 100)[1], "time wraps in 2106 (RFC 1982)"


def test_a_cookie_of_another_address_or_server_is_none():
    cookies = Cookies([SECRET])
    for cookie, peer in (
        (FULL, ip_address("198.51.100.101").packed),
        (bytes(8) + FULL[8:], PEER),
        (FULL[:-1] + b"\0", PEER),
        (FULL[:8] + b"\2" + FULL[9:], PEER),
        (FULL[:16], PEER),
        (FULL + bytes(16), PEER),
    ):
        replied, valid = cookies.reply(cookie, peer, AT)
        assert not valid and replied[:8] == cookie[:8] and cookies.reply(replied, peer, AT) == (replied, True)
    assert not Cookies([NEW]).reply(FULL, PEER, AT)[1]


def test_the_file_of_secrets():
    text = f"# made 2026-11-23\n\n{NEW.hex()}  # current\n{OLD.hex().upper()}\n"
    assert read_secrets(text) == [NEW, OLD]
    for wrong, part in (
        ("", "no cookie"),
        ("xyz", "line 1"),
        (f"{NEW.hex()}\n{NEW.hex()}", "twice"),
        ("00" * 15, "32"),
    ):
        with pytest.raises(ValueError, match=part) as error:
            read_secrets(wrong)
        assert NEW.hex() not in str(error.value)


def respond(data: bytes, gate: Gate | None = None, transport: int = wire.UDP) -> bytes:
    gate = gate or Gate(Cookies([SECRET]), now=float(AT))
    reply = Responder(WORLD["PLAN"], WORLD["TTLS"], gate=gate).respond(data, PEER, transport)
    assert reply is not None
    return reply


def with_cookie(cookie: bytes, question: bytes = SELECT, before: bytes = b"") -> bytes:
    option = before + b"\0\x0a" + len(cookie).to_bytes(2, "big") + cookie
    head = HEAD if question else HEAD[:5] + b"\0" + HEAD[6:]
    return head + question + b"\0\0\x29\x04\xd0\0\0\0\0" + len(option).to_bytes(2, "big") + option


COOKIE = b"\0\x0a\0\x18" + FULL


@pytest.mark.parametrize("transport", [wire.UDP, wire.TCP])
@pytest.mark.parametrize("before", [b"", b"\0\3\0\0", b"\0\x08\0\7\0\1\x18\0\x0a\1\2"], ids=["alone", "NSID", "ECS"])
@pytest.mark.parametrize("sent", [FULL[:8], FULL, FULL[:23] + b"\0"], ids=["client", "valid", "wrong"])
def test_a_query_with_a_cookie_is_answered_with_ours(sent, before, transport):
    """RFC 7873 sections 5.2.3 to 5.2.5: without a limit in force all three are answered in full."""
    reply = respond(with_cookie(sent, before=before), transport=transport)
    assert reply[3] & 15 == 0 and reply[7] == 2 and reply.endswith(COOKIE)


@pytest.mark.parametrize("length", [0, 1, 7, 9, 15, 41])
def test_a_cookie_of_a_wrong_length_is_formerr(length):
    """RFC 7873 section 5.2.2."""
    reply = respond(with_cookie(bytes(length)))
    assert reply[3] & 15 == 1


def test_of_two_cookies_the_first_counts():
    """RFC 7873 section 5.2: all but the first are ignored."""
    assert respond(with_cookie(bytes(8), before=b"\0\x0a\0\x08" + CLIENT)).endswith(COOKIE)


@pytest.mark.parametrize(("sent", "rcode"), [(FULL[:8], 0), (FULL, 0), (FULL[:23] + b"\0", 23)])
def test_a_query_for_nothing_but_a_cookie(sent, rcode):
    """RFC 7873 section 5.4: no question, no answer, BADCOOKIE where the server cookie was wrong."""
    reply = respond(with_cookie(sent, b""))
    assert reply[4:12] == b"\0\0\0\0\0\0\0\1" and reply.endswith(COOKIE)
    assert reply[3] & 15 | reply[12 + 5] << 4 == rcode


def test_without_secrets_the_option_is_unknown():
    """And so ignored (RFC 6891 section 6.1.2); a query for nothing else is malformed then."""
    reply = respond(with_cookie(FULL), Gate())
    assert reply[3] & 15 == 0 and reply.endswith(b"\0\0\x29\x04\xd0\0\0\0\0\0\0")
    assert respond(with_cookie(FULL, b""), Gate())[3] & 15 == 1
