"""A class on three nodes, origin > middle > leaf: what its people see, and what each link carries."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgpack
import pytest

from sfu.cascade.above import client as client_of
from tests.sfu.clients import Client
from tests.sfu.conftest import Site, a_site
from tests.signaling.fake_control import CLASS_ID as CLASS_UUID
from wire import codec
from wire.link import CloseLink, OfferLink, TakeLink
from wire.session import Refusal

CLASS_ID = str(CLASS_UUID)
Soon = Callable[[Callable[[], bool]], Awaitable[None]]


@dataclass
class Tree:
    places: list[Site]
    links: list[tuple[int, int, str]] = field(default_factory=list)  # parent, child, link

    async def link(self, parent: int, child: int, **changes: Any) -> tuple[OfferLink, TakeLink]:
        """Do what control does: tell the parent, then the child."""
        offer, take = self.letters(parent, child)
        take = replace(take, **changes)
        assert await self.ask(parent, "POST", "links", offer) == (204, "")
        assert await self.ask(child, "POST", "upstream", take) == (204, "")
        self.links.append((parent, child, offer.link_id))
        return offer, take

    async def ask(self, at: int, method: str, what: str, message: Any) -> tuple[int, str]:
        """Ask a node's internal API as control does; return the status and a refusal's code."""
        node = self.places[at].node
        http, base = client_of(node.url)
        headers = {"Authorization": f"Bearer {node.secret}"}
        url, data = f"{base}/classes/{CLASS_ID}/{what}", codec.pack(message)
        async with http, http.request(method, url, data=data, headers=headers) as response:
            body = await response.read()
            return response.status, codec.unpack(Refusal, body).code if body else ""

    def letters(self, parent: int, child: int) -> tuple[OfferLink, TakeLink]:
        above, below = self.places[parent].node, self.places[child].node
        key, link_id = secrets.token_bytes(32), str(uuid4())
        room = above.rooms.get(CLASS_ID)
        path = (*(room.path if room else ()), above.node_id)
        offer = OfferLink(link_id, CLASS_ID, below.node_id, 1, key)
        return offer, TakeLink(link_id, CLASS_ID, above.node_id, above.url, 1, key, path)

    async def teacher(self, at: int = 0) -> Client:
        return await self.places[at].teacher()

    async def student(self, at: int, account: str) -> Client:
        return await self.places[at].student(account=account)

    def stats_of_link(self, parent: int) -> dict[str, int]:
        place = self.places[parent]
        (number,) = place.node.cascade._below
        return place.media.session_stats(number) or {}


@asynccontextmanager
async def a_tree(directory: Path, count: int) -> AsyncIterator[Tree]:
    async with AsyncExitStack() as stack:
        tree = Tree([])
        for number in range(count):
            here = directory / str(number)
            here.mkdir()
            tree.places.append(await stack.enter_async_context(a_site(here)))
        yield tree


def say(client: Client, text: str, ref: int = 1) -> None:
    client.channel.send(msgpack.packb({"type": "comment", "ref": ref, "text": text}))


async def heard(client: Client, count: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while len(items) < count:
        items += (await client.message("comments"))["items"]
    return items


async def until_count(client: Client, count: int) -> None:
    while (await client.message("count"))["count"] != count:
        pass


async def test_nobody_can_tell_which_node_serves_them(tmp_path: Path, soon: Soon) -> None:
    async with a_tree(tmp_path, 3) as tree:
        teacher = await tree.teacher()
        await teacher.message("hello")
        await tree.link(0, 1)
        await tree.link(1, 2)
        first = await tree.student(0, "student")
        second = await tree.student(1, "other")
        third = await tree.student(2, "third")
        people = (teacher, first, second, third)
        for client in people[1:]:
            hello = await client.message("hello")
            assert hello["teacher"] and not hello["share"]["paused"]
            await client.media("video", 5)
            await client.media("audio", 5)
        # One number and one order, on whichever node it was said.
        for number, client in enumerate(people):
            say(client, f"word {number}", ref=number)
        orders = [await heard(client, 4) for client in people]
        assert all(order == orders[0] for order in orders)
        assert {item["text"] for item in orders[0]} == {f"word {n}" for n in range(4)}
        for number, client in enumerate(people):
            accepted = await client.message("accepted")
            mine = next(item for item in orders[0] if item["id"] == accepted["id"])
            assert accepted["ref"] == number and mine["text"] == f"word {number}"
        await soon(lambda: all(p.node.rooms[CLASS_ID].count == 3 for p in tree.places))
        # The roster is the class's, wherever it is asked for.
        rosters = []
        for client in people:
            client.channel.send(msgpack.packb({"type": "roster"}))
            rosters.append([p["id"] for p in (await client.message("roster"))["people"]])
        assert len(rosters[0]) == 3 and all(roster == rosters[0] for roster in rosters)
        # States travel down.
        teacher.channel.send(msgpack.packb({"type": "pause_comments", "paused": True}))
        for client in people:
            assert (await client.message("commenting"))["paused"]
        say(third, "not now", ref=9)
        refused = await third.message("refused")
        assert (refused["ref"], refused["code"]) == (9, "paused")
        teacher.channel.send(msgpack.packb({"type": "pause_share", "paused": True}))
        for client in people:
            assert (await client.message("share"))["paused"]
        # A leaver is missed everywhere.
        await third.leave()
        await soon(lambda: all(p.node.rooms[CLASS_ID].count == 2 for p in tree.places))
        # The end of the class is everybody's.
        tree.places[0].node.end_class(CLASS_ID, 0)
        for client in (teacher, first, second):
            await client.message("ended")
        await soon(lambda: not any(p.node.rooms for p in tree.places))
        await soon(lambda: not any(p.node._by_number or len(p.node.ssrcs) for p in tree.places))


@pytest.mark.long  # exact in virtual time: core/tests/an_edge
async def test_a_link_is_one_copy_however_many_watch_behind_it(tmp_path: Path, soon: Soon) -> None:
    async with a_tree(tmp_path, 2) as tree:
        teacher = await tree.teacher()
        await teacher.message("hello")
        await tree.link(0, 1)
        watching = [await tree.student(1, name) for name in ("student", "other", "third")]
        for client in watching:
            await client.media("video", 1)
        (publisher,) = tree.places[0].node._by_number

        async def counted() -> tuple[int, int, int]:
            await asyncio.sleep(1.2)  # counters are a second old at the most
            came = tree.places[0].media.session_stats(publisher) or {}
            link = tree.stats_of_link(0)
            copies = link["packets_out"] - link["probe_packets_out"] - link["packets_repaired"]
            return (
                came["packets_received"],
                copies,
                tree.places[1].media.stats()["media_packets_out"],
            )

        before = await counted()
        await asyncio.sleep(4)
        teacher.mute()
        came, copies, sent = (b - a for a, b in zip(before, await counted(), strict=True))
        assert 0.7 * came <= copies <= came * 1.35, "each packet once, as counters of a moment tell"
        assert sent > 2 * copies, "and to each of the three"


async def test_another_parent_takes_over_and_nobody_connects_anew(
    tmp_path: Path, soon: Soon
) -> None:
    async with a_tree(tmp_path, 3) as tree:
        teacher = await tree.teacher()
        await teacher.message("hello")
        await tree.link(0, 1)
        await tree.link(1, 2)
        student = await tree.student(2, "student")
        await student.message("hello")
        await student.media("video", 10)
        leaf = tree.places[2].node
        # The middle is gone, with its process: both its links are cut.
        tree.places[1].node_task.cancel()
        await soon(lambda: bool(leaf.cascade.lost()))
        lost = leaf.cascade.lost()
        assert lost[0].link_id == tree.links[1][2]
        await soon(lambda: any(lost == b.links_lost for b in tree.places[2].control.beats))
        await tree.link(0, 2)
        assert not leaf.cascade.lost()
        before = student.packets["video"]
        await student.media("video", before + 10)
        say(student, "still here")
        (item,) = await heard(teacher, 1)
        assert item["text"] == "still here"
        assert (await heard(student, 1))[0]["id"] == item["id"]
        assert student.pc.connectionState == "connected"
        assert len(tree.places[0].node.rooms[CLASS_ID].presence.connections()) == 1


async def test_a_live_parent_is_replaced_without_a_gap(tmp_path: Path, soon: Soon) -> None:
    async with a_tree(tmp_path, 3) as tree:
        teacher = await tree.teacher()
        await teacher.message("hello")
        await tree.link(0, 1)
        await tree.link(0, 2)
        old, _ = await tree.link(1, 2)
        student = await tree.student(2, "student")
        await student.media("video", 10)
        _, take = await tree.link(0, 2)
        leaf = tree.places[2].node
        room = leaf.rooms[CLASS_ID]
        assert room.path == (tree.places[0].node.node_id,)
        await soon(lambda: not tree.places[1].node.cascade._below)
        before = student.packets["video"]
        await student.media("video", before + 10)
        # What is known already changes nothing.
        await leaf.cascade.take(CLASS_ID, take)
        leaf.cascade.close_above(CLASS_ID, CloseLink(old.link_id))
        assert leaf.cascade.figures().above == 1


async def test_loops_stale_placements_and_wrong_keys_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_tree(tmp_path, 2) as tree:
        teacher = await tree.teacher()
        await teacher.message("hello")
        offer, take = tree.letters(0, 1)

        async def taken(**changes: Any) -> tuple[int, str]:
            return await tree.ask(1, "POST", "upstream", replace(take, **changes))

        assert await tree.ask(1, "POST", "links", offer) == (503, "wrong_node")  # nobody to follow
        assert await taken() == (503, "no_parent")  # nobody has offered it
        assert await tree.ask(0, "POST", "links", offer) == (204, "")
        assert await taken(key=bytes(32)) == (503, "no_parent")
        assert "not known by this key" in caplog.text
        path = (tree.places[1].node.node_id, tree.places[0].node.node_id)
        assert await taken(path=path) == (409, "loop")
        assert await taken(key=b"short") == (400, "bad_message")
        assert CLASS_ID not in tree.places[1].node.rooms, "what was refused leaves nothing behind"
        assert await taken(placement=2) == (204, "")
        assert await taken(placement=2) == (204, "")  # once more
        assert await taken(link_id=str(uuid4())) == (409, "stale")
        close = CloseLink(take.link_id)
        assert await tree.ask(1, "DELETE", "upstream", CloseLink(str(uuid4()))) == (204, "")
        assert CLASS_ID in tree.places[1].node.rooms
        assert await tree.ask(1, "DELETE", "upstream", close) == (204, "")
        assert CLASS_ID not in tree.places[1].node.rooms
        assert await tree.ask(0, "DELETE", "links", close) == (204, "")


async def test_a_loop_that_control_did_not_see_is_refused_by_the_nodes(tmp_path: Path) -> None:
    async with a_tree(tmp_path, 3) as tree:
        teacher = await tree.teacher()
        await teacher.message("hello")
        await tree.link(0, 1)
        await tree.link(1, 2)
        # The middle is to follow the leaf, by one who does not know that the leaf follows it.
        leaf, middle = tree.places[2].node, tree.places[1].node
        offer, take = tree.letters(2, 1)
        assert await tree.ask(2, "POST", "links", offer) == (204, "")
        forgetful = replace(take, path=(leaf.node_id,))
        assert await tree.ask(1, "POST", "upstream", forgetful) == (409, "loop")
        assert middle.rooms[CLASS_ID].path == (tree.places[0].node.node_id,)
        assert middle.cascade.figures().above == 1


async def test_another_teachers_codec_and_the_history_reach_an_edge(tmp_path: Path) -> None:
    async with a_tree(tmp_path, 2) as tree:
        teacher = await tree.teacher()
        await teacher.message("hello")
        say(teacher, "before anybody came")
        await heard(teacher, 1)
        await tree.link(0, 1)
        student = await tree.student(1, "student")
        hello = await student.message("hello")
        assert [c["text"] for c in hello["comments"]["recent"]] == ["before anybody came"]
        await student.media("video", 5)
        await teacher.leave()
        while (await student.message("teacher"))["here"]:
            pass
        again = Client.teacher(tree.places[0].http, f"/live/classes/{CLASS_ID}/whip")
        tree.places[0].clients.append(again)
        again.offer_only("H264")
        await again.connect()
        while not (await student.message("teacher"))["here"]:
            pass
        before = student.packets["video"]
        await student.media("video", before + 10)
        edge = tree.places[1].node.rooms[CLASS_ID]
        assert [name for name, *_ in edge.codecs["video"]] == ["VP8", "H264"]


async def test_a_child_that_lies_is_not_believed(
    tmp_path: Path, soon: Soon, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_tree(tmp_path, 2) as tree:
        teacher = await tree.teacher()
        await teacher.message("hello")
        await tree.link(0, 1)
        origin, edge = tree.places[0].node, tree.places[1].node
        (above,) = edge.cascade._above.values()
        (below,) = origin.cascade._below.values()
        channel = above._channel
        assert channel is not None
        # Whoever it does not serve, the teacher among them, says nothing by it.
        user = next(iter(origin.sessions.values())).opening.user_id
        channel.send({"type": "say", "ref": 1, "user": user, "text": "I am the teacher"})
        await soon(lambda: below.refused == 1)
        assert "comments for somebody it does not serve" in caplog.text
        assert not origin.rooms[CLASS_ID].comments.end
        # More people than the class holds end the link, and are gone with it.
        origin.rooms[CLASS_ID].capacity = 400
        for start in range(0, 900, 300):
            came = [[f"{start + n}", "x"] for n in range(300)]
            channel.send({"type": "people", "came": came, "went": []})
        await soon(lambda: "people of" in caplog.text)
        await soon(lambda: not below.people)
