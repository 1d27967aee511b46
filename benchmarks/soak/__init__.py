"""Whether a node or `web` grows: joins, leaves and classes for as long as is asked for."""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import time
import uuid
from contextlib import ExitStack, suppress
from typing import Any

from benchmarks import accounting
from benchmarks.children import Child
from benchmarks.failover.deployment import deployment
from benchmarks.node import MediaNode
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Curve, Report
from benchmarks.soak.web import WebChurn

DESCRIPTION = """\
Let viewers come and go, with a new class every few seconds, and look whether a node or `web` grows.

Viewers are real sessions (ICE, DTLS). They join a node by its internal API, as fast as it takes them, with
a data channel; and in turn the `web` of a whole deployment by WHEP, as students who are signed in do. After
every interval all have left; the node's collector runs, and memory, descriptors and tasks are read. The
first quarter of the readings is left out: pools and caches fill in it.

  joins, kib_per_1000_joins   of the node; slope of private memory (/proc/PID/smaps_rollup) over the joins
  descriptors_slope, tasks_slope
                              growth from the first reading that counts to the last, by regression
  web_...                          the same of `web`
"""
KIB_PER_1000_JOINS_MAX = 100.0
READINGS_MIN = 8
WARM_UP_SHARE = 0.25
READY_TIMEOUT_S = 20.0
INTERVAL_S = 4.0
# Closing goes on for a moment after the API has answered.
SETTLE_TIMEOUT_S = 15.0
SETTLE_POLL_S = 0.1
# By table: what its figures begin with.
PREFIXES = {"readings": "", "web_readings": "web_"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--at-once", type=int, default=16, help="joins on their way (default 16)")


def run(options: argparse.Namespace, report: Report) -> None:
    """Churn, settle and read, the node and `web` in turn, until the time is over."""
    if not 0.5 <= options.minutes <= 100 * 60 or not 1 <= options.at_once <= 1000:
        raise BenchmarkError("An option is out of bounds.")
    report.curves += [Curve(table, "joins", ["private_mib"]) for table in PREFIXES]
    with ExitStack() as stack:
        node = stack.enter_context(MediaNode("127.0.0.1"))
        client = stack.enter_context(
            Child("clients", [sys.executable, "-m", "benchmarks.clients.joiners"])
        )
        order: dict[str, Any] = {"path": node.socket_path, "secret": node.secret, "ports": 0.0}
        order |= {"class_id": str(uuid.uuid4()), "channel": True, "picture": False}
        client.tell(json.dumps(order | {"viewers_max": options.at_once + 100}) + "\n")
        client.hear("ready", within_s=READY_TIMEOUT_S)
        token = secrets.token_hex(16)
        whole = stack.enter_context(deployment(1, 1, {"LECTERN_METRICS_TOKEN": token}))
        web = stack.enter_context(WebChurn(whole, token))
        deadline_s = time.monotonic() + options.minutes * 60
        try:
            joins = web_joins = 0
            while time.monotonic() < deadline_s:
                joins += _churn(client, options)
                _read(report, node, joins)
                web_joins += web.churn(INTERVAL_S, options.at_once)
                _read_web(report, web, web_joins)
        except BaseException:
            # What was measured until then is told, and what ended it is not hidden.
            for table in PREFIXES:
                with suppress(BenchmarkError):
                    _tell(report, table)
            raise
    for table in PREFIXES:
        _tell(report, table)


def _churn(client: Child, options: argparse.Namespace) -> int:
    """Let viewers of a new class come and go for an interval; return how many."""
    order = {"do": "sustain", "seconds": INTERVAL_S, "at_once": options.at_once}
    client.tell(json.dumps(order | {"class_id": str(uuid.uuid4())}) + "\n")
    told = client.hear("sustain", within_s=INTERVAL_S + 60)
    if told["joined"] != told["clicked"]:
        raise BenchmarkError(f"{told['clicked'] - told['joined']} joins have failed.")
    joined: int = told["joined"]
    return joined


def _read(report: Report, node: MediaNode, joins: int) -> None:
    deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
    while (answer := node.ask("collect"))["sessions"] and time.monotonic() < deadline_s:
        time.sleep(SETTLE_POLL_S)
    if answer["sessions"]:
        raise BenchmarkError(f"{answer['sessions']} sessions stay where all have left.")
    report.add_row(
        "readings",
        {
            "joins": joins,
            "private_mib": accounting.memory_kib(node.pid).private / 1024,
            "descriptors": accounting.descriptors(node.pid),
            "tasks": answer["tasks"],
        },
    )
    report.say(f"{joins} joins: {report.tables['readings'][-1]['private_mib']:.1f} MiB")


def _read_web(report: Report, web: WebChurn, joins: int) -> None:
    read = web.read()
    report.add_row(
        "web_readings",
        {
            "joins": joins,
            "private_mib": read.private_mib,
            "descriptors": read.descriptors,
            "tasks": read.tasks,
        },
    )
    report.say(f"{joins} joins by web: {read.private_mib:.1f} MiB")


def _tell(report: Report, table: str) -> None:
    prefix, rows = PREFIXES[table], report.tables.get(table, [])
    counted = rows[int(len(rows) * WARM_UP_SHARE) :]
    if len(rows) < READINGS_MIN:
        raise BenchmarkError(f"{len(rows)} readings are too few for a slope: more --minutes.")
    joins = [_number(row["joins"]) for row in counted]
    slopes = {
        name: statistics.linear_regression(joins, [_number(row[name]) for row in counted]).slope
        for name in ("private_mib", "descriptors", "tasks")
    }
    reach = joins[-1] - joins[0]
    kib = slopes["private_mib"] * 1024 * 1000
    report.figures |= {
        f"{prefix}joins": int(_number(rows[-1]["joins"])),
        f"{prefix}kib_per_1000_joins": kib,
        f"{prefix}descriptors_slope": slopes["descriptors"] * reach,
        f"{prefix}tasks_slope": slopes["tasks"] * reach,
    }
    bound = f"{prefix}kib_per_1000_joins <= {KIB_PER_1000_JOINS_MAX:g}"
    report.expect(bound, kib <= KIB_PER_1000_JOINS_MAX)
    report.expect(f"{prefix}descriptors_slope < 1", slopes["descriptors"] * reach < 1)
    report.expect(f"{prefix}tasks_slope < 1", slopes["tasks"] * reach < 1)


def _number(value: object) -> float:
    assert isinstance(value, (int, float))
    return value


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
