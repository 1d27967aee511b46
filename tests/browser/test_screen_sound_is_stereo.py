"""Left stays left and right stays right on the way of the shared tab's sound to a student."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser import signals
from tests.browser.browsers import SCREEN_HERTZ, chromium_context, open_source
from tests.browser.journeys import (
    expect_watching,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
)
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.long]

RIGHT_HERTZ = 1320
SOUND = "audio[data-slot=screen_audio]"


def test_left_and_right_differ_at_a_student(
    server: Up, teacher_browser: Browser, student_browser: Browser, source_url: str
) -> None:
    teaching = chromium_context(teacher_browser)
    teacher, link = teacher_creates_class(teaching, server.url.replace("127.0.0.1", "localhost"))
    open_source(teaching, source_url, options=f"&right={RIGHT_HERTZ}")
    teacher.page.bring_to_front()
    start_class(teacher.page)
    share(teacher.page)
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    signals.wait_for_tone(student.page, SOUND, SCREEN_HERTZ, side="left")
    signals.wait_for_tone(student.page, SOUND, RIGHT_HERTZ, side="right")
    # Not both in both: one channel for two ears would hold the other tone as loud.
    heard = {side: signals.tone(student.page, SOUND, side) for side in ("left", "right")}
    print(heard)
    assert abs(heard["left"]["hertz"] - heard["right"]["hertz"]) > 400
