"""The page: whole, escaped, weighed, readable.  No sockets, no browser."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import lively
import pytest
from lively import EVIL, REGIONS, SNAPSHOT, VERDICTS, ZONE

import mirrornet.web.window as room
from mirrornet.data.outlines import HEIGHT, WIDTH
from mirrornet.model.override import Action, Override
from mirrornet.model.place import Place
from mirrornet.model.regions import Regions
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror
from mirrornet.web.status import Change, Snapshot, ZoneStatus
from mirrornet.web.window.marks import shape
from mirrornet.web.window.page import render
from mirrornet.web.window.sparing import Spared
from mirrornet.web.window.words import moment, percent
from mirrornet.web.window.worldmap import TINTS, point, spots

FILES = Path(room.__file__).parent
STYLE = (FILES / "style.css").read_text()
(STATUS,) = SNAPSHOT.zones


def shown(status: ZoneStatus = STATUS, **changes: object) -> str:
    return render(replace(SNAPSHOT, zones=(replace(status, **changes),)))  # type: ignore[arg-type]


class Reader(HTMLParser):
    """Demands that every element that is opened is closed in order, and that no id is there twice."""

    VOID = frozenset({"meta", "link", "input", "wbr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == [] and len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on") and name != "style"  # nothing inline
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action") and tag != "a":
                self.sources.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_fetches_nothing_from_elsewhere() -> None:
    page = Reader(render(SNAPSHOT))
    assert page.tags.count("script") == 1 and page.tags.count("style") == 0
    assert all(re.fullmatch(r"#?[\w./-]+", source) and "//" not in source for source in page.sources)
    assert page.text.count(EVIL) == 5  # reasons of an override, a verdict, a past change, a vantage (twice): as text


def test_everything_of_a_mirror_is_in_the_table() -> None:
    text = Reader(render(SNAPSHOT)).text
    for said in (
        "7 of 10 mirrors usable", "promised for 60.0 s more", "no TCP connection within 3.0 s; 3 of 3 bad probes",
        "drain by 5 % a minute, said 15 min ago by ops, until 2026-09-21 16:13:20 UTC: new disks at 14:00",
        "25 % of it", "version 41, the newest is 42", "32 min", "HTTP status 503", "3 flips", "590 ms", "45 %",
        "<0.1 %", "DE 60 %", "9 more", "nobody near", "plan generation 17, made 6 min ago",
        "certificate ends 2026-09-25 14:13:20 UTC", "metadata ends: root 2.0 h ago, timestamp in 3.0 d",
        "turn places awayashburn",
    ):  # fmt: skip
        assert said in text, said


def test_a_mirror_that_is_missing_from_some_answers_says_why() -> None:
    bare = replace(ZONE.mirrors[0], addresses=())
    apart = {"tokyo": replace(VERDICTS["tokyo"], serves_select=False)}
    one = replace(VERDICTS["tokyo"], families=frozenset({4}), barred={"AS64500": "3 vantages cannot reach it"})
    assert "in SRV and URI only" in shown(zone=replace(ZONE, mirrors=(bare,)), verdicts={})
    assert "not in A and AAAA" in shown(verdicts=apart)
    said = shown(verdicts={"tokyo": one})
    assert "silent over IPv6" in said and "out of reach for AS64500: 3 vantages cannot reach it" in said


def test_the_alarm_is_raised_when_no_mirror_is_usable_and_before_the_first_answer() -> None:
    down = {mirror.name: Verdict(State.DOWN, 1.0) for mirror in ZONE.mirrors}
    assert "No mirror of inetboot.example is usable" in shown(verdicts=down)
    calm = replace(SNAPSHOT, sharing=None, zones=(replace(STATUS, expiries={"root": lively.NOW + 1}),))
    assert 'class="alarm"' not in render(calm)
    assert "root of inetboot.example's repository ended 2.0 h ago: sign it anew." in Reader(render(SNAPSHOT)).text
    assert SNAPSHOT.plan is not None
    over = Reader(render(replace(SNAPSHOT, plan=replace(SNAPSHOT.plan, overload=1.52)))).text
    assert "The rest cannot carry the load: ashburn, up to 1.5 times what may be." in over
    lump = render(replace(SNAPSHOT, plan=replace(SNAPSHOT.plan, overload=1 + 2**-16)))
    assert "cannot carry" not in lump  # "up to 1.0 times what may be" would alarm nobody to any purpose
    early = Snapshot(now=1.0, started=0.0, zones=(), not_ready="the first round of probes is not over")
    assert "No answers yet: the first round of probes is not over" in Reader(render(early)).text


def test_other_eyes_are_named_with_what_they_say() -> None:
    text = Reader(render(SNAPSHOT)).text
    for said in (
        "a quorum is more than half of those heard", "This server is ns1.", "Vantage evil1 is not believed: signed",
        "others move 12 % of the weight, 30 % at most; stopped there: tokyo.", "fra1DE", "4 s ago", "tokyo: down",
        "12 min ago; its votes have expired", "never; not believed: signed by nobody",
    ):  # fmt: skip
        assert said in text, said
    assert SNAPSHOT.sharing is not None
    gone = replace(SNAPSHOT.sharing, trouble="connection refused", quorum=2, outvoted=("tokyo: up",), vantages=())
    text = Reader(render(replace(SNAPSHOT, sharing=gone))).text
    assert "goes by its own eyes: connection refused" in text and "and outvoted on tokyo: up" in text
    assert "Other eyes" not in render(replace(SNAPSHOT, sharing=None))


def test_a_zone_without_regions_or_places_has_a_page_too() -> None:
    mirrors = (Mirror("nowhere", "https://x.example/"), Mirror("land", "http://y.example:81/a", place=Place(0, "FR")))
    text = Reader(shown(ZoneStatus(replace(ZONE, mirrors=mirrors), {}))).text
    assert "place unknown" in text and "unknown" in text and "0 of 2 mirrors usable" in text
    Reader(shown(ZoneStatus(replace(ZONE, mirrors=()), {})))
    Reader(shown(regions={"select": Regions()}))


def test_shares_of_an_older_plan_are_said_to_be_so() -> None:
    assert "is being reckoned" not in render(SNAPSHOT)
    assert "(v6), by plan 16: plan 17 is being reckoned" in shown(surveyed=16)
    assert "is being reckoned" not in shown(surveyed=0, regions={})


def test_each_select_has_its_map_and_its_shares() -> None:
    selects = (*ZONE.select, replace(ZONE.select[0], name="boot"))
    boot = Regions({4: {"sydney": 1.0}, 6: {}}, {"JP": {"sydney": 1.0}})
    page = shown(zone=replace(ZONE, select=selects), regions={"select": REGIONS, "boot": boot})
    text = Reader(page).text
    assert page.count('class="map"') == 2 and "boot.inetboot.example" in text
    assert "Japan: tokyo 100 %" in text and "Japan: sydney 100 %" in text
    assert re.search(r"sydney.*?select5.8 %v6 0 %boot100 %v6 0 %", text)
    assert "boot–" in Reader(shown(zone=replace(ZONE, select=selects))).text  # not reckoned yet


def test_names_of_mirrors_cannot_break_out() -> None:
    evil = Mirror('x"><script>', 'http://x.example/"onclick="', place=Place(0, "FR", 48.0, 2.0))
    page = Reader(shown(ZoneStatus(replace(ZONE, mirrors=(evil,)), {}, changes={evil.name: (Change(0.0, State.UP),)})))
    assert page.tags.count("script") == 1


def test_times_and_shares_of_any_size() -> None:
    assert [percent(x) for x in (0, 0.0001, 0.001, 0.0949, 0.0996, 0.5, 1)] == [
        "0 %", "<0.1 %", "0.1 %", "9.5 %", "10 %", "50 %", "100 %",
    ]  # fmt: skip
    assert "1970-01-01 00:00:00 UTC" in moment(0.0)
    assert moment(1e300) == moment(float("nan")) == moment(float("inf")) == "–"
    far = Override(ZONE.name, "tokyo", Action.FORCE_UP, 0.0, 2.0**60)
    assert "until –" in shown(verdicts={"tokyo": replace(VERDICTS["tokyo"], override=far)})


def test_every_state_has_a_shape_and_a_colour_of_its_own() -> None:
    assert len({shape(str(state)) for state in State}) == len(State)
    for state in State:
        assert f"{state}</span>" in shown(verdicts={"tokyo": Verdict(state, 1.0)})


def test_mirrors_lie_where_they_are_and_neighbours_differ_in_tint() -> None:
    found = {spot.name: spot for spot in spots(STATUS)}
    assert found["sanjose"].x < found["ashburn"].x < found["frankfurt"].x < found["tokyo"].x
    assert found["sydney"].y > found["singapore"].y > found["tokyo"].y
    near = [("frankfurt", "amsterdam"), ("ashburn", "sanjose"), ("singapore", "mumbai"), ("tokyo", "singapore")]
    assert all(found[a].tint != found[b].tint for a, b in near)
    assert all(0 <= spot.x <= WIDTH and 0 <= spot.y <= HEIGHT for spot in found.values())
    assert point(Place()) is None and point(Place(0, "ZZ")) is None


def test_mirrors_in_one_place_lie_side_by_side() -> None:
    same = tuple(Mirror(f"m{n}", "http://x.example/", place=Place(0, "DE", 50.11, 8.68)) for n in range(5))
    at = [spot.x for spot in spots(ZoneStatus(replace(ZONE, mirrors=same), {}))]
    assert all(b - a >= 20 for a, b in pairwise(at))


def test_very_many_mirrors_in_one_place_stay_on_the_map() -> None:
    same = tuple(Mirror(f"m{n}", "http://x.example/", place=Place(0, "NZ", -40.0, 179.0)) for n in range(500))
    found = spots(ZoneStatus(replace(ZONE, mirrors=same), {}))
    assert len(found) == 500 and all(0 <= spot.x <= WIDTH and 0 <= spot.y <= HEIGHT for spot in found)


def test_a_country_tells_who_serves_it() -> None:
    page = render(SNAPSHOT)
    assert "<title>Germany: frankfurt 60 %, amsterdam 40 %</title>" in page
    tints = {spot.name: spot.tint for spot in spots(STATUS)}
    assert f'<use href="#land-DE" class="tint{tints["frankfurt"]}" data-by="frankfurt">' in page


def names(page: str, size: str) -> list[tuple[float, float, float, float]]:
    group = re.search(rf'<g class="names {size}"[^>]*>(.*?)</g>', page)
    assert group
    height = {"wide": 27, "narrow": 62}[size]
    found = []
    for x, y, anchor, name in re.findall(r'<text x="(-?\d+)" y="(-?\d+)" text-anchor="(\w+)">([^<]*)', group[1]):
        width = len(name) * height * 0.58
        left = float(x) - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
        found.append((left, float(y) - height, left + width, float(y)))
    return found


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_names_do_not_overlap_nor_leave_the_map(size: str) -> None:
    mirrors = tuple(
        Mirror(f"mirror-{n}", "http://x.example/", place=Place(0, "DE", -50.0 + n, -175.0 + 7 * n % 350))
        for n in range(50)
    )
    for page in (render(SNAPSHOT), shown(ZoneStatus(replace(ZONE, mirrors=(*ZONE.mirrors, *mirrors)), VERDICTS))):
        boxes = names(page, size)
        assert len(boxes) >= 9
        for n, a in enumerate(boxes):
            assert a[0] >= -1 and a[1] >= -1 and a[2] <= WIDTH + 1 and a[3] <= HEIGHT
            for b in boxes[n + 1 :]:
                assert a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 1 or b[3] <= a[1] + 1


def test_the_page_is_light() -> None:
    """300 KB in all, before compression, for ten mirrors; five hundred are no more than four times that."""
    files = sum((FILES / name).stat().st_size for name in ("style.css", "window.js", "icon.svg"))
    assert len(render(SNAPSHOT).encode()) + files < 150_000
    zones = tuple(replace(STATUS, zone=replace(ZONE, name=f"zone{n}.example")) for n in range(6))
    assert len(render(replace(SNAPSHOT, zones=zones)).encode()) + files < 300_000  # outlines are there once
    many = tuple(replace(m, name=f"{m.name}-{n}") for n in range(50) for m in ZONE.mirrors)
    regions = Regions(REGIONS.shares, {c: {f"{m}-{n}": s / 50 for m, s in by.items() for n in range(50)}
                                       for c, by in REGIONS.countries.items()})  # fmt: skip
    page = shown(ZoneStatus(replace(ZONE, mirrors=many), {}, regions={"select": regions}))
    assert len(page.encode()) < 1_200_000


def test_a_page_that_is_dear_is_not_drawn_for_each_who_asks() -> None:
    now, drawn, cost = [1000.0], [0], [3.0]

    def draw() -> str:
        if cost[0] < 0:
            raise RuntimeError("a bug")
        now[0] += cost[0]
        drawn[0] += 1
        return f"page {drawn[0]}"

    page = Spared(draw, 9.0, lambda: now[0])
    assert [page.get() for _ in range(5)] == ["page 1"] * 5
    now[0] += 26.9
    assert page.get() == "page 1"
    now[0] += 0.1
    cost[0] = -1.0
    for _ in range(2):  # a bug is the caller's each time, and not kept
        with pytest.raises(RuntimeError):
            page.get()
    cost[0] = 0.0
    assert [page.get(), page.get()] == ["page 2", "page 3"]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(theme: int, one: str, other: str) -> float:
    a, b = (luminance(re.findall(rf"--{name}: (#\w{{6}})", STYLE)[theme]) for name in (one, other))
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "soft", "good", "fair", "poor", "link"])
def test_colours_can_be_read(theme: int, name: str) -> None:
    """WCAG 2.2, 1.4.3: text has a contrast of at least 4.5 to 1 against what it lies on."""
    for paper in ("paper", "card"):
        assert contrast(theme, name, paper) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_marks_and_names_stand_out_from_every_tint(theme: int) -> None:
    """WCAG 2.2, 1.4.11: 3 to 1 for what has to be seen; names on the map are text: 4.5 to 1."""
    for ground in ("sea", "land", *(f"tint{n}" for n in range(TINTS))):
        for name in ("good", "fair", "poor", "asked"):
            assert contrast(theme, name, ground) >= 3, (name, ground)
        assert contrast(theme, "ink", ground) >= 4.5, ground


def test_the_helper_shows_what_is_to_be_seen() -> None:
    assert len({verdict.state for verdict in lively.VERDICTS.values()}) >= 6
