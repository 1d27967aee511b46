"""The `sfu` process: one media node."""

from __future__ import annotations

import asyncio
import signal

import uvloop

import sfu.node
from lectern import VERSION, lifeline, logs
from lectern.listen import media_addresses, resolve
from lectern.secret import cluster_secret
from lectern.settings import Settings
from lectern.web import default_internal


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT."""
    lifeline.hold()
    logs.configure(settings.log_level)
    uvloop.run(run(settings))
    return 0


async def run(settings: Settings) -> None:
    config = sfu.node.NodeConfig(
        host=resolve(settings.host),
        udp_port=settings.udp_port,
        advertise=media_addresses(settings),
        control_url=settings.control_url or default_internal(settings.data),
        cluster_secret=settings.cluster_secret or cluster_secret(settings.data),
        internal_listen=settings.internal_listen
        or f"unix:{settings.data / 'run' / f'sfu-{settings.udp_port}.sock'}",
        data_dir=settings.data,
        version=VERSION,
    )
    # The node ends its sessions and says so to control when it is cancelled.
    node = asyncio.ensure_future(sfu.node.run(config))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, node.cancel)
    try:
        await node
    except asyncio.CancelledError:
        pass
