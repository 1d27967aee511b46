"""Janus (Meetecho) as Debian packages it: its streaming plugin fed with plain RTP, and its videoroom plugin.

It runs as ICE-lite with one event loop for each core, as its own configuration advises where there are many
handles. The HTTP API listens on loopback alone.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from benchmarks.clients.handshake import PWD, UFRAG, certificate
from benchmarks.clients.sdp import read_answer
from benchmarks.node.offers import MID_ID, TRANSPORT_CC_ID, new_ssrc
from benchmarks.peers import PlainSource, Seat
from benchmarks.registry import BenchmarkError

INSTALL = "Janus is not installed: apt-get install janus, and run this again."
PLUGINS = Path("/usr/lib/x86_64-linux-gnu/janus")
START_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 15.0
END_TIMEOUT_S = 10.0
VP8_PAYLOAD_TYPE = 96
MOUNTPOINT = ROOM = 1
VIDEO_MID = "0"  # the first section of every publisher here
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"

MAIN = """general: {{
    configs_folder = "{configs}"
    plugins_folder = "{plugins}/plugins"
    transports_folder = "{plugins}/transports"
    events_folder = "{plugins}/events"
    loggers_folder = "{plugins}/loggers"
    debug_level = 2
    session_timeout = 0
    event_loops = {loops}
}}
media: {{ ipv6 = false }}
nat: {{
    ice_lite = true
    ice_enforce_list = "{address}"
}}
transports: {{ disable = "{others}" }}
"""
OTHER_TRANSPORTS = ",".join(
    f"libjanus_{name}.so" for name in ("pfunix", "websockets", "mqtt", "nanomsg", "rabbitmq")
)
HTTP = """general: {{
    json = "plain"
    base_path = "/janus"
    http = true
    port = {port}
    ip = "127.0.0.1"
    https = false
}}
admin: {{ admin_http = false, admin_https = false }}
"""
STREAMING = """general: {{}}
bench: {{
    type = "rtp"
    id = {mountpoint}
    audio = false
    video = true
    videoport = {port}
    videopt = {payload_type}
    videocodec = "vp8"
}}
"""
VIDEOROOM = """general: {{}}
room-{room}: {{
    publishers = 1
    bitrate = 0
    videocodec = "vp8"
    audiocodec = "opus"
    opus_fec = true
    notify_joining = false
}}
"""


class Janus:
    """What both plugins share: the process, its API, and the sessions' SDP."""

    name = "janus"
    plugin = ""

    def __init__(self, address: str) -> None:
        self._address = address
        self.version = ""
        self.pids: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        binary = shutil.which("janus")
        if binary is None or not PLUGINS.is_dir():
            raise BenchmarkError(INSTALL)
        self._directory = tempfile.TemporaryDirectory(prefix="lectern-bench-janus-")
        self._port, self._media_port = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
        configs = Path(self._directory.name)
        self._write_configs(configs)
        self._process = subprocess.Popen(
            [binary, "-F", str(configs), "-C", str(configs / "janus.jcfg")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self.pids = [self._process.pid]
        try:
            self._api = _Api(self._port, self._process)
            self.version = self._api.version
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._directory.cleanup()

    def _write_configs(self, directory: Path) -> None:
        values = {
            "configs": directory,
            "plugins": PLUGINS,
            "loops": len(os.sched_getaffinity(0)),
            "address": self._address,
            "mountpoint": MOUNTPOINT,
            "room": ROOM,
            "payload_type": VP8_PAYLOAD_TYPE,
            "others": OTHER_TRANSPORTS,
        }
        for name, text, port in (
            ("janus.jcfg", MAIN, 0),
            ("janus.transport.http.jcfg", HTTP, self._port),
            ("janus.plugin.streaming.jcfg", STREAMING, self._media_port),
            ("janus.plugin.videoroom.jcfg", VIDEOROOM, 0),
        ):
            (directory / name).write_text(text.format(port=port, **values))


class JanusStreaming(Janus):
    """The plugin that fans one plain RTP stream out."""

    name = "janus-streaming"
    plugin = "janus.plugin.streaming"

    def open_source(self, port: int) -> PlainSource:
        return PlainSource(new_ssrc(), "127.0.0.1", self._media_port)

    def open_viewer(self, port: int) -> Seat:
        handle = self._api.attach(self.plugin)
        offer = self._api.message(handle, {"request": "watch", "id": MOUNTPOINT})
        answer = _answer(offer, self._address, port)
        self._api.message(handle, {"request": "start"}, answer, awaits_offer=False)
        return _seat(offer)


class JanusVideoRoom(Janus):
    """The plugin that fans a WebRTC publisher out."""

    name = "janus-videoroom"
    plugin = "janus.plugin.videoroom"
    _feed = 0
    # A browser publishes (`publish`): the generator's teacher has to teach somebody else.
    is_fed_elsewhere = False

    def open_source(self, port: int) -> Seat | PlainSource:
        ssrc = new_ssrc()
        if self.is_fed_elsewhere:
            return PlainSource(ssrc, "127.0.0.1", self._media_port)
        answer = self.publish(_offer(ssrc, self._address, port))
        return Seat(ssrc, read_answer(answer).remote(), TRANSPORT_CC_ID)

    def publish(self, offer: str) -> str:
        """Feed the room from whoever offers this; return the answer."""
        handle = self._api.attach(self.plugin)
        joined = self._api.event(handle, {"request": "join", "ptype": "publisher", "room": ROOM})
        self._feed = joined["plugindata"]["data"]["id"]
        return self._api.message(handle, {"request": "publish"}, offer, kind="offer")

    def watch(self, *, mid: str | None = None) -> tuple[int, str]:
        """Subscribe to all of the feed, or to a section of the publisher's; return handle and offer."""
        handle = self._api.attach(self.plugin)
        stream = {"feed": self._feed} | ({} if mid is None else {"mid": mid})
        body = {"request": "join", "ptype": "subscriber", "room": ROOM, "streams": [stream]}
        return handle, self._api.message(handle, body)

    def start(self, handle: int, answer: str) -> None:
        """Begin to send to a subscriber who has answered."""
        self._api.message(handle, {"request": "start"}, answer, awaits_offer=False)

    def open_viewer(self, port: int) -> Seat:
        handle, offer = self.watch(mid=VIDEO_MID)
        self.start(handle, _answer(offer, self._address, port))
        return _seat(offer)


class _Api:
    """Janus' HTTP API: one session, its events fetched when one is awaited."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self._port = port
        self._await(process)
        self.version = self._call("GET", "/janus/info", None)["version_string"]
        self._base = f"/janus/{self._post('/janus', {'janus': 'create'})['data']['id']}"

    def attach(self, plugin: str) -> int:
        answer = self._post(self._base, {"janus": "attach", "plugin": plugin})
        handle: int = answer["data"]["id"]
        return handle

    def message(
        self,
        handle: int,
        body: dict[str, Any],
        sdp: str | None = None,
        *,
        kind: str = "answer",
        awaits_offer: bool = True,
    ) -> str:
        """Send a request with an SDP or without; return the SDP of its event."""
        event = self.event(handle, body, sdp, kind)
        if not awaits_offer:
            return ""
        if "jsep" not in event:
            raise BenchmarkError(f"Janus refused: {event['plugindata']['data']}")
        text: str = event["jsep"]["sdp"]
        return text

    def event(
        self, handle: int, body: dict[str, Any], sdp: str | None = None, kind: str = "answer"
    ) -> dict[str, Any]:
        """Send a request and return the event that answers it."""
        order: dict[str, Any] = {"janus": "message", "body": body}
        if sdp is not None:
            order["jsep"] = {"type": kind, "sdp": sdp}
        transaction = secrets.token_hex(8)
        answered = self._post(f"{self._base}/{handle}", order, transaction)
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        if answered["janus"] == "success":
            return answered
        while time.monotonic() < deadline_s:
            # Events of other handles (their media is up, say) are of no interest.
            for event in self._call("GET", f"{self._base}?maxev=50", None):
                if event.get("transaction") == transaction and event["janus"] == "event":
                    found: dict[str, Any] = event
                    return found
        raise BenchmarkError("Janus has not answered in time.")

    def _post(self, path: str, body: dict[str, Any], transaction: str = "t") -> dict[str, Any]:
        answer: dict[str, Any] = self._call("POST", path, body | {"transaction": transaction})
        if answer["janus"] == "error":
            raise BenchmarkError(f"Janus refused: {answer['error']}")
        return answer

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        # A connection for each call: Janus answers on one of its threads for as long as it is kept.
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise BenchmarkError("Janus does not come up.")


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise BenchmarkError(f"Janus' SDP has no {pattern}:\n{text}")
    return match[1]


def _seat(offer: str) -> Seat:
    transport_cc = re.search(r"a=extmap:(\d+)\S* " + re.escape(TRANSPORT_CC), offer)
    answered = read_answer(offer)
    return Seat(answered.ssrc, answered.remote(), int(transport_cc[1]) if transport_cc else 0)


def _lines(address: str, port: int, *, setup: str, direction: str) -> list[str]:
    return [
        "c=IN IP4 0.0.0.0",
        f"a={direction}",
        "a=rtcp-mux",
        f"a=ice-ufrag:{UFRAG}",
        f"a=ice-pwd:{PWD}",
        f"a=fingerprint:sha-256 {certificate().fingerprint[1]}",
        f"a=setup:{setup}",
        f"a=candidate:1 1 udp 2122260223 {address} {port} typ host",
        "a=end-of-candidates",
    ]


def _answer(offer: str, address: str, port: int) -> str:
    """Return an answer that takes what is offered, extensions and feedback as well."""
    kept = [
        line
        for line in offer.splitlines()
        if line.startswith(("a=mid:", "a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=extmap:", "m="))
    ]
    media = next(line for line in kept if line.startswith("m="))
    mid = next(line for line in kept if line.startswith("a=mid:"))
    kept.remove(media)
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    head.append("a=group:BUNDLE " + mid.removeprefix("a=mid:"))
    lines = _lines(address, port, setup="active", direction="recvonly")
    return "\r\n".join([*head, media, *lines, *kept, ""])


def _offer(ssrc: int, address: str, port: int) -> str:
    """Return a publisher's offer: one VP8 stream, with what browsers ask for."""
    lines = _lines(address, port, setup="active", direction="sendonly")
    return "\r\n".join(
        [
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE 0",
            f"m=video 9 UDP/TLS/RTP/SAVPF {VP8_PAYLOAD_TYPE}",
            *lines,
            "a=mid:0",
            f"a=extmap:{TRANSPORT_CC_ID} {TRANSPORT_CC}",
            f"a=extmap:{MID_ID} {MID}",
            f"a=rtpmap:{VP8_PAYLOAD_TYPE} VP8/90000",
            *(
                f"a=rtcp-fb:{VP8_PAYLOAD_TYPE} {what}"
                for what in ("nack", "nack pli", "transport-cc")
            ),
            f"a=ssrc:{ssrc} cname:load",
            "",
        ]
    )
