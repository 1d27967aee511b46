"""Lectern itself: a whole node, sessions over its internal API as signaling opens them."""

from __future__ import annotations

import uuid
from typing import Self

from benchmarks.node import MediaNode
from benchmarks.node.api import NodeApi, remote_of
from benchmarks.node.offers import TRANSPORT_CC_ID, new_ssrc, opening
from benchmarks.peers import Seat
from lectern import VERSION


class LecternPeer:
    """One class on one node."""

    name = "lectern"
    version = VERSION

    def __init__(self, address: str, *, profile: str | None = None) -> None:
        self.node = MediaNode(address, profile=profile)
        self.class_id = str(uuid.uuid4())
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        self.node.__enter__()
        self.pids = [self.node.pid]
        self._api = NodeApi(self.node.socket_path, self.node.secret)
        return self

    def __exit__(self, *error: object) -> None:
        self._api.close()
        self.node.__exit__(None, None, None)

    def open_source(self, port: int) -> Seat:
        ssrc = new_ssrc()
        answer = self._api.open(opening(self.class_id, "publisher", sources={"video": ssrc}))
        return Seat(ssrc, remote_of(answer), TRANSPORT_CC_ID)

    def open_viewer(self, port: int) -> Seat:
        answer = self._api.open(opening(self.class_id, "viewer"))
        return Seat(answer.outgoing["0"].ssrc, remote_of(answer), TRANSPORT_CC_ID)
