"""The process under test: a whole node, as `lectern sfu` runs it, with a control that only agrees.

It says where it listens in one line of JSON and serves until its standard input ends. The control is
a process of its own beside it, so that its work is not counted as the node's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import uvloop

from sfu._core import BUILD_PROFILE, Media
from sfu.config import Advertised, NodeConfig
from sfu.node import Node


async def main(directory: Path, secret: str) -> None:
    """Run one node with its sockets in a directory."""
    media = Media(host="127.0.0.1", port=0)
    config = NodeConfig(
        host="127.0.0.1",
        udp_port=0,
        tcp_port=0,
        advertise=(Advertised("127.0.0.1"),),
        control_url=f"unix:{directory}/control",
        cluster_secret=secret,
        internal_listen=f"unix:{directory}/node",
        data_dir=directory,
    )
    node = Node(config, media)
    serving = asyncio.create_task(node.run())
    try:
        await node.ready.wait()
        while not node.registered:  # noqa: ASYNC110 - the beats tell nobody
            await asyncio.sleep(0.02)
        said = {"event": "listening", "node": node.url, "secret": node.secret}
        print(json.dumps(said | {"build": BUILD_PROFILE}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        media.close()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), os.environ["LECTERN_BENCH_SECRET"]))
