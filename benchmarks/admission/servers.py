"""The embedded PostgreSQL and Redis of a run, durable as in production, in a directory of their own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import control
from benchmarks.registry import BenchmarkError
from lectern.embedded import EmbeddedError, Places, Postgres, Redis

_TICKS_PER_S = 100  # USER_HZ, proc(5)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers of a run are."""

    database_url: str
    redis_url: str
    postgres_pid: int

    def database_cpu_s(self) -> float:
        """Return the CPU time that PostgreSQL's processes have taken, those that are over included."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, _, rest = stat.read_text().partition(" (")
                fields = rest.rpartition(") ")[2].split()
            except OSError:  # it has just ended
                continue
            # ppid, utime, stime, cutime, cstime: fields 4 and 14 to 17 of proc(5).
            if int(pid) == self.postgres_pid:
                ticks += sum(int(field) for field in fields[11:15])
            elif int(fields[1]) == self.postgres_pid:
                ticks += sum(int(field) for field in fields[11:13])
        return ticks / _TICKS_PER_S


@contextmanager
def servers() -> Iterator[Servers]:
    """Start both with the whole schema; they are stopped and deleted at the end."""
    # Not below a directory that is closed to the user that PostgreSQL runs as under root.
    data = Path(tempfile.mkdtemp(prefix="lectern-bench-", dir="/tmp"))
    started: list[Postgres | Redis] = []
    try:
        places = Places.prepare(data)
        postgres = Postgres.start(places)
        started.append(postgres)
        redis = Redis.start(places)
        started.append(redis)
        control.migrate(postgres.url())
        yield Servers(postgres.url(), redis.url(), postgres.pid)
    except EmbeddedError as error:
        raise BenchmarkError(str(error)) from error
    finally:
        for server in reversed(started):
            server.stop()
        shutil.rmtree(data, ignore_errors=True)
