"""`lectern bench NAME [options]`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import registry, render
from benchmarks.registry import BenchmarkError
from benchmarks.report import Report

EXIT_NOT_HELD = 1
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run one benchmark: 0, or 1 where an expectation does not hold, 2 where it cannot be run here."""
    options = _parser(arguments).parse_args(arguments)
    report = Report(options.benchmark)
    # Whoever ends us by SIGTERM gets the partial result as well; a shell that starts us in the background has
    # SIGINT ignored.
    ends = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.default_int_handler) for number in ends]
    try:
        registry.load(options.benchmark).run(options, report)
    except BenchmarkError as error:
        print(f"lectern bench: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    except KeyboardInterrupt:
        report.is_partial = True
        report.say("interrupted; what was measured until now:")
    finally:
        for number, handler in zip(ends, before, strict=True):
            signal.signal(number, handler)
    _tell(report, options)
    if report.is_partial:
        return EXIT_INTERRUPTED
    return EXIT_NOT_HELD if report.not_held else 0


def _tell(report: Report, options: argparse.Namespace) -> None:
    if options.report is not None:
        for path in render.write(report, options.report):
            report.say(f"wrote {path}")
    for what in report.not_held:
        report.say(f"does not hold: {what}")
    print(render.json_line(report) if options.json else render.text(report), flush=True)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lectern bench",
        description="Measure Lectern on this machine. Progress is told on standard error.",
    )
    names = parser.add_subparsers(dest="benchmark", required=True, metavar="NAME")
    for name, summary in registry.SUMMARIES.items():
        command = names.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_argument(
            "--json", action="store_true", help="print the result as one line of JSON, the last one"
        )
        command.add_argument(
            "--report",
            type=Path,
            metavar="DIR",
            help="write Markdown and JSON into DIR, and plots where matplotlib is installed",
        )
        if arguments[:1] == [name]:
            benchmark = registry.load(name)
            command.description = benchmark.description
            benchmark.add_options(command)
    return parser
