"""A teacher's tab, its sound and a microphone reach three students' browsers."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import signals
from tests.browser.browsers import MIC_HERTZ, SCREEN_HERTZ, chromium_context, open_source
from tests.browser.journeys import (
    expect_watching,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
    turn_mic_on,
)
from tests.lectern.running import Up

pytestmark = pytest.mark.browser("chromium")

MIC = "audio[data-slot=mic]"
SCREEN_SOUND = "audio[data-slot=screen_audio]"


def test_three_students_see_and_hear_the_class(
    server: Up, teacher_browser: Browser, student_browser: Browser, source_url: str
) -> None:
    teaching = chromium_context(teacher_browser, permissions=["microphone"])
    teacher, link = teacher_creates_class(teaching, server.url.replace("127.0.0.1", "localhost"))
    open_source(teaching, source_url)
    early = student_opens(chromium_context(student_browser), link)
    expect(early.page.get_by_text("The class has not started yet")).to_be_visible()

    teacher.page.bring_to_front()
    start_class(teacher.page)
    # Who waited is let in by the page itself.
    expect_watching(early.page)
    late = [student_opens(chromium_context(student_browser), link) for _ in range(2)]
    students = [early, *late]
    for student in students:
        expect_watching(student.page)
    expect(teacher.page.get_by_text("3 students watching")).to_be_visible()

    # Talk before sharing: heard while there is no picture.
    turn_mic_on(teacher.page)
    for student in students:
        signals.wait_for_tone(student.page, MIC, MIC_HERTZ)
        assert signals.picture(student.page) == {"problem": "no picture"}
        expect(student.page.get_by_text("not showing a screen yet")).to_be_visible()

    share(teacher.page)
    for student in students:
        signals.wait_for_motion(student.page)
        signals.wait_for_tone(student.page, SCREEN_SOUND, SCREEN_HERTZ)
        signals.wait_for_tone(student.page, MIC, MIC_HERTZ)
        expect(student.page.get_by_text("not showing a screen yet")).to_be_hidden()

    for journey in [teacher, *students]:
        assert journey.problems == []
        assert len(journey.offers) == 1, "a session was made more than once"
        assert journey.connections() == ["connected"]
