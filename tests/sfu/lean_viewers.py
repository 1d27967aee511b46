"""Many WHEP viewers in one process: real ICE checks, DTLS and SRTP, and nothing that decodes.

`python lean_viewers.py URL LINK COUNT SPREAD_S` signs COUNT students up, lets them join within SPREAD_S
seconds, and prints one line of JSON: of each, in ms after its own POST began, when it had the answer,
the keys and a complete keyframe, and how many of the keyframe's packets there were.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final, cast

import aiohttp
import pylibsrtp
import uvloop
from aioice import stun
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters

from sfu.certificate import NodeCertificate
from sfu.dtls import DatagramPipe, DtlsTransport

KEYFRAME_S_MAX: Final = 10.0
CHECK_INTERVAL_S: Final = 0.05  # RFC 8445: Ta
VP8_PAYLOAD_TYPE: Final = 96
PROFILES: Final = {
    "AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "AES128_CM_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
OFFER: Final = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=rtcp-mux
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=fingerprint:sha-256 {fingerprint}
a=setup:active
a=mid:0
a=recvonly
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=rtcp-mux
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=fingerprint:sha-256 {fingerprint}
a=setup:active
a=mid:1
a=recvonly
a=rtpmap:111 opus/48000/2
"""


@dataclass
class Keyframe:
    """The packets of one VP8 frame (RFC 7741) until it is whole."""

    timestamp: int = -1
    first: int = -1
    last: int = -1
    numbers: set[int] = field(default_factory=set)

    def take(self, packet: bytes) -> bool:
        """Take an opened RTP packet; True: the newest keyframe is complete."""
        marker, sequence = packet[1] >> 7, int.from_bytes(packet[2:4], "big")
        timestamp = int.from_bytes(packet[4:8], "big")
        payload = 12 + 4 * (packet[0] & 15)
        if packet[0] & 0x10:
            payload += 4 + 4 * int.from_bytes(packet[payload + 2 : payload + 4], "big")
        begins, extended = packet[payload] & 0x17 == 0x10, packet[payload] & 0x80
        payload += 1
        if extended:
            bits = packet[payload]
            payload += 1
            if bits & 0x80:
                payload += 2 if packet[payload] & 0x80 else 1
            payload += bool(bits & 0x40) + bool(bits & 0x30)
        if begins and not packet[payload] & 1:
            self.timestamp, self.first, self.last, self.numbers = timestamp, sequence, -1, set()
        if timestamp == self.timestamp:
            self.numbers.add(sequence)
            if marker:
                self.last = sequence
        if self.last < 0:
            return False
        wanted = (self.last - self.first & 0xFFFF) + 1
        return len(self.numbers) == wanted


class Viewer(asyncio.DatagramProtocol):
    """One student: signed up, then joined, until a keyframe is whole."""

    def __init__(self, url: str, token: str, number: int, certificate: NodeCertificate) -> None:
        self.url = url
        self.whep = f"{url}/live/links/{token}/whep"
        self.number = number
        self.certificate = certificate
        self.cookie = ""
        self.result: dict[str, Any] = {}
        self._keyframe = Keyframe()
        self._checked = asyncio.Event()
        self._complete = asyncio.Event()
        self._early: list[bytes] = []
        self._opener: pylibsrtp.Session | None = None
        self._ssrc = -1
        self._begun_s = 0.0
        self._udp = cast("asyncio.DatagramTransport", None)
        self._pipe = DatagramPipe(lambda datagram: self._udp.sendto(datagram))
        self._dtls = DtlsTransport(
            self._pipe, certificate, role="client", on_application_data=lambda: None
        )

    async def sign_up(self, http: aiohttp.ClientSession) -> None:
        account = {
            "email": f"lean{self.number}@example.org",
            "name": f"Lean {self.number}",
            "password": "correct horse battery",
            "role": "student",
        }
        async with http.post(self.url + "/api/accounts", json=account) as made:
            assert made.status == 201, await made.text()
            self.cookie = made.headers["Set-Cookie"].partition(";")[0]

    async def join(self, http: aiohttp.ClientSession) -> None:
        self._begun_s = time.monotonic()
        offer = OFFER.format(
            ufrag=f"lean{self.number}",
            pwd=f"passwordOfTheLeanViewer{self.number}",
            fingerprint=self.certificate.fingerprint[1],
        ).replace("\n", "\r\n")
        headers = {"Content-Type": "application/sdp", "Cookie": self.cookie}
        async with http.post(self.whep, data=offer, headers=headers) as answered:
            answer = await answered.text()
            assert answered.status == 201, answer
        self._note("answer_ms")
        self._ssrc = int(_found(r"a=ssrc:(\d+) ", answer.partition("m=audio")[0]))
        ufrag, pwd = _found(r"a=ice-ufrag:(\S+)", answer), _found(r"a=ice-pwd:(\S+)", answer)
        port = int(_found(r"a=candidate:\S+ 1 [Uu][Dd][Pp] \d+ \S+ (\d+)", answer))
        fingerprint = _found(r"a=fingerprint:sha-256 (\S+)", answer)
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: self, remote_addr=("127.0.0.1", port), family=socket.AF_INET
        )
        while not self._checked.is_set():
            self._udp.sendto(self._check(ufrag, pwd))
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._checked.wait()
            except TimeoutError:
                continue
        await self._dtls.start(
            RTCDtlsParameters(fingerprints=[RTCDtlsFingerprint("sha-256", fingerprint)])
        )
        keys = self._dtls.keys
        assert keys is not None, "no keys came out of the handshake"
        self._note("keys_ms")
        policy = pylibsrtp.Policy(
            key=keys.remote,
            ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
            srtp_profile=PROFILES[keys.profile],
        )
        self._opener = pylibsrtp.Session(policy)
        for datagram in self._early:
            self._open(datagram)
        async with asyncio.timeout(KEYFRAME_S_MAX):
            await self._complete.wait()

    async def close(self) -> None:
        await self._dtls.stop()
        self._udp.close()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[0] < 4:
            self._checked.set()
        elif data[0] < 64:
            self._pipe.feed(data)
        elif self._opener is None:
            self._early.append(data)
        else:
            self._open(data)

    def _open(self, datagram: bytes) -> None:
        if self._complete.is_set() or datagram[1] & 0x7F != VP8_PAYLOAD_TYPE:
            return
        assert self._opener is not None
        if self._keyframe.take(self._opener.unprotect(datagram)):
            self._note("keyframe_ms")
            self.result["packets"] = len(self._keyframe.numbers)
            self._complete.set()

    def _note(self, name: str) -> None:
        self.result[name] = round((time.monotonic() - self._begun_s) * 1000, 1)

    def _check(self, ufrag: str, pwd: str) -> bytes:
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{ufrag}:lean{self.number}"
        message.attributes["PRIORITY"] = 1
        message.attributes["ICE-CONTROLLING"] = self.number
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(pwd.encode())
        message.add_fingerprint()
        return bytes(message)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, f"no {pattern} in:\n{text}"
    return match[1]


async def main(url: str, link: str, count: int, spread_s: float) -> None:
    certificate = NodeCertificate.generateCertificate()
    token = link.rpartition("/")[2]
    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=jar, headers={"Origin": url}
    ) as http:
        viewers = [Viewer(url, token, number, certificate) for number in range(count)]
        for some in range(0, count, 8):
            await asyncio.gather(*(viewer.sign_up(http) for viewer in viewers[some : some + 8]))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        cpu_s = time.process_time()

        async def one(viewer: Viewer) -> None:
            await asyncio.sleep(spread_s * viewer.number / count)
            await viewer.join(http)

        await asyncio.gather(*(one(viewer) for viewer in viewers))
        cpu_s = time.process_time() - cpu_s
        results = [viewer.result for viewer in viewers]
        print(json.dumps({"cpu_s": round(cpu_s, 2), "viewers": results}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        await asyncio.gather(*(viewer.close() for viewer in viewers))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
