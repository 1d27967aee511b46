"""How many viewers a node carries on this machine, and what gives way first."""

from __future__ import annotations

import argparse

from benchmarks import native
from benchmarks.fanout import figures
from benchmarks.fanout.measure import Load, Measured, measure
from benchmarks.limits import allow_descriptors
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Curve, Report, Row

DESCRIPTION = """\
Step the viewers of one class up until quality breaks, and name what broke.

Every step is a node and a crowd of its own, as in `fanout`: 12 packets of 1150 bytes a frame. A step is good
when no packet is lost, 99 of 100 packets that were looked at arrive within --delay-ms, and the generator had
time to look. The limits that can break, in the order in which they are asked:

  generator         this machine's other core, or its sockets: the node could do more than was measured
  node_cpu          the node's process used nine tenths of a core
  packets_lost      packets were lost on the way, with processor time left
  delay             packets came late, with processor time left

  viewers           the largest good step; `limit` what broke at the next one, `none` where none did
"""
COLUMNS = (
    "viewers",
    "us_per_packet",
    "node_cpu_share",
    "generator_cpu_share",
    "packets_lost",
    "packets_overflowed",
    "delay_ms_p50",
    "delay_ms_p99",
)
NODE_SHARE_MAX = 0.9
GENERATOR_SHARE_MAX = 0.9
STEPS_MAX = 40
VIEWERS_MAX = 20_000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    options: list[tuple[str, type, float, str]] = [
        ("first", int, 250, "viewers of the first step"),
        ("factor", float, 1.5, "by which each step is larger than the one before"),
        ("most", int, 10_000, "viewers of the last step"),
        ("fps", int, 15, "frames a second"),
        ("window", float, 4.0, "seconds of each step"),
        ("delay-ms", float, 50.0, "what 99 of 100 packets have to keep to"),
    ]
    for name, kind, default, text in options:
        parser.add_argument(
            f"--{name}", type=kind, default=default, help=f"{text} (default {default:g})"
        )


def run(options: argparse.Namespace, report: Report) -> None:
    """Climb until something gives way."""
    sane = 1 <= options.first <= options.most <= VIEWERS_MAX and 1.05 <= options.factor <= 10
    if not sane or not 1 <= options.fps <= 120 or not 0.5 <= options.window <= 600:
        raise BenchmarkError("An option is out of bounds.")
    allow_descriptors(options.most + 1)
    generator = native.load_generator(report)
    report.curves.append(Curve("steps", "viewers", ["us_per_packet", "delay_ms_p99"]))
    report.figures |= {"viewers": 0, "limit": "none", "fps": options.fps}
    viewers = options.first
    for _ in range(STEPS_MAX):
        measured = Measured(viewers)
        measure(viewers, _load(options), generator, report, measured)
        row = figures(measured)
        report.add_row("steps", {column: row[column] for column in COLUMNS})
        limit = broken(row, options.delay_ms)
        if limit is not None:
            report.figures["limit"] = limit
            report.say(f"{viewers} viewers are too many: {limit}")
            return
        report.figures["viewers"] = viewers
        if viewers == options.most:
            return
        viewers = min(options.most, round(viewers * options.factor))


def broken(row: Row, delay_ms_max: float) -> str | None:
    """Return the limit that this step has broken, None where it is good."""
    lost, overflowed = _number(row, "packets_lost"), _number(row, "packets_overflowed")
    if _number(row, "generator_cpu_share") > GENERATOR_SHARE_MAX or 0 < lost <= overflowed:
        return "generator"
    if _number(row, "node_cpu_share") > NODE_SHARE_MAX:
        return "node_cpu"
    if lost > 0:
        return "packets_lost"
    if _number(row, "delay_ms_p99") > delay_ms_max:
        return "delay"
    return None


def _number(row: Row, column: str) -> float:
    value = row[column]
    assert isinstance(value, (int, float))
    return value


def _load(options: argparse.Namespace) -> Load:
    return Load(
        fps=options.fps,
        packets_per_frame=12,
        packet_bytes=1150,
        spread_us=2000,
        feedback_hz=10,
        open_every=16,
        warm_up_s=1.0,
        window_s=options.window,
        rounds=1,
        rest_s=0.0,
        with_floor=False,
        with_gso=True,
        wrong_keys=0,
        classes=1,
        audio=False,
    )


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
