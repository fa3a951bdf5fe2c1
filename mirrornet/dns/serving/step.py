"""The compiled step (answer.c) at work for a worker: building and loading it, its tables, and who does the rest.

`build` has the machine's own `cc` compile it into the state folder, once for each version of its source; `load` takes
it from there.  Where there is no compiler, no Linux, or the environment says MIRRORNET_STEP=off, there is no Step, and
batch.py does the same work at its own pace.  A file that somebody else could have written is not loaded.

A Step answers what it knows without coming back to Python; what it leaves, `rest` hands to Responder.respond(), whose
answers leave together with the others.  Its tables are arrays made here for each plan, and the columns of the mapped
plan itself, which is not copied.

Rejected: a CPython extension module (a build at install time, and a wheel for each platform), cffi (a dependency for
what ctypes does), Cython (a compiler for a compiler).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import socket
import sys
from array import array
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_double, c_int32, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Final

from mirrornet.dns.message.gate import Gate
from mirrornet.dns.planning.lookup import Tree
from mirrornet.dns.planning.planfile import Plan
from mirrornet.dns.serving import counters, samples
from mirrornet.dns.serving.answer import Responder
from mirrornet.dns.serving.datagrams import BATCH, QUERY, Respond, anywhere

SOURCE: Final = Path(__file__).with_name("answer.c")
SWITCH: Final = "MIRRORNET_STEP"  # environment: "off" leaves everything to Python
_ODD, _CONTROL, _PORTS, _REPLY = 64, 64, 64, 2048
_LEFT: Final = -1
_NONE: Final = 0xFFFFFFFF
_COMPILE: Final = 60  # seconds


class _Answer(Structure):
    _fields_ = (("at", c_uint32), ("size", c_uint32), ("slot", c_int32), ("count", c_uint32))


class _Partition(Structure):
    _fields_ = (
        *((f"{column}{family}", c_void_p) for family in (4, 6) for column in ("starts", "answers", "scopes")),
        ("count4", c_uint64),
        ("count6", c_uint64),
        ("index4", c_void_p),
    )


class _Entry(Structure):
    _fields_ = (("key", c_uint32), ("key_size", c_uint32), ("partition", c_int32), ("first", c_uint32))


class _Table(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("keys", "records", "entries", "answers", "partitions", "ttls", "places")),
        *((name, c_uint32) for name in ("entry_count", "partition_count", "mask")),
    )


class _Gate(Structure):
    _fields_ = (
        ("cookie_key", c_uint64 * 2),
        ("limit_key", c_uint64 * 2),
        ("full", c_void_p),
        ("interval", c_double),
        ("burst", c_double),
        *((name, c_uint32) for name in ("cookies", "limits", "places")),
    )


class _Port(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("file", "family", "anywhere", "count")),
        ("lengths", c_int32 * BATCH),
        ("sizes", c_int32 * BATCH),
        ("began", c_double),
        ("names", c_uint8 * 28 * BATCH),
        ("controls", c_uint8 * _CONTROL * BATCH),
        ("control_sizes", c_uint64 * BATCH),
        ("queries", c_uint8 * (QUERY + _ODD) * BATCH),
        ("replies", c_uint8 * (_REPLY + _ODD) * BATCH),
    )


class _Step(Structure):
    _fields_ = (
        ("table", POINTER(_Table)),
        ("gate", POINTER(_Gate)),
        ("ports", POINTER(_Port) * _PORTS),
        ("port_count", c_int32),
        ("left", c_int32),
        *((name, c_void_p) for name in ("counts", "hits", "ring")),
        *((name, c_double) for name in ("rate", "credit", "last")),
        *((name, c_uint32) for name in ("every", "until", "generation")),
        ("slot", c_int32),
    )


# What answer.c says of itself: sizes of its structures, and where it counts.
_AGREED: Final = (
    *map(ctypes.sizeof, (_Answer, _Partition, _Entry, _Table, _Gate, _Port, _Step)),
    samples.SLOT,
    counters.UDP,
    counters.ECS,
    counters.NXDOMAIN,
    counters.NODATA,
    counters.UNSENT,
    counters.TAILORED,
    counters.ANYWHERE,
    counters.STATIC,
    counters.TYPE_A,
    counters.TYPE_OTHER,
    counters.LATENCY,
    counters.LATENCY_NS,
)


def wanted() -> bool:
    """Whether this machine and its operator want the compiled step."""
    able = sys.platform == "linux" and sys.byteorder == "little" and ctypes.sizeof(c_void_p) == 8
    return able and os.environ.get(SWITCH, "") != "off"


def _library(state: Path) -> Path:
    version = hashlib.sha256(SOURCE.read_bytes() + os.uname().machine.encode()).hexdigest()[:16]
    return state / f"answer-{version}.so"


def build(state: Path) -> str:
    """Compiles the step into the folder `state`, if it is not there.  What hinders it, or nothing.

    The reason is for the log: without the step, answers are the same and cost more.
    """
    import subprocess  # a worker, which only loads, need not know it

    if not wanted():
        return "it is switched off, or this machine is none that it is made for"
    target = _library(state)
    if target.exists():
        return ""
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None:
        return f"there is no C compiler `{compiler}`"
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(temporary), str(SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE, check=False)
        if done.returncode:
            return f"`{compiler}` failed: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else '?'}"
        temporary.chmod(0o755)
        temporary.rename(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        temporary.unlink(missing_ok=True)
    for old in state.glob("answer-*.so"):
        if old != target:
            old.unlink(missing_ok=True)
    return ""


def load(state: Path, row: Any = None, ring: Any = None) -> Step | None:
    """The step that was built into `state`; None where there is none, or somebody else could have put it there.

    `row`, `ring`: as for Step.
    """
    if not wanted():
        return None
    path = _library(state)
    try:
        found = path.stat()
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
            return None
        return Step(path, row, ring)
    except OSError:
        return None


class Step:
    """The loaded step.  What it counts (counters.py) it writes into `row` itself, and samples into `ring`."""

    def __init__(self, path: Path, row: Any = None, ring: Any = None) -> None:
        """`row`, `ring`: writable octets of the control page; None: room of its own.

        Raises OSError where the library cannot be loaded or is not of this source.
        """
        patient, quick = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))  # only `run` waits, and frees the interpreter
        self._run, self._send, self._index, self._answer = (
            patient.step_run,
            quick.step_send,
            quick.step_index,
            quick.step_answer,
        )
        said = (c_uint32 * len(_AGREED))()
        quick.step_sizes(said)
        if tuple(said) != _AGREED:
            raise OSError(f"{path}: its structures are not those of {__name__}")
        self.row = memoryview(bytearray(8 * len(counters.NAMES)) if row is None else row).cast("B").cast("Q")
        room = [_held(self.row), _held(bytearray(samples.SIZE) if ring is None else ring)]
        self._step = _Step(counts=ctypes.addressof(room[0]), ring=ctypes.addressof(room[1]))
        self._room = room
        self._gate = _Gate()
        self._step.gate = ctypes.pointer(self._gate)
        self._ports: list[_Port] = []
        self._kept: list[Any] = []  # what the tables point to
        self._table: _Table | None = None
        self._cookies: object = None
        self._limiter: object = None

    def add(self, sock: socket.socket) -> bool:
        """Takes the non-blocking UDP socket `sock`; False where there are too many."""
        if len(self._ports) == _PORTS:
            return False
        port = _Port(file=sock.fileno(), family=sock.family, anywhere=anywhere(sock))
        self._step.ports[len(self._ports)] = ctypes.pointer(port)
        self._ports.append(port)
        self._step.port_count = len(self._ports)
        return True

    def equip(self, responder: Responder, ttls: Sequence[int]) -> None:
        """From now on answers are those of `responder`, and counted where it counts them by TTL slot."""
        keys, records = bytearray(), []
        entries, answers = array("I"), array("I")
        size = answer_count = entry_count = 0
        for question, entry in responder.foreseen():
            entries.extend((len(keys), len(question), entry.partition & 0xFFFFFFFF, answer_count))
            keys += question
            entry_count += 1
            for rrset, slot in zip(entry.rrsets, entry.slots, strict=True):
                octets = b"" if rrset is None else rrset.wire()
                answers.extend((size, len(octets), slot & 0xFFFFFFFF, 0 if rrset is None else len(rrset.rdatas)))
                records.append(octets)
                size += len(octets)
                answer_count += 1
        for name, zone, exists, alone in Tree(responder.plan.zones, responder.plan.nodes).missing():
            for plain, what in ((exists, b"\0\0\0\0"), (alone, b"\0\0\0\1")):
                if plain or what[3] == 0:  # that a name exists is always told
                    entries.extend((len(keys), len(name) + 4, len(zone.apex), answer_count if plain else _NONE))
                    keys += name + what
                    entry_count += 1
            soa = zone.soa.wire(zone.negative_ttl)
            answers.extend((size, len(soa), _NONE, 1))  # TTL as written
            records.append(soa)
            size += len(soa)
            answer_count += 1
        kept: list[Any] = []

        def held(data: Any) -> int:
            one = _held(data)
            kept.append(one)
            return ctypes.addressof(one)

        mask = 1 << (2 * entry_count).bit_length()
        partitions = _partitions(responder.plan, held)
        kept.append(partitions)
        table = _Table(
            keys=held(keys or bytearray(1)),
            records=held(bytearray(b"".join(records) or b"\0")),
            entries=held(entries or array("I", [0])),
            answers=held(answers or array("I", [0])),
            partitions=ctypes.addressof(partitions),
            places=held(array("I", bytes(4 * mask))),
            entry_count=entry_count,
            partition_count=len(responder.plan.partitions),
            mask=mask - 1,
        )
        self._index(byref(table))
        self._step.hits = held(responder.hits)
        self._step.generation = responder.plan.generation
        self._table, self._kept = table, kept
        self.retime(ttls)
        self._step.table = ctypes.pointer(table)

    def retime(self, ttls: Sequence[int]) -> None:
        """New TTLs for the same plan."""
        if self._table is None:
            return
        self._ttls = array("I", ttls or [0])
        self._table.ttls = self._ttls.buffer_info()[0]

    def mind(self, gate: Gate) -> None:
        """Takes over the cookie secret and the limits of `gate`, with their very buckets, where they are new."""
        if gate.cookies is not self._cookies:
            self._cookies = gate.cookies
            self._gate.cookies = gate.cookies is not None
            if gate.cookies is not None:
                self._gate.cookie_key[:] = array("Q", gate.cookies.current).tolist()
        if gate.limiter is not self._limiter:
            self._limiter = gate.limiter
            self._gate.limits = gate.limiter is not None
            if gate.limiter is not None:
                limiter = gate.limiter
                self._gate.limit_key[:] = array("Q", limiter.key).tolist()
                self._gate.full, self._gate.places = limiter.full.buffer_info()
                self._gate.interval, self._gate.burst = limiter.interval, limiter.burst

    def wait(self, other: int, seconds: float) -> None:
        """Answers for `seconds`, or until `other` is readable, a signal comes, or something is left for `rest`."""
        self._run(byref(self._step), other, int(seconds * 1000))

    def sample(self, every: int, rate: float) -> None:
        """From now on one answer of `every` is a sample (0: none), at most `rate` a second."""
        if (every, rate) != (self._step.every, self._step.rate):
            self._step.every = self._step.until = every
            self._step.rate = self._step.credit = rate

    def rest(self, respond: Respond) -> None:
        """What was left of the batch is answered by `respond`, and the batch sent."""
        number = self._step.left
        if number < 0:
            return
        port = self._ports[number]
        self._step.left = -1
        first, last = (4, 8) if port.family == socket.AF_INET else (8, 24)
        for slot, size in enumerate(port.sizes[: port.count]):
            if size == _LEFT:
                query = bytes(port.queries[slot][: port.lengths[slot]])
                reply = respond(query, bytes(port.names[slot][first:last]), 0) or b""
                port.sizes[slot] = len(reply)
                ctypes.memmove(port.replies[slot], reply, len(reply))
        self._send(byref(self._step), byref(port))

    def answer(self, data: bytes, peer: bytes, now: float) -> bytes | None:
        """What the step says to one packet by itself; None: it leaves it to Python.  For tests."""
        room = (c_uint8 * _REPLY)()
        size = self._answer(
            byref(self._step), data, ctypes.c_size_t(len(data)), peer, ctypes.c_size_t(len(peer)), c_double(now), room
        )
        return None if size == _LEFT else bytes(room[:size])


def _held(data: Any) -> Any:
    """A ctypes array over the octets of `data`: in place where they can be written, else a copy."""
    view = memoryview(data).cast("B")
    kind = c_uint8 * len(view)
    return kind.from_buffer_copy(view) if view.readonly else kind.from_buffer(view)


def _partitions(plan: Plan, held: Any) -> Any:
    found = (_Partition * max(1, len(plan.partitions)))()
    for one, partition in zip(found, plan.partitions, strict=False):
        for family in (4, 6):
            ranges = partition.ranges4 if family == 4 else partition.ranges6
            for name in ("starts", "answers", "scopes"):
                setattr(one, f"{name}{family}", held(getattr(ranges, name)))
            setattr(one, f"count{family}", len(ranges.starts))
        one.index4 = held(array("I", bytes(4 * 65537)))
    return found
