"""What a teacher does beside talking: choose a microphone, pause the share, and see how it went."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import signals
from tests.browser.browsers import MIC_HERTZ, chromium_context, open_source
from tests.browser.journeys import (
    Journey,
    expect_count,
    expect_live,
    expect_watching,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
    turn_mic_on,
)
from tests.browser.shares import Shared
from tests.browser.test_pages_are_accessible import violations
from tests.lectern.running import Up

pytestmark = pytest.mark.browser("chromium")

MIC = "audio[data-slot=mic]"
# A word of the teacher's page to the students' pages, over the data channel.
TOLD_MS_MAX = 1500
# Later the node has forgotten the picture: whoever joins then gets none that is old.
FORGOTTEN_MS = 4000
SENDING_MIC = """connections.at(-1).getSenders().map(s => s.track)
  .filter(track => track?.kind === "audio").map(track => track.getSettings().deviceId)"""


def level(page: Page) -> float:
    """Return the highest level that the meter shows within a second."""
    seen: float = page.evaluate("""async () => {
      let most = 0;
      for (let look = 0; look < 20; look += 1) {
        most = Math.max(most, document.querySelector(".meter").value);
        await new Promise(resolve => setTimeout(resolve, 50));
      }
      return most;
    }""")
    return seen


def test_a_microphone_is_tried_out_chosen_and_changed_in_the_class(
    server: Up, teacher_browser: Browser, student_browser: Browser
) -> None:
    context = chromium_context(teacher_browser, permissions=["microphone"])
    teacher, link = teacher_creates_class(context, server.url.replace("127.0.0.1", "localhost"))
    page = teacher.page
    turn_mic_on(page)
    assert level(page) > 0.2
    devices = page.get_by_label("Which microphone")
    ids = devices.locator("option").evaluate_all("all => all.map(one => one.value)")
    assert len(ids) == len(set(ids)) >= 2
    assert violations(page) == []

    start_class(page)
    # Tried out and left on: it is on from the start.
    expect(page.get_by_role("button", name="Turn mic off")).to_be_visible()
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    signals.wait_for_tone(student.page, MIC, MIC_HERTZ)
    assert level(page) > 0.2
    other = ids[-1] if devices.input_value() != ids[-1] else ids[0]
    devices.select_option(other)
    wait_for(page, SENDING_MIC, [other])
    signals.wait_for_tone(student.page, MIC, MIC_HERTZ)
    assert violations(page) == []

    page.get_by_role("button", name="Turn mic off").click()
    expect(page.locator(".meter")).to_be_hidden()
    # Remembered by this browser, for every class.
    page.reload()
    expect_live(page)
    turn_mic_on(page)
    assert page.evaluate(SENDING_MIC) == [other]
    expect(devices).to_have_value(other)
    for journey in (teacher, student):
        assert journey.problems == []
    assert len(student.offers) == 1 and len(teacher.offers) == 2  # one a load


def wait_for(page: Page, expression: str, wanted: Any, timeout_s: float = 10.0) -> None:
    """Wait until an expression has this value; the page's policy forbids wait_for_function."""
    for _ in range(int(timeout_s * 20)):
        if (seen := page.evaluate(expression)) == wanted:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{expression}: {seen}, not {wanted}")


def paused_message(page: Page) -> Any:
    return page.get_by_text("Your teacher has paused the screen").filter(visible=True)


def test_a_paused_share_keeps_the_last_picture_and_the_end_sums_up(
    shared: Shared, student_browser: Browser
) -> None:
    teacher = shared.teacher.page
    student = student_opens(chromium_context(student_browser), shared.link)
    signals.wait_for_motion(student.page)
    pause(teacher)
    expect(paused_message(student.page)).to_be_visible(timeout=TOLD_MS_MAX)
    expect(teacher.get_by_text("Paused: students keep the last picture")).to_be_visible()
    assert signals.picture(student.page)["colour"] == "red"
    assert violations(student.page) == []
    teacher.get_by_role("button", name="Go on sharing").click()
    signals.wait_for_motion(student.page)
    expect(paused_message(student.page)).to_be_hidden()
    expect(teacher.locator(".studio__glance")).to_contain_text(
        re.compile(r"Students get \d+ × \d+, \d+/s, [\d.]+ Mbit/s, 0 % lost"), timeout=15_000
    )
    assert student.connections() == ["connected"] and len(student.offers) == 1

    end_class(teacher)
    facts = teacher.locator(".facts .fact")
    expect(facts.filter(has_text="Attended").locator("dd")).to_have_text("1")
    expect(facts.filter(has_text="Most at once").locator("dd")).to_have_text("1")
    expect(facts.filter(has_text="Duration").locator("dd")).to_have_text(re.compile(r"^\d+ s$"))
    assert violations(teacher) == []
    for journey in (shared.teacher, student):
        assert journey.problems == []
    teacher.get_by_role("link", name="Show attendance").click()
    expect(teacher.locator(".timeline")).to_be_visible()


@pytest.mark.long
def test_who_comes_in_a_pause_sees_no_old_picture_and_then_a_sharp_one(
    shared: Shared, student_browser: Browser
) -> None:
    teacher = shared.teacher.page
    student = student_opens(chromium_context(student_browser), shared.link)
    signals.wait_for_motion(student.page)
    pause(teacher)
    teacher.wait_for_timeout(FORGOTTEN_MS)
    kept = signals.picture(student.page)
    assert kept["colour"] == "red" and kept["age_ms"] > FORGOTTEN_MS / 2
    late = student_opens(chromium_context(student_browser), shared.link)
    expect(paused_message(late.page)).to_be_visible()
    assert signals.picture(late.page) == {"problem": "no picture"}
    for page in (teacher, late.page):
        assert violations(page) == []

    keyframes = keyframes_of(student.page)
    teacher.get_by_role("button", name="Go on sharing").click()
    for journey in (student, late):
        signals.wait_for_motion(journey.page)
        expect(paused_message(journey.page)).to_be_hidden()
        assert journey.connections() == ["connected"] and len(journey.offers) == 1
    assert keyframes_of(student.page) > keyframes

    # A teacher who reloads in a pause has paused nothing any more: the share is over.
    pause(teacher)
    expect(paused_message(student.page)).to_be_visible()
    teacher.reload()
    expect_live(teacher)
    expect(student.page.get_by_text("not sharing right now")).to_be_visible(timeout=10_000)
    expect_count(teacher, 2, 5.0)
    late.page.get_by_role("button", name="Leave").click()
    expect_count(teacher, 1, 5.0)
    end_class(teacher)
    facts = teacher.locator(".facts .fact")
    expect(facts.filter(has_text="Attended").locator("dd")).to_have_text("2")
    expect(facts.filter(has_text="Most at once").locator("dd")).to_have_text("2")
    for journey in (shared.teacher, student, late):
        assert journey.problems == []


def pause(page: Page) -> None:
    page.get_by_role("button", name="Pause sharing").click()


def end_class(page: Page) -> None:
    page.get_by_role("button", name="End class").click()
    page.get_by_role("dialog").get_by_role("button", name="End class").click()
    expect(page.get_by_role("heading", name="This class has ended")).to_be_visible()


def keyframes_of(page: Page) -> int:
    decoded: int = page.evaluate("""async () => {
      const stats = await connections.at(-1).getStats();
      return [...stats.values()].find(s => s.type === "inbound-rtp" && s.kind === "video")
        .keyFramesDecoded;
    }""")
    return decoded


WITHOUT_SOUND = """
const share = navigator.mediaDevices.getDisplayMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getDisplayMedia = async (options) => share({ ...options, audio: false });
"""


@pytest.mark.long
def test_a_share_without_sound_says_how_to_share_it(
    server: Up, teacher_browser: Browser, source_url: str
) -> None:
    context = chromium_context(teacher_browser)
    context.add_init_script(WITHOUT_SOUND)
    teacher, _ = teacher_creates_class(context, server.url.replace("127.0.0.1", "localhost"))
    open_source(context, source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)
    share(teacher.page)
    expect(teacher.page.get_by_text("Screen is shared without sound")).to_be_visible()
    expect(teacher.page.get_by_text("switch on “Also share tab audio”")).to_be_visible()
    assert teacher.problems == []


CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
SAFARI = "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26 Safari/605.1"


def test_why_there_is_no_sound_depends_on_browser_system_and_surface(
    server: Up, student_browser: Browser
) -> None:
    cases = [
        (CHROME.format("Windows NT 10.0"), "monitor", "screenWindows"),
        (CHROME.format("X11; CrOS x86_64"), "monitor", "screenWindows"),
        (CHROME.format("Macintosh"), "monitor", "screen"),
        (CHROME.format("X11; Linux x86_64"), "monitor", "screen"),
        (CHROME.format("Windows NT 10.0"), "window", "window"),
        (CHROME.format("Macintosh"), "browser", "tab"),
        (FIREFOX, "monitor", "browser"),
        (SAFARI, "window", "browser"),
    ]
    journey = Journey.on(student_browser.new_context())
    journey.page.goto(server.url)
    told = journey.page.evaluate(
        """async cases => {
          const { silenceOf } = await import("/static/core/capture.js");
          const { t } = await import("/static/core/strings.js");
          return cases.map(([agent, displaySurface]) => {
            const why = silenceOf({ getSettings: () => ({ displaySurface }) }, { agent });
            return [why, t(`teach.silent.${why}`)];
          });
        }""",
        [list(case[:2]) for case in cases],
    )
    assert [why for why, _ in told] == [case[2] for case in cases]
    assert len({sentence for _, sentence in told}) == 5
