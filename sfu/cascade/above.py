"""The child's end of a link: follows a parent, speaks for its subtree, and comes again where it was cut.

    connecting --parent has answered, its path is proven--> up --silent, or the channel ended--> lost
        |                                                    ^                                    |
        +--refused, or nobody answers--> over                +---------------again---------------+

While it is lost the room goes on with what it has; control is told in the beats, and makes another link.
An incarnation that follows the last one keeps the room's media until its own has come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, Protocol

import aiohttp
import msgpack

from sfu.cascade.below import (
    CODECS_MAX,
    FMTP_CHARS_MAX,
    ID_CHARS_MAX,
    NAME_CHARS_MAX,
    PEOPLE_PER_MESSAGE_MAX,
    SLOTS,
    payload_types,
)
from sfu.cascade.channel import (
    HANG_UP_S,
    HEARTBEAT_S,
    MESSAGE_BYTES_MAX,
    Channel,
    LinkError,
    field,
    texts,
)
from sfu.cascade.keys import PROFILE, Incarnation, nonce
from sfu.comments import KEPT_MAX, TEXT_CHARS_MAX, Allowance, Author, Comment
from sfu.live import Message
from sfu.negotiation import Ssrcs
from sfu.presence import NAMED_PEOPLE_MAX
from sfu.room import Answer, Room, refusal
from wire.link import DEPTH_MAX, TakeLink

if TYPE_CHECKING:
    from sfu._core import Media, Stand

log = logging.getLogger(__name__)

ANSWER_S = 1.5  # control waits 3 s for its answer
CONNECT_S = 1.0
RETRY_MIN_S = 0.3
RETRY_MAX_S = 2.0
# Without a parent for so long, who teaches is not there for those here.
ALONE_S = 3.0
# The media of an incarnation that ended, until the next one's has come.
LINGER_S = 3.0
WAITING_ANSWERS_MAX = 1000
# Pages of the roster that are asked for above, a part of what a channel takes; others are of this node alone.
PAGES_BURST_MAX = 500.0
PAGES_PER_S_MAX = 200.0
BUSY_AFTER_S = 1.0
NEWS_KINDS = ("joined", "back", "left", "disconnected")

State = Literal["connecting", "up", "lost"]


class FollowingNode(Protocol):
    """What a link asks of its node."""

    @property
    def node_id(self) -> str: ...
    def next_number(self) -> int: ...
    def route(self, number: int, above: Above) -> None: ...
    def unroute(self, number: int) -> None: ...
    def end_class(self, class_id: str, epoch: int) -> None: ...


class Looped(Exception):
    """This node is above itself."""


class Above:
    """One link to a parent, over all its incarnations."""

    def __init__(
        self,
        take: TakeLink,
        *,
        node: FollowingNode,
        media: Media,
        ssrcs: Ssrcs,
        room: Room,
        on_change: Callable[[Above], None],
        on_path: Callable[[Above], None],
    ) -> None:
        self.take = take
        self.room = room
        self.state: State = "connecting"
        self.lost_at_s = 0.0
        self.is_moved = False  # the parent is about to go
        self.is_over = False  # nobody wants it any more
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.follows = asyncio.Event()  # its media feeds the room
        self.incarnations = 0
        self._node = node
        self._media = media
        self._ssrcs = ssrcs
        self._on_change = on_change
        self._on_path = on_path
        self._channel: Channel | None = None
        self._number = 0  # of the incarnation, in the native core
        self._old_number = 0  # of the one before, until this one's media has come
        self._taken_ssrcs: dict[int, list[int]] = {}  # by incarnation
        self._reachable = asyncio.Event()
        self._silent = asyncio.Event()
        self._stand: asyncio.Future[Stand] | None = None
        self._answers: dict[int, Answer] = {}
        self._asked = 0
        self._pages = Allowance(PAGES_BURST_MAX, PAGES_PER_S_MAX, time.monotonic())
        self._path: tuple[str, ...] = ()
        self._everybody_told = False

    @property
    def is_lost(self) -> bool:
        return self.state == "lost" or self.is_moved

    # Life, in the task that owns it.

    async def run(self) -> None:
        """Follow the parent until cancelled; before the first answer a failure is the end."""
        retry_s = RETRY_MIN_S
        try:
            while True:
                try:
                    await self._incarnate()
                    error: Exception = LinkError("the parent ended it")
                    retry_s = RETRY_MIN_S
                except Looped as loop:
                    self._fail(loop)
                    return  # stays lost, until control has made another one
                except (LinkError, aiohttp.ClientError, OSError, TimeoutError) as failed:
                    error = failed
                except Exception as bug:
                    # One link's fault, ours or its parent's, must not leave its class without any.
                    log.exception("link %s failed", self.take.link_id)
                    error = bug
                if not self._fail(error):
                    return
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)
        finally:
            if not self.answered.done():
                self.answered.cancel()
            self._forget(self._old_number)
            self._forget(self._number)
            self._refuse_answers()

    def _fail(self, error: Exception) -> bool:
        """Note the end of an incarnation; return whether there is to be another one."""
        what = str(error) or type(error).__name__
        if not self.answered.done():
            self.answered.set_exception(error)
            return False
        if self.state != "lost":
            self.state, self.lost_at_s = "lost", time.monotonic()
            log.warning(
                "link %s of class %s: node %s is lost: %s",
                self.take.link_id,
                self.take.class_id,
                self.take.parent_id,
                what,
            )
        self._refuse_answers()
        self._on_change(self)
        return True

    async def _incarnate(self) -> None:
        """Connect once and follow until the end of it."""
        http, base = client(self.take.parent_url)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(http)
            stack.callback(setattr, self, "_channel", None)
            async with asyncio.timeout(ANSWER_S):
                socket = await http.ws_connect(
                    f"{base}/links/{self.take.link_id}",
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MESSAGE_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=HANG_UP_S),
                )
                stack.push_async_callback(self._hang_up, socket)
                channel = Channel(socket)
                timeline, state = await self._shake_hands(channel, socket)
            if self.is_over:
                raise LinkError("another link has taken its place")
            self.room.follow(self, timeline)
            self._tell_path()
            self.room.hear_state(state)
            await self._follow(channel)

    async def _hang_up(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Say whether this was the end of the link, or the parent may see us again."""
        code = aiohttp.WSCloseCode.OK if self.is_over else aiohttp.WSCloseCode.SERVICE_RESTART
        await socket.close(code=code)

    async def _shake_hands(
        self, channel: Channel, socket: aiohttp.ClientWebSocketResponse
    ) -> tuple[str, Message]:
        """Prove the key to each other, and prove the path of the media; return what the class is like."""

        async def send(message: Message) -> None:
            await socket.send_bytes(msgpack.packb(message, use_bin_type=True))

        take = self.take
        incarnation = Incarnation(
            take.link_id,
            take.parent_id,
            self._node.node_id,
            field(await _expect(channel, "challenge"), "nonce", bytes, 64),
            nonce(),
        )
        await send(
            {
                "type": "proof",
                "child": self._node.node_id,
                "nonce": incarnation.child_nonce,
                "proof": incarnation.proof(take.key, "child"),
            }
        )
        link = await _expect(channel, "link")
        if not incarnation.proves(take.key, "parent", link.get("proof")):
            raise LinkError("the parent does not have the key")
        self._take_path(link)
        state = _state(field(link, "state", dict))
        await self._open(incarnation, link, state["timeline"], send)
        await self._reachable.wait()
        return state["timeline"], state

    async def _open(
        self, incarnation: Incarnation, link: Message, timeline: str, send: _Send
    ) -> None:
        addresses = [_address(entry) for entry in field(link, "addresses", list, 8)]
        report_ssrc = field(link, "report_ssrc", int)
        keys = incarnation.keys(self.take.key)
        streams = [(slot, self._ssrcs.take(), self._ssrcs.take()) for slot in SLOTS]
        number = self._node.next_number()
        if self._old_number:
            # It came to nothing, and the one before still feeds the room.
            self._forget(self._number)
        else:
            self._old_number = self._number
        self._number = number
        self._silent.clear()
        self._reachable.clear()
        taken = [ssrc for _, *both in streams for ssrc in both]
        self._taken_ssrcs[number] = taken
        self._node.route(number, self)
        self.incarnations += 1
        self._stand = asyncio.get_running_loop().create_future()
        self._media.add_link(
            number, ice_ufrag=keys.ufrag, ice_pwd=keys.pwd, call=addresses, hears=taken
        )
        self._media.set_keys(number, PROFILE, local=keys.up, remote=keys.down)
        continues = self.room.continues(timeline)
        self._media.follow_link(
            number,
            room=self.room.number,
            streams=streams,
            report_ssrc=report_ssrc,
            continues=continues,
        )
        stand = await self._stand
        await send(
            {
                "type": "begin",
                "streams": [list(stream) for stream in streams],
                "stand": list(stand),
                "newest_comment": self.room.comments.newest,
            }
        )

    async def _follow(self, channel: Channel) -> None:
        self._channel = channel
        self._everybody_told = False
        self.state, self.is_moved = "up", False
        if not self.answered.done():
            self.answered.set_result(None)
        log.info(
            "link %s of class %s: follows node %s",
            self.take.link_id,
            self.take.class_id,
            self.take.parent_id,
        )
        self._on_change(self)
        self.tell_people()
        writing = asyncio.create_task(channel.write())
        reading = asyncio.create_task(self._read(channel))
        silence = asyncio.create_task(self._silent.wait())
        tasks: set[asyncio.Task[Any]] = {writing, reading, silence}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if silence.done():
                raise LinkError("its media is silent")
            for task in (reading, writing):
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, channel: Channel) -> None:
        async for message in channel.read():
            take = _TAKEN.get(message["type"])
            if take is None:
                raise LinkError(f"message {message['type']!r}")
            take(self, message)

    def tick(self, now_s: float) -> None:
        if self.state == "lost" and now_s - self.lost_at_s >= ALONE_S and self.room.above is self:
            self.room.lose_teacher()

    # What the native core says of its incarnations.

    def event(self, number: int, kind: str, detail: object) -> None:
        if number != self._number:
            return
        match kind:
            case "stands" if self._stand is not None and not self._stand.done():
                self._stand.set_result(detail)  # type: ignore[arg-type]
            case "reachable":
                self._reachable.set()
            case "silent":
                self._silent.set()
            case "follows":
                self.follows.set()
                self._forget(self._old_number)
                self._old_number = 0

    def _forget(self, number: int) -> None:
        if number:
            self._node.unroute(number)
            self._media.remove_session(number)
            self._ssrcs.free(self._taken_ssrcs.pop(number, []))

    # What the room asks (`sfu.room.Parent`).

    def tell_people(self) -> None:
        came, went = self.room.presence.moves()
        channel = self._channel
        if channel is None:
            return
        if not self._everybody_told:
            self._everybody_told = True
            came, went = self.room.presence.connections(), []
        for start in range(0, max(len(came), len(went)), PEOPLE_PER_MESSAGE_MAX):
            end = start + PEOPLE_PER_MESSAGE_MAX
            channel.send({"type": "people", "came": came[start:end], "went": went[start:end]})

    def say(self, author: Author, text: str, answer: Answer) -> None:
        ref = self._expect_answer(answer)
        if ref is None:
            answer(refusal("busy", BUSY_AFTER_S))
            return
        self.tell_people()  # whoever says something is known above by then
        assert self._channel is not None
        self._channel.send({"type": "say", "ref": ref, "user": author.user_id, "text": text})

    def ask_page(self, after: str | None, limit: int, answer: Answer) -> None:
        def page(found: Message) -> None:
            """Give what the parent says; where the link is lost, what is known here."""
            answer(self.room.presence.page(after, limit) if "code" in found else found)

        ref = None
        if not self._pages.take(time.monotonic()):
            ref = self._expect_answer(page)
        if ref is None:
            answer(self.room.presence.page(after, limit))
            return
        assert self._channel is not None
        self._channel.send({"type": "page", "ref": ref, "after": after, "limit": limit})

    def _expect_answer(self, answer: Answer) -> int | None:
        if self._channel is None or len(self._answers) >= WAITING_ANSWERS_MAX:
            return None
        self._asked += 1
        self._answers[self._asked] = answer
        return self._asked

    def _refuse_answers(self) -> None:
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer(refusal("busy", BUSY_AFTER_S))

    # What the parent says.

    def _take_path(self, message: Message) -> None:
        path = tuple(texts(message, "path", 2 * DEPTH_MAX, ID_CHARS_MAX))
        if self._node.node_id in path:
            raise Looped(f"this node is above itself: {' > '.join(path)}")
        if len(path) > DEPTH_MAX:
            raise LinkError(f"{len(path)} nodes above")
        self._path = path
        if self.room.above is self:
            self._tell_path()

    def _tell_path(self) -> None:
        self.room.path = self._path
        self._on_path(self)

    def _take_state(self, message: Message) -> None:
        if self.room.above is self:
            self.room.hear_state(_state(message))

    def _take_news(self, message: Message) -> None:
        changes = field(message, "changes", dict, len(NEWS_KINDS))
        for kind, people in changes.items():
            sane = isinstance(people, list) and len(people) <= NAMED_PEOPLE_MAX
            if kind not in NEWS_KINDS or not sane or not all(_is_person(p) for p in people):
                raise LinkError("news: changes are not what they should be")
        if self.room.above is self:
            self.room.hear_news(changes)

    def _take_comments(self, message: Message) -> None:
        items = field(message, "items", list, KEPT_MAX)
        comments = [_comment(item) for item in items]
        if self.room.above is self:
            self.room.hear_comments(comments)

    def _take_codec(self, message: Message) -> None:
        slot, index = field(message, "slot", str), field(message, "index", int)
        name, fmtp = field(message, "name", str, 20), field(message, "fmtp", str, FMTP_CHARS_MAX)
        clock_rate = field(message, "clock_rate", int)
        if slot not in SLOTS or not 0 <= index < CODECS_MAX or not 0 < clock_rate < 2**31:
            raise LinkError("codec: it is not what it should be")
        first, again = payload_types(index)
        codec = (first, name, clock_rate, again, fmtp)
        self._media.add_codec(self._number, slot=slot, codec=codec)
        assert self._channel is not None
        self._channel.send({"type": "knows", "slot": slot, "index": index})

    def _take_answer(self, message: Message) -> None:
        answer = self._answers.pop(field(message, "to", int), None)
        if answer is not None:
            answer(field(message, "answer", dict))

    def _take_end(self, message: Message) -> None:
        self._node.end_class(self.take.class_id, field(message, "epoch", int))

    def _take_moved(self, message: Message) -> None:
        self.is_moved = True
        self._on_change(self)


class _Send(Protocol):
    async def __call__(self, message: Message) -> None: ...


async def _expect(channel: Channel, kind: str) -> Message:
    message = await channel.receive()
    if message is None:
        raise LinkError("the parent hung up")
    if message["type"] == "refused":
        raise LinkError(f"the parent refused: {message.get('why')}")
    if message["type"] != kind:
        raise LinkError(f"{message['type']!r} instead of {kind!r}")
    return message


def _address(entry: object) -> tuple[str, int]:
    match entry:
        case [str(host), int(port)] if 0 < port < 65536 and len(host) <= 45:
            return host, port
    raise LinkError("link: an address is not what it should be")


def _state(message: Message) -> Message:
    message = {"type": "state", **message}
    count, capacity = field(message, "count", int), field(message, "capacity", int)
    if count < 0 or capacity < 0:
        raise LinkError("state: negative")
    return {
        "count": count,
        "capacity": capacity,
        "teacher": field(message, "teacher", bool),
        "share_paused": field(message, "share_paused", bool),
        "comments_paused": field(message, "comments_paused", bool),
        "timeline": field(message, "timeline", str, ID_CHARS_MAX),
        "title": field(message, "title", str, 1000),
    }


def _comment(item: object) -> Comment:
    match item:
        case {
            "id": int(number),
            "from": {"id": str(user_id), "name": str(name), "role": "viewer" | "publisher" as role},
            "text": str(text),
        } if len(name) <= NAME_CHARS_MAX and len(text) <= TEXT_CHARS_MAX:
            return Comment(number, Author(user_id, name, role), text)
    raise LinkError("comments: an item is not what it should be")


def _is_person(entry: Any) -> bool:
    match entry:
        case {"id": str(user_id)} if len(user_id) <= ID_CHARS_MAX:
            name = entry.get("name", "")
            return isinstance(name, str) and len(name) <= NAME_CHARS_MAX
    return False


def client(url: str) -> tuple[aiohttp.ClientSession, str]:
    """Return a client of a node's internal API, and what its paths begin with."""
    connector: aiohttp.BaseConnector | None = None
    base = url.rstrip("/")
    if url.startswith("unix:"):
        connector = aiohttp.UnixConnector(url.removeprefix("unix:"))
        base = "http://node"
    timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S)
    return aiohttp.ClientSession(connector=connector, timeout=timeout), base


_TAKEN: dict[str, Callable[[Above, Message], None]] = {
    "state": Above._take_state,
    "path": Above._take_path,
    "news": Above._take_news,
    "comments": Above._take_comments,
    "codec": Above._take_codec,
    "answer": Above._take_answer,
    "ended": Above._take_end,
    "moved": Above._take_moved,
}
