"""Where clients report to, told by DNS: URI records at `_rtt._tcp.<select name>` (model/rtt.py) with `server: rtt`.

One for each name server of the zone: equal servers have equal files, so each takes reports at this port, and a client
sends to all of them, for each ranks by what it knows itself.  Records of the operator's own at that name stand.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from mirrornet.dns.message import rrset
from mirrornet.dns.message.rrset import RRset, name_to_wire
from mirrornet.model.rtt import PATH, SERVICE
from mirrornet.model.zone import ServerSettings, Zone

TTL: Final = 3600  # seconds; it changes with the zone file only
PRIORITY: Final = struct.pack("!HH", 10, 1)


def publish(
    zones: Sequence[Zone], server: ServerSettings | None, records: dict[str, dict[bytes, dict[int, RRset]]]
) -> None:
    """Adds the records of `zones` to their static `records`."""
    if server is None or server.rtt is None:
        return
    for zone in zones:
        urls = [f"http://{host}:{server.rtt[1]}{PATH}".encode("ascii") for host in zone.nameservers]
        for select in zone.select if urls else ():
            at_name = records.setdefault(zone.name, {}).setdefault(
                name_to_wire(f"{SERVICE}.{zone.select_fqdn(select)}"), {}
            )
            at_name.setdefault(rrset.URI, RRset(rrset.URI, TTL, tuple(PRIORITY + url for url in urls)))
