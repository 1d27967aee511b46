"""Networks without UDP, where media goes over TCP, and networks without IPv4."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.browser import signals
from tests.browser.browsers import (
    SCREEN_HERTZ,
    chromium_context,
    firefox_context,
    launch_firefox,
    launch_students,
    launch_teacher,
    open_source,
)
from tests.browser.conftest import serve_source
from tests.browser.journeys import (
    Journey,
    expect_live,
    share,
    sign_up,
    start_class,
    teacher_creates_class,
)
from tests.browser.namespaces import Cable, Cable6
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.netns, pytest.mark.timeout(180)]

# From the opening of the class's link to the first decoded picture.
OVER_TCP_S_MAX = 3.0
FIRST_PICTURE_TIMEOUT_S = 15.0

# The page's own clock begins with its navigation.
STOPWATCH = """
globalThis.first_picture_ms = null;
new MutationObserver((_, observer) => {
  const video = document.querySelector("video");
  if (video === null) return;
  observer.disconnect();
  video.requestVideoFrameCallback((now) => { globalThis.first_picture_ms = now; });
}).observe(document, { childList: true, subtree: true });
"""

SELECTED_PAIR = """async () => {
  const stats = await connections.at(-1).getStats();
  const transport = [...stats.values()].find((s) => s.type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId);
  const { protocol, address } = stats.get(pair.remoteCandidateId);
  return { protocol, address };
}"""


# Chromium hides a page's addresses behind mDNS names unless it may use the microphone, its mDNS does not
# start without IPv4, and a page without candidates of its own connects to nothing.
WITHOUT_MDNS = "--disable-features=WebRtcHideLocalIpsWithMdns"


# Firefox has no transport's statistics.
SUCCEEDED_PAIRS = """async () => {
  const stats = await connections.at(-1).getStats();
  return [...stats.values()]
    .filter((s) => s.type === "candidate-pair" && s.state === "succeeded" && s.selected)
    .map((s) => stats.get(s.remoteCandidateId).protocol);
}"""


@dataclass
class Class:
    teacher: Journey
    link: str
    url: str
    near: Browser
    far: Browser
    playwright: Playwright

    def new_student(self, context: BrowserContext) -> Journey:
        """Open a page of somebody who has signed up and has opened no class yet."""
        context.add_init_script(STOPWATCH)
        student = Journey.on(context)
        student.page.goto(self.url)
        sign_up(student.page, "student")
        student.page.wait_for_url("**/dashboard")
        return student


@contextmanager
def a_class(
    cable: Cable, host: str, directory: Path, mic_file: Path, *watching_with: str
) -> Iterator[Class]:
    """A class whose server is at the near end, and whose teacher is at the far one."""
    home = Path(tempfile.mkdtemp(prefix="lectern-pages-", dir="/tmp"))
    with cable.near.inside():
        up = Up(home / "data", "--host", host).start()
        try:
            # Firefox is driven over loopback, and so the driver is where it runs.
            with cable.far.inside(), sync_playwright() as playwright, serve_source() as source_url:
                server = f"[{cable.NEAR}]" if ":" in cable.NEAR else cable.NEAR
                url = f"http://{server}:{up.port}"
                # getDisplayMedia wants https or localhost; the far end of a cable is neither.
                trusted = f"--unsafely-treat-insecure-origin-as-secure={url}"
                far = cable.far.program(directory / "far")
                near = cable.near.program(directory / "near")
                teaching = launch_teacher(playwright, mic_file, trusted, program=far)
                watching = launch_students(playwright, *watching_with, program=far)
                beside = launch_students(playwright, program=near)
                context = chromium_context(teaching, permissions=["microphone"])
                teacher, link = teacher_creates_class(context, url)
                open_source(context, source_url)
                teacher.page.bring_to_front()
                start_class(teacher.page)
                share(teacher.page)
                yield Class(teacher, link, url, beside, watching, playwright)
                for browser in (teaching, watching, beside):
                    browser.close()
        finally:
            up.stop()
            shutil.rmtree(home, ignore_errors=True)


def open_link(student: Journey, link: str) -> float:
    """Open a class and return how long the first decoded picture took, in seconds."""
    student.page.goto(link, wait_until="commit")
    deadline = time.monotonic() + FIRST_PICTURE_TIMEOUT_S
    while time.monotonic() < deadline:
        first_ms: float | None = student.page.evaluate("globalThis.first_picture_ms ?? null")
        if first_ms is not None:
            return first_ms / 1000
        student.page.wait_for_timeout(20)
    raise AssertionError(f"no picture within {FIRST_PICTURE_TIMEOUT_S} s")


def selected(page: Page) -> tuple[str, str]:
    """Return the protocol and the server's address of the connection in use."""
    pair = page.evaluate(SELECTED_PAIR)
    return pair["protocol"], pair["address"]


@pytest.mark.long
def test_without_udp_teachers_and_students_go_over_tcp(mic_file: Path, tmp_path: Path) -> None:
    cable = Cable()
    try:
        cable.block_udp()
        with a_class(cable, Cable.NEAR, tmp_path, mic_file) as held:
            student = held.new_student(chromium_context(held.far))
            first_s = open_link(student, held.link)
            print(f"first picture over TCP {first_s:.2f} s after the link was opened")
            signals.wait_for_motion(student.page)
            signals.wait_for_tone(student.page, "audio[data-slot=screen_audio]", SCREEN_HERTZ)
            assert cable.blocked() > 0, "no datagram met the firewall"
            assert selected(student.page) == ("tcp", Cable.NEAR)
            assert selected(held.teacher.page) == ("tcp", Cable.NEAR)
            # Where UDP gets through it is taken, in the same class.
            beside = held.new_student(chromium_context(held.near))
            open_link(beside, held.link)
            signals.wait_for_motion(beside.page)
            assert selected(beside.page) == ("udp", Cable.NEAR)
            for journey in (held.teacher, student, beside):
                assert len(journey.offers) == 1
            expect_live(held.teacher.page)
            assert first_s <= OVER_TCP_S_MAX
    finally:
        cable.close()


@pytest.mark.browser("chromium", "firefox-esr")
@pytest.mark.long
def test_without_udp_firefox_goes_over_tcp(mic_file: Path, tmp_path: Path) -> None:
    cable = Cable()
    try:
        cable.block_udp()
        with a_class(cable, Cable.NEAR, tmp_path, mic_file) as held:
            firefox = launch_firefox(held.playwright, {"HOME": str(tmp_path)})
            student = held.new_student(firefox_context(firefox))
            first_s = open_link(student, held.link)
            print(f"first picture over TCP in Firefox {first_s:.2f} s after the link was opened")
            signals.wait_for_motion(student.page)
            assert cable.blocked() > 0, "no datagram met the firewall"
            pairs = student.page.evaluate(SUCCEEDED_PAIRS)
            assert pairs == ["tcp"]
            firefox.close()
    finally:
        cable.close()


@pytest.mark.long
def test_without_ipv4_a_class_goes_over_ipv6(mic_file: Path, tmp_path: Path) -> None:
    cable = Cable6()
    try:
        with a_class(cable, "::", tmp_path, mic_file, WITHOUT_MDNS) as held:
            student = held.new_student(chromium_context(held.far))
            first_s = open_link(student, held.link)
            print(f"first picture over IPv6 {first_s:.2f} s after the link was opened")
            signals.wait_for_motion(student.page)
            signals.wait_for_tone(student.page, "audio[data-slot=screen_audio]", SCREEN_HERTZ)
            for page in (student.page, held.teacher.page):
                assert selected(page) == ("udp", Cable6.NEAR)
    finally:
        cable.close()
