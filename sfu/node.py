"""A media node: the sessions and rooms of this process, and what keeps them in step with control."""

from __future__ import annotations

import asyncio
import logging
import time
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from sfu.beats import Beats, Happening, Identity
from sfu.cascade import Cascade
from sfu.certificate import Certificates
from sfu.config import Advertised, NodeConfig
from sfu.control_client import ControlClient
from sfu.internal import InternalServer, Refused
from sfu.live import encode
from sfu.metrics import NodeMetrics
from sfu.moves import Moves
from sfu.negotiation import Credentials, Ssrcs, make_answer
from sfu.outbox import Outbox
from sfu.presence import How
from sfu.refusals import Refusals
from sfu.room import Room
from sfu.session import Session
from wire.beat import BeatAnswer, EndReason, HeldSession, Load, LostLink, Register
from wire.session import (
    Candidate,
    CloseSession,
    OpenSession,
    PatchSession,
    SessionOpened,
    SessionPatched,
    probe_credentials_of,
    resume_secret_of,
)

if TYPE_CHECKING:
    from sfu._core import Media

__all__ = ["Node", "NodeConfig", "run"]

log = logging.getLogger(__name__)

# Above what one process carries: a bound for memory, not a measure of load.
SESSIONS_MAX = 10_000
TICK_S = 0.25
# A process that stood still for so long takes word of ends only when the native thread has had the time to
# say who fell silent meanwhile.
STANDSTILL_S = 1.0
SETTLE_S = 0.2
PING_TICKS = 8  # every session is pinged once in 8 ticks: every 2 s
STOP_S = 3.0
PING = encode({"type": "ping"})
END_REASONS: tuple[str, ...] = typing.get_args(EndReason)
# What an end is to the others in the class; anything else was the network's doing.
HOW: dict[EndReason, How] = {
    "left": "left",
    "pagehide": "left",
    "class_ended": "left",
    "replaced": "replaced",
}
# A class that everybody has left for a moment keeps its comments: a teacher alone reloads the page.
RESTING_S = 15 * 60.0
RESTING_ROOMS_MAX = 1000


async def run(config: NodeConfig, *, drain: asyncio.Event | None = None) -> None:
    """Serve until cancelled; then every session ends `node_drained` and control hears of it.

    Where `drain` is set, or control asks for it, sessions are sent elsewhere first, and it returns
    when none is left.
    Raises OSError where a media port or the internal listener cannot be bound.
    """
    from sfu._core import Media

    media = Media(host=config.host, port=config.udp_port, tcp_port=config.tcp_port)
    try:
        await Node(config, media).run(drain)
    finally:
        media.close()


class Node:
    """One node; `run` once."""

    def __init__(self, config: NodeConfig, media: Media) -> None:
        self.sessions: dict[str, Session] = {}  # by session id
        self.rooms: dict[str, Room] = {}  # by class id
        self.ssrcs = Ssrcs()
        self.url = ""
        self.ready = asyncio.Event()  # listening; registration goes on meanwhile
        self.media = media
        self.refusals = Refusals()
        self.version = config.version
        self.metrics = NodeMetrics(self)
        self._config = config
        self._media = media
        self._outbox = Outbox(media)
        self._certificates = Certificates()
        self._client = ControlClient(config.control_url)
        self._beats = Beats(self, self._client, config.cluster_secret)
        self._internal = InternalServer(self, config.internal_listen, config.metrics_token)
        self.candidates = _candidates(config.advertise or (Advertised(config.host),), media)
        self._by_number: dict[int, Session] = {}
        self._rooms_by_number: dict[int, Room] = {}
        self._resting: dict[
            str, tuple[Room, float]
        ] = {}  # empty rooms and since when, oldest first
        self._sessions_made = 0
        self._rooms_made = 0
        self._group: asyncio.TaskGroup | None = None
        self._media_died = asyncio.Event()
        self._death: RuntimeError | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._meter = _Meter()
        self._ticked_at_s = time.monotonic()
        self._settled_at_s = 0.0
        self._moves = Moves(self.rooms, self._beats.hurry)
        self.cascade = Cascade(self)
        # Whose checks are answered, by which session of the core.
        self._probed: tuple[Identity, int] | None = None

    @property
    def secret(self) -> str:
        return self._beats.identity.secret

    @property
    def node_id(self) -> str:
        return self._beats.identity.node_id

    @property
    def serving(self) -> bool:
        """Whether new work may begin here."""
        return self._group is not None and self._beats.serving

    @property
    def registered(self) -> bool:
        return self._beats.registered

    # Life.

    async def run(self, drain: asyncio.Event | None = None) -> None:
        """Serve until cancelled, or drained: because `drain` was set or control wanted it."""
        loop = asyncio.get_running_loop()
        await self._internal.start()
        self.url = self._config.internal_url or self._internal.url
        loop.add_reader(self._media.fileno(), self._take_events)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                beats = group.create_task(self._beats.run())
                tasks = [beats, group.create_task(self._tick())]
                tasks.append(group.create_task(self._die_with_media()))
                if drain is not None:
                    tasks.append(group.create_task(self._drain_when(drain)))
                self.ready.set()
                try:
                    await self._moves.drained.wait()
                    log.info("drained")
                finally:
                    beats.cancel()
                    await self._stop()
                for task in tasks:
                    task.cancel()
        finally:
            loop.remove_reader(self._media.fileno())
            await self._internal.stop()
            await self._client.close()

    async def _die_with_media(self) -> None:
        """End the node when its media thread has died; whoever started us starts us again."""
        await self._media_died.wait()
        raise RuntimeError("the node ends with its media thread") from self._death

    async def _drain_when(self, asked: asyncio.Event) -> None:
        await asked.wait()
        self._moves.drain()

    async def _stop(self) -> None:
        self._group = None  # nothing new from here on
        for session in list(self.sessions.values()):
            session.end("node_drained")
        await self.cascade.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        await self._beats.farewell()

    # What the native thread tells.

    def _take_events(self) -> None:
        try:
            events = self._media.events()
        except RuntimeError as error:
            # The descriptor stays readable: without this we would come here for ever.
            asyncio.get_running_loop().remove_reader(self._media.fileno())
            log.critical("%s", error)
            self._death = error
            self._media_died.set()
            return
        for event in events:
            if event[0] == "slot":
                room = self._rooms_by_number.get(event[1])
                if room is not None:
                    room.slot_flows(event[2], event[3])
                continue
            if event[0] == "codec":
                room = self._rooms_by_number.get(event[1])
                if room is not None:
                    room.codec(event[2], event[3], event[4:7])
                continue
            session = self._by_number.get(event[1])
            if session is None:
                self.cascade.event(event)
                continue
            if event[0] == "dtls":
                session.feed(event[2])
            elif event[0] == "reachable":
                session.reachable()
            elif event[0] == "silent":
                session.silent(event[2])
            elif event[0] == "plays":
                session.plays(event[2], event[3])

    # What signaling asks (`sfu.internal`).

    def open_session(self, message: OpenSession) -> SessionOpened:
        """Make a session that waits for its browser; Refused."""
        if self._group is None or not self.serving:
            raise Refused("wrong_node", "the node is not registered, or about to stop")
        if not self._moves.takes(message.class_id, message.placement):
            raise Refused("draining", f"class {message.class_id} has gone elsewhere")
        earlier = self.sessions.get(message.session_id)
        if earlier is not None and earlier.fence >= message.fence:
            raise Refused("stale", f"session has fence {earlier.fence} already")
        others = self._others_of(message)
        newest = max((session.fence for session in others), default=0)
        if newest >= message.fence:
            raise Refused("stale", f"the same person has come again with fence {newest}")
        if len(self.sessions) >= SESSIONS_MAX:
            raise Refused("no_capacity", f"{SESSIONS_MAX} sessions")
        certificate = self._certificates.current()
        credentials = Credentials.make()
        answer = make_answer(
            message.offer,
            viewer=message.role == "viewer",
            credentials=credentials,
            fingerprint=certificate.fingerprint,
            candidates=self.candidates,
            ssrcs=self.ssrcs,
        )
        secret = resume_secret_of(self.secret, message.session_id)
        session = Session(
            message,
            number=self.next_number(),
            media=self._media,
            outbox=self._outbox,
            room=self.room(message.class_id),
            certificate=certificate,
            credentials=credentials,
            answer=answer,
            resume=f"{message.session_id}.{secret}",
            refusals=self.refusals,
            on_connected=self._session_connected,
            on_ended=self._session_ended,
        )
        self.sessions[session.session_id] = session
        self._by_number[session.number] = session
        self.metrics.opened(session)
        session.room.add(session)
        self._replace_earlier(session, earlier, others)
        task = self._group.create_task(self._live(session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return SessionOpened(answer, secret)

    def patch_session(self, session_id: str, message: PatchSession) -> SessionPatched:
        """Restart a session's ICE; Refused."""
        session = self.sessions.get(session_id)
        if session is None or session.fence != message.fence:
            raise Refused("unknown_session", session_id)
        credentials = session.restart_ice(message.ice_ufrag)
        return SessionPatched(credentials.ufrag, credentials.pwd, self.candidates)

    def close_session(self, session_id: str, message: CloseSession) -> None:
        """End a session that is there with this fence or an older one."""
        if message.reason not in END_REASONS:
            raise Refused("bad_message", f"no reason to end: {message.reason}")
        self._end(session_id, message.fence, cast("EndReason", message.reason))

    def end_class(self, class_id: str, epoch: int) -> None:
        """End a class's sessions of this epoch and earlier ones, and forget what was said."""
        self._when_settled(lambda: self._end_class(class_id, epoch))

    def _end_class(self, class_id: str, epoch: int) -> None:
        self._resting.pop(class_id, None)
        room = self.rooms.get(class_id)
        if room is not None:
            for session in list(room.sessions.values()):
                if session.opening.epoch <= epoch:
                    session.end("class_ended")
        self.cascade.class_ended(class_id, epoch)

    def move_class(self, class_id: str, epoch: int) -> None:
        """Send a class's sessions of placements before `epoch` to where it is now."""
        self._moves.move(class_id, epoch)

    # What the beats ask and tell (`sfu.beats`).

    @property
    def draining(self) -> bool:
        return self._moves.draining

    @property
    def moving(self) -> bool:
        return self._moves.under_way

    def held(self) -> list[HeldSession]:
        return [
            HeldSession(s.session_id, s.fence, s.state == "connected")
            for s in self.sessions.values()
        ]

    def load(self) -> Load:
        counted = self._media.stats()
        return self._meter.load(
            sessions=len(self.sessions),
            classes=len(self.rooms),
            bytes_out=counted.get("bytes_out", 0),
            native_lag_us=counted.get("loop_lag_us_max", 0),
        )

    def registration(self, identity: Identity) -> Register:
        self._answer_probes(identity)
        return Register(
            node_id=identity.node_id,
            secret=identity.secret,
            internal_url=self.url,
            addresses=tuple((c.address, c.port) for c in self.candidates if c.transport == "udp"),
            version=self._config.version,
        )

    def apply(self, answer: BeatAnswer) -> None:
        self.metrics.beat("held" if answer.hold else "accepted")
        for revocation in answer.revoked:
            self._end(revocation.session_id, revocation.fence, revocation.reason)
        for ended in answer.ended_classes:
            self.end_class(ended.class_id, ended.epoch)
        for moved in answer.moved_classes:
            self._moves.move(moved.class_id, moved.epoch)
        if answer.draining:
            self._moves.drain()

    def links_lost(self) -> tuple[LostLink, ...]:
        return self.cascade.lost()

    def drop_all(self, reason: EndReason) -> None:
        self.cascade.drop_all()
        for session in list(self.sessions.values()):
            session.end(reason)

    # What the links ask (`sfu.cascade`).

    def next_number(self) -> int:
        """Return a name for a session in the native core, which knows none twice."""
        self._sessions_made += 1
        return self._sessions_made

    def knows_class(self, class_id: str) -> bool:
        return class_id in self.rooms or class_id in self._resting

    def hurry(self) -> None:
        """Let control hear of something now."""
        self._beats.hurry()

    def let_go(self, room: Room, *, ended: bool = False) -> None:
        """Forget a room that nobody needs; its comments stay for a while where the class goes on."""
        if room.is_held or self.rooms.get(room.class_id) is not room:
            return
        del self.rooms[room.class_id]
        del self._rooms_by_number[room.number]
        if room.comments.end and not ended:
            self._rest(room)

    # Leaves.

    def _answer_probes(self, identity: Identity) -> None:
        """Let the media thread answer the checks of whoever knows this boot's secret."""
        if self._probed is not None:
            if self._probed[0] is identity:
                return
            self._media.remove_session(self._probed[1])
        number = self.next_number()
        ufrag, pwd = probe_credentials_of(identity.secret)
        self._media.add_session(number, ice_ufrag=ufrag, ice_pwd=pwd)
        self._probed = identity, number

    def room(self, class_id: str) -> Room:
        room = self.rooms.get(class_id)
        if room is None:
            self._rooms_made += 1
            room, _ = self._resting.pop(class_id, (Room(class_id), 0.0))
            room.renumber(self._rooms_made)
            self.rooms[class_id] = room
            self._rooms_by_number[room.number] = room
        return room

    def _rest(self, room: Room) -> None:
        if len(self._resting) >= RESTING_ROOMS_MAX:
            del self._resting[next(iter(self._resting))]
        self._resting[room.class_id] = (room, time.monotonic())

    def _forget_resting(self, now_s: float) -> None:
        while self._resting:
            class_id, (_, since_s) = next(iter(self._resting.items()))
            if now_s - since_s < RESTING_S:
                break
            del self._resting[class_id]

    def _replace_earlier(
        self, session: Session, earlier: Session | None, others: list[Session]
    ) -> None:
        """End what the new session stands for: its own earlier self, a viewer's other tab.

        A teacher's earlier session goes on until the new one is connected: the picture stays.
        """
        if earlier is not None:
            earlier.end("replaced")
        if not session.publishes:
            for other in others:
                other.end("replaced")

    def _others_of(self, opening: OpenSession) -> list[Session]:
        """Return the person's other sessions in the class and in the same role."""
        room = self.rooms.get(opening.class_id)
        return [
            session
            for session in (room.sessions.values() if room else ())
            if session.opening.user_id == opening.user_id
            and session.opening.role == opening.role
            and session.session_id != opening.session_id
        ]

    def _end(self, session_id: str, fence: int, reason: EndReason) -> None:
        def end() -> None:
            session = self.sessions.get(session_id)
            if session is None or session.fence > fence:
                return
            # Its person has gone elsewhere, and may not have arrived yet.
            if reason != "replaced" or not self._moves.revoked(session):
                session.end(reason)

        self._when_settled(end)

    def _when_settled(self, act: Callable[[], None]) -> None:
        """Do it at once, or a moment later where the process has just stood still."""
        now_s = time.monotonic()
        if now_s - self._ticked_at_s > TICK_S + STANDSTILL_S:
            self._settled_at_s = now_s + SETTLE_S
        if now_s < self._settled_at_s:
            asyncio.get_running_loop().call_later(self._settled_at_s - now_s, act)
        else:
            act()

    def _session_connected(self, session: Session) -> None:
        self._beats.tell(
            Happening("connected", session.session_id, session.fence, time.monotonic())
        )
        if session.publishes:
            self.cascade.published(session.opening.class_id, session.opening.placement)
        session.room.connected(session)
        if not session.publishes:
            return
        for other in list(session.room.sessions.values()):
            # A newer one that is on its way replaces this one when it is connected.
            if other.publishes and other.fence < session.fence:
                other.end("replaced")

    def _session_ended(self, session: Session, reason: EndReason, at_s: float) -> None:
        room = session.room
        self.metrics.ended(session, reason)
        room.remove(session)
        if session.was_connected:
            room.disconnected(session, HOW.get(reason, "lost"))
        self.let_go(room, ended=reason == "class_ended")
        # A session that continues under a new fence has not ended.
        if self.sessions.get(session.session_id) is session:
            del self.sessions[session.session_id]
            self._beats.tell(Happening("ended", session.session_id, session.fence, at_s, reason))

    async def _live(self, session: Session) -> None:
        try:
            await session.run()
        finally:
            self._by_number.pop(session.number, None)
            self.metrics.released(session)
            self.ssrcs.give_back(session.answer.outgoing)

    async def _tick(self) -> None:
        ticks = 0
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(TICK_S)
            now_s = self._ticked_at_s = time.monotonic()
            self._meter.lag(now_s - before_s - TICK_S)
            if now_s - before_s > TICK_S + STANDSTILL_S:
                log.warning("stood still for %.1f s", now_s - before_s - TICK_S)
                self._settled_at_s = now_s + SETTLE_S
            self.metrics.tick(self._by_number, now_s - before_s - TICK_S)
            ticks += 1
            if self._beats.registered and not self._beats.serving and self.sessions:
                log.warning("no control has answered in time: fencing %d", len(self.sessions))
                self.drop_all("node_lost")
            for room in list(self.rooms.values()):
                room.tick(now_s)
            self.cascade.tick(now_s)
            self._forget_resting(now_s)
            self._moves.tick(now_s)
            for number, session in list(self._by_number.items()):
                if (number + ticks) % PING_TICKS == 0:
                    session.send(PING)


def _candidates(addresses: tuple[Advertised, ...], media: Media) -> tuple[Candidate, ...]:
    """Return where clients may come to: over UDP first, which is preferred and which all of them know.

    aioice takes one candidate of an address and port, the first, whatever its transport.
    """
    udp = [Candidate(a.address, a.udp_port or media.port) for a in addresses]
    bound = media.tcp_port
    if bound is None:
        return tuple(udp)
    return (*udp, *(Candidate(a.address, a.tcp_port or bound, "tcp") for a in addresses))


class _Meter:
    """Turns growing counters into figures of the time since the last question."""

    def __init__(self) -> None:
        self._asked_at_s = time.monotonic()
        self._cpu_s = time.process_time()
        self._bytes_out = 0
        self._lag_s = 0.0

    def lag(self, late_s: float) -> None:
        self._lag_s = max(self._lag_s, late_s)

    def load(self, *, sessions: int, classes: int, bytes_out: int, native_lag_us: int) -> Load:
        now_s, cpu_s = time.monotonic(), time.process_time()
        span_s = max(now_s - self._asked_at_s, 0.001)
        load = Load(
            sessions=sessions,
            classes=classes,
            egress_bps=round((bytes_out - self._bytes_out) * 8 / span_s),
            cpu=round((cpu_s - self._cpu_s) / span_s, 3),
            loop_lag_ms=round(self._lag_s * 1000, 1),
            native_lag_ms=round(native_lag_us / 1000, 1),
        )
        self._asked_at_s, self._cpu_s, self._bytes_out = now_s, cpu_s, bytes_out
        self._lag_s = 0.0
        return load
