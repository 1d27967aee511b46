"""The node's internal API: who may speak, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from tests.sfu.conftest import Site
from tests.sfu.offers import an_opening
from wire import codec
from wire.session import (
    CloseClass,
    CloseSession,
    PatchSession,
    Refusal,
    SessionOpened,
    SessionPatched,
)


@pytest_asyncio.fixture
async def http(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(site.node.url.removeprefix("unix:"))
    headers = {"Authorization": f"Bearer {site.node.secret}"}
    async with aiohttp.ClientSession("http://node", connector=connector, headers=headers) as http:
        yield http


async def refusal(response: aiohttp.ClientResponse) -> str:
    return codec.unpack(Refusal, await response.read()).code


@pytest.mark.parametrize("bearer", ["", "Bearer ", "Bearer wrong", "Basic x", "Bearer \xfc"])
async def test_without_the_secret_nothing_is_done(
    site: Site, http: aiohttp.ClientSession, bearer: str
) -> None:
    for method, path in (("POST", "/sessions"), ("GET", "/health"), ("DELETE", "/classes/x")):
        response = await http.request(method, path, headers={"Authorization": bearer})
        assert response.status == 401
    assert not site.node.sessions


async def test_health(site: Site, http: aiohttp.ClientSession) -> None:
    assert (await http.get("/health")).status == 200


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"\x93\x01\x02\x03", b"\x81\xa1x" * 99])
async def test_garbage_is_a_bad_message(http: aiohttp.ClientSession, body: bytes) -> None:
    response = await http.post("/sessions", data=body)
    assert (response.status, await refusal(response)) == (400, "bad_message")


async def test_a_session_is_opened_restarted_and_closed(
    site: Site, http: aiohttp.ClientSession
) -> None:
    opening = an_opening(fence=7)
    path = f"/sessions/{opening.session_id}"
    opened = codec.unpack(
        SessionOpened, await (await http.post("/sessions", data=codec.pack(opening))).read()
    )
    answer = opened.answer
    assert answer.candidates[0].port == site.media.port
    assert len(answer.ice_ufrag) >= 4 and len(answer.ice_pwd) >= 22
    outgoing = list(answer.outgoing.values())
    assert len({o.ssrc for o in outgoing} | {o.rtx_ssrc for o in outgoing if o.rtx_ssrc}) == 4
    assert [o.stream_id for o in outgoing] == ["screen", "mic", "screen"]

    again = await http.post("/sessions", data=codec.pack(opening))
    assert (again.status, await refusal(again)) == (409, "stale")

    restart = PatchSession(7, "newufrag", "x" * 24)
    texts = []
    for _ in range(2):  # a repeated restart is the same restart
        response = await http.patch(path, data=codec.pack(restart))
        texts.append(codec.unpack(SessionPatched, await response.read()))
    assert texts[0] == texts[1] and texts[0].ice_ufrag != answer.ice_ufrag
    late = await http.patch(path, data=codec.pack(replace(restart, fence=6)))
    assert (late.status, await refusal(late)) == (404, "unknown_session")

    for fence, left in ((6, 1), (7, 0), (7, 0)):
        response = await http.delete(path, data=codec.pack(CloseSession(fence, "left")))
        assert response.status == 204
        assert len(site.node.sessions) == left
    odd = await http.delete(path, data=codec.pack(CloseSession(7, "boredom")))
    assert (odd.status, await refusal(odd)) == (400, "bad_message")
    await site.nothing_left()


async def test_a_class_is_emptied(site: Site, http: aiohttp.ClientSession) -> None:
    opening = replace(an_opening(), epoch=3)
    await http.post("/sessions", data=codec.pack(opening))
    before, now = codec.pack(CloseClass(2)), codec.pack(CloseClass(3))
    assert (await http.delete("/classes/another", data=now)).status == 204
    # Word of an end that came before the class was reopened.
    assert (await http.delete(f"/classes/{opening.class_id}", data=before)).status == 204
    assert site.node.sessions
    assert (await http.delete(f"/classes/{opening.class_id}", data=now)).status == 204
    await site.nothing_left()


async def test_a_request_that_was_overtaken_opens_nothing(
    site: Site, http: aiohttp.ClientSession
) -> None:
    person = str(uuid4())
    newer = an_opening(fence=5, user_id=person)
    await http.post("/sessions", data=codec.pack(newer))
    # Its sender stood still between the commit and the call; the person has come again meanwhile.
    late = an_opening(fence=4, user_id=person)
    response = await http.post("/sessions", data=codec.pack(late))
    assert codec.unpack(Refusal, await response.read()).code == "stale"
    assert list(site.node.sessions) == [newer.session_id]


async def test_a_teachers_older_session_does_not_end_the_newer_one(site: Site) -> None:
    first = an_opening("publisher", fence=1, user_id="teacher")
    second = an_opening("publisher", fence=2, user_id="teacher")
    for opening in (first, second):
        site.node.open_session(opening)
    site.node._session_connected(site.node.sessions[first.session_id])
    assert set(site.node.sessions) == {first.session_id, second.session_id}
    site.node._session_connected(site.node.sessions[second.session_id])
    assert list(site.node.sessions) == [second.session_id]
