"""The node's side of the beats: registration, outbox, digest, fence (`wire.beat`)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import uuid4

from sfu.control_client import BeatRefused, ControlClient, ControlUnreachable
from sfu.control_clock import ControlClock
from wire.beat import (
    BEAT_INTERVAL_S,
    DIGEST_INTERVAL_S,
    EVENTS_PER_BEAT_MAX,
    FENCE_S,
    Beat,
    BeatAnswer,
    EndReason,
    HeldSession,
    Load,
    LostLink,
    Register,
    SessionEvent,
    digest_of,
)

log = logging.getLogger(__name__)

RETRY_MIN_S = 0.25
RETRY_MAX_S = 2.0
# While sessions are sent elsewhere: who has arrived there is heard in the answers.
HURRIED_S = 0.25
GATHER_S = 0.03  # ends that come together travel together
FAREWELL_S = 2.0
FAREWELL_BEATS_MAX = 4
# An hour of 50 changes a second without a control; what is lost beyond, the digest heals.
OUTBOX_EVENTS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a boot of the node is; a refused one is never used again."""

    node_id: str
    secret: str

    @classmethod
    def make(cls) -> Identity:
        return cls(str(uuid4()), secrets.token_urlsafe(32))


@dataclass(frozen=True, slots=True)
class Happening:
    """An event with its time on the node's monotonic clock."""

    kind: Literal["connected", "ended"]
    session_id: str
    fence: int
    at_s: float
    reason: EndReason | None = None


class BeatsMetrics(Protocol):
    """Counts beats by their outcome."""

    def beat(self, outcome: str) -> None: ...


class BeatingNode(Protocol):
    """What the beats ask of the node, and tell it."""

    @property
    def draining(self) -> bool: ...
    @property
    def moving(self) -> bool: ...
    @property
    def metrics(self) -> BeatsMetrics: ...
    def held(self) -> list[HeldSession]: ...
    def load(self) -> Load: ...
    def links_lost(self) -> tuple[LostLink, ...]: ...
    def registration(self, identity: Identity) -> Register: ...
    def apply(self, answer: BeatAnswer) -> None: ...
    def drop_all(self, reason: EndReason) -> None: ...


class Beats:
    """Keeps control informed; `identity` changes when control has given this boot up."""

    def __init__(self, node: BeatingNode, client: ControlClient, cluster_secret: str) -> None:
        self.identity = Identity.make()
        self._node = node
        self._client = client
        self._cluster_secret = cluster_secret
        self._outbox: deque[Happening] = deque(maxlen=OUTBOX_EVENTS_MAX)
        self._wake = asyncio.Event()
        self._registered = False
        self._in_flight = 0  # events of the beat that is not answered yet, from the outbox's head
        self._sequence = 0
        self._cursor = 0
        self._send_sessions = False
        self._digest_at_s = 0.0
        self._answered_at_s = 0.0
        self._complained = False
        self._clock = ControlClock()
        self._leaving = False

    @property
    def serving(self) -> bool:
        """Whether the lease is certainly ours: no other node may take our sessions over."""
        return self._registered and time.monotonic() - self._answered_at_s < FENCE_S

    @property
    def registered(self) -> bool:
        return self._registered

    def hurry(self) -> None:
        """Beat at once: control is to know something now."""
        self._wake.set()

    def tell(self, happening: Happening) -> None:
        """Put an event into the outbox; an end is sent at once."""
        if len(self._outbox) == OUTBOX_EVENTS_MAX:
            self._in_flight = max(0, self._in_flight - 1)  # the oldest one falls out
        self._outbox.append(happening)
        if happening.kind == "ended":
            self._wake.set()

    async def run(self) -> None:
        """Register, beat, and begin anew whenever this boot is refused; until cancelled."""
        while True:
            await self._register()
            await self._beat_until_refused()
            log.warning("control has given up node %s: beginning anew", self.identity.node_id)
            self._registered = False
            self._node.drop_all("node_lost")
            self.identity = Identity.make()
            self._outbox.clear()
            self._in_flight = 0

    async def farewell(self) -> None:
        """Tell what waits, a last time and not for long."""
        if not self._registered:
            return
        try:
            async with asyncio.timeout(FAREWELL_S):
                self._leaving = True
                for _ in range(FAREWELL_BEATS_MAX):
                    is_last = not self._outbox
                    await self._beat()
                    if is_last:
                        return
        except (ControlUnreachable, BeatRefused, TimeoutError) as error:
            log.warning("control did not hear the last ends: %s", error)

    async def _register(self) -> None:
        retry_s = RETRY_MIN_S
        while True:
            sent_at_s = time.monotonic()
            try:
                await self._client.register(
                    self._node.registration(self.identity), self._cluster_secret
                )
            except ControlUnreachable as error:
                self._complain(error)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
                continue
            self._content()
            log.info("node %s is registered", self.identity.node_id)
            self._sequence, self._cursor, self._send_sessions = 0, 0, False
            self._answered_at_s = self._digest_at_s = sent_at_s
            self._registered = True
            return

    async def _beat_until_refused(self) -> None:
        while True:
            started_at_s = time.monotonic()
            try:
                accepted = await self._beat()
            except BeatRefused:
                self._node.metrics.beat("refused")
                return
            except ControlUnreachable as error:
                self._node.metrics.beat("unanswered")
                self._complain(error)
                await asyncio.sleep(RETRY_MIN_S)
                continue
            self._content()
            if self._send_sessions or (accepted and len(self._outbox) >= EVENTS_PER_BEAT_MAX):
                continue
            if not accepted:
                self._wake.clear()  # what cannot be written now is not worth hurrying for
            interval_s = HURRIED_S if self._node.moving else BEAT_INTERVAL_S
            await self._pause(started_at_s + interval_s - time.monotonic())

    async def _pause(self, interval_s: float) -> None:
        try:
            async with asyncio.timeout(max(interval_s, 0)):
                await self._wake.wait()
            await asyncio.sleep(GATHER_S)
        except TimeoutError:
            pass

    async def _beat(self) -> bool:
        """Send one beat and apply its answer; return whether its events are written."""
        self._wake.clear()
        sent_at_s = time.monotonic()
        if self._in_flight == 0:
            self._in_flight = min(len(self._outbox), EVENTS_PER_BEAT_MAX)
        held = self._node.held()
        digest = None
        if sent_at_s - self._digest_at_s >= DIGEST_INTERVAL_S:
            digest = digest_of([(s.session_id, s.fence) for s in held])
        asked = self._send_sessions
        # Of this attempt, not of the beat: control may still be at work on one that we gave up, and
        # must not hold its old set of sessions against what came later.
        self._sequence += 1
        answer = await self._client.beat(
            Beat(
                node_id=self.identity.node_id,
                sequence=self._sequence,
                cursor=self._cursor,
                load=self._node.load(),
                events=self._events(sent_at_s),
                sent_at=self._clock.at(sent_at_s),
                digest=digest,
                sessions=tuple(held) if asked else None,
                draining=self._node.draining,
                leaving=self._leaving and not self._outbox,
                links_lost=self._node.links_lost(),
            ),
            self.identity.secret,
        )
        if answer.at is not None:
            self._clock.learn(answer.at, sent_at_s, time.monotonic())
        self._answered_at_s = sent_at_s
        if digest is not None:
            self._digest_at_s = sent_at_s
        if answer.accepted:
            for _ in range(self._in_flight):
                self._outbox.popleft()
            self._in_flight = 0
        self._cursor = max(self._cursor, answer.cursor)
        self._send_sessions = answer.send_sessions and not answer.hold
        self._node.apply(answer)
        return answer.accepted

    def _events(self, now_s: float) -> tuple[SessionEvent, ...]:
        events = []
        for index in range(self._in_flight):
            one = self._outbox[index]
            ms_ago = max(0, round((now_s - one.at_s) * 1000))
            events.append(SessionEvent(one.kind, one.session_id, one.fence, ms_ago, one.reason))
        return tuple(events)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            log.warning("control does not answer, trying on: %s", error)

    def _content(self) -> None:
        if self._complained:
            self._complained = False
            log.info("control answers")
