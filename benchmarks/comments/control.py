"""A control that registers a node and accepts its beats, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop
from aiohttp import web

from wire import codec
from wire.beat import LEASE_S, BeatAnswer, Registered


async def main(path: str) -> None:
    """Listen on a unix socket until standard input ends."""

    async def register(request: web.Request) -> web.Response:
        return web.Response(body=codec.pack(Registered(LEASE_S)))

    async def beat(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=codec.pack(BeatAnswer(cursor=0)))

    app = web.Application(client_max_size=codec.MESSAGE_BYTES_MAX)
    app.add_routes([web.post("/internal/nodes", register), web.post("/internal/beat", beat)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    print(json.dumps({"event": "listening"}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
