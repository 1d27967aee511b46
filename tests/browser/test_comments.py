"""A teacher and two students talk beside the picture, on the pages, by keys and clicks only."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.browsers import chromium_context
from tests.browser.journeys import (
    Journey,
    expect_said,
    expect_watching,
    start_class,
    student_opens,
    teacher_creates_class,
    write,
)
from tests.lectern.running import Up

pytestmark = pytest.mark.browser("chromium")


@pytest.fixture
def people(server: Up, student_browser: Browser) -> tuple[Journey, Journey, Journey, str]:
    url = server.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(chromium_context(student_browser), url)
    start_class(teacher.page)
    students = [student_opens(chromium_context(student_browser), link) for _ in range(2)]
    for student in students:
        expect_watching(student.page)
    return teacher, students[0], students[1], link


def test_everybody_reads_the_same_in_order(
    people: tuple[Journey, Journey, Journey, str], student_browser: Browser
) -> None:
    teacher, first, second, link = people
    said: list[str] = []
    for number in range(2):
        for who, journey in (("teacher", teacher), ("first", first), ("second", second)):
            said.append(f"{who} {number}")
            write(journey.page, said[-1])
            expect_said(first.page, said)
    markup = "<img src=x onerror=alert(1)> <b>bold</b>\nsecond line"
    first.page.get_by_label("Write a comment").fill(markup)
    first.page.get_by_role("button", name="Send").click()
    said.append(markup)
    for journey in (teacher, first, second):
        expect_said(journey.page, said)
        assert journey.page.locator(".chat__said img, .chat__said b").count() == 0
        assert journey.page.locator(".chat__entry--teacher").count() == 2
        assert journey.problems == []
    # Who comes later, or again, reads it too, and nothing twice.
    second.page.reload()
    expect_watching(second.page)
    expect_said(second.page, said)
    late = student_opens(chromium_context(student_browser), link)
    expect_watching(late.page)
    expect_said(late.page, said)


def write_at_once(field: Locator, texts: list[str]) -> None:
    """Write faster than anybody types: a slow machine's keys would be within what one may write."""
    field.evaluate(
        """(field, texts) => {
            for (const text of texts) {
                field.value = text;
                field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
            }
        }""",
        texts,
    )


def test_the_teacher_pauses_and_floods_are_refused(
    people: tuple[Journey, Journey, Journey, str],
) -> None:
    teacher, first, second, _ = people
    field = first.page.get_by_label("Write a comment")
    write_at_once(field, [f"{number}" for number in range(6)])
    expect(first.page.get_by_text("You are writing very fast")).to_be_visible()
    expect(field).to_have_value("5")
    expect_said(second.page, ["0", "1", "2", "3", "4"])
    teacher.page.get_by_role("button", name="Pause comments").click()
    for journey in (first, second):
        expect(journey.page.get_by_text("Your teacher has paused comments")).to_be_visible()
        expect(journey.page.get_by_label("Write a comment")).to_be_disabled()
    write(teacher.page, "listen, please")
    expect_said(second.page, ["0", "1", "2", "3", "4", "listen, please"])
    teacher.page.get_by_role("button", name="Allow comments").click()
    expect(field).to_be_enabled()


def test_the_teachers_absence_is_said_and_ends(
    people: tuple[Journey, Journey, Journey, str],
) -> None:
    teacher, first, _, _ = people
    address = teacher.page.url
    teacher.page.goto("about:blank")
    away = first.page.get_by_text("Your teacher is reconnecting")
    expect(away).to_be_visible()
    teacher.page.goto(address)
    expect(away).to_be_hidden()
