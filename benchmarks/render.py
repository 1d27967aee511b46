"""A report as one line of JSON, as a table for people, and as Markdown with plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Curve, Report, Row, Value, machine

SIGNIFICANT_DIGITS = 4


def json_line(report: Report) -> str:
    """Return the figures, and what stands around them, as one line."""
    whole: dict[str, object] = {"benchmark": report.name, "partial": report.is_partial}
    whole |= {name: _rounded(value) for name, value in report.figures.items()}
    for name, rows in report.tables.items():
        whole[name] = [{column: _rounded(cell) for column, cell in row.items()} for row in rows]
    whole |= {"not_held": report.not_held, "machine": machine()}
    return json.dumps(whole, allow_nan=False)


def text(report: Report) -> str:
    """Return the report for a terminal."""
    width = max(map(len, report.figures), default=0)
    lines = [f"{name:<{width}}  {_shown(value)}" for name, value in report.figures.items()]
    for name, rows in report.tables.items():
        lines += ["", name, *_aligned(rows)]
    lines += [
        f"{'holds' if holds else 'DOES NOT HOLD'}: {what}"
        for what, holds in report.expectations.items()
    ]
    if report.is_partial:
        lines.append("It was interrupted: this is what was measured until then.")
    return "\n".join(lines)


def write(report: Report, directory: Path) -> list[Path]:
    """Write Markdown, JSON and, where matplotlib is installed, plots into the directory; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    plots = [
        made
        for number, curve in enumerate(report.curves, start=1)
        if (made := _plot(report, curve, directory / f"{report.name}-{number}.png"))
    ]
    data = directory / f"{report.name}.json"
    data.write_text(json_line(report) + "\n")
    page = directory / f"{report.name}.md"
    page.write_text(markdown(report, plots))
    return [page, data, *plots]


def markdown(report: Report, plots: Sequence[Path] = ()) -> str:
    """Return the report as a page, the plots linked by their names."""
    lines = [f"# {report.name}", ""]
    if report.is_partial:
        lines += ["Interrupted: this is what was measured until then.", ""]
    lines += ["| figure | value |", "|---|---|"]
    lines += [f"| `{name}` | {_shown(value)} |" for name, value in report.figures.items()]
    for name, rows in report.tables.items():
        columns = list(rows[0])
        lines += ["", f"## {name}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [
            f"| {' | '.join(_shown(row.get(column)) for column in columns)} |" for row in rows
        ]
    if report.expectations:
        lines += ["", "## Expected", ""]
        lines += [
            f"- {what}: {'holds' if holds else '**does not hold**'}"
            for what, holds in report.expectations.items()
        ]
    for plot in plots:
        lines += ["", f"![{plot.stem}]({plot.name})"]
    where = ", ".join(f"{name} {_shown(value)}" for name, value in machine().items())
    return "\n".join([*lines, "", f"Measured on: {where}.", ""])


def _aligned(rows: Sequence[Row]) -> list[str]:
    columns = list(rows[0])
    cells = [columns, *([_shown(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]


def _rounded(value: Value) -> Value:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value


def _shown(value: Value) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{_rounded(value):,g}" if abs(value) < 1e6 else f"{value:,.0f}"
        case int():
            return f"{value:,}"
        case _:
            return value


def _plot(report: Report, curve: Curve, path: Path) -> Path | None:
    """Draw a curve; None: no matplotlib, or no rows yet."""
    rows = report.tables.get(curve.table, [])
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    if not rows:
        return None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for column in curve.ys:
        axes.plot([row[curve.x] for row in rows], [row[column] for row in rows], "o-", label=column)
    if curve.x_is_logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel(curve.x)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    return path
