"""What a teacher does with classes outside of them: create, change, share, replace, end, look back."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.attended import attend, begin_earlier
from tests.browser.browsers import chromium_context
from tests.browser.journeys import Journey, expect_watching, sign_up, student_opens
from tests.browser.states import EMOJI, ENDLESS, MARKUP, OVERRIDE
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]

# Of a stay: a node says with its next beat that somebody is connected.
TOLD_S_MAX = 15.0
# Dark where the code's modules are dark: what a scanner sees of the picture.
SHOWS_THE_LINK = """async () => {
  const { encodeQR } = await import("/static/vendor/qr/index.js");
  const link = document.querySelector(".link__text").value;
  const rows = encodeQR(link, "raw", { ecc: "medium", border: 4 });
  const wanted = rows.flatMap((row, y) => row.flatMap((dark, x) => dark ? [`M${x} ${y}h1v1h-1z`] : []));
  return document.querySelector(".qr path").getAttribute("d") === wanted.join("");
}"""


@pytest.fixture
def url(server: Up) -> str:
    return server.url.replace("127.0.0.1", "localhost")


@pytest.fixture
def teacher(student_browser: Browser, url: str) -> Iterator[Journey]:
    """A teacher on the dashboard, whose journey must not write an error down."""
    journey = Journey.on(chromium_context(student_browser))
    journey.page.goto(url)
    sign_up(journey.page, "teacher", "Ada Lovelace")
    journey.page.wait_for_url("**/dashboard")
    yield journey
    assert journey.problems == []


def create(page: Page, url: str, title: str, capacity: int = 20) -> str:
    """Create a class on the dashboard; return its id, on its page."""
    page.goto(url + "/dashboard")
    page.get_by_label("Title").fill(title)
    page.get_by_label("Places").fill(str(capacity))
    page.get_by_role("button", name="Create class").click()
    page.wait_for_url("**/teach/*")
    class_id = page.url.rpartition("/")[2]
    page.goto(f"{url}/classes/{class_id}")
    expect(page.get_by_role("heading", name="Student link")).to_be_visible()
    return class_id


def test_a_class_is_created_renamed_and_started_from_the_list(teacher: Journey, url: str) -> None:
    page = teacher.page
    create(page, url, "Algebra", 20)
    page.get_by_label("Title").fill("Algebra II")
    page.get_by_label("Places").fill("25")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Algebra II")).to_be_visible()
    page.get_by_role("link", name="Dashboard").click()
    row = page.get_by_role("row", name="Algebra II")
    expect(row).to_contain_text("Not started")
    expect(row).to_contain_text("25")
    here = page.evaluate("new Date().toLocaleDateString(navigator.language, {dateStyle: 'medium'})")
    expect(row).to_contain_text(here)
    row.get_by_role("button", name="Start").press("Enter")
    page.wait_for_url("**/teach/*")
    page.goto(url + "/dashboard")
    expect(page.get_by_role("row", name="Algebra II")).to_contain_text("Live")
    expect(page.get_by_text("You are in “Algebra II” right now.")).to_be_visible()


def test_the_link_is_copied_shown_as_a_code_and_replaced(
    teacher: Journey, student_browser: Browser, url: str
) -> None:
    page = teacher.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    class_id = create(page, url, "Physics")
    link = page.get_by_label("Student link", exact=True).input_value()
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == link

    page.get_by_role("button", name="Show QR code").click()
    expect(page.get_by_role("img", name="QR code of the student link")).to_be_visible()
    assert page.evaluate(SHOWS_THE_LINK) is True

    page.get_by_role("button", name="Start class").click()
    page.wait_for_url("**/teach/*")
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)

    page.goto(f"{url}/classes/{class_id}")
    page.get_by_role("button", name="Show QR code").click()
    page.get_by_role("button", name="Replace link").click()
    expect(page.get_by_role("dialog")).to_contain_text("The old link stops working at once")
    expect(page.get_by_role("dialog").get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    assert page.get_by_label("Student link", exact=True).input_value() == link
    page.get_by_role("button", name="Replace link").click()
    page.get_by_role("dialog").get_by_role("button", name="Replace link").click()
    expect(page.get_by_text("The link is replaced")).to_be_visible()
    fresh = page.get_by_label("Student link", exact=True).input_value()
    assert fresh != link
    assert page.evaluate(SHOWS_THE_LINK) is True

    expect(student.page.locator(".stage--watch[data-state=connected]")).to_be_visible()
    late = Journey.on(chromium_context(student_browser))
    late.page.goto(link)
    expect(late.page.get_by_role("heading", name="does not lead to a class")).to_be_visible()
    late.page.goto(fresh)
    sign_up(late.page, "student")
    expect_watching(late.page)
    assert student.problems == late.problems == []


def test_a_class_is_ended_and_opened_again(teacher: Journey, url: str) -> None:
    page = teacher.page
    class_id = create(page, url, "History")
    page.get_by_role("button", name="Start class").click()
    page.wait_for_url("**/teach/*")
    page.goto(f"{url}/classes/{class_id}")
    page.get_by_role("button", name="End class").click()
    page.get_by_role("dialog").get_by_role("button", name="End class").click()
    expect(page.locator(".chip")).to_have_text("Ended")
    page.get_by_role("button", name="Open it again").click()
    page.wait_for_url("**/teach/*")
    page.goto(f"{url}/classes/{class_id}")
    expect(page.locator(".chip")).to_have_text("Live")


def test_attendance_is_read_sorted_pictured_and_taken_along(
    teacher: Journey, server: Up, url: str, tmp_path: Path
) -> None:
    page = teacher.page
    class_id = create(page, url, "Chemistry")
    page.evaluate(f"fetch('/api/classes/{class_id}/start', {{method: 'POST'}})")
    began = begin_earlier(server, class_id, 30)
    attend(
        server,
        class_id,
        began,
        {
            "Noether": [(0, 29)],
            "Curie": [(5, 10), (15, 20)],
            "Meitner": [(2, None)],
            MARKUP: [(1, 3)],
            EMOJI: [(1, 4)],
            OVERRIDE: [(1, 5)],
            ENDLESS[:100]: [(1, 6)],
        },
    )
    page.reload()
    names = page.locator(".table__cell--title")
    expect(names).to_have_count(7)
    assert names.first.inner_text() == "Noether"  # who came first
    expect(page.get_by_text(MARKUP)).to_be_visible()
    expect(page.get_by_role("row", name="Meitner")).to_contain_text("still here")
    expect(page.get_by_role("row", name="Curie")).to_contain_text("10 min")
    expect(page.get_by_role("row", name="Curie")).to_contain_text("2 times")
    expect(page.get_by_role("img", name=re.compile("7 people, 6 at once"))).to_be_visible()
    # One line for each stay.
    lines = page.locator(".timeline__lines path").get_attribute("d") or ""
    assert lines.count("M") == 8

    page.get_by_role("button", name="Was there").click()
    expect(page.get_by_role("columnheader", name="Was there")).to_have_attribute(
        "aria-sort", "ascending"
    )
    assert names.first.inner_text() == MARKUP
    page.get_by_role("button", name="Was there").press("Enter")
    assert names.first.inner_text() == "Noether"
    page.get_by_role("button", name="Name").click()
    assert [n for n in names.all_inner_texts() if n in ("Curie", "Meitner", "Noether")] == [
        "Curie",
        "Meitner",
        "Noether",
    ]

    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    download.value.save_as(tmp_path / "attendance.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "attendance.csv").read_text())))
    assert {row["name"] for row in rows} >= {"Noether", "Curie", "Meitner", MARKUP}
    assert next(row["segments"] for row in rows if row["name"] == "Curie") == "2"


@pytest.mark.long
def test_thousands_of_people_are_shown_at_once_and_bounded(
    teacher: Journey, server: Up, url: str
) -> None:
    page = teacher.page
    class_id = create(page, url, "Lecture", 5000)
    page.evaluate(f"fetch('/api/classes/{class_id}/start', {{method: 'POST'}})")
    began = begin_earlier(server, class_id, 60)
    people: dict[str, list[tuple[float, float | None]]] = {
        f"Person {n:04}": [(n % 30, 40 + n % 20)] for n in range(3000)
    }
    attend(server, class_id, began, people)
    page.reload()
    expect(page.get_by_text("3,000 people")).to_be_visible(timeout=30_000)
    assert page.locator(".table__row").count() == 100
    height = page.locator(".timeline__lines").bounding_box()
    assert height is not None
    assert height["height"] == 320
    page.get_by_role("button", name="Show more").click()
    assert page.locator(".table__row").count() == 200


def test_long_and_odd_words_stay_text_and_in_their_place(teacher: Journey, url: str) -> None:
    page = teacher.page
    page.set_viewport_size({"width": 360, "height": 740})
    for title in (MARKUP, EMOJI, ENDLESS):
        create(page, url, title)
        expect(page.get_by_role("heading", name=title)).to_be_visible()
    page.goto(url + "/dashboard")
    # What is too long for the field cannot be typed, and what gets past it is refused in words.
    page.get_by_label("Title").fill("x" * 10_000)
    page.get_by_label("Title").evaluate(
        "field => { field.maxLength = 20000; field.value = 'x'.repeat(10000) }"
    )
    page.get_by_role("button", name="Create class").click()
    expect(page.get_by_role("alert").first).to_contain_text("Something in the form is not right")
    page.get_by_label("Title").fill(OVERRIDE)
    page.get_by_role("button", name="Create class").click()
    expect(page.get_by_role("alert").first).to_contain_text("direction")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_student_sees_what_they_attended(
    teacher: Journey, student_browser: Browser, url: str
) -> None:
    page = teacher.page
    create(page, url, "Geometry")
    link = page.get_by_label("Student link", exact=True).input_value()
    page.get_by_role("button", name="Start class").click()
    page.wait_for_url("**/teach/*")
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    student.page.goto(url + "/dashboard")
    row = student.page.get_by_role("row", name="Geometry")
    deadline = time.monotonic() + TOLD_S_MAX
    while not row.is_visible() and time.monotonic() < deadline:
        student.page.wait_for_timeout(500)
        student.page.reload()
        student.page.wait_for_load_state("networkidle")
    expect(row).to_contain_text("Ada Lovelace")
    assert student.problems == []
