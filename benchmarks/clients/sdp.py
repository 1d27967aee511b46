"""Offers of clients whose media is the native generator's, of one section of video, and their answers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from benchmarks.clients.handshake import PWD, UFRAG, Remote, certificate
from benchmarks.registry import BenchmarkError
from signaling.sdp import ICE_PWD, ICE_UFRAG, MID, TRANSPORT_CC

# As the generator sends and takes them.
MID_ID, TRANSPORT_CC_ID = 4, 3
OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=rtcp-mux
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=fingerprint:sha-256 {fingerprint}
a=setup:active
a=mid:0
a=extmap:{mid_id} {mid}
a=extmap:{transport_cc_id} {transport_cc}
a={direction}
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 transport-cc
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
"""
FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}")
CANDIDATE = re.compile(r"a=candidate:\S+ 1 (?i:udp) \d+ (\S+) (\d{1,5}) ")
CANDIDATES_MAX = 64


def viewer_offer() -> str:
    """Return the offer of every viewer of this process."""
    return _offer("recvonly")


def teacher_offer(ssrc: int) -> str:
    """Return the offer of a teacher who sends under this SSRC."""
    return _offer("sendonly") + f"a=ssrc:{ssrc} cname:load\r\n"


def _offer(direction: str) -> str:
    return OFFER.format(
        ufrag=UFRAG,
        pwd=PWD,
        fingerprint=certificate().fingerprint[1],
        direction=direction,
        mid_id=MID_ID,
        mid=MID,
        transport_cc_id=TRANSPORT_CC_ID,
        transport_cc=TRANSPORT_CC,
    ).replace("\n", "\r\n")


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer says. `places` are its candidates over UDP, whatever their family."""

    places: tuple[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int], ...]
    ice_ufrag: str
    ice_pwd: str
    fingerprint: str
    ssrc: int  # of the first stream that is sent to us, 0 where there is none

    def remote(self) -> Remote:
        """Return where a client goes that speaks IPv4; BenchmarkError."""
        for address, port in self.places:
            if address.version == 4:
                return Remote(str(address), port, self.ice_ufrag, self.ice_pwd, self.fingerprint)
        raise BenchmarkError("The server's answer names no media address of IPv4.")


def read_answer(text: str) -> Answered:
    """Return the meaning of an answer, each value of its own kind and no longer; BenchmarkError."""
    places = []
    for address, port in CANDIDATE.findall(text)[:CANDIDATES_MAX]:
        try:
            places.append((ipaddress.ip_address(address), int(port)))
        except ValueError:
            raise _malformed("media address") from None
        if not 0 < places[-1][1] < 65536:
            raise _malformed("media port")
    ssrc = re.search(r"a=ssrc:(\d{1,10}) ", text)
    return Answered(
        tuple(places),
        _value(text, "ice-ufrag:", ICE_UFRAG),
        _value(text, "ice-pwd:", ICE_PWD),
        _value(text, "fingerprint:sha-256 ", FINGERPRINT),
        int(ssrc[1]) & 0xFFFFFFFF if ssrc else 0,
    )


def _value(text: str, name: str, pattern: re.Pattern[str]) -> str:
    for line in text.splitlines():
        _, named, value = line.partition(f"a={name}")
        if named and pattern.fullmatch(value.strip()):
            return value.strip()
    raise _malformed(name.partition(":")[0])


def _malformed(what: str) -> BenchmarkError:
    return BenchmarkError(f"The server's answer has no {what} that can be used.")
