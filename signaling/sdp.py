"""What reading and writing SDP share: bounds, names and the one error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from wire.session import Codec, Offer, Section

# Chromium's longest offer here is 7.3 kB in 239 lines; a page with every codec of tomorrow and
# candidates of ten interfaces stays below a tenth of these.
OFFER_BYTES_MAX = 64 * 1024
LINES_MAX = 1000
LINE_BYTES_MAX = 2048
SECTIONS_MAX = 16
FORMATS_MAX = 64  # payload types of one section
SSRC_LINES_MAX = 64  # of one section; the parser is quadratic in them

# What we can receive on our data channel; browsers refuse to send more.
DATA_MESSAGE_BYTES_MAX = 16 * 1024
SCTP_PORT = 5000

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
STREAM_ID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_STREAM_ID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
DEPENDENCY_DESCRIPTOR = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

ICE_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")  # RFC 8839 section 5.4
ICE_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}")
# Tabs apart, nothing below a space has a place inside a line; NUL would travel on into answers.
CONTROL_CHARACTER = re.compile(r"[^\t\r\n\x20-\x7e\x80-\U0010ffff]|\x7f")


class BadOffer(ValueError):
    """The SDP cannot be answered; the text is a sentence for its sender."""


@dataclass(frozen=True, slots=True)
class OfferedSection:
    """One m= section as offered: what the answer must repeat, accepted or not.

    `media` is the meaning of an accepted audio or video section, `data` marks an accepted data
    channel; with neither the section is rejected (RFC 3264 section 6).
    """

    kind: str
    protocol: str
    formats: str  # the end of the m= line
    mid: str | None
    media: Section | None = None
    data: bool = False
    extension_directions: dict[int, str] | None = None  # as offered, by id
    feedback: dict[int, tuple[str, ...]] | None = None  # kept rtcp-fb texts, by payload type
    rtcp_rsize: bool = False
    allow_mixed: bool = False

    @property
    def accepted(self) -> bool:
        return self.media is not None or self.data

    @property
    def codecs(self) -> tuple[Codec, ...]:
        return self.media.codecs if self.media else ()


@dataclass(frozen=True, slots=True)
class ReadOffer:
    """An offer that can be answered: its meaning for the node, and its form for the answer."""

    offer: Offer
    role: Literal["publisher", "viewer"]
    sections: tuple[OfferedSection, ...]  # all of them, in the order of the offer
    bundle: tuple[str, ...]  # mids of the accepted sections, the tagged one first (RFC 9143)
    allow_mixed: bool  # extmap-allow-mixed at session level (RFC 8285 section 6)
    trickle: bool


def check_text(text: str, what: str) -> list[str]:
    """Return the lines of an SDP text that is within bounds; BadOffer for one that is not."""
    if CONTROL_CHARACTER.search(text):
        raise BadOffer(f"The {what} holds control characters.")
    lines = text.splitlines()
    if len(lines) > LINES_MAX:
        raise BadOffer(f"The {what} has {len(lines)} lines; {LINES_MAX} are allowed.")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_BYTES_MAX:
            raise BadOffer(f"Line {number} of the {what} is longer than {LINE_BYTES_MAX} bytes.")
    return lines


def decode(body: bytes, what: str) -> str:
    """Return SDP bytes as text; RFC 8866 section 4 makes it UTF-8."""
    if len(body) > OFFER_BYTES_MAX:
        raise BadOffer(f"The {what} is longer than {OFFER_BYTES_MAX} bytes.")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadOffer(f"The {what} is not UTF-8 text.") from error
