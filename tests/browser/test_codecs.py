"""A teacher in each codec is watched, and changing it costs nobody a negotiation."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import codecs, signals
from tests.browser.browsers import chromium_context, open_source
from tests.browser.journeys import (
    Journey,
    expect_watching,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
)
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.timeout(180)]

UNSUPPORTED = "This browser cannot play your teacher’s picture"


@pytest.fixture
def teacher_and_link(server: Up, teacher_browser: Browser, source_url: str) -> tuple[Journey, str]:
    """A class with a shared screen, not yet watched."""
    url = server.url.replace("127.0.0.1", "localhost")
    teaching = chromium_context(teacher_browser, permissions=["microphone"])
    teacher, link = teacher_creates_class(teaching, url)
    open_source(teaching, source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)
    share(teacher.page)
    return teacher, link


def test_a_class_changes_its_codec_without_a_negotiation(
    teacher_and_link: tuple[Journey, str], student_browser: Browser
) -> None:
    teacher, link = teacher_and_link
    student = student_opens(chromium_context(student_browser), link)
    context = chromium_context(student_browser)
    context.add_init_script(codecs.ONLY_VP8)
    old = student_opens(context, link)
    told = old.page.get_by_text(UNSUPPORTED)
    for journey in (student, old):
        expect_watching(journey.page)
        signals.wait_for_motion(journey.page)
    expect(told).to_be_hidden()
    for codec in ("H264", "VP9", "AV1", "VP8"):
        codecs.choose(teacher.page, codec)
        codecs.wait_for_codec(student.page, codec)
        signals.wait_for_motion(student.page)
        assert codecs.sent(teacher.page)["codec"] == codec
        if codec == "VP8":
            expect(told).to_be_hidden(timeout=10_000)
            signals.wait_for_motion(old.page)
        else:
            expect(told).to_be_visible(timeout=10_000)
    for journey in (teacher, student, old):
        assert journey.connections() == ["connected"]
        assert len(journey.offers) == 1
        assert journey.problems == []
