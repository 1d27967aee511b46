"""The `web` process: pages, control API and signaling on one origin; the nodes' internal listener."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from pathlib import Path

import aiohttp.web
import uvloop

import web.pages
from control import Control, Limits, Webhook
from lectern import lifeline, logs, patience
from lectern.listen import host_and_port, listening_socket, unix_path
from lectern.secret import cluster_secret
from lectern.settings import SettingError, Settings
from lectern.tls import keep_fresh, tls_context
from signaling import Signaling, Turn

# Event streams stay open for hours; a stop does not wait for them longer than this.
SHUTDOWN_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT."""
    lifeline.hold()
    patience.allow_descriptors()
    logs.configure(settings.log_level, settings.log_format, "web")
    uvloop.run(run(settings))
    return 0


async def run(settings: Settings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if settings.database_url is None or settings.redis_url is None:
        raise SettingError(
            "`lectern web` needs LECTERN_DATABASE_URL and LECTERN_REDIS_URL; "
            "`lectern up` starts both by itself."
        )
    control = await Control.open(
        database_url=settings.database_url,
        redis_url=settings.redis_url,
        cluster_secret=settings.cluster_secret or cluster_secret(settings.data),
        public_url=settings.public_url,
        secure_cookies=settings.https,
        throttle=settings.throttle,
        host_absence_max_s=settings.host_absence_max_s,
        trusted_proxies=settings.trusted_proxies,
        metrics_token=settings.metrics_token,
        webhook=_webhook(settings),
        limits=Limits(settings.sessions_per_node, settings.edges_per_node),
    )
    try:
        async with Signaling(control, _turn(settings), throttle=settings.throttle) as signaling:
            await _serve(settings, control, signaling, stopped)
    finally:
        await control.close()


async def _serve(
    settings: Settings, control: Control, signaling: Signaling, stopped: asyncio.Event
) -> None:
    internal = aiohttp.web.Application()
    control.add_internal_routes(internal)
    public = aiohttp.web.Application()
    control.add_routes(public)
    signaling.add_routes(public)
    web.pages.add_routes(public, https=settings.https)
    watcher = patience.Patience()
    public.middlewares.insert(0, watcher.middleware)
    runners = [_runner(internal), _runner(public)]
    tls = tls_context(settings)
    fresh = _keep_fresh(tls, settings)
    watching: asyncio.Task[None] | None = None
    try:
        for runner in runners:
            await runner.setup()
        assert runners[1].server is not None
        watching = asyncio.create_task(watcher.watch(runners[1].server), name="patience")
        await _listen_internally(runners[0], settings)
        await aiohttp.web.SockSite(
            runners[1],
            listening_socket(settings.host, settings.port, shared=settings.webs > 1),
            ssl_context=tls,
            backlog=patience.BACKLOG,
        ).start()
        logger.info("serving on %s port %d", settings.host, settings.port)
        await stopped.wait()
    finally:
        for task in (fresh, watching):
            if task is not None:
                task.cancel()
        for runner in reversed(runners):
            await runner.cleanup()


def _keep_fresh(tls: ssl.SSLContext | None, settings: Settings) -> asyncio.Task[None] | None:
    """Watch the certificate's files; SIGHUP asks for a look at once."""
    asked = asyncio.Event()
    # Without a certificate SIGHUP has nothing to say, and must not end the process either.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    if tls is None:
        return None
    return asyncio.create_task(keep_fresh(tls, settings, asked), name="certificate")


def _turn(settings: Settings) -> Turn | None:
    if not settings.turn_urls or settings.turn_secret is None:
        return None
    return Turn(settings.turn_urls, settings.turn_secret)


def _webhook(settings: Settings) -> Webhook | None:
    if settings.webhook_url is None or settings.webhook_secret is None:
        return None
    return Webhook(settings.webhook_url, settings.webhook_secret)


def _runner(app: aiohttp.web.Application) -> aiohttp.web.AppRunner:
    return aiohttp.web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        keepalive_timeout=patience.KEEP_ALIVE_S,
    )


async def _listen_internally(runner: aiohttp.web.AppRunner, settings: Settings) -> None:
    where = settings.internal_listen or default_internal(settings.data)
    path = unix_path(where)
    if path is None:
        await aiohttp.web.TCPSite(runner, *host_and_port(where)).start()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of a process that was killed; the supervisor runs one at a time
    await aiohttp.web.UnixSite(runner, path).start()
    path.chmod(0o600)


def default_internal(data: Path) -> str:
    """Return where `web` listens for the nodes of its own machine."""
    return f"unix:{data / 'run' / 'web.sock'}"
