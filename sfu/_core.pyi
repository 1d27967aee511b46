"""The native packet core, as Python sees it: one object, one thread, one UDP and one TCP port.

Commands go in and events come out over one queue each way; no method waits for the media thread and
no media packet passes through here. Session and room numbers are chosen by the caller and must not be
used again within one `Media`. Byte strings are exact: keys are `key || salt` of the profile's sizes.
"""

from typing import Literal, TypeAlias

Slot: TypeAlias = Literal["video", "mic", "screen_audio"]

# RFC 3711, RFC 7714: (key bytes, salt bytes) are (16, 12), (32, 12), (16, 14).
Profile: TypeAlias = Literal["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES128_CM_SHA1_80"]

DtlsEvent: TypeAlias = tuple[Literal["dtls"], int, bytes]  # session, one datagram
ReachableEvent: TypeAlias = tuple[Literal["reachable"], int]  # session: first valid STUN check
SilentEvent: TypeAlias = tuple[
    Literal["silent"], int, int
]  # session, ms since the last sign of life
SlotEvent: TypeAlias = tuple[Literal["slot"], int, Slot, bool]  # room, slot, media flows
# session, slot: whether the viewer offered the codec that flows there now; said when it changes
PlaysEvent: TypeAlias = tuple[Literal["plays"], int, Slot, bool]
# room, slot, index, name, clock rate in Hz, fmtp: a codec that flows in the slot for the first time
CodecEvent: TypeAlias = tuple[Literal["codec"], int, Slot, int, str, int, str]
# The newest timestamps of video, mic and screen_audio that a copy has, as its source gave them.
Stand: TypeAlias = tuple[int | None, int | None, int | None]
StandsEvent: TypeAlias = tuple[Literal["stands"], int, Stand]  # session: after `follow_link`
FollowsEvent: TypeAlias = tuple[Literal["follows"], int]  # session: the link feeds its room now
Event: TypeAlias = (
    DtlsEvent
    | ReachableEvent
    | SilentEvent
    | SlotEvent
    | PlaysEvent
    | CodecEvent
    | StandsEvent
    | FollowsEvent
)
# slot, SSRC, SSRC of its retransmissions
Stream: TypeAlias = tuple[Slot, int, int]

class Track:
    """One RTP stream that a publisher sends: what to expect and under which numbers.

    `codecs` are (payload_type, name, clock_rate in Hz, rtx_payload_type or None, fmtp) with names upper case
    as in SDP. `ssrc` None: bound by the MID extension. Extension ids are 1..14 (RFC 8285 one-byte) or None.
    """

    def __init__(
        self,
        *,
        slot: Slot,
        mid: str,
        codecs: list[tuple[int, str, int, int | None, str]],
        ssrc: int | None,
        rtx_ssrc: int | None,
        mid_extension: int | None,
        transport_cc_extension: int | None,
        abs_send_time_extension: int | None = None,
        dependency_descriptor_extension: int | None = None,
        nack: bool = True,
        pli: bool = True,
    ) -> None: ...

class Sink:
    """One section of a viewer: the SSRC is for the life of the session, whoever feeds it.

    `codecs` as for `Track`, under the viewer's numbers. `first_sequence` < 2**15.
    """

    def __init__(
        self,
        *,
        slot: Slot,
        mid: str,
        codecs: list[tuple[int, str, int, int | None, str]],
        ssrc: int,
        rtx_ssrc: int | None,
        cname: str,
        first_sequence: int,
        mid_extension: int | None,
        transport_cc_extension: int | None,
        abs_send_time_extension: int | None = None,
        dependency_descriptor_extension: int | None = None,
        nack: bool = True,
    ) -> None: ...

class Media:
    """The media thread of a node. `close` stops and joins it; a dropped object does the same."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        tcp_port: int | None = None,
        receive_buffer_bytes: int = 8_388_608,
        send_buffer_bytes: int = 8_388_608,
        gso: bool = True,
        seed: int = 0,
    ) -> None:
        """Bind `host` (an IP address; "::" takes both families) and start the thread; port 0 picks one.

        `tcp_port` takes connections of ICE-TCP (RFC 6544, passive; RFC 4571 framing), None takes none. `seed` 0 takes the randomness of the operating system. Raises OSError as bind() does.
        """

    @property
    def port(self) -> int:
        """The port of UDP."""

    @property
    def tcp_port(self) -> int | None: ...
    def fileno(self) -> int:
        """Return an eventfd that is readable while events wait."""

    def events(self) -> list[Event]:
        """Take all waiting events, at most 4096 of them, and make `fileno` unreadable when none is left."""

    def add_session(self, session: int, *, ice_ufrag: str, ice_pwd: str) -> None:
        """Answer STUN checks under these credentials of ours (RFC 8445, ICE-lite)."""

    def restart_ice(self, session: int, *, ice_ufrag: str, ice_pwd: str) -> None:
        """Answer to new credentials as well; the old path stays until a check on the new one is valid."""

    def remove_session(self, session: int) -> None:
        """Forget the session and all of its streams; unknown sessions are ignored."""

    def send_dtls(self, session: int, datagram: bytes) -> None:
        """Send to the session's path; dropped and counted while it has none."""

    def hand_over(self, datagrams: list[tuple[int, bytes]], touched: list[int]) -> None:
        """Do `touch` for each session and `send_dtls` for each (session, datagram).

        The media thread is woken once for all of them, which costs more than any of them. Raises
        ValueError as `send_dtls` does, and has done nothing then.
        """

    def set_keys(self, session: int, profile: Profile, *, local: bytes, remote: bytes) -> None:
        """Open SRTP: `local` seals what we send, `remote` opens what we receive.

        Raises ValueError for wrong lengths.
        """

    def publish(self, session: int, *, room: int, tracks: list[Track]) -> None:
        """Let the session feed the room's slots; a slot's earlier source is replaced."""

    def subscribe(self, session: int, *, room: int, sinks: list[Sink]) -> None:
        """Forward the room's slots to the session, video from the next keyframe on."""

    def add_link(
        self,
        session: int,
        *,
        ice_ufrag: str,
        ice_pwd: str,
        call: list[tuple[str, int]],
        hears: list[int],
    ) -> None:
        """Begin one end of a link to another node; `set_keys` gives it its keys.

        `call`: where the other node's media may be (IP address, port; 8 at the most), for the end that sends
        the checks and says `silent` after a second; empty for the end that answers them. `hears`: the SSRCs
        that come, unique on this node.
        """

    def feed_link(
        self,
        session: int,
        *,
        room: int,
        streams: list[Stream],
        cname: str,
        first_sequence: int,
        stand: Stand,
    ) -> None:
        """Send the room to the node at the other end, after `set_keys`; each codec from `add_codec` on.

        It begins where the other node's copy ends (`stand`), or where a joiner would.
        """

    def follow_link(
        self, session: int, *, room: int, streams: list[Stream], report_ssrc: int, continues: bool
    ) -> None:
        """Let the link feed the room, in another's place, from its first packet on.

        `continues`: on the time line of the link before it: what is sent twice is dropped, and the viewers
        notice nothing.
        """

    def add_codec(
        self, session: int, *, slot: Slot, codec: tuple[int, str, int, int | None, str]
    ) -> None:
        """Tell one end of a link a codec that flows: to the child first. As for `Track`."""

    def touch(self, session: int) -> None:
        """Count this moment as a sign of life: DTLS application data was authenticated."""

    def stats(self) -> dict[str, int]:
        """Return the counters of the node, about a second old at the most; names end in their unit."""

    def session_stats(self, session: int) -> dict[str, int] | None:
        """Return the counters of one session, about a second old at the most; None: unknown."""

    def close(self) -> None: ...

# The parts of the core one by one, for differential tests against a second implementation.

class SrtpSealer:
    """Seals RTP and RTCP of one direction; the sequence numbers are those of the packets given."""

    def __init__(self, profile: Profile, key_and_salt: bytes) -> None: ...
    def seal_rtp(self, packet: bytes) -> bytes: ...
    def seal_rtcp(self, packet: bytes) -> bytes: ...

class SrtpOpener:
    """Opens RTP and RTCP of one direction, with replay windows and rollover (RFC 3711 section 3.3)."""

    def __init__(self, profile: Profile, key_and_salt: bytes) -> None: ...
    def open_rtp(self, packet: bytes) -> bytes | None:
        """Return the opened packet; None: forged, replayed, too old or malformed."""

    def open_rtcp(self, packet: bytes) -> bytes | None: ...

def parse_rtp(packet: bytes) -> dict[str, object] | None:
    """Return the fields of an RTP packet (RFC 3550, RFC 8285), None where it is malformed.

    Keys: payload_type, marker, sequence, timestamp, ssrc, csrc (list), extensions (list of (id, bytes)),
    payload_offset, payload_length, padding_length.
    """

def parse_rtcp(packet: bytes) -> list[dict[str, object]] | None:
    """Return the reports of a compound RTCP packet (RFC 3550, RFC 4585), None where it is malformed.

    Every entry has `type` and its fields: sr (ssrc, ntp in 32.32 fixed point, rtp_timestamp, packet_count,
    octet_count, reports), rr (ssrc, reports), sdes (chunks of ssrc and items (type, bytes)), bye (ssrcs),
    nack (ssrc, media_ssrc, lost), pli (ssrc, media_ssrc), fir (ssrc, entries (ssrc, number)), remb (ssrc,
    bitrate_bps, ssrcs), transport_cc (ssrc, media_ssrc, base_sequence, status_count, reference_time in 64 ms,
    feedback_count, received as (sequence, arrival in 250 us after the reference time)) and other
    (packet_type, count). A report has ssrc, fraction_lost of 256, packets_lost, highest_sequence, jitter in
    the stream's clock, lsr and dlsr.
    """

BUILD_PROFILE: Literal["release", "debug"]
VERSION: str
