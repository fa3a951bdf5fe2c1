"""What `status` tells a person of one mount, in 80 columns: first what it is, what wants attention, how it goes.

    /mnt: debian version 6 from select.example.net
      up 3.0 h, 2 open, pid 4242; the metadata is good for 6.0 d
      version 7 is out: 34 new blocks, 0.9 MiB, about 2.0 s at the rate measured
      boots offline: yes (profile 264 of 264)
      mirrors
        tokyo   in use         12 ms   24.0 MiB/s   1,204 blocks
        paris   out for 12 s   90 ms    8.1 MiB/s      17 blocks
                blamed: 3 slow; last: silent while another mirror had the block
      reads    1,221 blocks from mirrors, 331 from disk, 5,120 from memory
               longest stall 85 ms, 3 hedges, 0 errors
      cache    /var/cache/mirrornet: 1.2 GiB of 10.0 GiB, 21.0 MiB pinned

Pure: from what the mount answered to text.  A field that an older or newer mount does not tell is passed over.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable
from typing import Any, Final

from mirrornet.model.units import format_duration, format_size

WIDTH: Final = 80
_LABEL: Final = 9  # columns of the labels "reads", "cache"


def text(status: dict[str, Any], now: float) -> str:
    """One mount's status as a person reads it.  `now`: Unix time."""
    if "mirrors" not in status:
        return f"{status['mountpoint']}: {status.get('error', 'not ready yet')}"
    lines = [*_head(status, now), *_attention(status), *_mirrors(status["mirrors"]), *_reads(status)]
    lines += _cache(status["cache"])
    return "\n".join(lines)


def _head(status: dict[str, Any], now: float) -> Iterable[str]:
    view = f"{status['mountpoint']}: {status['image']} version {status['version']} from {status['source']}"
    yield view + (", offline" if status["offline"] else "") + (", leaving" if status.get("leaving") else "")
    left = status["metadata_expires"] - now
    good = f"is good for {format_duration(left)}" if left > 0 else f"expired {format_duration(-left)} ago"
    handles = f", {status['open_handles']} open" if "open_handles" in status else ""
    yield from _wrapped(f"up {format_duration(status['uptime'])}{handles}, pid {status['pid']}; the metadata {good}")
    if status.get("overlay"):
        yield from _wrapped(f"writable: what is written is kept in {status['overlay']}")
    if status.get("no_cloop"):
        yield from _wrapped(f"no {status['image']}.cloop: {status['no_cloop']}")


def _attention(status: dict[str, Any]) -> Iterable[str]:
    """What somebody may want to do something about."""
    for warning in status["warnings"]:
        yield from _wrapped(f"warning: {warning}")
    if status["network_down"]:
        yield from _wrapped("no mirror answers: the network seems to be down")
    if status["name_server"]:
        yield from _wrapped(f"name server: {status['name_server']}")
    following = status.get("following") or {}
    if following.get("next"):
        yield from _wrapped(next_version(following["next"], status["version"]))
    if following.get("failed"):
        yield from _wrapped(f"newer versions could not be looked for: {following['failed']}")
    if status.get("profile"):
        lacks = [kind for kind, here in status.get("guest_files", {}).items() if not here]
        yield from _wrapped(boots_offline(status["profile"], status.get("holding"), lacks))


def next_version(found: dict[str, Any], mounted: int) -> str:
    """One sentence about a newer version."""
    line = f"version {found['version']} is out"
    if found.get("rollback_of"):
        line += f" (again what version {found['rollback_of']} was)"
    blocks, size, here, left = found["blocks"], found["bytes"], found["here"], found["left"]
    if blocks is not None:
        line += f": {_counted(blocks, 'new block')}, {format_size(size)}"
    elif size is not None:
        line += f": {format_size(size)}"
    if blocks and here == blocks:
        line += ", all of them here"
    else:
        if blocks and here:
            line += f"; {here:,} are here, {format_size(left)} are missing"
        if found["seconds"]:
            line += f", about {format_duration(found['seconds'])} at the rate measured"
    return f"{line}; mounted stays version {mounted}"


def boots_offline(profile: dict[str, Any], holding: dict[str, Any] | None = None, lacks: Collection[str] = ()) -> str:
    """Whether what a boot touches is here, and how much of the image is.

    `lacks`: which of the files that `mirrornet boot` starts a guest with are not.
    """
    blocks, cached = profile.get("blocks"), profile.get("cached")
    if lacks:
        return (
            f"boots offline: no, not by `mirrornet boot`, of whose files {', '.join(lacks)} "
            f"{'is' if len(lacks) == 1 else 'are'} not here; mirrornet pull --profile-only brings what is missing"
        )
    if holding and holding["complete"]:
        return "boots offline: yes, all of the image is here" + (
            f" (profile {blocks:,} of {blocks:,})" if blocks else ""
        )
    of_all = f"; {_percent(holding)} of the image is here" if holding else ""
    if profile.get("from") in (None, "none"):
        return f"boots offline: not known, there is no profile{of_all}"
    if not blocks or cached is None:
        return f"boots offline: not known yet{of_all}"
    count = f"(profile {cached:,} of {blocks:,})"
    if cached == blocks:
        return f"boots offline: yes {count}{of_all}"
    return f"boots offline: no {count}{of_all}; mirrornet pull --profile-only brings what is missing"


def _percent(holding: dict[str, Any]) -> str:
    """Rounded down: 100 % is all of it."""
    return f"{100 * holding['here'] // max(1, holding['bytes'])} %"


def _mirrors(mirrors: list[dict[str, Any]]) -> Iterable[str]:
    if not mirrors:
        return
    yield "  mirrors"
    rows = [
        (
            mirror["name"],
            _state(mirror),
            "" if mirror["first_byte_ms"] is None else f"{mirror['first_byte_ms']:.0f} ms",
            f"{format_size(rate)}/s" if (rate := mirror.get("line_rate") or mirror["rate"]) else "",
            _counted(mirror["blocks"], "block"),
        )
        for mirror in mirrors
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row, mirror in zip(rows, mirrors, strict=True):
        first = f"    {row[0]:<{widths[0]}}   {row[1]:<{widths[1]}}"
        yield first + "".join(f"   {row[column]:>{widths[column]}}" for column in (2, 3, 4))
        pad = " " * (7 + widths[0])
        if blames := ", ".join(f"{count} {blame}" for blame, count in mirror["blames"].items()):
            yield from _wrapped(f"blamed: {blames}; last: {mirror['last_blame']}", pad)
        if mirror["url"].partition("://")[2].rstrip("/") != mirror["name"]:
            yield pad + mirror["url"]


def _state(mirror: dict[str, Any]) -> str:
    state: str = mirror["state"]
    if not mirror["offered"]:
        return "no longer offered"
    if mirror.get("out_for"):
        return f"{state}, {format_duration(mirror['out_for'])} more"
    if state == "in use" and (share := mirror.get("share", 1.0)) < 1:
        return f"back, {share:.0%} of its share"
    return state


def _reads(status: dict[str, Any]) -> Iterable[str]:
    reads = status["reads"]
    zero = f", {reads['zero']:,} of zeroes" if reads["zero"] else ""
    yield from _labelled(
        "reads",
        f"{_counted(reads['network'], 'block')} from mirrors, {reads['disk']:,} from disk, "
        f"{reads['memory']:,} from memory{zero}",
        f"longest stall {format_duration(reads['longest_stall'])}, {_counted(status['hedges'], 'hedge')}, "
        f"{_counted(reads['errors'], 'error')}",
        *([f"last error: {reads['last_error']}"] if reads["last_error"] else []),
    )


def _cache(cache: dict[str, Any]) -> Iterable[str]:
    pinned = f", {format_size(cache['pinned'])} pinned" if cache.get("pinned") else ""
    lines = [f"{cache['folder']}: {format_size(cache['bytes'])} of {format_size(cache['quota'])}{pinned}"]
    past = [
        *([f"{_counted(cache['corrupt'], 'corrupt block')} fetched again"] if cache["corrupt"] else []),
        *([f"{_counted(cache['evicted'], 'block')} gone for room"] if cache["evicted"] else []),
    ]
    if past:
        lines.append(", ".join(past))
    if cache["refused"]:
        lines.append(f"nothing is kept at present: {cache['refused']}")
    yield from _labelled("cache", *lines)


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _labelled(label: str, *lines: str) -> Iterable[str]:
    pad = " " * (2 + _LABEL)
    found = [piece for line in lines for piece in _wrapped(line, pad)]
    found[0] = f"  {label:<{_LABEL}}" + found[0][len(pad) :]
    return found


def _wrapped(line: str, indent: str = "  ") -> list[str]:
    """`line` in WIDTH columns; what has no spaces (a URL, a path) stays whole."""
    return textwrap.wrap(
        line, WIDTH, initial_indent=indent, subsequent_indent=indent + "  " * (indent == "  "),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
