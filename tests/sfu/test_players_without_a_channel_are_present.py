"""A plain WHEP player: no data channel, and yet somebody who is there."""

from __future__ import annotations

import msgpack

from tests.sfu.clients import Client
from tests.sfu.conftest import Site
from tests.sfu.test_presence_is_told import presence
from tests.signaling.fake_control import LINK


async def a_player(site: Site, account: str) -> Client:
    player = Client.student(site.http, f"/live/links/{LINK}/whep", account, with_channel=False)
    site.clients.append(player)
    await player.connect()
    assert "m=application" not in player.pc.localDescription.sdp
    return player


async def roster(client: Client) -> dict[str, str]:
    client.channel.send(msgpack.packb({"type": "roster", "after": None, "limit": 100}))
    people = (await client.message("roster"))["people"]
    return {person["id"]: person["state"] for person in people}


async def test_a_player_counts_by_its_media_and_goes_when_it_falls_silent(site: Site) -> None:
    watcher = await site.student()
    await watcher.message("hello")
    teacher = await site.teacher()
    await teacher.message("hello")
    player = await a_player(site, "other")
    await player.media("video", 5)
    session = site.node.sessions[player.session_id]
    identity = session.opening.user_id
    while identity not in [person["id"] for person in await presence(watcher, "joined")]:
        pass
    while (await watcher.message("count"))["count"] != 2:
        pass
    assert (await roster(watcher))[identity] == "here"
    player.vanish()
    (lost,) = await presence(watcher, "disconnected")
    assert lost["id"] == identity
    while (await watcher.message("count"))["count"] != 1:
        pass
    assert player.session_id not in site.node.sessions
    assert (await roster(watcher))[identity] == "away"


async def test_a_player_that_says_goodbye_has_left(site: Site) -> None:
    watcher = await site.student()
    await watcher.message("hello")
    player = await a_player(site, "other")
    await player.state("connected")
    while (await watcher.message("count"))["count"] != 2:
        pass
    await player.leave()
    while (await watcher.message("count"))["count"] != 1:
        pass
