"""WHIP and WHEP over HTTP: from the POST to the DELETE (RFC 9725)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientResponse
from aiortc.sdp import SessionDescription

from control import NodeAddress
from tests.signaling.conftest import OFFERS, Site
from tests.signaling.fake_control import CLASS_ID, LINK, fake_node
from wire.session import Refusal

pytestmark = pytest.mark.asyncio

TEACHES = {"X-Account": "teacher", "Content-Type": "application/sdp"}
STUDIES = {"X-Account": "student", "Content-Type": "application/sdp"}
WHIP = f"/live/classes/{CLASS_ID}/whip"
WHEP = f"/live/links/{LINK}/whep"
FRAGMENT = (
    "a=ice-ufrag:{ufrag}\r\na=ice-pwd:RquHRGQ+voyhRLh2T9g/yCBW\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host\r\na=end-of-candidates\r\n"
)


def offer(name: str) -> bytes:
    return (OFFERS / f"{name}.sdp").read_bytes()


async def watch(site: Site, path: str = WHEP, account: str = "student") -> ClientResponse:
    headers = STUDIES | {"X-Account": account}
    return await site.client.post(path, data=offer("chromium_viewer"), headers=headers)


async def patch(site: Site, location: str, body: str, **headers: str) -> ClientResponse:
    headers = {"X-Account": "student", "Content-Type": "application/trickle-ice-sdpfrag", **headers}
    return await site.client.patch(location, data=body, headers=headers)


async def code_of(response: ClientResponse) -> str:
    body: dict[str, Any] = await response.json(content_type="application/problem+json")
    return str(body["code"])


def ufrag_of(name: str) -> str:
    media = SessionDescription.parse(offer(name).decode()).media[0]
    assert media.ice is not None and media.ice.usernameFragment is not None
    return media.ice.usernameFragment


async def test_a_teacher_publishes(site: Site) -> None:
    response = await site.client.post(WHIP, data=offer("chromium_publisher"), headers=TEACHES)
    assert response.status == 201
    assert response.content_type == "application/sdp"
    (opened,) = site.node.opened
    assert opened.role == "publisher" and opened.class_title == "Algebra"
    assert response.headers["Location"] == (
        f"/live/sessions/{site.node.address.node_id}/{opened.session_id}"
    )
    assert response.headers["ETag"].startswith('"')
    answer = SessionDescription.parse(await response.text())
    assert [m.direction for m in answer.media] == ["recvonly"] * 3 + [None]
    assert [call[0] for call in site.control.calls] == ["admit_host", "place", "bind_session"]


async def test_a_student_watches_and_leaves_and_the_commit_comes_first(site: Site) -> None:
    response = await watch(site)
    assert response.status == 201
    session_id = site.node.opened[0].session_id
    location = response.headers["Location"]
    left = await site.client.delete(location, headers={"X-Account": "student"})
    assert left.status == 204
    assert site.control.calls[-1] == ("leave", UUID(session_id), "left")
    assert [(i, c.reason) for i, c in site.node.closed] == [(session_id, "left")]
    again = await site.client.delete(location, headers={"X-Account": "student"})
    assert again.status == 204
    assert len(site.node.closed) == 1


async def test_a_closing_page_says_so(site: Site) -> None:
    location = (await watch(site)).headers["Location"]
    await site.client.delete(f"{location}?reason=pagehide", headers={"X-Account": "student"})
    assert site.node.closed[0][1].reason == "pagehide"
    assert site.control.calls[-1][-1] == "pagehide"


async def test_the_holder_of_a_seat_needs_no_link(site: Site) -> None:
    assert (await watch(site, f"/live/classes/{CLASS_ID}/whep")).status == 201
    assert site.control.calls[0] == ("admit", None, CLASS_ID, False, None)


async def test_takeover_is_passed_on(site: Site) -> None:
    await watch(site, f"{WHEP}?takeover=1")
    assert site.control.calls[0] == ("admit", LINK, None, True, None)


async def test_a_session_is_continued_by_its_secret_alone(site: Site) -> None:
    first = await watch(site)
    secret = first.headers["Lectern-Resume"]
    session_id = site.node.opened[0].session_id
    second = await watch(site, f"{WHEP}?resume={secret}")
    assert second.status == 201
    assert site.node.opened[1].session_id == session_id
    assert site.node.opened[1].fence > site.node.opened[0].fence
    for wrong in (secret[:-1] + "z", session_id, "", "x.y", f"{session_id}.\u00fc"):
        refused = await watch(site, f"{WHEP}?resume={wrong}")
        assert (refused.status, await code_of(refused)) == (404, "not_found")


async def test_control_judges_who_continues_a_session_that_is_closed(site: Site) -> None:
    gone = uuid4()
    assert (await watch(site, f"{WHEP}?resume={gone}.secret")).status == 201
    assert site.control.calls[0] == ("admit", LINK, None, False, gone)


async def test_a_teachers_page_goes_on_with_its_own_session(site: Site) -> None:
    first = await site.client.post(WHIP, data=offer("chromium_publisher"), headers=TEACHES)
    resume = first.headers["Lectern-Resume"]
    session_id = UUID(site.node.opened[0].session_id)
    second = await site.client.post(
        f"{WHIP}?resume={resume}", data=offer("chromium_publisher"), headers=TEACHES
    )
    assert second.status == 201
    asked = [call for call in site.control.calls if call[0] == "admit_host"]
    assert [call[2] for call in asked] == [None, session_id]
    wrong = await site.client.post(
        f"{WHIP}?resume={session_id}.x", data=offer("chromium_publisher"), headers=TEACHES
    )
    assert (wrong.status, await code_of(wrong)) == (404, "not_found")


async def test_candidates_are_taken_and_a_restart_gets_new_credentials(site: Site) -> None:
    response = await watch(site)
    location, tag = response.headers["Location"], response.headers["ETag"]
    body = FRAGMENT.format(ufrag=ufrag_of("chromium_viewer"))
    assert (await patch(site, location, body, **{"If-Match": tag})).status == 204
    assert (await patch(site, location, body)).status == 428
    assert (await patch(site, location, body, **{"If-Match": '"other"'})).status == 412
    assert not site.node.patched
    restarted = await patch(site, location, FRAGMENT.format(ufrag="EsAw"), **{"If-Match": "*"})
    assert restarted.status == 200
    text = await restarted.text()
    assert "a=ice-ufrag:newufrag\r\n" in text and "a=candidate:1 1 udp" in text
    assert site.node.patched[0].ice_ufrag == "EsAw"
    new_tag = restarted.headers["ETag"]
    assert new_tag != tag
    late = await patch(site, location, body, **{"If-Match": new_tag})
    assert late.status == 412
    fresh = await patch(site, location, FRAGMENT.format(ufrag="EsAw"), **{"If-Match": new_tag})
    assert fresh.status == 204


async def test_a_fragment_that_is_none_is_refused(site: Site) -> None:
    response = await watch(site)
    location, tag = response.headers["Location"], response.headers["ETag"]
    bad = await patch(site, location, "nonsense", **{"If-Match": tag})
    assert (bad.status, await code_of(bad)) == (400, "bad_offer")
    wrong = await patch(site, location, "x", **{"If-Match": tag, "Content-Type": "text/plain"})
    assert wrong.status == 415


async def test_sessions_are_of_those_who_made_them(site: Site) -> None:
    location = (await watch(site)).headers["Location"]
    for path in (location, f"/live/sessions/{uuid4()}/{location.split('/')[-1]}"):
        account = "teacher" if path == location else "student"
        response = await patch(
            site, path, FRAGMENT.format(ufrag="EsAw"), **{"If-Match": "*", "X-Account": account}
        )
        assert (response.status, await code_of(response)) == (404, "not_found")
    nobody = await site.client.delete(location)
    assert (nobody.status, await code_of(nobody)) == (401, "not_signed_in")


async def test_wrong_types_and_bad_links_are_told(site: Site) -> None:
    typed = await site.client.post(
        WHEP, data=b"{}", headers={**STUDIES, "Content-Type": "application/json"}
    )
    assert (typed.status, await code_of(typed)) == (415, "invalid_request")
    link = await watch(site, "/live/links/other/whep")
    assert (link.status, await code_of(link)) == (404, "link_invalid")
    assert (await watch(site, "/live/classes/no-id/whep")).status == 404
    assert (await site.client.get(WHEP, headers=STUDIES)).status == 405


async def test_a_bad_offer_is_refused_before_any_seat_is_taken(site: Site) -> None:
    for role, path, headers in (("viewer", WHEP, STUDIES), ("publisher", WHIP, TEACHES)):
        response = await site.client.post(path, data=b"v=0\r\n", headers=headers)
        assert (response.status, await code_of(response)) == (400, "bad_offer"), role
    assert site.control.calls == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_ten_megabytes_are_refused_at_once(site: Site, chunked: bool) -> None:
    body = offer("chromium_viewer") + b"a=x:y\r\n" * 1_500_000

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    took_s = []
    for _ in range(3):  # the quickest counts: other tests run beside this one
        started = time.perf_counter()
        response = await site.client.post(WHEP, data=pieces() if chunked else body, headers=STUDIES)
        took_s.append(time.perf_counter() - started)
        assert (response.status, await code_of(response)) == (413, "too_large")
    assert min(took_s) < 0.1
    assert site.control.calls == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_long_is_not_waited_for(site: Site, chunked: bool) -> None:
    """Nothing more is sent than shows the length, and the answer is there all the same."""
    host, port = site.client.host, site.client.port
    head = f"POST {WHEP} HTTP/1.1\r\nHost: {host}\r\nX-Account: student\r\n"
    head += "Content-Type: application/sdp\r\n"
    if chunked:
        head += "Transfer-Encoding: chunked\r\n\r\n"
        body = f"{70_000:x}\r\n{'v' * 70_000}\r\n"
    else:
        head += "Content-Length: 10000000\r\n\r\n"
        body = "v=0\r\n"
    reader, writer = await asyncio.open_connection(host, port)
    writer.write((head + body).encode())
    async with asyncio.timeout(1):
        assert b" 413 " in await reader.readline()
    writer.close()


async def test_another_node_is_tried_where_the_first_is_dead(site: Site) -> None:
    dead = NodeAddress(uuid4(), f"unix:{site.directory}/nobody", "x")
    site.control.nodes.insert(0, dead)
    response = await watch(site)
    assert response.status == 201
    assert str(site.node.address.node_id) in response.headers["Location"]
    excluded = [call[2] for call in site.control.calls if call[0] == "place"]
    assert excluded == [frozenset(), frozenset({dead.node_id})]


async def test_a_seat_is_given_back_where_no_node_takes_the_session(site: Site) -> None:
    site.node.refuse = Refusal("no_capacity", "full")
    response = await watch(site)
    assert (response.status, await code_of(response)) == (503, "no_capacity")
    assert response.headers["Retry-After"]
    assert site.control.calls[-1][0] == "abandon"
    assert not site.control.held
    async with fake_node(f"{site.directory}/second") as second:
        second.refuse = Refusal("no_capacity", "full")
        site.control.nodes.append(second.address)
        response = await watch(site)
        assert (response.status, await code_of(response)) == (503, "no_capacity")


async def test_a_dead_node_makes_a_restart_wait_and_a_leave_succeed(site: Site) -> None:
    location = (await watch(site)).headers["Location"]
    session_id = UUID(location.rsplit("/", 1)[1])
    admission, node = site.control.held[session_id]
    assert node is not None
    dead = NodeAddress(node.node_id, f"unix:{site.directory}/nobody", "x")
    site.control.held[session_id] = (admission, dead)
    body = FRAGMENT.format(ufrag="EsAw")
    assert (await patch(site, location, body, **{"If-Match": "*"})).status == 503
    site.control.held[session_id] = (admission, None)
    assert (await patch(site, location, body, **{"If-Match": "*"})).status == 404
    left = await site.client.delete(location, headers={"X-Account": "student"})
    assert left.status == 204


async def test_many_students_join_at_once(site: Site) -> None:
    responses = await asyncio.gather(*(watch(site, account=f"student {n}") for n in range(100)))
    assert {r.status for r in responses} == {201}
    assert len({r.headers["Location"] for r in responses}) == 100
