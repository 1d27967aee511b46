"""The process under test: a media thread as every node has it, and just enough Python to seat a class.

It is told by lines of JSON on standard input, answers on standard output, and ends when its input does.
Keys come by the pipe, because a command line is public.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from sfu._core import BUILD_PROFILE, Media, Sink, Track

if TYPE_CHECKING:
    from sfu._core import Slot, Stream

MID = "0"
# Numbers of the generator: payload types and extension ids.
CodecNumbers = tuple[int, str, int, int | None, str]
VP8: CodecNumbers = (96, "VP8", 90000, 97, "")
OPUS: CodecNumbers = (111, "OPUS", 48000, None, "minptime=10;useinbandfec=1")
MID_EXTENSION = 4
TRANSPORT_CC_EXTENSION = 3
FIRST_SEQUENCE = 100
# The counters are published once a second while something happens.
SNAPSHOT_WAIT_S = 3.0
# Seldom enough to cost nothing beside what is measured.
SNAPSHOT_POLL_S = 0.02
fed_links: list[int] = []  # sessions of this process


def main() -> None:
    """Serve one parent."""
    media = Media(host="127.0.0.1", port=0, gso=os.environ.get("LECTERN_BENCH_GSO") != "0")
    events: Counter[str] = Counter()
    try:
        _say({"event": "listening", "port": media.port, "build": BUILD_PROFILE})
        while True:
            readable, _, _ = select.select([sys.stdin, media.fileno()], [], [])
            if media.fileno() in readable:
                events.update(event[0] for event in media.events())
            if sys.stdin not in readable:
                continue
            line = sys.stdin.readline()
            if not line:
                return
            _obey(media, json.loads(line), events)
    finally:
        media.close()


def _obey(media: Media, order: dict[str, Any], events: Counter[str]) -> None:
    match order["do"]:
        case "seat":
            for session in order["sessions"]:
                _seat(media, **session)
            _say({"event": "seated"})
        case "link":
            for link in order["links"]:
                _link(media, **link)
            _say({"event": "linked"})
        case "sample":
            _say(
                {"event": "sample", "events": dict(events), **_sample(media, fresh=order["fresh"])}
            )
        case unknown:
            raise ValueError(f"unknown order {unknown!r}")


def _seat(
    media: Media,
    *,
    session: int,
    ssrc: int,
    ice_ufrag: str,
    ice_pwd: str,
    local: str,
    remote: str,
    room: int,
    publishes: bool,
    audio: bool,
) -> None:
    media.add_session(session, ice_ufrag=ice_ufrag, ice_pwd=ice_pwd)
    keys = {"local": bytes.fromhex(local), "remote": bytes.fromhex(remote)}
    media.set_keys(session, "AEAD_AES_128_GCM", **keys)
    slot: Slot = "mic" if audio else "video"
    codecs = [OPUS if audio else VP8]
    if publishes:
        track = Track(
            slot=slot,
            mid=MID,
            codecs=codecs,
            ssrc=ssrc,
            rtx_ssrc=None,
            mid_extension=MID_EXTENSION,
            transport_cc_extension=TRANSPORT_CC_EXTENSION,
        )
        media.publish(session, room=room, tracks=[track])
        return
    sink = Sink(
        slot=slot,
        mid=MID,
        codecs=codecs,
        ssrc=ssrc,
        rtx_ssrc=None if audio else ssrc | 1 << 31,
        cname="bench",
        first_sequence=FIRST_SEQUENCE,
        mid_extension=MID_EXTENSION,
        transport_cc_extension=TRANSPORT_CC_EXTENSION,
    )
    media.subscribe(session, room=room, sinks=[sink])


def _link(
    media: Media,
    *,
    session: int,
    ssrc: int,
    ice_ufrag: str,
    ice_pwd: str,
    local: str,
    remote: str,
    room: int,
    audio: bool,
    parent: int | None,
) -> None:
    """Make one end of a link: a child's where `parent` is the port of the other node's media."""
    slot: Slot = "mic" if audio else "video"
    streams: list[Stream] = [(slot, ssrc, ssrc + 1)]
    payload_type, name, clock_rate, _, fmtp = OPUS if audio else VP8
    call = [] if parent is None else [("127.0.0.1", parent)]
    hears = [ssrc + 2] if parent is None else [ssrc, ssrc + 1]
    media.add_link(session, ice_ufrag=ice_ufrag, ice_pwd=ice_pwd, call=call, hears=hears)
    keys = {"local": bytes.fromhex(local), "remote": bytes.fromhex(remote)}
    media.set_keys(session, "AEAD_AES_128_GCM", **keys)
    if parent is None:
        media.feed_link(
            session,
            room=room,
            streams=streams,
            cname="bench",
            first_sequence=FIRST_SEQUENCE,
            stand=(None, None, None),
        )
        fed_links.append(session)
    else:
        media.follow_link(
            session, room=room, streams=streams, report_ssrc=ssrc + 2, continues=False
        )
    codec = (payload_type, name, clock_rate, payload_type + 1, fmtp)
    media.add_codec(session, slot=slot, codec=codec)


def _sample(media: Media, *, fresh: bool) -> dict[str, Any]:
    """Return the counters, and the processor time of the whole process at the same moment.

    `fresh`: wait until the thread publishes its counters; without it they may be a second old.
    """
    stats = media.stats()
    before, deadline = stats["cpu_us"], time.monotonic() + SNAPSHOT_WAIT_S
    while fresh and stats["cpu_us"] == before and time.monotonic() < deadline:
        time.sleep(SNAPSHOT_POLL_S)
        stats = media.stats()
    stats["link_packets_out"] = sum(
        (media.session_stats(link) or {}).get("packets_out", 0) for link in fed_links
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    process_us = round((used.ru_utime + used.ru_stime) * 1e6)
    return {
        "at_s": time.monotonic(),
        "process_us": process_us,
        "rss_kb": used.ru_maxrss,
        "stats": stats,
    }


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
