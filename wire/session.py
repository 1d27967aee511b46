"""What signaling asks of a node for one session, and what the node answers.

SDP text stays in `signaling`; these messages carry its meaning. Internal HTTP API of a node, every
request with `Authorization: Bearer <secret of the node's registration>`:

| request                       | body           | answer                                     |
|-------------------------------|----------------|--------------------------------------------|
| POST   /sessions              | OpenSession    | 200 SessionOpened                          |
| PATCH  /sessions/{session_id} | PatchSession   | 200 SessionPatched, 404                    |
| DELETE /sessions/{session_id} | CloseSession   | 204 (also where it is gone already)        |
| DELETE /classes/{class_id}    | CloseClass     | 204: the class has ended, empty it         |
| POST   /classes/{class_id}/move | MoveClass    | 204: the class is elsewhere, send all after it |
| GET    /health                |                | 200                                        |

Errors are 4xx/5xx with a `Refusal` as the body.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["publisher", "viewer"]

# The slots of a class: what its teacher can send, in the order of a viewer's sections.
Slot = Literal["video", "mic", "screen_audio"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec of a section as offered, under the offerer's payload types (RFC 8866 rtpmap/fmtp)."""

    name: str  # as in rtpmap, upper case: VP8, H264, AV1, VP9, OPUS, RED
    payload_type: int
    clock_rate: int  # Hz
    channels: int = 1
    fmtp: str = ""  # the text after the payload type, "" where there is none
    rtx_payload_type: int | None = None  # RFC 4588, bound by apt
    nack: bool = False
    pli: bool = False
    transport_cc: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """One RTP stream of a publisher's section, as announced by a=ssrc / a=ssrc-group:FID."""

    ssrc: int
    rtx_ssrc: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One accepted audio or video section of an offer.

    `codecs` are those that both sides can use, most preferred first. `extensions` maps a header
    extension's URI to the id of the offer (RFC 8285, 1..14).
    """

    mid: str
    kind: Literal["audio", "video"]
    slot: Slot
    codecs: tuple[Codec, ...]
    extensions: dict[str, int]
    sources: tuple[Source, ...] = ()  # publisher only; empty: bound by the MID extension
    rids: tuple[str, ...] = ()  # simulcast layers that a publisher offers (RFC 8853), as ordered


@dataclass(frozen=True, slots=True)
class Offer:
    """The transport and the accepted sections of one offer; everything is one bundle."""

    ice_ufrag: str
    ice_pwd: str
    fingerprints: tuple[tuple[str, str], ...]  # (hash name as in SDP, "AB:CD:...")
    dtls_role: Literal["client", "server"]  # of the offerer; actpass has become client
    sections: tuple[Section, ...]
    # RFC 8841 section 5.1; None: the offer has no data channel section
    sctp_port: int | None = None
    sctp_max_message_size: int = 65536  # bytes


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Open one session on the node; the seat behind it is committed.

    Fences of one person grow over all their sessions. A higher one replaces the session, and a
    viewer's other sessions in the class; with the same or a lower fence it is refused as `stale`:
    the request was overtaken on its way.
    """

    session_id: str  # UUID
    fence: int
    class_id: str  # UUID
    user_id: str  # UUID
    name: str  # shown to others
    role: Role
    offer: Offer
    class_title: str = ""
    capacity: int = 0
    epoch: int = 0  # of the class at the admission; see `wire.beat.EndedClass`
    placement: int = 0  # placement_epoch under which the class is on this node; see `MoveClass`


@dataclass(frozen=True, slots=True)
class Candidate:
    """One host candidate of the node (RFC 8445)."""

    address: str
    port: int
    transport: Literal["udp", "tcp"] = "udp"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What the node will send in one section of a viewer."""

    ssrc: int
    cname: str
    stream_id: str  # msid: video and screen audio share one, the mic has its own
    track_id: str
    rtx_ssrc: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The meaning of the node's answer; the node is always ICE-lite."""

    ice_ufrag: str
    ice_pwd: str
    fingerprint: tuple[str, str]
    dtls_role: Literal["client", "server"]  # of the node
    candidates: tuple[Candidate, ...]
    outgoing: dict[str, Outgoing]  # by mid; empty for a publisher
    # Simulcast layers that the node takes, by mid; without an entry the publisher sends one stream.
    rids: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The session waits for the browser's first STUN check."""

    answer: Answer
    resume_secret: str


@dataclass(frozen=True, slots=True)
class PatchSession:
    """An ICE restart with the browser's new credentials (RFC 9725 section 4.3.2)."""

    fence: int
    ice_ufrag: str
    ice_pwd: str


@dataclass(frozen=True, slots=True)
class SessionPatched:
    """The node's new credentials; candidates stay."""

    ice_ufrag: str
    ice_pwd: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Close one session; only the incarnation with this fence."""

    fence: int
    reason: str  # a reason of `wire.beat.EndReason`


@dataclass(frozen=True, slots=True)
class CloseClass:
    """Close the sessions of a class that were opened under this epoch or a lower one."""

    epoch: int


@dataclass(frozen=True, slots=True)
class MoveClass:
    """Tell the class's sessions of earlier placements than this epoch to connect anew, elsewhere."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the node did not do it: a stable code and a sentence for the log."""

    # stale | no_capacity | wrong_node | draining | unknown_session | bad_message | loop | no_parent
    code: str
    detail: str


def resume_secret_of(node_secret: str, session_id: str) -> str:
    """Return what the holder of a session shows to continue it (`?resume=`): 32 hex digits.

    The node makes it and signaling checks it, both from what they know already.
    """
    text = f"resume:{session_id}".encode()
    return hmac.new(node_secret.encode(), text, hashlib.sha256).hexdigest()[:32]


def probe_credentials_of(node_secret: str) -> tuple[str, str]:
    """Return (ufrag, pwd) of the STUN checks by which a node's media is known to work (RFC 8445).

    The node answers them natively, on the port and the thread of its media; whoever knows its secret
    can ask.
    """
    made = hmac.new(node_secret.encode(), b"probe", hashlib.sha256).hexdigest()
    return f"probe{made[:16]}", made[16:48]
