"""A class on this node: its publisher, its members, which slots flow, and the count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.live import Message, encode
from wire.session import Slot

if TYPE_CHECKING:
    from sfu.session import Session

UPDATE_INTERVAL_S = 0.25  # a count that changes faster is nobody's to read
# A message costs about 90 us: large classes hear of the count less often, down to once in 2 s for
# 2,000 members.
UPDATES_PER_S_MAX = 1000


class Room:
    """One class; `number` is its name in the native core and is not used again."""

    def __init__(self, class_id: str, number: int) -> None:
        self.class_id = class_id
        self.number = number
        self.sessions: dict[str, Session] = {}
        self.title = ""
        self.capacity = 0
        self._slots: dict[Slot, bool] = {"video": False, "mic": False, "screen_audio": False}
        self._connected: dict[str, int] = {}  # user -> connected viewing sessions
        self._stale: set[str] = set()  # kinds of state that changed since they were told
        self._told_at_s = 0.0

    @property
    def count(self) -> int:
        """Viewers that are connected, each person once; the teacher is none."""
        return len(self._connected)

    def add(self, session: Session) -> None:
        self.sessions[session.session_id] = session
        self.title = session.opening.class_title or self.title
        self.capacity = session.opening.capacity or self.capacity

    def remove(self, session: Session) -> None:
        if self.sessions.get(session.session_id) is session:
            del self.sessions[session.session_id]

    def connected(self, user_id: str) -> None:
        self._connected[user_id] = self._connected.get(user_id, 0) + 1
        self._stale.add("count")

    def disconnected(self, user_id: str) -> None:
        left = self._connected.get(user_id, 0) - 1
        if left > 0:
            self._connected[user_id] = left
        else:
            self._connected.pop(user_id, None)
        self._stale.add("count")

    def slot_flows(self, slot: Slot, flows: bool) -> None:
        if self._slots[slot] != flows:
            self._slots[slot] = flows
            self._stale.add("slots")
            self._tell_states({"slots"})  # seldom, and somebody waits for it

    def tick(self, now_s: float) -> None:
        """Tell the members what changed, not more often than the class's size allows."""
        interval_s = max(UPDATE_INTERVAL_S, len(self.sessions) / UPDATES_PER_S_MAX)
        if self._stale and now_s - self._told_at_s >= interval_s:
            self._told_at_s = now_s
            self._tell_states(set(self._stale))
        for session in self.sessions.values():
            session.drain()

    def count_message(self) -> Message:
        return {"type": "count", "count": self.count}

    def slots_message(self) -> Message:
        return {"type": "slots", **{str(slot): flows for slot, flows in self._slots.items()}}

    def greeting(self, session: Session) -> Message:
        """Return the first message of a session's channel."""
        opening = session.opening
        return {
            "type": "hello",
            "version": 1,
            "you": {"id": opening.user_id, "name": opening.name, "role": opening.role},
            "class": {"id": self.class_id, "title": self.title, "capacity": self.capacity},
            "count": self.count,
            "slots": dict(self._slots),
            "resume": session.resume,
        }

    def _tell_states(self, kinds: set[str]) -> None:
        self._stale -= kinds
        messages = {"count": self.count_message, "slots": self.slots_message}
        for kind in sorted(kinds):
            data = encode(messages[kind]())
            for session in self.sessions.values():
                session.send_state(kind, data)
