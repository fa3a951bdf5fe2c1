"""The status page in a real browser: both themes, a wide screen and a phone, without JavaScript, by keyboard alone.

Headless Chromium, driven by Playwright.  What is looked for is what a person would stumble over: something cut off,
overlapping, fetched from elsewhere, refused by our own Content-Security-Policy, or lost when the page renews itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pytest
from lively import EVIL, SNAPSHOT, VERDICTS, ZONE_NAME
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from waiting import until

from mirrornet.model.address import Address
from mirrornet.model.place import Place
from mirrornet.model.verdict import State, Verdict
from mirrornet.web.queries import Seen
from mirrornet.web.server import LIMITS, Window

WIDE, TABLET, PHONE = ({"width": width, "height": height} for width, height in ((1280, 900), (768, 1024), (390, 844)))
PATIENCE = 30_000  # milliseconds; two cores may be busy with something else
expect.set_options(timeout=PATIENCE)
WEIGHT = 300_000  # bytes, the page with all its parts, not compressed


class Server:
    """A window in a thread of its own, and all that a test may change of it."""

    def __init__(self) -> None:
        self.snapshot = SNAPSHOT
        self.queues: list[asyncio.Queue[tuple[Seen, ...]]] = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.window = Window(
            lambda: self.snapshot,
            replace(LIMITS, rate=1000.0, burst=1000.0),
            explain=self.explain,
            feed=self,
            locate=lambda zone, address: Place(0, "BR", -10.0, -55.0),
        )

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Queue[tuple[Seen, ...]]]:
        queue: asyncio.Queue[tuple[Seen, ...]] = asyncio.Queue(100)
        self.queues.append(queue)
        try:
            yield queue
        finally:
            self.queues.remove(queue)

    async def explain(self, address: Address) -> str:
        return f"select.{ZONE_NAME} for {address}\n  {'a long line ' * 30}\n  {EVIL}"

    def see(self, *mirrors: str) -> None:
        """A query, as all who look are told."""
        until(lambda: self.queues)
        seen = Seen(1.0, "udp", "192.0.2.0/24", True, f"select.{ZONE_NAME}", EVIL, "NOERROR", mirrors)
        for queue in self.queues:
            self.loop.call_soon_threadsafe(queue.put_nowait, (seen,))

    def run(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self.loop).result(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.window.port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs the program chromium")
    with sync_playwright() as playwright:
        # --no-sandbox: Chromium's own sandbox does not work for root, and it sees nothing but our page.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(autouse=True)
def _wanted(need: Callable[..., None]) -> None:
    need("chromium")


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    running.thread.start()
    running.run(running.window.start("127.0.0.1", 0))
    yield running
    running.run(running.window.stop())
    running.loop.call_soon_threadsafe(running.loop.stop)
    running.thread.join(10)
    running.loop.close()


Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Open]:
    """visit(viewport, …): the page, opened; at the end nothing may have been complained of or fetched elsewhere."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(viewport: dict[str, int] = WIDE, **options: Any) -> Page:
        context = browser.new_context(viewport=viewport, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(server.url) else complaints.append(f"fetches {r.url}"))
        page.goto(server.url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


# What sticks out of its box to the side, where that does not scroll.
STICKS_OUT = """() => [...document.querySelectorAll('main *, header *')].filter(one => {
  if (one.closest('svg, .wide, pre') || !one.offsetParent) return false;
  const box = one.getBoundingClientRect();
  return box.right > innerWidth + 1 || box.left < -1 || one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0
    && getComputedStyle(one).display !== 'inline';
}).map(one => one.outerHTML.slice(0, 120))"""
# Cells of the table whose content runs into the next one.
RUNS_OVER = """() => [...document.querySelectorAll('.mirrors td, .mirrors th')].filter(one =>
  one.getClientRects().length && one.closest('tbody') && one.scrollWidth > one.clientWidth + 1
).map(one => one.outerHTML.slice(0, 120))"""
# Pairs of names on the map that lie on each other, as they are really drawn.
OVERLAP = """() => {
  const boxes = [...document.querySelectorAll('.names text')].filter(one => one.getClientRects().length)
    .map(one => [one.textContent, one.getBoundingClientRect()]);
  const found = boxes.length ? [] : ['no names'];
  for (const [i, [a, p]] of boxes.entries()) for (const [b, q] of boxes.slice(i + 1))
    if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3) found.push(a + b);
  return found;
}"""


@pytest.mark.parametrize(
    ("viewport", "theme"),
    [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light"), (PHONE, "dark"), (TABLET, "light")],
    ids=["wide-light", "wide-dark", "phone-light", "phone-dark", "tablet-light"],
)
def test_nothing_is_cut_off_or_overlaps(visit: Open, server: Server, viewport: dict[str, int], theme: str) -> None:
    page = visit(viewport, color_scheme=theme)
    server.see("tokyo", "sydney")
    expect(page.locator(".queries tbody tr")).to_have_count(1)
    page.get_by_label("A client's address").fill("203.0.113.7")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("#explained")).to_contain_text("203.0.113.7")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(STICKS_OUT) == []
    assert page.evaluate(RUNS_OVER) == []
    assert page.evaluate(OVERLAP) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if theme == "light" else "rgb(20, 24, 29)")


def test_the_page_weighs_little(visit: Open, server: Server, browser: Browser) -> None:
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    page = context.new_page()
    sizes: dict[str, int] = {}
    page.on("response", lambda r: sizes.update({r.url: 0 if r.url.endswith("/events") else len(r.body())}))
    page.goto(server.url)
    until(lambda: server.queues)
    page.wait_for_load_state()
    context.close()
    assert {url.removeprefix(server.url) for url in sizes} >= {"", "style.css", "window.js", "events"}
    assert sum(sizes.values()) < WEIGHT


def test_without_javascript_everything_but_the_queries_is_there(visit: Open) -> None:
    page = visit(java_script_enabled=False)
    expect(page.locator(".mirrors tbody tr")).to_have_count(10)
    expect(page.locator(".map .spot")).to_have_count(10)
    expect(page.locator("#queries")).to_be_hidden()
    page.locator("#changes-0-saopaulo summary").click()
    expect(page.locator("#changes-0-saopaulo li").first).to_be_visible()
    page.get_by_label("A client's address").fill("2001:db8::1")
    page.keyboard.press("Enter")
    expect(page.locator("body")).to_contain_text("select.inetboot.example for 2001:db8::1")


def test_the_keyboard_reaches_everything_and_one_sees_where_it_is(visit: Open) -> None:
    page = visit()
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        told = page.evaluate("""() => {
          const one = document.activeElement, style = getComputedStyle(one), path = one.querySelector('path');
          const seen = style.outlineStyle !== 'none' || path && parseFloat(getComputedStyle(path).strokeWidth) > 4;
          return [one.tagName, one.getAttribute('aria-label') || one.id || one.textContent.slice(0, 30), seen];
        }""")
        if told[0] == "BODY":
            break
        assert told[2], f"nothing shows that {told[1]} has the focus"
        reached.append(told[1])
    assert "tokyo: up" in reached and "mumbai: corrupt" in reached and "Mirrors of inetboot.example" in reached
    assert "address" in reached and "Explain" in reached and "status.json" in reached
    page.locator(".spot[data-mirror=saopaulo]").focus()
    page.keyboard.press("Enter")
    assert page.url.endswith("#mirror-0-saopaulo")
    page.get_by_label("A client's address").focus()
    page.keyboard.type("192.0.2.77")
    page.keyboard.press("Enter")
    expect(page.locator("#explained")).to_contain_text("for 192.0.2.77")
    assert EVIL in (page.locator("#explained").text_content() or "")


def test_the_page_renews_itself_and_keeps_ones_place(visit: Open, server: Server) -> None:
    page = visit()
    page.evaluate("window.unchanged = true")
    page.locator("#changes-0-saopaulo summary").click()
    page.get_by_label("A client's address").fill("192.0.2.1")
    page.locator("#changes-0-saopaulo summary").focus()
    until(lambda: server.queues)
    (status,) = SNAPSHOT.zones
    down = replace(status, verdicts=VERDICTS | {"tokyo": Verdict(State.DOWN, 20.0, 5.0, "HTTP status 500")})
    server.snapshot = replace(SNAPSHOT, zones=(down,))
    expect(page.locator("#mirror-0-tokyo")).to_contain_text("HTTP status 500")
    expect(page.locator(".spot[data-mirror=tokyo]")).to_have_attribute("aria-label", "tokyo: down")
    expect(page).to_have_title("6 of 10 mirrors usable: mirrornet")
    assert page.evaluate("window.unchanged")  # no reload
    expect(page.locator("#changes-0-saopaulo li").first).to_be_visible()
    assert page.evaluate("document.activeElement.closest('details').id") == "changes-0-saopaulo"
    expect(page.get_by_label("A client's address")).to_have_value("192.0.2.1")


def test_queries_are_drawn_from_their_place_to_their_mirror(visit: Open, server: Server) -> None:
    page = visit()
    page.evaluate("""() => {
      window.drawn = [];
      new MutationObserver(changes => { for (const change of changes) for (const one of change.addedNodes)
        window.drawn.push([one.tagName, ...['cx', 'cy', 'x2', 'y2'].map(name => one.getAttribute(name))]);
      }).observe(document.querySelector('.asked'), {childList: true});
    }""")
    server.see("tokyo", "sydney", "ashburn", "mumbai")
    row = page.locator(".queries tbody tr")
    expect(row).to_have_text([f"192.0.2.0/24{EVIL} select.{ZONE_NAME}tokyo, sydney, ashburn, …"])
    spot = page.locator(".spot[data-mirror=tokyo]")
    circle, line = page.evaluate("window.drawn")
    assert circle[0] == "circle" and 600 < float(circle[1]) < 660
    assert line[3:] == [spot.get_attribute("data-x"), spot.get_attribute("data-y")]
    server.see()
    expect(row.first).to_contain_text("no such record")
    expect(page.locator(".asked *")).to_have_count(0)  # they fade


def test_a_mirror_that_is_looked_at_shows_its_countries_alone(visit: Open) -> None:
    page = visit()
    fill = "() => getComputedStyle(document.querySelector('.land use[data-by=tokyo]')).fill"
    other = "() => getComputedStyle(document.querySelector('.land use[data-by=frankfurt]')).fill"
    before, beside = page.evaluate(fill), page.evaluate(other)
    page.locator(".spot[data-mirror=tokyo]").hover()
    assert page.evaluate(fill) == before and page.evaluate(other) != beside
    page.mouse.move(5, 5)
    assert page.evaluate(other) == beside


def test_who_wants_no_motion_gets_none(visit: Open, server: Server) -> None:
    page = visit(reduced_motion="reduce")
    page.evaluate("""() => new MutationObserver(() => {
      const one = document.querySelector('.asked circle');
      if (one) window.moves = getComputedStyle(one).animationName;
    }).observe(document.querySelector('.asked'), {childList: true})""")
    server.see("tokyo")
    expect(page.locator(".queries tbody tr")).to_have_count(1)
    assert page.evaluate("window.moves") == "none"
