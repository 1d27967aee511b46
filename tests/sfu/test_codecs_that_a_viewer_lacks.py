"""A viewer that cannot decode what the teacher sends is told so, and told when it can again."""

from __future__ import annotations

from aiortc.mediastreams import VideoStreamTrack

from tests.sfu.clients import Client
from tests.sfu.conftest import Site
from tests.signaling.fake_control import CLASS_ID, LINK


def a_teacher(site: Site, codec: str) -> Client:
    client = Client(site.http, f"/live/classes/{CLASS_ID}/whip", "teacher")
    site.clients.append(client)
    client.pc.addTransceiver(VideoStreamTrack(), direction="sendonly")
    client.offer_only(codec)
    return client


async def a_student(site: Site, codec: str, account: str = "student") -> Client:
    client = Client.student(site.http, f"/live/links/{LINK}/whep", account)
    site.clients.append(client)
    client.offer_only(codec)
    return await client.connect()


async def test_a_student_with_vp8_alone_is_told_of_h264_and_of_its_end(site: Site) -> None:
    student = await a_student(site, "VP8")
    hello = await student.message("hello")
    assert hello["playback"] == {"video": "ok", "mic": "ok", "screen_audio": "ok"}
    able = await a_student(site, "H264", "other")
    await a_teacher(site, "H264").connect()
    told = await student.message("playback", limit_s=10)
    assert told["video"] == "codec_unsupported"
    assert told["mic"] == "ok"
    await able.media("video", 10)
    assert student.packets["video"] == 0

    # One who comes now is greeted with it, or hears it right after.
    late = await a_student(site, "VP8", "third")
    playback = (await late.message("hello"))["playback"]
    if playback["video"] == "ok":
        playback = await late.message("playback")
    assert playback["video"] == "codec_unsupported"

    # A new tab of the teacher's sends VP8: it is the other one's turn to be told.
    await a_teacher(site, "VP8").connect()
    for client in (student, late):
        assert (await client.message("playback", limit_s=10))["video"] == "ok"
        await client.media("video", 10)
    assert (await able.message("playback", limit_s=10))["video"] == "codec_unsupported"
    for client in (student, late, able):
        assert not [m for m in client.messages if m["type"] == "playback"], "each change once"
