"""The strict reader and the writer, with dnspython as the independent oracle."""

from __future__ import annotations

from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.dns.message import wire
from mirrornet.dns.message.edns import ClientSubnet, Edns, parse_subnet
from mirrornet.dns.message.wire import Malformed, parse

HEADER = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0"
QUESTION = b"\6select\7example\3org\0\0\x01\0\x01"
OPT = b"\0\0\x29\x10\0\0\0\0\0\0\0"


def with_counts(*counts: int, flags: int = 0x0100) -> bytes:
    return b"\x12\x34" + flags.to_bytes(2, "big") + b"".join(count.to_bytes(2, "big") for count in counts)


def with_options(options: bytes, version: int = 0) -> bytes:
    opt = b"\0\0\x29\x10\0\0" + bytes([version]) + b"\0\0" + len(options).to_bytes(2, "big") + options
    return with_counts(1, 0, 0, 1) + QUESTION + opt


labels = st.lists(st.binary(min_size=1, max_size=63), max_size=5).filter(lambda found: sum(map(len, found)) < 240)


@given(
    labels=labels,
    qtype=st.integers(1, 65535).filter(lambda t: t not in (41, 249, 250)),
    identifier=st.integers(0, 65535),
    flags=st.sampled_from([0, dns.flags.RD, dns.flags.RD | dns.flags.AD | dns.flags.CD]),
    edns=st.sampled_from([None, 512, 1232, 4096]),
    do=st.booleans(),
    subnet=st.one_of(
        st.none(),
        st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
        st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
    ),
)
def test_reads_what_dnspython_writes(labels, qtype, identifier, flags, edns, do, subnet):
    name = dns.name.Name([*labels, b""])
    query = dns.message.make_query(name, qtype, flags=flags, id=identifier)
    if edns is not None:
        options = [dns.edns.ECSOption(str(subnet[0]), subnet[1])] if subnet else []
        query.use_edns(0, dns.flags.DO if do else 0, edns, options=options)
    found = parse(query.to_wire())
    assert found is not None
    assert (found.id, found.flags, found.qtype, found.qclass) == (identifier, flags, qtype, 1)
    assert found.name == name.to_wire().lower()
    assert found.question == name.to_wire() + qtype.to_bytes(2, "big") + b"\0\x01"
    if edns is None:
        assert found.edns is None
        return
    assert found.edns is not None
    assert (found.edns.udp_size, found.edns.do, found.edns.version) == (edns, do, 0)
    if subnet is None:
        assert found.edns.subnet is None
        return
    address, source = subnet
    width = 32 if address.version == 4 else 128
    whole = int(address) >> (width - source) << (width - source)
    assert found.edns.subnet is not None
    assert found.edns.subnet.family == address.version
    assert found.edns.subnet.source == source
    assert found.edns.subnet.address == (whole if width == 32 else whole >> 64)


@given(
    labels=labels,
    rcode=st.sampled_from([0, 2, 3, 5, 16]),
    authoritative=st.booleans(),
    do=st.booleans(),
    scope=st.integers(0, 32),
)
def test_dnspython_reads_what_we_write(labels, rcode, authoritative, do, scope):
    asked = dns.message.make_query(dns.name.Name([*labels, b""]), "A", want_dnssec=do)
    asked.use_edns(0, dns.flags.DO if do else 0, 1232, options=[dns.edns.ECSOption("192.0.2.0", 24)])
    query = parse(asked.to_wire())
    assert query is not None and query.edns is not None and query.edns.subnet is not None
    answer = wire.Section(1, b"\xc0\x0c\0\x01\0\x01\0\0\0\x14\0\x04\xc0\0\x02\x01")
    reply = dns.message.from_wire(
        wire.compose(
            query, False, rcode, authoritative=authoritative, answer=answer, options=query.edns.subnet.reply(scope)
        )
    )
    assert asked.is_response(reply)
    assert reply.rcode() == rcode
    assert bool(reply.flags & dns.flags.AA) == authoritative
    assert not reply.flags & (dns.flags.RA | dns.flags.AD | dns.flags.CD)
    assert bool(reply.ednsflags & dns.flags.DO) == do
    assert reply.payload == 1232
    assert [(o.family, o.address, o.srclen, o.scopelen) for o in reply.options] == [(1, "192.0.2.0", 24, scope)]
    assert [r.to_text() for r in reply.answer[0]] == ["192.0.2.1"]


@pytest.mark.parametrize("data", [b"", b"\0" * 11, with_counts(1, 0, 0, 0, flags=0x8000) + QUESTION, b"\xff" * 12])
def test_silence(data):
    assert parse(data) is None


@pytest.mark.parametrize(
    ("data", "rcode", "echoed", "edns"),
    [
        pytest.param(with_counts(0, 0, 0, 0), 1, False, False, id="no question"),
        pytest.param(with_counts(2, 0, 0, 0) + QUESTION * 2, 1, False, False, id="two questions"),
        pytest.param(HEADER + b"\xc0\x0c\0\x01\0\x01", 1, False, False, id="pointer in the question"),
        pytest.param(HEADER + b"\x40a\0\0\x01\0\x01", 1, False, False, id="label type 01"),
        pytest.param(HEADER + b"\x80a\0\0\x01\0\x01", 1, False, False, id="label type 10"),
        pytest.param(HEADER + QUESTION[:-1], 1, False, False, id="question cut short"),
        pytest.param(HEADER + b"\x3f" + b"a" * 10, 1, False, False, id="label cut short"),
        pytest.param(HEADER + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\x01\0\x01", 1, False, False, id="name of 257"),
        pytest.param(HEADER + QUESTION + b"x", 1, True, False, id="octets behind the end"),
        pytest.param(with_counts(1, 0, 0, 1) + QUESTION, 1, True, False, id="missing record"),
        pytest.param(with_counts(1, 0, 0, 9) + QUESTION + OPT * 9, 1, True, False, id="too many records"),
        pytest.param(with_counts(1, 0, 0, 2) + QUESTION + OPT * 2, 1, True, True, id="two OPT, RFC 6891 6.1.1"),
        pytest.param(with_counts(1, 1, 0, 0) + QUESTION + OPT, 1, True, True, id="OPT among the answers"),
        pytest.param(with_counts(1, 0, 0, 1) + QUESTION + b"\1a" + OPT, 1, True, True, id="OPT with an owner"),
        pytest.param(with_counts(1, 0, 0, 1) + QUESTION + b"\xc0\x0c" + OPT[1:], 1, True, True, id="OPT by pointer"),
        pytest.param(
            with_counts(1, 0, 0, 1) + QUESTION + b"\xc0\xff\0\x01\0\x01" + b"\0" * 6, 1, True, False, id="ahead"
        ),
        pytest.param(with_counts(1, 0, 0, 1) + QUESTION + OPT[:-1] + b"\5", 1, True, False, id="OPT too long"),
        pytest.param(with_options(b"\0\x03\0"), 1, True, True, id="option cut short"),
        pytest.param(with_options(b"\0\x03\0\x01"), 1, True, True, id="option too long"),
        pytest.param(with_options(b"", version=1), 16, True, True, id="EDNS 1, RFC 6891 6.1.3"),
        pytest.param(with_options(b"\0\x08\0\x01x", version=1), 16, True, True, id="EDNS 1 with odd options"),
        pytest.param(with_counts(1, 0, 0, 0, flags=0x7900) + QUESTION, 4, False, False, id="opcode 15, RFC 8906 8.1.4"),
        pytest.param(with_counts(0, 0, 0, 0, flags=0x2000), 4, False, False, id="NOTIFY, header only"),
    ],
)
def test_malformed(data, rcode, echoed, edns):
    with pytest.raises(Malformed) as caught:
        parse(data)
    reply = dns.message.from_wire(caught.value.reply())
    assert reply.rcode() == rcode
    assert reply.id == 0x1234
    assert reply.flags & dns.flags.QR and not reply.flags & dns.flags.AA
    assert reply.opcode() == data[2] >> 3 & 15
    assert bool(reply.question) == echoed
    assert (reply.edns == 0) == edns
    assert not reply.options


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("000118", id="cut short"),
        pytest.param("00011801c00002", id="scope in a query"),
        pytest.param("00012100c000020000", id="source over 32"),
        pytest.param("00011800c000", id="too few octets"),
        pytest.param("00011800c0000200", id="too many octets"),
        pytest.param("00011700c00003", id="unclean bits"),
        pytest.param("0002810020010db8" + "00" * 13, id="source over 128"),
        pytest.param("00000000c0", id="family 0 with an address"),
        pytest.param("00000800c0", id="family 0 with a source"),
    ],
)
def test_bad_subnet_rfc7871_6(data):
    with pytest.raises(ValueError):
        parse_subnet(bytes.fromhex(data))
    option = bytes.fromhex(data)
    with pytest.raises(Malformed) as caught:
        parse(with_options(b"\0\x08" + len(option).to_bytes(2, "big") + option))
    assert caught.value.rcode == 1 and caught.value.edns


def test_unknown_family_is_ignored():
    assert parse_subnet(bytes.fromhex("00031800c00002")) is None
    found = parse(with_options(bytes.fromhex("0008000700031800c00002")))
    assert found is not None and found.edns is not None and found.edns.subnet is None


def test_family_0_source_0_means_do_not_use_my_address():
    subnet = parse_subnet(bytes(4))
    assert subnet is not None and subnet.source == 0
    assert subnet.reply(0) == b"\0\x08\0\x04" + bytes(4)


def test_unknown_options_and_nsid():
    found = parse(with_options(b"\xff\xf0\0\x02xx\0\x03\0\0"))
    assert found is not None and found.edns is not None and found.edns.nsid


def subnet_of(text: str, source: int) -> ClientSubnet:
    option = dns.edns.ECSOption(text, source).to_wire()
    found = parse_subnet(option)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        ("192.0.2.0", 24, (4, int(ip_address("192.0.2.0")))),
        ("2001:db8::", 56, (6, 0x20010DB8 << 32)),
        ("::ffff:192.0.2.0", 120, (4, int(ip_address("192.0.2.0")))),
        ("64:ff9b::192.0.2.0", 120, (4, int(ip_address("192.0.2.0")))),
        ("2002:c000:200::", 40, (4, int(ip_address("192.0.2.0")))),
        ("2001:0:1:2:3:4:3fff:fdff", 128, (4, int(ip_address("192.0.2.0")))),
        ("::", 128, (6, 0)),
        ("64:ff9b::1:0:0", 128, (6, 0x64FF9B << 32)),
    ],
)
def test_where_a_subnet_is_looked_up(text, source, expected):
    assert subnet_of(text, source).locate() == expected


@pytest.mark.parametrize(
    ("text", "source", "found", "scope"),
    [
        ("192.0.2.0", 24, 17, 17),
        ("2001:db8::", 56, 33, 33),
        ("2001:db8::", 56, 0, 0),
        ("::ffff:192.0.2.0", 120, 17, 113),
        ("64:ff9b::192.0.2.0", 120, 17, 113),
        ("2002:c000:200::", 40, 17, 33),
        ("2001:0:1:2:3:4:3fff:fdff", 128, 17, 128),
        # Beside the /96 that carries IPv4: as long as keeps it out, though the map's scope is the /64 around both.
        ("::1", 128, 64, 81),
        ("::8000:0:0:0", 128, 64, 65),
        ("::fffe:0:0", 96, 64, 96),
        ("::", 0, 0, 0),
        ("64:ff9b::1:0:0", 128, 64, 96),
        ("64:ff9b::4000:0:0:0", 128, 64, 66),
        ("64:ff9b::4000:0:0:0", 128, 0, 0),
    ],
)
def test_the_scope_that_is_sent(text, source, found, scope):
    """RFC 7871 section 7.2.1, in the families that carry another (RFC 4291, 6052, 3056, 4380)."""
    assert subnet_of(text, source).scope(found) == scope


def test_a_query_of_more_than_4096_octets_is_malformed():
    option = b"\xff\xff\x0f\x80" + bytes(0xF80)
    whole = HEADER[:10] + b"\0\1" + QUESTION + OPT[:-2] + len(option).to_bytes(2, "big") + option
    assert len(whole) <= 4096 and parse(whole) is not None
    option = b"\xff\xff\xf0\0" + bytes(0xF000)
    with pytest.raises(Malformed) as fault:
        parse(HEADER[:10] + b"\0\1" + QUESTION + OPT[:-2] + len(option).to_bytes(2, "big") + option)
    assert fault.value.rcode == wire.FORMERR


@pytest.mark.parametrize(
    ("size", "tcp", "limit"),
    [
        (None, False, 512),
        (0, False, 512),
        (511, False, 512),
        (700, False, 700),
        (4096, False, 1232),
        (512, True, 65535),
    ],
)
def test_limits(size, tcp, limit):
    edns = None if size is None else Edns(size, 0, False)
    query = wire.Query(1, 0, 0, b"\0", b"\0\0\x01\0\x01", 1, 1, edns)
    assert wire.limit(query, tcp) == limit
    for records in (limit - 12 - 5 - (11 if edns else 0), limit - 12 - 5 - (11 if edns else 0) + 1):
        reply = wire.compose(query, tcp, answer=wire.Section(1, bytes(records)))
        if records + 12 + 5 + (11 if edns else 0) <= limit:
            assert len(reply) == limit and not reply[2] & 2
        else:
            assert reply[2] & 2 and len(reply) == 12 + 5 + (11 if edns else 0)
            assert reply[6:8] == b"\0\0"  # TC: no records at all


@pytest.mark.parametrize("size", [253, 254, 255, 256])
def test_the_longest_name_rfc1035_2_3_4(size):
    left, labels = size - 1, b""
    while left:
        length = min(63, left - 1 if left != 65 else 62)  # never a rest of one octet, which is no label
        labels, left = labels + bytes([length]) + b"a" * length, left - length - 1
    name = labels + b"\0"
    assert len(name) == size
    if size > 255:
        with pytest.raises(Malformed):
            parse(HEADER + name + b"\0\x01\0\x01")
    else:
        found = parse(HEADER + name + b"\0\x01\0\x01")
        assert found is not None and found.name == name
