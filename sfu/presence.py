"""Who is in a class on this node: each person once, with their changes gathered for the next telling.

A person is `here` while one of their sessions is connected or the next one is on its way, `away` for a
while after the network took the last one, and gone after leaving. Names go to everybody in a small
class only; a large one gets the count, and the roster by pages to whoever asks: told to all, ten
thousand arrivals would be a hundred million messages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import Literal

from sfu.live import Message

NAMED_PEOPLE_MAX = 200
PAGE_PEOPLE_MAX = 100
AWAY_S = 30.0  # as long as control keeps the seat (its grace)
# A session that was replaced has its successor already, which is a handshake away.
SUCCESSOR_S = 5.0

Change = Literal["joined", "back", "left", "disconnected"]
How = Literal["left", "lost", "replaced"]


@dataclass(slots=True)
class Person:
    user_id: str
    name: str
    sessions: int = 0  # connected ones
    here: bool = False
    alone_since_s: float = 0.0  # without a session

    @property
    def place(self) -> tuple[str, str]:
        """Where the person stands in the roster."""
        return (self.name.casefold(), self.user_id)

    def message(self) -> Message:
        return {"id": self.user_id, "name": self.name, "state": "here" if self.here else "away"}


class Presence:
    """The people of one class; `changes` empties what was gathered."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}
        self._order: list[tuple[str, str]] = []
        self._changed: dict[str, Change] = {}
        self._count = 0
        self._moves: dict[str, How | None] = {}  # None: came

    @property
    def count(self) -> int:
        """People that are here."""
        return self._count

    @property
    def is_named(self) -> bool:
        """Whether the class is small enough for everybody to hear everybody's name."""
        return len(self._people) <= NAMED_PEOPLE_MAX

    def connected(self, user_id: str, name: str) -> None:
        person = self._people.get(user_id)
        if person is None:
            person = self._people[user_id] = Person(user_id, name)
            insort(self._order, person.place)
            self._note(user_id, "joined")
        elif not person.here:
            self._note(user_id, "back")
        person.sessions += 1
        if person.sessions == 1:
            self._moves[user_id] = None
        self._set(person, here=True)

    def disconnected(self, user_id: str, now_s: float, how: How) -> None:
        """Note that a connected session ended."""
        person = self._people[user_id]
        person.sessions -= 1
        if person.sessions:
            return
        self._moves[user_id] = how
        person.alone_since_s = now_s
        if how == "left":
            self._remove(person)
        elif how == "lost":
            self._lose(person)

    def tick(self, now_s: float) -> bool:
        """Let go of those who did not come back; return whether that changed anything."""
        alone = [p for p in self._people.values() if not p.sessions]
        changed = False
        for person in alone:
            alone_s = now_s - person.alone_since_s
            if alone_s >= AWAY_S:
                self._remove(person)
                changed = True
            elif person.here and alone_s >= SUCCESSOR_S:
                self._lose(person)
                changed = True
        return changed

    def changes(self) -> Message:
        """Return and forget what changed since the last call, by kind; nothing where it is too much."""
        changed, self._changed = self._changed, {}
        if not self.is_named or len(changed) > NAMED_PEOPLE_MAX:
            return {}
        told: Message = {}
        for user_id, change in changed.items():
            person = self._people.get(user_id)
            entry = {"id": user_id, "name": person.name} if person else {"id": user_id}
            told.setdefault(change, []).append(entry)
        return told

    def connections(self) -> list[tuple[str, str]]:
        """Return (id, name) of everybody with a session."""
        return [(p.user_id, p.name) for p in self._people.values() if p.sessions]

    def moves(self) -> tuple[list[tuple[str, str]], list[tuple[str, How]]]:
        """Return and forget who got a first session since the last call, and who lost the last."""
        moves, self._moves = self._moves, {}
        came = [(u, self._people[u].name) for u, how in moves.items() if how is None]
        went = [(u, how) for u, how in moves.items() if how is not None]
        return came, went

    def page(self, after: str | None, limit: int) -> Message:
        """Return a page of the roster, by name: the people behind the person `after`."""
        start = 0
        if after is not None:
            start = self._behind(after)
        places = self._order[start : start + min(max(limit, 1), PAGE_PEOPLE_MAX)]
        more = start + len(places) < len(self._order)
        return {
            "people": [self._people[user_id].message() for _, user_id in places],
            "next": _cursor(places[-1]) if more else None,
            "count": self._count,
        }

    def _behind(self, cursor: str) -> int:
        # A cursor is a place, not a person: whoever it names may have left meanwhile.
        name, _, user_id = cursor.rpartition("\n")
        return bisect_right(self._order, (name, user_id))

    def _set(self, person: Person, *, here: bool) -> None:
        self._count += here - person.here
        person.here = here

    def _lose(self, person: Person) -> None:
        self._set(person, here=False)
        self._note(person.user_id, "disconnected")

    def _remove(self, person: Person) -> None:
        self._set(person, here=False)
        del self._people[person.user_id]
        del self._order[bisect_left(self._order, person.place)]
        self._note(person.user_id, "left")

    def _note(self, user_id: str, change: Change) -> None:
        # Who came and went between two tellings was never told of.
        if change == "left" and self._changed.get(user_id) == "joined":
            del self._changed[user_id]
        else:
            self._changed[user_id] = change


def _cursor(place: tuple[str, str]) -> str:
    return "\n".join(place)
