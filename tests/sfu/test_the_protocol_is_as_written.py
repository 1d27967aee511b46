"""docs/protocol.md and the node say the same: every example is one that the node makes or takes."""

from __future__ import annotations

from typing import Any

import msgpack

from tests.protocol_examples import examples
from tests.sfu.clients import Client
from tests.sfu.conftest import Site
from tests.signaling.fake_control import LINK

# Said by the end of a session, not by a room.
FAREWELLS = {"ended", "replaced", "moved"}


def shape(value: Any) -> Any:
    """Return the names and types of a message, without its values."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


async def collected(site: Site) -> dict[str, dict[str, Any]]:
    """Make the node say everything once; return its messages by type."""
    said: dict[str, dict[str, Any]] = {}

    async def note(client: Client, *kinds: str) -> None:
        for kind in kinds:
            said[kind] = await client.message(kind, limit_s=12)

    unable = Client.student(site.http, f"/live/links/{LINK}/whep", "unable")
    site.clients.append(unable)
    unable.offer_only("H264")
    await unable.connect()
    await unable.message("hello")
    teacher = await site.teacher()
    await note(teacher, "hello")
    student = await site.student()
    await student.message("hello")
    await note(teacher, "count", "slots")
    await note(unable, "playback")
    to_node = examples()[1]
    for _ in range(6):
        student.channel.send(msgpack.packb(to_node["comment"]))
    await note(student, "accepted", "comments", "refused")
    student.channel.send(msgpack.packb(to_node["roster"]))
    await note(student, "roster")
    teacher.channel.send(msgpack.packb(to_node["pause_comments"]))
    await note(student, "commenting")
    teacher.channel.send(msgpack.packb(to_node["pause_share"]))
    await note(student, "share")
    await teacher.leave()
    await note(student, "teacher")
    assert not site.node.sessions[student.session_id].ignored_messages
    return said


async def test_every_example_is_what_the_node_says(site: Site) -> None:
    documented, _ = examples()
    said = await collected(site)
    for kind, message in said.items():
        assert shape(message) == shape(documented[kind]), kind
    silent = set(documented) - set(said) - FAREWELLS - {"ping", "presence"}
    assert not silent, f"documented and never said: {silent}"
    assert set(documented["presence"]) == {"type", "joined", "back", "disconnected", "left"}


async def test_every_farewell_is_as_written(site: Site) -> None:
    documented, _ = examples()
    first = await site.student()
    await first.message("hello")
    again = await site.student()
    await again.message("hello")
    assert await first.message("replaced") == documented["replaced"]
    room = next(iter(site.node.rooms.values()))
    site.node.end_class(room.class_id, 0)
    assert await again.message("ended") == documented["ended"]
    late = await site.student(account="other")
    await late.message("hello")
    site.node_task.cancel()  # as a restart of the server does
    # One that stops stays no longer, and says so by leaving the time out.
    assert await late.message("moved") == {"type": documented["moved"]["type"]}
