"""The parent's end of a link: feeds a child, and takes its word for the people of its subtree, and no more.

A child is a node of ours with a key, and still is not believed everything: who comments must be among the
people it has said it serves, under the name said then, and never a teacher; people are bounded by the
class's capacity; messages and what waits for it are bounded by the channel. Whatever breaks a bound ends
the link, with a line in the log; control sees a lost link and makes another one.
"""

from __future__ import annotations

import logging
import secrets
import time
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING

from sfu.cascade.channel import Channel, LinkError, field
from sfu.cascade.keys import PROFILE, Incarnation, LinkKeys
from sfu.comments import KEPT_MAX, TEXT_CHARS_MAX, Author
from sfu.live import Message
from sfu.presence import How
from sfu.room import Room
from wire.link import OfferLink
from wire.session import Candidate, Slot

if TYPE_CHECKING:
    from sfu._core import Media, Stand, Stream

log = logging.getLogger(__name__)

PEOPLE_MAX = 100_000  # of a class whose capacity is not known
# People who change their tab or come again while others of a full class are still counted.
PEOPLE_SPARE = 100
PEOPLE_PER_MESSAGE_MAX = 500
NAME_CHARS_MAX = 300
ID_CHARS_MAX = 64
FMTP_CHARS_MAX = 2048  # a line of SDP has no more
CODECS_MAX = 8
FIRST_PAYLOAD_TYPE = 96
STALLS_LOGGED_S = 10.0
HOWS: frozenset[str] = frozenset(typing.get_args(How))
SLOTS: tuple[Slot, ...] = typing.get_args(Slot)


def payload_types(index: int) -> tuple[int, int]:
    """Return what a codec of this index has on a link: of its packets, of those sent again."""
    return FIRST_PAYLOAD_TYPE + 2 * index, FIRST_PAYLOAD_TYPE + 2 * index + 1


class Below:
    """One child of one class; `number` is its session in the native core."""

    def __init__(
        self,
        offer: OfferLink,
        *,
        number: int,
        report_ssrc: int,
        media: Media,
        room: Room,
        channel: Channel,
    ) -> None:
        self.offer = offer
        self.number = number
        self.report_ssrc = report_ssrc
        self.people: dict[str, str] = {}  # names by id, of the child's whole subtree
        self.refused = 0  # comments and the like that were not the child's to send
        self._media = media
        self._room = room
        self.channel = channel
        self._newest = 0  # comment that the child has
        self._begun = False
        self._shed = 0
        self._shed_said_at_s = 0.0

    def open(
        self, incarnation: Incarnation, candidates: tuple[Candidate, ...], path: list[str]
    ) -> None:
        """Answer the child's checks from now on, and tell it how to send them."""
        keys: LinkKeys = incarnation.keys(self.offer.key)
        self._media.add_link(
            self.number, ice_ufrag=keys.ufrag, ice_pwd=keys.pwd, call=[], hears=[self.report_ssrc]
        )
        self._media.set_keys(self.number, PROFILE, local=keys.down, remote=keys.up)
        udp = [[c.address, c.port] for c in candidates if c.transport == "udp"]
        self.channel.send(
            {
                "type": "link",
                "proof": incarnation.proof(self.offer.key, "parent"),
                "addresses": udp,
                "report_ssrc": self.report_ssrc,
                "path": path,
                "state": self._room.state(),
            }
        )

    async def serve(self) -> None:
        """Take the child's messages until its end; LinkError where it breaks a bound."""
        async for message in self.channel.read():
            take = _TAKEN.get(message["type"])
            if take is None:
                raise LinkError(f"message {message['type']!r}")
            take(self, message)

    def close(self) -> None:
        """Forget the child, whose people may have come elsewhere already."""
        self._room.detach(self.offer.link_id, self)
        self.drop_people()
        self._media.remove_session(self.number)

    def drop_people(self) -> None:
        gone: list[tuple[str, How]] = [(user_id, "replaced") for user_id in self.people]
        self.people.clear()
        self._room.people_below([], gone, time.monotonic())

    # What the room tells (`sfu.room.Child`).

    def tell(self, state: Message | None, news: Message) -> None:
        if not self._begun:
            return
        if state is not None:
            self.channel.send({"type": "state", **state})
        if news:
            self.channel.send({"type": "news", "changes": news})
        newer = self._room.comments.after(self._newest, KEPT_MAX)
        if newer:
            self._newest = newer[-1].number
            self.channel.send({"type": "comments", "items": [c.message() for c in newer]})

    def tell_codec(self, slot: Slot, index: int) -> None:
        if self._begun and index < CODECS_MAX:
            name, clock_rate, fmtp = self._room.codecs[slot][index]
            self.channel.send(
                {
                    "type": "codec",
                    "slot": slot,
                    "index": index,
                    "name": name,
                    "clock_rate": clock_rate,
                    "fmtp": fmtp,
                }
            )

    def tell_path(self, path: list[str]) -> None:
        self.channel.send({"type": "path", "path": path})

    def tell_end(self, epoch: int) -> None:
        self.channel.send({"type": "ended", "epoch": epoch})

    def tell_moved(self) -> None:
        self.channel.send({"type": "moved"})

    def tick(self, now_s: float) -> None:
        """Say when the child's line does not take the class."""
        stats = self._media.session_stats(self.number) or {}
        shed = stats.get("skips", 0) + stats.get("frames_left_out", 0) + stats.get("outages", 0)
        if shed > self._shed and now_s - self._shed_said_at_s >= STALLS_LOGGED_S:
            self._shed_said_at_s = now_s
            log.warning(
                "link %s of class %s: the line to node %s is slower than the class, %d frames left out",
                self.offer.link_id,
                self.offer.class_id,
                self.offer.child_id,
                shed - self._shed,
            )
            self._shed = shed

    # What the child says.

    def _begin(self, message: Message) -> None:
        if self._begun:
            raise LinkError("it begins twice")
        streams = _streams(message)
        stand = _stand(message)
        self._newest = field(message, "newest_comment", int)
        self._begun = True
        self._media.feed_link(
            self.number,
            room=self._room.number,
            streams=streams,
            cname=secrets.token_hex(8),
            first_sequence=secrets.randbelow(2**15),
            stand=stand,
        )
        self._room.attach(self.offer.link_id, self)
        for slot, codecs in self._room.codecs.items():
            for index in range(len(codecs)):
                self.tell_codec(slot, index)
        self.tell(self._room.state(), {})

    def _knows(self, message: Message) -> None:
        slot, index = field(message, "slot", str), field(message, "index", int)
        codecs = self._room.codecs.get(slot, [])
        if not 0 <= index < min(len(codecs), CODECS_MAX):
            raise LinkError(f"it knows codec {index} of {slot!r}")
        name, clock_rate, fmtp = codecs[index]
        first, again = payload_types(index)
        self._media.add_codec(self.number, slot=slot, codec=(first, name, clock_rate, again, fmtp))

    def _people(self, message: Message) -> None:
        came = field(message, "came", list, PEOPLE_PER_MESSAGE_MAX)
        went = field(message, "went", list, PEOPLE_PER_MESSAGE_MAX)
        new: list[tuple[str, str]] = []
        for user_id, name in _pairs(message, came, NAME_CHARS_MAX):
            if user_id not in self.people:
                self.people[user_id] = name
                new.append((user_id, name))
        old: list[tuple[str, How]] = []
        for user_id, how in _pairs(message, went, ID_CHARS_MAX):
            if how not in HOWS:
                raise LinkError(f"people: gone by {how!r}")
            if self.people.pop(user_id, None) is not None:
                old.append((user_id, typing.cast("How", how)))
        self._room.people_below(new, old, time.monotonic())
        capacity = self._room.capacity
        bound = capacity + PEOPLE_SPARE if capacity else PEOPLE_MAX
        if len(self.people) > bound:
            raise LinkError(f"it says that it has {len(self.people)} people of {capacity}")

    def _say(self, message: Message) -> None:
        ref, user_id = field(message, "ref", int), field(message, "user", str, ID_CHARS_MAX)
        text = field(message, "text", str, TEXT_CHARS_MAX)
        name = self.people.get(user_id)
        if name is None:
            self.refused += 1
            if self.refused == 1:
                log.warning(
                    "link %s of class %s: node %s comments for somebody it does not serve",
                    self.offer.link_id,
                    self.offer.class_id,
                    self.offer.child_id,
                )
            self._answer(ref, {"type": "refused", "code": "busy"})
            return
        author = Author(user_id, name, "viewer")
        self._room.say(author, text, lambda answer: self._answer(ref, answer))

    def _page(self, message: Message) -> None:
        ref, limit = field(message, "ref", int), field(message, "limit", int)
        after = message.get("after")
        if after is not None and not isinstance(after, str):
            raise LinkError("page: after is not what it should be")
        self._room.ask_page(after, limit, lambda page: self._answer(ref, page))

    def _answer(self, ref: int, answer: Message) -> None:
        self.channel.send({"type": "answer", "to": ref, "answer": answer})


def _streams(message: Message) -> list[Stream]:
    streams: list[Stream] = []
    for entry in field(message, "streams", list, len(SLOTS)):
        match entry:
            case [str(slot), int(ssrc), int(rtx_ssrc)] if slot in SLOTS:
                streams.append((slot, ssrc, rtx_ssrc))
            case _:
                raise LinkError("begin: streams are not what they should be")
    return streams


def _stand(message: Message) -> Stand:
    match field(message, "stand", list):
        case [int() | None as video, int() | None as mic, int() | None as screen]:
            return video, mic, screen
    raise LinkError("begin: stand is not what it should be")


def _pairs(message: Message, entries: list[object], length_max: int) -> list[tuple[str, str]]:
    pairs = []
    for entry in entries:
        match entry:
            case [str(user_id), str(other)] if (
                0 < len(user_id) <= ID_CHARS_MAX and len(other) <= length_max
            ):
                pairs.append((user_id, other))
            case _:
                raise LinkError(f"{message['type']}: an entry is not what it should be")
    return pairs


_TAKEN: dict[str, Callable[[Below, Message], None]] = {
    "begin": Below._begin,
    "knows": Below._knows,
    "people": Below._people,
    "say": Below._say,
    "page": Below._page,
}
