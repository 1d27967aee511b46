"""The teacher stops, changes and restarts the share, and reloads; students notice only the picture."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import signals
from tests.browser.browsers import MIC_HERTZ, SCREEN_HERTZ, chromium_context, open_source
from tests.browser.journeys import (
    Journey,
    expect_live,
    expect_watching,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
    turn_mic_on,
)
from tests.lectern.running import Up

pytestmark = pytest.mark.browser("chromium")

STUDENTS = 2
# From the first new frame in the teacher's own preview to the students' decoded picture.
NEW_FRAME_MS_MAX = 1000
# The node calls a slot silent after 5 s: a still screen sends a frame a second.
SILENT_MS_MAX = 10_000
PREVIEW = ".stage--preview video"


@dataclass
class LiveClass:
    context: BrowserContext
    teacher: Journey
    students: list[Journey]
    source: Page
    source_url: str

    def show_another(self, colour: str, hertz: int) -> None:
        """Put another tab in the place of the one to share."""
        new = open_source(self.context, self.source_url, colour=colour, hertz=hertz)
        self.source.close()
        self.source = new
        self.teacher.page.bring_to_front()

    def follow(self) -> None:
        signals.follow(self.teacher.page, PREVIEW)
        for student in self.students:
            signals.follow(student.page)

    def assert_seen_in_time(self, colour: str) -> None:
        """Every student saw the first picture of this colour soon after the teacher's preview."""
        shown_ms = signals.wait_for_followed(self.teacher.page, colour)
        for student in self.students:
            late_ms = signals.wait_for_followed(student.page, colour) - shown_ms
            print(f"{colour}: first new picture {late_ms} ms after the preview's")
            assert late_ms <= NEW_FRAME_MS_MAX
            signals.wait_for_motion(student.page)

    def assert_students_kept_everything(self) -> None:
        for student in self.students:
            assert student.connections() == ["connected"]
            assert len(student.offers) == 1
            assert student.problems == []


@pytest.fixture
def live_class(
    server: Up, teacher_browser: Browser, student_browser: Browser, source_url: str
) -> LiveClass:
    context = chromium_context(teacher_browser, permissions=["microphone"])
    teacher, link = teacher_creates_class(context, server.url.replace("127.0.0.1", "localhost"))
    source = open_source(context, source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)
    turn_mic_on(teacher.page)
    share(teacher.page)
    students = [student_opens(chromium_context(student_browser), link) for _ in range(STUDENTS)]
    for student in students:
        expect_watching(student.page)
        signals.wait_for_motion(student.page)
    return LiveClass(context, teacher, students, source, source_url)


def test_share_is_stopped_and_started_again(live_class: LiveClass) -> None:
    page = live_class.teacher.page
    page.get_by_role("button", name="Stop sharing").click()
    for student in live_class.students:
        # The last picture stays, and the page says why it does not move.
        expect(student.page.get_by_text("not sharing right now")).to_be_visible(
            timeout=SILENT_MS_MAX
        )
        assert signals.picture(student.page).get("colour") == "red"
    live_class.show_another("blue", 1320)
    live_class.follow()
    share(page)
    live_class.assert_seen_in_time("blue")
    for student in live_class.students:
        signals.wait_for_tone(student.page, "audio[data-slot=screen_audio]", 1320)
        expect(student.page.get_by_text("not sharing right now")).to_be_hidden()

    # Changing to another tab while sharing is the same, without the gap.
    live_class.show_another("green", SCREEN_HERTZ)
    live_class.follow()
    share(page)
    live_class.assert_seen_in_time("green")
    live_class.assert_students_kept_everything()
    assert live_class.teacher.connections() == ["connected"]
    assert len(live_class.teacher.offers) == 1


@pytest.mark.long
def test_closing_the_shared_tab_is_noticed(live_class: LiveClass) -> None:
    live_class.source.close()
    expect(live_class.teacher.page.get_by_text("You are not sharing your screen")).to_be_visible()
    expect(live_class.teacher.page.get_by_text("Sharing has stopped")).to_be_visible()
    for student in live_class.students:
        expect(student.page.get_by_text("not sharing right now")).to_be_visible(
            timeout=SILENT_MS_MAX
        )
    live_class.assert_students_kept_everything()


@pytest.mark.long
def test_still_screen_is_not_taken_for_a_stopped_one(live_class: LiveClass) -> None:
    live_class.source.evaluate("source.frozen = true")
    live_class.teacher.page.wait_for_timeout(SILENT_MS_MAX)
    for student in live_class.students:
        expect(student.page.get_by_text("not sharing right now")).to_be_hidden()
        assert signals.picture(student.page)["age_ms"] > SILENT_MS_MAX / 2
    live_class.source.evaluate("source.frozen = false")
    for student in live_class.students:
        signals.wait_for_motion(student.page)
    live_class.assert_students_kept_everything()


@pytest.mark.long
def test_teacher_goes_and_the_last_picture_stays(live_class: LiveClass) -> None:
    live_class.teacher.page.goto("about:blank")
    for student in live_class.students:
        expect(student.page.get_by_text("Your teacher is reconnecting")).to_be_visible()
        # A browser may send the end of a track as a black picture.
        assert signals.picture(student.page).get("colour") == "red"
    live_class.assert_students_kept_everything()


def test_teacher_reloads_the_page(live_class: LiveClass) -> None:
    page = live_class.teacher.page
    page.reload()
    expect_live(page)
    expect(page.get_by_text("Share your screen to go on")).to_be_visible()
    # The microphone comes back by itself: it was allowed before.
    for student in live_class.students:
        signals.wait_for_tone(student.page, "audio[data-slot=mic]", MIC_HERTZ)
    live_class.show_another("blue", SCREEN_HERTZ)
    live_class.follow()
    share(page)
    live_class.assert_seen_in_time("blue")
    for student in live_class.students:
        signals.wait_for_tone(student.page, "audio[data-slot=screen_audio]", SCREEN_HERTZ)
    live_class.assert_students_kept_everything()
    assert len(live_class.teacher.offers) == 2
