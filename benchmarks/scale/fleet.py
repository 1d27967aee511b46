"""Nodes that are made up: they register, beat and obey as real ones do, and carry nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from uuid import UUID

from benchmarks.scale.world import Told
from control.beats import Beats, Refused
from wire.beat import (
    BEAT_INTERVAL_S,
    DIGEST_INTERVAL_S,
    EVENTS_PER_BEAT_MAX,
    Beat,
    HeldSession,
    Load,
    Register,
    SessionEvent,
    digest_of,
)

# A beat's delays are kept one in so many: a run has millions of beats.
SAMPLE_EVERY = 20


class MadeUpNode:
    """One node. Sessions are connected in the beat after they were opened."""

    def __init__(self, node_id: UUID, beats: Beats, told: Told) -> None:
        self.node_id = node_id
        self.told = told
        self._beats = beats
        self._secret = secrets.token_urlsafe(24)
        self._sequence = self._cursor = 0
        # Session -> its fence and class.
        self._held: dict[str, tuple[int, str]] = {}
        self._of_class: dict[str, set[str]] = {}
        self._outbox: deque[SessionEvent] = deque()
        self._digest_at = time.monotonic() + DIGEST_INTERVAL_S * secrets.randbelow(1000) / 1000
        self._send_sessions = False
        # Nothing waits to be reported.
        self.settled = asyncio.Event()
        self.settled.set()

    async def register(self) -> None:
        url = f"http://127.0.0.1:1/{self.node_id}"
        await self._beats.register(
            Register(str(self.node_id), self._secret, url, (("127.0.0.1", 1),), "scale")
        )

    def open(self, session_id: UUID, fence: int, class_id: UUID) -> None:
        """Take a session, as if a browser had connected at once."""
        self._held[str(session_id)] = (fence, str(class_id))
        self._of_class.setdefault(str(class_id), set()).add(str(session_id))
        self._report(SessionEvent("connected", str(session_id), fence, 0))

    async def live(self, delay_s: float) -> None:
        """Beat until cancelled, the first time after `delay_s`."""
        due = time.monotonic() + delay_s
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            await self._beat()
            ended = time.monotonic()
            self.told.beats += 1
            if self._sequence % SAMPLE_EVERY == 0:
                self.told.beat_ms.append((ended - began) * 1e3)
            if ended - due > BEAT_INTERVAL_S:
                self.told.late_beats += 1
                due = ended
            due += BEAT_INTERVAL_S

    async def _beat(self) -> None:
        self._sequence += 1
        events = tuple(self._outbox)[:EVENTS_PER_BEAT_MAX]
        digest = sessions = None
        if self._send_sessions:
            sessions = tuple(HeldSession(s, fence, True) for s, (fence, _) in self._held.items())
        elif time.monotonic() >= self._digest_at and not events:
            self._digest_at = time.monotonic() + DIGEST_INTERVAL_S
            digest = digest_of([(session, fence) for session, (fence, _) in self._held.items()])
        load = Load(len(self._held), len(self._of_class), 0, 0.0, 0.0)
        beat = Beat(
            str(self.node_id), self._sequence, self._cursor, load,
            events=events, digest=digest, sessions=sessions,
        )  # fmt: skip
        try:
            answer = await self._beats.beat(beat, self._secret)
        except Refused:
            self.told.lost_nodes += 1
            raise
        if not answer.accepted:
            self.told.held_beats += 1
            return
        for _ in events:
            self._outbox.popleft()
        if not self._outbox:
            self.settled.set()
        self._cursor, self._send_sessions = answer.cursor, answer.send_sessions
        for revoked in answer.revoked:
            self._drop(revoked.session_id, revoked.fence)
        for ended in answer.ended_classes:
            for session in list(self._of_class.get(ended.class_id, ())):
                fence, _ = self._held[session]
                self._drop(session, fence)
                # Said as by a real node; control has closed the segment with the class.
                self._report(SessionEvent("ended", session, fence, 0, "class_ended"))

    def _report(self, event: SessionEvent) -> None:
        self._outbox.append(event)
        self.settled.clear()

    def _drop(self, session: str, fence: int) -> None:
        held = self._held.get(session)
        if held is None or held[0] > fence:
            return
        del self._held[session]
        of_class = self._of_class[held[1]]
        of_class.discard(session)
        if not of_class:
            del self._of_class[held[1]]
