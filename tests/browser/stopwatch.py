"""When a student who opens a link sees what, on the page's own clock, and what the browsers counted.

The click is the navigation to the class's link by somebody signed in: the page's time origin. Loading
the page, its modules and its calls are part of what is measured.
"""

from __future__ import annotations

import time
from typing import Any, Final

from playwright.sync_api import Browser, Page

from tests.browser.browsers import READER, chromium_context
from tests.browser.journeys import Journey, sign_up

POLL_MS: Final = 20
_STOPWATCH: Final = """
globalThis.stopwatch = { first_ms: null, pictures: [] };
new MutationObserver((_, observer) => {
  const video = document.querySelector("video");
  if (video === null) return;
  observer.disconnect();
  const { pictures } = globalThis.stopwatch;
  const note = (now) => {
    globalThis.stopwatch.first_ms ??= now;
    const seen = reader.picture(video);
    const last = pictures[pictures.length - 1];
    if (seen.counter === undefined || seen.counter !== last?.counter) pictures.push({ ...seen, at_ms: now });
    if (pictures.length < 4000) video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
}).observe(document, { childList: true, subtree: true });
"""


def new_student(browser: Browser, url: str) -> Journey:
    """Open a page of somebody who has just signed up, and who has opened no class yet."""
    context = chromium_context(browser)
    context.add_init_script(READER + _STOPWATCH)
    journey = Journey.on(context)
    journey.page.goto(url)
    sign_up(journey.page, "student")
    journey.page.wait_for_url("**/dashboard")
    return journey


def open_link(page: Page, link: str, timeout_s: float = 15.0) -> float:
    """Open a class and wait for its first decoded picture; return how long after the click, in ms."""
    page.goto(link, wait_until="commit")
    return _wait_for_ms(page, "stopwatch.first_ms", timeout_s)


def pictures(page: Page) -> list[dict[str, Any]]:
    """Return the pictures since the click: {counter, colour, age_ms} or {problem}, with at_ms."""
    seen: list[dict[str, Any]] = page.evaluate("stopwatch.pictures")
    return seen


def live_after_ms(page: Page, age_ms_max: int, timeout_s: float = 15.0) -> float:
    """Wait for a picture at most this old, and return how long after the click it came, in ms."""
    found = f"stopwatch.pictures.find(p => p.age_ms <= {age_ms_max})?.at_ms"
    return _wait_for_ms(page, found, timeout_s)


def shown_after_ms(page: Page, counter: int, timeout_s: float = 15.0) -> float:
    """Wait until the picture with this counter is in sight, and return how long after the click."""
    return _wait_for_ms(
        page, f"stopwatch.pictures.find(p => p.counter === {counter})?.at_ms", timeout_s
    )


def _wait_for_ms(page: Page, expression: str, timeout_s: float) -> float:
    """Return a number once the page has it; its policy allows no `wait_for_function`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value: float | None = page.evaluate(f"globalThis.stopwatch && ({expression} ?? null)")
        if value is not None:
            return value
        if time.monotonic() > deadline:
            seen = page.evaluate("[document.body?.innerText.slice(0, 300), stopwatch]")
            raise AssertionError(f"no {expression} within {timeout_s} s: {seen}")
        page.wait_for_timeout(POLL_MS)


def video_counters(page: Page, direction: str) -> dict[str, Any]:
    """Return the browser's counters of the video it sends ("outbound") or receives ("inbound")."""
    counters: dict[str, Any] = page.evaluate(
        """async direction => {
          const report = await connections.at(-1).getStats();
          return [...report.values()].find(
            s => s.type === `${direction}-rtp` && s.kind === "video") ?? {};
        }""",
        direction,
    )
    return counters
