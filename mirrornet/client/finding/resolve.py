"""From a select name to mirrors, by DNS: from an answer to URLs, and to the addresses where they are dialled.

URI, SRV, A, AAAA (and TXT, for networks that swallow new types) are asked at once.  Best first: the URI set names
every mirror's URL; TXT says the same in words ("PRIORITY URL#MIRROR"); SRV names mirrors that serve under the select
URL, with a port; plain A and AAAA are that URL at each address.  Once one type has answered, the others get 300 ms:
some forwarders swallow what they do not know, and nobody should wait for that.  A URI set that is late (one of two
name servers is dead, and was asked first) is asked for again soon, a few times; until then no mirror is forgotten.

A mirror of a URI answer is dialled at the A and AAAA of `<mirror>.<select name>`.  Its URL's own host is resolved only
where there are none, or a proxy of the environment will do it.  Which addresses may be dialled: `source.permitted`.

The answer is refreshed by its TTL, and earlier when there is trouble.  A name server that is down is no reason to
stop: the last list stands, and it is written down, so that not even a restart needs the name server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from mirrornet.client.fetching.fetch import proxied
from mirrornet.client.mirrors.source import Endpoint, SelectName, permitted, split_target
from mirrornet.image.files import replacing
from mirrornet.model.address import is_public, parse_address
from mirrornet.model.errors import InputError, Unreachable
from mirrornet.model.rtt import SERVICE

log = logging.getLogger(__name__)

PATIENCE: Final = 0.3  # seconds that a type is waited for once another answered
LIFETIME: Final = 4.0  # seconds for one question, all tries
TTL: Final = (5.0, 3600.0)  # seconds: a refresh is never sooner, never later
TROUBLE: Final = 2.0  # seconds between two refreshes because of trouble
MIRRORS: Final = 32  # taken from one answer at most
LATE: Final = 3  # lists in a row without a URI answer in time, after which nobody waits for one any more
REPORTS: Final = 4  # name servers that are told of round trips, at most


@dataclass(frozen=True, slots=True)
class Resolution:
    """The mirrors, best first, and for how many seconds that is so.  Not `whole`: the URI set was late."""

    endpoints: tuple[Endpoint, ...]
    ttl: float
    whole: bool = True


class Resolver:
    """Questions to `server` (address, port), or to the system's name servers where it is None.

    `lifetime`: seconds for one question, all tries.
    """

    def __init__(self, server: tuple[str, int] | None, lifetime: float = LIFETIME) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration:
            raise InputError("this system names no name server (/etc/resolv.conf): give --resolver ADDR:PORT") from None
        if server is not None:
            self._resolver.nameservers = [server[0]]
            self._resolver.port = server[1]
        self._resolver.lifetime = lifetime
        self._resolver.timeout = 1.5
        # Whoever names a resolver on a network of his own says that this network is his (source.py).
        self._allow_local = server is not None and not is_public(parse_address(server[0]))
        self._told: dict[str, None] = {}
        self._silence: dict[str, Exception] = {}

    async def mirrors(self, select: SelectName, near: str = "") -> Resolution:
        """The mirrors of a select name now; `near`: those near that mirror, whoever asks.

        Raises Unreachable where no name server answers or none is named.
        """
        name = select.name
        service = f"_http._tcp.{near}.{name}" if near else f"_http._tcp.{name}"
        questions = [(service, "URI"), (service, "TXT"), (service, "SRV")]
        if not near:
            questions += [(name, "A"), (name, "AAAA"), (name, "TXT")]
        found, late = await self._together(questions, enough=(service, "URI"))
        targets = [
            (record.target.decode("ascii", "replace"), "")
            for record in sorted(found.get((service, "URI"), []), key=lambda r: (r.priority, -r.weight))
        ]
        if not targets:
            targets = _texts([*found.get((service, "TXT"), []), *found.get((name, "TXT"), [])])
        if not targets:
            targets = _services(found.get((service, "SRV"), []), name)
        rows = await asyncio.gather(*(self._endpoint(row, name, rank) for rank, row in enumerate(targets[:MIRRORS])))
        endpoints = [row for row in rows if row is not None]
        if not endpoints:
            plain = [str(r.address) for kind in ("A", "AAAA") for r in found.get((name, kind), [])]
            endpoints = [
                Endpoint(address, f"http://{name}", (address,), rank, self._allow_local)
                for rank, address in enumerate(self._permitted(plain, name))
            ]
        if not endpoints:
            raise Unreachable(self._no_mirror(name))
        ttl = min((record.ttl for record in found.values() if isinstance(record, _Answer)), default=TTL[0])
        whole = (service, "URI") not in late
        return Resolution(tuple({endpoint.name: endpoint for endpoint in endpoints}.values()), ttl, whole)

    async def reports_to(self, select: SelectName) -> tuple[Endpoint, ...]:
        """Where the servers of a select name take reports of round trips (model/rtt.py); none where none does."""
        found, _ = await self._together([(f"{SERVICE}.{select.name}", "URI")])
        records = sorted((record for answer in found.values() for record in answer), key=lambda r: r.priority)
        endpoints: list[Endpoint] = []
        for record in records[:REPORTS]:
            target = record.target.decode("ascii", "replace")
            try:
                url, name = split_target(target)
            except InputError as error:
                log.debug("%s: %s is no place for reports: %s", select.name, target, error)
                continue
            addresses = permitted(await self._addresses_of(Endpoint(name, url).host), self._allow_local)
            if addresses:
                endpoints.append(Endpoint(name, url, addresses, len(endpoints), self._allow_local))
        return tuple(endpoints)

    async def _endpoint(self, row: tuple[str, str], select: str, rank: int) -> Endpoint | None:
        target, dial = row
        try:
            url, mirror = split_target(target)
        except InputError as error:
            self._tell(f"{select}: a mirror is passed over: {error}")
            return None
        if proxied(url):
            return Endpoint(mirror, url, (), rank, self._allow_local)
        host = dial or f"{mirror}.{select}"
        addresses = await self._addresses(host) if "#" in target else ()
        if not addresses:
            host = Endpoint(mirror, url).host
            addresses = await self._addresses_of(host)
        if not addresses:
            return Endpoint(mirror, url, (), rank, self._allow_local)  # the system's own way of finding names is left
        allowed = self._permitted(addresses, host)
        return Endpoint(mirror, url, allowed, rank, self._allow_local) if allowed else None

    def _permitted(self, addresses: Sequence[str], host: str) -> tuple[str, ...]:
        allowed = permitted(addresses, self._allow_local)
        for address in set(addresses) - set(allowed):
            self._tell(
                f"{host} is {address}, which is no public address: passed over (allowed with URLs as SOURCE, "
                "or with --resolver on such an address)"
            )
        return allowed

    async def _addresses_of(self, host: str) -> tuple[str, ...]:
        """The addresses of a URL's host, which may be one itself."""
        try:
            parse_address(host)
        except ValueError:
            return await self._addresses(host)
        return (host,)

    async def _addresses(self, host: str) -> tuple[str, ...]:
        found, _ = await self._together([(host, "A"), (host, "AAAA")])
        return tuple(str(record.address) for kind in ("AAAA", "A") for record in found.get((host, kind), []))

    async def _together(
        self, questions: list[tuple[str, str]], enough: tuple[str, str] | None = None
    ) -> tuple[dict[tuple[str, str], _Answer], set[tuple[str, str]]]:
        """The answers that have records, PATIENCE seconds after the first at the latest, or when `enough` is in.

        With them the questions that had no answer of any kind by then.
        """
        tasks = {asyncio.create_task(self._ask(name, kind)): (name, kind) for name, kind in questions}
        found: dict[tuple[str, str], _Answer] = {}
        pending: set[asyncio.Task[_Answer | None]] = set(tasks)
        until: float | None = None
        try:
            while pending:
                left = None if until is None else max(0.0, until - time.monotonic())
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                for task in done:
                    answer = task.result()
                    if answer:
                        found[tasks[task]] = answer
                if enough in found:
                    break
                if until is None and found:
                    until = time.monotonic() + PATIENCE
            return found, {tasks[task] for task in pending}
        finally:
            for task in pending:
                task.cancel()

    async def _ask(self, name: str, kind: str) -> _Answer | None:
        try:
            answer = await self._resolver.resolve(
                dns.name.from_text(name), dns.rdatatype.from_text(kind), raise_on_no_answer=False
            )
        except (dns.exception.DNSException, OSError, ValueError) as error:
            log.debug("%s %s: %s", name, kind, error)
            self._silence[name] = error
            return None
        self._silence.pop(name, None)
        return _Answer(answer.rrset, float(answer.rrset.ttl)) if answer.rrset is not None else None

    def _no_mirror(self, name: str) -> str:
        """Why there is none, as far as the last answers tell: a person mends each in another place."""
        error = self._silence.get(name)
        port = "" if self._resolver.port == 53 else f" port {self._resolver.port}"
        servers = f"the name server {', '.join(map(str, self._resolver.nameservers))}{port}"
        if isinstance(error, dns.resolver.NXDOMAIN):
            return f"{name}: {servers} says that there is no such name: is it spelt right?"
        if isinstance(error, dns.resolver.NoNameservers):
            codes = {str(text) for *_, text, _ in error.kwargs.get("errors", ()) if isinstance(text, str)}
            said = f" ({', '.join(sorted(codes))[:80]})" if codes else ""
            return f"{name}: {servers} has no answer of use{said}: name another with --resolver"
        if error is not None:
            return f"{name}: {servers} does not answer: is it the right one, and the network up?"
        if self._told:
            return f"{name}: DNS names no mirror that may be used: {next(iter(self._told))}"
        return f"{name}: DNS names no mirror (asked URI, TXT, SRV, A and AAAA): is it a select name?"

    def _tell(self, line: str) -> None:
        if line not in self._told and len(self._told) < 100:
            self._told[line] = None
            log.warning("%s", line)


class _Answer(list[Any]):
    """Records of one type, with their TTL in seconds.  dnspython's rdata have no common type worth naming."""

    def __init__(self, records: Any, ttl: float) -> None:
        super().__init__(records)
        self.ttl = ttl


def _texts(records: Sequence[Any]) -> list[tuple[str, str]]:
    """Targets out of TXT records "PRIORITY URL#MIRROR"; other texts are none of ours."""
    rows = []
    for record in records:
        priority, _, target = b"".join(record.strings).decode("ascii", "replace").partition(" ")
        if priority.isdigit() and "://" in target:
            rows.append((int(priority), target.strip()))
    return [(target, "") for _, target in sorted(rows)]


def _services(records: Sequence[Any], select: str) -> list[tuple[str, str]]:
    """Targets out of SRV records (RFC 2782): these mirrors serve under the select URL, each at its own port."""
    rows = []
    for record in sorted(records, key=lambda r: (r.priority, -r.weight)):
        host = record.target.to_text(omit_final_dot=True).lower()
        if host and host != ".":
            mirror = host.removesuffix(f".{select}")
            port = "" if record.port == 80 else f":{record.port}"
            rows.append((f"http://{select}{port}#{mirror}", host))
    return rows


class Refresher:
    """Keeps a list of mirrors fresh.  `changed` is called with every new list; `file` remembers the last one."""

    def __init__(
        self, resolver: Resolver, select: SelectName, changed: Callable[[tuple[Endpoint, ...]], None], file: Path
    ) -> None:
        self._resolver = resolver
        self._select = select
        self._changed = changed
        self._file = file
        self._trouble = asyncio.Event()
        self._near: list[str] = []
        self._known: tuple[Endpoint, ...] = ()
        self._late = 0
        self.last_error = ""
        self.ttl = TTL[0]

    async def first(self) -> tuple[Endpoint, ...]:
        """The mirrors by DNS or, where no name server answers, as they were last written down.

        Raises Unreachable where there is neither.
        """
        try:
            return self._take(await self._ask())
        except Unreachable as error:
            self.last_error = str(error)
            try:
                rows = json.loads(self._file.read_text())
                endpoints = tuple(Endpoint(**{**row, "addresses": tuple(row["addresses"])}) for row in rows)
            except (OSError, ValueError, TypeError, KeyError):
                raise error from None
            log.warning("%s; going on with the %d mirrors of last time", error, len(endpoints))
            self._changed(endpoints)
            return endpoints

    def trouble(self) -> None:
        """Asks again soon, whatever the TTL says."""
        self._trouble.set()

    async def run(self) -> None:
        """Refreshes for ever."""
        while True:
            await asyncio.sleep(TROUBLE)
            wait = min(max(self.ttl, TTL[0]), TTL[1]) - TROUBLE
            try:
                async with asyncio.timeout(wait):
                    await self._trouble.wait()
            except TimeoutError:
                pass
            self._trouble.clear()
            try:
                self._take(await self._ask())
            except Unreachable as error:
                if not self.last_error:
                    log.warning("%s; keeping the mirrors we know", error)
                self.last_error = str(error)

    async def descend(self, mirror: str) -> int:
        """Adds the mirrors near `mirror`, now and at every refresh; how many of them are new.

        For a client of whom the name server knows nothing: his best mirror is far, but it is the best hint there is.
        """
        self._near.append(mirror)
        before = len(self._known)
        with contextlib.suppress(Unreachable):
            self._take(await self._ask())
        return len(self._known) - before

    async def _ask(self) -> Resolution:
        base = await self._resolver.mirrors(self._select)
        endpoints = {endpoint.name: endpoint for endpoint in base.endpoints}
        for mirror in self._near:
            with contextlib.suppress(Unreachable):
                for endpoint in (await self._resolver.mirrors(self._select, mirror)).endpoints:
                    endpoints.setdefault(endpoint.name, replace(endpoint, rank=len(endpoints)))
        return Resolution(tuple(endpoints.values()), base.ttl, base.whole)

    def _take(self, resolution: Resolution) -> tuple[Endpoint, ...]:
        self.last_error = ""
        self.ttl = resolution.ttl
        self._late = 0 if resolution.whole else self._late + 1
        endpoints = {endpoint.name: endpoint for endpoint in resolution.endpoints}
        if 0 < self._late <= LATE:
            for endpoint in self._known:
                endpoints.setdefault(endpoint.name, replace(endpoint, rank=len(endpoints)))
            self.trouble()
        self._known = tuple(endpoints.values())
        self._changed(self._known)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._file) as file:
                file.write(json.dumps([asdict(endpoint) for endpoint in self._known]).encode())
        except OSError as error:
            log.debug("the mirrors could not be written down in %s: %s", self._file, error)
        return self._known
