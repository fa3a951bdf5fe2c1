"""Plain prefixes and addresses of a piece, all at once: where the signs stand, then the numbers between them.

A plain IPv4 prefix has four decimal numbers without zeros in front and a length; it fits in three words of eight bytes.
Which of these bytes are dots, slashes and no digits are three sets of 24 bits, from which the offsets follow by
counting.  A plain IPv6 prefix is one to four groups of hexadecimal digits, "::", a slash and a length: so 99 % of all
route6 objects are written, and it says nothing of the lower 64 bits.  What looks otherwise is left to the exact reader.

All functions take arrays of offsets and return arrays as long: values, lengths, and which of them are plain.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mirrornet.radb.reading.text import I64, Mask, Text, every, gathered, lowest, zero_bytes
from mirrornet.radb.records import U8, U64

_WORDS: Final = 3  # 24 bytes: "2620:0:2d0:200::/64" and "255.255.255.255/32" fit
_ONE = np.uint64(1)
_LOW_BITS = every(0x7F)
_SHORTEST = np.array([0, 0, 10, 100], np.uint64)  # a number of so many digits is no less


def prefixes4(text: Text, at: I64, end: I64) -> tuple[U64, U8, Mask]:
    """The IPv4 prefixes between two offsets each."""
    words = _words(text, at)
    slash = lowest(_where(words, "/"))
    good = (slash < 16) & (slash < end - at)
    slash = np.where(good, slash, 0)
    values, plain = _dotted(text, words, at, slash)
    lengths, numbers = _length(text, at + slash, end)
    return values, lengths, good & plain & numbers & (lengths <= 32)


def addresses4(text: Text, at: I64, end: I64) -> tuple[U64, Mask]:
    """The IPv4 addresses between two offsets each."""
    size = np.minimum(end - at, 16)
    values, plain = _dotted(text, _words(text, at), at, size)
    return values, plain & (size < 16)


def prefixes6(text: Text, at: I64, end: I64) -> tuple[U64, U8, Mask]:
    """The upper 64 bits of the IPv6 prefixes between two offsets each, of lengths to 64."""
    words = _words(text, at)
    slash = lowest(_where(words, "/"))
    good = (slash < 24) & (slash < end - at)
    slash = np.where(good, slash, 0)
    values, plain = _grouped(text, words, at, slash)
    lengths, numbers = _length(text, at + slash, end)
    return values, lengths, good & plain & numbers & (lengths <= 64)


def addresses6(text: Text, at: I64, end: I64) -> tuple[U64, Mask]:
    """The upper 64 bits of the IPv6 addresses between two offsets each; plain ones end in "::"."""
    size = np.minimum(end - at, 24)
    values, plain = _grouped(text, _words(text, at), at, size)
    return values, plain & (size < 24)


def _words(text: Text, at: I64) -> list[U64]:
    return [text.words[at + 8 * number] for number in range(_WORDS)]


def _where(words: list[U64], sign: str) -> U64:
    """Which of the bytes are `sign`, as 24 bits."""
    found = np.zeros(len(words[0]), np.uint64)
    for number, word in enumerate(words):
        found |= gathered(zero_bytes(word ^ every(ord(sign)))) << np.uint64(8 * number)
    return found


def _others(words: list[U64], hexadecimal: bool) -> U64:
    """Which of the bytes are no digits, as 24 bits."""
    found = np.zeros(len(words[0]), np.uint64)
    for number, word in enumerate(words):
        digit = word ^ every(0x30)  # 0 to 9
        other = (digit & _LOW_BITS) + every(0x76) | digit
        if hexadecimal:
            letter = (word | every(0x20)) ^ every(0x60)  # 1 to 6
            low = letter & _LOW_BITS
            other &= low + every(0x79) | letter | ~(low + _LOW_BITS)
        found |= gathered(other & every(0x80)) << np.uint64(8 * number)
    return found


def _below(bits: U64, count: I64) -> U64:
    below: U64 = bits & ((_ONE << count.astype(np.uint64)) - _ONE)
    return below


def _dotted(text: Text, words: list[U64], at: I64, size: I64) -> tuple[U64, Mask]:
    dots = _below(_where(words[:2], "."), size)
    plain = (np.bitwise_count(dots) == 3) & (_below(_others(words[:2], False), size) == dots) & (at >= 8)
    values, before = np.zeros(len(at), np.uint64), np.full(len(at), -1)
    for place in range(4):
        dot = np.where(plain, lowest(dots), 8) if place < 3 else size
        dots &= dots - _ONE
        digits = dot - before - 1
        plain &= (digits >= 1) & (digits <= 3)
        digits = np.where(plain, digits, 3)
        spare = (3 - digits).astype(np.uint64) << np.uint64(3)
        three = (text.words[np.maximum(at + dot - 8, 0)] >> np.uint64(40) & np.uint64(0x0F0F0F)) >> spare << spare
        number = (
            (three & np.uint64(15)) * np.uint64(100)
            + (three >> np.uint64(8) & np.uint64(15)) * np.uint64(10)
            + (three >> np.uint64(16))
        )
        plain &= (number >= _SHORTEST[digits]) & (number <= 255)
        values = values << np.uint64(8) | number
        before = dot
    return values, plain


def _grouped(text: Text, words: list[U64], at: I64, size: I64) -> tuple[U64, Mask]:
    colons = _below(_where(words, ":"), size)
    count = np.bitwise_count(colons).astype(np.int64)
    plain = (count >= 2) & (count <= 5) & (_below(_others(words, True), size) == colons) & (at >= 8)
    last_two = np.where(plain, size - 2, 0).astype(np.uint64)
    plain &= (size >= 3) & (colons >> last_two & np.uint64(3) == 3)
    values, before = np.zeros(len(at), np.uint64), np.full(len(at), -1)
    for place in range(4):
        inside = plain & (place < count - 1)
        colon = np.where(inside, lowest(colons), 8)
        colons &= colons - _ONE
        digits = colon - before - 1
        plain &= ~inside | (digits >= 1) & (digits <= 4)
        spare = (4 - np.where(plain & inside, digits, 4)).astype(np.uint64) << np.uint64(3)
        four = text.words[np.maximum(at + colon - 8, 0)] >> np.uint64(32) >> spare << spare
        nibbles = (four & np.uint64(0x0F0F0F0F)) + (four >> np.uint64(6) & np.uint64(0x01010101)) * np.uint64(9)
        number = np.zeros(len(at), np.uint64)
        for byte in range(4):
            number = number << np.uint64(4) | nibbles >> np.uint64(8 * byte) & np.uint64(15)
        values |= np.where(inside, number, 0) << np.uint64(48 - 16 * place)
        before = colon
    return values, plain


def _length(text: Text, slash: I64, end: I64) -> tuple[U8, Mask]:
    size = end - slash - 1
    lengths, numbers = text.number(end, np.where(size <= 2, size, 0))
    good = numbers & (lengths >= np.where(size == 1, 1, 10).astype(np.uint64))
    return np.where(good, lengths, 0).astype(np.uint8), good
