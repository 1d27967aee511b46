"""The reading of pictures and tones, proved without a server: it moves, and it fails when it must."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import signals
from tests.browser.browsers import MIC_HERTZ, SCREEN_HERTZ, chromium_context, open_source

pytestmark = pytest.mark.browser("chromium")


@pytest.fixture
def source_and_loop(teacher_browser: Browser, source_url: str) -> Iterator[tuple[Page, Page]]:
    context = chromium_context(teacher_browser, permissions=["microphone"])
    source = open_source(context, source_url)
    loop = context.new_page()
    loop.goto(f"{source_url}/loop.html")
    loop.click("#share")
    yield source, loop
    context.close()


@pytest.mark.long
def test_readings_follow_the_source(source_and_loop: tuple[Page, Page]) -> None:
    source, loop = source_and_loop
    signals.wait_for_motion(loop, "#video")
    assert signals.wait_for_picture(loop, "#video")["colour"] == "red"
    signals.wait_for_tone(loop, "#screen", SCREEN_HERTZ)
    signals.wait_for_tone(loop, "#mic", MIC_HERTZ)

    # A picture that stands still is not taken for a live one.
    source.evaluate("source.frozen = true")
    with pytest.raises(signals.NothingArrived, match="new pictures"):
        signals.wait_for_motion(loop, "#video", steps=20, timeout_s=3)
    # A tone that is not there is not found, nor another one taken for it.
    with pytest.raises(signals.NothingArrived, match="Hz"):
        signals.wait_for_tone(loop, "#screen", MIC_HERTZ, timeout_s=2)
    source.evaluate("source.tone.gain.gain.value = 0")
    loop.wait_for_timeout(1000)
    with pytest.raises(signals.NothingArrived, match="silence"):
        signals.wait_for_tone(loop, "#screen", SCREEN_HERTZ, timeout_s=2)
