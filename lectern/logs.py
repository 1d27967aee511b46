"""How a process of ours logs: to standard error, one line per event, for people or for programs.

A program's line is a JSON object: `time` (RFC 3339), `level`, `logger`, `process`, `message`, and the ids
that the message names: `class_id`, `session_id`, `node_id`, `account_id`. They are found by the words of
its template ("session %s ..."), so whoever logs says them once. Tokens, links,
names and addresses of people are not logged at all, at any level; a test holds a whole run's lines against
those that were used in it.
"""

from __future__ import annotations

import json
import logging
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

Format = Literal["human", "json"]

TEMPLATES_MAX = 1024  # our log calls are a few hundred
# C0, DEL, C1 and what Unicode takes for the end of a line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SPECIFIER = re.compile(
    r"(?:\b(class|session|node|account)\s+)?%(?:%|[-#0 +]*\d*(?:\.\d+)?[a-zA-Z])"
)


def configure(level: str, format: Format = "human", process: str = "lectern") -> None:
    """Let the process log from `level` on; `process` is who it is among Lectern's."""
    logging.basicConfig(level=level.upper(), force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines(process) if format == "json" else PlainLines())
    # One line per request would hold links, which are secrets, and drown the rest.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    for chatty in ("aiortc", "aioice", "yoyo"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class PlainLines(logging.Formatter):
    """Formats a record as a line to read, its time in UTC; an exception follows on lines of its own."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; what somebody sent must not begin another one in it, nor move the cursor."""
        record.message = _CONTROL.sub(_escaped, record.message)
        return super().formatMessage(record)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": record.getMessage(),
        }
        line |= ids_of(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def ids_of(record: logging.LogRecord) -> dict[str, str]:
    """Return the ids that a record's template names with its arguments."""
    if not isinstance(record.args, tuple):
        return {}
    return {
        f"{kind}_id": str(record.args[index])
        for kind, index in _places(str(record.msg))
        if index < len(record.args)
    }


@lru_cache(TEMPLATES_MAX)
def _places(template: str) -> tuple[tuple[str, int], ...]:
    """Return which arguments of a template are ids of what; the first of a kind counts."""
    found: dict[str, int] = {}
    index = 0
    for match in _SPECIFIER.finditer(template):
        if match[0].endswith("%%"):
            continue
        if match[1]:
            found.setdefault(match[1], index)
        index += 1
    return tuple(found.items())
