"""The text form of a zone, RFC 1035 section 5.1, taken apart into entries: words, each with its line.

Parentheses join lines, `;` starts a comment, quotes keep blanks, `\\DDD` is an octet and `\\X` is X.  What the words
mean is static.py's affair.

Rejected: dnslib's own ZoneParser, which loses line numbers, reads `\\DDD` as octal, stops at the first fault, and takes
`TTL CLASS` in one order only; we hand dnslib the words of one record at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mirrornet.model.problem import Problem

_BLANK = " \t\r\f\v"
_ENDS_WORD = _BLANK + '\n;()"'


@dataclass(frozen=True, slots=True)
class Word:
    """`value`: the octets meant; `escaped`: a backslash made some of them, so they are not what a name could say."""

    value: bytes
    quoted: bool = False
    escaped: bool = False

    @property
    def text(self) -> str:
        return self.value.decode("utf-8", "replace")


@dataclass(slots=True)
class Entry:
    """One record or directive.  `line`: where it starts; `inherits`: it starts with a blank, so the last owner's."""

    line: int
    inherits: bool
    words: list[Word] = field(default_factory=list)


def entries(text: str, file: str, problems: list[Problem]) -> Iterator[Entry]:
    """All entries of `text`; what cannot be read is added to `problems`, and reading goes on with the next line."""
    at, line, size = 0, 1, len(text)
    depth, opened = 0, 0
    entry = Entry(1, text[:1] in tuple(_BLANK))
    while at < size:
        character = text[at]
        if character == "\n":
            at += 1
            line += 1
            if not depth:
                if entry.words:
                    yield entry
                entry = Entry(line, at < size and text[at] in _BLANK)
        elif character in _BLANK:
            at += 1
        elif character == ";":
            end = text.find("\n", at)
            at = size if end < 0 else end
        elif character == "(":
            depth, opened, at = depth + 1, line, at + 1
        elif character == ")":
            if not depth:
                problems.append(Problem(file, line, "a closing parenthesis without an opening one"))
            depth, at = max(0, depth - 1), at + 1
        else:
            word, at, fault = _word(text, at)
            if fault:
                problems.append(Problem(file, line, *fault))
            if not entry.words:
                entry.line = line
            entry.words.append(word)
    if depth:
        problems.append(Problem(file, opened, "a parenthesis that is never closed", "the rest of the file is lost"))
    elif entry.words:
        yield entry


def _word(text: str, at: int) -> tuple[Word, int, tuple[str, str] | None]:
    """The word that starts at `at`, where it ends, and what is wrong with it."""
    octets = bytearray()
    quoted = inside = text[at] == '"'
    escaped = False
    at += quoted
    while at < len(text):
        character = text[at]
        if character == "\n" or (not inside and character != '"' and character in _ENDS_WORD):
            break
        if character == '"':
            at += 1
            if quoted:
                return Word(bytes(octets), True, escaped), at, None
            inside = not inside  # key="value" of RFC 9460 is one word
            continue
        if character != "\\":
            octets += character.encode("utf-8", "surrogateescape")
            at += 1
            continue
        escaped = True
        digits = text[at + 1 : at + 4]
        if len(digits) == 3 and digits.isascii() and digits.isdigit() and int(digits) < 256:
            octets.append(int(digits))
            at += 4
        elif at + 1 < len(text) and text[at + 1] != "\n" and not text[at + 1].isdigit():
            octets += text[at + 1].encode("utf-8", "surrogateescape")
            at += 2
        else:
            fault = ("a backslash that escapes nothing", "write \\DDD with three decimal digits up to 255, or \\X")
            return Word(bytes(octets), quoted, escaped), at + 1, fault
    word = Word(bytes(octets), quoted, escaped)
    return word, at, ("a quoted text that does not end on its line", 'close it with "') if inside else None
