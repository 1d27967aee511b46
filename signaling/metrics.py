"""Figures of joining, and the way to the nodes' own figures for a Prometheus that reaches only `web`.

A node listens on a unix socket or a private network. So `web` lists the nodes that live in the form of
Prometheus's HTTP service discovery, and passes their figures on.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    generate_latest,
)

from control import REGISTRY, Control, Problem
from signaling.node_client import NodeClient, NodeRefused, NodeUnreachable
from signaling.paths import path_id

JOINS = Counter(
    "lectern_joins",
    "Offers to teach or to watch, by what became of them: `ok` or the problem's code.",
    ["role", "outcome"],
    registry=REGISTRY,
)
for _role in ("publisher", "viewer"):
    JOINS.labels(_role, "ok")


def headroom_text(ratio: float) -> bytes:
    """Return what `web` adds to a node's figures: placement's own view of it."""
    registry = CollectorRegistry()
    Gauge(
        "lectern_node_headroom_ratio",
        "Part of the node that is free, by what it uses most: sessions, egress, processor, lag.",
        registry=registry,
    ).set(ratio)
    return generate_latest(registry)


class NodeMetrics:
    """GET /metrics/nodes and /metrics/nodes/{node_id}, both for the holder of the metrics' token."""

    def __init__(self, control: Control, nodes: NodeClient) -> None:
        self._control = control
        self._nodes = nodes

    async def list(self, request: web.Request) -> web.Response:
        """Name the nodes as targets: this origin, with a path for each of them."""
        self._control.check_metrics_token(request)
        nodes = await self._control.live_nodes()
        targets = [
            {
                "targets": [request.host],
                "labels": {
                    "__metrics_path__": f"/metrics/nodes/{quote(str(node.node_id))}",
                    # Outlives the boot, which has a new id each time.
                    "instance": node.internal_url,
                },
            }
            for node in nodes
        ]
        return web.json_response(targets)

    async def of_node(self, request: web.Request) -> web.Response:
        """Pass a node's figures on."""
        self._control.check_metrics_token(request)
        node_id = path_id(request, "node_id", "node")
        for node in await self._control.live_nodes():
            if node.node_id == node_id:
                break
        else:
            raise Problem(404, "not_found", "There is no such node.")
        try:
            text = await self._nodes.metrics(node)
        except (NodeRefused, NodeUnreachable) as error:
            raise Problem(503, "try_again", "The node does not answer.", retry_after_s=1) from error
        if (headroom := await self._control.headroom_of(node_id)) is not None:
            text += headroom_text(headroom)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
