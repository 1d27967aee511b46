"""What a node is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Settings of one node process; `control_url` is http://host:port or unix:/path."""

    host: str  # that the UDP port is bound to; "::" takes both families
    udp_port: int  # 0 picks one
    advertise: tuple[str, ...]  # IP addresses that clients reach; empty: `host`
    control_url: str
    cluster_secret: str
    internal_listen: str  # host:port or unix:/path
    data_dir: Path
    internal_url: str | None = None  # where others reach `internal_listen`, if it is not that
    version: str = "0"
