"""The `sfu` process: one media node."""

from __future__ import annotations

import asyncio
import os
import resource
import signal

import uvloop

import sfu.node
from lectern import VERSION, lifeline, logs
from lectern.listen import check_media_free, media_addresses, resolve
from lectern.secret import cluster_secret
from lectern.settings import Settings
from lectern.web import default_internal

# Above the native core's bound for connections, with room for everything else.
DESCRIPTORS_MAX = 16_384


def main(settings: Settings) -> int:
    """Run until SIGINT, a second SIGTERM, or SIGTERM and nobody is left."""
    lifeline.hold()
    if lifeline.SUPERVISOR not in os.environ:  # it has looked before it started anything
        check_media_free(settings)
    _allow_descriptors()
    logs.configure(settings.log_level, settings.log_format, "sfu")
    uvloop.run(run(settings))
    return 0


def _allow_descriptors() -> None:
    """Let the process have as many descriptors as it may: every TCP connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def run(settings: Settings) -> None:
    config = sfu.node.NodeConfig(
        host=resolve(settings.host),
        udp_port=settings.media_ports[0][0],
        tcp_port=settings.media_ports[1][0],
        advertise=media_addresses(settings),
        control_url=settings.control_url or default_internal(settings.data),
        cluster_secret=settings.cluster_secret or cluster_secret(settings.data),
        internal_listen=settings.internal_listen
        or f"unix:{settings.data / 'run' / f'sfu-{settings.udp_port}.sock'}",
        data_dir=settings.data,
        version=VERSION,
        metrics_token=settings.metrics_token,
    )
    # SIGTERM sends everybody elsewhere first. The node ends its sessions and says so to control when
    # it is cancelled.
    drain = asyncio.Event()
    node = asyncio.ensure_future(sfu.node.run(config, drain=drain))

    def terminate() -> None:
        if drain.is_set():
            node.cancel()
        drain.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGINT, node.cancel)
    try:
        await node
    except asyncio.CancelledError:
        pass
