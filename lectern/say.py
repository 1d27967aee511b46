"""What the supervisor says to the person in front of it."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    print(f"lectern: {text}", file=sys.stderr, flush=True)
