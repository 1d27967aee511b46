"""What a student does beside watching: look closer, and ask how the class and the line do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import signals
from tests.browser.browsers import chromium_context
from tests.browser.journeys import Journey, student_opens
from tests.browser.shares import Shared
from tests.browser.test_pages_are_accessible import violations

pytestmark = pytest.mark.browser("chromium")

VIEW = """() => {
  const view = document.querySelector(".stage__view");
  const { a, e, f } = new DOMMatrix(getComputedStyle(view).transform);
  const { clientWidth: width, clientHeight: height } = document.querySelector(".stage--watch");
  return { scale: a, x: e, y: f, width, height };
}"""
WHOLE = {"scale": 1, "x": 0, "y": 0}


def view(page: Page) -> dict[str, float]:
    """Return how the picture is enlarged and moved, in pixels of the stage of that size."""
    seen: dict[str, float] = page.evaluate(VIEW)
    return seen


def is_whole(page: Page) -> bool:
    return {key: view(page)[key] for key in WHOLE} == WHOLE


def covers(seen: dict[str, float]) -> bool:
    """Say whether no edge of the enlarged picture has come into the stage."""
    spare = {
        "x": seen["width"] * (seen["scale"] - 1) / 2,
        "y": seen["height"] * (seen["scale"] - 1) / 2,
    }
    return abs(seen["x"]) <= spare["x"] + 0.5 and abs(seen["y"]) <= spare["y"] + 0.5


def watching(shared: Shared, browser: Browser, **options: Any) -> Journey:
    student = student_opens(chromium_context(browser, **options), shared.link)
    signals.wait_for_motion(student.page)
    return student


def test_a_student_looks_closer_by_wheel_click_drag_keys_and_button(
    shared: Shared, student_browser: Browser
) -> None:
    student = watching(shared, student_browser)
    page = student.page
    box = page.locator(".stage--watch").bounding_box()
    assert box is not None
    reset = page.locator(".tools__zoom")
    expect(reset).to_be_hidden()

    # What lies under the pointer stays there.
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    page.mouse.wheel(0, -500)
    seen = view(page)
    assert seen["scale"] > 2
    off = -seen["width"] * 0.25
    assert seen["x"] == pytest.approx(off - off * seen["scale"], abs=1)
    expect(reset).to_have_text(re.compile(r"^\d{3} %$"))
    assert violations(page) == []

    # Dragging moves it, and never out of the stage.
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 40, steps=4)
    page.mouse.up()
    assert view(page)["x"] != seen["x"] and covers(view(page))
    page.mouse.wheel(0, 10_000)
    assert is_whole(page)

    page.mouse.dblclick(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.4)
    assert view(page)["scale"] == 2.5 and view(page)["x"] < 0 < view(page)["y"]
    page.mouse.dblclick(box["x"] + 200, box["y"] + 200)
    assert is_whole(page)

    for _ in range(12):
        page.keyboard.press("+")
    assert view(page)["scale"] == 8
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert view(page)["x"] < 0 and view(page)["y"] < 0 and covers(view(page))
    # Arrows that belong to a tab, and keys that are written, move nothing.
    before = view(page)
    page.get_by_role("tab", name="Comments").press("ArrowRight")
    page.get_by_role("tab", name="Comments").click()
    page.get_by_label("Write a comment").press_sequentially("0+-")
    assert view(page) == before
    reset.click()
    assert is_whole(page)
    # The focus goes on where it can be used.
    page.keyboard.press("Enter")
    assert view(page)["scale"] == 1.5
    page.set_viewport_size({"width": 700, "height": 500})
    page.keyboard.press("0")
    assert is_whole(page)
    assert student.problems == []


@pytest.mark.long
def test_two_fingers_enlarge_the_picture_and_not_the_page(
    shared: Shared, student_browser: Browser
) -> None:
    student = watching(shared, student_browser, has_touch=True)
    page = student.page
    page.set_viewport_size({"width": 360, "height": 740})
    client = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        client.send(
            "Input.dispatchTouchEvent",
            {
                "type": kind,
                "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)],
            },
        )

    touch("touchStart", (160, 200), (200, 200))
    for spread in range(1, 9):
        touch("touchMove", (160 - 10 * spread, 200), (200 + 10 * spread, 200))
    touch("touchEnd")
    seen = view(page)
    assert seen["scale"] > 3 and covers(seen)
    assert page.evaluate("visualViewport.scale") == 1
    # One finger moves what is enlarged.
    touch("touchStart", (180, 200))
    touch("touchMove", (120, 200))
    touch("touchMove", (100, 200))
    touch("touchEnd")
    assert view(page)["x"] < seen["x"] and covers(view(page))
    for _ in range(2):
        touch("touchStart", (180, 250))
        touch("touchEnd")
    assert is_whole(page)
    assert student.problems == []


def test_the_class_and_the_line_are_told_and_reported(
    shared: Shared, student_browser: Browser
) -> None:
    student = watching(shared, student_browser)
    page = student.page
    clock = page.locator(".facts-bar__clock")
    expect(clock).to_have_text(re.compile(r"^0:\d\d$"))
    begun = clock.text_content()
    page.locator(".facts-bar summary").click()
    panel = page.locator(".facts-bar__panel")
    expect(panel).to_contain_text("Algebra")
    expect(panel).to_contain_text(re.compile(r"with teacher \d+"))
    facts = panel.locator(".fact")
    expect(facts.filter(has_text="Attended").locator("dd")).to_have_text("1")
    expect(facts.filter(has_text="Here now").locator("dd")).to_have_text("1")
    expect(facts.filter(has_text="Places").locator("dd")).to_have_text("200")
    expect(panel).to_contain_text("Your connection is good.", timeout=10_000)
    expect(panel).to_contain_text(
        re.compile(r"\d+ × \d+ · \d+ pictures/s · [\d.]+ Mbit/s · 0 % lost")
    )
    expect(page.locator(".quality")).to_have_attribute("data-verdict", "good")
    assert clock.text_content() != begun
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    page.locator(".facts-bar summary").click()
    page.mouse.click(300, 300)
    expect(panel).to_be_hidden()

    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", name="You left the class")).to_be_visible()
    (report,) = student.reports
    assert 0 < report["first_frame_ms"] < 60_000
    assert report["watched_ms"] > 1000
    assert report["freezes"] == 0 and report["frozen_ms"] == 0
    assert student.problems == []


SHIFTS = """globalThis.shifts = [];
new PerformanceObserver((list) => {
  for (const { value, sources, startTime } of list.getEntries()) {
    const moved = sources.map(({ node }) => node?.className || node?.nodeName).join(", ");
    globalThis.shifts.push({ value, what: `${Math.round(startTime)} ms: ${moved}` });
  }
}).observe({ type: "layout-shift", buffered: true });"""


@pytest.mark.parametrize("size", [(1440, 900), (360, 740)], ids=["desk", "phone"])
def test_nothing_jumps_when_the_picture_and_what_stands_round_it_come(
    shared: Shared, student_browser: Browser, size: tuple[int, int]
) -> None:
    first = watching(shared, student_browser)
    context = first.page.context
    first.page.close()
    page = context.new_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.add_init_script(SHIFTS)
    page.goto(shared.link)
    signals.wait_for_motion(page)
    expect(page.locator(".chat__text")).to_be_visible()
    page.wait_for_timeout(500)
    shifts = page.evaluate("globalThis.shifts")
    print(shifts)
    # What Web Vitals call good is 0.1 of a page's whole life.
    assert sum(shift["value"] for shift in shifts) < 0.05, shifts
