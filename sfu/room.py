"""A class on this node: its publisher, its members, which slots flow, what is said and who is there.

A class larger than a node is a tree of these (`sfu.cascade`). The origin's room numbers the comments and
counts the people; a room with a parent passes on what its people do and takes the rest from above.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from sfu.comments import Author, Comment, Comments, Refused
from sfu.live import Message, encode
from sfu.presence import How, Presence
from wire.session import Slot

if TYPE_CHECKING:
    from sfu.session import Session

# As fast as a reader follows; the first comment after a pause goes out at once.
UPDATE_INTERVAL_S = 0.1
# A message costs about 90 us: large classes are told less often, 2,000 members three times a second.
UPDATES_PER_S_MAX = 6000
# Told in one go; between two goes other work has its turn.
TOLD_AT_ONCE_MAX = 64


Answer = Callable[[Message], None]
CodecNumbers = tuple[str, int, str]  # name, clock rate in Hz, fmtp


class Parent(Protocol):
    """What a room asks of its link upwards."""

    def tell_people(self) -> None: ...
    def say(self, author: Author, text: str, answer: Answer) -> None: ...
    def ask_page(self, after: str | None, limit: int, answer: Answer) -> None: ...


class Child(Protocol):
    """What a room tells its links downwards."""

    def tell(self, state: Message | None, news: Message) -> None: ...
    def tell_codec(self, slot: Slot, index: int) -> None: ...


class Room:
    """One class; `number` is its name in the native core, which knows no number twice."""

    def __init__(self, class_id: str, number: int = 0) -> None:
        self.class_id = class_id
        self.number = number
        self.sessions: dict[str, Session] = {}
        self.title = ""
        self.capacity = 0
        self.comments = Comments()
        self.presence = Presence()
        self.above: Parent | None = None
        self.below: dict[str, Child] = {}  # by link
        self.path: tuple[str, ...] = ()  # nodes from the origin to the one above
        self.codecs: dict[Slot, list[CodecNumbers]] = {}  # by their index in the native core
        self.timeline = ""
        self._followed = ""  # the time line of the node that was followed last
        self._had_source = False
        self._count_above = 0
        self._news: Message = {}  # changes of people that were told from above
        self._slots: dict[Slot, bool] = {"video": False, "mic": False, "screen_audio": False}
        self._teacher = False  # a publisher is connected
        self._share_paused = False  # the teacher keeps the picture back, and goes on with it later
        self._stale: set[str] = set()  # kinds of state that changed since they were told
        self._said = False  # comments were added since they were told
        self._told_at_s = 0.0
        self._telling: asyncio.Handle | None = None
        self._due: asyncio.TimerHandle | None = None
        self._begin_timeline()

    @property
    def count(self) -> int:
        """Viewers that are connected, each person once; the teacher is none."""
        here = self.presence.count
        # Those above may not have heard of everybody here yet.
        return here if self.above is None else max(here, self._count_above)

    @property
    def is_held(self) -> bool:
        """Whether anybody needs it: a session, a parent, a child."""
        return bool(self.sessions or self.below) or self.above is not None

    # Members come and go.

    def add(self, session: Session) -> None:
        self.sessions[session.session_id] = session
        self.title = session.opening.class_title or self.title
        self.capacity = session.opening.capacity or self.capacity

    def remove(self, session: Session) -> None:
        if self.sessions.get(session.session_id) is session:
            del self.sessions[session.session_id]
        if not self.is_held:
            self.close()

    def renumber(self, number: int) -> None:
        """Begin, or go on after a rest, under a new number."""
        self.number = number
        self._slots = dict.fromkeys(self._slots, False)
        self.codecs = {}
        self._begin_timeline()

    def close(self) -> None:
        """Tell nothing more."""
        for handle in (self._due, self._telling):
            if handle is not None:
                handle.cancel()
        self._due = self._telling = None

    def connected(self, session: Session) -> None:
        """Note that a session's media can flow."""
        if session.publishes:
            self._set_teacher()
            self._note_local_source()
        else:
            self.presence.connected(session.opening.user_id, session.opening.name)
            self._people_changed()
        self._tell_soon()

    def disconnected(self, session: Session, how: How) -> None:
        """Note that a connected session ended."""
        if session.publishes:
            self._set_teacher()
        else:
            self.presence.disconnected(session.opening.user_id, time.monotonic(), how)
            self._people_changed()
        self._tell_soon()

    def slot_flows(self, slot: Slot, flows: bool) -> None:
        if self._slots[slot] != flows:
            self._slots[slot] = flows
            if slot == "video" and flows and self.above is None:
                # Whoever teaches now shows something, whatever a page before it had paused.
                self._set_share_paused(False)
            self._tell_state("slots", self.slots_message(), self.sessions.values())

    # Members say something.

    def receive(self, session: Session, message: Message) -> bool:
        """Act on a client's message; return whether it was one of ours."""
        take = _HEARD.get(message["type"])
        return take is not None and take(self, session, message)

    def _comment(self, session: Session, message: Message) -> bool:
        reference = message.get("ref")
        if type(reference) is not int:
            return False
        opening = session.opening
        author = Author(opening.user_id, opening.name, opening.role)
        self.say(
            author,
            message.get("text"),
            lambda answer: session.send(encode({**answer, "ref": reference})),
        )
        return True

    def say(self, author: Author, text: object, answer: Answer) -> None:
        """Take a comment of somebody here or below; `answer` gets `accepted` or `refused` without the ref."""
        now_s, wall_us = time.monotonic(), time.time_ns() // 1000
        try:
            if self.above is not None:
                # What the origin would refuse as well need not travel.
                kept = self.comments.admit(author, text, now_s=now_s)
                self.above.say(author, kept, answer)
                return
            comment = self.comments.add(author, text, now_s=now_s, wall_us=wall_us)
        except Refused as error:
            answer(refusal(error.code, error.retry_after_s))
            return
        answer({"type": "accepted", "id": comment.number})
        self._said = True
        self._tell_soon()

    def _pause_comments(self, session: Session, message: Message) -> bool:
        paused = message.get("paused")
        if not session.publishes or type(paused) is not bool:
            return False
        if self.comments.paused != paused:
            self.comments.paused = paused
            self._stale.add("commenting")
            self._tell_soon()
        return True

    def _pause_share(self, session: Session, message: Message) -> bool:
        paused = message.get("paused")
        if not session.publishes or type(paused) is not bool:
            return False
        self._set_share_paused(paused)
        return True

    def _set_share_paused(self, paused: bool) -> None:
        if self._share_paused != paused:
            self._share_paused = paused
            self._stale.add("share")
            self._tell_soon()

    def _roster(self, session: Session, message: Message) -> bool:
        after, limit = message.get("after"), message.get("limit", 100)
        if not (after is None or isinstance(after, str)) or type(limit) is not int:
            return False
        self.ask_page(after, limit, lambda page: session.send(encode({"type": "roster", **page})))
        return True

    def ask_page(self, after: str | None, limit: int, answer: Answer) -> None:
        """Give `answer` a page of the whole class's roster."""
        if self.above is not None:
            self.above.ask_page(after, limit, answer)
        else:
            answer(self.presence.page(after, limit))

    # Other nodes.

    def continues(self, timeline: str) -> bool:
        """Return whether a node of this time line goes on where the one followed before has ended."""
        return self._followed == timeline

    def follow(self, above: Parent, timeline: str) -> None:
        """Be an edge from now on, or of another parent."""
        if not self.continues(timeline):
            self.timeline = str(uuid4()) if self._had_source else timeline
        self._followed, self._had_source = timeline, True
        self.above = above
        self._everything_changed()

    def unfollow(self, above: Parent) -> None:
        """Have no parent any more."""
        if self.above is above:
            self.above, self.path, self._news = None, (), {}
            self._set_teacher()
            self._everything_changed()
            if not self.is_held:
                self.close()

    def attach(self, link_id: str, child: Child) -> None:
        self.below[link_id] = child

    def detach(self, link_id: str, child: Child) -> None:
        if self.below.get(link_id) is child:
            del self.below[link_id]
        if not self.is_held:
            self.close()

    def codec(self, slot: Slot, index: int, codec: CodecNumbers) -> None:
        """Note a codec that flows in a slot for the first time, for those below."""
        known = self.codecs.setdefault(slot, [])
        if index == len(known):
            known.append(codec)
            for child in self.below.values():
                child.tell_codec(slot, index)

    def people_below(
        self, came: Iterable[tuple[str, str]], went: Iterable[tuple[str, How]], now_s: float
    ) -> None:
        """Note who got a session somewhere below, and who has none there any more."""
        for user_id, name in came:
            self.presence.connected(user_id, name)
        for user_id, how in went:
            self.presence.disconnected(user_id, now_s, how)
        self._people_changed()
        self._tell_soon()

    def state(self) -> Message:
        """Return what a node below must know."""
        return {
            "count": self.count,
            "teacher": self._teacher,
            "share_paused": self._share_paused,
            "comments_paused": self.comments.paused,
            "timeline": self.timeline,
            "title": self.title,
            "capacity": self.capacity,
        }

    def hear_state(self, state: Message) -> None:
        """Take what the node above says of the class."""
        for kind, changed in (
            ("count", self._count_above != state["count"]),
            ("teacher", self._teacher != state["teacher"]),
            ("share", self._share_paused != state["share_paused"]),
            ("commenting", self.comments.paused != state["comments_paused"]),
        ):
            if changed:
                self._stale.add(kind)
        self._count_above, self._teacher = state["count"], state["teacher"]
        self._share_paused, self.comments.paused = state["share_paused"], state["comments_paused"]
        self.title, self.capacity = state["title"] or self.title, state["capacity"] or self.capacity
        if state["timeline"] != self._followed:
            # The same link goes on, so that what is behind it only has another name.
            was_theirs = self.timeline == self._followed
            self.timeline = state["timeline"] if was_theirs else str(uuid4())
            self._followed = state["timeline"]
            self._stale.add("timeline")
        self._tell_soon()

    def hear_comments(self, comments: Iterable[Comment]) -> None:
        for comment in comments:
            self._said |= self.comments.copy(comment)
        self._tell_soon()

    def hear_news(self, news: Message) -> None:
        """Take changes of people that the origin tells everybody."""
        for kind, people in news.items():
            self._news.setdefault(kind, []).extend(people)
        self._stale.add("presence")
        self._tell_soon()

    def lose_teacher(self) -> None:
        """Nothing comes from above: whoever teaches is not there for those here."""
        if self.above is not None and self._teacher:
            self._teacher = False
            self._stale.add("teacher")
            self._tell_soon()

    def _begin_timeline(self) -> None:
        self.timeline, self._followed, self._had_source = str(uuid4()), "", False

    def _note_local_source(self) -> None:
        if self._followed:
            self.timeline, self._followed = str(uuid4()), ""
            self._stale.add("timeline")
        self._had_source = True

    def _people_changed(self) -> None:
        self._stale |= {"people"} if self.above is not None else {"count", "presence"}

    def _everything_changed(self) -> None:
        self._stale |= {*_STATES, "people"}
        self._tell_soon()

    # Members are told.

    def tick(self, now_s: float) -> None:
        """Do what comes with time; called a few times a second."""
        if self.presence.tick(now_s):
            self._people_changed()
        self.comments.forget(now_s)
        if self._stale or self._said:
            self._tell_soon()
        for session in self.sessions.values():
            session.drain()

    def greeting(self, session: Session) -> Message:
        """Return the first message of a session's channel."""
        opening = session.opening
        return {
            "type": "hello",
            "version": 1,
            "you": {"id": opening.user_id, "name": opening.name, "role": opening.role},
            "class": {"id": self.class_id, "title": self.title, "capacity": self.capacity},
            "count": self.count,
            "teacher": self._teacher,
            "slots": dict(self._slots),
            "share": {"paused": self._share_paused},
            "comments": self.comments.greeting(),
            "playback": session.playback(),
            "resume": session.resume,
        }

    def count_message(self) -> Message:
        return {"type": "count", "count": self.count}

    def slots_message(self) -> Message:
        return {"type": "slots", **{str(slot): flows for slot, flows in self._slots.items()}}

    def share_message(self) -> Message:
        return {"type": "share", "paused": self._share_paused}

    def teacher_message(self) -> Message:
        return {"type": "teacher", "here": self._teacher}

    def commenting_message(self) -> Message:
        return {"type": "commenting", "paused": self.comments.paused}

    def _set_teacher(self) -> None:
        if self.above is not None:
            return  # it is told from there
        here = any(s.publishes and s.state == "connected" for s in self.sessions.values())
        if here != self._teacher:
            self._teacher = here
            self._stale.add("teacher")

    @property
    def _interval_s(self) -> float:
        return max(UPDATE_INTERVAL_S, len(self.sessions) / UPDATES_PER_S_MAX)

    def _tell_soon(self) -> None:
        """Tell the members what is new as soon as the class's size allows."""
        if self._due is not None or self._telling is not None or not self.is_held:
            return
        wait_s = self._told_at_s + self._interval_s - time.monotonic()
        loop = asyncio.get_running_loop()
        # What changes in one turn of the loop is told together.
        self._due = loop.call_later(max(wait_s, 0.0), self._tell)

    def _tell(self) -> None:
        self._due = None
        self._told_at_s = time.monotonic()
        kinds, self._stale, self._said = self._stale, set(), False
        states: list[tuple[str, bytes]] = []
        for kind in sorted(kinds & _STATES.keys()):
            states.append((kind, encode(_STATES[kind](self))))
        changes = self._changes(kinds)
        news = encode({"type": "presence", **changes}) if changes else None
        for child in list(self.below.values()):
            child.tell(self.state() if kinds & _TOLD_BELOW else None, changes)
        self._tell_some(list(self.sessions.values()), 0, states, news)

    def _changes(self, kinds: set[str]) -> Message:
        """Return what to tell of people; pass on what those above are to know."""
        if self.above is None:
            if kinds & {"presence", "people"}:
                self.presence.moves()  # nobody above asks
                return self.presence.changes()
            return {}
        if "people" in kinds:
            self.presence.changes()  # the origin's are told
            self.above.tell_people()
        changes, self._news = self._news, {}
        return changes

    def _tell_some(
        self,
        members: list[Session],
        start: int,
        states: list[tuple[str, bytes]],
        news: bytes | None,
    ) -> None:
        self._telling = None
        for session in islice(members, start, start + TOLD_AT_ONCE_MAX):
            for kind, data in states:
                session.send_state(kind, data)
            if news is not None:
                session.send(news)
            session.tell_comments()
        start += TOLD_AT_ONCE_MAX
        if start < len(members):
            loop = asyncio.get_running_loop()
            self._telling = loop.call_soon(self._tell_some, members, start, states, news)
        elif self._stale or self._said:
            self._tell_soon()

    def _tell_state(self, kind: str, message: Message, members: Iterable[Session]) -> None:
        """Tell a state that is seldom and waited for, at once."""
        data = encode(message)
        for session in members:
            session.send_state(kind, data)


def refusal(code: str, retry_after_s: float = 0.0) -> Message:
    """Return why a comment was not taken, without its ref."""
    answer: Message = {"type": "refused", "code": code}
    if retry_after_s:
        answer["retry_after_ms"] = round(retry_after_s * 1000)
    return answer


_STATES: dict[str, Callable[[Room], Message]] = {
    "count": Room.count_message,
    "teacher": Room.teacher_message,
    "commenting": Room.commenting_message,
    "share": Room.share_message,
}

_TOLD_BELOW = {*_STATES, "timeline"}

_HEARD: dict[str, Callable[[Room, Any, Message], bool]] = {
    "comment": Room._comment,
    "pause_comments": Room._pause_comments,
    "pause_share": Room._pause_share,
    "roster": Room._roster,
}
