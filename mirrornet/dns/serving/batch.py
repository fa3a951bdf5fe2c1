"""UDP in batches: one recvmmsg(2) brings up to 64 queries, one sendmmsg(2) takes their replies away.

Python's socket module has neither, and a system call, a tuple and an address in text for each datagram cost as much as
the answer itself.  So both are called through ctypes, into buffers that are laid out once: a header, a name, an iovec,
room for IP_PKTINFO and room for the datagram per slot, each with its pointers set for good.  A turn then touches one
number per query (its length) and one per reply.

The slots of replies are the slots of queries as long as everybody gets a reply; where one gets none, the next replies
move up, and their headers are pointed to the name they answer.  A reply the kernel refuses (its route is gone, say) is
counted and passed over, as a resolver would rather wait for its own timeout than keep others waiting.

Rejected: a header built per packet (a microsecond each through ctypes); replies sent from where Python keeps them
(`id(reply) + 32` works, in this one interpreter, and saves 0.05 µs).  Held equal to datagrams.py by the tests of
the transport, which run over both.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from ctypes import POINTER, Structure, c_char, c_int, c_size_t, c_uint, c_void_p
from time import perf_counter
from typing import Any, Final

from mirrornet.dns.serving import counters
from mirrornet.dns.serving.datagrams import BATCH, QUERY, Respond, Turn, anywhere, echoed

_REPLY: Final = 2048  # octets of room for a reply, more than wire.UDP_MAXIMUM
_ODD: Final = 64  # octets between slots: buffers a page apart would share one line of the processor's cache


class _Iovec(Structure):
    _fields_ = (("base", c_void_p), ("length", c_size_t))


class _Header(Structure):  # struct mmsghdr of sendmmsg(2), as Linux has it where a pointer has 64 bits
    _fields_ = (
        ("name", c_void_p),
        ("name_length", c_uint),
        ("vector", POINTER(_Iovec)),
        ("vector_length", c_size_t),
        ("control", c_void_p),
        ("control_length", c_size_t),
        ("flags", c_int),
        ("_to_a_multiple_of_8", c_int),  # struct msghdr ends here
        ("length", c_uint),
    )


_WORDS: Final = ctypes.sizeof(_Header) // 8  # of 64 bits in a header
_LENGTH: Final = _Header.length.offset // 4
_NAME, _CONTROL = _Header.name.offset // 8, _Header.control.offset // 8
_CMSG: Final = 16  # octets of struct cmsghdr before its data


def _calls() -> tuple[Any, Any] | None:
    """(recvmmsg, sendmmsg), where this system has them in the layout above.

    PyDLL: neither call waits, so the interpreter lock is not given away and taken back for it.
    """
    if sys.platform != "linux" or ctypes.sizeof(c_void_p) != 8:
        return None
    library = ctypes.PyDLL(None)
    try:
        receive, send = library.recvmmsg, library.sendmmsg
    except AttributeError:
        return None
    receive.argtypes = [c_int, c_void_p, c_uint, c_int, c_void_p]
    send.argtypes = [c_int, c_void_p, c_uint, c_int]
    return receive, send


_CALLS: Final = _calls()


def supported() -> bool:
    """Whether recvmmsg and sendmmsg are there."""
    return _CALLS is not None


class _Slots:
    """Headers and buffers for a batch; `data` octets of room each.  Everything stays where it is."""

    def __init__(self, data: int, name: int, control: int) -> None:
        self.stride = data + _ODD
        self.name_size, self.control_size = name, control
        self.headers = (_Header * BATCH)()
        self.vectors = (_Iovec * BATCH)()
        self.data = (c_char * (self.stride * BATCH))()
        self.names = (c_char * (name * BATCH))()
        self.controls = (c_char * (max(control, 1) * BATCH))()
        first_data, first_name = ctypes.addressof(self.data), ctypes.addressof(self.names)
        self.first_control = ctypes.addressof(self.controls)
        self.first_name = first_name
        for number in range(BATCH):
            self.vectors[number].base = first_data + number * self.stride
            self.vectors[number].length = data
            header = self.headers[number]
            header.name, header.name_length = first_name + number * name, name
            header.vector = ctypes.pointer(self.vectors[number])
            header.vector_length = 1
            if control:
                header.control, header.control_length = self.first_control + number * control, control
        self.address = ctypes.addressof(self.headers)


def turn(sock: socket.socket, counts: list[int]) -> Turn:
    """The turn of the non-blocking UDP socket `sock`, as in datagrams.py.  Only where supported()."""
    if _CALLS is None:
        raise RuntimeError("this system has no recvmmsg")
    receive, send = _CALLS
    old = sock.family == socket.AF_INET
    name_size, peer_at, peer_end = (16, 4, 8) if old else (28, 8, 24)  # sockaddr_in, sockaddr_in6
    info_size = 12 if old else 20
    control = socket.CMSG_SPACE(info_size) if anywhere(sock) else 0
    queries = _Slots(QUERY, name_size, control)
    replies = _Slots(_REPLY, name_size, control)
    for number in range(BATCH):  # each reply goes to the name of the query in the same slot, for now
        replies.headers[number].name = queries.headers[number].name
        replies.headers[number].control = queries.headers[number].control
    pristine = bytes(queries.headers)
    header_octets = memoryview(queries.headers).cast("B")
    lengths = memoryview(queries.headers).cast("B").cast("I")[_LENGTH :: 2 * _WORDS]
    reply_words = memoryview(replies.headers).cast("B").cast("Q")
    reply_sizes = memoryview(replies.vectors).cast("B").cast("Q")[1::2]
    # A slice of an array of characters is bytes, the cheapest way to get them; ctypes' types do not say so.
    data: Any = queries.data
    names: Any = queries.names
    controls = memoryview(queries.controls).cast("B")
    out = memoryview(replies.data).cast("B")
    in_stride, out_stride = queries.stride, replies.stride
    starts = range(0, in_stride * BATCH, in_stride)
    peers = range(peer_at, peer_at + name_size * BATCH, name_size)
    peer_size = peer_end - peer_at
    source = list(range(BATCH))  # which query's name each reply header points to
    file = sock.fileno()
    header_size = 8 * _WORDS

    def one_turn(respond: Respond) -> None:
        number = receive(file, queries.address, BATCH, socket.MSG_DONTWAIT, None)
        if number <= 0:  # drained; or an error that an earlier reply met, which is not ours to mend
            return
        began = perf_counter()
        counts[counters.UDP] += number
        ready = place = 0
        slot = -1
        for length, at, who in zip(lengths[:number].tolist(), starts, peers):  # noqa: B905 (the first is the shortest)
            slot += 1
            reply = respond(data[at : at + length], names[who : who + peer_size], False)
            if reply is None:
                continue
            size = len(reply)
            out[place : place + size] = reply
            reply_sizes[ready] = size
            if source[ready] != slot:
                point(ready, slot)
            ready += 1
            place += out_stride
        if control:
            for slot in source[:ready]:
                own = slot * control + _CMSG
                controls[own : own + info_size] = echoed(bytes(controls[own : own + info_size]))
        header_octets[: number * header_size] = pristine[: number * header_size]
        sent = 0
        while sent < ready:
            done = send(file, replies.address + sent * header_size, ready - sent, socket.MSG_DONTWAIT)
            if done <= 0:
                counts[counters.UNSENT] += 1
                done = 1
            sent += done
        counters.took(counts, number, perf_counter() - began)

    def point(ready: int, slot: int) -> None:
        source[ready] = slot
        reply_words[ready * _WORDS + _NAME] = queries.first_name + slot * name_size
        if control:
            reply_words[ready * _WORDS + _CONTROL] = queries.first_control + slot * control

    return one_turn
