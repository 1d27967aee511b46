"""Huge offers, slow heads, foreign pages and others' ids: `web` stays small and answers the others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from lectern.patience import HEAD_S_MAX
from tests.attacks.offers import whep_offer, whip_offer
from tests.attacks.siege import LOG_LINES_MAX
from tests.attacks.weapons import LOOPBACK, paced
from tests.attacks.web import Person, WebUnderAttack

SDP = "application/sdp"
HUGE_BYTES = 10 * 1024 * 1024
ANSWER_S_MAX = (
    3.0  # of an honest request while the attack goes on; the machine is busy with it as well
)
BYTES_PER_S = 2  # of a slow connection
OFFERING = "/live/links/{token}/whep"
SLOW_CLOSED = 'lectern_http_connections_closed_total{why="slow"}'


def requests(method: str, route: str, status: int) -> str:
    return f'lectern_http_requests_total{{method="{method}",route="{route}",status="{status}"}}'


@pytest.fixture(scope="module")
def web() -> Iterator[WebUnderAttack]:
    with WebUnderAttack() as web:
        yield web


@contextlib.contextmanager
def honest_requests(web: WebUnderAttack) -> Iterator[None]:
    """Ask for one's own account all the while, and see that the answers come in time."""
    student, over, slowest_s = web.lesson.students[0], threading.Event(), [0.0]

    def ask() -> None:
        while not over.wait(0.05):
            began_s = time.monotonic()
            assert web.ask("GET", "/api/me", student.bearer).status == 200
            slowest_s[0] = max(slowest_s[0], time.monotonic() - began_s)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield
        finally:
            over.set()
        asking.result()
    assert slowest_s[0] < ANSWER_S_MAX, f"an honest request took {slowest_s[0]:.1f} s"


@pytest.mark.parametrize(
    ("count", "counted"),
    [
        (8, {requests("POST", OFFERING, 413): 4}),
        # One person's offers have a rate besides.
        pytest.param(
            *(200, {requests("POST", OFFERING, 413): 4, requests("POST", OFFERING, 429): 100}),
            marks=pytest.mark.long,
        ),
    ],
)
def test_offers_of_ten_megabytes_are_refused_unread(
    web: WebUnderAttack, count: int, counted: dict[str, float]
) -> None:
    """With a length and without one: 413 or 429, or a closed door, and memory stays."""
    attacker = web.person("student")
    path = f"/live/links/{web.lesson.link}/whep"
    filler = b"a=x-filler:" + b"y" * 1000 + b"\r\n"
    huge = whep_offer().encode() + filler * (HUGE_BYTES // len(filler))
    with web.under_attack(counted), honest_requests(web):
        for number in range(count):
            if number % 2:
                assert pour(web, path, attacker, huge) in (b"413", b"429", b"")
            else:
                with contextlib.suppress(ConnectionError):
                    answer = web.ask("POST", path, attacker.bearer, huge, Content_Type=SDP)
                    assert answer.status in (413, 429)


def pour(web: WebUnderAttack, path: str, who: Person, body: bytes) -> bytes:
    """Send a body in chunks, without saying how long it is; return the answer's status."""
    with socket.create_connection((LOOPBACK, web.up.port), timeout=10) as one:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {who.token}\r\n"
        one.sendall(f"{head}Content-Type: {SDP}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError, TimeoutError):
            for at in range(0, len(body), 65536):
                part = body[at : at + 65536]
                one.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        with contextlib.suppress(ConnectionError, TimeoutError):
            return one.recv(4096)[9:12]
    return b""


@pytest.mark.parametrize(
    ("count", "seconds"), [(150, 0.6), pytest.param(3000, 15.0, marks=pytest.mark.long)]
)
def test_slow_heads_and_bodies_keep_nobody_waiting(
    web: WebUnderAttack, count: int, seconds: float
) -> None:
    """Connections that say a byte now and then; the long run waits until they are closed."""
    counted = {SLOW_CLOSED: count / 4} if seconds > HEAD_S_MAX else {SLOW_CLOSED: 0}
    head = b"GET / HTTP/1.1\r\nHost: lectern\r\nX-Slow: " + b"y" * 4000
    body = b"POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    body += b"Content-Length: 4000\r\n\r\n{"
    with (
        contextlib.ExitStack() as stack,
        web.under_attack(counted, seconds=seconds) as attack,
        honest_requests(web),
    ):
        sockets = []
        for number in range(count):
            one = stack.enter_context(socket.create_connection((LOOPBACK, web.up.port), timeout=5))
            one.setblocking(False)
            one.send(b"" if number % 4 == 0 else body if number % 4 == 1 else head[:40])
            sockets.append(one)
        for turn, _ in enumerate(paced(round(BYTES_PER_S * seconds), attack.seconds)):
            for one in sockets[1::2]:
                with contextlib.suppress(OSError):
                    one.send(head[40 + turn : 41 + turn])
        if seconds > HEAD_S_MAX:
            time.sleep(3)
            assert sum(is_closed(one) for one in sockets) >= count / 4


def is_closed(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


UNSAFE = [
    ("POST", "/api/classes"),
    ("POST", "/api/classes/{class_id}/start"),
    ("POST", "/api/classes/{class_id}/end"),
    ("POST", "/api/session"),
    ("POST", "/api/accounts"),
    ("POST", "/api/tokens"),
    ("PATCH", "/api/me"),
    ("DELETE", "/api/me"),
    ("DELETE", "/api/session"),
    ("DELETE", "/api/sessions"),
    ("PATCH", "/api/classes/{class_id}"),
    ("POST", "/live/classes/{class_id}/whip"),
    ("POST", "/live/classes/{class_id}/whep"),
    ("POST", "/live/links/{link}/whep"),
    ("POST", "/live/reports"),
    ("PATCH", "{location}"),
    ("DELETE", "{location}"),
]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "//", "http://["]
)
def test_foreign_pages_change_nothing(web: WebUnderAttack, origin: str) -> None:
    """The teacher's own browser, on another site's page, with the cookie that it has."""
    lesson = web.lesson
    cookie = {"Cookie": lesson.teacher.cookie, "Origin": origin}
    known = {"class_id": lesson.class_id, "link": lesson.link, "location": web.honest.locations[0]}
    counted = {requests("POST", "/api/classes", 403): 1}
    lines_max = 2 * len(UNSAFE) + LOG_LINES_MAX  # each refusal is written down
    with web.under_attack(counted, seconds=0.2, log_lines_max=lines_max):
        for method, path in UNSAFE:
            answer = web.ask(method, path.format(**known), cookie, {})
            assert (answer.status, answer.code) == (403, "bad_origin"), (method, path)
            assert "Access-Control-Allow-Origin" not in answer.headers
    assert is_live(web)


def is_live(web: WebUnderAttack) -> bool:
    lesson = web.lesson
    state = web.ask("GET", f"/api/links/{lesson.link}").json["state"]
    return bool(state == "live")


def test_ids_of_others_open_and_end_nothing(web: WebUnderAttack) -> None:
    """Sessions, classes and attendance of the honest class, by people of another one and by strangers."""
    other = web.live_class(1)
    honest, known = web.lesson, web.honest.locations
    fragment = b"a=ice-ufrag:evil\r\na=ice-pwd:" + b"evil" * 6
    fragment += b"\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    node_id = known[0].split("/")[3]
    of_class = [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/start"),
        ("POST", "/end"),
        ("POST", "/link"),
        ("GET", "/attendance"),
        ("GET", "/attendance.csv"),
    ]
    deleted = "/live/sessions/{node_id}/{session_id}"
    # Its answer is 204 whatever the id is (RFC 9725): nobody learns which there are.
    counted = {requests("PATCH", deleted, 404): 2 * len(known)}
    with web.under_attack(counted, seconds=0.2):
        for who in (other.teacher, other.students[0]):
            for location in known:
                restart = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}
                patched = web.ask("PATCH", location, who.bearer | restart, fragment)
                assert patched.status == 404, patched
                assert web.ask("DELETE", location, who.bearer).status == 204
                assert web.ask("DELETE", location).status == 401
            for method, rest in of_class:
                path = f"/api/classes/{honest.class_id}{rest}"
                answer = web.ask(method, path, who.bearer, {} if method != "GET" else None)
                assert answer.status in (400, 403, 404, 405), (method, path, answer)
            taught = web.ask(
                "POST",
                f"/live/classes/{honest.class_id}/whip",
                who.bearer,
                whip_offer(9).encode(),
                Content_Type=SDP,
            )
            assert taught.status in (403, 404), taught
            made_up = f"/live/sessions/{node_id}/{uuid4()}"
            assert web.ask("DELETE", made_up, who.bearer).status == 204
    assert is_live(web)


def test_links_and_resume_secrets_open_no_other_class(web: WebUnderAttack) -> None:
    """A link opens its own class alone, an old link none, and a session is continued by nobody else."""
    other = web.live_class(2)
    honest, (insider, outsider) = web.lesson, other.students
    offer = whep_offer().encode()

    def join(path: str, who: Person) -> tuple[int, str]:
        answer = web.ask("POST", path, who.bearer, offer, Content_Type=SDP)
        return answer.status, answer.headers.get("Lectern-Resume", "")

    counted = {requests("POST", "/live/classes/{class_id}/whep", 404): 2}
    with web.under_attack(counted, seconds=0.2):
        status, resume = join(f"/live/links/{other.link}/whep", insider)
        assert status == 201 and resume
        # The link of one class in the place of another's, and a seat in one as a way into another.
        assert join(f"/live/links/{honest.class_id}/whep", insider)[0] == 404
        assert join(f"/live/classes/{honest.class_id}/whep", insider)[0] == 404
        assert join(f"/live/classes/{honest.class_id}/whep", outsider)[0] == 404
        # Somebody else's resume secret, and one's own in another class.
        for path, who in (
            (f"/live/classes/{other.class_id}/whep?resume={resume}", outsider),
            (f"/live/classes/{honest.class_id}/whep?resume={resume}", insider),
        ):
            assert join(path, who)[0] in (400, 403, 404, 409), path
        # With the link one gets in, but as oneself.
        status, own = join(f"/live/links/{other.link}/whep?resume={resume}", outsider)
        assert status == 201 and own.partition(".")[0] != resume.partition(".")[0]
        # A new link: the old one is dead at once.
        again = web.ask("POST", f"/api/classes/{other.class_id}/link", other.teacher.bearer)
        assert again.status == 200, again
        assert join(f"/live/links/{other.link}/whep", outsider)[0] == 404
    assert is_live(web)
