"""The comments of a class: one order for everybody, the newest kept, nothing written down.

A reader holds a position, never comments: what waits for a slow one is the stretch of the log between
its position and the end, so that it costs the same for one reader and for thousands, and is bounded
by the log. Comments end with the class.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile

from sfu.live import Message, encode

TEXT_CHARS_MAX = 500  # a paragraph; YouTube's live chat takes 200, Zoom's 4096
KEPT_MAX = 500  # what a reader may fall behind: 10 s of the most that a class may say
GREETING_MAX = 100
# Of one message: clients that are no browser take 64 KiB (RFC 8841 section 6.1).
MESSAGE_BYTES_MAX = 48 * 1024
COMMENT_BYTES_EXTRA = 160  # of its other fields, the name not counted
# Of one person: a quick exchange passes, a flood does not.
PERSON_BURST_MAX = 5
PERSON_PER_S_MAX = 1.0
# Of a class, however many write: more is nobody's to read.
CLASS_BURST_MAX = 100
CLASS_PER_S_MAX = 50.0
# Overrides of the text's direction let a comment rewrite its neighbours (UAX #9 section 2).
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Author:
    """Who said it, as the server knows them."""

    user_id: str
    name: str
    role: str  # viewer | publisher


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment. `number` ascends in the class, also over a change of node: microseconds of the clock."""

    number: int
    author: Author
    text: str

    @property
    def bytes_max(self) -> int:
        """What it takes of a message, at the most."""
        return len(self.text.encode()) + len(self.author.name.encode()) + COMMENT_BYTES_EXTRA

    def message(self) -> Message:
        author = self.author
        return {
            "id": self.number,
            "at": self.number // 1000,  # ms since 1970
            "from": {"id": author.user_id, "name": author.name, "role": author.role},
            "text": self.text,
        }


class Refused(Exception):
    """Why a comment was not taken: a stable code, and when to try again."""

    def __init__(self, code: str, retry_after_s: float = 0.0) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s


class Allowance:
    """A token bucket."""

    def __init__(self, burst_max: float, per_s_max: float, now_s: float) -> None:
        self._burst_max = burst_max
        self._per_s_max = per_s_max
        self._left = burst_max
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take one; return 0, or in how many seconds there is one again."""
        self._left = min(self._burst_max, self._left + (now_s - self._at_s) * self._per_s_max)
        self._at_s = now_s
        if self._left < 1:
            return (1 - self._left) / self._per_s_max
        self._left -= 1
        return 0.0

    def give_back(self) -> None:
        self._left += 1

    @property
    def full_at_s(self) -> float:
        """When it has forgotten everything, on the clock of `take`."""
        return self._at_s + (self._burst_max - self._left) / self._per_s_max


def clean(text: object) -> str:
    """Return the text as it will be shown; Refused `empty`, `too_long` or `not_text`.

    Control characters but the line break go, as do overrides of the direction; what stays is text,
    whatever it looks like.
    """
    if not isinstance(text, str):
        raise Refused("not_text")
    # Measured before it is normalised, which can make a text eighteen times as long, and after.
    if len(text) > TEXT_CHARS_MAX:
        raise Refused("too_long")
    kept = "".join(
        c
        for c in text.replace("\r\n", "\n")
        if c == "\n" or (unicodedata.category(c) not in ("Cc", "Cs") and c not in _OVERRIDES)
    )
    kept = unicodedata.normalize("NFC", kept).strip()
    if len(kept) > TEXT_CHARS_MAX:
        raise Refused("too_long")
    # Spaces, joiners and other invisible characters alone say nothing.
    if not any(unicodedata.category(c)[0] in "LNPSM" for c in kept):
        raise Refused("empty")
    return kept


class Comments:
    """The log of one class, what may be added to it, and its messages."""

    def __init__(self) -> None:
        self.paused = False
        self._log: deque[Comment] = deque(maxlen=KEPT_MAX)
        self._end = 0
        self._class: Allowance | None = None
        self._people: dict[str, Allowance] = {}
        self._encoded: dict[int, tuple[bytes, int]] = {}  # by position, of the log as it is

    @property
    def end(self) -> int:
        """The position behind the newest comment."""
        return self._end

    def add(self, author: Author, text: object, *, now_s: float, wall_us: int) -> Comment:
        """Take a comment; Refused `paused`, `too_fast`, `busy`, or as `clean` does.

        `now_s` is a monotonic time, `wall_us` the clock's in microseconds since 1970.
        """
        kept = self.admit(author, text, now_s=now_s)
        comment = Comment(max(self.newest + 1, wall_us), author, kept)
        self._append(comment)
        return comment

    def admit(self, author: Author, text: object, *, now_s: float) -> str:
        """Return a comment's text as it will be shown, charged to its author; Refused as `add`."""
        if self.paused and author.role != "publisher":
            raise Refused("paused")
        kept = clean(text)
        self._charge(author, now_s)
        return kept

    def copy(self, comment: Comment) -> bool:
        """Take a comment that another node has numbered; return whether it is a newer one."""
        if comment.number <= self.newest:
            return False
        self._append(comment)
        return True

    @property
    def newest(self) -> int:
        """The number of the newest comment, 0 without one."""
        return self._log[-1].number if self._log else 0

    def after(self, number: int, count_max: int) -> list[Comment]:
        """Return the comments behind a number, so many of the newest, oldest first."""
        newer = takewhile(lambda c: c.number > number, reversed(self._log))
        return list(islice(newer, count_max))[::-1]

    def _append(self, comment: Comment) -> None:
        self._log.append(comment)
        self._end += 1
        self._encoded.clear()

    def greeting(self) -> Message:
        """Return what a joiner is told: the newest comments, as many as one message holds."""
        newest = islice(reversed(self._log), GREETING_MAX)
        recent = list(_fitting(newest))
        return {
            "paused": self.paused,
            "chars_max": TEXT_CHARS_MAX,
            "recent": [comment.message() for comment in reversed(recent)],
        }

    def since(self, position: int) -> tuple[bytes, int]:
        """Return a message of the comments from a position on, and the position behind them.

        The position must be below `end`. `missed` counts those that the reader was too slow for.
        Readers at one position share the bytes.
        """
        known = self._encoded.get(position)
        if known is None:
            first = self._end - len(self._log)
            missed = max(0, first - position)
            items = list(_fitting(islice(self._log, max(position, first) - first, None)))
            message: Message = {"type": "comments", "items": [c.message() for c in items]}
            if missed:
                message["missed"] = missed
            known = encode(message), position + missed + len(items)
            self._encoded[position] = known
        return known

    def forget(self, now_s: float) -> None:
        """Let go of the allowances that are whole again."""
        self._people = {u: a for u, a in self._people.items() if a.full_at_s > now_s}

    def _charge(self, author: Author, now_s: float) -> None:
        if self._class is None:
            self._class = Allowance(CLASS_BURST_MAX, CLASS_PER_S_MAX, now_s)
        person = self._people.get(author.user_id)
        if person is None:
            person = Allowance(PERSON_BURST_MAX, PERSON_PER_S_MAX, now_s)
            self._people[author.user_id] = person
        if wait_s := person.take(now_s):
            raise Refused("too_fast", wait_s)
        # The teacher is heard in the busiest class.
        if author.role != "publisher" and (wait_s := self._class.take(now_s)):
            person.give_back()
            raise Refused("busy", wait_s)


def _fitting(comments: Iterable[Comment]) -> Iterator[Comment]:
    """Yield comments until a message is full; one always fits."""
    left = MESSAGE_BYTES_MAX
    for comment in comments:
        left -= comment.bytes_max
        if left < 0:
            return
        yield comment
