"""One session on the node: from its offer to its end.

    new --reachable--> reachable --handshake--> connecting --keys--> connected
     |                     |                        |                    |
     +---------------------+-----------end----------+--------------------+--> closed

A session is `reachable` with its first valid STUN check, `connecting` while DTLS shakes hands,
`connected` once the peer has proved to hold the offer's certificate and the core has the keys. Every
state has a deadline or a judge: 30 s to be reachable, 10 s for the handshake, and then the native
core, which sees the packets, says when nothing authentic came for too long. `end` may be called from
anywhere, any number of times; the first one counts. One task owns everything a session holds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters

from sfu.association import Association
from sfu.certificate import NodeCertificate
from sfu.dtls import DatagramPipe, DtlsTransport
from sfu.live import Live, Message, encode
from sfu.negotiation import Credentials, sinks_of, tracks_of
from sfu.outbox import Outbox
from sfu.refusals import Refusals
from sfu.room import Room
from wire.beat import EndReason
from wire.session import Answer, OpenSession, Slot

if TYPE_CHECKING:
    from sfu._core import Media

log = logging.getLogger(__name__)

REACHABLE_S = 30.0  # as long as control holds an admitted seat (its confirm_by)
HANDSHAKE_S = 10.0  # a lost flight costs 1 s, then 2, then 4
TOUCH_INTERVAL_S = 0.5  # signs of life are told to the core no more often
# Of the loop, that one client's datagrams may take; a busy reader's 30 a second take 0.004.
FEED_S_PER_SECOND_MAX = 0.1

State = Literal["new", "reachable", "connecting", "connected", "closed"]
Event = Literal["reachable", "handshake", "keys", "end"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("new", "reachable"): "reachable",
    ("reachable", "handshake"): "connecting",
    ("connecting", "keys"): "connected",
    ("new", "end"): "closed",
    ("reachable", "end"): "closed",
    ("connecting", "end"): "closed",
    ("connected", "end"): "closed",
}

# Of the native core, said when a session ends; the rest is in `Media.session_stats`.
TOLD_COUNTERS = (
    "packets_received",
    "packets_nacked",
    "packets_given_up",
    "keyframes_asked",
    "packets_out",
    "packets_repaired",
    "nacks_refused",
    "picture_losses",
    "starts_again",
    "skips",
    "round_trip_us",
)

# What the client is told before its channel closes; the rest it notices by itself.
FAREWELLS: dict[str, Message] = {
    "replaced": {"type": "replaced"},
    "class_ended": {"type": "ended"},
    "node_drained": {"type": "moved"},
}


class Session:
    """One person's connection. `number` is its name in the native core and is not used again."""

    def __init__(
        self,
        opening: OpenSession,
        *,
        number: int,
        media: Media,
        outbox: Outbox,
        room: Room,
        certificate: NodeCertificate,
        credentials: Credentials,
        answer: Answer,
        resume: str,
        refusals: Refusals,
        on_connected: Callable[[Session], None],
        on_ended: Callable[[Session, EndReason, float], None],
    ) -> None:
        self.opening = opening
        self.session_id = opening.session_id
        self.fence = opening.fence
        self.number = number
        self.room = room
        self.credentials = credentials
        self.remote_ufrag = opening.offer.ice_ufrag
        self.answer = answer
        self.resume = resume
        self.was_connected = False
        self.counted: dict[str, int] = {}  # the native core's counters, at the end
        self._media = media
        self._on_connected = on_connected
        self._on_ended = on_ended
        self._state: State = "new"
        self._reachable = asyncio.Event()
        self._ended = asyncio.Event()
        self._reason: EndReason = "disconnected"
        self._touched_at_s = 0.0
        self._fed_since_s = 0.0
        self._fed_s = 0.0
        self._unsupported: set[Slot] = set()  # slots whose codec the viewer did not offer
        self._outbox = outbox
        self._refusals = refusals
        self._pipe = DatagramPipe(lambda datagram: outbox.send(number, datagram), refusals)
        self._dtls = DtlsTransport(
            self._pipe,
            certificate,
            role=answer.dtls_role,
            on_application_data=self._sign_of_life,
            refusals=refusals,
        )
        self._association: Association | None = None
        self._live: Live | None = None
        media.add_session(number, ice_ufrag=credentials.ufrag, ice_pwd=credentials.pwd)

    @property
    def state(self) -> State:
        return self._state

    @property
    def publishes(self) -> bool:
        return self.opening.role == "publisher"

    @property
    def hears(self) -> bool:
        """Whether its client can be told something now."""
        return self._state == "connected" and self._live is not None and self._live.is_open

    @property
    def ignored_messages(self) -> int:
        return self._live.ignored_messages if self._live else 0

    # What happens to the session.

    def reachable(self) -> None:
        """Note the first valid STUN check."""
        if self._state == "new":
            self._move("reachable")
            self._reachable.set()

    def feed(self, datagram: bytes) -> None:
        """Take a DTLS datagram that came over a proven path.

        Who uses up a share of the loop is not heard for the rest of the second: SCTP sends again.
        """
        now_s = time.monotonic()
        if now_s - self._fed_since_s >= 1.0:
            self._fed_since_s, self._fed_s = now_s, 0.0
        if self._fed_s >= FEED_S_PER_SECOND_MAX:
            self._refusals.dtls_over_share += 1
            return
        began_s = time.thread_time()  # not what the machine does meanwhile
        self._pipe.feed(datagram)
        self._fed_s += time.thread_time() - began_s

    def silent(self, ms_ago: int) -> None:
        """Note that nothing authentic came since then; before the keys the deadlines judge."""
        if self._state == "connected":
            self.end("disconnected", since_s=time.monotonic() - ms_ago / 1000)

    def plays(self, slot: Slot, supported: bool) -> None:
        """Note whether the viewer can decode what flows in a slot now, and tell it."""
        (self._unsupported.discard if supported else self._unsupported.add)(slot)
        self.send_state("playback", encode({"type": "playback", **self.playback()}))

    def playback(self) -> dict[str, str]:
        """Return a code of each slot: `ok` or `codec_unsupported`."""
        slots: tuple[Slot, ...] = get_args(Slot)
        return {s: "codec_unsupported" if s in self._unsupported else "ok" for s in slots}

    def end(self, reason: EndReason, *, since_s: float | None = None) -> None:
        """End the session; `since_s` on the monotonic clock is when it truly ended."""
        if self._state == "closed":
            return
        self._reason = reason
        connected = self._state == "connected"
        self._move("end")
        self._on_ended(self, reason, time.monotonic() if since_s is None else since_s)
        self._reachable.set()
        self._ended.set()
        if not connected:
            self._pipe.close()  # wakes a handshake; a connected one still says its farewell

    def restart_ice(self, remote_ufrag: str) -> Credentials:
        """Return credentials for an ICE restart; a repeated request gets the same ones again."""
        if remote_ufrag != self.remote_ufrag:
            self.remote_ufrag = remote_ufrag
            self.credentials = Credentials.make()
            self._media.restart_ice(
                self.number, ice_ufrag=self.credentials.ufrag, ice_pwd=self.credentials.pwd
            )
        return self.credentials

    def send_state(self, kind: str, data: bytes) -> None:
        if self._live is not None:
            self._live.send_state(kind, data)

    def send(self, data: bytes) -> None:
        """Send a message on the live channel, if there is one with room."""
        if self._live is not None:
            self._live.send(data)

    def tell_comments(self) -> None:
        if self._live is not None:
            self._live.tell_comments()

    def drain(self) -> None:
        if self._live is not None:
            self._live.drain()

    # The life of the session, in the one task that owns it.

    async def run(self) -> None:
        """Live until the end, then release everything; never raises but when cancelled."""
        try:
            if await self._become_reachable() and await self._shake_hands():
                await self._connect()
                await self._ended.wait()
        except Exception:
            # One session's fault, ours or its peer's, must not take the node down with it.
            log.exception("session %s failed", self.session_id)
            self.end("disconnected")
        finally:
            self.end("disconnected")
            await self._release()

    async def _become_reachable(self) -> bool:
        try:
            async with asyncio.timeout(REACHABLE_S):
                await self._reachable.wait()
        except TimeoutError:
            self.end("never_connected")
        return self._state == "reachable"

    async def _shake_hands(self) -> bool:
        self._move("handshake")
        fingerprints = [RTCDtlsFingerprint(*pair) for pair in self.opening.offer.fingerprints]
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._dtls.start(RTCDtlsParameters(fingerprints=fingerprints))
        except TimeoutError:
            pass
        if self._dtls.state != "connected" or self._dtls.keys is None:
            self.end("handshake_failed")
        return self._state == "connecting"

    async def _connect(self) -> None:
        keys = self._dtls.keys
        assert keys is not None
        media, offer = self._media, self.opening.offer
        media.set_keys(self.number, keys.profile, local=keys.local, remote=keys.remote)
        if self.publishes:
            media.publish(self.number, room=self.room.number, tracks=tracks_of(offer))
        else:
            sinks = sinks_of(offer, self.answer)
            media.subscribe(self.number, room=self.room.number, sinks=sinks)
        self._dtls.on("statechange", self._dtls_changed)
        self._move("keys")
        self.was_connected = True
        self._on_connected(self)
        if offer.sctp_port is not None:
            self._association = Association(self._dtls)
            self._live = Live(
                self._association,
                greeting=lambda: self.room.greeting(self),
                log=self.room.comments,
                on_message=self._receive,
                refusals=self._refusals,
            )
            await self._association.begin(
                remote_port=offer.sctp_port, remote_message_bytes_max=offer.sctp_max_message_size
            )
        if self._dtls.state != "connected":
            self.end("disconnected")

    async def _release(self) -> None:
        """Let go of everything; the native core keeps the order of what was said before."""
        try:
            if self._live is not None and self._association is not None:
                if self._reason in FAREWELLS:
                    self._live.send(encode(FAREWELLS[self._reason]))
                    await self._association.flush()
                self._live.close()
                await self._association.stop()
            await self._dtls.stop()
        except ConnectionError:
            pass  # the peer was gone before its farewell
        finally:
            self._dtls.remove_all_listeners()
            self._pipe.close()
            self._say_what_was_sent()
            self._outbox.flush()  # the farewell, while the core still knows the way
            self._media.remove_session(self.number)
            self._association = None
            self._live = None

    # Leaves.

    def _say_what_was_sent(self) -> None:
        self.counted = counted = self._media.session_stats(self.number) or {}
        told = " ".join(f"{name}={counted[name]}" for name in TOLD_COUNTERS if name in counted)
        log.info(
            "session %s of a %s in class %s ended %s: %s",
            self.session_id,
            self.opening.role,
            self.opening.class_id,
            self._reason,
            told,
        )

    def _move(self, event: Event) -> None:
        following = TRANSITIONS.get((self._state, event))
        if following is None:
            raise RuntimeError(f"{self.opening.role} {self.session_id}: {event} in {self._state}")
        log.debug("session %s: %s -> %s (%s)", self.session_id, self._state, following, event)
        self._state = following

    def _dtls_changed(self) -> None:
        if self._dtls.state in ("closed", "failed"):
            self.end("disconnected")

    def _sign_of_life(self) -> None:
        now_s = time.monotonic()
        if self._state == "connected" and now_s - self._touched_at_s >= TOUCH_INTERVAL_S:
            self._touched_at_s = now_s
            self._outbox.touch(self.number)

    def _receive(self, message: Message) -> None:
        """Take a client's message; a pong has done its work by arriving."""
        if message["type"] == "pong" or self._state != "connected" or self._live is None:
            return
        if not self.room.receive(self, message):
            self._live.ignore()
