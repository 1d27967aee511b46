"""What a packet costs a media node: one teacher, many viewers, beside a sender that does nothing else."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks import native
from benchmarks.fanout.measure import Load, Measured, Round, measure, median
from benchmarks.limits import add_numbers, allow_descriptors, require
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Curve, Report, Row

DESCRIPTION = """\
Measure what a media packet costs a node: one class or many, a teacher each, N viewers with keys of their own.

A node's media thread, pacer and all, runs in a process of its own. A generator (one native thread) is the
teacher and all viewers: it checks in by STUN and keeps its consent, drains a socket for each viewer without
UDP_GRO, checks every sequence number, opens a sample and compares it byte by byte, and sends receiver
reports and transport-wide feedback. In turn with it, a plain sender sends the same load to the same sockets:
seal and sendmmsg with UDP_SEGMENT, nothing else. That is the floor. Of many classes it is the one of sendmmsg
without UDP_SEGMENT: `floor` says which.

With --nodes N the viewers are dealt to N nodes, of which all but the first follow it over a link each, and
one node alone is measured in turn with them. A packet is then one to a viewer, the time that of all nodes.

  us_per_packet     processor time of the node's whole process (getrusage) for each media packet sent,
                    over a window after a warm-up; thread_us_per_packet is the media thread's alone
  floor_us          processor time of the plain sender's thread for each packet
  packets_lost      packets that should have come to a viewer and did not, warm-up included;
                    packets_overflowed of them were dropped by the generator's own sockets

Keys go to both ends by pipe; DTLS is left out, because what joining costs is another matter.
"""
# The bounds hold for a class this large or larger: a small one shares its fixed costs among few packets.
BOUNDS_VIEWERS_MIN = 100
US_PER_PACKET_MAX = 6.0
RATIO_TO_FLOOR_MAX = 3.0
# Of classes that are large, at the full rate.
LARGE_VIEWERS_MIN = 500
RATIO_TO_FLOOR_LARGE_MAX = 1.5
# Of classes of few viewers, and of packets that come one by one: beside the floor of sendmmsg.
RATIO_TO_FLOOR_SMALL_MAX = 2.0
# From the smallest class that has this many to the largest.
GROWTH_VIEWERS_MIN = 10
GROWTH_MAX = 1.2
# Of the generator's core: beyond it, its own lateness is what is measured.
GENERATOR_SHARE_MAX = 0.95
NODES_MAX = 16
# Of several nodes, links and all, beside one.
RATIO_TO_ONE_NODE_MAX = 1.15
AUDIO = {"fps": 50, "packets": 1, "packet_bytes": 120, "spread_ms": 0.0}
VIEWERS_DEFAULT = 500
TABLE_COLUMNS = (
    "viewers",
    "fps",
    "us_per_packet",
    "floor_us",
    "ratio_to_floor",
    "packets_lost",
    "packets_failed",
    "delay_ms_p50",
    "delay_ms_p99",
    "node_cpu_share",
    "idle_cpu_share",
)
VIEWERS_MAX = 20_000
# Of several numbers of viewers those above this one get fewer frames a second: what a node cannot do within
# its core says nothing of a packet's cost.
FULL_RATE_VIEWERS_MAX = 2000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--viewers",
        type=_numbers,
        default=[VIEWERS_DEFAULT],
        metavar="N[,N...]",
        help=f"how many watch (default {VIEWERS_DEFAULT}); of several, measured one after the other, the"
        f" last one's figures stand on top; above {FULL_RATE_VIEWERS_MAX} with fewer frames a second",
    )
    options: list[tuple[str, type, float, str]] = [
        ("fps", int, 15, "frames a second"),
        ("packets", int, 12, "packets of a frame"),
        ("packet-bytes", int, 1150, "bytes of a sealed packet"),
        ("spread-ms", float, 2.0, "time over which the teacher sends the packets of a frame"),
        ("feedback-hz", int, 10, "transport-wide feedback of each viewer, a second"),
        ("open-every", int, 16, "of so many packets each viewer opens one and checks its payload"),
        ("warm-up", float, 1.0, "seconds of media before each window"),
        ("window", float, 4.0, "seconds of each window, of the floor as well"),
        ("rounds", int, 3, "windows; the figures are medians of them"),
        ("rest", float, 3.0, "seconds of a class in which nobody sends, for idle_cpu_share"),
    ]
    add_numbers(parser, options)
    parser.add_argument(
        "--classes", type=int, default=1, metavar="N", help="classes that the viewers are dealt to"
    )
    parser.add_argument(
        "--nodes", type=int, default=1, metavar="N", help="nodes that the viewers are dealt to"
    )
    parser.add_argument(
        "--audio",
        action="store_true",
        help="Opus alone: 50 packets of 120 bytes a second, whatever else is said of frames",
    )
    parser.add_argument("--no-floor", action="store_true", help="leave out the plain sender")
    parser.add_argument("--no-gso", action="store_true", help="the node sends without UDP_SEGMENT")
    parser.add_argument(
        "--wrong-keys",
        type=int,
        default=0,
        metavar="N",
        help="give N viewers a wrong key, to see that the checks notice",
    )


def run(options: argparse.Namespace, report: Report) -> None:
    """Measure every number of viewers in turn."""
    if options.audio:
        vars(options).update(AUDIO)
    load = _load(options)
    allow_descriptors(max(options.viewers) + load.classes)
    generator = native.load_generator(report)
    report.figures |= {
        "classes": load.classes,
        "audio": load.audio,
        "fps": load.fps,
        "packets_per_frame": load.packets_per_frame,
        "floor": "sendmmsg, UDP_SEGMENT" if load.floor_in_runs else "sendmmsg",
        "packet_bytes": load.packet_bytes,
    }
    for viewers in options.viewers:
        measured = Measured(viewers)
        if options.nodes > 1:
            _measure_nodes(viewers, options.nodes, load, generator, report)
            return
        alone = len(options.viewers) == 1
        bearable = load if alone else _bearable(load, viewers)
        try:
            measure(viewers, bearable, generator, report, measured)
        finally:
            # Whatever ended it: what was measured until then is told.
            if measured.rounds:
                _tell(report, measured, bearable, alone=alone)
    if len(options.viewers) > 1:
        ys = ["us_per_packet", "floor_us"]
        report.curves.append(Curve("by_viewers", "viewers", ys, x_is_logarithmic=True))
        _expect_no_growth(report)


def _bearable(load: Load, viewers: int) -> Load:
    """Return the load at a frame rate at which so many viewers get no more packets than fewer did."""
    if viewers <= FULL_RATE_VIEWERS_MAX:
        return load
    return replace(load, fps=max(1, load.fps * FULL_RATE_VIEWERS_MAX // viewers))


def _measure_nodes(viewers: int, nodes: int, load: Load, generator: Path, report: Report) -> None:
    """Measure several nodes and one, round by round in turn."""
    several, one = Measured(viewers), Measured(viewers)
    once = replace(load, rounds=1, rest_s=0.0, with_floor=False)
    try:
        for _ in range(load.rounds):
            measure(viewers, once, generator, report, one)
            measure(viewers, once, generator, report, several, node_count=nodes)
    finally:
        # Whatever ended it: what was measured until then is told.
        if several.rounds:
            _tell(report, several, load, alone=True)
    alone = median([r.us_per_packet for r in one.rounds])
    cost = report.figures["us_per_packet"]
    assert isinstance(alone, float) and isinstance(cost, float)
    links = nodes - 1
    fed = sum(r.gained("link_packets_out") for r in several.rounds)
    copies = sum(r.packets for r in several.rounds) / viewers
    report.figures |= {
        "nodes": nodes,
        "links": links,
        "us_per_packet_one_node": alone,
        "ratio_to_one_node": cost / alone,
        "link_packets_out": fed,
        "copies_per_link": fed / (copies * links),
        "delay_added_ms_p50": _delay_ms(several) - _delay_ms(one),
    }
    report.expect(
        f"ratio_to_one_node <= {RATIO_TO_ONE_NODE_MAX:g}", cost / alone <= RATIO_TO_ONE_NODE_MAX
    )


def _delay_ms(measured: Measured) -> float:
    delay = median([r.played["delay_us_p50"] / 1000 for r in measured.rounds])
    assert delay is not None
    return delay


def figures(measured: Measured) -> Row:
    """Return the figures of one number of viewers: medians over the rounds, sums of what is counted."""
    rounds, floors = measured.rounds, measured.floor_us()
    costs = [one.us_per_packet for one in rounds]
    us_per_packet, floor_us = median(costs), median(floors)
    assert us_per_packet is not None
    last = rounds[-1].after["stats"]
    expected, received = measured.total("packets_expected"), measured.total("packets_received")
    row: Row = {
        "viewers": measured.viewers,
        "us_per_packet": us_per_packet,
        "us_per_packet_min": min(costs),
        "us_per_packet_max": max(costs),
        "thread_us_per_packet": median([r.gained("cpu_us") / _packets(r) for r in rounds]),
        "kpps_per_core": 1000 / us_per_packet,
        "floor_us": floor_us,
        "floor_us_min": min(floors, default=None),
        "floor_us_max": max(floors, default=None),
        "ratio_to_floor": us_per_packet / floor_us if floor_us else None,
        "gso": bool(last["gso_on"]),
        "packets_per_send": median(
            [_packets(r) / max(1, r.gained("messages_out")) for r in rounds]
        ),
        "packets_expected": expected,
        "packets_lost": expected - received,
        "packets_overflowed": measured.total("packets_overflowed"),
        "packets_late": measured.total("packets_late"),
        "packets_opened": measured.total("packets_opened"),
        "packets_failed": measured.total("packets_failed"),
        "packets_strange": measured.total("packets_strange"),
        "send_again": sum(r.gained("send_again") for r in rounds),
        "send_errors": sum(r.gained("send_errors") for r in rounds),
        "keyframes_asked": measured.total("keyframes_asked"),
        "delay_ms_p50": median([r.played["delay_us_p50"] / 1000 for r in rounds]),
        "delay_ms_p99": median([r.played["delay_us_p99"] / 1000 for r in rounds]),
        "loop_lag_ms_max": max(r.after["stats"]["loop_lag_us_max"] for r in rounds) / 1000,
        "node_cpu_share": median([r.process_us / 1e6 / r.seconds for r in rounds]),
        "node_datagrams_in_per_s": median([r.gained("datagrams_in") / r.seconds for r in rounds]),
        "node_wakeups_per_s": median([r.gained("wakeups") / r.seconds for r in rounds]),
        "node_rss_mb": rounds[-1].after["rss_kb"] / 1024,
        "generator_cpu_share": median(
            [r.played["generator_cpu_us"] / r.played["took_us"] for r in rounds]
        ),
        "idle_cpu_share": measured.rest.process_us / 1e6 / measured.rest.seconds
        if measured.rest
        else None,
    }
    return row


def _packets(one: Round) -> int:
    return one.packets


def _expect_no_growth(report: Report) -> None:
    rows = [
        row
        for row in report.tables["by_viewers"]
        if isinstance(row["viewers"], int) and row["viewers"] >= GROWTH_VIEWERS_MIN
    ]
    if len(rows) < 2:
        return
    first, last = rows[0]["us_per_packet"], rows[-1]["us_per_packet"]
    assert isinstance(first, float) and isinstance(last, float)
    report.figures["growth"] = last / first
    bound = f"growth <= {GROWTH_MAX:g} from {rows[0]['viewers']} to {rows[-1]['viewers']} viewers"
    report.expect(bound, last / first <= GROWTH_MAX)


def _tell(report: Report, measured: Measured, load: Load, *, alone: bool) -> None:
    row = figures(measured)
    share = row["generator_cpu_share"]
    if isinstance(share, float) and share > GENERATOR_SHARE_MAX:
        raise BenchmarkError(
            f"The generator used {share:.0%} of its core with {measured.viewers} viewers: what it"
            " says of the node means nothing. Fewer --viewers or --fps."
        )
    if load.with_gso and not row["gso"]:
        raise BenchmarkError("The kernel refused UDP_SEGMENT: say --no-gso to measure without.")
    report.figures |= row
    row["fps"] = load.fps
    if not alone:
        report.add_row("by_viewers", {column: row[column] for column in TABLE_COLUMNS})
    of = f" of {measured.viewers} viewers"
    report.expect(f"packets_lost == 0{of}", row["packets_lost"] == 0)
    report.expect(f"packets_failed == 0{of}", row["packets_failed"] == 0)
    if measured.viewers >= BOUNDS_VIEWERS_MIN:
        cost, ratio = row["us_per_packet"], row["ratio_to_floor"]
        assert isinstance(cost, float)
        report.expect(f"us_per_packet <= {US_PER_PACKET_MAX:g}{of}", cost <= US_PER_PACKET_MAX)
        if isinstance(ratio, float):
            most = _ratio_max(measured.viewers, load)
            report.expect(f"ratio_to_floor <= {most:g}{of}", ratio <= most)


def _ratio_max(viewers: int, load: Load) -> float:
    if load.audio or load.classes > 1:
        return RATIO_TO_FLOOR_SMALL_MAX
    is_large = LARGE_VIEWERS_MIN <= viewers <= FULL_RATE_VIEWERS_MAX
    return RATIO_TO_FLOOR_LARGE_MAX if is_large else RATIO_TO_FLOOR_MAX


def _load(options: argparse.Namespace) -> Load:
    load = Load(
        fps=options.fps,
        packets_per_frame=options.packets,
        packet_bytes=options.packet_bytes,
        spread_us=round(options.spread_ms * 1000),
        feedback_hz=options.feedback_hz,
        open_every=options.open_every,
        warm_up_s=options.warm_up,
        window_s=options.window,
        rounds=options.rounds,
        rest_s=options.rest,
        with_floor=not options.no_floor,
        with_gso=not options.no_gso,
        wrong_keys=options.wrong_keys,
        classes=options.classes,
        audio=options.audio,
    )
    bounds = [
        ("--viewers", all(1 <= viewers <= VIEWERS_MAX for viewers in options.viewers)),
        ("--fps", 1 <= load.fps <= 120),
        ("--packets", 1 <= load.packets_per_frame <= 256),
        ("--packet-bytes", 80 <= load.packet_bytes <= 1400),
        ("--spread-ms", 0 <= load.spread_us * load.fps <= 1_000_000),
        ("--feedback-hz", 1 <= load.feedback_hz <= 100),
        ("--open-every", load.open_every >= 1),
        ("--warm-up", 0 <= load.warm_up_s <= 600),
        ("--window", 0.5 <= load.window_s <= 600),
        ("--rounds", 1 <= load.rounds <= 100),
        ("--rest", 0 <= load.rest_s <= 600),
        ("--classes", 1 <= load.classes <= min(options.viewers)),
        ("--nodes", 1 <= options.nodes <= min(NODES_MAX, *options.viewers)),
        # Viewers are dealt to nodes and to classes in turn: both at once would leave some without.
        ("--classes beside --nodes", options.nodes == 1 or load.classes == 1),
        ("--viewers beside --nodes", options.nodes == 1 or len(options.viewers) == 1),
        ("--wrong-keys", 0 <= load.wrong_keys <= min(options.viewers)),
    ]
    require(bounds)
    return load


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
