"""What a student in a real Chromium sees behind a line that loses, delays, narrows and goes away."""

from __future__ import annotations

import argparse
import os

from benchmarks.limits import need_browsers, require
from benchmarks.lines.rows import ROWS
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Report

DESCRIPTION = f"""\
Measure what a student in a real Chromium sees and hears on bad lines, and what the teacher is asked for.

Two network namespaces are joined by a line of ours (TUN devices, 50 ms round trip, decided by --seed). At
the near end there are a whole Lectern, or a peer, and a teacher's Chromium that shares a screen moving at
15 pictures a second and speaks; at the far end there is the student. Each row is one line:

  {", ".join(ROWS)}

  fps, freezes, longest_ms   of pictures with a counter in them; a freeze: 500 ms without a new one
  quantiser                  mean over the decoded frames (qpSum / framesDecoded)
  text_right_percent         of glyphs of 16 px in the picture, read back out of it
  concealed_percent          of the samples of speech, made up because nothing came (RFC 7294's sense)
  picture_ms, full_ms        after the line was mended: until a picture of now, until nearly all pictures
  moves_ms                   after it got bad: until there was a picture each second, for as long as it was
  keyframes_asked            of the teacher's browser; student_plis, nacks by the student's
  others_*                   of the native viewers on a good line in the row `crowd`: packets that did not
                             come, and the longest time without one

It needs root, a checkout with its test tools (make setup), Chromium, and for a peer Janus. A row takes
half a minute to a minute and a half; the machine should do nothing else. pressure_percent is the part of
the row in which something waited for a processor, and the row `good` what the machine does without a bad
line: where that one does not hold, the others say little.
"""
SEED_MAX = 2**31


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--rows",
        default=",".join(ROWS),
        metavar="NAME[,NAME...]",
        help="which lines (default: all)",
    )
    parser.add_argument(
        "--sites",
        default="lectern",
        metavar="NAME[,NAME...]",
        help="whom to measure: lectern, janus-videoroom (default lectern)",
    )
    parser.add_argument("--codec", default="VP8", help="what Lectern's teacher sends (default VP8)")
    parser.add_argument("--seed", type=int, default=1, help="of the lines (default 1)")


def run(options: argparse.Namespace, report: Report) -> None:
    """Play the rows one after the other at each site."""
    names, sites = options.rows.split(","), options.sites.split(",")
    require([("--seed", 0 <= options.seed < SEED_MAX)])
    for name in names:
        if name not in ROWS:
            raise BenchmarkError(f"There is no line {name!r}: it is one of {', '.join(ROWS)}.")
    if os.geteuid() != 0:
        raise BenchmarkError("Network namespaces need root.")
    need_browsers()
    from benchmarks.lines import play
    from benchmarks.lines import sites as known

    for site in sites:
        if site not in known.SITES:
            raise BenchmarkError(f"There is no site {site!r}: {', '.join(known.SITES)}.")
    report.figures |= {"seed": options.seed, "codec": options.codec}
    for site in sites:
        play.play(site, [ROWS[name] for name in names], options, report)


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
