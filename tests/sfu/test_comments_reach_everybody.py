"""Comments: one order for all, stamped by the server, bounded for whoever floods or reads slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import pytest

from sfu.comments import (
    CLASS_BURST_MAX,
    KEPT_MAX,
    MESSAGE_BYTES_MAX,
    PERSON_BURST_MAX,
    TEXT_CHARS_MAX,
    Author,
    Comments,
    Refused,
    clean,
)
from sfu.live import BUFFERED_BYTES_MAX, decode
from tests.sfu.clients import Client
from tests.sfu.conftest import Site

Soon = Callable[[Callable[[], bool]], Awaitable[None]]
ANN = Author("1", "Ann", "viewer")
TEACHER = Author("2", "Tess", "publisher")


def say(client: Client, text: object, ref: object = 1, **more: Any) -> None:
    client.channel.send(msgpack.packb({"type": "comment", "ref": ref, "text": text, **more}))


async def heard(client: Client, count: int) -> list[dict[str, Any]]:
    """Return the next so many comments, in their order."""
    items: list[dict[str, Any]] = []
    while len(items) < count:
        items += (await client.message("comments"))["items"]
    return items


async def test_everybody_hears_everything_in_one_order(site: Site) -> None:
    teacher = await site.teacher()
    first, second = await site.student(), await site.student(account="other")
    people = (teacher, first, second)
    for client in people:
        await client.message("hello")
    for number, client in enumerate(people * 3):
        say(client, f"word {number}", ref=number)
    orders = [await heard(client, 9) for client in people]
    assert orders[0] == orders[1] == orders[2]
    numbers = [item["id"] for item in orders[0]]
    assert numbers == sorted(set(numbers))
    assert {item["text"] for item in orders[0]} == {f"word {n}" for n in range(9)}
    # Each one's own answers name the comment that their text became.
    for number, client in enumerate(people):
        accepted = await client.message("accepted")
        mine = next(item for item in orders[0] if item["id"] == accepted["id"])
        assert accepted["ref"] == number and mine["text"] == f"word {number}"


async def test_the_server_says_who_and_when(site: Site) -> None:
    student = await site.student()
    hello = await student.message("hello")
    forged = {"from": {"id": "0", "name": "The Teacher", "role": "publisher"}, "id": 7, "at": 0}
    say(student, "<b>it is me</b>", **forged)
    (item,) = await heard(student, 1)
    assert item["from"] == hello["you"] and item["text"] == "<b>it is me</b>"
    assert item["id"] > 7 and item["at"] > 1_700_000_000_000


async def test_a_joiner_is_greeted_with_the_newest_and_misses_none(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    room = next(iter(site.node.rooms.values()))
    for number in range(150):
        room.comments.add(TEACHER, f"{number}", now_s=1000.0 + number * 10, wall_us=number)
    joiner = await site.student(account="other")
    comments = (await joiner.message("hello"))["comments"]
    assert [item["text"] for item in comments["recent"]] == [str(n) for n in range(50, 150)]
    say(student, "the next one")
    (item,) = await heard(joiner, 1)
    assert item["text"] == "the next one"
    assert item["id"] > comments["recent"][-1]["id"]


async def test_comments_stay_while_everybody_reloads_and_go_with_the_class(site: Site) -> None:
    teacher = await site.teacher()
    await teacher.message("hello")
    say(teacher, "remember this")
    await heard(teacher, 1)
    await teacher.leave("?reason=pagehide")
    await site.nothing_left()
    again = await site.teacher()
    recent = (await again.message("hello"))["comments"]["recent"]
    assert [item["text"] for item in recent] == ["remember this"]
    room = next(iter(site.node.rooms.values()))
    site.node.end_class(room.class_id, 0)
    await site.nothing_left()
    assert not site.node._resting


async def test_a_flood_is_refused_with_the_time_to_wait(site: Site) -> None:
    student, other = await site.student(), await site.student(account="other")
    await student.message("hello")
    await other.message("hello")
    for number in range(PERSON_BURST_MAX + 3):
        say(student, f"{number}", ref=number)
    assert [i["text"] for i in await heard(other, PERSON_BURST_MAX)] == ["0", "1", "2", "3", "4"]
    refused = [await student.message("refused") for _ in range(3)]
    assert [r["ref"] for r in refused] == [5, 6, 7]
    assert {r["code"] for r in refused} == {"too_fast"}
    assert all(0 < r["retry_after_ms"] <= 1000 for r in refused)
    say(other, "still here")
    assert (await heard(student, PERSON_BURST_MAX + 1))[-1]["text"] == "still here"


async def test_the_teacher_pauses_comments_and_nobody_else_does(site: Site, soon: Soon) -> None:
    teacher, student = await site.teacher(), await site.student()
    await teacher.message("hello")
    assert (await student.message("hello"))["comments"]["paused"] is False
    pause = {"type": "pause_comments", "paused": True}
    student.channel.send(msgpack.packb(pause))
    session = site.node.sessions[student.session_id]
    await soon(lambda: session.ignored_messages == 1)
    teacher.channel.send(msgpack.packb(pause))
    assert await student.message("commenting") == {"type": "commenting", "paused": True}
    say(student, "may I?")
    assert (await student.message("refused"))["code"] == "paused"
    say(teacher, "not now")
    assert [item["text"] for item in await heard(student, 1)] == ["not now"]
    late = await site.student(account="other")
    assert (await late.message("hello"))["comments"]["paused"] is True


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("\u200b\u200d\ufeff", "empty"),
        ("\x00\x07\x1b", "empty"),
        ("x" * (TEXT_CHARS_MAX + 1), "too_long"),
        ("\ufb2c" * TEXT_CHARS_MAX, "too_long"),  # thrice as many, normalised
        (7, "not_text"),
        (None, "not_text"),
        ([], "not_text"),
    ],
)
def test_what_is_no_comment_is_refused(text: object, code: str) -> None:
    with pytest.raises(Refused) as error:
        clean(text)
    assert error.value.code == code


def test_text_stays_what_it_looks_like() -> None:
    assert clean("<script>alert('1')</script>") == "<script>alert('1')</script>"
    assert clean(" two\r\nlines\x00 ") == "two\nlines"
    assert clean("e\u0301") == "\u00e9"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert clean(family) == family
    assert clean("abc\u202edcba") == "abcdcba", "nothing turns its neighbours round"


async def test_comments_that_are_none_are_ignored(site: Site, soon: Soon) -> None:
    student = await site.student()
    await student.message("hello")
    for ref in (None, "1", 1.5, True, [1]):
        say(student, "hello", ref=ref)
    session = site.node.sessions[student.session_id]
    await soon(lambda: session.ignored_messages == 5)
    say(student, "x" * (TEXT_CHARS_MAX + 1))
    assert (await student.message("refused"))["code"] == "too_long"
    assert session.state == "connected"


def test_a_class_full_of_writers_stays_readable_and_hears_its_teacher() -> None:
    comments = Comments()
    for number in range(CLASS_BURST_MAX):
        comments.add(Author(f"{number}", "x", "viewer"), "x", now_s=1.0, wall_us=1)
    with pytest.raises(Refused) as error:
        comments.add(ANN, "x", now_s=1.0, wall_us=1)
    assert error.value.code == "busy"
    comments.add(TEACHER, "x", now_s=1.0, wall_us=1)
    comments.add(ANN, "x", now_s=1.0 + error.value.retry_after_s, wall_us=1)
    # What was refused for others' sake did not cost the person anything.
    for _ in range(PERSON_BURST_MAX - 1):
        with pytest.raises(Refused) as error:
            comments.add(ANN, "x", now_s=1.02, wall_us=1)
        assert error.value.code == "busy"
    comments.forget(now_s=1000.0)
    assert not comments._people


def test_a_reader_that_fell_behind_is_told_how_many_it_missed() -> None:
    comments = Comments()
    for number in range(KEPT_MAX + 20):
        comments.add(TEACHER, f"{number}", now_s=number * 10.0, wall_us=0)
    data, position = comments.since(5)
    told = decode(data)
    assert told["missed"] == 15 and position == 5 + 15 + len(told["items"])
    following = [str(n) for n in range(20, position)]
    assert [item["text"] for item in told["items"]] == following
    assert comments.since(5) is comments.since(5), "readers at one place share the bytes"
    numbers = [item["id"] for item in told["items"]]
    assert numbers == sorted(set(numbers)), "a clock that stands still gives no number twice"


def test_messages_fit_whatever_is_said() -> None:
    comments = Comments()
    long = Author("0" * 36, "\U0001f9d1" * 80, "publisher")
    for number in range(KEPT_MAX):
        comments.add(long, "\U0001f600" * TEXT_CHARS_MAX, now_s=number * 10.0, wall_us=2**51)
    # Held to the bound before they are packed: what is said decides how far that goes.
    greeting = msgpack.packb({"type": "hello", "comments": comments.greeting()})
    assert MESSAGE_BYTES_MAX / 2 < len(greeting) < MESSAGE_BYTES_MAX + 1024
    position, told = 0, 0
    while position < comments.end:
        data, position = comments.since(position)
        assert len(msgpack.packb(decode(data))) < MESSAGE_BYTES_MAX
        told += len(decode(data)["items"])
    assert told == KEPT_MAX


async def test_a_stuck_reader_holds_up_nobody_and_costs_nothing(site: Site) -> None:
    stuck, other = await site.student(), await site.student(account="other")
    await stuck.message("hello")
    await other.message("hello")
    stuck.vanish()
    room = next(iter(site.node.rooms.values()))
    for number in range(200):
        room.comments.add(TEACHER, "x" * TEXT_CHARS_MAX, now_s=number * 10.0, wall_us=number)
        room._said = True
        room._tell_soon()
        if number % 10 == 0:
            await asyncio.sleep(0.12)
    assert [i["id"] for i in await heard(other, 200)] == list(range(1, 201))
    session = site.node.sessions[stuck.session_id]
    assert session._live is not None and session._live._channel is not None
    assert session._live._channel.bufferedAmount < BUFFERED_BYTES_MAX + MESSAGE_BYTES_MAX
