"""What the supervisor says: to the person in front of it, or to a program that reads its lines."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

_as_json = False


def speak_json(on: bool) -> None:
    """Say everything from now on in the form of `lectern.logs.JsonLines`."""
    global _as_json
    _as_json = on


def say(text: str) -> None:
    if not _as_json:
        print(f"lectern: {text}", file=sys.stderr, flush=True)
        return
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "info",
        "logger": "lectern.up",
        "process": "up",
        "message": text,
    }
    print(json.dumps(line, ensure_ascii=False), file=sys.stderr, flush=True)


def pass_on(name: str, line: str) -> None:
    """Pass a child's line on, with the child's name before it; a line of JSON names it itself."""
    prefix = "" if _as_json and line.startswith("{") else f"{name:<6} | "
    print(f"{prefix}{line}", file=sys.stderr, flush=True)
