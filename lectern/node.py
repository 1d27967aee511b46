"""`lectern node`: what operators do with media nodes."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from uuid import UUID

import asyncpg

from control import NodeLine, Operators, Problem
from lectern.database import database_of
from lectern.settings import SettingError, Settings

ACTIONS = {
    "list": "all nodes: id, state, sessions, classes, media address, since when",
    "drain": "give a node no new classes, send its classes elsewhere and wait until it has stopped",
}
FAILED = 1
# A node of 2,000 sessions needs 20 s for them.
DRAIN_TIMEOUT_S = 180.0
POLL_INTERVAL_S = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the action and the node it is for."""
    parser.add_argument(
        "action",
        choices=ACTIONS,
        metavar="ACTION",
        help="; ".join(f"{name}: {text}" for name, text in ACTIONS.items()),
    )
    parser.add_argument(
        "node", nargs="?", metavar="NODE", help="its id, or the beginning of it; not for list"
    )


def main(settings: Settings, action: str, node: str | None) -> int:
    """Do one thing to one node, or list all; returns the exit code."""
    if (action == "list") != (node is None):
        raise SettingError(
            "lectern node list takes no node."
            if action == "list"
            else f"lectern node {action} needs the id of the node; lectern node list has them."
        )
    with database_of(settings) as url:
        try:
            return asyncio.run(_do(url, node))
        except Problem as problem:
            print(f"lectern: {problem.detail}", file=sys.stderr)
            return FAILED
        except (OSError, asyncpg.PostgresError) as error:
            raise SettingError(f"The database cannot be reached: {error}") from error


async def _do(url: str, node: str | None) -> int:
    operators = await Operators.open(url)
    try:
        if node is None:
            for line in await operators.nodes():
                print(_line(line))
            return 0
        drained = _only(await operators.nodes(), node)
        await operators.drain(drained)
        return 0 if await _wait(operators, drained) else FAILED
    finally:
        await operators.close()


def _only(nodes: list[NodeLine], wanted: str) -> UUID:
    living = [line for line in nodes if line.state != "dead"]
    found = [line.node_id for line in living if str(line.node_id).startswith(wanted.lower())]
    if len(found) != 1:
        what = "no node that lives" if not found else f"{len(found)} nodes"
        raise Problem(404, "not_found", f"{wanted!r} is the id of {what}; see lectern node list.")
    return found[0]


async def _wait(operators: Operators, node_id: UUID) -> bool:
    """Wait until a node has stopped; False where that takes too long."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    before = -1
    while time.monotonic() < deadline:
        known = {line.node_id: line for line in await operators.nodes()}.get(node_id)
        if known is None or known.state == "dead":
            print(f"{node_id} has stopped")
            return True
        if known.sessions != before:
            before = known.sessions
            print(f"{node_id} has {before} sessions left", flush=True)
        await asyncio.sleep(POLL_INTERVAL_S)
    print(f"lectern: {node_id} still runs; it goes on draining", file=sys.stderr)
    return False


def _line(line: NodeLine) -> str:
    """Return one node, its fields with tabs between them."""
    since = line.registered_at.isoformat(timespec="seconds")
    counts = [f"{line.sessions} sessions", f"{line.classes} classes"]
    return "\t".join([str(line.node_id), line.state, *counts, line.media, since])
