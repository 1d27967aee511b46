"""What a shared screen costs a real Chromium by codec, layers and content, and how sharp it is."""

from __future__ import annotations

import argparse

from benchmarks.limits import need_browsers, require
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Report

CODECS = ("VP8", "VP9", "AV1", "H264")
MODES = ("none", "L1T2", "L1T3")
HINTS = ("detail", "text", "motion")
SECONDS_MAX = 60
DESCRIPTION = """\
Measure in a real Chromium what temporal layers do to a shared screen, for each codec and `contentHint`.

A page captures a tab of 1280 x 720 that moves at --fps (large areas that flip, two lines of scrolling code,
one line of text that is another in each picture) and sends it to itself over loopback: no server. Each
combination has a connection of its own, 4 Mbit/s at most, `maintain-resolution`.

  fps                   decoded at the receiving end
  kbit_s, quantiser     of what is sent (the scales of the codecs' quantisers differ: compare within one)
  encode_ms             for each frame, by the browser's own count: wall time of the encoder, one at a time
  text_right_percent    of glyphs of 16 px, read back out of the received picture
  mode                  what the browser says that it really sends
  limited               its reason for sending less than it would (qualityLimitationReason), most of the time

The machine should do nothing else: an encoder that waits for a processor looks slow.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    for name, known in (("codecs", CODECS[:3]), ("modes", MODES), ("hints", HINTS)):
        parser.add_argument(
            f"--{name}", default=",".join(known), help=f"(default {','.join(known)})"
        )
    parser.add_argument("--fps", type=int, default=15, help="of the source (default 15)")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds (default 3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each (default 5)")


def run(options: argparse.Namespace, report: Report) -> None:
    """Send in each combination in turn."""
    chosen = {name: getattr(options, name).split(",") for name in ("codecs", "modes", "hints")}
    for name, known in (("codecs", CODECS), ("modes", MODES), ("hints", HINTS)):
        for one in chosen[name]:
            if one not in known:
                raise BenchmarkError(f"--{name}: {one!r} is none of {', '.join(known)}.")
    require(
        [
            ("--fps", 1 <= options.fps <= 60),
            ("--warm-up", 0 <= options.warm_up <= SECONDS_MAX),
            ("--seconds", 1 <= options.seconds <= SECONDS_MAX),
        ]
    )
    need_browsers()
    from benchmarks.encodings import measure

    report.figures["fps_source"] = options.fps
    measure.measure(chosen, options, report)


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
