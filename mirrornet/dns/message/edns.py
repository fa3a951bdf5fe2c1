"""The OPT record: what a query's options say, and the options of a reply (RFC 6891).

Read in one pass by exact lengths; an option we do not know is stepped over and not echoed (RFC 6891 6.1.2).  Of an
option that comes twice the first counts.

    NSID       3   given to who asks (RFC 5001)
    ECS        8   where the client is, and for whom else the answer holds (RFC 7871)
    COOKIE    10   the asker is who he says (RFC 7873; cookies.py)
    KEEPALIVE 11   how long a TCP connection may idle (RFC 7828), never by UDP
    PADDING   12   only inside TLS, and only where the query was padded (RFC 7830, RFC 8467 4.1)
    EDE       15   why (RFC 8914)

Rejected: a class for each option (most are a code and a few octets), and dnslib's (which loses options of no octets).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from struct import Struct
from typing import Final

from mirrornet.model.address import Family, key

DO: Final = 0x8000  # in the OPT record's TTL
UDP_MAXIMUM: Final = 1232  # octets: never fragmented on a path with IPv6's minimum MTU (DNS flag day 2020)

NSID: Final = 3  # option codes
CLIENT_SUBNET: Final = 8
COOKIE: Final = 10
KEEPALIVE: Final = 11
PADDING: Final = 12
EXTENDED_ERROR: Final = 15

OTHER_ERROR: Final = 0  # INFO-CODEs of RFC 8914 section 4
NOT_READY: Final = 14
NOT_AUTHORITATIVE: Final = 20
NOT_SUPPORTED: Final = 21
ALL_DOWN: Final = b"all mirrors are down: these may not answer"  # EXTRA-TEXT of an OTHER_ERROR

PAD_BLOCK: Final = 468  # octets: replies inside TLS become multiples of it (RFC 8467 section 4.1)
IDLE: Final = 10.0  # seconds that a TCP connection may idle, as KEEPALIVE tells (RFC 7828 3.1: units of 100 ms)

_RECORD = Struct("!HHBBHH")  # type, class, extended rcode, version, flags, rdlength: an OPT's view of RFC 1035 4.1.3
_OPTION = Struct("!HH")
_ECS = Struct("!HBB")
OPT: Final = 41
_LOW64 = (1 << 64) - 1
_CARRIERS = (0xFFFF << 32, 0x0064FF9B << 96)  # the /96 in ::/64 and in 64:ff9b::/64 whose addresses carry an IPv4


@dataclass(frozen=True, slots=True)
class ClientSubnet:
    """An ECS option (RFC 7871 section 6).  `address` has `width(family)` bits, the unused ones zero.

    `source` is 0 to 32 or 0 to 128, as sent; 0 means "do not use my address".  `sent` is the option's data.
    """

    family: int
    source: int
    address: int
    sent: bytes

    def reply(self, scope: int) -> bytes:
        """The whole option for the answer: family, source and address as sent, and `scope`."""
        return _OPTION.pack(CLIENT_SUBNET, len(self.sent)) + self.sent[:3] + bytes([scope]) + self.sent[4:]

    def locate(self) -> tuple[Family, int]:
        """(family, address) to look up in the map: an IPv6 that carries an IPv4 is where that is (model/address.py)."""
        if self.family == 4:
            return 4, self.address
        return key(IPv6Address(self._whole()))

    def scope(self, found: int) -> int:
        """The scope to send where the map says `found` for locate()'s address.

        In what carries an IPv4, `found` bits of it are 96 + `found` (mapped, NAT64) or 16 + `found` (6to4) of the
        IPv6; in Teredo the IPv4 comes last, behind bits that mean nothing to us, so it is all 128.  The map cannot
        tell the /96 that carries from the rest of its /64: an address beside it takes as many bits as keep it out
        (RFC 7871 7.2.1: no scope covers another answer).  0 is the whole world, and stays.
        """
        if self.family == 4:
            return found
        value = self._whole()
        family, _ = key(IPv6Address(value))
        if family == 4:
            if value >> 112 == 0x2002:
                return 16 + found
            return 128 if value >> 96 == 0x20010000 else 96 + found
        if found:
            for carrier in _CARRIERS:
                if value >> 64 == carrier >> 64:
                    return max(found, 97 - ((value ^ carrier) >> 32).bit_length())
        return found

    def _whole(self) -> int:
        return int.from_bytes(self.sent[4:].ljust(16, b"\0"), "big")


@dataclass(frozen=True, slots=True)
class Edns:
    """The OPT record: `udp_size` in octets as sent, DO, and the options we know.

    `cookie`: the COOKIE option's data, 8 octets of the client, then none or 8 to 32 of a server; empty without one.
    `keepalive`, `padding`: whether there was such an option.
    """

    udp_size: int
    version: int
    do: bool
    subnet: ClientSubnet | None = None
    nsid: bool = False
    cookie: bytes = b""
    keepalive: bool = False
    padding: bool = False


def parse_options(data: bytes, udp_size: int, version: int, do: bool) -> Edns | None:
    """The Edns whose options are `data`, an OPT's rdata; None where they are malformed (FORMERR)."""
    at, size = 0, len(data)
    subnet: ClientSubnet | None = None
    nsid = keepalive = padding = located = False
    cookie = b""
    while at < size:
        if at + 4 > size:
            return None
        code, length = _OPTION.unpack_from(data, at)
        at += 4
        end = at + length
        if end > size:
            return None
        if code == CLIENT_SUBNET and not located:
            located = True
            try:
                subnet = parse_subnet(data[at:end])
            except ValueError:
                return None
        elif code == COOKIE and not cookie:
            if length != 8 and not 16 <= length <= 40:  # RFC 7873 section 5.2.2
                return None
            cookie = data[at:end]
        elif code == NSID:
            nsid = True
        elif code == KEEPALIVE:
            keepalive = True
        elif code == PADDING:
            padding = True
        at = end
    return Edns(udp_size, version, do, subnet, nsid, cookie, keepalive, padding)


def parse_subnet(data: bytes) -> ClientSubnet | None:
    """An ECS option's data.  None: a family nobody has told us of, so the option is ignored.

    Raises ValueError where RFC 7871 section 6 wants FORMERR: scope not 0, source too long, too few or too many
    octets, bits set beyond the source.  Family 0 with source 0 and no address (as `dig +subnet=0` sends) is a plain
    "do not use my address".
    """
    if len(data) < 4:
        raise ValueError("shorter than its fixed part")
    family, source, scope = _ECS.unpack_from(data)
    if family not in (0, 1, 2):
        return None
    limit = (0, 32, 128)[family]
    address = data[4:]
    if scope or source > limit or len(address) != (source + 7) // 8:
        raise ValueError("a scope in a query, or a source or length that is not of the family")
    if source % 8 and address[-1] & (0xFF >> source % 8):
        raise ValueError("bits beyond the source")
    if family == 2:
        return ClientSubnet(6, source, int.from_bytes(address[:8].ljust(8, b"\0"), "big"), data)
    return ClientSubnet(4, source, int.from_bytes(address.ljust(4, b"\0"), "big"), data)


def opt(options: bytes, do: bool = False, rcode: int = 0) -> bytes:
    """Our OPT record, version 0, with `options`; `rcode`'s upper eight bits go here (RFC 6891 section 6.1.3)."""
    return b"\0" + _RECORD.pack(OPT, UDP_MAXIMUM, rcode >> 4, 0, DO if do else 0, len(options)) + options


def option(code: int, data: bytes = b"") -> bytes:
    """One option, whole (RFC 6891 section 6.1.2)."""
    return _OPTION.pack(code, len(data)) + data


def extended_error(code: int, text: bytes = b"") -> bytes:
    """An Extended DNS Error option (RFC 8914 section 2); `text` is UTF-8 for a person."""
    return option(EXTENDED_ERROR, code.to_bytes(2, "big") + text)


def nsid_option(name: bytes) -> bytes:
    """Our NSID option (RFC 5001 section 2.3)."""
    return option(NSID, name)


def keepalive_option(idle: float = IDLE) -> bytes:
    """Our KEEPALIVE option: `idle` seconds in units of 100 ms (RFC 7828 section 3.1)."""
    return option(KEEPALIVE, round(idle * 10).to_bytes(2, "big"))


def padding_option(length: int) -> bytes:
    """A PADDING option that makes a message of `length` octets a multiple of 468 (RFC 8467 section 4.1)."""
    return option(PADDING, bytes(-(length + 4) % PAD_BLOCK))


def courtesies(edns: Edns | None, stream: bool, nsid: bytes) -> bytes:
    """The options that who asked for them gets in whatever is the answer; `nsid` is our whole option or nothing.

    KEEPALIVE is for streams alone (RFC 7828 section 3.2.1: never by UDP).
    """
    if edns is None:
        return b""
    return (nsid if edns.nsid else b"") + (keepalive_option() if stream and edns.keepalive else b"")
