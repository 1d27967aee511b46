"""A program's log line has the ids that its message names, whatever else is in it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from lectern.logs import JsonLines, PlainLines


def line(template: str, *arguments: Any, **more: Any) -> dict[str, Any]:
    record = logging.LogRecord("a.logger", logging.INFO, "file", 1, template, arguments, None)
    record.__dict__ |= more
    text = JsonLines("web").format(record)
    assert "\n" not in text
    read: dict[str, Any] = json.loads(text)
    return read


def ids(template: str, *arguments: Any) -> dict[str, str]:
    return {k: v for k, v in line(template, *arguments).items() if k.endswith("_id")}


@pytest.mark.parametrize(
    ("template", "arguments", "found"),
    [
        ("session %s ended", ("s",), {"session_id": "s"}),
        ("node %s: %d of class %s", ("n", 3, "c"), {"node_id": "n", "class_id": "c"}),
        ("the beat of node %.40r was refused", ("n",), {"node_id": "n"}),
        ("100 %% of session %s", ("s",), {"session_id": "s"}),
        ("%s has taken the place of node %s", ("a", "b"), {"node_id": "b"}),
        ("node %s has taken the place of node %s", ("a", "b"), {"node_id": "a"}),
        ("classroom %s", ("x",), {}),
        ("no ids at all", (), {}),
    ],
)
def test_ids_come_from_the_words_of_the_template(
    template: str, arguments: tuple[Any, ...], found: dict[str, str]
) -> None:
    assert ids(template, *arguments) == found


def test_a_line_is_one_line_whatever_is_in_it() -> None:
    told = line("said %r and %s", "a\nb", 'INFO\n{"level": "error"}')
    assert told["level"] == "info"
    assert told["time"].endswith("+00:00")


def test_a_line_for_people_is_one_line_in_utc_whatever_is_in_it() -> None:
    said = "a\nb\x1b[2J\r\u2028\x9bc"
    record = logging.LogRecord("a.logger", logging.INFO, "file", 1, "said %s", (said,), None)
    record.created, record.msecs = 1_900_000_000.25, 250.0
    assert PlainLines().format(record) == (
        r"2030-03-17T17:46:40.250Z INFO a.logger: said a\nb\x1b[2J\r\u2028\x9bc"
    )


def test_an_exception_is_told_within_the_line() -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        told = line("session %s failed", "s", exc_info=(ValueError, error, error.__traceback__))
    assert "ValueError: why" in told["exception"] and told["session_id"] == "s"
