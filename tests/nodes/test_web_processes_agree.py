"""Web processes that place the same classes at the same moment end with one answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from tests.control.people import School
from tests.lectern.running import environment

PLACER = Path(__file__).with_name("placer.py")
CLASSES = 60


@contextmanager
def placer(database_url: str, redis_url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(PLACER), database_url, redis_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def place(processes: list[subprocess.Popen[str]], classes: list[str]) -> list[list[str]]:
    """Let all processes place all classes at once."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(" ".join(classes) + "\n")
    for process in processes:
        assert process.stdin is not None
        process.stdin.flush()
    return [process.stdout.readline().split() for process in processes if process.stdout]


async def test_two_processes_place_a_class_on_one_node(
    school: School, database_url: str, redis_url: str
) -> None:
    nodes = [await school.node() for _ in range(4)]
    with ExitStack() as stack:
        two = [stack.enter_context(placer(database_url, redis_url)) for _ in range(2)]
        for process in two:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        classes = [str((await school.live_class())[1]) for _ in range(CLASSES)]
        for node in nodes:  # on a busy machine making the classes takes longer than a beat is fresh
            await node.beat()
        first, second = place(two, classes)
        assert first == second and len(first) == CLASSES
        assert {word.split(":")[1] for word in first} == {"1"}, "placed more than once"
        # Redis forgets everything, and a moment later the first node is gone.
        with redis.Redis.from_url(redis_url) as server:
            server.flushall()
        assert place(two, classes) == [first, first]
        gone = first[0].split(":")[0]
        await school.sql.execute(
            "UPDATE node SET shunned_until = clock_timestamp() + interval '1 min'"
            " WHERE node_id::text = $1",
            gone,
        )
        with redis.Redis.from_url(redis_url) as server:
            server.flushall()
        third, fourth = place(two, classes)
        assert third == fourth
        for before, after in zip(first, third, strict=True):
            moved = before.startswith(gone)
            assert (after == before) is not moved
            assert not after.startswith(gone) and after.endswith(":2" if moved else ":1")
