"""Students come before the class, wait without asking, and are told at its end how long they were there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browsers import chromium_context
from tests.browser.journeys import (
    Journey,
    expect_live,
    expect_watching,
    start_class,
    student_opens,
    teacher_creates_class,
)
from tests.lectern.running import Up

pytestmark = pytest.mark.browser("chromium")

STARTED_MS_MAX = 5000


def test_the_lobby_begins_by_itself_and_the_end_is_told(
    server: Up, student_browser: Browser
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(chromium_context(student_browser), url)
    asked: list[str] = []
    context = chromium_context(student_browser)
    context.on("request", lambda request: asked.append(request.url))
    students: list[Journey] = [
        student_opens(context, link),
        student_opens(chromium_context(student_browser), link),
    ]
    for student in students:
        expect(student.page.get_by_text("The class has not started yet")).to_be_visible()
    expect(students[0].page.locator(".spinner")).to_be_visible()
    asked.clear()
    students[0].page.wait_for_timeout(4000)
    assert asked == [], "nobody asks while they wait"

    start_class(teacher.page)
    for student in students:
        expect(student.page.locator(".stage--watch[data-state=connected]")).to_be_visible(
            timeout=STARTED_MS_MAX
        )
    teacher.page.wait_for_timeout(1500)
    teacher.page.get_by_role("button", name="End class").click()
    teacher.page.get_by_role("dialog").get_by_role("button", name="End class").click()
    attended = teacher.page.locator(".facts > div").filter(has_text="Attended").locator("dd")
    expect(attended).to_have_text("2")
    for student in students:
        expect(student.page.get_by_text("This class has ended")).to_be_visible()
        expect(student.page.get_by_text("You were here")).to_be_visible()
        said = student.page.get_by_text("You were here").inner_text()
        assert int(said.split()[3]) >= 1, said
        assert student.problems == []


def test_a_link_that_is_replaced_while_they_wait(server: Up, student_browser: Browser) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(chromium_context(student_browser), url)
    student = student_opens(chromium_context(student_browser), link)
    expect(student.page.get_by_text("The class has not started yet")).to_be_visible()
    class_id = teacher.page.url.rsplit("/", 1)[1]
    status = teacher.page.evaluate(
        "async id => (await fetch(`/api/classes/${id}/link`, { method: 'POST' })).status", class_id
    )
    assert status == 200
    expect(student.page.get_by_text("This link does not lead to a class")).to_be_visible()


@pytest.mark.long
def test_the_older_of_two_teachers_pages_says_so_and_takes_back(
    server: Up, student_browser: Browser
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    context = chromium_context(student_browser)
    teacher, link = teacher_creates_class(context, url)
    start_class(teacher.page)
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    second = Journey.on(context)
    second.page.goto(teacher.page.url)
    expect_live(second.page)
    older = teacher.page.get_by_text("being taught from another tab or device")
    expect(older).to_be_visible()
    teacher.page.wait_for_timeout(2000)  # it must not come back by itself
    expect(older).to_be_visible()
    expect_live(second.page)
    teacher.page.get_by_role("button", name="Teach from here").click()
    expect_live(teacher.page)
    expect(second.page.get_by_text("being taught from another tab or device")).to_be_visible()
    assert student.connections() == ["connected"]
    assert [j.problems for j in (teacher, second, student)] == [[], [], []]
