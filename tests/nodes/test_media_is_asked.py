"""Health is a STUN check through the node's media port: what does not answer it is out of rotation."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from aioice import stun

from control import NodeAddress
from sfu._core import Media
from signaling import health
from signaling.health import Health
from tests.signaling.fake_control import FakeControl
from wire.session import probe_credentials_of

SECRET = "a node's secret"


def a_node(port: int, secret: str = SECRET) -> NodeAddress:
    return NodeAddress(uuid4(), "unix:/nowhere", secret, (("127.0.0.1", port),))


class Node:
    """A packet core that answers checks, until it is silenced."""

    def __init__(self) -> None:
        self.media = Media(host="127.0.0.1", port=0)
        self.address = a_node(self.media.port)
        ufrag, pwd = probe_credentials_of(SECRET)
        self.media.add_session(1, ice_ufrag=ufrag, ice_pwd=pwd)

    def silence(self) -> None:
        self.media.remove_session(1)


async def until(what: Callable[[], bool], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not what():
            await asyncio.sleep(0.01)


def shunned(control: FakeControl) -> set[UUID]:
    return {call[1] for call in control.calls if call[0] == "shun" and isinstance(call[1], UUID)}


async def test_a_silent_node_is_shunned_within_seconds_and_others_are_not() -> None:
    first, second = Node(), Node()
    control = FakeControl(nodes=[first.address, second.address])
    watch = Health(control)
    watch.start()
    loop = asyncio.get_running_loop()
    try:
        await until(
            lambda: (
                all(k.answered_at > 0 for k in watch._watched.values()) and len(watch._watched) == 2
            )
        )
        began = loop.time()
        second.silence()
        await until(lambda: bool(shunned(control)))
        assert loop.time() - began < 5.0
        assert shunned(control) == {second.address.node_id}
    finally:
        await watch.close()
        first.media.close()
        second.media.close()


async def test_who_comes_is_not_sent_to_a_node_that_died_a_moment_ago() -> None:
    node, other = Node(), Node()
    control = FakeControl(nodes=[node.address, other.address])
    watch = Health(control)
    loop = asyncio.get_running_loop()
    await watch._round(control.nodes)
    node.silence()
    await asyncio.sleep(health.FRESH_S)
    began = loop.time()
    outcomes = await asyncio.gather(*(watch.works(node.address) for _ in range(50)))
    assert loop.time() - began < 0.35, "a probe takes 200 ms"
    assert not any(outcomes)
    assert shunned(control) == {node.address.node_id}
    await watch.close()
    node.media.close()
    other.media.close()


async def test_an_answer_of_somebody_else_is_none() -> None:
    loop = asyncio.get_running_loop()
    heard: list[bytes] = []

    class Forger(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
            heard.append(data)
            answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, data[8:20])
            if len(heard) % 2:
                answer.add_message_integrity(b"another secret")
            self.transport.sendto(bytes(answer), address)  # type: ignore[attr-defined]
            self.transport.sendto(b"\x00", address)  # type: ignore[attr-defined]

    transport, _ = await loop.create_datagram_endpoint(Forger, local_addr=("127.0.0.1", 0))
    node = a_node(transport.get_extra_info("sockname")[1])
    watch = Health(FakeControl())
    known = watch._watched.setdefault(node.node_id, health._Watched())
    assert not await watch._ask(node, known)
    assert len(heard) > 1, "a lost packet is asked for again"
    await watch.close()
    transport.close()


async def test_a_node_that_was_never_reached_is_not_judged() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        node = a_node(deaf.getsockname()[1])
        control = FakeControl(nodes=[node])
        watch = Health(control)
        assert await watch.works(node)
        await watch._round([node] * 3)
        assert not shunned(control)
        assert await watch.works(replace(node, media=()))
        await watch.close()


async def test_who_hears_nobody_judges_nobody() -> None:
    nodes = [Node() for _ in range(4)]
    control = FakeControl(nodes=[node.address for node in nodes])
    watch = Health(control)
    await watch._round(control.nodes)
    for known in watch._watched.values():
        known.answered_at -= 60
    for node in nodes:
        node.silence()
    for _ in range(3):
        await watch._round(control.nodes)
    assert await watch.works(nodes[0].address), "there is nowhere else to go"
    assert not shunned(control)
    await watch.close()
    for node in nodes:
        node.media.close()


def test_probes_need_the_secret(tmp_path: Path) -> None:
    ufrag, pwd = probe_credentials_of(SECRET)
    assert SECRET not in ufrag + pwd
    assert probe_credentials_of("another")[0] != ufrag
    assert len(ufrag) >= 4 and len(pwd) >= 22  # RFC 8445 section 5.3
