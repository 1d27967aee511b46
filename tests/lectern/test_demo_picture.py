"""The demo's screen can be read by people and programs, its sound is heard."""

from __future__ import annotations

import datetime

import av
import pytest

from lectern.demo.melody import FRAME_SAMPLES, Melody
from lectern.demo.screen import COUNTER_BITS, Screen, read_counter


@pytest.mark.parametrize("number", [0, 1, 12_345, 2**COUNTER_BITS - 1])
def test_the_frame_counter_is_read_back_after_compression(number: int) -> None:
    picture = Screen().draw(number, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    frame = av.VideoFrame.from_image(picture).reformat(format="yuv420p")  # type: ignore[no-untyped-call]
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuv420p"
    encoder.framerate, encoder.bit_rate = 15, 500_000  # type: ignore[assignment]
    decoder = av.CodecContext.create("vp8", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoded = [
        picture_
        for packet in (*encoder.encode(frame), *encoder.encode(None))
        for picture_ in decoder.decode(packet)
    ]
    image = decoded[0].to_image()  # type: ignore[no-untyped-call]
    assert read_counter(image) == number


async def test_frames_come_at_their_pace() -> None:
    screen = Screen()
    stamps = [(await screen.recv()).pts for _ in range(4)]
    assert stamps == [0, 6000, 12000, 18000]


async def test_the_melody_sounds_and_does_not_clip() -> None:
    melody = Melody()
    frames = [await melody.recv() for _ in range(5)]
    assert [frame.pts for frame in frames] == [n * FRAME_SAMPLES for n in range(5)]
    loudest = max(abs(int(sample)) for frame in frames for sample in frame.to_ndarray()[0])
    assert 1000 < loudest < 12000
