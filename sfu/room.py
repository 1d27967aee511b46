"""A class on this node: its publisher, its members, which slots flow, what is said and who is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from sfu.comments import Author, Comments, Refused
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
        self._slots: dict[Slot, bool] = {"video": False, "mic": False, "screen_audio": False}
        self._teacher = False  # a publisher is connected
        self._share_paused = False  # the teacher keeps the picture back, and goes on with it later
        self._stale: set[str] = set()  # kinds of state that changed since they were told
        self._said = False  # comments were added since they were told
        self._told_at_s = 0.0
        self._telling: asyncio.Handle | None = None
        self._due: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """Viewers that are connected, each person once; the teacher is none."""
        return self.presence.count

    # Members come and go.

    def add(self, session: Session) -> None:
        self.sessions[session.session_id] = session
        self.title = session.opening.class_title or self.title
        self.capacity = session.opening.capacity or self.capacity

    def remove(self, session: Session) -> None:
        if self.sessions.get(session.session_id) is session:
            del self.sessions[session.session_id]
        if not self.sessions:
            self.close()

    def renumber(self, number: int) -> None:
        """Begin, or go on after a rest, under a new number."""
        self.number = number
        self._slots = dict.fromkeys(self._slots, False)

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
        else:
            self.presence.connected(session.opening.user_id, session.opening.name)
            self._stale |= {"count", "presence"}
        self._tell_soon()

    def disconnected(self, session: Session, how: How) -> None:
        """Note that a connected session ended."""
        if session.publishes:
            self._set_teacher()
        else:
            self.presence.disconnected(session.opening.user_id, time.monotonic(), how)
            self._stale |= {"count", "presence"}
        self._tell_soon()

    def slot_flows(self, slot: Slot, flows: bool) -> None:
        if self._slots[slot] != flows:
            self._slots[slot] = flows
            if slot == "video" and flows:
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
        now_s, wall_us = time.monotonic(), time.time_ns() // 1000
        try:
            comment = self.comments.add(author, message.get("text"), now_s=now_s, wall_us=wall_us)
        except Refused as error:
            answer: Message = {"type": "refused", "ref": reference, "code": error.code}
            if error.retry_after_s:
                answer["retry_after_ms"] = round(error.retry_after_s * 1000)
            session.send(encode(answer))
            return True
        session.send(encode({"type": "accepted", "ref": reference, "id": comment.number}))
        self._said = True
        self._tell_soon()
        return True

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
        session.send(encode({"type": "roster", **self.presence.page(after, limit)}))
        return True

    # Members are told.

    def tick(self, now_s: float) -> None:
        """Do what comes with time; called a few times a second."""
        if self.presence.tick(now_s):
            self._stale |= {"count", "presence"}
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
        here = any(s.publishes and s.state == "connected" for s in self.sessions.values())
        if here != self._teacher:
            self._teacher = here
            self._stale.add("teacher")

    @property
    def _interval_s(self) -> float:
        return max(UPDATE_INTERVAL_S, len(self.sessions) / UPDATES_PER_S_MAX)

    def _tell_soon(self) -> None:
        """Tell the members what is new as soon as the class's size allows."""
        if self._due is not None or self._telling is not None or not self.sessions:
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
        for kind in sorted(kinds - {"presence"}):
            states.append((kind, encode(_STATES[kind](self))))
        changes = self.presence.changes() if "presence" in kinds else {}
        news = encode({"type": "presence", **changes}) if changes else None
        self._tell_some(list(self.sessions.values()), 0, states, news)

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


_STATES: dict[str, Callable[[Room], Message]] = {
    "count": Room.count_message,
    "teacher": Room.teacher_message,
    "commenting": Room.commenting_message,
    "share": Room.share_message,
}

_HEARD: dict[str, Callable[[Room, Any, Message], bool]] = {
    "comment": Room._comment,
    "pause_comments": Room._pause_comments,
    "pause_share": Room._pause_share,
    "roster": Room._roster,
}
