"""A teacher in each codec is watched, and changing it costs nobody a negotiation."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import codecs, signals
from tests.browser.browsers import (
    chromium_context,
)
from tests.browser.journeys import (
    Journey,
    expect_watching,
    student_opens,
)
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.timeout(180)]


@pytest.fixture
def teacher_and_link(server: Up, teacher_browser: Browser, source_url: str) -> tuple[Journey, str]:
    url = server.url.replace("127.0.0.1", "localhost")
    return codecs.class_with_a_share(teacher_browser, url, source_url)


@pytest.mark.long
def test_a_class_changes_its_codec_without_a_negotiation(
    teacher_and_link: tuple[Journey, str], student_browser: Browser
) -> None:
    teacher, link = teacher_and_link
    student = student_opens(chromium_context(student_browser), link)
    context = chromium_context(student_browser)
    context.add_init_script(codecs.ONLY_VP8)
    old = student_opens(context, link)
    told = old.page.get_by_text(codecs.UNSUPPORTED)
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


def _watches(page: Page, codec: str) -> None:
    """Hold that the page plays on, in this codec, without a frozen or torn picture."""
    expect_watching(page)
    signals.wait_for_motion(page)
    codecs.wait_for_codec(page, codec)
    before = codecs.received(page)
    signals.wait_for_motion(page, steps=30)
    after = codecs.received(page)
    assert after["pliCount"] == before["pliCount"], "the picture broke, and another was asked for"
    assert after["freezeCount"] == before["freezeCount"]


@pytest.mark.long
@pytest.mark.parametrize("codec", codecs.CODECS)
def test_whoever_joins_sees_a_class_in_any_codec(
    codec: str, teacher_and_link: tuple[Journey, str], student_browser: Browser
) -> None:
    teacher, link = teacher_and_link
    codecs.choose(teacher.page, codec)
    for _ in range(2):
        student = student_opens(chromium_context(student_browser), link)
        _watches(student.page, codec)
        assert student.problems == []
    # The choice is this browser's: a reload keeps it.
    teacher.page.reload()
    expect(teacher.page.get_by_label("Video format")).to_have_value(codec)


@pytest.mark.long
@pytest.mark.parametrize("codec", ["VP8", "VP9", "AV1"])
@pytest.mark.parametrize("described", [False, True], ids=["plain", "described"])
def test_layers_are_watched_from_a_replay_on(
    codec: str,
    described: bool,
    server: Up,
    teacher_browser: Browser,
    student_browser: Browser,
    source_url: str,
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    script = codecs.descriptors("sendrecv" if described else "stopped")
    teacher, link = codecs.class_with_a_share(teacher_browser, url, source_url, script)
    codecs.choose(teacher.page, codec)
    codecs.send_in_layers(teacher.page, "L1T3")
    assert codecs.is_described(teacher.page) is described
    for asks in (described, False):
        context = chromium_context(student_browser)
        if asks:
            context.add_init_script(codecs.descriptors("sendrecv"))
        student = student_opens(context, link)
        _watches(student.page, codec)
        assert codecs.is_described(student.page) is asks
        assert student.problems == []
    assert codecs.sent(teacher.page)["scalabilityMode"] == "L1T3"
