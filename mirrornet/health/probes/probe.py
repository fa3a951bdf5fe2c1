"""One probe of one mirror at one address, within one deadline.  Its result is a value, never an exception.

    tcp     the port accepts a connection
    http    metadata/timestamp.json is there (status 200); nothing is believed of what it says
    block   that file's signature is good by the root the zone trusts, and blocks picked beforehand are what they are
            named: it proves content and freshness, with one small file and one block

http and block also ask for the timestamp through the select url at the same address, since only a mirror that answers
there may stand in A and AAAA.  A failure of that part says nothing against the mirror itself.

Which block is asked for is an argument, so a probe has no dice.  Its bytes are compared by length and SHA-256, and
not inflated: what was signed is the stored file.

One file and one block within the deadline make a good mirror.  Where it strikes while more blocks are read (in
disguise, or of a mirror that lied), what was read until then counts: far mirrors need several seconds for eight.

A probe in disguise asks what a client asks that mounts an image: for the next root, which is hardly ever there, for
the timestamp, and for blocks; under the client's name, and not through the select url.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from mirrornet.health.probes.fetch import NoRoute, Refused, Visit, translate
from mirrornet.health.probes.target import named, target, under
from mirrornet.health.rule.outcome import Kind, Outcome, Sample
from mirrornet.image.format.block import block_path
from mirrornet.image.trust.attempt import check_timestamp
from mirrornet.image.trust.roots import ROOT_LIMIT
from mirrornet.model.address import Address, is_public, parse_address
from mirrornet.model.errors import Expired, Missing, PeerError, Unreachable, Untrusted
from mirrornet.model.units import format_duration
from mirrornet.model.zone import Mirror, ProbeKind

_log = logging.getLogger(__name__)
TIMESTAMP: Final = "metadata/timestamp.json"
MAX_TIMESTAMP: Final = 1 << 16  # bytes; python-tuf's own limit for a timestamp is 16,384
MAX_ADDRESSES: Final = 4  # of a host name; what the zone lists is always probed in full


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask of a mirror.

    `select_urls`: under which it may serve besides its own.  `root`: the root.json to believe (block only).  `samples`:
    blocks to ask for, of the verified set with timestamp `expect`.  `suspects`: blocks that were bad before; `audit`:
    how many whole ones a liar has to show in all.  `sole_image`: a block that is not there is the mirror's failure,
    since there is no other image it could hold.  `disguised`: look like a client, who would ask for the root file of
    version `next_root`, too.
    """

    kind: ProbeKind
    url: str
    select_urls: tuple[str, ...] = ()
    root: bytes = b""
    samples: tuple[Sample, ...] = ()
    expect: int | None = None
    suspects: tuple[Sample, ...] = ()
    audit: int = 0
    sole_image: bool = True
    disguised: bool = False
    next_root: int = 0


async def addresses(mirror: Mirror, timeout: float) -> tuple[Address, ...]:
    """The addresses to probe.  Raises Unreachable where its host name has none that may be probed."""
    known = named(mirror)
    if known:
        return known
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(mirror.host, mirror.port, type=1)
    except TimeoutError:
        raise Unreachable(f"{mirror.host} does not resolve within {format_duration(timeout)}") from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{mirror.host} does not resolve: {error}") from None
    every = sorted({parse_address(str(entry[4][0]).partition("%")[0]) for entry in found}, key=lambda a: (a.version, a))
    allowed = tuple(address for address in every if is_public(address))
    if not allowed:
        raise Unreachable(
            f"{mirror.host} resolves to {every[0] if every else 'nothing'}, which is not public: "
            "write it under `addresses` if that is meant"
        )
    return allowed[:MAX_ADDRESSES]


async def probe(order: Order, address: Address, timeout: float, agent: str, clock: Callable[[], float]) -> Outcome:
    """One probe of the mirror of `order` at `address`, over after `timeout` seconds at the latest."""
    findings = _Findings(order, clock)
    try:
        async with asyncio.timeout(timeout):
            if order.kind == "tcp":
                await findings.connect(address)
            else:
                async with Visit(address, "" if order.disguised else agent) as visit:
                    try:
                        await findings.ask(visit)
                    finally:
                        findings.note(visit)
    except TimeoutError:
        findings.late(timeout)
    except NoRoute as error:
        findings.fail(Kind.BLIND, str(error))
    except Expired as error:
        findings.fail(Kind.STALE, str(error))
    except Untrusted as error:
        findings.fail(Kind.CORRUPT, str(error))
    except PeerError as error:
        findings.fail(Kind.FAILED, str(error), error.retry_after if isinstance(error, Refused) else None)
    except Exception as error:  # a bug of ours must not end the watch over all mirrors
        _log.error("the probe of %s at %s broke: %s: %s", order.url, address, type(error).__name__, error)
        findings.fail(Kind.FAILED, f"the probe itself broke: {type(error).__name__}")
    return replace(findings.outcome, at=clock())


class _Findings:
    """An outcome in the making, so that a deadline which strikes late does not undo what was found before."""

    def __init__(self, order: Order, clock: Callable[[], float]) -> None:
        self.order = order
        self.clock = clock
        self.outcome = Outcome(Kind.FAILED, 0.0, audit=order.audit, disguised=order.disguised)
        self._begun = time.monotonic()
        self._shown = False  # the mirror itself is good; what follows is more of the same
        self._proven = math.inf  # when all of that was over, and only the select urls were left

    def fail(self, kind: Kind, reason: str, retry_after: float | None = None) -> None:
        if self._proven < math.inf:
            self.outcome = replace(self.outcome, serves_select=False)
        else:
            self.outcome = replace(self.outcome, kind=kind, reason=reason, retry_after=retry_after)

    def late(self, timeout: float) -> None:
        """The deadline struck.  What had no fair part of the time, half of it, is as if it had not been asked."""
        if self._proven < math.inf:
            fair = self._proven - self._begun < timeout / 2
            self.outcome = replace(self.outcome, serves_select=False if fair else None)
        elif self._shown:
            self.outcome = replace(self.outcome, kind=Kind.OK)
        else:
            self.fail(Kind.FAILED, f"no answer within {format_duration(timeout)}")

    def note(self, visit: Visit) -> None:
        self.outcome = replace(self.outcome, rtt_ms=visit.rtt_ms, certificate_until=visit.certificate_until)

    async def connect(self, address: Address) -> None:
        there = target(self.order.url, address)
        begun = time.monotonic()
        try:
            _, writer = await asyncio.open_connection(str(there.address), there.port)
        except TimeoutError:
            raise Unreachable("no answer to a connection attempt") from None
        except OSError as error:
            raise translate(error) from None
        self.outcome = replace(self.outcome, kind=Kind.OK, rtt_ms=(time.monotonic() - begun) * 1000)
        writer.close()

    async def ask(self, visit: Visit) -> None:
        order = self.order
        if order.disguised and order.next_root:
            with contextlib.suppress(Missing):
                await visit.get(under(order.url, f"metadata/{order.next_root}.root.json"), ROOT_LIMIT)
        timestamp = await visit.get(under(order.url, TIMESTAMP), MAX_TIMESTAMP)
        if order.kind == "block":
            version, _, expires = check_timestamp(order.root, timestamp, self.clock())
            self.outcome = replace(self.outcome, version=version, expires=expires)
            for sample in order.samples[:1]:
                await self._sample(visit, sample, strict=version == order.expect)
            self._shown = True
            for sample in order.suspects:
                await self._block(visit, sample, strict=False)
            for sample in order.samples[1:]:
                await self._sample(visit, sample, strict=version == order.expect)
        self.outcome = replace(self.outcome, kind=Kind.OK)
        if order.select_urls:
            self._proven = time.monotonic()
            for url in order.select_urls:
                await self._select(visit, url, timestamp)
            self.outcome = replace(self.outcome, serves_select=True)

    async def _sample(self, visit: Visit, sample: Sample, strict: bool) -> None:
        shown = await self._block(visit, sample, strict)
        self.outcome = replace(self.outcome, whole=self.outcome.whole + shown)

    async def _block(self, visit: Visit, sample: Sample, strict: bool) -> bool:
        """One block by name: whether it is whole.

        Where `strict`, one that is not there counts against the image or the mirror.
        """
        name = sample.hash.hex()[:16]
        url = under(self.order.url, block_path(sample.pack or sample.hash))
        try:
            stored = await visit.get(url, sample.stored, sample.offset if sample.pack else None)
        except Missing as error:
            if not strict:
                return False  # a lagging mirror need not have what is newer; a suspect that is gone harms nobody
            if self.order.sole_image:
                raise Unreachable(f"block {name}… is not there: {error}") from None
            self.outcome = replace(self.outcome, images={**self.outcome.images, sample.image: False})
            return False
        except Untrusted as error:
            self.outcome = replace(self.outcome, suspects=(*self.outcome.suspects, sample))
            raise Untrusted(f"block {name}… is corrupt: {error}") from None
        if len(stored) != sample.stored or hashlib.sha256(stored).digest() != sample.hash:
            self.outcome = replace(self.outcome, suspects=(*self.outcome.suspects, sample))
            raise Untrusted(f"block {name}… is corrupt: its bytes do not match its name")
        self.outcome = replace(self.outcome, images={**self.outcome.images, sample.image: True})
        return True

    async def _select(self, visit: Visit, url: str, timestamp: bytes) -> None:
        shown = await visit.get(under(url, TIMESTAMP), MAX_TIMESTAMP)
        if shown == timestamp:
            return
        if self.order.kind != "block":
            raise Unreachable("another file than under its own url")
        check_timestamp(self.order.root, shown, self.clock())  # published in between: signed is good enough
