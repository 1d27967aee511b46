"""A node is drained, killed or stopped under a real teacher and a real student: what they notice."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest
from playwright.sync_api import Browser, Page

from benchmarks.failover.deployment import Deployment, deployment
from tests.browser import signals
from tests.browser.browsers import MIC_HERTZ, chromium_context, open_source
from tests.browser.journeys import (
    STUDENT_STATE,
    TEACHER_STATE,
    Journey,
    expect_said,
    expect_watching,
    note_states,
    noted_states,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
    turn_mic_on,
    wait_for_states,
    write,
)

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.timeout(300)]

DRAIN_GAP_MS_MAX = 500
FAILURE_GAP_MS_MAX = 3000
# Pictures are followed for so long after the fault.
AFTER_MS = 6000
NEWEST = "SELECT origin_node FROM class WHERE state = 'live' ORDER BY started_at DESC LIMIT 1"


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread: the browsers' driver has a loop in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Deployment]:
    with deployment(nodes=2, webs=2) as running:
        yield running


@pytest.fixture
def lesson(
    nodes: Deployment, teacher_browser: Browser, student_browser: Browser, source_url: str
) -> tuple[Journey, Journey]:
    """A teacher and a student who sees and hears a moving screen."""
    done(nodes.settled())
    context = chromium_context(teacher_browser, permissions=["microphone"])
    url = nodes.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(context, url)
    open_source(context, source_url)
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
    return teacher, student


async def busy_node(nodes: Deployment) -> str:
    """Return the node that the newest class is on."""
    sql = await asyncpg.connect(nodes.database_url)
    try:
        return str(await sql.fetchval(NEWEST))
    finally:
        await sql.close()


def longest_gap_ms(page: Page) -> float:
    times: list[float] = [seen["at_ms"] for seen in signals.followed(page)]
    assert len(times) > 10, "there was nothing to follow"
    return max(b - a for a, b in itertools.pairwise(times))


def test_a_drained_node_is_left_without_a_gap(
    nodes: Deployment, lesson: tuple[Journey, Journey]
) -> None:
    teacher, student = lesson
    write(student.page, "before")
    expect_said(student.page, ["before"])
    old = done(busy_node(nodes))
    done(nodes.drain(old))
    student.page.wait_for_timeout(AFTER_MS)
    assert done(busy_node(nodes)) != old
    gap_ms = longest_gap_ms(student.page)
    print(f"longest gap of a drain: {gap_ms:.0f} ms")
    assert gap_ms <= DRAIN_GAP_MS_MAX
    # Neither page had anything to say about it.
    assert noted_states(student.page) == noted_states(teacher.page) == []
    signals.wait_for_motion(student.page)
    signals.wait_for_tone(student.page, "audio[data-slot=mic]", MIC_HERTZ)
    write(teacher.page, "after")
    for page in (student.page, teacher.page):
        expect_said(page, ["before", "after"])
    for journey in (student, teacher):
        assert journey.connections().count("connected") == 1


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_node_that_dies_costs_seconds(
    nodes: Deployment, lesson: tuple[Journey, Journey], how: str
) -> None:
    teacher, student = lesson
    old = done(busy_node(nodes))
    pid, _ = done(nodes.place_of(old))
    at_ms = time.time() * 1000
    os.kill(pid, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    try:
        for page in (student.page, teacher.page):
            wait_for_states(page, ["reconnecting", "connected"], 20)
        signals.wait_for_motion(student.page)
        student.page.wait_for_timeout(AFTER_MS)
    finally:
        if how == "stop":
            os.kill(pid, signal.SIGCONT)
    gap_ms = longest_gap_ms(student.page)
    print(f"longest gap of a node's end ({how}): {gap_ms:.0f} ms")
    for who, page in (("student", student.page), ("teacher", teacher.page)):
        steps = [f"{step['name']} {step['at_ms'] - at_ms:.0f} ms" for step in noted_states(page)]
        print(f"{who}: {', '.join(steps)}")
    assert gap_ms <= FAILURE_GAP_MS_MAX
