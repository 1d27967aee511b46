"""The count and the names are right however somebody comes and goes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.browser.browsers import CHROMIUM, chromium_context, launch_students
from tests.browser.journeys import (
    Journey,
    expect_count,
    expect_people,
    expect_watching,
    show_people,
    sign_up,
    start_class,
    teacher_creates_class,
)
from tests.lectern.running import Up

pytestmark = pytest.mark.browser("chromium")

LEFT_S_MAX = 1.0
KILLED_S_MAX = 10.0


def joins(browser: Browser, link: str) -> tuple[Journey, str]:
    student = Journey.on(chromium_context(browser))
    student.page.goto(link)
    name = sign_up(student.page, "student")
    expect_watching(student.page)
    return student, name


def gone_after_s(page: Page, name: str, state: str | None, timeout_s: float) -> float:
    """Wait until a person is away or not listed any more (None); return how long that took."""
    begun = time.monotonic()
    entry = page.locator(".person", has_text=name)
    if state is None:
        expect(entry).to_have_count(0, timeout=timeout_s * 1000)
    else:
        expect(entry).to_have_attribute("data-state", state, timeout=timeout_s * 1000)
    return time.monotonic() - begun


def test_joining_leaving_closing_and_being_killed(
    server: Up, playwright: Playwright, student_browser: Browser, tmp_path: Path
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(chromium_context(student_browser), url)
    start_class(teacher.page)
    expect_count(teacher.page, 0, LEFT_S_MAX)
    show_people(teacher.page)
    expect_people(teacher.page, {})

    # A browser of its own, so that it can be killed as a whole.
    number = tmp_path / "pid"
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho $$ > {number}\nexec {CHROMIUM} "$@"\n')
    program.chmod(0o755)
    _, killed = joins(launch_students(playwright, program=str(program)), link)
    people = {killed: "here"}
    expect_count(teacher.page, 1, LEFT_S_MAX)
    students: list[tuple[Journey, str]] = []
    for _ in range(3):
        students.append(joins(student_browser, link))
        people[students[-1][1]] = "here"
        expect_count(teacher.page, len(people), LEFT_S_MAX)
        expect_people(teacher.page, people)
    watcher, _ = students[0]
    show_people(watcher.page)
    expect_people(watcher.page, people)

    leaver, name = students[1]
    leaver.page.get_by_role("button", name="Leave").click()
    took_s = gone_after_s(teacher.page, name, None, KILLED_S_MAX)
    del people[name]
    print(f"the leave button: {took_s * 1000:.0f} ms")
    assert took_s <= LEFT_S_MAX
    expect_count(teacher.page, 3, LEFT_S_MAX)

    closer, name = students[2]
    closer.page.close(run_before_unload=True)
    took_s = gone_after_s(teacher.page, name, None, KILLED_S_MAX)
    del people[name]
    print(f"a tab that is closed: {took_s * 1000:.0f} ms")
    assert took_s <= LEFT_S_MAX
    expect_count(teacher.page, 2, LEFT_S_MAX)

    name = killed
    os.killpg(int(number.read_text()), signal.SIGKILL)
    took_s = gone_after_s(teacher.page, name, "away", KILLED_S_MAX + 5)
    print(f"a browser that is killed: {took_s:.1f} s")
    assert took_s <= KILLED_S_MAX
    for journey in (teacher, watcher):
        expect_count(journey.page, 1, LEFT_S_MAX)
        expect_people(journey.page, people | {name: "away"})
        assert journey.problems == []


@pytest.mark.long
def test_comments_out_of_sight_are_counted(server: Up, student_browser: Browser) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(chromium_context(student_browser), url)
    start_class(teacher.page)
    student, _ = joins(student_browser, link)
    show_people(teacher.page)
    for number in (1, 2):
        student.page.get_by_label("Write a comment").fill(f"{number}")
        student.page.keyboard.press("Enter")
        expect(teacher.page.locator(".side .badge")).to_have_text(f"{number}")
    expect(teacher.page).to_have_title("(2) Algebra · Lectern")
    teacher.page.get_by_role("tab", name="Comments").click()
    expect(teacher.page.locator(".chat__said")).to_have_text(["1", "2"])
    expect(teacher.page.locator(".side .badge")).to_be_hidden()
    expect(teacher.page).to_have_title("Algebra · Lectern")


def test_a_teacher_reaches_everything_without_scrolling(
    server: Up, student_browser: Browser
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    context = student_browser.new_context(viewport={"width": 1280, "height": 720})
    teacher, _ = teacher_creates_class(context, url)
    start_class(teacher.page)
    for target in (
        teacher.page.get_by_label("Write a comment"),
        teacher.page.get_by_role("button", name="Share screen"),
        teacher.page.get_by_role("button", name="Turn mic on"),
        teacher.page.get_by_role("button", name="Pause comments"),
        teacher.page.locator(".stage--preview"),
    ):
        box = target.bounding_box()
        assert box is not None
        assert box["y"] >= 0 and box["y"] + box["height"] <= 720, box
