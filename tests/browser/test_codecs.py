"""A teacher in each codec is watched, and changing it costs nobody a negotiation."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import codecs, signals
from tests.browser.browsers import (
    chromium_context,
    firefox_context,
    launch_firefox,
    launch_teacher,
    open_source,
)
from tests.browser.conftest import serve_source
from tests.browser.journeys import (
    Journey,
    expect_watching,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
)
from tests.browser.namespaces import Cable
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.timeout(180)]

UNSUPPORTED = "This browser cannot play your teacher’s picture"


def _class_with_a_share(
    teacher_browser: Browser, url: str, source_url: str, script: str = ""
) -> tuple[Journey, str]:
    """Return a teacher who shares a screen, and the link."""
    teaching = chromium_context(teacher_browser, permissions=["microphone"])
    if script:
        teaching.add_init_script(script)
    teacher, link = teacher_creates_class(teaching, url)
    open_source(teaching, source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)
    share(teacher.page)
    return teacher, link


@pytest.fixture
def teacher_and_link(server: Up, teacher_browser: Browser, source_url: str) -> tuple[Journey, str]:
    url = server.url.replace("127.0.0.1", "localhost")
    return _class_with_a_share(teacher_browser, url, source_url)


@pytest.mark.long
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
    script = codecs.DESCRIBED if described else ""
    teacher, link = _class_with_a_share(teacher_browser, url, source_url, script)
    codecs.choose(teacher.page, codec)
    codecs.send_in_layers(teacher.page, "L1T3")
    assert codecs.is_described(teacher.page) is described
    for asks in (described, False):
        context = chromium_context(student_browser)
        if asks:
            context.add_init_script(codecs.DESCRIBED)
        student = student_opens(context, link)
        _watches(student.page, codec)
        assert codecs.is_described(student.page) is asks
        assert student.problems == []
    assert codecs.sent(teacher.page)["scalabilityMode"] == "L1T3"


@pytest.mark.long
@pytest.mark.netns
@pytest.mark.browser("chromium", "firefox-esr")
def test_firefox_watches_what_it_decodes_and_is_told_of_the_rest(
    mic_file: Path, tmp_path: Path
) -> None:
    # Firefox takes no loopback candidate, so the server has a network's address here.
    cable = Cable()
    home = Path(tempfile.mkdtemp(prefix="lectern-pages-", dir="/tmp"))
    url = f"http://{Cable.NEAR}"
    try:
        with cable.near.inside():
            up = Up(home / "data", "--host", Cable.NEAR).start()
            try:
                url = f"{url}:{up.port}"
                with sync_playwright() as playwright, serve_source() as source_url:
                    trusted = f"--unsafely-treat-insecure-origin-as-secure={url}"
                    chromium = launch_teacher(playwright, mic_file, trusted)
                    firefox = launch_firefox(
                        playwright, {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
                    )
                    teacher, link = _class_with_a_share(chromium, url, source_url)
                    _change_before_firefox(firefox, teacher, link)
                    firefox.close()
                    chromium.close()
            finally:
                up.stop()
    finally:
        cable.close()
        shutil.rmtree(home, ignore_errors=True)


def _change_before_firefox(firefox: Browser, teacher: Journey, link: str) -> None:
    student = student_opens(firefox_context(firefox), link)
    expect_watching(student.page)
    told = student.page.get_by_text(UNSUPPORTED)
    for codec in ("VP8", "VP9", "H264", "AV1"):
        codecs.choose(teacher.page, codec)
        if codec == "H264":
            expect(told).to_be_visible(timeout=15_000)
            continue
        codecs.wait_for_codec(student.page, codec)
        signals.wait_for_motion(student.page)
        expect(told).to_be_hidden()
    assert student.connections() == ["connected"]
    assert len(student.offers) == 1
    # Who joins now begins in that codec.
    late = student_opens(firefox_context(firefox), link)
    signals.wait_for_motion(late.page)
    codecs.wait_for_codec(late.page, "AV1")
