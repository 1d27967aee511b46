"""Firefox watches a class in the codecs that it decodes, and is told where it cannot.

Apart from the other codecs: in a module with browsers of its own no other can be launched.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser import codecs, signals
from tests.browser.browsers import firefox_context, launch_firefox, launch_teacher
from tests.browser.conftest import serve_source
from tests.browser.journeys import Journey, expect_watching, student_opens
from tests.browser.namespaces import Cable
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium", "firefox-esr"), pytest.mark.timeout(180)]


@pytest.mark.long
@pytest.mark.netns
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
                    teacher, link = codecs.class_with_a_share(chromium, url, source_url)
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
    told = student.page.get_by_text(codecs.UNSUPPORTED)
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
