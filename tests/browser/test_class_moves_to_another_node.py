"""A node is drained, killed or stopped under a real teacher and a real student: what they notice."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.failover.deployment import Deployment, deployment
from tests.browser import signals
from tests.browser.browsers import (
    MIC_HERTZ,
    chromium_context,
    launch_students,
    launch_teacher,
    open_source,
)
from tests.browser.conftest import serve_source
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
from tests.browser.namespaces import Namespace

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.netns, pytest.mark.timeout(300)]

INVARIANTS = (Path(__file__).parents[1] / "chaos" / "invariants.sql").read_text()

DRAIN_GAP_MS_MAX = 500
FAILURE_GAP_MS_MAX = 3000
# Pictures are followed for so long after the fault.
AFTER_MS = 6000
REGULAR_MS = 3000
NEWEST = "SELECT origin_node FROM class WHERE state = 'live' ORDER BY started_at DESC LIMIT 1"


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread: the browsers' driver has a loop in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


@dataclass
class Place:
    """A network namespace with a deployment of two nodes, and browsers in it."""

    network: Namespace
    nodes: Deployment
    teaching: Browser
    watching: Browser
    source_url: str


@pytest.fixture(scope="module")
def place(mic_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    network = Namespace()
    # A browser that has no way out but loopback gathers no candidates.
    network.run("ip", "link", "add", "out", "type", "veth", "peer", "name", "nobody")
    network.run("ip", "addr", "add", "10.77.1.1/24", "dev", "out")
    for end in ("out", "nobody"):
        network.run("ip", "link", "set", end, "up")
    network.run("ip", "route", "add", "default", "via", "10.77.1.2")
    program = network.program(tmp_path_factory.mktemp("place") / "chromium")
    try:
        with (
            network.inside(),
            deployment(nodes=2, webs=2) as nodes,
            sync_playwright() as playwright,
            serve_source() as source_url,
        ):
            teaching = launch_teacher(playwright, mic_file, program=program)
            watching = launch_students(playwright, program=program)
            yield Place(network, nodes, teaching, watching, source_url)
            for browser in (teaching, watching):
                browser.close()
    finally:
        network.close()


@pytest.fixture
def lesson(place: Place) -> Iterator[tuple[Journey, Journey]]:
    """A teacher and a student who sees and hears a moving screen."""
    done(place.nodes.settled())
    context = chromium_context(place.teaching, permissions=["microphone"])
    url = place.nodes.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(context, url)
    open_source(context, place.source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)
    turn_mic_on(teacher.page)
    share(teacher.page)
    watching = chromium_context(place.watching)
    student = student_opens(watching, link)
    expect_watching(student.page)
    signals.wait_for_motion(student.page)
    # A path is held to a short silence only once it has been regular for a while.
    student.page.wait_for_timeout(REGULAR_MS)
    for page, selector in ((student.page, STUDENT_STATE), (teacher.page, TEACHER_STATE)):
        note_states(page, selector)
    signals.follow(student.page)
    yield teacher, student
    context.close()
    watching.close()


async def busy_node(nodes: Deployment) -> str:
    """Return the node that the newest class is on."""
    ((node,),) = await nodes.rows(NEWEST)
    return str(node)


async def violations(nodes: Deployment) -> list[str]:
    """Ask the database what is wrong with seats and attendance."""
    return [f"{row['what']}: {row['id']}" for row in await nodes.rows(INVARIANTS)]


def longest_gap_ms(page: Page) -> float:
    times: list[float] = [seen["at_ms"] for seen in signals.followed(page)]
    assert len(times) > 10, "there was nothing to follow"
    return max(b - a for a, b in itertools.pairwise(times))


@pytest.mark.long
def test_a_drained_node_is_left_without_a_gap(
    place: Place, lesson: tuple[Journey, Journey]
) -> None:
    nodes = place.nodes
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


@contextmanager
def without(place: Place, node: str, how: str) -> Iterator[None]:
    """Take a node away: killed, stopped, or cut off from everybody while its own HTTP goes on."""
    pid, port = done(place.nodes.place_of(node))
    if how == "cut":
        place.nodes.cut(port)
    else:
        os.kill(pid, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    try:
        yield
    finally:
        if how == "cut":
            place.nodes.mend()
        elif how == "stop":
            os.kill(pid, signal.SIGCONT)


@pytest.mark.long
@pytest.mark.parametrize("how", ["kill", "stop", "cut"])
def test_a_node_that_is_gone_costs_seconds(
    place: Place, lesson: tuple[Journey, Journey], how: str
) -> None:
    teacher, student = lesson
    old = done(busy_node(place.nodes))
    at_ms = time.time() * 1000
    with without(place, old, how):
        for page in (student.page, teacher.page):
            wait_for_states(page, ["reconnecting", "connected"], 20)
        signals.wait_for_motion(student.page)
        student.page.wait_for_timeout(AFTER_MS)
    gap_ms = longest_gap_ms(student.page)
    print(f"longest gap of a node's end ({how}): {gap_ms:.0f} ms")
    for who, page in (("student", student.page), ("teacher", teacher.page)):
        steps = [f"{step['name']} {step['at_ms'] - at_ms:.0f} ms" for step in noted_states(page)]
        print(f"{who}: {', '.join(steps)}")
    assert done(busy_node(place.nodes)) != old
    assert gap_ms <= FAILURE_GAP_MS_MAX
    assert done(violations(place.nodes)) == []
