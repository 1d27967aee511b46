"""A small melody, played over and over: the sound of the demo."""

from __future__ import annotations

import array
import asyncio
import fractions
import math
import time

import aiortc
import av
from aiortc.mediastreams import MediaStreamError

RATE_HZ = 48_000  # Opus knows no other clock (RFC 7587 section 4.1)
FRAME_SAMPLES = RATE_HZ // 50
NOTE_S = 0.4
LOUDNESS = 0.12  # of full scale: it is heard, and talked over
LATE_MAX_S = 0.5

# A pentatonic row, in half tones from A4; None is a rest. Sixteen notes make 6.4 s.
NOTES = (-9, -5, -2, 3, 0, -2, -5, None, -7, -2, 0, 5, 3, 0, -2, None)
A4_HZ = 440.0


class Melody(aiortc.AudioStreamTrack):
    """The track that plays it: mono, 20 ms a frame."""

    def __init__(self) -> None:
        super().__init__()
        self._samples = _render()
        self._began: float | None = None
        self._number = -1

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._number += 1
        now = time.monotonic()
        if self._began is None:
            self._began = now
        due = self._began + self._number * FRAME_SAMPLES / RATE_HZ
        if now - due > LATE_MAX_S:
            self._number = int((now - self._began) * RATE_HZ / FRAME_SAMPLES)
        elif due > now:
            await asyncio.sleep(due - now)
        first = self._number * FRAME_SAMPLES % len(self._samples)
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(self._samples[first : first + FRAME_SAMPLES].tobytes())
        frame.sample_rate = RATE_HZ
        frame.pts = self._number * FRAME_SAMPLES
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        return frame


def _render() -> array.array[int]:
    """Return the whole melody as 16-bit samples; a note's length is a whole number of frames."""
    samples = array.array("h")
    for note in NOTES:
        samples.extend(_note(note, int(NOTE_S * RATE_HZ)))
    return samples


def _note(half_tones: int | None, length: int) -> list[int]:
    if half_tones is None:
        return [0] * length
    step = math.tau * A4_HZ * 2 ** (half_tones / 12) / RATE_HZ
    attack = RATE_HZ // 100
    loud = LOUDNESS * 32767
    return [
        int(
            loud
            * min(1.0, i / attack, (length - i) / attack)  # no click at either end
            * math.exp(-3 * i / length)
            * (math.sin(step * i) + 0.3 * math.sin(2 * step * i))
        )
        for i in range(length)
    ]
