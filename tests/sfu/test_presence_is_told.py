"""Who is there: names in a small class, a count and pages in a large one, and nobody lost on the way."""

from __future__ import annotations

import random
from typing import Any

import msgpack

from sfu.presence import AWAY_S, NAMED_PEOPLE_MAX, SUCCESSOR_S, Presence
from tests.sfu.clients import Client
from tests.sfu.conftest import Site


async def presence(client: Client, kind: str) -> list[dict[str, Any]]:
    """Return the next change of a kind."""
    while True:
        message = await client.message("presence", limit_s=12)
        if kind in message:
            changes: list[dict[str, Any]] = message[kind]
            return changes


async def roster(client: Client, **asked: Any) -> dict[str, Any]:
    client.channel.send(msgpack.packb({"type": "roster", **asked}))
    return await client.message("roster")


async def test_coming_leaving_and_vanishing_are_told_apart(site: Site) -> None:
    watcher = await site.student()
    await watcher.message("hello")
    other = await site.student(account="other")
    hello = await other.message("hello")
    joined = {"id": hello["you"]["id"], "name": hello["you"]["name"]}
    while joined not in await presence(watcher, "joined"):  # one's own arrival is told as well
        pass
    other.vanish()
    (lost,) = await presence(watcher, "disconnected")
    assert lost["id"] == joined["id"]
    people = (await roster(watcher))["people"]
    assert {p["id"]: p["state"] for p in people}[joined["id"]] == "away"
    back = await site.student(account="other")
    (returned,) = await presence(watcher, "back")
    assert returned["id"] == joined["id"]
    await back.leave()
    (left,) = await presence(watcher, "left")
    assert left == {"id": joined["id"]}
    assert [p["state"] for p in (await roster(watcher))["people"]] == ["here"]


async def test_a_continued_session_is_nobodys_news(site: Site) -> None:
    watcher, other = await site.student(), await site.student(account="other")
    await watcher.message("hello")
    you = (await other.message("hello"))["you"]
    while you["id"] not in [person["id"] for person in await presence(watcher, "joined")]:
        pass
    again = await site.student(f"?resume={other.resume}", account="other")
    assert (await again.message("hello"))["count"] == 2
    await again.leave()
    (left,) = await presence(watcher, "left")
    told = [kind for m in watcher.messages if m["type"] == "presence" for kind in m]
    assert "disconnected" not in told and "back" not in told
    assert left["id"] == you["id"]


async def test_the_teachers_absence_is_told(site: Site) -> None:
    student = await site.student()
    assert (await student.message("hello"))["teacher"] is False
    teacher = await site.teacher()
    assert await student.message("teacher") == {"type": "teacher", "here": True}
    await teacher.leave("?reason=pagehide")
    assert await student.message("teacher") == {"type": "teacher", "here": False}


def test_a_random_life_ends_with_the_right_people() -> None:
    random_ = random.Random(7)
    presence = Presence()
    sessions: dict[str, int] = {}
    told: dict[str, bool] = {}
    now_s = 0.0
    for _ in range(20_000):
        now_s += random_.random()
        user = f"{random_.randrange(40)}"
        if sessions.get(user) and random_.random() < 0.55:
            presence.disconnected(user, now_s, random_.choice(["left", "lost", "replaced"]))
            sessions[user] -= 1
        else:
            presence.connected(user, f"name {user}")
            sessions[user] = sessions.get(user, 0) + 1
        if random_.random() < 0.2:
            presence.tick(now_s)
            changes = presence.changes()
            for kind, people in changes.items():
                for person in people:
                    told[person["id"]] = kind in ("joined", "back")
    presence.tick(now_s + SUCCESSOR_S)
    presence.tick(now_s + AWAY_S)
    for kind, people in presence.changes().items():
        told.update({p["id"]: kind in ("joined", "back") for p in people})
    here = {user for user, count in sessions.items() if count}
    assert {user for user, is_here in told.items() if is_here} == here
    assert presence.count == len(here)
    assert {p["id"] for p in presence.page(None, 100)["people"]} == here


def test_a_large_class_is_paged_by_name_and_told_without_names() -> None:
    presence = Presence()
    size = NAMED_PEOPLE_MAX + 50
    for number in range(size):
        presence.connected(f"id {number}", f"Name {number % 7}")
    assert presence.changes() == {}
    seen: list[tuple[str, str]] = []
    page = presence.page(None, 33)
    while True:
        seen += [(p["name"], p["id"]) for p in page["people"]]
        if page["next"] is None:
            break
        # Who leaves between two pages takes nobody else along.
        presence.disconnected(seen[-1][1], 0.0, "left")
        page = presence.page(page["next"], 33)
    assert len(seen) == len(set(seen)) == size
    assert seen == sorted(seen)


async def test_nonsense_asked_of_the_roster_is_ignored(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    for asked in ({"after": 7}, {"limit": "all"}, {"limit": True}, {"after": ["x"]}):
        student.channel.send(msgpack.packb({"type": "roster", **asked}))
    for limit in (-5, 0, 10**18):
        assert len((await roster(student, limit=limit))["people"]) == 1
    assert (await roster(student, after="\uffff\n"))["people"] == []
    assert site.node.sessions[student.session_id].ignored_messages == 4
