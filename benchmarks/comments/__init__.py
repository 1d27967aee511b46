"""What comments cost a node: a class of thousands in which many write and everybody reads."""

from __future__ import annotations

import argparse
import os

from benchmarks.comments.measure import Load, Measured, measure
from benchmarks.limits import add_numbers, allow_descriptors, require
from benchmarks.registry import Benchmark
from benchmarks.report import Curve, Report, Row

DESCRIPTION = """\
Measure what comments cost a node: one class, N viewers, all of whom read and take turns to write.

A whole node runs in a process of its own, beside a control that only agrees. The viewers live in other
processes: each has a socket, ICE checks and consent, DTLS, an SCTP association and the data channel `live`;
it answers pings and acknowledges every second packet, as browsers do. A comment carries the moment of its
writing, on the clock that all processes share, and every viewer counts it on arrival.

  delivered, expected    comments that came to a viewer; accepted comments times viewers. Warm-up included
  p50_ms, p99_ms         from the writer's call to the reader's, over all deliveries (samples)
  node_cores             processor time of the node's process, all threads, by /proc, over the window
  rest_cores             the same while nobody writes: pings, consent, reports
  node_waited_share      of the window, in which the node was ready to run and others ran: where this is not
                         near 0, the times are the machine's, not the node's
  us_per_viewer          node_cores for each viewer, in microseconds a second

Media is left out: nobody teaches. What packets cost is `lectern bench fanout`.
"""
VIEWERS_DEFAULT = 2000
CURVE = [100, 500, 2000]
RATE_DEFAULT = 50.0
# The class's own bound is 50 a second with a burst of 100, a person's 1 a second.
RATE_MAX = 50.0
P99_MS_MAX = 500.0
NODE_CORES_MAX = 1.0
VIEWERS_MAX = 10_000
# Of the largest class against the smallest: the same within what a run differs from the next.
GROWTH_MAX = 1.1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--viewers",
        type=_numbers,
        default=[VIEWERS_DEFAULT],
        metavar="N[,N...]",
        help=f"how many are there (default {VIEWERS_DEFAULT}); of several, measured one after the other,"
        " the last one's figures stand on top",
    )
    parser.add_argument(
        "--curve", action="store_true", help=f"the same as --viewers {','.join(map(str, CURVE))}"
    )
    options: list[tuple[str, type, float, str]] = [
        ("rate", float, RATE_DEFAULT, "comments a second in the class"),
        ("warm-up", float, 3.0, "seconds of comments before the window"),
        ("window", float, 15.0, "seconds of the window"),
        ("rest", float, 5.0, "seconds without comments, for rest_cores; 0 leaves it out"),
        ("processes", int, 2, "processes that the viewers are spread over"),
    ]
    add_numbers(parser, options)


def run(options: argparse.Namespace, report: Report) -> None:
    """Measure every number of viewers in turn."""
    sizes = CURVE if options.curve else options.viewers
    load = _load(options, sizes)
    allow_descriptors(max(sizes))
    report.figures["cores"] = len(os.sched_getaffinity(0))
    costs: dict[int, float] = {}
    for viewers in sizes:
        measured = Measured(viewers, load.rate)
        try:
            measure(viewers, load, report, measured)
        finally:
            # Whatever ended it: what was measured until then is told.
            if measured.node_cores is not None:
                row = figures(measured)
                _tell(report, row, alone=len(sizes) == 1)
                costs[viewers] = 1e6 * measured.node_cores / viewers
    if len(sizes) > 1:
        report.curves.append(Curve("by_viewers", "viewers", ["us_per_viewer"], True))
        growth = costs[max(sizes)] / costs[min(sizes)]
        report.figures["growth_of_cost"] = growth
        report.expect(f"growth_of_cost <= {GROWTH_MAX:g}", growth <= GROWTH_MAX)


def figures(measured: Measured) -> Row:
    """Return the figures of one number of viewers."""
    assert measured.node_cores is not None
    rest = measured.rest_cores
    return {
        "viewers": measured.viewers,
        "rate": measured.rate,
        "delivered": measured.delivered,
        "expected": measured.expected,
        "samples": measured.samples,
        "p50_ms": measured.percentile_ms(0.5),
        "p99_ms": measured.percentile_ms(0.99),
        "max_ms": measured.percentile_ms(1.0),
        "node_cores": measured.node_cores,
        "us_per_viewer": 1e6 * measured.node_cores / measured.viewers,
        "rest_cores": rest,
        "rest_us_per_viewer": None if rest is None else 1e6 * rest / measured.viewers,
        "node_waited_share": measured.node_waited_share,
        "crowd_cores": measured.crowd_cores,
        "node_rss_mb": measured.rss_mb,
        "accepted": measured.accepted,
        "refused": measured.refused,
        "heard_least": measured.least,
        "heard_most": measured.most,
        "disorders": measured.disorders,
        "missed": measured.missed,
        "window_s": measured.seconds,
    }


def _tell(report: Report, row: Row, *, alone: bool) -> None:
    report.figures |= row
    if not alone:
        report.add_row("by_viewers", row)
    of = f" of {row['viewers']} viewers"
    p99_ms, cores = row["p99_ms"], row["node_cores"]
    assert isinstance(cores, float)
    report.expect(f"delivered == expected{of}", row["delivered"] == row["expected"] != 0)
    report.expect(f"every viewer heard all{of}", row["heard_least"] == row["accepted"])
    report.expect(f"none twice{of}", row["heard_most"] == row["accepted"])
    report.expect(f"in one order{of}", row["disorders"] == 0)
    in_time = isinstance(p99_ms, float) and p99_ms <= P99_MS_MAX
    report.expect(f"p99_ms <= {P99_MS_MAX:g}{of}", in_time)
    report.expect(f"node_cores <= {NODE_CORES_MAX:g}{of}", cores <= NODE_CORES_MAX)


def _load(options: argparse.Namespace, sizes: list[int]) -> Load:
    load = Load(
        rate=options.rate,
        warm_up_s=options.warm_up,
        window_s=options.window,
        rest_s=options.rest,
        processes=options.processes,
    )
    bounds = [
        ("--viewers", all(load.processes <= viewers <= VIEWERS_MAX for viewers in sizes)),
        ("--rate", 0 < load.rate <= min(RATE_MAX, *sizes)),
        ("--warm-up", 0 <= load.warm_up_s <= 600),
        ("--window", 0.5 <= load.window_s <= 600),
        ("--rest", 0 <= load.rest_s <= 600),
        ("--processes", 1 <= load.processes <= 64),
    ]
    require(bounds)
    return load


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
