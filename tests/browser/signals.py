"""What a page under test shows and plays, read out of its decoded pictures and samples.

Every read is an `evaluate`, which counts as a click to the browser: a page that was read from may
play sound. Tests of autoplay therefore look first and read later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from playwright.sync_api import Page

from tests.browser.browsers import READER

Side: TypeAlias = Literal["both", "left", "right"]

POLL_MS = 50
# The FFT's bins are 2.9 Hz wide; codecs shift nothing.
TOLERANCE_HERTZ = 8.0


class NothingArrived(AssertionError):
    """The expected picture or tone did not come in time; says what was seen instead."""


def picture(page: Page, selector: str = "video") -> dict[str, Any]:
    """Return {counter, colour, age_ms} of the picture in sight, or {problem}."""
    install(page)
    seen: dict[str, Any] = page.evaluate(
        "selector => reader.picture(document.querySelector(selector))", selector
    )
    return seen


def tone(page: Page, selector: str, side: Side = "both") -> dict[str, Any]:
    """Return {hertz, level_db} of the strongest tone in what an element plays, or {problem}."""
    install(page)
    heard: dict[str, Any] = page.evaluate(
        "([selector, side]) => reader.tone(document.querySelector(selector), side)",
        [selector, side],
    )
    return heard


def install(page: Page) -> None:
    """Put the reader into the page, once."""
    if not page.evaluate("'reader' in globalThis"):
        page.evaluate(READER)


def follow(page: Page, selector: str = "video") -> None:
    """Write down every new picture from now on; `followed` returns them."""
    install(page)
    page.evaluate(
        "selector => { globalThis.followed = reader.follow(document.querySelector(selector)); }",
        selector,
    )


def followed(page: Page) -> list[dict[str, Any]]:
    """Return the pictures since `follow`: {counter, colour, age_ms, at_ms of the page's clock}."""
    pictures: list[dict[str, Any]] = page.evaluate("followed")
    return pictures


def wait_for_followed(page: Page, colour: str, timeout_s: float = 10.0) -> int:
    """Wait until a followed picture had this colour; return when the first one was seen, in ms.

    A browser that is busy may paint the sender's own preview after a student has seen the picture.
    """

    def first() -> dict[str, Any]:
        pictures = followed(page)
        return next((p for p in pictures if p["colour"] == colour), {"seen": pictures[-3:]})

    found = _wait(page, first, lambda p: "at_ms" in p, f"{colour} picture", timeout_s)
    return int(found["at_ms"])


def wait_for_tone(
    page: Page, selector: str, hertz: float, timeout_s: float = 10.0, *, side: Side = "both"
) -> None:
    """Wait until an element plays this tone."""
    _wait(
        page,
        lambda: tone(page, selector, side),
        lambda heard: abs(heard.get("hertz", 0.0) - hertz) <= TOLERANCE_HERTZ,
        f"{hertz} Hz in {selector}, {side}",
        timeout_s,
    )


def wait_for_picture(
    page: Page, selector: str = "video", *, colour: str | None = None, timeout_s: float = 10.0
) -> dict[str, Any]:
    """Wait for a readable picture that is not older than 2 s and, if named, of this colour."""
    return _wait(
        page,
        lambda: picture(page, selector),
        lambda seen: seen.get("age_ms", 1e9) < 2000 and colour in (None, seen.get("colour")),
        f"a live picture ({colour or 'any colour'}) in {selector}",
        timeout_s,
    )


def wait_for_motion(
    page: Page, selector: str = "video", *, steps: int = 10, timeout_s: float = 10.0
) -> None:
    """Wait until the picture's counter has advanced `steps` times, each time to a live value."""
    counters: list[int] = []

    def read() -> dict[str, Any]:
        seen = picture(page, selector)
        if seen.get("age_ms", 1e9) < 2000 and seen["counter"] not in counters[-1:]:
            counters.append(seen["counter"])
        return seen | {"counters": counters[-steps:]}

    _wait(page, read, lambda _: len(counters) > steps, f"{steps} new pictures", timeout_s)


def _wait(
    page: Page,
    read: Callable[[], dict[str, Any]],
    is_it: Callable[[dict[str, Any]], bool],
    what: str,
    timeout_s: float,
) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while True:
        seen = read()
        if is_it(seen):
            return seen
        if time.monotonic() > deadline:
            raise NothingArrived(f"no {what} within {timeout_s} s; last seen: {seen}")
        page.wait_for_timeout(POLL_MS)
