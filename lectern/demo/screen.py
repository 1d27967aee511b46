"""A synthetic screen: a slide that moves, a clock and a frame counter in big digits.

The strip at the bottom is the frame counter in binary, lowest bit right, white for one: a program that looks
at decoded frames can read it after any compression.
"""

from __future__ import annotations

import asyncio
import colorsys
import datetime
import fractions
import math
import time

import aiortc
import av
from aiortc.mediastreams import MediaStreamError
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1280, 720
FRAMES_PER_S = 15
CLOCK_HZ = 90_000  # of RTP video (RFC 7741 section 4.1)
COUNTER_BITS = 24
STRIP_HEIGHT = 40
# A frame that is later than this is not made up for: the picture skips instead of running fast.
LATE_MAX_S = 0.5

INK, PAPER, FAINT = (24, 28, 40), (246, 244, 238), (196, 192, 182)
SLIDE_EVERY_S = 8
SLIDES = (
    ("What is a live class?", "One screen, one voice,", "and everybody at the same moment."),
    ("Why is it quick?", "The last picture waits here", "for whoever comes next."),
    ("What is kept?", "Who was there, and when.", "Never a picture, never a word."),
)


class Screen(aiortc.VideoStreamTrack):
    """The track that sends it: 1280 x 720 at 15 frames a second."""

    def __init__(self) -> None:
        super().__init__()
        self._began: float | None = None
        self._number = -1
        self._slides = [_slide(*texts) for texts in SLIDES]
        self._big = ImageFont.load_default(88)

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._number += 1
        now = time.monotonic()
        if self._began is None:
            self._began = now
        due = self._began + self._number / FRAMES_PER_S
        if now - due > LATE_MAX_S:
            self._number = int((now - self._began) * FRAMES_PER_S)
        elif due > now:
            await asyncio.sleep(due - now)
        picture = self.draw(self._number, datetime.datetime.now().astimezone())
        frame: av.VideoFrame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
        frame.pts = self._number * CLOCK_HZ // FRAMES_PER_S
        frame.time_base = fractions.Fraction(1, CLOCK_HZ)
        return frame

    def draw(self, number: int, moment: datetime.datetime) -> Image.Image:
        """Return frame `number` as it looks at `moment`."""
        seconds = number / FRAMES_PER_S
        image = self._slides[int(seconds / SLIDE_EVERY_S) % len(self._slides)].copy()
        pen = ImageDraw.Draw(image)
        clock = moment.strftime("%H:%M:%S") + f".{moment.microsecond // 100_000}"
        pen.text((70, 430), clock, font=self._big, fill=INK)
        pen.text((74, 530), f"frame {number}", font=self._big, fill=INK)
        self._ball(pen, seconds)
        progress = seconds % SLIDE_EVERY_S / SLIDE_EVERY_S
        pen.rectangle((0, 0, WIDTH * progress, 10), fill=_colour(seconds))
        _strip(pen, number)
        return image

    def _ball(self, pen: ImageDraw.ImageDraw, seconds: float) -> None:
        # Once round in 4 s: a stall of a tenth of a second shows.
        angle = seconds * math.tau / 4
        x, y, radius = 1010 + 150 * math.cos(angle), 460 + 150 * math.sin(angle), 36
        pen.ellipse((824, 274, 1196, 646), outline=FAINT, width=3)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(seconds))


def read_counter(image: Image.Image) -> int:
    """Return the frame number that the strip of a decoded frame tells (the inverse of `draw`)."""
    width, height = image.size
    row = height - height * STRIP_HEIGHT // HEIGHT // 2
    grey = image.convert("L")
    number = 0
    for bit in range(COUNTER_BITS):
        column = int((bit + 0.5) * width / COUNTER_BITS)
        value = grey.getpixel((column, row))
        assert isinstance(value, int | float)
        number = number << 1 | (value > 127)
    return number


def _strip(pen: ImageDraw.ImageDraw, number: int) -> None:
    for bit in range(COUNTER_BITS):
        one = number >> (COUNTER_BITS - 1 - bit) & 1
        left, right = bit * WIDTH / COUNTER_BITS, (bit + 1) * WIDTH / COUNTER_BITS
        fill = (255, 255, 255) if one else (0, 0, 0)
        pen.rectangle((left, HEIGHT - STRIP_HEIGHT, right, HEIGHT), fill=fill)


def _slide(title: str, *lines: str) -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((70, 60), title, font=ImageFont.load_default(64), fill=INK)
    pen.line((72, 148, 760, 148), fill=FAINT, width=3)
    for number, line in enumerate(lines):
        pen.text((72, 180 + number * 56), line, font=ImageFont.load_default(40), fill=INK)
    pen.text((72, 330), "Lectern demo", font=ImageFont.load_default(28), fill=FAINT)
    return image


def _colour(seconds: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(seconds / 30 % 1, 0.75, 0.8)
    return int(red * 255), int(green * 255), int(blue * 255)
