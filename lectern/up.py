"""`lectern up`: everything on one machine, as real processes, watched over by this one.

The order: check the settings; take the data directory's lock; end what an earlier run left; check the
ports; PostgreSQL, Redis; migrations; web; nodes. It stops the other way round, so that a node can say to
control who was there until the end, and control can write it down.
"""

from __future__ import annotations

import asyncio
import dataclasses
import signal

from lectern.advertise import shifted
from lectern.child import EXIT_UNUSABLE, Child, Leftovers
from lectern.data_lock import lock
from lectern.embedded import Places, Postgres, Redis
from lectern.greeting import greeting
from lectern.listen import check_free, check_media_free
from lectern.migrate import migrate
from lectern.ready import wait_ready
from lectern.say import say, speak_json
from lectern.secret import cluster_secret
from lectern.settings import Settings
from lectern.tls import tls_context

READY_TIMEOUT_S = 60.0
WATCH_INTERVAL_S = 0.25


def main(settings: Settings) -> int:
    """Run until Ctrl-C or SIGTERM; a second one stops harder."""
    return asyncio.run(Supervisor(settings).run())


class Supervisor:
    """The embedded servers and our processes, and what becomes of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop_asked = False
        self._postgres: Postgres | None = None
        self._redis: Redis | None = None
        self._web: list[Child] = []
        self._nodes: list[Child] = []

    async def run(self) -> int:
        """Return the exit code."""
        speak_json(self._settings.log_format == "json")
        tls_context(self._settings)  # a wrong certificate is said before anything starts
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        places = Places.prepare(self._settings.data)
        with lock(places.data):
            leftovers = Leftovers(places.run / "children.json")
            await leftovers.stop_earlier()
            self._check_ports()
            try:
                await self._start(places, leftovers)
                return await self._watch(places)
            finally:
                await self._stop()

    def _on_signal(self) -> None:
        if not self._stop_asked:
            self._stop_asked = True
            say("stopping (Ctrl-C again stops harder)")
            return
        for child in (*self._nodes, *self._web):
            child.kill()
        if self._postgres is not None:
            self._postgres.hurry()

    def _check_ports(self) -> None:
        check_free(self._settings.host, "TCP", [self._settings.port], "--port")
        check_media_free(self._settings)

    async def _start(self, places: Places, leftovers: Leftovers) -> None:
        """Start everything, in order; stop half-way when that is asked."""
        settings = await self._start_servers(places)
        if self._stop_asked:
            return
        await asyncio.to_thread(migrate, settings.database_url or "")
        self._web = [
            Child(_web_name(settings, n), "web", _web_environment(settings, places, n), leftovers)
            for n in range(settings.webs)
        ]
        self._nodes = [
            Child(f"sfu {number}", "sfu", _node_environment(settings, places, number), leftovers)
            for number in range(settings.nodes)
        ]
        for child in (*self._web, *self._nodes):
            child.start()
        if await wait_ready(settings, READY_TIMEOUT_S, self._is_over):
            if settings.log_format == "json":
                say("Lectern is ready.")
            else:
                print(greeting(settings), flush=True)
        elif not self._is_over():
            say(f"not ready after {READY_TIMEOUT_S:.0f} s; it goes on trying")

    async def _start_servers(self, places: Places) -> Settings:
        """Start what no URL names; return the settings for the children."""
        settings = self._settings
        if settings.database_url is None:
            say("starting PostgreSQL")
            self._postgres = await asyncio.to_thread(Postgres.start, places)
            settings = dataclasses.replace(settings, database_url=self._postgres.url())
        if settings.redis_url is None:
            say("starting Redis")
            self._redis = await asyncio.to_thread(Redis.start, places)
            settings = dataclasses.replace(settings, redis_url=self._redis.url())
        secret = settings.cluster_secret or cluster_secret(places.data)
        return dataclasses.replace(settings, cluster_secret=secret)

    async def _watch(self, places: Places) -> int:
        """Wait for the end; start a server that died again (children see to themselves)."""
        while not self._is_over():
            if self._postgres is not None and self._postgres.exit_code() is not None:
                say("PostgreSQL ended; starting it again")
                self._postgres = await asyncio.to_thread(Postgres.start, places)
            if self._redis is not None and self._redis.exit_code() is not None:
                say("Redis ended; starting it again")
                self._redis = await asyncio.to_thread(Redis.start, places)
            await asyncio.sleep(WATCH_INTERVAL_S)
        return 0 if self._stop_asked else EXIT_UNUSABLE

    def _is_over(self) -> bool:
        return self._stop_asked or any(child.unusable for child in (*self._web, *self._nodes))

    async def _stop(self) -> None:
        await asyncio.gather(*(node.stop() for node in self._nodes))
        await asyncio.gather(*(child.stop() for child in self._web))
        if self._postgres is not None:
            await asyncio.to_thread(self._postgres.stop)
        if self._redis is not None:
            await asyncio.to_thread(self._redis.stop)


def _web_name(settings: Settings, number: int) -> str:
    return "web" if settings.webs == 1 else f"web {number}"


def _internal_url(places: Places, number: int) -> str:
    return f"unix:{places.run / ('web.sock' if number == 0 else f'web-{number}.sock')}"


def _web_environment(settings: Settings, places: Places, number: int) -> dict[str, str]:
    return dataclasses.replace(
        settings, internal_listen=_internal_url(places, number)
    ).environment()


def _node_environment(settings: Settings, places: Places, number: int) -> dict[str, str]:
    """Return a node's settings: no URL of a database is among them."""
    udp, tcp = settings.media_ports
    return dataclasses.replace(
        settings,
        udp_port=udp[number],
        tcp_port=tcp[number],
        advertise=tuple(shifted(advertised, number) for advertised in settings.advertise),
        nodes=1,
        internal_listen=f"unix:{places.run / f'sfu-{number}.sock'}",
        control_url=",".join(_internal_url(places, web) for web in range(settings.webs)),
        database_url=None,
        redis_url=None,
        turn_urls=(),
        turn_secret=None,
        webhook_url=None,
        webhook_secret=None,
    ).environment()
