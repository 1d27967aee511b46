"""The process under test: a node as `lectern sfu` runs it, under a parent that may ask for its counters.

Lines of JSON on standard input, answers on standard output; it ends when its input does.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import uvloop

from sfu._core import Media
from sfu.config import Advertised, NodeConfig
from sfu.node import Node

CLUSTER_SECRET = "of-a-benchmark-on-this-machine-alone"


async def serve(order: dict[str, Any]) -> None:
    """Run a node until the parent has gone."""
    host, directory = order["host"], Path(order["directory"])
    config = NodeConfig(
        host=host,
        udp_port=0,
        tcp_port=0,
        advertise=(Advertised(host),),
        control_url=order["url"],
        cluster_secret=CLUSTER_SECRET,
        internal_listen=f"unix:{directory / 'node.sock'}",
        data_dir=directory,
        version="bench",
    )
    media = Media(host=host, port=0, tcp_port=0)
    node = Node(config, media)
    running = asyncio.create_task(node.run())
    try:
        await node.ready.wait()
        _say({"event": "started", "pid": os.getpid()})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(_answer(json.loads(line)["do"], node, media))
    finally:
        running.cancel()
        await asyncio.wait([running])
        media.close()


def _answer(what: str, node: Node, media: Media) -> dict[str, Any]:
    if what == "stats":
        return {"event": what, "sessions": len(node.sessions), "stats": media.stats()}
    if what == "collect":
        gc.collect()
        return {"event": what, "sessions": len(node.sessions), "tasks": len(asyncio.all_tasks())}
    raise ValueError(f"unknown question {what!r}")


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16_384, hard), hard))
    given = json.loads(sys.stdin.readline())
    if given["profile"] is None:
        uvloop.run(serve(given))
    else:
        profile = cProfile.Profile()
        profile.runcall(uvloop.run, serve(given))
        profile.dump_stats(given["profile"])
