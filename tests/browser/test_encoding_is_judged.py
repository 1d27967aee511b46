"""What the teacher's page makes of the encoder's counters: whether it keeps up, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.test_core_modules import run

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]

NOTE = """
const encoding = new m.Encoding();
return x.map(([seconds, frames, encodeS, fps, reason]) => encoding.note(new Map([
  ["s", { type: "outbound-rtp", kind: "video", timestamp: 1000 * seconds + 1, framesEncoded: frames,
          totalEncodeTime: encodeS, qualityLimitationReason: reason }],
  ["m", { type: "media-source", kind: "video", framesPerSecond: fps }],
])));
"""
Look = tuple[float, int, float, float, str]


def looks(
    count: int, *, encode_ms: float = 10, fps: float = 10, reason: str = "none"
) -> list[Look]:
    """Return looks two seconds apart."""
    frames = [round(2 * fps * n) for n in range(count)]
    return [(2.0 * n, done, done * encode_ms / 1000, fps, reason) for n, done in enumerate(frames)]


def told(page: Page, seen: list[Look]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = run(page, "sending.js", NOTE, seen)
    return answers


def test_an_encoder_that_falls_behind_is_noticed_after_some_looks(page: Page) -> None:
    for seen in (looks(6, encode_ms=95), looks(6, reason="cpu")):
        assert [one["keepsUp"] for one in told(page, seen)] == [True] * 3 + [False] * 3
    assert all(one["keepsUp"] for one in told(page, looks(6, encode_ms=60)))


def test_film_is_told_from_text_only_when_it_lasts(page: Page) -> None:
    film = [one["content"] for one in told(page, looks(7, fps=25))]
    assert film == ["text"] * 4 + ["motion"] * 3
    assert {one["content"] for one in told(page, looks(9, fps=15))} == {"text"}
    # Six seconds of scrolling are no film.
    scrolled = [*looks(4, fps=30), *((8.0 + 2 * n, 240 + n, 2.4, 1, "none") for n in range(6))]
    assert {one["content"] for one in told(page, scrolled)} == {"text"}
