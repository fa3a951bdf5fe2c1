"""All set objects and claims of membership of an import, one of a name and source: the newest.

Memory is bounded: a dump that holds more sets, members or claims than any registry ever will loses the rest, and the
report says so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mirrornet.model.address import Prefix
from mirrornet.model.sets import PrefixRange
from mirrornet.radb.facts import AutNum, Route, SetObject

SETS: Final = 1_000_000  # 53,268 as-sets were in 13 registries (2023)
MEMBERS: Final = 20_000_000
CLAIMS: Final = 2_000_000


class Claimed(NamedTuple):
    """One member of one set by his own word: an AS number, or the prefix of a route."""

    name: str
    source: str
    maintainers: tuple[str, ...]
    member: int | PrefixRange


class Gathered:
    """What was said of sets."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], SetObject] = {}  # by source and name
        self.claims: dict[Claimed, None] = {}
        self.dropped = 0
        self.again = 0  # objects whose name and source came before
        self._members = 0

    def __len__(self) -> int:
        return len(self.objects)

    def add(self, said: SetObject) -> None:
        """Takes in a set.  Of two with one name and source the newest stays, whatever the order they come in."""
        key = (said.source, said.name)
        before = self.objects.get(key)
        if before is not None:
            self.again += 1
            if (before.newest, before) >= (said.newest, said):
                return
        size = len(said.members.asns) + len(said.members.sets) + len(said.members.prefixes)
        if len(self.objects) >= SETS or self._members + size > MEMBERS:
            self.dropped += 1
            return
        self._members += size
        self.objects[key] = said

    def claim(self, said: Route | AutNum) -> None:
        """Takes in an object's word that it is a member of sets."""
        member: int | PrefixRange
        if isinstance(said, AutNum):
            member = said.asn
        else:
            member = PrefixRange(Prefix(said.family, said.value, said.length), said.length, said.length)
        for name in said.claim.sets:
            if len(self.claims) >= CLAIMS:
                self.dropped += 1
                return
            self.claims[Claimed(name, said.source, said.claim.maintainers, member)] = None
