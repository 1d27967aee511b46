"""How many viewers a node carries on this machine, or a deployment elsewhere, and what gives way first."""

from __future__ import annotations

import argparse

from benchmarks import native
from benchmarks.fanout import figures
from benchmarks.fanout.measure import Load, Measured, measure
from benchmarks.limits import add_numbers, allow_descriptors, require
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Curve, Report, Row

DESCRIPTION = """\
Step the viewers of one class up until quality breaks, and name what broke.

Every step is a node and a crowd of its own, as in `fanout`: 12 packets of 1150 bytes a frame. A step is good
when no packet is lost, 99 of 100 packets that were looked at arrive within --delay-ms, and the generator had
time to look. The limits that can break, in the order in which they are asked:

  joins             with --url: somebody was not let in, or had no keys in time
  generator         this machine's other core, or its sockets: the node could do more than was measured
  node_cpu          the node's process used nine tenths of a core; of a deployment elsewhere it is not known
  packets_lost      packets were lost on the way, with processor time left
  packets_failed    with --url: a packet did not hold what was sent
  delay             packets came late, with processor time left

  viewers           the largest good step; `limit` what broke at the next one, `none` where none did

With --url the steps are played to a deployment elsewhere. Its host has to be named a second time with
--i-may-load, and so has every other host that its answers name for media: nothing is sent to anybody else.
A teacher and students are signed up through the public API and join by WHIP and WHEP with real ICE and DTLS;
then the native generator here publishes and receives, counts every packet, and opens one of 16 and compares
it with what was sent. Teacher and viewers share a clock, so `delay` is the way to the server and back.

What its operator should know: at 15 frames a second each viewer takes 1.7 Mbit/s. A run makes one account
more than it has viewers, named bench-RUN-NUMBER@lectern-bench.invalid, with a password that nobody keeps,
and one class, "Load". At the end, also on Ctrl-C, the class is ended and the accounts are deleted through the
API; what stays is the ended class and its attendance, without names. Accounts that could not be deleted are
counted (`accounts_left`), and `lectern user delete` on the server removes them. One address may make 2,000
accounts in five minutes; a server that says when to come again (Retry-After) is waited for, ten minutes each
time at most.
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
        ("at-once", int, 16, "with --url: requests on their way at once"),
    ]
    add_numbers(parser, options)
    parser.add_argument("--url", help="origin of a deployment to load instead, https://HOST[:PORT]")
    parser.add_argument(
        "--i-may-load",
        action="append",
        default=[],
        metavar="HOST",
        help="a host whose operator allows it: that of --url, and those of its media; to be repeated",
    )


def run(options: argparse.Namespace, report: Report) -> None:
    """Climb until something gives way."""
    bounds = [
        ("--first", 1 <= options.first <= options.most),
        ("--most", options.most <= VIEWERS_MAX),
        ("--factor", 1.05 <= options.factor <= 10),
        ("--fps", 1 <= options.fps <= 120),
        ("--window", 0.5 <= options.window <= 600),
        ("--delay-ms", 0 < options.delay_ms <= 60_000),
        ("--at-once", 1 <= options.at_once <= 100),
    ]
    require(bounds)
    if options.url is not None:
        # Imported when asked for: it knows HTTP.
        from benchmarks.capacity.remote import climb

        climb(options, report, steps(options), lambda row: broken(row, options.delay_ms))
        return
    if options.i_may_load:
        raise BenchmarkError("--i-may-load says what --url may load, and there is no --url.")
    allow_descriptors(options.most + 1)
    generator = native.load_generator(report)
    report.curves.append(Curve("steps", "viewers", ["us_per_packet", "delay_ms_p99"]))
    report.figures |= {"viewers": 0, "limit": "none", "fps": options.fps}
    for viewers in steps(options):
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


def steps(options: argparse.Namespace) -> list[int]:
    """Return how many viewers each step has."""
    found = [options.first]
    while found[-1] < options.most and len(found) < STEPS_MAX:
        larger = max(found[-1] + 1, round(found[-1] * options.factor))
        found.append(min(options.most, larger))
    return found


def broken(row: Row, delay_ms_max: float) -> str | None:
    """Return the limit that this step has broken, None where it is good."""
    lost, overflowed = _number(row, "packets_lost"), _number(row, "packets_overflowed")
    if _number(row, "generator_cpu_share") > GENERATOR_SHARE_MAX or 0 < lost <= overflowed:
        return "generator"
    if "node_cpu_share" in row and _number(row, "node_cpu_share") > NODE_SHARE_MAX:
        return "node_cpu"
    if lost > 0:
        return "packets_lost"
    if "packets_failed" in row and _number(row, "packets_failed") > 0:
        return "packets_failed"
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
