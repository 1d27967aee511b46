"""The node of a class is killed; both pages find their way back without a click."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import signals
from tests.browser.browsers import MIC_HERTZ, chromium_context, open_source
from tests.browser.journeys import (
    STUDENT_STATE,
    TEACHER_STATE,
    expect_live,
    expect_watching,
    note_states,
    noted_states,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
    turn_mic_on,
    wait_for_states,
)
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.timeout(180)]

# The pages' own part is a second to notice and some attempts; the rest is the server's lease.
BACK_S_MAX = 40.0
# What was on its way when the node died has arrived by then, and nothing new yet.
SILENT_MS_MIN = 1000


@pytest.fixture
def own_server() -> Iterator[Up]:
    home = Path(tempfile.mkdtemp(prefix="lectern-pages-", dir="/tmp"))
    up = Up(home / "data", "--throttle", "off").start()
    yield up
    up.stop()
    shutil.rmtree(home, ignore_errors=True)


def test_pages_come_back_when_the_node_is_killed(
    own_server: Up, teacher_browser: Browser, student_browser: Browser, source_url: str
) -> None:
    url = own_server.url.replace("127.0.0.1", "localhost")
    teaching = chromium_context(teacher_browser, permissions=["microphone"])
    teacher, link = teacher_creates_class(teaching, url)
    open_source(teaching, source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)
    turn_mic_on(teacher.page)
    share(teacher.page)
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    signals.wait_for_motion(student.page)

    for page, selector in ((student.page, STUDENT_STATE), (teacher.page, TEACHER_STATE)):
        note_states(page, selector)
    signals.follow(student.page)
    (node,) = own_server.children("sfu")
    os.kill(node, signal.SIGKILL)
    killed_ms = time.time() * 1000
    for page in (student.page, teacher.page):
        wait_for_states(page, ["reconnecting", "connected"], BACK_S_MAX)
    # By then the page had said so, over the last picture.
    assert "Connection lost" in noted_states(student.page)[0]["said"]
    signals.wait_for_motion(student.page)
    signals.wait_for_tone(student.page, "audio[data-slot=mic]", MIC_HERTZ)
    again_ms = min(
        seen["at_ms"]
        for seen in signals.followed(student.page)
        if seen["at_ms"] > killed_ms + SILENT_MS_MIN
    )
    print(f"a new picture {again_ms - killed_ms:.0f} ms after the node was killed")
    expect(student.page.get_by_text("Connection lost")).to_be_hidden()
    expect_live(teacher.page)
    # The old connections are closed, not leaked.
    assert student.connections().count("connected") == 1
    assert set(student.connections()) <= {"connected", "closed"}
    assert teacher.connections().count("connected") == 1
