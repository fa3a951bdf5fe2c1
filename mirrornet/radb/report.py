"""What an import saw, kept, mended and rejected, for a person and as JSON.  Nothing is lost silently.

Counts are exact; samples are bounded (SAMPLES a reason and file, CLASSES names of classes), because a hostile dump may
hold a million different faults, and a person reads five.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from mirrornet.radb.fetching.limits import Version
from mirrornet.radb.sets.section import SetsReport

SAMPLES: Final = 5
CLASSES: Final = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """One rejected object: where it is and how it begins."""

    file: str
    line: int
    text: str


@dataclass(slots=True)
class Rejects:
    """All objects rejected for one reason."""

    count: int = 0
    samples: list[Sample] = field(default_factory=list)


@dataclass(slots=True)
class FileReport:
    """One dump or file of statistics.  `bytes_read` before, `bytes_unpacked` after gunzip; `seconds` of reading."""

    name: str
    bytes_read: int = 0
    bytes_unpacked: int = 0
    objects: int = 0
    seconds: float = 0.0
    version: Version | None = None  # what a server said of its edition


@dataclass(slots=True)
class ImportReport:
    """The whole import.  `objects[source][class]` counts every object seen, rejected ones included."""

    files: list[FileReport] = field(default_factory=list)
    objects: dict[str, Counter[str]] = field(default_factory=dict)
    mended: Counter[str] = field(default_factory=Counter)
    rejected: dict[str, Rejects] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    routes: dict[str, int] = field(default_factory=dict)  # "4", "6": prefixes with an origin
    ranges: dict[str, int] = field(default_factory=dict)
    places: int = 0
    conflicts: int = 0
    conflict_samples: list[str] = field(default_factory=list)
    rpki_valid: int = 0  # routes that a VRP confirms
    rpki_invalid: int = 0  # routes that one contradicts: dropped
    rpki_stand_ins: int = 0  # VRPs taken for a route that nobody registered
    rpki_samples: list[str] = field(default_factory=list)  # of the dropped ones
    sets: SetsReport = field(default_factory=SetsReport)
    bytes_written: int = 0
    seconds: float = 0.0
    nothing_new: bool = False  # all inputs are as they were, so the old table stands

    def count(self, source: str, class_name: str, number: int = 1) -> None:
        """`number` more objects of this class and source ("" where they name none)."""
        classes = self.objects.setdefault(source if len(self.objects) < CLASSES else "(others)", Counter())
        classes[class_name if class_name in classes or len(classes) < CLASSES else "(others)"] += number

    def reject(self, reason: str, file: str, line: int, text: bytes) -> None:
        """One more object rejected for `reason`; its beginning is kept where there is room for a sample."""
        rejects = self.rejected.setdefault(reason, Rejects())
        rejects.count += 1
        if len(rejects.samples) < SAMPLES:
            first = text.lstrip(b"\n").partition(b"\n")[0][:100]
            rejects.samples.append(Sample(file, line, " ".join(first.decode("utf-8", "backslashreplace").split())))

    @property
    def object_count(self) -> int:
        return sum(sum(classes.values()) for classes in self.objects.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        plain["sets"] = self.sets.as_dict()
        plain["files"] = [asdict(file) for file in self.files]
        plain["objects"] = {source: dict(classes) for source, classes in self.objects.items()}
        plain["rejected"] = {reason: asdict(rejects) for reason, rejects in self.rejected.items()}
        return plain

    def summary(self) -> list[str]:
        """The report in a few lines for a person."""
        if self.nothing_new:
            return ["nothing new: every dump and file is as it was when the table was made (--force imports anyhow)"]
        sources = "1 source" if len(self.objects) == 1 else f"{len(self.objects)} sources"
        lines = [f"{self.object_count:,} objects of {sources} in {self.seconds:.1f} s"]
        for source, classes in sorted(self.objects.items()):
            counts = ", ".join(f"{number:,} {name or '(nameless)'}" for name, number in classes.most_common(6))
            lines.append(f"  {source or '(no source)'}: {counts}")
        lines.extend(f"mended: {number:,} × {what}" for what, number in self.mended.most_common())
        for reason, rejects in sorted(self.rejected.items(), key=lambda item: -item[1].count):
            sample = rejects.samples[0]
            lines.append(f"rejected: {rejects.count:,} × {reason}, such as {sample.file}:{sample.line}: {sample.text}")
        if self.conflicts:
            lines.append(f"{self.conflicts:,} prefixes have several origins, such as {self.conflict_samples[0]}")
        if self.rpki_valid or self.rpki_invalid or self.rpki_stand_ins:
            lines.append(
                f"RPKI: {self.rpki_valid:,} routes valid, {self.rpki_invalid:,} invalid and dropped"
                + (f", such as {self.rpki_samples[0]}" if self.rpki_samples else "")
                + f"; {self.rpki_stand_ins:,} prefixes known from VRPs alone"
            )
        lines.extend(self.sets.lines())
        lines.extend(f"warning: {warning}" for warning in self.warnings)
        routes, ranges = self.routes, self.ranges
        lines.append(f"{routes.get('4', 0):,} IPv4 and {routes.get('6', 0):,} IPv6 prefixes have an origin")
        lines.append(
            f"{ranges.get('4', 0):,} IPv4 and {ranges.get('6', 0):,} IPv6 ranges, {self.places:,} places, "
            f"{self.bytes_written / 1e6:.1f} MB"
        )
        return lines
