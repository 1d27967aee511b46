"""A class at the near end of a bad line, of Lectern or of a peer; its students' Chromium is at the far end.

Browsers, pages and the line itself are those of the tests: this needs a checkout.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.clients.sdp import TRANSPORT_CC_ID, read_answer, viewer_offer
from benchmarks.lines import janus_pages
from benchmarks.node.offers import new_ssrc
from benchmarks.peers import PlainSource, Seat
from benchmarks.peers.janus import JanusVideoRoom
from benchmarks.registry import BenchmarkError
from tests.browser import stopwatch
from tests.browser.browsers import (
    READER,
    chromium_context,
    launch_students,
    launch_teacher,
    open_source,
    write_mic,
)
from tests.browser.conftest import serve_source
from tests.browser.journeys import (
    expect_watching,
    share,
    start_class,
    teacher_creates_class,
    turn_mic_on,
)
from tests.browser.namespaces import LossyLink
from tests.lectern.running import Up

WATCH = (Path(__file__).parent / "watch.js").read_text()
MOVING = "&fps=15&text"
PASSWORD = "correct horse battery"


class Site(Protocol):
    """A class that is being taught."""

    link: LossyLink
    teacher: Page

    def student(self) -> Page:
        """Return a page at the far end that plays the class."""

    def mic(self, student: Page) -> str:
        """Return the mid of speech at a student's page."""

    def rejoins(self, student: Page) -> int:
        """Return how many sessions a student's page has made besides its first."""

    def native(self, viewers: int) -> tuple[str, list[str]]:
        """Seat native viewers at the near end; return the node's address and their lines of a plan."""


def asked(site: Site) -> int:
    """Return how many keyframes the teacher's browser was asked for (PLI and FIR)."""
    sent = stopwatch.video_counters(site.teacher, "outbound")
    count: int = sent.get("pliCount", 0) + sent.get("firCount", 0)
    return count


@contextmanager
def stage(seed: int, directory: Path) -> Iterator[tuple[LossyLink, Browser, Browser, str]]:
    """A line with a teacher's browser at its near end, students' at its far one, and a tab to share."""
    link = LossyLink(seed=seed)
    try:
        with link.near.inside(), sync_playwright() as playwright, serve_source() as source_url:
            # getDisplayMedia wants https or localhost.
            trusted = f"--unsafely-treat-insecure-origin-as-secure=http://{LossyLink.NEAR}:{PORT}"
            mic = write_mic(directory / "mic.wav")
            near, far = link.near.program(directory / "near"), link.far.program(directory / "far")
            teaching = launch_teacher(playwright, mic, trusted, program=near)
            # A page without a microphone hides its addresses behind names that nobody here resolves.
            plain = "--disable-features=WebRtcHideLocalIpsWithMdns"
            watching = launch_students(playwright, plain, program=far)
            yield link, teaching, watching, source_url
            watching.close()
            teaching.close()
    finally:
        link.close()


# In a namespace of its own every port is free.
PORT = 8080


class LecternSite:
    """`lectern up` as it is installed, and its pages."""

    def __init__(
        self, link: LossyLink, url: str, teacher: Page, class_link: str, students: Browser
    ):
        self.link, self.teacher = link, teacher
        self._url, self._class_link, self._students = url, class_link, students
        self._sessions: dict[Page, list[str]] = {}

    @classmethod
    @contextmanager
    def open(cls, seed: int) -> Iterator[LecternSite]:
        # Not pytest's own directory: the database's user may not look into it.
        home = Path(tempfile.mkdtemp(prefix="lectern-lines-", dir="/tmp"))
        try:
            with stage(seed, home) as (link, teaching, watching, source_url):
                up = Up(home / "data", "--host", LossyLink.NEAR)
                up.port = PORT
                up.start()
                try:
                    url = f"http://{LossyLink.NEAR}:{PORT}"
                    context = chromium_context(teaching, permissions=["microphone"])
                    teacher, class_link = teacher_creates_class(context, url, capacity=200)
                    open_source(context, source_url, options=MOVING)
                    teacher.page.bring_to_front()
                    start_class(teacher.page)
                    share(teacher.page)
                    turn_mic_on(teacher.page)
                    yield cls(link, url, teacher.page, class_link, watching)
                finally:
                    up.stop()
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def student(self) -> Page:
        journey = stopwatch.new_student(self._students, self._url)
        self._sessions[journey.page] = journey.offers
        journey.page.goto(self._class_link)
        expect_watching(journey.page)
        return journey.page

    def mic(self, student: Page) -> str:
        return str(student.evaluate("connections.at(-1).getTransceivers()[1].mid"))

    def rejoins(self, student: Page) -> int:
        return len(self._sessions[student]) - 1

    def native(self, viewers: int) -> tuple[str, list[str]]:
        from benchmarks import peers

        crowd = _LecternCrowd(self._class_link.rpartition("/")[2], viewers)
        return LossyLink.NEAR, peers.connect(crowd, viewers)


class _LecternCrowd:
    """Students who sign up and join over HTTP, as lines for the load generator (a `peers.Peer`)."""

    name = version = "lectern"

    def __init__(self, token: str, viewers: int) -> None:
        self.pids: list[int] = []
        self._whep = f"/live/links/{token}/whep"
        self._number = 0
        self._cookies = [self._sign_up() for _ in range(viewers)]
        self._discard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._discard.bind(("127.0.0.1", 0))

    def __enter__(self) -> _LecternCrowd:
        return self

    def __exit__(self, *error: object) -> None:
        self._discard.close()

    def open_source(self, port: int) -> PlainSource:
        # The generator wants to teach as well: it may, to nobody.
        return PlainSource(new_ssrc(), *self._discard.getsockname())

    def open_viewer(self, port: int) -> Seat:
        headers = {"Content-Type": "application/sdp", "Cookie": self._cookies.pop()}
        text, _ = self._post(self._whep, viewer_offer(), headers)
        answer = read_answer(text)
        return Seat(answer.ssrc, answer.remote(), TRANSPORT_CC_ID)

    def _sign_up(self) -> str:
        account = {
            "email": f"{uuid.uuid4()}@example.org",
            "name": "Native",
            "password": PASSWORD,
            "role": "student",
        }
        headers = {"Content-Type": "application/json"}
        _, cookie = self._post("/api/accounts", json.dumps(account), headers)
        return cookie.partition(";")[0]

    def _post(self, path: str, body: str, headers: dict[str, str]) -> tuple[str, str]:
        connection = http.client.HTTPConnection(LossyLink.NEAR, PORT, timeout=30)
        try:
            origin = {"Origin": f"http://{LossyLink.NEAR}:{PORT}"}
            connection.request("POST", path, body, headers | origin)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 201:
                raise BenchmarkError(f"{path} answered {answer.status}: {text}")
            return text, answer.headers.get("Set-Cookie", "")
        finally:
            connection.close()


class JanusSite:
    """Janus' videoroom, a publishing page and subscribing ones, both without anything but WebRTC."""

    def __init__(self, link: LossyLink, room: JanusVideoRoom, teacher: Page, students: Browser):
        self.link, self.teacher = link, teacher
        self._room, self._students = room, students

    @classmethod
    @contextmanager
    def open(cls, seed: int) -> Iterator[JanusSite]:
        home = Path(tempfile.mkdtemp(prefix="lectern-lines-", dir="/tmp"))
        try:
            with ExitStack() as stack:
                link, teaching, watching, source_url = stack.enter_context(stage(seed, home))
                room = stack.enter_context(JanusVideoRoom(LossyLink.NEAR))
                context = chromium_context(teaching, permissions=["microphone"])
                source = open_source(context, source_url, options=MOVING)
                teacher = context.new_page()
                teacher.goto(f"{source_url}/blank.html")
                teacher.bring_to_front()
                offer = teacher.evaluate(janus_pages.PUBLISH)
                teacher.evaluate(janus_pages.TAKE_ANSWER, room.publish(offer))
                assert source.title()
                yield cls(link, room, teacher, watching)
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def student(self) -> Page:
        context: BrowserContext = chromium_context(self._students)
        context.add_init_script(READER)
        page = context.new_page()
        page.goto("data:text/html,<video autoplay muted playsinline></video>")
        handle, offer = self._room.watch()
        self._room.start(handle, page.evaluate(janus_pages.SUBSCRIBE, offer))
        page.locator("video").wait_for()
        return page

    def mic(self, student: Page) -> str:
        found: Any = student.evaluate(
            "connections[0].getTransceivers().find(t => t.receiver.track.kind === 'audio').mid"
        )
        return str(found)

    def rejoins(self, student: Page) -> int:
        return 0

    def native(self, viewers: int) -> tuple[str, list[str]]:
        from benchmarks import peers

        self._room.is_fed_elsewhere = True
        return LossyLink.NEAR, peers.connect(self._room, viewers)


SITES: dict[str, Callable[[int], AbstractContextManager[Site]]] = {
    "lectern": LecternSite.open,
    "janus-videoroom": JanusSite.open,
}
