"""How a process of ours logs: to standard error, one line per event, its level first."""

from __future__ import annotations

import logging


def configure(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    # One line per request would hold links, which are secrets, and drown the rest.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    for chatty in ("aiortc", "aioice", "yoyo"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
